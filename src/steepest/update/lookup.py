"""Find an optimizer by what users type or give: a rule, or anybody's class or function by its signature."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from .. import rules
from ..errors import SteepestError, described, listed, message_of, run_file, unknown
from ..problems import code, origin
from ..rules import Rule
from ..rules.definition import FILES, Hyper
from ..rules.foreign import MARK, RATE, Foreign, Maker, Parts
from .torch_class.optimizer import RuleOptimizer, optimizer_class
from .torch_class.signature import class_arguments, settings_of

RATES = ("lr", "learning_rate", "alpha", "eta")  # names of the rate's argument
MODELS = ("model", "module", "net", "network")  # names of an argument that is a model
USUAL_RATE = 1e-3
EXPECTED = "expected the name of an optimizer, FILE.py:NAME, module:NAME, or a class or function that makes one"


def find(given: object, text: str | None = None) -> Maker:
    """Find an optimizer by a name, FILE.py:NAME, module:NAME or dotted name, or from a class, function or partial of those.

    `text` is the name to show for an object; a Rule, Foreign or Parts is returned as is. A class of `steepest.optim` gives its
    rule. SteepestError for anything else, for an instance of an optimizer, and for an import that fails.

    >>> find("torch.optim.NAdam(momentum_decay=0.01)").settings()["momentum_decay"]
    0.01
    >>> find(torch.optim.SGD).twin
    <Rule sgd>
    """
    if isinstance(given, Rule | Foreign | Parts):
        return given
    if isinstance(given, str):
        return _named(given.strip())
    if isinstance(given, functools.partial):
        return _of_partial(given, text)
    if isinstance(given, type) and issubclass(given, RuleOptimizer) and optimizer_class(given.rule) is given:
        return given.rule
    is_class = isinstance(given, type) and issubclass(given, Optimizer) and given is not Optimizer
    if not is_class and not inspect.isroutine(given):
        raise _not_a_maker(given, text)
    return _foreign(given, text)  # type: ignore[arg-type]


def _not_a_maker(given: object, text: str | None) -> SteepestError:
    what = f"The optimizer {text} is" if text else "The optimizer is"
    if isinstance(given, Optimizer):
        hint = "give the class, with settings in functools.partial, as each run makes its own."
        return SteepestError(f"{what} {described(given)}; {hint}")
    return SteepestError(f"{what} {described(given)}; {EXPECTED}.")


def _named(text: str) -> Maker:
    """Find an optimizer by a name, with or without settings in parentheses."""
    name, parenthesis, rest = text.partition("(")
    path, colon, inside = name.rpartition(":")
    is_file = bool(colon) and path.endswith(".py")
    if not is_file and name.endswith(".py"):
        raise SteepestError(f"{name} is a file; name the optimizer in it, such as {name}:MyOptimizer.")
    if not is_file and not colon and "." not in name:
        return rules.get(text)
    if is_file:
        maker = _in_file(Path(path), inside, name)
    else:
        maker = find(*_attribute(name)) if colon or "." in name else rules.get(name)
    return rules.changed(maker, **_settings(text, rest)) if parenthesis else maker


def _settings(text: str, rest: str) -> Mapping[str, Any]:
    """The settings of a text, after its opening parenthesis."""
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SteepestError(f"The optimizer '{text[:60]}' cannot be read; write it such as sgd(momentum=0.99).") from None


def _in_file(path: Path, name: str, text: str) -> Maker:
    """The rule, class or function with this name in a user's file."""
    defined = run_file(path, "rule")
    if name not in defined:
        known = [k for k, v in defined.items() if isinstance(v, Rule) or _is_optimizer(v)]
        raise SteepestError(f"{path} defines no {name}; it defines {listed(known) or 'no optimizer'}.")
    maker = find(defined[name], text)
    if isinstance(maker, Rule) and maker is defined[name]:
        FILES[maker] = path, name
    if isinstance(maker, Foreign) and maker.base is None:
        return dataclasses.replace(maker, imports=(f"from {path.stem} import {name}",), called=name)
    return maker


