"""What people type for optimizers and rates: one grammar, parsed here and printed so that it parses back.

Commas outside brackets separate candidates:

    adam
    adamw(weight_decay=?, beta2=0.9..0.999)
    sgd(lr=[0.1, 0.01])
    torch.optim.NAdam(betas=(?, 0.999))
    mine.py:MyOpt, heavyball:SOAP, all:pytorch_optimizer
    {generator: adam, discriminator: sgd(momentum=0.9)}

`?` searches the usual range of a setting, `a..b` a range, `[a, b]` these values; a candidate in braces has several parts.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import SteepestError

LONGEST = 2_000  # characters of a text
DEEPEST = 20  # nested brackets
PAIRS = {"(": ")", "[": "]", "{": "}"}
KEY = re.compile(r"[A-Za-z0-9_][\w.-]*")
NAME = re.compile(r"[A-Za-z_]\w*")
NUMBER = r"[-+]?(?:[0-9]+\.[0-9]+|[0-9]+\.(?!\.)|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?"
RANGE = re.compile(rf"({NUMBER})\s*\.\.(?!\.)\s*({NUMBER})")
TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
ESCAPE = re.compile(r"\\([0-3]?[0-7]{1,2}|.)")
WORDS = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Ask:
    """`?`: search the usual range of a setting."""

    def __str__(self) -> str:
        return "?"


@dataclass(frozen=True)
class Between:
    """`0.9..0.999`: search a range."""

    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not self.low < self.high:
            raise SteepestError(f"The range {self} is empty; write the lower end first, such as 0.9..0.999.")
        if not math.isfinite(self.high - self.low):
            raise SteepestError(f"The range {self} is too wide; its ends need a finite distance.")

    def __str__(self) -> str:
        return f"{self.low!r}..{self.high!r}"


@dataclass(frozen=True)
class OneOf:
    """`[16, 32]`: compare these values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(written, self.values))}]"


@dataclass(frozen=True)
class One:
    """One optimizer by name, with settings."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that have a value."""
        return {name: value for name, value in self.settings if not is_searched(value)}

    @property
    def searched(self) -> dict[str, Any]:
        """The settings that are searched, wholly or in a part of a tuple."""
        return {name: value for name, value in self.settings if is_searched(value)}

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={written(value)}" for name, value in self.settings)
        return f"{self.name}({settings})" if settings else self.name


@dataclass(frozen=True)
class Parts:
    """One candidate of several optimizers, by the name of the part."""

    parts: tuple[tuple[str, One], ...]

    def __str__(self) -> str:
        return f"{{{', '.join(f'{key}: {one}' for key, one in self.parts)}}}"


Candidate = One | Parts


def is_searched(value: Any) -> bool:
    """Whether a setting is searched, wholly or in a part of a tuple."""
    if isinstance(value, tuple):
        return any(map(is_searched, value))
    return isinstance(value, Ask | Between | OneOf)


def written(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Ask | Between | OneOf):
        return str(value)
    return repr(value)


def split(text: str) -> list[str]:
    """The pieces of a text between the commas outside brackets and quotes. SteepestError if one is not closed."""
    return [text[begin:end].strip() for begin, end in _pieces(text, text) if text[begin:end].strip()]


def candidate(text: str) -> Candidate:
    """Parse one candidate. Raises SteepestError with what cannot be read."""
    pieces = split(text)
    if len(pieces) != 1:
        raise _unread(text)
    (text,) = pieces
    return _parts(text) if text.startswith("{") else _one(text, text)


def candidates(text: str) -> list[Candidate]:
    """Parse candidates separated by commas."""
    return [candidate(piece) for piece in split(text)]


def rates(text: str) -> list[float] | dict[str, list[float]]:
    """Parse "0.1,0.01", for all optimizers, or "sgd=0.1,adam=0.001", where a name may be repeated with another rate."""
    parts = split(text)
    cuts = [_last_equals(part) for part in parts]
    if all(cut is None for cut in cuts):
        return [_rate(part) for part in parts]
    named: dict[str, list[float]] = {}
    for part, cut in zip(parts, cuts, strict=True):
        if cut is None:
            raise SteepestError(f"Rates '{text}': '{part}' names no optimizer; write either all rates as name=rate, or none.")
        named.setdefault(str(candidate(part[:cut])), []).append(_rate(part[cut + 1 :]))
    return named


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SteepestError(f"The learning rate '{text}' is not a number; expected one such as 0.01.") from None


def _last_equals(text: str) -> int | None:
    """The position of the last = outside brackets."""
    at = [k for k, letter, depth in _scanned(text, text) if letter == "=" and depth == 0]
    return at[-1] if at else None


# Parsing


