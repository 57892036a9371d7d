"""The store: one SQLite file that keeps every run as it ends, and remembers looks and facts of studies. Append-only."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import writable
from ..errors import SteepestError, absolute
from ..problems import IDENTITY
from ..rules.digest import MARK
from ..training.recorder import Outcome
from . import kept, schema
from .data import Steps, UnfitError, Words
from .schema import VERSION

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
REFUSALS = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's words quote bytes of a damaged file
SHOWN = 12  # letters of a key that name a run to people
MOST_KEPT = 1024  # results of single examples that are no bits
HALF = 6e-5, 65_504.0  # the sizes of numbers that half precision keeps to three digits


def key_of(spec: dict[str, Any]) -> str:
    """The hash that names a spec, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def packed(examples: NDArray[np.float32] | None) -> bytes | None:
    """The results of examples in few bytes: a bit each where all are 0 or 100, else a number each of at most `MOST_KEPT`.

    Numbers are kept in half precision, or in single where they are too large or too small for that.
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
    """The results of examples that `packed` made; ValueError for other bytes."""
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
    """The outcome in a row of `runs`; UnfitError where a column has something else than what is written there."""
    row = kept.row({name: run[name] for name in COLUMNS})
    curve, examples = kept.curve(run["curve"]), kept.examples(run["examples"], unpacked)
    why = kept.one(run["why"], Words | None, "the reason why it has no value")
    if row["valid"] is not None and not curve.steps:
        raise UnfitError("it has a result, and no curve")
    results = {name: row[name] for name in ("valid", "test", "loss", "diverged_at", "seconds")}
    return Outcome(curve, **results, examples=examples, failed=row["status"] == "failed", why=why or "")


class Store:
    """An open store. `path` is a file, made where there is none, or ":memory:"; `notes` say what befell it.

    SteepestError where the file is not a store of ours, cannot be written, or was made by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.notes = str(absolute(path)), list[str]()
        self._check_file()
        lost = self._lost_its_log()
        try:
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            schema.guard(self._db)
        except REFUSALS as error:
            raise self._unusable(error) from error
        try:
            self._open()
            self._mark(lost)
        except SteepestError:
            self._db.close()
            raise
        self._places, self._size = self._where(), 0

    def _unusable(self, error: Exception) -> SteepestError:
        why = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else error
        return SteepestError(
            f"The store {self.path} cannot be used: {why}. Give --store a new path, or a store made by steepest."
        )

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row that a statement gives, or None."""
        return next(self.all(statement, values), None)

    def _check_file(self) -> None:
        if self.path == ":memory:":
            return
        path = writable("store", self.path, "steepest.db")
        if path.exists() and not path.stat().st_mode & 0o222:  # root may write to it all the same: respect the mark
            raise SteepestError(f"The store {path} is read-only; make it writable or give another one with --store.")

    def _open(self) -> None:
        self._execute("BEGIN IMMEDIATE")  # another process may be making the same store
        try:
            new = self._check_contents()
            if new:
                schema.make(self._db)
            else:
                for version in range(self._execute("PRAGMA user_version")[0], VERSION):
                    for statement in schema.MIGRATIONS[version]:
                        self._execute(statement)
                if not self._execute("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'why'"):
                    self._execute("ALTER TABLE runs ADD COLUMN why TEXT")
                self._execute(f"PRAGMA user_version = {VERSION}")
        except REFUSALS as error:
            self._execute("ROLLBACK")
            raise self._unusable(error) from error
        except SteepestError:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")
        if new:
            with contextlib.suppress(SteepestError):  # another process that has the file open may set it instead
                self._execute("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = NORMAL")

    def _lost_its_log(self) -> bool:
        """Whether the file itself says that it is open, and has no log: it was copied without it, or the log was deleted.

        SQLite keeps the newest runs in a file beside the store, until the last process that has it open closes it; one that is
        killed leaves both. The log is looked for before and after, as another process may open the store in between.
        """
        log = f"{self.path}-wal"
        if os.path.exists(log) or not os.path.exists(self.path):
            return False
        address = f"{Path(self.path).resolve().as_uri()}?immutable=1"  # the file as it lies there, whatever a log says
        try:
            with contextlib.closing(sqlite3.connect(address, uri=True)) as as_it_lies:
                schema.guard(as_it_lies)
                if schema.fault(as_it_lies, VERSION):  # an earlier version's, or no store: it is refused below
                    return False
                is_open = as_it_lies.execute("SELECT 1 FROM state WHERE name = 'open' AND value = 1").fetchone()
        except REFUSALS:
            return False
        return bool(is_open) and not os.path.exists(log)

    def _mark(self, lost: bool) -> None:
        """Note in the file itself that it is open, and say what was lost."""
        if self._execute("PRAGMA journal_mode")[0] != "wal":
            return
        if lost:
            self.notes.append(
                f"The store {self.path} was in use when it was last seen, and {self.path}-wal, which held its newest runs, is "
                "gone (deleted, or left behind when the store was copied). Runs that are missing are trained again."
            )
        self._execute("INSERT OR REPLACE INTO state VALUES ('open', 1)")
        self._execute("PRAGMA wal_checkpoint(PASSIVE)")  # into the file itself

    def _where(self) -> tuple[Any, ...]:
        """What tells the store's files from others that may come to their places; None for a file that is not there."""
        found: list[tuple[int, int] | None] = []
        for path in () if self.path == ":memory:" else (self.path, f"{self.path}-wal"):
            try:
                about = os.stat(path)
                found.append((about.st_dev, about.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def _is_gone(self) -> bool:
        """Whether one of its files is not what it was. (A log that was not there may come: another process makes it.)"""
        now, before = self._where(), self._places
        self._places = tuple(was or there for was, there in zip(before, now, strict=True))
        return self._places != now

    def _is_cut(self) -> bool:
        """Whether its file has lost bytes: a store only grows."""
        if self.path == ":memory:":
            return False
        before, self._size = self._size, os.path.getsize(self.path)
        return self._size < before

    def _rescue(self, what: str) -> None:
        """Copy all that can be read of a store whose file was lost to another beside it, which is the store from now on.

        SteepestError where that is not all.
        """
        taken = (f"{self.path}-rescued{k or ''}" for k in itertools.count())
        path = next(path for path in taken if not os.path.exists(path))
        lost = f"The store {self.path} was {what} while it was in use"
        try:
            rescued, whole = self._copied(path)
        except REFUSALS as error:
            raise SteepestError(f"{lost}, and what it held cannot be saved to {path}: {error}.") from error
        self._db.close()
        self._db, self.path = rescued, path
        self._places, self._size = self._where(), 0
        if not whole:
            raise SteepestError(f"{lost}, and not all that it held could be saved; {path} has the rest. Give it as --store.")
        self.notes.append(f"{lost}; all that it held, and what came after, is in {path}.")

    def _copied(self, path: str) -> tuple[sqlite3.Connection, bool]:
        """A copy of this store at another path, and whether it has all of it: SQLite may remember what the file has lost."""
        rescued = sqlite3.connect(path, timeout=60, isolation_level=None)
        rescued.execute("BEGIN")
        schema.make(rescued)
        try:
            for table in ("runs", "looks", "facts"):
                for row in self._db.execute(f"SELECT * FROM {table}"):
                    rescued.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
            whole = True
        except REFUSALS:
            whole = False
        rescued.execute("COMMIT")
        return rescued, whole

    def _check_contents(self) -> bool:
        """Whether the file is new; SteepestError where it is not a store that this version can use."""
        (application,) = self._execute("PRAGMA application_id")
        (version,) = self._execute("PRAGMA user_version")
        (tables,) = self._execute("SELECT count(*) FROM sqlite_master")
        if application != schema.APPLICATION and (application or tables or version):
            raise SteepestError(f"The store {self.path} is a database of another program; give --store another path.")
        if version > VERSION:
            raise SteepestError(
                f"The store {self.path} has schema {version}, and this steepest knows {VERSION}: it belongs to a newer "
                "version. Upgrade steepest, or give --store another path."
            )
        if not tables:
            return True
        fault = schema.fault(self._db, version) if version > 0 else f"its schema is number {version}"
        if fault:
            raise self._unusable(ValueError(fault))
        self._execute("SELECT count(*) FROM runs")  # a damaged file is refused before anything is written to it
        return False

    def close(self) -> None:
        """Close it; where no other process has it open, its log goes into the file."""
        if self.path != ":memory:" and not self._is_gone() and not self._is_cut():
            with contextlib.suppress(SteepestError):
                self._execute("INSERT OR REPLACE INTO state VALUES ('open', 0)")
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, spec: dict[str, Any]) -> Outcome | None:
        """The stored run of this spec, or None."""
        columns = (*COLUMNS, "curve", "examples", "why")
        row = self._execute(f"SELECT {', '.join(columns)} FROM runs WHERE key = ?", (key_of(spec),))
        if row is None:
            return None
        try:
            return outcome_of(dict(zip(columns, row, strict=True)))
        except UnfitError as error:
            raise self.damaged(f"Run {key_of(spec)[:SHOWN]}") from error

    def day(self, spec: dict[str, Any]) -> str:
        """The day on which the stored run of this spec ended, such as 2026-01-31."""
        (created,) = self._execute("SELECT created FROM runs WHERE key = ?", (key_of(spec),))
        try:
            return str(kept.one(created, kept.Time, "the time of a run"))[:10]
        except UnfitError as error:
            raise self.damaged(f"Run {key_of(spec)[:SHOWN]}") from error

    def damaged(self, what: str) -> SteepestError:
        """The error for something in the store that cannot be what was written there."""
        return SteepestError(
            f"{what} in the store {self.path} is damaged; `steepest store check` names all that is, and `steepest store merge "
            "NEW.db OLD.db` takes over what is sound."
        )

    def _value(self, text: Any, what: str, key: str) -> Any:
        """The value of a fact."""
        try:
            return kept.fact(what, text)
        except UnfitError as error:
            raise self.damaged(f"The fact '{what}' {str(key)[:SHOWN]}") from error

    def unmatched(self, problem: str) -> int:
        """How many runs of this problem are of an earlier version, which knew problems or rules in another way."""
        query = """SELECT count(*) FROM runs WHERE problem = ? AND (json_extract(spec, '$.rule') NOT LIKE ?
                   OR json_extract(spec, '$.fingerprint') NOT LIKE ?)"""
        return int(self._execute(query, (problem, f"{MARK}%", f"{IDENTITY}%"))[0])

    def add_run(self, spec: dict[str, Any], names: dict[str, Any], outcome: Outcome) -> None:
        """Keep a run that ended. `names` (problem, optimizer, schedule, lr, seed, steps) are for people; `spec` is the key."""
        values = {
            "key": key_of(spec),
            "spec": json.dumps(spec, sort_keys=True),
            **names,
            "status": outcome.status,
            "valid": outcome.valid,
            "test": outcome.test,
            "loss": outcome.loss,
            "diverged_at": outcome.diverged_at,
            "seconds": outcome.seconds,
            "curve": json.dumps(asdict(outcome.curve)),
            "examples": packed(outcome.examples),
            "why": outcome.why or None,
        }
        self._insert("runs", values)

    def look(self, study: str, seeds: int, alpha_at: Any) -> tuple[int, float]:
        """The number and alpha of this study's look at this many seeds; a new number of seeds is a new look, and is kept."""
        query = "SELECT look, alpha FROM looks WHERE study = ? AND seeds = ?"
        row = self._execute(query, (study, seeds))
        while row is None:
            (last,) = self._execute("SELECT coalesce(max(look), 0) FROM looks WHERE study = ?", (study,))
            self._insert("looks", {"study": study, "look": last + 1, "seeds": seeds, "alpha": alpha_at(last + 1)})
            row = self._execute(query, (study, seeds))
        try:
            return kept.one(row[0], Steps, "a look"), kept.one(row[1], kept.Share, "its alpha")
        except UnfitError as error:
            raise self.damaged(f"A look at the study {study[:SHOWN]}") from error

    def recall(self, what: str, spec: dict[str, Any]) -> Any:
        """What was remembered under this name of this spec, or None."""
        row = self._execute("SELECT value FROM facts WHERE what = ? AND key = ?", (what, key_of(spec)))
        return row and self._value(row[0], what, key_of(spec))

    def remember(self, what: str, spec: dict[str, Any], value: Any) -> None:
        """Keep a fact: "steps" for a budget, the "way" a study is trained, the "timing" of a step. The first stays."""
        self._insert("facts", {"what": what, "key": key_of(spec), "value": json.dumps(value)})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every run in the order in which they ended: its names, what it came to, and its curve; one at a time."""
        for key, *row, curve in self.all(f"SELECT key, {', '.join(COLUMNS)}, curve FROM runs ORDER BY rowid"):
            try:
                yield kept.row(dict(zip(COLUMNS, row, strict=True))) | {"curve": asdict(kept.curve(curve))}
            except UnfitError as error:
                raise self.damaged(f"Run {str(key)[:SHOWN]}") from error

    def all(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time; what SQLite refuses becomes one sentence."""
        try:
            # the cursor's own iterator would be closed with this one, which SQLite refuses after the store was
            yield from iter(self._db.execute(query, values).fetchone, None)
        except REFUSALS as error:
            raise self._unusable(error) from error

    def keep_study(self, shown: dict[str, Any]) -> None:
        """Keep what a report shows of a study, as it is after so many runs."""
        asked = [shown["problem"], shown["answer"]["question"], shown["raced"]]
        spec = {"asked": asked, "ran": shown["ran"], "recorded": "recorded" in shown}
        self.remember("study", spec, {"asked": asked, "shown": shown})

    def studies(self) -> list[dict[str, Any]]:
        """What reports show of the studies: each question once, as it was last, in the order in which they were first asked."""
        kept = self.facts("study")
        last: dict[tuple[Any, ...], dict[str, Any]] = {}
        for study in kept:
            asked, shown = tuple(study["asked"]), study["shown"]
            if "recorded" in shown or last.get(asked, {}).get("ran") != shown["ran"]:  # one that was watched tells more
                last[asked] = shown
        return [*last.values()]

    def question(self, problem: str, study: str) -> int:
        """The number of this study among those of the problem, in the order they were first asked; a new one is kept."""
        return self._asked("question", problem, study).index(study) + 1

    def share(self, family: str, candidates: list[str]) -> int:
        """Which share of alpha a set of candidates has, counted from 1: that of the first set asked that holds them all.

        A set with a candidate that is new to this family of questions takes the next share, and is kept.
        """
        shares: list[set[str]] = []
        for asked in map(set, self._asked("candidates", family, candidates)):
            if not any(asked <= earlier for earlier in shares):
                shares.append(asked)
        return next(k for k, earlier in enumerate(shares, 1) if set(candidates) <= earlier)

    def _asked(self, what: str, family: str, item: Any) -> list[Any]:
        """What was asked of a family, this item too, in the order in which each was first asked."""
        self.remember(what, {"family": family, "item": item}, [family, item])
        asked = [other for name, other in self.facts(what) if name == family]
        if item not in asked:
            raise self.damaged(f"The fact '{what}' of {family[:SHOWN]}")
        return asked

    def facts(self, what: str) -> Iterator[Any]:
        """All that is remembered under a name, in the order in which it came."""
        query = "SELECT key, value FROM facts WHERE what = ? ORDER BY rowid"
        return (self._value(value, what, key) for key, value in self.all(query, (what,)))

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        self.put(table, {**values, "created": datetime.now(UTC).isoformat(timespec="seconds")})

    def put(self, table: str, values: dict[str, Any]) -> bool:
        """Add a row as it stands, and say whether it is new."""
        self.guard()
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return bool(self._execute("SELECT changes()")[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Inside, all that is added is added at once, or nothing is."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def guard(self) -> None:
        """See whether the file is still there, and whole; where it is not, go on in another (see `notes`)."""
        if self._is_gone():
            self._rescue("deleted or replaced")
        elif self._is_cut():
            self._rescue("cut short")
