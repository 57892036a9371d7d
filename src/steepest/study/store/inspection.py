"""Commands on a store: list its contents, show a run, check everything, merge another store."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import SteepestError
from ...training.unfinished import folder_of
from .. import statistics as st
from ..scalars import Name, Steps, UnfitError
from . import gate
from .file import SHOWN
from .ledger import Store
from .runs import COLUMNS, key_of, outcome_of

NUMBERED = ("question", "candidates")  # facts whose order matters
NEWEST = 20  # runs listed if no key is given
RUN = ("key", "spec", *COLUMNS, "curve", "created", "why", "examples")


def listed(store: Store) -> dict[str, Any]:
    """The contents of a store: runs by problem, completed studies, and checkpoints of unfinished runs."""
    columns = gate.Counted.__annotations__
    query = """SELECT problem, count(*), count(DISTINCT optimizer), sum(status = 'diverged'), sum(status = 'failed'),
                      sum(seconds), max(created)
               FROM runs GROUP BY problem ORDER BY min(rowid)"""
    unfinished = [path.stat().st_size for path in folder_of(store.path).glob("*.safetensors")]
    problems = []
    for row in store.all(query):
        try:
            problems.append(gate.one(dict(zip(columns, row, strict=True)), gate.Counted, "its sum"))
        except UnfitError as error:
            raise store.damaged(f"A run of {row[0]!r:.60}") from error
    return {
        "store": store.path,
        "problems": problems,
        "studies": [{"problem": s.problem, "answer": s.answer.sentence, "ran": s.ran} for s in store.studies()],
        "unfinished": {"files": len(unfinished), "bytes": sum(unfinished)},
        "notes": store.notes,
    }


def newest(store: Store, count: int = NEWEST) -> list[dict[str, Any]]:
    """The most recent runs, newest first, each with its key and names."""
    columns = ("key", *COLUMNS)
    query = f"SELECT {', '.join(columns)} FROM runs ORDER BY rowid DESC LIMIT ?"
    runs = [dict(zip(columns, row, strict=True)) for row in store.all(query, (count,))]
    for run in runs:
        try:
            gate.one(run["key"], gate.Key, "its key")
            gate.row({name: run[name] for name in COLUMNS})
        except UnfitError as error:
            raise store.damaged(f"Run {str(run['key'])[:SHOWN]}") from error
    return runs


def one(store: Store, key: str) -> dict[str, Any]:
    """A run by the beginning of its key: its spec, results and curve. Raises SteepestError unless exactly one run matches."""
    found = [*store.all(f"SELECT {', '.join(RUN)} FROM runs WHERE substr(key, 1, ?) = ? LIMIT 2", (len(key), key))]
    if len(found) != 1 or not key:
        many = "more than one run" if found else "no run"
        raise SteepestError(
            f"The store {store.path} has {many} whose key begins with '{key[:80]}'; `steepest store show` lists keys."
        )
    run = dict(zip(RUN, found[0], strict=True))
    fault = _fault(run)
    if fault:
        raise SteepestError(f"Run {key[:SHOWN]} in the store {store.path} is damaged: {fault}.")
    del run["examples"]
    return run | {"spec": gate.spec(run["spec"]), "curve": dataclasses.asdict(gate.curve(run["curve"]))}


def faults(store: Store) -> Iterator[str]:
    """The damage in a store, one sentence each: by SQLite's own check, then by checking every run, look and fact."""
    for (said,) in store.all("PRAGMA integrity_check"):
        if said != "ok":
            yield f"SQLite: {' '.join(str(said).split())}"
    for run in _runs(store):
        fault = _fault(run)
        if fault:
            yield f"Run {str(run['key'])[:SHOWN]} ({run['problem']}, {run['optimizer']}): {fault}"
    for study, look, seeds, alpha in store.all("SELECT study, look, seeds, alpha FROM looks"):
        fault = _look_fault(study, look, seeds, alpha)
        if fault:
            yield f"Look {look} at the study {str(study)[:SHOWN]}: {fault}"
    for what, key, value in store.all("SELECT what, key, value FROM facts"):
        fault = _fact_fault(what, key, value)
        if fault:
            yield f"The fact '{what}' {str(key)[:SHOWN]}: {fault}"


