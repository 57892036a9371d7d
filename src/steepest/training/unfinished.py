"""Where the checkpoints of a store are; apart from what writes them, which needs torch."""

from pathlib import Path


def folder_of(store: str) -> Path:
    """The folder of a store's checkpoints."""
    return Path(f"{store}-unfinished")
