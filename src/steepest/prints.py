"""What code of the user's prints: lines of a problem's check appear once, and those of its many runs not at all."""

from __future__ import annotations

import sys
from typing import Any, Self, TextIO, cast


class Once:
    """Stands for `sys.stdout` inside a `with`: every distinct line goes there once. It may be entered again, and remembers.

    >>> with Once():
    ...     for _ in range(3):
    ...         print("built")
    built
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._begun = ""  # a line that has not ended
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
        """What else a text stream has, such as its encoding, is that of the stream it stands for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._out, name)

    def write(self, text: str) -> int:
        """Print the lines that end here, where they are new; all of it for who kept the stream until after the `with`."""
        if not self._is_open:
            return self._out.write(text)
        *ended, self._begun = (self._begun + text).split("\n")
        for line in ended:
            self._print(f"{line}\n")
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Print a line that has begun as far as it goes, where that is new."""
        begun, self._begun = self._begun, ""
        if begun:
            self._print(begun)
        self._out.flush()

    def close(self) -> None:
        """Code of the user's that closes its standard output closes nobody else's."""
        self.flush()

    def _print(self, text: str) -> None:
        if text not in self._seen:
            self._seen.add(text)
            self._out.write(text)


class Silence(Once):
    """Stands for `sys.stdout` inside a `with`: nothing goes there."""

    def _print(self, text: str) -> None:
        pass
