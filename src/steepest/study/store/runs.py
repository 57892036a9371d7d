"""The format of a run in a store: its key, its row, and the packed metric of single examples."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...training.recorder import Outcome
from ..scalars import UnfitError, Words
from . import gate

COLUMNS = (
    "problem",
    "optimizer",
    "schedule",
    "lr",
    "seed",
    "steps",
    "status",
    "valid",
    "test",
    "loss",
    "diverged_at",
    "seconds",
)
MOST_KEPT = 1024  # most results of single examples that are stored, if they are not bits
HALF = 6e-5, 65_504.0  # range of magnitudes that half precision represents to three digits


def key_of(spec: dict[str, Any]) -> str:
    """The hash of a spec, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def packed(examples: NDArray[np.float32] | None) -> bytes | None:
    """Pack the results of examples: one bit each if all are 0 or 100, otherwise as numbers, at most `MOST_KEPT` of them.

    Numbers are stored in half precision, or in single precision if they are too large or too small for that.
    """
    if examples is None:
        return None
    if np.isin(examples, (0.0, 100.0)).all():
        return b"b" + len(examples).to_bytes(4, "big") + np.packbits(examples > 0).tobytes()
    chosen = examples[np.linspace(0, len(examples) - 1, min(len(examples), MOST_KEPT)).astype(int)]
    sizes = np.abs(chosen[chosen != 0])
    if sizes.size and not (HALF[0] <= np.median(sizes) and sizes.max() <= HALF[1]):
        return b"g" + bytes(chosen.astype(np.float32).tobytes())
    return b"f" + bytes(chosen.astype(np.float16).tobytes())


def unpacked(blob: bytes | None) -> NDArray[np.float32] | None:
    """Unpack what `packed` made. Raises ValueError for other bytes."""
    if blob is None:
        return None
    if blob[:1] == b"b":
        count = int.from_bytes(blob[1:5], "big")
        if len(blob) != 5 + -(-count // 8):
            raise ValueError(f"{len(blob) - 5} bytes cannot be {count} bits")
        return 100 * np.unpackbits(np.frombuffer(blob[5:], np.uint8), count=count).astype(np.float32)
    if blob[:1] not in (b"f", b"g"):
        raise ValueError(f"results of examples begin with b, f or g, not {blob[:1]!r}")
    return np.frombuffer(blob[1:], np.float16 if blob[:1] == b"f" else np.float32).astype(np.float32)


def outcome_of(run: dict[str, Any]) -> Outcome:
    """The outcome in a row of `runs`. Raises UnfitError if a column has an invalid value."""
    row = gate.row({name: run[name] for name in COLUMNS})
    curve, examples = gate.curve(run["curve"]), gate.examples(run["examples"], unpacked)
    why = gate.one(run["why"], Words | None, "the reason why it has no value")
    if row["valid"] is not None and not curve.steps:
        raise UnfitError("it has a result, and no curve")
    results = {name: row[name] for name in ("valid", "test", "loss", "diverged_at", "seconds")}
    return Outcome(curve, **results, examples=examples, failed=row["status"] == "failed", why=why or "")
