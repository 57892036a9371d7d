"""Text from elsewhere as it may be shown: on a page, on a terminal, in a script, and in a table for a spreadsheet."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

LINES = "\n\t"  # control characters of ordinary text
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # what a spreadsheet begins to compute at
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")  # what we record; an SVG could hold a script


def plain(text: object, keep: str = LINES) -> str:
    """Text without a character that acts instead of being seen: each is written as Python writes it.

    These are control characters (ESC begins the commands of a terminal, one of which sets the clipboard), marks that turn the
    direction of writing or have no width, and halves of surrogate pairs, which no file takes.

    >>> from steepest.escapes import plain
    >>> plain("a" + chr(27) + "[31mb")
    'a\\\\x1b[31mb'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in keep or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in shown)


def every(data: Any, keep: str = "") -> Any:
    """Data as JSON has them, with every string in them `plain`, the keys of objects too."""
    if isinstance(data, str):
        return plain(data, keep)
    if isinstance(data, dict):
        return {plain(key, keep): every(value, keep) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [every(value, keep) for value in data]
    return data


def page(text: object) -> str:
    """Text as it may stand in HTML, between tags and within the quotes of an attribute."""
    return html.escape(plain(text))


def script(data: object) -> str:
    """Data as JavaScript that cannot end the script in which they stand."""
    return json.dumps(data).replace("<", "\\u003c")


def is_picture(address: object) -> bool:
    """Whether an address is a PNG that is all in it: what a page may show of a store."""
    return isinstance(address, str) and PICTURE.fullmatch(address) is not None


def cell(value: Any) -> Any:
    """A cell of a table for a spreadsheet: a text that would be computed there has an apostrophe before it."""
    if not isinstance(value, str):
        return value
    shown = plain(value)
    return f"'{shown}" if shown.lstrip().startswith(FORMULAS) or value.startswith(FORMULAS) else shown
