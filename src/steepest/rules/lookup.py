"""Find a rule by what users type: a name, a name with settings, or a rule in a file."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import SteepestError, described, run_file, unknown
from .definition import FILES, RULES, Rule

if TYPE_CHECKING:
    from .foreign import Foreign, Parts


def get(name: str | Rule) -> Rule:
    """Find a rule: by name, with other defaults ("sgd(momentum=0.99)"), or in a file (FILE.py:NAME). A Rule is returned as is.

    SteepestError for an unknown name, with the nearest known one, and for other objects, such as torch's optimizer classes.
    """
    if isinstance(name, Rule):
        return name
    if not isinstance(name, str):
        raise SteepestError(f"The optimizer is {described(name)}; expected a name such as 'adam', or a rule: {_instead(name)}.")
    path, colon, inside = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), inside)
    if name.endswith(")"):
        return _with_settings(name)
    if name not in RULES:
        raise unknown("optimizer", name, RULES, hint="A rule of your own is FILE.py:NAME.")
    return RULES[name]


def _instead(given: object) -> str:
    """Suggest a replacement for an object that is not a rule: for an optimizer class, the name of its rule."""
    made = getattr(given, "func", given)  # of a functools.partial
    called = (made if isinstance(made, type) else type(made)).__name__
    twin = next((rule.name for rule in RULES.values() if rule.class_name == called and not rule.base), None)
    return f"give '{twin}', its name here" if twin else "write one with @steepest.rule, and give it or FILE.py:NAME"


def _with_settings(text: str) -> Rule:
    """Parse a name with hyperparameters in parentheses: the rule with these defaults, not registered."""
    try:
        name, changes = _parsed(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SteepestError(f"The optimizer '{text[:60]}' cannot be read; write it such as sgd(momentum=0.99).") from None
    rule = get(name)
    if "lr" in changes:
        raise SteepestError(f"The optimizer '{text[:60]}' sets lr; give rates separately, such as --lrs {rule.name}=0.1.")
    return changed(rule, **changes)


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """A name, and the settings in parentheses after it. ValueError or SyntaxError for any other text."""
    call = ast.parse(text.strip(), mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError
    return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


@overload
def changed(maker: Rule, **settings: Any) -> Rule: ...
@overload
def changed(maker: Foreign, **settings: Any) -> Foreign: ...
@overload
def changed(maker: Parts, **settings: Any) -> Parts: ...


def changed(maker: Rule | Foreign | Parts, **settings: Any) -> Rule | Foreign | Parts:
    """The optimizer with other defaults, and a name that says which, such as "sgd(momentum=0.99)"; it is not registered.

    A rate is also the centre of its grid of rates. SteepestError for an unknown setting, or a value outside its domain.

    >>> steepest.rules.changed(steepest.rules.get("sgd"), momentum=0.9).name
    'sgd(momentum=0.9)'
    """
    if not isinstance(maker, Rule):
        return maker.changed(**settings)
    name, before = maker.name, dict[str, Any]()
    if name.endswith(")"):
        name, before = _parsed(name)
    numbers = {k for k, v in settings.items() if type(v) is int and isinstance(maker.hyper.get(k), float)}
    settings = {k: float(v) if k in numbers else v for k, v in settings.items()}
    maker.settings(**settings)
    return dataclasses.replace(
        maker,
        name=written(name, {**before, **settings}),
        hyper={**maker.hyper, **settings},
        rate=settings.get("lr", maker.rate),
        traced=[],
        base=maker.base or maker,
    )


def written(name: str, settings: Mapping[str, Any]) -> str:
    """A name with settings in parentheses, the rate first."""
    first = {k: v for k, v in settings.items() if k == "lr"}
    words = ", ".join(f"{k}={v!r}" for k, v in (first | {**settings}).items())
    return f"{name}({words})" if words else name


def _from_file(path: Path, name: str) -> Rule:
    defined = run_file(path, "rule")
    wanted = defined.get(name)
    if not isinstance(wanted, Rule):
        rules = ", ".join(k for k, v in defined.items() if isinstance(v, Rule))
        if name not in defined:
            raise SteepestError(f"{path} defines no rule {name}; it defines {rules or 'none'}. Define it with @steepest.rule.")
        such = f", such as {rules}" if rules else ""
        raise SteepestError(f"{path}:{name} is {described(wanted)}; expected a rule{such}: {_instead(wanted)}.")
    FILES[wanted] = path, name
    return wanted
