"""Update rules, each written once as its paper writes it. They know no engine."""

import importlib

from .rule import RULES, Rule, copy_of_g, copy_of_p, filled, get, rule, scalar, zeros

for _family in (
    "gradient",
    "adaptive",
    "sign",
    "layerwise",
    "averaging",
):  # in order of growing complexity, which is the registry's order
    importlib.import_module(f".{_family}", __name__)

__all__ = ["RULES", "Rule", "copy_of_g", "copy_of_p", "filled", "get", "rule", "scalar", "zeros"]