def _attribute(text: str) -> tuple[Any, str]:
    """The object with a name such as torch.optim.NAdam or torch.optim:NAdam, and that name."""
    start, colon, inside = text.partition(":")
    parts = [*start.split("."), *inside.split(".")] if colon else start.split(".")
    if not all(part.isidentifier() for part in parts):
        raise SteepestError(f"The optimizer '{text[:60]}' is not a name; {EXPECTED}.")
    thing: Any = imported(start if colon else parts[0])
    for k, part in enumerate(parts[1:] if not colon else inside.split(".")):
        if not colon and not hasattr(thing, part) and isinstance(thing, ModuleType) and k < len(parts) - 2:
            thing = imported(f"{thing.__name__}.{part}")
            continue
        if not hasattr(thing, part):
            raise _missing(thing, part)
        thing = getattr(thing, part)
    return thing, text


def _missing(thing: Any, name: str) -> SteepestError:
    """The error for a name that a module or class does not define."""
    if isinstance(thing, ModuleType) and (known := optimizers_of(thing)):
        return unknown(f"optimizer of {thing.__name__}", name, known)
    return SteepestError(f"{getattr(thing, '__name__', thing)} has no {name}; {EXPECTED}.")


def imported(name: str) -> ModuleType:
    """Import a module. SteepestError if it is not installed or raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except (SteepestError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        missing = error.name or name
        top = missing.partition(".")[0]
        if f"{name}.".startswith(f"{missing}.") and "." not in missing:
            hint = f"install it with: pip install {top}, or give FILE.py:NAME"
            raise SteepestError(f"There is no module {missing}; {hint}.") from error
        if f"{name}.".startswith(f"{missing}."):
            raise SteepestError(f"The package {top} has no module {missing}; give one that it has.") from error
        raise SteepestError(f"The module {name} needs {missing}, which is missing; pip install {top}.") from error
    except BaseException as error:  # sys.exit() too
        raise SteepestError(f"The module {name} raised {message_of(error)}") from error


def _of_partial(given: functools.partial[Any], text: str | None) -> Maker:
    """The optimizer of a partial: plain values are changed settings, others stay within; a rate is the centre of its grid."""
    if given.args:
        raise SteepestError("The optimizer is a functools.partial with positional arguments; give them by their names.")
    settings = {name: value for name, value in given.keywords.items() if _is_plain(value)}
    others = {name: value for name, value in given.keywords.items() if name not in settings}
    maker = _foreign(functools.partial(given.func, **others), text) if others else find(given.func, text)
    if isinstance(maker, Rule):
        settings = _of_rule(maker, settings)
    rate = settings.pop(maker.takes_lr if isinstance(maker, Foreign) else RATE, None)
    maker = rules.changed(maker, **settings) if settings else maker
    if rate is None or isinstance(maker, Parts):
        return maker
    return dataclasses.replace(maker, rate=float(rate), base=maker.base or maker)  # type: ignore[arg-type]


def _of_rule(rule: Rule, settings: Mapping[str, Any]) -> Hyper:
    """Arguments of a rule's class as its hyperparameters, those that differ from the defaults, and the rate."""
    for name in settings:
        if name not in class_arguments(rule.hyper):
            raise unknown(f"argument of {rule.class_name}", name, class_arguments(rule.hyper))
    hyper = settings_of(rule, dict(settings))
    return {name: value for name, value in hyper.items() if value != rule.hyper[name] or (name == RATE and RATE in settings)}


# From a class or function to its settings


def _foreign(make: Callable[..., Any], text: str | None = None) -> Foreign:
    """Read an optimizer's signature. SteepestError if it takes no learning rate or nothing to train."""
    maker = make.func if isinstance(make, functools.partial) else make
    module, inside = place_of(maker)
    is_at_home = module in ("", "__main__")
    name = text or (inside if is_at_home else joined(module, inside))
    first, arguments, takes_any = _arguments(make, name)
    required = tuple(k for k, v in arguments.items() if v is inspect.Parameter.empty and k not in RATES)
    takes_lr = next((k for k in RATES if k in arguments), RATE if takes_any else None)
    if takes_lr is None:
        raise SteepestError(f"{name} {_no_rate(first, arguments, required)}; give a function (params, lr) that makes it.")
    own = arguments.pop(takes_lr, None)
    twin = _twin(make)
    own_rate = float(own) if isinstance(own, int | float) and own > 0 else USUAL_RATE
    return Foreign(
        name=name,
        make=make,
        hyper={k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if _is_plain(v)},
        rate=twin.rate if twin else own_rate,
        digest=_digest(make),
        wants_model=first.name in MODELS or _is_module(first.annotation),
        takes_lr=takes_lr,
        twin=twin,
        imports=() if is_at_home else (f"import {'torch' if module == 'torch.optim' else module}",),
        called=inside if is_at_home else f"{module}.{inside}",
        required=required,
        takes_any=takes_any,
    )


