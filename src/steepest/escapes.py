"""Escapes for untrusted text: on an HTML page, on a terminal, in a script, and in a table for a spreadsheet."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import unicodedata
from typing import Any

LINES = "\n\t"  # control characters allowed in ordinary text
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # beginnings that a spreadsheet reads as a formula
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")  # no SVG, which could contain a script


def plain(text: object, keep: str = LINES) -> str:
    """Escape every unprintable character but those in `keep`, as `repr` writes it.

    These are control characters (ESC begins terminal commands, one of which sets the clipboard), marks that have no width or
    change the direction of writing, and unpaired surrogates, which cannot be encoded in a file.

    >>> from steepest.escapes import plain
    >>> plain("a" + chr(27) + "[31mb")
    'a\\\\x1b[31mb'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in shown)


def every(data: Any, keep: str = "", largest: float = math.inf) -> Any:
    """Apply `plain` to every string in dataclasses, lists, tuples and dicts, keys included; clip floats at ±`largest`."""
    if isinstance(data, str):
        return plain(data, keep)
    if isinstance(data, float):
        return min(max(data, -largest), largest)
    if isinstance(data, list | tuple):
        return type(data)(every(value, keep, largest) for value in data)
    if isinstance(data, dict):
        return {every(key, keep): every(value, keep, largest) for key, value in data.items()}
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        fields = dataclasses.fields(data)
        return type(data)(**{field.name: every(getattr(data, field.name), keep, largest) for field in fields})
    return data


def page(text: object) -> str:
    """Escape text for HTML, between tags or in a quoted attribute."""
    return html.escape(plain(text))


def script(data: object) -> str:
    """Serialize data as JavaScript that cannot close the script element around it."""
    return json.dumps(data).replace("<", "\\u003c")


def is_picture(address: object) -> bool:
    """Whether an address is a `data:` URL of a PNG, the only kind of image from a store that a page shows."""
    return isinstance(address, str) and PICTURE.fullmatch(address) is not None


def cell(value: Any) -> Any:
    """Escape a cell for a spreadsheet: put an apostrophe before text that would be read as a formula."""
    if not isinstance(value, str):
        return value
    shown = plain(value)
    return f"'{shown}" if shown.lstrip().startswith(FORMULAS) or value.startswith(FORMULAS) else shown
