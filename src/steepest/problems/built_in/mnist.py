"""MNIST: download with checksum and resume, read the files, and train a small network."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import SteepestError
from .. import download
from ..download import Progress
from ..problem import Problem

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# sha256 of each file's content, uncompressed: the gzip wrapper may differ from copy to copy.
CONTENT = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
LARGEST = 16 + 60_000 * 28 * 28  # bytes of the largest content


def folder() -> Path:
    """The folder of MNIST: `mnist` in $STEEPEST_DATA, or in the user's cache."""
    return download.folder("mnist")


def fetch(mirrors: tuple[str, ...] = MIRRORS, progress: Progress = lambda *_: None) -> tuple[Path, list[str]]:
    """Download missing files from the first mirror that works. Returns the folder and the names of new files.

    A broken download is resumed. Content is checked against `CONTENT`; a file that fails is deleted.
    """
    here, fetched = folder(), []
    for name in CONTENT:
        target = here / f"{name}.gz"
        if target.exists():
            _content(target)
            continue
        download.retrieve(target.name, here, mirrors, _content, LARGEST, progress)
        fetched.append(target.name)
    return here, fetched


def verified(fetched: list[str]) -> str:
    """A phrase on what `fetch` has checked."""
    return "all checksums are correct"


def _content(path: Path) -> bytes:
    """The uncompressed bytes of a file. Raises SteepestError if their checksum is not MNIST's."""
    name = path.name.removesuffix(".gz")
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)  # bounded, as a small file may decompress to a huge one
    except (OSError, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != CONTENT[name]:
        raise SteepestError(f"{path} is corrupted: its checksum is not MNIST's. Remove it and run: steepest data fetch mnist")
    return content


def read(name: str) -> Tensor:
    """One MNIST file as a uint8 tensor: images (n, 28, 28) or labels (n,). Raises SteepestError if it is missing or corrupt."""
    path = folder() / f"{name}.gz"
    if not path.exists():
        raise SteepestError(
            f"MNIST is not here ({path} is missing). Run: steepest data fetch mnist, or set STEEPEST_DATA to a folder "
            "that contains mnist/."
        )
    content = _content(path)
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy())


def network() -> nn.Sequential:
    """784-100-10 with ReLU."""
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def mnist_mlp() -> Problem:
    """784-100-10 with ReLU, cross-entropy, batch 100, pixels in [0, 1]: 55,000 train, 5,000 valid, 10,000 test images."""

    def split(name: str) -> tuple[Tensor, Tensor]:
        return read(f"{name}-images-idx3-ubyte").flatten(1).float() / 255, read(f"{name}-labels-idx1-ubyte").long()

    (images, labels), test = split("train"), split("t10k")
    return Problem(
        name="mnist-mlp",
        about="28 x 28 handwritten digits, a 784-100-10 network with ReLU, batch 100",
        model=network,
        loss=nn.CrossEntropyLoss(),
        train=(images[:55_000], labels[:55_000]),
        valid=(images[55_000:], labels[55_000:]),
        test=test,
        metric="accuracy",
        batch_size=100,
        steps=3000,
        image=(28, 28),
    )
