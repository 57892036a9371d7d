"""The location of a store's checkpoints; `checkpoints`, which writes them, imports torch."""

from pathlib import Path


def folder_of(store: str) -> Path:
    """The folder of a store's checkpoints."""
    return Path(f"{store}-unfinished")
