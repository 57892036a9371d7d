"""The format of a run in a store: its key, its row, and the packed metric of single examples or of resamples."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...problems.spread import DRAWS
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
    "test_se",
    "loss",
    "diverged_at",
    "seconds",
)
MOST_KEPT = 1024  # most results of single examples that are stored, if they are not bits
HALF = 6e-5, 65_504.0  # range of magnitudes that half precision represents to three digits


def key_of(spec: dict[str, Any]) -> str:
    """The hash of a spec, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def packed(outcome: Outcome) -> bytes | None:
    """Pack the results of examples: one bit each if all are 0 or 100, otherwise as numbers, at most `MOST_KEPT` of them.

    Numbers are stored in half precision, or in single precision if they are too large or too small for that. Without results of
    examples, those of resamples are stored, in single precision.
    """
    examples = outcome.examples
    if examples is None:
        return None if outcome.draws is None else b"d" + bytes(outcome.draws.astype(np.float32).tobytes())
    if np.isin(examples, (0.0, 100.0)).all():
        return b"b" + len(examples).to_bytes(4, "big") + np.packbits(examples > 0).tobytes()
    chosen = examples[np.linspace(0, len(examples) - 1, min(len(examples), MOST_KEPT)).astype(int)]
    sizes = np.abs(chosen[chosen != 0])
    if sizes.size and not (HALF[0] <= np.median(sizes) and sizes.max() <= HALF[1]):
        return b"g" + bytes(chosen.astype(np.float32).tobytes())
    return b"f" + bytes(chosen.astype(np.float16).tobytes())


def unpacked(blob: bytes | None) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Unpack what `packed` made: the results of examples, and those of resamples. Raises ValueError for other bytes."""
    if blob is None:
        return None, None
    if blob[:1] == b"b":
        count = int.from_bytes(blob[1:5], "big")
        if len(blob) != 5 + -(-count // 8):
            raise ValueError(f"{len(blob) - 5} bytes cannot be {count} bits")
        return 100 * np.unpackbits(np.frombuffer(blob[5:], np.uint8), count=count).astype(np.float32), None
    if blob[:1] not in (b"f", b"g", b"d"):
        raise ValueError(f"results of examples begin with b, f, g or d, not {blob[:1]!r}")
    values = np.frombuffer(blob[1:], np.float16 if blob[:1] == b"f" else np.float32).astype(np.float32)
    if blob[:1] != b"d":
        return values, None
    if len(values) != DRAWS or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} numbers are not the results of {DRAWS} resamples, or are not finite")
    return None, values


def as_loaded(outcome: Outcome) -> Outcome:
    """The outcome as it will be loaded from a store, which rounds the results of examples."""
    examples, draws = unpacked(packed(outcome))
    return dataclasses.replace(outcome, examples=examples, draws=draws)


def outcome_of(run: dict[str, Any]) -> Outcome:
    """The outcome in a row of `runs`. Raises UnfitError if a column has an invalid value."""
    row = gate.row({name: run[name] for name in COLUMNS})
    curve, (examples, draws) = gate.curve(run["curve"]), gate.examples(run["examples"], unpacked)
    why = gate.one(run["why"], Words | None, "the reason why it has no value")
    if row["valid"] is not None and not curve.steps:
        raise UnfitError("it has a result, and no curve")
    results = {name: row[name] for name in ("valid", "test", "test_se", "loss", "diverged_at", "seconds")}
    failed = row["status"] == "failed"
    return Outcome(curve, **results, examples=examples, draws=draws, failed=failed, why=why or "")
