"""Filters for the output of user code: each line once while a problem is checked, nothing during its runs."""

from __future__ import annotations

import sys
from typing import Any, Self, TextIO, cast


class Once:
    """Replace `sys.stdout` inside a `with` and print every distinct line once, also across several `with` blocks.

    >>> with Once():
    ...     for _ in range(3):
    ...         print("built")
    built
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._begun = ""  # an unfinished line
        self._out: TextIO = sys.stdout
        self._is_open = False

    def __enter__(self) -> Self:
        self._out, self._is_open = sys.stdout, True
        sys.stdout = cast(TextIO, self)
        return self

    def __exit__(self, *exc: object) -> None:
        self.flush()
        sys.stdout, self._is_open = self._out, False

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute, such as the encoding, from the stream it replaces."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._out, name)

    def write(self, text: str) -> int:
        """Print the lines that this text completes, if new; after the `with`, print everything."""
        if not self._is_open:
            return self._out.write(text)
        *ended, self._begun = (self._begun + text).split("\n")
        for line in ended:
            self._print(f"{line}\n")
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Print the unfinished line, if new."""
        begun, self._begun = self._begun, ""
        if begun:
            self._print(begun)
        self._out.flush()

    def close(self) -> None:
        """Only flush: user code that closes its standard output must not close ours."""
        self.flush()

    def _print(self, text: str) -> None:
        if text not in self._seen:
            self._seen.add(text)
            self._out.write(text)


class Silence(Once):
    """Replace `sys.stdout` inside a `with` and print nothing."""

    def _print(self, text: str) -> None:
        pass
