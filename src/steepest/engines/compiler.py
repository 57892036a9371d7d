"""Compiles LLVM's language for this processor, and keeps what it compiled on disk."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where compiled kernels are kept: $STEEPEST_CACHE, or the user's cache."""
    given = os.environ.get("STEEPEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "steepest" / "kernels"


@functools.cache
def _machine() -> tuple[Any, Any, str]:
    """LLVM's binding, this processor as a target, and a name for both."""
    import llvmlite
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    return llvm, target, f"{llvmlite.__version__} {cpu} {features}"


_engines: list[Any] = []  # compiled code lives as long as its engine
_lock = threading.RLock()
compiled = 0  # kernels compiled in this process, not loaded from disk


def load(source: str, *functions: str) -> list[int]:
    """The addresses of a source's functions: from the disk, or compiled and kept there."""
    global compiled
    with _lock:
        llvm, target, machine = _machine()
        path = cache_folder() / f"{hashlib.sha256((machine + source).encode()).hexdigest()}.o"
        code = _kept(path)
        if code is None:
            module = llvm.parse_assembly(source)
            options = llvm.create_pipeline_tuning_options(speed_level=3)
            options.loop_vectorization = options.loop_interleaving = True
            builder = llvm.create_pass_builder(target, options)
            builder.getModulePassManager().run(module, builder)
            code = target.emit_object(module)
            compiled += 1
            _keep(path, code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        return [engine.get_function_address(name) for name in functions]


def _kept(path: Path) -> bytes | None:
    """The code kept under this name, or None where there is none or it is damaged (LLVM would end the process)."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[32:] if hashlib.sha256(content[32:]).digest() == content[:32] else None


def _keep(path: Path, code: bytes) -> None:
    """Write the code and its hash in one move; a folder that cannot be written only costs time at the next start."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(file.name, path)
    except OSError:
        pass
