"""The file of a store: an append-only SQLite database, rescued if it is deleted, replaced or truncated while open."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ...checks import writable
from ...errors import SteepestError, absolute
from . import schema
from .schema import VERSION

REFUSALS = (sqlite3.Error, UnicodeDecodeError)  # the latter if SQLite's message quotes bytes of a damaged file
SHOWN = 12  # characters of a key shown to users


class File:
    """An open store file. `path` is created if it does not exist; it may be ":memory:". `notes` are warnings for the user.

    Raises SteepestError if the file is not a steepest store, is not writable, or was made by a newer version.
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
        """The first row of a statement's result, or None."""
        return next(self.all(statement, values), None)

    def _check_file(self) -> None:
        if self.path == ":memory:":
            return
        path = writable("store", self.path, "steepest.db")
        if path.exists() and not path.stat().st_mode & 0o222:  # root could write to it: respect the permissions
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
                for name, kind in schema.ADDED.items():
                    if not self._execute("SELECT 1 FROM pragma_table_info('runs') WHERE name = ?", (name,)):
                        self._execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
                self._execute(f"PRAGMA user_version = {VERSION}")
        except REFUSALS as error:
            self._execute("ROLLBACK")
            raise self._unusable(error) from error
        except SteepestError:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")
        if new:
            with contextlib.suppress(SteepestError):  # another process with the file open may set it instead
                self._execute("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = NORMAL")

    def _lost_its_log(self) -> bool:
        """Whether the file is marked as open but its WAL file is missing: it was copied without it, or the WAL was deleted.

        SQLite writes the newest runs to the WAL file, until the last process closes the store; a killed process leaves both
        files. The WAL is checked before and after, as another process may open the store in between.
        """
        log = f"{self.path}-wal"
        if os.path.exists(log) or not os.path.exists(self.path):
            return False
        address = f"{Path(self.path).resolve().as_uri()}?immutable=1"  # the file alone, without its WAL
        try:
            with contextlib.closing(sqlite3.connect(address, uri=True)) as as_it_lies:
                schema.guard(as_it_lies)
                if schema.fault(as_it_lies, VERSION):  # of an earlier version, or not a store: refused later
                    return False
                is_open = as_it_lies.execute("SELECT 1 FROM state WHERE name = 'open' AND value = 1").fetchone()
        except REFUSALS:
            return False
        return bool(is_open) and not os.path.exists(log)

    def _mark(self, lost: bool) -> None:
        """Mark the file as open, and add a note if its WAL was lost."""
        if self._execute("PRAGMA journal_mode")[0] != "wal":
            return
        if lost:
            self.notes.append(
                f"The store {self.path} was not closed, and {self.path}-wal, with its newest runs, is missing (deleted, or "
                "left behind when the store was copied). Missing runs are trained again."
            )
        self._execute("INSERT OR REPLACE INTO state VALUES ('open', 1)")
        self._execute("PRAGMA wal_checkpoint(PASSIVE)")  # write the mark to the file itself

    def _where(self) -> tuple[Any, ...]:
        """The device and inode of the store's files, to detect that they were replaced; None for a missing file."""
        found: list[tuple[int, int] | None] = []
        for path in () if self.path == ":memory:" else (self.path, f"{self.path}-wal"):
            try:
                about = os.stat(path)
                found.append((about.st_dev, about.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def _is_gone(self) -> bool:
        """Whether one of its files was deleted or replaced. (A new WAL file is fine: another process may create it.)"""
        now, before = self._where(), self._places
        self._places = tuple(was or there for was, there in zip(before, now, strict=True))
        return self._places != now

    def _is_cut(self) -> bool:
        """Whether its file was truncated: a store only grows."""
        if self.path == ":memory:":
            return False
        before, self._size = self._size, os.path.getsize(self.path)
        return self._size < before

    def _rescue(self, what: str) -> None:
        """Copy all readable rows of a store whose file was lost to a new file next to it, and use that from now on.

        Raises SteepestError if the copy is not complete.
        """
        taken = (f"{self.path}-rescued{k or ''}" for k in itertools.count())
        path = next(path for path in taken if not os.path.exists(path))
        lost = f"The store {self.path} was {what} while it was in use"
        try:
            rescued, whole = self._copied(path)
        except REFUSALS as error:
            raise SteepestError(f"{lost}, and its contents cannot be saved to {path}: {error}.") from error
        self._db.close()
        self._db, self.path = rescued, path
        self._places, self._size = self._where(), 0
        if not whole:
            raise SteepestError(f"{lost}, and part of its contents is lost; the rest is in {path}. Give that as --store.")
        self.notes.append(f"{lost}; its contents, and all later runs, are in {path}.")

    def _copied(self, path: str) -> tuple[sqlite3.Connection, bool]:
        """A copy of this store at another path, and whether it is complete: SQLite may have cached what the file lost."""
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
        """Whether the file is new. Raises SteepestError if it is not a store that this version can use."""
        (application,) = self._execute("PRAGMA application_id")
        (version,) = self._execute("PRAGMA user_version")
        (tables,) = self._execute("SELECT count(*) FROM sqlite_master")
        if application != schema.APPLICATION and (application or tables or version):
            raise SteepestError(f"The store {self.path} is a database of another program; give --store another path.")
        if version > VERSION:
            raise SteepestError(
                f"The store {self.path} has schema {version}, newer than schema {VERSION} of this version of steepest. "
                "Upgrade steepest, or give --store another path."
            )
        if not tables:
            return True
        fault = schema.fault(self._db, version) if version > 0 else f"its schema is number {version}"
        if fault:
            raise self._unusable(ValueError(fault))
        self._execute("SELECT count(*) FROM runs")  # refuse a damaged file before writing to it
        return False

    def close(self) -> None:
        """Close the store; if no other process has it open, SQLite merges the WAL into the file."""
        if self.path != ":memory:" and not self._is_gone() and not self._is_cut():
            with contextlib.suppress(SteepestError):
                self._execute("INSERT OR REPLACE INTO state VALUES ('open', 0)")
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def damaged(self, what: str) -> SteepestError:
        """The error for a damaged item of the store."""
        return SteepestError(
            f"{what} in the store {self.path} is damaged; `steepest store check` lists all damage, and `steepest store merge "
            "NEW.db OLD.db` copies the sound rows to a new store."
        )

    def all(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time. Raises SteepestError for an error of SQLite."""
        try:
            # closing this generator would close the cursor's own iterator, which fails once the store is closed
            yield from iter(self._db.execute(query, values).fetchone, None)
        except REFUSALS as error:
            raise self._unusable(error) from error

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        self.put(table, {**values, "created": datetime.now(UTC).isoformat(timespec="seconds")})

    def put(self, table: str, values: dict[str, Any]) -> bool:
        """Add a row unchanged; return whether it is new."""
        self.guard()
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return bool(self._execute("SELECT changes()")[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: all rows are added, or none."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def guard(self) -> None:
        """Check that the file is still there and complete; otherwise continue in a rescued copy (see `notes`)."""
        if self._is_gone():
            self._rescue("deleted or replaced")
        elif self._is_cut():
            self._rescue("cut short")
