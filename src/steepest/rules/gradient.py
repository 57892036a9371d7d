"""Gradient descent and momentum: rules with one rate for all parameters."""

from .combinators import coupled, sam
from .definition import register, rule, zeros
from .vocabulary import where


@coupled
@rule("Cauchy 1847, Comptes rendus 25; Robbins & Monro 1951", class_name="GD", origin="ours", rate=0.2)
def gd(p, g, t, *, lr=1e-2):
    """Step against the gradient, by the rate. Every other rule here changes this line.

    Use: when the surface is smooth and equally curved in all directions, or you want a baseline for what a change gains.
    Avoid: when curvatures differ: the steepest direction limits the rate, and flat ones make no progress.
    """
    return p - lr * g


@coupled
@rule(
    "Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013; as torch.optim.SGD writes them",
    twin="SGD",
    keys={"b": "momentum_buffer"},
    rate=0.2,
    deviations=(
        "The first buffer is the gradient itself, without dampening (torch).",
        "rate_inside=True is the papers' and the tutorials' form, b = momentum * b + lr * g; p = p - b:"
        " the same path while the rate is constant, another when it changes.",
        "Nesterov in torch's form, which stores the look-ahead point.",
    ),
    refused=(
        (
            "nesterov needs momentum above 0 and dampening 0.",
            lambda h: h["nesterov"] and (h["momentum"] <= 0 or h["dampening"] != 0),
        ),
    ),
)
def sgd(p, g, t, b=zeros.when("momentum"), *, lr=1e-3, momentum=0.0, dampening=0.0, nesterov=False, rate_inside=False):
    """Plain descent on the gradient of a batch, with optional momentum. Batches make steps noisy and cheap.

    Use: when rate and schedule can be tuned, memory is short, or the model has normalization layers.
    Avoid: when gradients of layers differ by orders of magnitude, as in transformers, or the rate cannot be tuned.
    """
    inside, outside = (lr, 1) if rate_inside else (1, lr)
    d = inside * g
    if momentum:
        first = t == 1
        b = where(first, 0, momentum) * b + where(first, 1, 1 - dampening) * d
        d = d + momentum * b if nesterov else b
    return p - outside * d, b


momentum = sgd.preset(
    "momentum",
    momentum=0.9,
    rate=0.05,
    doc="""
    Keep a velocity that loses a tenth of itself at each step. Where gradients agree it grows tenfold, where they
    alternate they cancel.

    Use: for convolutional networks with a falling rate, where it is hard to beat.
    Avoid: at a rate tuned for plain descent: divide that by ten, the factor that the velocity adds.
    """,
)
nesterov = sgd.preset(
    "nesterov",
    momentum=0.9,
    nesterov=True,
    rate=0.05,
    doc="""
    Momentum that corrects its velocity one step earlier. torch's form moves the look-ahead into the update.

    Use: wherever momentum works; in valleys it ends lower.
    Avoid: when noise dominates the gradient: the correction then reacts to the noise.
    """,
)


@coupled
@rule(
    "Nesterov 1983; Sutskever et al. 2013, section 2: the gradient at p - momentum * v",
    class_name="NesterovLookahead",
    origin="the source documents",
    rate=0.05,
    deviations=("The rate is inside, v = momentum * v + lr * g; sgd's nesterov stores the look-ahead point instead.",),
)
def nesterov_lookahead(p, f, t, v=zeros, *, lr=1e-2, momentum=0.9):
    """Nesterov's own form: take the gradient where the velocity will lead, then step. It needs a closure.

    Use: to see the idea, and on deterministic convex problems, where its theorem holds.
    Avoid: when the training loop has no closure: `nesterov` is the same method in other variables.
    """
    v = momentum * v + lr * f(p - momentum * v)
    return p - v, v


sharpness_aware = register(
    sam(
        momentum,
        name="sam",
        class_name="SAM",
        doc="""
        Climb a little way uphill, take the gradient there, and step from the original point. This leaves sharp minima.

        Use: when generalization matters more than time: a step costs two gradients.
        Avoid: when time is the budget.
        """,
    )
)
