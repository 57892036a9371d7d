"""The cache of compiled kernels: its files are executed, so nobody else may write to it."""

import os
import pwd
import stat
import warnings
from pathlib import Path

import pytest
import torch

import steepest
from steepest.update.engines import kernel
from steepest.update.engines.llvm import compiler


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "parent" / "kernels"
    monkeypatch.setenv("STEEPEST_CACHE", str(folder))
    monkeypatch.setattr(compiler, "_warned", set())
    return folder


def step(monkeypatch):
    """One step by a kernel that is new to this process; returns whether it had to be compiled."""
    monkeypatch.setattr(kernel, "_programs", {})
    before = compiler.compiled
    p = torch.nn.Parameter(torch.ones(5))
    p.grad = torch.ones(5)
    optimizer = steepest.optim.SGD([p], lr=0.5)
    optimizer.step()
    assert p.tolist() == [0.5] * 5
    assert optimizer.engine == "kernel"
    return compiler.compiled > before


def test_folders_and_files_are_made_for_their_user_alone(cache, monkeypatch):
    before = os.umask(0)
    try:
        assert step(monkeypatch)
    finally:
        os.umask(before)
    for folder in (cache.parent, cache):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not step(monkeypatch)


def open_folder(cache, file):
    cache.chmod(0o777)
    return f"{cache} may be written by others"


def open_file(cache, file):
    file.chmod(0o666)
    return f"{file} may be written by others"


def linked_folder(cache, file):
    cache.rename(cache.with_name("elsewhere"))
    cache.symlink_to(cache.with_name("elsewhere"))
    return f"{cache} is a link"


def linked_file(cache, file):
    file.rename(cache.parent / "planted.o")
    file.symlink_to(cache.parent / "planted.o")
    return f"{file} is a link"


def another_owner(cache, file):
    os.chown(file, 12345, 12345)
    return f"{file} is another user's"


def another_owners_folder(cache, file):
    os.chown(cache, 12345, 12345)
    return f"{cache} is another user's"


@pytest.mark.parametrize(
    "make", [open_folder, open_file, linked_folder, linked_file, another_owner, another_owners_folder], ids=lambda f: f.__name__
)
def test_what_another_could_have_planted_is_not_used_and_said_once(make, cache, monkeypatch):
    if "owner" in make.__name__ and os.geteuid():
        pytest.skip("only root can give a file away")
    step(monkeypatch)
    (file,) = cache.iterdir()
    words = make(cache, file)
    with pytest.warns(UserWarning, match="does not use its cache of compiled kernels") as caught:
        assert step(monkeypatch)
    assert words in str(caught[0].message)
    assert step(monkeypatch) is ("folder" in make.__name__)  # a newly compiled file replaces a planted one
    assert not list(Path(cache).glob("*.part"))


def test_a_planted_file_with_the_right_hash_is_not_run(cache, monkeypatch):
    """The attack: another kernel's valid file, which passes a check of its content."""
    step(monkeypatch)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.unlink()
    planted = cache.parent / "planted.o"
    planted.write_bytes(content)
    file.symlink_to(planted)
    loaded = []
    read = compiler._Cache.read
    monkeypatch.setattr(compiler._Cache, "read", lambda self, name: loaded.append(read(self, name)) or loaded[-1])
    with pytest.warns(UserWarning, match="is a link"):
        step(monkeypatch)
    assert loaded == [None]


def test_a_user_without_a_home_steps_without_a_cache(monkeypatch):
    def nobody(_):
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "STEEPEST_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert compiler.cache_folder() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(monkeypatch)
        assert step(monkeypatch)


def test_a_cache_that_is_not_an_absolute_path_counts_for_nothing(monkeypatch, tmp_path):
    monkeypatch.delenv("STEEPEST_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("cache", "./cache", "../cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert compiler.cache_folder() == tmp_path / ".cache" / "steepest" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert compiler.cache_folder() == tmp_path / "mine" / "steepest" / "kernels"


def test_a_folder_that_may_not_be_searched_only_costs_time(cache, monkeypatch):
    """As in another user's home: every access is denied. (Simulated, since root is never denied.)"""

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    for name in ("exists", "is_symlink", "mkdir", "stat", "lstat"):
        monkeypatch.setattr(Path, name, refused)
    assert step(monkeypatch)


def test_a_folder_in_the_place_of_a_kernel_only_costs_time(cache, monkeypatch):
    step(monkeypatch)
    (file,) = cache.iterdir()
    file.unlink()
    file.mkdir()
    assert step(monkeypatch)
    assert list(cache.iterdir()) == [file]


@pytest.mark.parametrize("call", ["write", "replace"])
def test_nothing_is_left_behind_where_it_cannot_be_kept(call, cache, monkeypatch):
    """A full disk fails while the code is written, another user's folder with the sticky bit when the file is moved there."""

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    if call == "replace":
        monkeypatch.setattr(os, "replace", fail)
        assert step(monkeypatch)
    else:
        real = open

        class Full:
            def __init__(self, *given):
                self.file = real(*given)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            write = fail

        monkeypatch.setattr(
            "builtins.open", lambda f, mode="r", *a, **k: Full(f, mode) if mode == "wb" else real(f, mode, *a, **k)
        )
        assert step(monkeypatch)
    assert list(cache.iterdir()) == []
    monkeypatch.undo()
