"""Rules that look further than one element: over a tensor, or over the whole model."""

from .combinators import coupled
from .rule import filled, rule, zeros
from .vocabulary import clip, debias, ema, mean, norm, sqrt, where


@rule(
    "You et al. 2020, arXiv:1904.00962, Algorithm 2, with phi the identity",
    class_name="LAMB",
    rate=1e-2,
    deviations=("A tensor whose norm, or whose update's norm, is zero moves at the plain rate.",),
)
def lamb(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.0):
    m = ema(m, g, beta1)
    v = ema(v, g * g, beta2)
    r = debias(m, beta1, t) / (sqrt(debias(v, beta2, t)) + eps) + weight_decay * p
    x, u = norm(p), norm(r)
    ratio = where(x * u > 0, x / u, 1.0)
    return p - lr * ratio * r, m, v


@coupled
@rule("Xie et al. 2022, arXiv:2006.15815, Algorithm 2", rate=0.1)
def adai(p, g, t, m=zeros, v=zeros, c=filled(1.0), *, lr=0.1, beta0=0.1, beta2=0.99, eps=1e-3):
    v = ema(v, g * g, beta2)
    v_hat = debias(v, beta2, t)
    beta1 = clip(1 - beta0 * v_hat / mean(v_hat, over="model"), 0.0, 1 - eps)
    m = ema(m, g, beta1)
    c = c * beta1
    return p - lr * m / (1 - c), m, v, c
