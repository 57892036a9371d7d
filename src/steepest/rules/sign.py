"""Rules that look at the gradient's sign."""

from .rule import filled, rule, zeros
from .vocabulary import clip, sign, where


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
    agree = sign(g * q)
    s = clip(where(agree > 0, etaplus, where(agree < 0, etaminus, 1.0)) * s, step_min, step_max)
    q = where(agree < 0, 0.0, g)
    return p - sign(q) * s, q, s
