"""Update rules, each written once as its paper writes it. They know no engine."""

import importlib

from .combinators import clip_by_norm, clip_by_value, coupled, decoupled, lookahead, noisy, sam, switch
from .definition import RULES, Rule, column_zeros, copy_of_g, copy_of_p, filled, get, row_zeros, rule, scalar, zeros

for _family in (
    "gradient",
    "adaptive",
    "sign",
    "layerwise",
    "averaging",
):  # in order of growing complexity, which is the registry's order
    importlib.import_module(f".{_family}", __name__)

CLASSICS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")  # what the field compares with
RACE = CLASSICS[:-1]  # on surfaces: adamw decays weights, and a surface has none

__all__ = [
    "CLASSICS", "RACE", "RULES", "Rule",
    "clip_by_norm", "clip_by_value", "column_zeros", "copy_of_g", "copy_of_p", "coupled", "decoupled",
    "filled", "get", "lookahead", "noisy", "row_zeros", "rule", "sam", "scalar", "switch", "zeros",
]  # fmt: skip
