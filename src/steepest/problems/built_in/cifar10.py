"""CIFAR-10: download the official binary archive, read the files present, and train a residual network of 20 layers."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import SteepestError
from .. import download
from ..download import Progress
from ..problem import Problem

MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
ARCHIVE, MD5 = "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"  # from its web page
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin", "test_batch.first_1000.bin")  # the whole, or a part of it
RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue bytes of an image
MOST = 10_000 * RECORD  # bytes in a file
ARCHIVE_BYTES = 200_000_000  # limit; the official archive has 170 million
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images, by channel


def folder() -> Path:
    """The folder of CIFAR-10: `cifar10` in $STEEPEST_DATA, or in the user's cache."""
    return download.folder("cifar10")


def fetch(mirrors: tuple[str, ...] = MIRRORS, progress: Progress = lambda *_: None) -> tuple[Path, list[str]]:
    """Download the archive if one of its files is missing, check it, and unpack six files. Returns folder and new files.

    An archive that is already in the folder is checked too; of existing files only the lengths are checked.
    """
    here, names = folder(), (*TRAIN, TEST[0])
    for name in names:
        if path := _path(name):
            _records(path)
    missing = [name for name in names if _path(name) is None]
    if missing:
        archive = here / ARCHIVE
        if archive.exists():
            _check(archive)
        else:
            download.retrieve(ARCHIVE, here, mirrors, _check, ARCHIVE_BYTES, progress)
        with tarfile.open(archive) as files:
            for member in files:
                name = Path(member.name).name
                content = files.extractfile(member) if member.isfile() and name in missing else None
                if content is not None:
                    if member.size > MOST:
                        raise SteepestError(f"{archive} contains a {name} of {member.size} bytes; expected at most {MOST}.")
                    part = here / f"{name}.part"
                    part.unlink(missing_ok=True)  # in case it is a link, which would be followed
                    part.write_bytes(content.read())
                    part.replace(here / name)
        archive.unlink()
    return here, missing


def verified(fetched: list[str]) -> str:
    """A phrase on what `fetch` has checked."""
    return "the archive's checksum is correct" if fetched else "their lengths are correct (only the archive has a checksum)"


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        checksum = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if checksum != MD5:
        raise SteepestError(f"{archive} has the checksum {checksum}; expected {MD5}. Remove it and fetch it again.")


def _path(name: str) -> Path | None:
    """The path of a file, plain or gzipped; None if it is missing."""
    return next((path for path in (folder() / name, folder() / f"{name}.gz") if path.exists()), None)


def _records(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The records of a file, (n, RECORD). Raises SteepestError if its length is wrong."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST + 1)  # bounded, as a small file may decompress to a huge one
    except (OSError, EOFError, zlib.error):
        content = b""
    if not content or len(content) % RECORD or len(content) > MOST:
        raise SteepestError(f"{path} is corrupted: its length is not that of CIFAR-10's records. Remove it and fetch it again.")
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


def read(names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) of uint8 and labels (n,) of the files present. Raises SteepestError for no or a corrupt file."""
    parts = [_records(path) for path in filter(None, map(_path, names))]
    if not parts:
        raise SteepestError(
            f"CIFAR-10 is not here ({folder() / names[0]} is missing). Run: steepest data fetch cifar10, or set STEEPEST_DATA "
            "to a folder that contains cifar10/."
        )
    records = torch.from_numpy(np.concatenate(parts))
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long()


class Block(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm; if the shape changes, the shortcut halves the image and pads channels."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.stride, self.more = out // into, out - into
        self.first, self.second = nn.Conv2d(into, out, 3, self.stride, 1, bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, into, side, side) to (batch, out, side / stride, side / stride)."""
        y = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        short = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(y + short)


def resnet20() -> nn.Sequential:
    """He et al. 2016, arXiv:1512.03385, section 4.2: three stages of three blocks, 16 to 64 channels; 0.27 million weights."""
    widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    blocks = [Block(a, b) for a, b in itertools.pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def cifar10_resnet20() -> Problem:
    """ResNet-20 on the training images present, a tenth of them for validation; no augmentation."""

    def scaled(images: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, DEVIATION))
        return (images.float() / 255 - mean) / deviation

    images, labels = read(TRAIN)
    test_images, test_labels = read(TEST)
    kept = len(images) // 10
    return Problem(
        name="cifar10-resnet20",
        about=f"ResNet-20, batch 128, on {len(images):,} of 50,000 training and {len(test_images):,} of 10,000 test images",
        model=resnet20,
        loss=nn.CrossEntropyLoss(),
        train=(scaled(images[kept:]), labels[kept:]),
        valid=(scaled(images[:kept]), labels[:kept]),
        test=(scaled(test_images), test_labels),
        metric="accuracy",
        batch_size=128,
        drop_last=True,
        steps=700,
    )
