"""The tables of a store, the migrations from earlier versions, and the check that a file has these tables and nothing else.

A file from someone else may contain views and triggers, whose queries run when a table is read or written: it is refused.
"""

from __future__ import annotations

import re
import sqlite3

VERSION = 6
APPLICATION = 0x73746565  # "stee", in SQLite's header: tells our file from another program's
LARGEST = 64 << 20  # most bytes of a value
FACTS = """CREATE TABLE facts (
    what TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, created TEXT NOT NULL, PRIMARY KEY (what, key))"""
STATE = "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"  # mutable: whether it is open
TABLES = f"""
CREATE TABLE runs (
    key TEXT PRIMARY KEY, spec TEXT NOT NULL, problem TEXT NOT NULL, optimizer TEXT NOT NULL, schedule TEXT NOT NULL,
    lr REAL NOT NULL, seed INTEGER NOT NULL, steps INTEGER NOT NULL, status TEXT NOT NULL, valid REAL, test REAL,
    loss REAL, diverged_at INTEGER, seconds REAL NOT NULL, curve TEXT NOT NULL, created TEXT NOT NULL, examples BLOB,
    why TEXT, test_se REAL);
CREATE TABLE looks (
    study TEXT NOT NULL, look INTEGER NOT NULL, seeds INTEGER NOT NULL, alpha REAL NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (study, look), UNIQUE (study, seeds));
{FACTS};
{STATE};
"""
KEEP = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the store is append-only'); END
"""
KEPT = [(table, verb) for table in ("runs", "looks", "facts") for verb in ("UPDATE", "DELETE")]
# Migrations from each schema to the next. Schema 1 named ways by numbers, which are no longer read.
MIGRATIONS = {
    1: ["CREATE TABLE ways (key TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL)"],
    2: [
        FACTS,
        *(KEEP.format(table=t, verb=v) for t, v in KEPT if t == "facts"),
        "ALTER TABLE runs ADD COLUMN examples BLOB",
        "INSERT INTO facts (what, key, value, created) SELECT 'steps', key, steps, created FROM plans",
        "INSERT INTO facts (what, key, value, created) SELECT 'way', key, json_quote(name), created FROM ways",
        """INSERT INTO facts (what, key, value, created)
           SELECT 'timing', key, printf('[%!.17g, %d]', seconds_per_step, state_bytes), created FROM timings""",
    ],
    3: [STATE],
    4: [],  # examples may be in single precision
    5: [],  # examples may be resamples
}
ADDED = {"why": "TEXT", "test_se": "REAL"}  # columns of runs that are added to any store that lacks them
NEWER = {"examples", *ADDED}  # columns of runs that earlier versions lack
COLUMNS = {  # of each table, including those of earlier versions
    "runs": "key spec problem optimizer schedule lr seed steps status valid test loss diverged_at seconds curve created "
    "examples why test_se",
    "looks": "study look seeds alpha created",
    "facts": "what key value created",
    "state": "name value",
    "plans": "key steps created",
    "ways": "key name created",
    "timings": "key seconds_per_step state_bytes created",
}
SINCE = {"runs": 1, "looks": 1, "facts": 3, "state": 4}  # the schema that introduced each table


def guard(db: sqlite3.Connection) -> None:
    """Set limits for reading an untrusted file: its schema may not run functions, and values have a maximum size."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)


def make(db: sqlite3.Connection) -> None:
    """Create the tables of a new store."""
    for statement in (*TABLES.split(";\n"), *(KEEP.format(table=table, verb=verb) for table, verb in KEPT)):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def fault(db: sqlite3.Connection, version: int) -> str:
    """The first way in which a database differs from a store of this version, by its schema alone; empty if it is a store.

    Reading the schema runs nothing. A store without its triggers is accepted.
    """
    triggers = {f"{table}_no_{verb}": _plain(KEEP.format(table=table, verb=verb)) for table, verb in KEPT}
    found = set()
    for kind, name, table, text in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if kind == "table" and name.startswith("sqlite_"):  # SQLite's own, such as statistics
            continue
        if kind == "table" and name in COLUMNS and not re.match(r"CREATE\s+VIRTUAL", text, re.IGNORECASE):
            found.add(name)
        elif kind == "trigger" and _plain(text) != triggers.get(name):
            return f"it has a trigger {name!r} of another program"
        elif kind == "index" and (text is not None or table not in COLUMNS):
            return f"it has an index {name!r} of another program"
        elif kind not in ("trigger", "index"):
            return f"it has a {kind} {name!r} of another program"
    for name, since in SINCE.items():
        if name not in found and version >= since:
            return f"it has no table {name!r}"
    for name in found:
        columns = db.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
        here, known = {column for column, _ in columns}, set(COLUMNS[name].split())
        optional = NEWER if name == "runs" else set()
        if any(hidden for _, hidden in columns) or not known - optional <= here <= known:
            return f"its table {name!r} has unexpected columns"
    return ""


def _plain(text: str) -> str:
    """SQL without line breaks and trailing semicolon."""
    return " ".join(text.split()).rstrip("; ")
