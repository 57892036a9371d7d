"""CIFAR-10: its archive from a loopback server, reading existing files, and the residual network."""

import functools
import hashlib
import http.server
import io
import tarfile

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import steepest
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.problems.built_in import cifar10
from tests.cases import serving


def made(count, seed):
    """Records of synthetic images."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, cifar10.RECORD), dtype=np.uint8)
    records[:, 0] = rng.integers(0, 10, count)
    return records


@pytest.fixture
def served(tmp_path, monkeypatch):
    """An empty $STEEPEST_DATA, and a server with a small archive in the official layout."""
    files = tmp_path / "served"
    files.mkdir()
    with tarfile.open(files / cifar10.ARCHIVE, "w:gz") as archive:
        for i, name in enumerate((*cifar10.TRAIN, cifar10.TEST[0], "readme.html")):
            content = made(20, i).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5((files / cifar10.ARCHIVE).read_bytes()).hexdigest())
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path / "data"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    handler.func.log_message = lambda *args: None
    with serving(handler) as server:
        yield server.url


def test_the_archive_is_fetched_checked_and_unpacked_once(served, monkeypatch):
    command = ["data", "fetch", "cifar10", "--mirror", served + "absent/", "--mirror", served]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "6 files fetched" in first.stdout
    assert sorted(p.name for p in cifar10.folder().iterdir()) == sorted((*cifar10.TRAIN, cifar10.TEST[0]))
    assert "nothing to fetch" in CliRunner().invoke(app, command).stdout
    images, labels = cifar10.read(cifar10.TRAIN)
    expected = np.concatenate([made(20, i) for i in range(5)])
    assert images.shape == (100, 3, 32, 32)
    assert np.array_equal(images.flatten(1).numpy(), expected[:, 1:])
    assert np.array_equal(labels.numpy(), expected[:, 0])


def test_an_archive_with_another_checksum_is_not_kept(served, monkeypatch):
    monkeypatch.setattr(cifar10, "MD5", "0" * 32)
    with pytest.raises(SteepestError, match="has the checksum"):
        cifar10.fetch((served,))
    assert not list(cifar10.folder().glob("*.bin")) + list(cifar10.folder().glob("*.gz"))


def test_what_is_absent_or_broken_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    with pytest.raises(SteepestError, match="Run: steepest data fetch cifar10"):
        cifar10.cifar10_resnet20()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "data_batch_1.bin").write_bytes(b"short")
    with pytest.raises(SteepestError, match="corrupted"):
        cifar10.read(cifar10.TRAIN)


def test_it_works_on_what_is_there_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "data_batch_1.bin").write_bytes(made(300, 0).tobytes())
    (tmp_path / "cifar10" / "test_batch.first_1000.bin").write_bytes(made(50, 1).tobytes())
    problem = cifar10.cifar10_resnet20()
    assert "300 of 50,000 training and 50 of 10,000 test images" in problem.about
    assert (len(problem.train), len(problem.valid), len(problem.test)) == (270, 30, 50)


def test_the_network_has_twenty_layers_and_the_papers_size():
    model = cifar10.resnet20()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 20
    assert sum(p.numel() for p in model.parameters()) == 269_722  # 0.27 million
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    shapes = [tuple(model[:k](torch.zeros(1, 3, 32, 32)).shape[1:]) for k in (6, 9, 12)]
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_the_full_tier_ranks_decays_and_optimizers_on_the_residual_network():
    from steepest_workshop.lessons import residual

    small = steepest.Problem(
        name="small",
        about="CIFAR-10: 1 of 50,000",
        model=lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 10)),
        loss=torch.nn.CrossEntropyLoss(),
        train=(torch.randn(40, 3, 2, 2), torch.arange(40) % 10),
        valid=(torch.randn(20, 3, 2, 2), torch.arange(20) % 10),
        metric="accuracy",
        batch_size=8,
    )
    first, second = residual.rows(small, lambda words: None, steps=6, seeds=2, trials=3)
    assert "momentum+exponential_steps" in first.ours
    assert "Kendall's tau with the printed order of ten" in second.ours
    assert all(name in second.ours for name in ("adan", "sam", "lamb"))
