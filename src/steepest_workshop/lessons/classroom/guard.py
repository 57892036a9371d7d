"""What an answer may not do while it is graded: an audit hook that ends its process.

The child (`child`) loads it by its path, with copies of the builtins and modules that it uses, and has no reference to it: an
answer that replaces `os.path.realpath` does not change it, and finds it in no module and no frame. While an answer runs it
raises nothing, since a traceback has its frames.
"""

from __future__ import annotations

import os
import sys
from typing import Any

STRICT = "steepest.answer"  # the event with which the answer begins
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.utime")  # with a path first
REFUSED = {  # what begins with these, and what it is called
    "subprocess.": "start a process", "os.system": "start a process", "os.exec": "start a process",
    "os.posix_spawn": "start a process", "os.spawn": "start a process", "os.fork": "start a process", "pty.": "start a process",
    "os.kill": "end a process", "socket.": "use the network", "webbrowser.": "open a browser",
    "os.link": "write a file", "os.symlink": "write a file", "os.chown": "write a file", "shutil.": "write a file",
    "sqlite3.": "open a file", "sys.addaudithook": "watch this process",
}  # fmt: skip
REFUSED_TO_ANSWERS = {"gc.get_": "watch this process", "resource.": "change its limits"}


class Guard:
    """Refuses files, processes, the network and the lessons.

    Before the answer begins, modules are imported, and what they may not do raises PermissionError; then it ends the process.
    A file is read from Python's folders, and written in `home`, where libraries have their caches. `path` is `os.path`.
    """

    def __init__(self, hidden: str, home: str, pipe: int, path: Any) -> None:
        self.strict = False
        self._hidden, self._home, self._pipe, self._paths = f"{hidden}{os.sep}", f"{home}{os.sep}", pipe, path
        roots = {path.realpath(each) for each in (*sys.path, sys.prefix, sys.base_prefix) if path.isabs(each)} - {os.sep}
        self._readable = (*(f"{root}{os.sep}" for root in roots), self._home, f"/proc/{os.getpid()}/")
        self._devices = {"/dev/null", "/dev/urandom", "/dev/random", "/proc/cpuinfo", "/proc/meminfo"}

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook."""
        if event == STRICT:
            self.strict = True
        elif event == "open":
            self._open(*args)
        elif event in FILES:
            for path in args[: 2 if event == "os.rename" else 1]:
                if not self._path(path).startswith(self._home):
                    self._stop("write a file")
        elif event in ("os.listdir", "os.scandir"):
            if not f"{self._path(args[0])}{os.sep}".startswith(self._readable):
                self._stop("list a folder")
        else:
            refused = REFUSED | REFUSED_TO_ANSWERS if self.strict else REFUSED
            what = next((what for begin, what in refused.items() if event.startswith(begin)), "")
            if what:
                self._stop(what)

    def _open(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or path is None:
            return
        file = self._path(path)
        writes = set(mode or "") & set("wax+") or flags & WRITING
        if writes and not file.startswith(self._home) and file != os.devnull:
            self._stop(f"write the file {file}")
        if file.startswith(self._hidden) or not (file.startswith(self._readable) or file in self._devices):
            self._stop(f"read the file {file}")

    def _path(self, path: Any) -> str:
        """A path without links, as text of no class of an answer's own; empty if there is none."""
        try:
            given = path if isinstance(path, str | bytes) else os.fspath(path if path is not None else ".")
            text = str.__str__(given) if isinstance(given, str) else bytes.decode(given, "utf-8", "surrogateescape")
            return str(self._paths.realpath(text))
        except BaseException:  # an answer's own class raises
            return ""

    def _stop(self, what: str) -> None:
        if self.strict:
            words = f"The answer tried to {what}; an answer only computes."
            plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in words)
            os.write(self._pipe, f'{{"refused": "{plain}"}}'.encode())
            os._exit(0)
        raise PermissionError(f"not allowed: {what}")