def _digest(make: Callable[..., Any]) -> str:
    """The digest of the user's source, or of a library's name and version."""
    with _unhooked():
        return MARK + code.digest({"optimizer": make})[0]


@contextlib.contextmanager
def _unhooked() -> Iterator[None]:
    """A context in which the user's optimizer classes have the step that they define.

    torch wraps it when a class makes its first instance, and the wrapper is code of torch.
    """
    hooked: list[tuple[type[Optimizer], Any]] = []
    waiting: list[type[Optimizer]] = [Optimizer]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        step = vars(cls).get("step")
        if getattr(step, "hooked", False) and hasattr(step, "__wrapped__") and origin.is_own_class(cls):
            hooked.append((cls, step))
    for cls, step in hooked:
        setattr(cls, "step", step.__wrapped__)  # noqa: B010
    try:
        yield
    finally:
        for cls, step in hooked:
            setattr(cls, "step", step)  # noqa: B010


def _no_rate(first: inspect.Parameter, arguments: Mapping[str, Any], required: tuple[str, ...]) -> str:
    """Why an optimizer without an argument for the rate cannot be made."""
    if first.name in ("optimizer", "base_optimizer"):
        return "wraps another optimizer"
    if required:
        return f"needs {listed(required)}"
    return f"takes no learning rate (lr); its arguments are {listed([first.name, *arguments])}"


def place_of(make: Any) -> tuple[str, str]:
    """The shortest module from which a class or function can be imported, and its name there; "" if there is none."""
    module, name = str(getattr(make, "__module__", "") or ""), make.__qualname__
    if "<" in name:
        return "", make.__name__.strip("<>")
    parts = module.split(".")
    for k in range(1, len(parts) + 1):
        place = ".".join(parts[:k])
        if getattr(sys.modules.get(place), name, None) is make:
            return place, name
    return module, name


def joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module == "torch.optim" else f"{module}:{name}"


def _arguments(make: Callable[..., Any], name: str) -> tuple[inspect.Parameter, dict[str, Any], bool]:
    """The first parameter, the defaults of the others by name (or `empty`), and whether any other name is accepted."""
    try:
        parameters = [*inspect.signature(make).parameters.values()]
    except (TypeError, ValueError):
        raise SteepestError(f"{name} has no signature that Python can read; give a function (params, lr).") from None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    first = next((p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD), None)
    if first is None:
        raise SteepestError(f"{name} takes no parameters to train; an optimizer is made by (params, lr).")
    arguments = {p.name: p.default for p in named if p is not first}
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if isinstance(make, type) and passes_on and not any(k in arguments for k in RATES):
        bases = [base for base in make.__mro__[1:] if "__init__" in vars(base)]
        if issubclass(bases[0], Optimizer) and bases[0] is not Optimizer:  # which its **kwargs are passed on to
            inherited = _arguments(bases[0], name)[1]
            arguments = {k: v for k, v in inherited.items() if v is not inspect.Parameter.empty or k in RATES} | arguments
    return first, arguments, passes_on and not isinstance(make, type)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_module(annotation: object) -> bool:
    """Whether a parameter's annotation is a torch module, also as text."""
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == "Module"
    return isinstance(annotation, type) and issubclass(annotation, nn.Module)


def _is_optimizer(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Optimizer) and thing is not Optimizer


def _twin(make: object) -> Rule | None:
    """The rule with the same numbers as this class of torch."""
    known = [rule for rule in rules.RULES.values() if rule.twin and not rule.base and rule.is_ours]
    return next((rule for rule in known if getattr(torch.optim, str(rule.twin)) is make), None)


def optimizers_of(module: ModuleType) -> dict[str, type[Optimizer]]:
    """The optimizer classes that a module exports, each once."""
    exported = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found: dict[str, type[Optimizer]] = {}
    for name in exported:
        thing = getattr(module, name, None)
        if isinstance(thing, type) and _is_optimizer(thing) and not inspect.isabstract(thing) and thing not in found.values():
            found[name] = thing
    return found
