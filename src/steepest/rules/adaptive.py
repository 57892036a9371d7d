"""Adaptive rules, with a rate for each element, in order of growing complexity."""

from .combinators import coupled, coupled_or_decoupled, decoupled
from .definition import copy_of_g, copy_of_p, filled, rule, scalar, zeros
from .domains import SHARE
from .vocabulary import cbrt, debias, ema, maximum, power, sqrt, total, where


@coupled
@rule(
    "Duchi, Hazan & Singer 2011, JMLR 12",
    twin="Adagrad",
    keys={"G": "sum"},
    rate=0.03,
    deviations=("eps is outside the root (torch); eps_inside=True puts it inside, as the paper does.",),
)
def adagrad(
    p, g, t, G=filled("initial_accumulator_value"), *,
    lr=1e-2, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, eps_inside=False,
):  # fmt: skip
    """Divide each coordinate by the root of the sum of its squared gradients. Rare features keep a large rate.

    Use: when features are sparse: words, clicks, embeddings.
    Avoid: when runs are long: the sum only grows, and the effective rate goes to zero.
    """
    G = G + g * g
    root = sqrt(G + eps) if eps_inside else sqrt(G) + eps
    return p - lr / (1 + (t - 1) * lr_decay) * g / root, G


@coupled
@rule(
    "Tieleman & Hinton 2012, Lecture 6.5; centred form: Graves 2013, arXiv:1308.0850",
    twin="RMSprop",
    keys={"v": "square_avg", "m": "grad_avg", "b": "momentum_buffer"},
    rate=3e-3,
    domains={"alpha": SHARE},
    deviations=(
        "alpha is 0.99 (torch) where the lecture says 0.9.",
        "eps is outside the root and momentum before the rate (torch); eps_inside=True is Graves' form.",
        "The centred variance is not clamped at zero (torch).",
    ),
)
def rmsprop(
    p, g, t, v=zeros, m=zeros.when("centered"), b=zeros.when("momentum"), *,
    lr=1e-2, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, eps_inside=False,
):  # fmt: skip
    """Adagrad with an average of squared gradients in place of their sum, so that the effective rate does not vanish.

    Use: for recurrent networks, reinforcement learning, data that change over time.
    Avoid: when the first steps matter: without bias correction, the first one moves each weight by ten rates.
    """
    v = ema(v, g * g, alpha)
    variance = v
    if centered:
        m = ema(m, g, alpha)
        variance = v - m * m
    d = g / (sqrt(variance + eps) if eps_inside else sqrt(variance) + eps)
    if momentum:
        d = b = momentum * b + d
    return p - lr * d, v, m, b


@coupled
@rule(
    "Zeiler 2012, arXiv:1212.5701, Algorithm 1",
    twin="Adadelta",
    keys={"v": "square_avg", "u": "acc_delta"},
    rate=1.0,
    domains={"rho": SHARE},
    deviations=("A rate multiplies the step, and rho is 0.9 (torch); the paper has no rate and 0.95.",),
)
def adadelta(p, g, t, v=zeros, u=zeros, *, lr=1.0, rho=0.9, eps=1e-6):
    """RMSprop that multiplies by the root mean square of its own past updates. Units cancel, and so does the rate.

    Use: when the rate cannot be tuned at all.
    Avoid: when the rate can be tuned: it starts slowly and is rarely the best.
    """
    v = ema(v, g * g, rho)
    d = sqrt(u + eps) / sqrt(v + eps) * g
    return p - lr * d, v, ema(u, d * d, rho)


@coupled_or_decoupled
@rule(
    "Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; AMSGrad: Reddi, Kale & Kumar 2018, arXiv:1904.09237",
    twin="Adam",
    keys={"m": "exp_avg", "v": "exp_avg_sq", "u": "max_exp_avg_sq"},
    rate=5e-3,
    deviations=("AMSGrad divides by the corrected maximum of v (torch); its paper corrects nothing.",),
)
def adam(p, g, t, m=zeros, v=zeros, u=zeros.when("amsgrad"), *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False):
    """Divide an average of gradients by the root of an average of their squares, both corrected for starting at zero. A step
    is about as long as the rate, whatever the size of the gradient.

    Use: as a first choice on most networks, at a rate near 0.001.
    Avoid: when you want weight decay (use AdamW), or memory is short: it stores two numbers for each weight.
    """
    m = ema(m, g, beta1)
    v = ema(v, g * g, beta2)
    if amsgrad:
        u = maximum(u, v)
    m_hat = debias(m, beta1, t)
    v_hat = debias(u if amsgrad else v, beta2, t)
    return p - lr * m_hat / (sqrt(v_hat) + eps), m, v, u


