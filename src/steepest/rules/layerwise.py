"""Rules with norms or means over a tensor or over the whole model."""

from .combinators import coupled
from .definition import column_zeros, filled, row_zeros, rule, vector_zeros, zeros
from .domains import UNIT
from .vocabulary import (
    clip,
    column_mean,
    columns,
    debias,
    ema,
    epsilon,
    lerp,
    maximum,
    mean,
    minimum,
    norm,
    orthogonal,
    row_mean,
    rows,
    sqrt,
    where,
)


@rule(
    "You et al. 2020, arXiv:1904.00962, Algorithm 2, with phi the identity",
    class_name="LAMB",
    rate=1e-2,
    deviations=("A tensor whose norm, or whose update's norm, is zero moves at the plain rate.",),
)
def lamb(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.0):
    """Adam with the step of each tensor scaled to the tensor's norm, so that large batches do not overshoot in any layer.

    Use: for batches of thousands.
    Avoid: for ordinary batches, where AdamW is as good and simpler.
    """
    m = ema(m, g, beta1)
    v = ema(v, g * g, beta2)
    r = debias(m, beta1, t) / (sqrt(debias(v, beta2, t)) + eps) + weight_decay * p
    x, u = norm(p), norm(r)
    ratio = where(x * u > 0, x / u, 1.0)
    return p - lr * ratio * r, m, v


@coupled
@rule(
    "Xie et al. 2022, arXiv:2006.15815, Algorithm 2",
    origin="the authors' code",
    rate=0.1,
    domains={"eps": UNIT},
    deviations=("As long as every gradient is zero nothing moves; the authors' code divides zero by zero.",),
)
def adai(p, g, t, m=zeros, v=zeros, c=filled(1.0, precise=True), *, lr=0.1, beta0=0.1, beta2=0.99, eps=1e-3):
    """Adapt the momentum in place of the rate: flat coordinates get more of it.

    Use: when momentum generalizes well and you would rather not tune it.
    Avoid: when the first few hundred steps matter.
    """
    v = ema(v, g * g, beta2)
    v_hat = debias(v, beta2, t)
    whole = mean(v_hat, over="model")
    beta1 = clip(1 - beta0 * v_hat / where(whole > 0, whole, 1.0), 0.0, 1 - eps)
    m = ema(m, g, beta1)
    c = c * beta1
    return p - lr * m / (1 - c), m, v, c


@rule(
    "You, Gitman & Ginsburg 2017, arXiv:1708.03888, Algorithm 1",
    class_name="LARS",
    origin="the authors' code",
    keys={"b": "momentum_buffer"},
    rate=1.0,
    deviations=("A tensor whose norm, or whose gradient's norm, is zero moves at the plain rate.",),
)
def lars(p, g, t, b=zeros, *, lr=0.1, momentum=0.9, weight_decay=0.0, trust=1e-3):
    """Momentum with the step of each tensor scaled to a share of the tensor's norm.

    Use: for large batches on convolutional networks.
    Avoid: for small batches, or biases and norms that are not excluded.
    """
    x, u = norm(p), norm(g)
    ratio = where(x * u > 0, trust * x / (u + weight_decay * x), 1.0)
    b = momentum * b + lr * ratio * (g + weight_decay * p)
    return p - b, b


@rule(
    "Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5",
    twin="Adafactor",
    keys={"R": "row_var", "C": "col_var", "V": "variance"},
    rate=3e-2,
    deviations=(
        "The rate is min(lr, 1 / sqrt(t)) times the larger of eps2 and the root mean square of p (torch).",
        "eps1 bounds the estimate from below (torch); the paper adds it to g * g. 0 stands for the dtype's own epsilon.",
        "A root mean square that is NaN clips nothing (torch). The averages are torch.lerp's, so that infinities become NaN.",
    ),
)
def adafactor(
    p, g, t, R=row_zeros, C=column_zeros, V=vector_zeros, *,
    lr=1e-2, beta2_decay=-0.8, eps1=0.0, eps2=1e-3, d=1.0, weight_decay=0.0,
):  # fmt: skip
    """Store row and column averages of squared gradients in place of the whole matrix: nearly no state for a large layer.

    Use: when the model fills the memory.
    Avoid: when models are small: there is nothing to save.
    """
    least = where(eps1 > 0, eps1, epsilon(p))
    share = t**beta2_decay
    if V is None:
        R = lerp(R, row_mean(g * g), share)
        C = lerp(C, column_mean(g * g), share)
        v = R * C / maximum(column_mean(R), least)
    else:
        v = V = lerp(V, g * g, share)
    u = g / sqrt(maximum(v, least * least))
    size, moved = sqrt(mean(p * p)), sqrt(mean(u * u)) / d
    alpha = minimum(lr, 1 / sqrt(t)) * where(size > eps2, size, eps2)
    return p * (1 - lr * weight_decay) - alpha / where(moved > 1, moved, 1.0) * u, R, C, V


@rule(
    "Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks",
    twin="Muon",
    keys={"b": "momentum_buffer", "v": "exp_avg_sq"},
    rate=2e-2,
    matrices_only=True,
    deviations=(
        "The buffer is an average, momentum * b + (1 - momentum) * g (torch); the author's is a sum.",
        "The class takes matrices only (torch). With matrices_only=False, as in a study, a tensor of one dimension takes a step"
        " of AdamW with beta1 = momentum, and more than two count as (first, all others), as the author has it.",
        "The iterations run in bfloat16 (torch, author); precise=True runs them in the tensor's own dtype.",
    ),
    refused=(
        (
            'adjust_lr_fn is none of "original" and "match_rms_adamw".',
            lambda h: h["adjust_lr_fn"] not in ("original", "match_rms_adamw"),
        ),
    ),
)
def muon(
    p, g, t, b=zeros, v=vector_zeros, *, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True, ns_a=3.4445,
    ns_b=-4.775, ns_c=2.0315, eps=1e-7, ns_steps=5, adjust_lr_fn="original", beta_v=0.95, precise=False,
):  # fmt: skip
    """Make the momentum matrix orthogonal, so that all directions of a layer move equally far.

    Use: for hidden matrices of transformers, with another rule for the rest.
    Avoid: for biases, norms, embeddings, first and last layers.
    """
    b = ema(b, g, momentum)
    d = ema(g, b, 1 - momentum) if nesterov else b
    if v is None:
        ratio = maximum(1.0, rows(p) / columns(p)) if adjust_lr_fn == "original" else 0.04 * maximum(rows(p), columns(p))
        d = sqrt(ratio) * orthogonal(d, ns_a, ns_b, ns_c, eps, ns_steps, precise)
    else:
        v = ema(v, g * g, beta_v)
        d = debias(b, momentum, t) / (sqrt(debias(v, beta_v, t)) + eps)
    return p * (1 - lr * weight_decay) - lr * d, b, v
