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
        with contextlib.closing(_Cache(cache_folder())) as cache:
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
        self.path, self.folder = path or Path(), None
        with contextlib.suppress(OSError):  # a folder that cannot be made or opened
            if path and hasattr(os, "geteuid"):
                for folder in (*reversed(path.parents), path):
                    if not folder.exists():
                        folder.mkdir(mode=0o700, exist_ok=True)
                self.folder = _opened(path, os.O_DIRECTORY)

    def close(self) -> None:
        if self.folder is not None:
            os.close(self.folder)

    def read(self, name: str) -> bytes | None:
        """The code stored under this name; None where there is none, or it is damaged, by which LLVM would crash."""
        content = b""
        with contextlib.suppress(OSError):
            opened = None if self.folder is None else _opened(self.path / name, os.O_NONBLOCK, self.folder)
            if opened is not None:
                with open(opened, "rb") as file:
                    content = file.read()
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


def _opened(path: Path, flags: int, folder: int | None = None) -> int | None:
    """Open a file (in an open folder) or a folder that only this user may write to; None and one warning for others."""
    try:
        opened = os.open(path if folder is None else path.name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    except OSError:
        why = "is a link" if os.path.islink(path) else ""
    else:
        owner = os.fstat(opened)
        others = owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        why = "is another user's" if owner.st_uid != os.geteuid() else "may be written by others" if others else ""
        if not why:
            return opened
        os.close(opened)
    if why and (path.parent, why) not in _warned:
        _warned.add((path.parent, why))
        warnings.warn(
            f"steepest does not use its cache of compiled kernels: {path} {why}. Kernels are compiled anew in each "
            "process. Remove it, or name a folder of your own by STEEPEST_CACHE.",
            stacklevel=2,
        )
    return None
