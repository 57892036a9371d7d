"""Compiles LLVM's language for this processor, with a cache on disk that only its user can write to."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import stat
import threading
import warnings
from pathlib import Path
from typing import Any


def cache_folder() -> Path | None:
    """The folder of compiled kernels: $STEEPEST_CACHE, or the user's cache; None where the user has no home."""
    folder = os.environ.get("STEEPEST_CACHE")
    if folder:
        return Path(folder)
    theirs = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the standard ignores one that is not absolute
    try:
        return (theirs if theirs.is_absolute() else Path.home() / ".cache") / "steepest" / "kernels"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None


@functools.cache
def _machine(processor: str) -> tuple[Any, Any, str]:
    """LLVM's binding, a target (a processor by LLVM's name; "" for this one), and a name for both."""
    import llvmlite
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu = processor or llvm.get_host_cpu_name()
    features = "" if processor else llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    return llvm, target, f"{llvmlite.__version__} {cpu} {features}"


_engines: list[Any] = []  # compiled code lives as long as its engine
_lock = threading.RLock()
compiled = 0  # kernels compiled in this process, not loaded from disk


def load(source: str, *functions: str) -> list[int]:
    """The addresses of a source's functions: loaded from the cache, or compiled and stored there.

    $STEEPEST_TARGET names another processor to compile for than this one, such as x86-64-v3.
    """
    global compiled
    with _lock:
        llvm, target, machine = _machine(os.environ.get("STEEPEST_TARGET", ""))
        name = f"{hashlib.sha256((machine + source).encode()).hexdigest()}.o"
        with _Cache(cache_folder()) as cache:
            code = cache.read(name)
            if code is None:
                module = llvm.parse_assembly(source)
                options = llvm.create_pipeline_tuning_options(speed_level=3)
                options.loop_vectorization = options.loop_interleaving = True
                builder = llvm.create_pass_builder(target, options)
                builder.getModulePassManager().run(module, builder)
                code = target.emit_object(module)
                compiled += 1
                cache.write(name, code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        return [engine.get_function_address(name) for name in functions]


class _Cache:
    """The folder of kernels, opened once, so that what was checked is what is used.

    Its files run with the user's rights. So it and they must belong to the user, be writable by no one else, and be no links;
    otherwise nothing is loaded or stored, with one warning. On Windows, which has no such owners, nothing is stored.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.folder = path, self._opened(path) if path and hasattr(os, "geteuid") else None

    def _opened(self, path: Path) -> int | None:
        """The folder, created where there is none; None where it cannot be opened or others may write to it."""
        try:
            for folder in (*reversed(path.parents), path):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
            opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            if os.path.islink(path):
                self._refuse(path, "is a link")
            return None
        if self._is_own(opened, path):
            return opened
        os.close(opened)
        return None

    def __enter__(self) -> _Cache:
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            os.close(self.folder)

    def _is_own(self, opened: int, path: Path) -> bool:
        """Whether only this user may write to an open file or folder."""
        owner = os.fstat(opened)
        if owner.st_uid != os.geteuid():
            self._refuse(path, "is another user's")
        elif owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            self._refuse(path, "may be written by others")
        else:
            return True
        return False

    @staticmethod
    def _refuse(path: Path, why: str) -> None:
        """Warn once why the cache is not used."""
        if (path.parent, why) not in _warned:
            _warned.add((path.parent, why))
            warnings.warn(
                f"steepest does not use its cache of compiled kernels: {path} {why}. Kernels are compiled anew in each "
                "process. Remove it, or name a folder of your own by STEEPEST_CACHE.",
                stacklevel=2,
            )

    def read(self, name: str) -> bytes | None:
        """The code stored under this name; None where there is none, or it is damaged, by which LLVM would crash."""
        if self.folder is None or self.path is None:
            return None
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.folder)
        except OSError:
            if os.path.islink(self.path / name):
                self._refuse(self.path / name, "is a link")
            return None
        try:
            with open(opened, "rb") as file:
                content = file.read() if self._is_own(opened, self.path / name) else b""
        except OSError:
            return None
        return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None

    def write(self, name: str, code: bytes) -> None:
        """Store the code and its hash, atomically."""
        if self.folder is None:
            return
        part, at = f"{secrets.token_hex(8)}.part", self.folder
        with contextlib.suppress(OSError):  # a kernel that is not stored is compiled again
            opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
            try:
                with open(opened, "wb") as file:
                    file.write(hashlib.sha256(code).digest() + code)
                os.replace(part, name, src_dir_fd=at, dst_dir_fd=at)
            except BaseException:
                os.unlink(part, dir_fd=at)
                raise


_warned: set[tuple[Path, str]] = set()