@contextlib.contextmanager
def copied(path: str | Path) -> Iterator[str]:
    """A temporary copy of a store and its WAL file, to read while other processes write."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            for file in (Path(path), Path(f"{path}-wal")):
                if file.exists():
                    shutil.copy(file, folder)
        except OSError as error:
            raise SteepestError(f"The store {path} cannot be read: {error.strerror or error}.") from error
        yield str(Path(folder) / Path(path).name)


def merge(store: Store, path: str) -> dict[str, int]:
    """Copy the rows that only the other store has; return the number of each kind, and of damaged rows."""
    if Path(path).resolve() == Path(store.path).resolve():
        raise SteepestError(f"{path} would be merged into itself; give the target store first, then the others.")
    taken = {"runs": 0, "looks": 0, "facts": 0, "damaged": 0, "unfinished": 0}
    with Store(path) as other, store.transaction():
        for take in (_take_runs, _take_looks, _take_facts):
            try:
                for kind, count in take(store, other):
                    taken[kind] += count
            except SteepestError:  # SQLite cannot read further
                taken["damaged"] += 1
    for file in folder_of(path).glob("*.safetensors"):
        place = folder_of(store.path) / file.name
        if not place.exists():
            with contextlib.suppress(OSError):
                place.parent.mkdir(exist_ok=True)
                shutil.copy2(file, place)
                taken["unfinished"] += 1
    return taken


def _take_runs(store: Store, other: Store) -> Iterator[tuple[str, int]]:
    """Copy runs, except failed ones: they may have failed for external reasons, and are retried."""
    known = {key for (key,) in store.all("SELECT key FROM runs")}
    for run in _runs(other):
        if run["key"] not in known and run["status"] != "failed":
            yield ("damaged", 1) if _fault(run) else ("runs", store.put("runs", run))


def _take_looks(store: Store, other: Store) -> Iterator[tuple[str, int]]:
    """Copy looks. A look at a study that has looks here becomes its next look, with that alpha, so no more is spent in all."""
    for study, look, seeds, alpha in other.all("SELECT study, look, seeds, alpha FROM looks ORDER BY study, look"):
        if _look_fault(study, look, seeds, alpha):
            yield "damaged", 1
            continue
        known = [*store.all("SELECT 1 FROM looks WHERE study = ? AND seeds = ?", (study, seeds))]
        store.look(study, seeds, st.alpha_at_look)
        yield "looks", not known


def _take_facts(store: Store, other: Store) -> Iterator[tuple[str, int]]:
    for what, key, value, created in other.all("SELECT what, key, value, created FROM facts ORDER BY rowid"):
        fact = {"what": what, "key": key, "value": value, "created": created}
        yield ("damaged", 1) if _fact_fault(what, key, value) else ("facts", store.put("facts", fact))


def _runs(store: Store) -> Iterator[dict[str, Any]]:
    """All runs, unchecked."""
    for row in store.all(f"SELECT {', '.join(RUN)} FROM runs ORDER BY rowid"):
        yield dict(zip(RUN, row, strict=True))


def _fault(run: dict[str, Any]) -> str:
    """The damage of a run; empty if there is none."""
    try:
        if key_of(gate.spec(run["spec"])) != run["key"]:
            return "its key does not match its spec"
        gate.one(run["created"], gate.Time, "the time at which it ended")
        outcome_of(run)
    except UnfitError as error:
        return str(error)
    return ""


def _look_fault(study: object, look: object, seeds: object, alpha: object) -> str:
    """The damage of a look; empty if there is none."""
    try:
        gate.one(study, Name, "its study")
        gate.one(look, Steps, "its number")
        gate.one(seeds, Steps, "its number of seeds")
        gate.one(alpha, gate.Share, "its alpha")
    except UnfitError as error:
        return str(error)
    return ""


def _fact_fault(what: object, key: object, value: object) -> str:
    """The damage of a fact; empty if there is none."""
    try:
        found = gate.fact(gate.one(what, Name, "its name"), value)
    except UnfitError as error:
        return str(error)
    if what in NUMBERED and key != key_of({"family": found[0], "item": found[1]}):
        return "its key does not match its value"
    return ""


def words(found: dict[str, Any]) -> Iterator[str]:
    """The contents of a store as lines for the screen."""
    for row in found["problems"]:
        diverged = "".join(f", {row[kind]:,} {kind}" for kind in ("diverged", "failed") if row[kind])
        seconds = f"{row['seconds']:,.0f} s of training"
        yield f"{row['problem']}: {row['runs']:,} runs of {row['optimizers']} optimizers{diverged}, {seconds}"
    if not found["problems"]:
        yield "The store has no runs."
    for study in found["studies"]:
        yield f"Study of {study['problem']}: {study['answer']}"
    waiting = found["unfinished"]
    if waiting["files"]:
        size = f"{waiting['bytes'] / 2**20:.3g} MiB"
        yield f"Unfinished runs or chunks: {waiting['files']} ({size}); the command that started them resumes them."
    yield from found["notes"]


def rows(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Runs as a table for the screen."""
    yield f"{'run':{SHOWN + 2}}{'problem':20}{'optimizer':22}{'schedule':18}{'rate':>10}{'seed':>9}{'steps':>8}  result"
    for run in runs:
        result = f"{run['valid']:.5g}" if run["valid"] is not None else f"diverged at {run['diverged_at']}"
        result = run["status"] if run["status"] in ("failed", "no metric") else result
        names = f"{run['key'][:SHOWN]}  {run['problem']:20}{run['optimizer']:22}{run['schedule']:18}"
        yield f"{names}{run['lr']:>10.4g}{run['seed']:>9}{run['steps']:>8}  {result}"


def card(run: dict[str, Any]) -> Iterator[str]:
    """A run as lines for the screen."""
    for name in ("key", *COLUMNS, "created", "why"):
        if run[name] is not None:
            yield f"{name:12}{run[name]}"
    yield "made by     " + ", ".join(f"{k} {v}" for k, v in run["spec"].items() if not isinstance(v, dict | list))
    yield f"{'step':>12}{'training loss':>16}{'loss':>12}{'metric':>12}"
    for point in zip(*(run["curve"][k] for k in ("steps", "train", "valid", "metric")), strict=True):
        yield "{:>12}{:>16}{:>12}{:>12}".format(*("-" if x is None else f"{x:.6g}" for x in point))
