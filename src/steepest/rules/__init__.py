"""Update rules, each written once, in its paper's notation. They import no engine."""

from .combinators import ball, box, clip_by_norm, clip_by_value, coupled, decoupled, lookahead, noisy, sam, switch
from .definition import (
    RULES,
    Rule,
    column_zeros,
    copy_of_g,
    copy_of_p,
    filled,
    row_zeros,
    rule,
    scalar,
    shaped,
    vector_zeros,
    zeros,
)
from .lookup import changed, get

# The families, in order of growing complexity, which is the registry's order.
from . import gradient as gradient  # isort: skip
from . import adaptive as adaptive  # isort: skip
from . import sign as sign  # isort: skip
from . import layerwise as layerwise  # isort: skip
from . import averaging as averaging  # isort: skip

CLASSICS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")  # the usual baselines
RACE = CLASSICS[:-1]  # on surfaces, which have no weights to decay

__all__ = [
    "CLASSICS", "RACE", "RULES", "Rule",
    "ball", "box", "changed", "clip_by_norm", "clip_by_value", "column_zeros", "copy_of_g", "copy_of_p", "coupled",
    "decoupled", "filled", "get", "lookahead", "noisy", "row_zeros", "rule", "sam", "scalar", "shaped", "switch",
    "vector_zeros", "zeros",
]  # fmt: skip
