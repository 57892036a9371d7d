"""Rules that use the sign of the gradient."""

from .combinators import decoupled
from .definition import filled, rule, zeros
from .vocabulary import clip, ema, sign, where


@rule(
    "Riedmiller & Braun 1993; the variant iRprop-: Igel & Hüsken 2000",
    twin="Rprop",
    keys={"q": "prev", "s": "step_size"},
    rate=1e-2,
    deviations=("A gradient whose sign has flipped counts as zero (iRprop-, torch); the original takes the step back.",),
)
def rprop(
    p, g, t, q=zeros, s=filled("lr"), *, lr=1e-2, etaminus=0.5, etaplus=1.2, step_min=1e-6, step_max=50.0
):  # fmt: skip
    """Use signs only: a coordinate's step grows while its gradient's sign stays, and shrinks when the sign flips.

    Use: when gradients are exact: full batches.
    Avoid: for mini-batches: noise flips signs.
    """
    agree = sign(g * q)
    s = clip(where(agree > 0, etaplus, where(agree < 0, etaminus, 1.0)) * s, step_min, step_max)
    q = where(agree < 0, 0.0, g)
    return p - sign(q) * s, q, s


@decoupled
@rule("Chen et al. 2023, arXiv:2302.06675, Algorithm 2", keys={"m": "exp_avg"}, rate=1e-3)
def lion(p, g, t, m=zeros, *, lr=1e-4, beta1=0.9, beta2=0.99):
    """Step by the sign of an average of gradients, and store only that average: half of Adam's state.

    Use: when memory is short and batches are large; at a third to a tenth of AdamW's rate.
    Avoid: when batches are small: a sign is as large for noise as for a slope.
    """
    return p - lr * sign(ema(m, g, beta1)), ema(m, g, beta2)