adamw = adam.preset(
    "adamw",
    class_name="AdamW",
    twin="AdamW",
    reference="Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2",
    weight_decay=1e-2,
    decoupled_weight_decay=True,
    deviations=("The decay follows the rate, p * (1 - lr * weight_decay) (torch); the paper's follows the schedule only.",),
    doc="""
    Adam with weight decay applied to the weights themselves, not to the gradient, so that it is not divided away.

    Use: for transformers and fine-tuning, with a warm-up and a cosine schedule.
    Avoid: when memory is short, or momentum trains the network equally well.
    """,
)


@coupled
@rule(
    "Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2",
    twin="Adamax",
    keys={"m": "exp_avg", "u": "exp_inf"},
    rate=5e-3,
    deviations=("eps is added to |g| inside the maximum (torch); the paper has none.",),
)
def adamax(p, g, t, m=zeros, u=zeros, *, lr=2e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam that divides by the largest recent gradient in place of a root mean square. This bounds its steps exactly.

    Use: when gradients are small except for rare bursts.
    Avoid: in other cases: it is Adam with a longer memory of the largest gradient.
    """
    m = ema(m, g, beta1)
    u = maximum(beta2 * u, abs(g) + eps)
    return p - lr * debias(m, beta1, t) / u, m, u


@coupled_or_decoupled
@rule(
    "Dozat 2016, Incorporating Nesterov Momentum into Adam",
    twin="NAdam",
    keys={"m": "exp_avg", "v": "exp_avg_sq", "c": "mu_product"},
    rate=5e-3,
    deviations=("m has a constant beta1 (torch), while the momentum of the step follows the schedule of the report.",),
)
def nadam(
    p, g, t, m=zeros, v=zeros, c=scalar(1.0), *, lr=2e-3, beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=4e-3
):  # fmt: skip
    """Adam with Nesterov's correction of its average of gradients.

    Use: when Adam works and its first steps should be faster.
    Avoid: when both are tuned: the difference is small.
    """
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    c = c * mu
    m = ema(m, g, beta1)
    v = ema(v, g * g, beta2)
    d = (1 - mu) / (1 - c) * g + mu_next / (1 - c * mu_next) * m
    return p - lr * d / (sqrt(debias(v, beta2, t)) + eps), m, v, c


@coupled_or_decoupled
@rule(
    "Liu et al. 2020, arXiv:1908.03265, Algorithm 2",
    twin="RAdam",
    keys={"m": "exp_avg", "v": "exp_avg_sq"},
    rate=5e-3,
    deviations=(
        "The step is rectified where rho > 5 (torch and the authors' code; the paper says 4), below it is momentum's.",
        "eps joins the root of v before its bias is corrected (torch).",
        "m goes a share of the way to g, so that after an infinite gradient it is NaN (torch).",
    ),
)
def radam(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam that takes momentum's steps until its average of squares covers enough gradients. A warm-up without a setting.

    Use: when Adam needs a warm-up and you would rather not tune one.
    Avoid: when there is a warm-up schedule already.
    """
    m = m + (1 - beta1) * (g - m)
    v = ema(v, g * g, beta2)
    longest = 2 / (1 - beta2) - 1
    rho = longest - 2 * t * beta2**t / (1 - beta2**t)
    r = sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
    rectified = r * sqrt(1 - beta2**t) / (sqrt(v) + eps)
    return p - lr * debias(m, beta1, t) * where(rho > 5, rectified, 1.0), m, v


@coupled
@rule(
    "Defazio & Jelassi 2022, arXiv:2101.11075, Algorithm 1",
    class_name="MADGRAD",
    origin="the authors' code",
    rate=1e-2,
    deviations=("lambda is lr * sqrt(t); the authors' code adds eps to lr, so that a rate of 0 still moves.",),
)
def madgrad(p, g, t, s=zeros, v=zeros, x0=copy_of_p, *, lr=1e-2, momentum=0.9, eps=1e-6):
    """Sum gradients from the start, weighted by time, and divide by the cube root of summed squares. Each point is computed
    from the starting point.

    Use: when problems are sparse, or momentum works but is slow to tune; with little weight decay.
    Avoid: when weight decay was tuned for Adam: the best value differs here.
    """
    step = lr * sqrt(t)
    s = s + step * g
    v = v + step * g * g
    z = x0 - s / (cbrt(v) + eps)
    return momentum * p + (1 - momentum) * z, s, v, x0


@coupled
@rule(
    "Chen et al. 2020, arXiv:1806.06763, Algorithm 1",
    keys={"m": "exp_avg", "v": "exp_avg_sq", "u": "max_exp_avg_sq"},
    rate=5e-2,
    deviations=(
        "eps, absent from the paper, is added to the root of v; partial is 1/8 (the paper's experiments; the code's 1/4).",
        "bias_correction=True corrects as the authors' code does: by sqrt(1 - beta2 ** t) whatever partial is.",
    ),
)
def padam(
    p, g, t, m=zeros, v=zeros, u=zeros, *, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, partial=0.125, bias_correction=False
):  # fmt: skip
    """Adam with a power of the second moment between momentum's 0 and Adam's 1/2.

    Use: to interpolate between momentum and Adam with one number.
    Avoid: when there is no budget to tune that number too.
    """
    m = ema(m, g, beta1)
    v = ema(v, g * g, beta2)
    u = maximum(u, v)
    rate = lr * sqrt(1 - beta2**t) / (1 - beta1**t) if bias_correction else lr
    return p - rate * m / power(sqrt(u) + eps, 2 * partial), m, v, u


@decoupled
@rule(
    "Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2",
    class_name="AdaBelief",
    origin="the authors' code",
    keys={"m": "exp_avg", "s": "exp_avg_var"},
    rate=5e-3,
    deviations=(
        "Decay is decoupled and eps is 1e-16 (the authors' code).",
        "rectify=True is the code's default, as RAdam: below rho = 5 the step is momentum's, and s is not corrected.",
    ),
)
def adabelief(p, g, t, m=zeros, s=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-16, rectify=False):
    """Adam that divides by how far a gradient is from its average, not by its size. Steady gradients give long steps.

    Use: when Adam works and slopes are long and steady.
    Avoid: when gradients are nearly constant: eps then sets the step.
    """
    m = ema(m, g, beta1)
    s = ema(s, (g - m) * (g - m), beta2) + eps
    if not rectify:
        return p - lr * debias(m, beta1, t) / (sqrt(debias(s, beta2, t)) + eps), m, s
    longest = 2 / (1 - beta2) - 1
    rho = longest - 2 * t * beta2**t / (1 - beta2**t)
    r = sqrt((1 - beta2**t) * (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
    return p - lr * debias(m, beta1, t) * where(rho >= 5, r / (sqrt(s) + eps), 1.0), m, s


@rule(
    "Xie et al. 2022, arXiv:2208.06677, Algorithm 1",
    origin="the authors' code",
    keys={"m": "exp_avg", "v": "exp_avg_diff", "n": "exp_avg_sq", "q": "neg_pre_grad"},
    rate=1e-2,
    deviations=(
        "The betas are 1 minus the paper's (the authors' code); decay is proximal, a division by 1 + lr * weight_decay.",
        "m, v and n start at 0 and their bias is corrected (the code). paper_start=True starts as the paper does, at"
        " m = g, n = g * g, and v = g - q at the second step, and corrects nothing.",
        "restart is the radius R of the paper's condition, with paper_start; 0 never restarts (the code).",
    ),
    refused=(("restart above 0 needs paper_start=True.", lambda h: h["restart"] and not h["paper_start"]),),
)
def adan(
    p, g, t, m=zeros, v=zeros, n=zeros, q=copy_of_g, k=scalar(0.0), moved=scalar(0.0).when("restart"), *,
    lr=1e-3, beta1=0.98, beta2=0.92, beta3=0.99, eps=1e-8, weight_decay=0.0, paper_start=False, restart=0.0,
):  # fmt: skip
    """Adam with an average of the gradient's change, which gives Nesterov's look-ahead without a second gradient.

    Use: for large models and large batches, where it was developed.
    Avoid: when memory is short: it stores three averages and the last gradient.
    """
    y = where(k == 0, 0.0, g - q)
    z = g + beta2 * y
    m, n = [where(k == 0, x, ema(s, x, b)) if paper_start else ema(s, x, b) for s, x, b in ((m, g, beta1), (n, z * z, beta3))]
    v = where(k <= 1, y, ema(v, y, beta2)) if paper_start else ema(v, y, beta2)
    k = k + 1
    a, b, c = (m, v, n) if paper_start else (debias(m, beta1, k), debias(v, beta2, k), debias(n, beta3, k))
    new = (p - lr * (a + beta2 * b) / (sqrt(c) + eps)) / (1 + lr * weight_decay)
    if restart:
        moved = moved + total((new - p) * (new - p) * sqrt(n), over="model")
        far = k * moved > restart * restart
        k, moved = where(far, 0.0, k), where(far, 0.0, moved)
    return new, m, v, n, g, k, moved
