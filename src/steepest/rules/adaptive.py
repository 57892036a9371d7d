"""Rules with a rate of its own for every parameter, in order of growing complexity."""

from .combinators import coupled, coupled_or_decoupled, decoupled
from .definition import SHARE, copy_of_g, copy_of_p, filled, rule, scalar, zeros
from .vocabulary import cbrt, debias, ema, maximum, power, sqrt, total, where


@coupled
@rule(
    "Duchi, Hazan & Singer 2011, JMLR 12",
    twin="Adagrad",
    keys={"G": "sum"},
    rate=0.03,
    deviations=("eps stands outside the root (torch); eps_inside=True puts it inside, as the paper does.",),
)
def adagrad(
    p, g, t, G=filled("initial_accumulator_value"), *,
    lr=1e-2, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, eps_inside=False,
):  # fmt: skip
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
        "eps stands outside the root and momentum before the rate (torch); eps_inside=True is Graves' form.",
        "The centred variance is not clamped at zero (torch).",
    ),
)
def rmsprop(
    p, g, t, v=zeros, m=zeros.when("centered"), b=zeros.when("momentum"), *,
    lr=1e-2, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, eps_inside=False,
):  # fmt: skip
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
        "eps, which the paper has not, is added to the root of v; partial is 1/8 (the paper's experiments; the code's 1/4).",
        "bias_correction=True corrects as the authors' code does: by sqrt(1 - beta2 ** t) whatever partial is.",
    ),
)
def padam(
    p, g, t, m=zeros, v=zeros, u=zeros, *, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, partial=0.125, bias_correction=False
):  # fmt: skip
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