def _scanned(text: str, whole: str) -> Iterator[tuple[int, str, int]]:
    """Each letter outside quotes with its position and depth in brackets. Raises SteepestError if one is not closed."""
    if len(text) > LONGEST:
        raise SteepestError(f"The optimizers have {len(text):,} characters; expected at most {LONGEST:,}.")
    opened: list[str] = []
    quote = ""
    skip = False
    for k, letter in enumerate(text):
        if skip:  # after a backslash
            skip = False
            continue
        if quote:
            skip = letter == "\\"
            quote = "" if letter == quote else quote
            continue
        if letter in "'\"":
            quote = letter
        elif letter in PAIRS:
            yield k, letter, len(opened)
            opened.append(PAIRS[letter])
            if len(opened) > DEEPEST:
                raise _unread(whole, "its brackets are nested too deeply")
            continue
        elif letter in PAIRS.values() and (not opened or opened.pop() != letter):
            raise _unread(whole, f"'{letter}' closes no bracket")
        yield k, letter, len(opened)
    if quote or opened:
        raise _unread(whole, f"{quote or opened[-1]!r} is missing")


def _pieces(text: str, whole: str) -> list[tuple[int, int]]:
    """The begin and end of each piece between commas outside brackets."""
    commas = [k for k, letter, depth in _scanned(text, whole) if letter == "," and depth == 0]
    return [*zip([0, *(k + 1 for k in commas)], [*commas, len(text)], strict=True)]


def _parts(text: str) -> Parts:
    """Parse a candidate in braces."""
    if not text.endswith("}"):
        raise _unread(text, "nothing can follow the closing brace")
    parts: dict[str, One] = {}
    inside = text[1:-1]
    for begin, end in _pieces(inside, text):
        key, colon, rest = (part.strip() for part in inside[begin:end].partition(":"))
        if not colon or not KEY.fullmatch(key) or not rest:
            raise SteepestError(
                f"The candidate '{text[:60]}' cannot be read; write its parts such as {{generator: adam, discriminator: sgd}}."
            )
        if key in parts:
            raise SteepestError(f"The candidate '{text[:60]}' has the part '{key}' twice; name each once.")
        parts[key] = _one(rest, text)
    return Parts(tuple(parts.items()))


def _one(text: str, whole: str) -> One:
    """Parse one optimizer with its settings."""
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not name or any(letter in name for letter in "{}[]()='\"?,") or not name.isprintable():
        raise _unread(whole)
    if not bracket:
        return One(name)
    if not rest.endswith(")"):
        raise _unread(whole)
    inside = rest[:-1]
    settings: dict[str, Any] = {}
    pieces = [inside[begin:end].strip() for begin, end in _pieces(inside, whole)]
    if pieces[-1] == "":
        pieces.pop()
    for piece in pieces:
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not NAME.fullmatch(key):
            raise _unread(whole)
        if key in settings:
            raise SteepestError(f"The optimizer '{whole[:60]}' sets {key} twice; set it once.")
        settings[key] = _value(value, whole)
    return One(name, tuple(settings.items()))


def _value(text: str, whole: str, top: bool = True) -> Any:
    """Parse a value: `?`, a range, values in square brackets, a tuple that may contain the former, or a Python literal.

    `top`: it is not in square brackets itself.
    """
    if text == "?":
        return Ask()
    if found := RANGE.fullmatch(text):
        return Between(float(found[1]), float(found[2]))
    if text.startswith("[") and text.endswith("]") and top:
        values = [_value(item, whole, False) for item in _items(text, whole)]
        if not values or any(map(is_searched, values)):
            raise _unread(whole, "square brackets hold one or more values")
        return OneOf(tuple(values))
    if text.startswith("(") and text.endswith(")"):
        items = _items(text, whole)
        if len(items) == 1 and not text[:-1].rstrip().endswith(","):
            return _value(items[0], whole, top)
        return tuple(_value(item, whole, top) for item in items)
    return _literal(text, whole)


def _items(text: str, whole: str) -> list[str]:
    """The items inside a pair of brackets; a comma after the last one counts for nothing."""
    inside = text[1:-1]
    items = [inside[begin:end].strip() for begin, end in _pieces(inside, whole)]
    if items[-1] == "":
        items.pop()
    if any(item == "" for item in items):
        raise _unread(whole)
    return items


def _literal(text: str, whole: str) -> Any:
    """Parse a plain value: a number, a text in quotes, True, False or None."""
    if text in WORDS:
        return WORDS[text]
    if TEXT.fullmatch(text):
        with contextlib.suppress(SyntaxError, ValueError):
            return ast.literal_eval(ESCAPE.sub(_escaped, text))
    for kind in (functools.partial(int, base=0), float):
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(text)
            if math.isfinite(value):
                return value
    raise _unread(whole, f"{text[:30] or 'nothing'} is no number, text in quotes, True, False or None")


def _escaped(found: re.Match[str]) -> str:
    """An escape sequence that Python knows; any other backslash, as in a path, is doubled."""
    return found[0] if found[1][0] in "\\'\"abfnrtvxuUN01234567" else "\\" + found[0]


def _unread(text: str, why: str = "") -> SteepestError:
    shown = f"'{text[:60]}' cannot be read{': ' + why if why else ''}"
    return SteepestError(f"The optimizer {shown}; write it such as sgd(momentum=0.99).")
