"""The store of runs, and of facts about studies: decisions, looks, questions, and their data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec

from ...problems import IDENTITY
from ...rules import foreign
from ...rules.digest import MARK
from ...training.recorder import Outcome
from ..data import StudyData
from ..scalars import Steps, UnfitError
from . import gate
from .file import SHOWN, File
from .runs import COLUMNS, key_of, outcome_of, packed


class Store(File):
    """An open store of runs and facts."""

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
            return str(gate.one(created, gate.Time, "the time of a run"))[:10]
        except UnfitError as error:
            raise self.damaged(f"Run {key_of(spec)[:SHOWN]}") from error

    def _value(self, text: Any, what: str, key: str) -> Any:
        """The checked value of a fact. Raises SteepestError if it is damaged."""
        try:
            return gate.fact(what, text)
        except UnfitError as error:
            raise self.damaged(f"The fact '{what}' {str(key)[:SHOWN]}") from error

    def unmatched(self, problem: str) -> int:
        """The number of this problem's runs from earlier versions, which identified problems or rules in another way."""
        marks = (MARK, foreign.MARK)
        others = " AND ".join(["json_extract(spec, '$.rule') NOT LIKE ?"] * len(marks))
        query = f"""SELECT count(*) FROM runs WHERE problem = ? AND (({others})
                    OR json_extract(spec, '$.fingerprint') NOT LIKE ?)"""
        return int(self._execute(query, (problem, *(f"{mark}%" for mark in (*marks, IDENTITY))))[0])

    def add_run(self, spec: dict[str, Any], names: dict[str, Any], outcome: Outcome) -> None:
        """Store a run. `names` (problem, optimizer, schedule, lr, seed, steps) are for display; `spec` gives the key."""
        values = {
            "key": key_of(spec),
            "spec": json.dumps(spec, sort_keys=True),
            **names,
            "status": outcome.status,
            "valid": outcome.valid,
            "test": outcome.test,
            "test_se": outcome.test_se,
            "loss": outcome.loss,
            "diverged_at": outcome.diverged_at,
            "seconds": outcome.seconds,
            "curve": json.dumps(asdict(outcome.curve)),
            "examples": packed(outcome),
            "why": outcome.why or None,
        }
        self._insert("runs", values)

    def look(self, study: str, seeds: int, alpha_at: Any) -> tuple[int, float]:
        """The number and alpha of this study's look at this many seeds; a new number of seeds is stored as a new look."""
        query = "SELECT look, alpha FROM looks WHERE study = ? AND seeds = ?"
        row = self._execute(query, (study, seeds))
        while row is None:
            (last,) = self._execute("SELECT coalesce(max(look), 0) FROM looks WHERE study = ?", (study,))
            self._insert("looks", {"study": study, "look": last + 1, "seeds": seeds, "alpha": alpha_at(last + 1)})
            row = self._execute(query, (study, seeds))
        try:
            return gate.one(row[0], Steps, "a look"), gate.one(row[1], gate.Share, "its alpha")
        except UnfitError as error:
            raise self.damaged(f"A look at the study {study[:SHOWN]}") from error

    def recall(self, what: str, spec: dict[str, Any]) -> Any:
        """The fact stored under this name and spec, or None."""
        row = self._execute("SELECT value FROM facts WHERE what = ? AND key = ?", (what, key_of(spec)))
        return row and self._value(row[0], what, key_of(spec))

    def remember(self, what: str, spec: dict[str, Any], value: Any) -> None:
        """Store a fact, such as the "steps" for a budget or the "timing" of a step; an existing fact is not replaced."""
        self._insert("facts", {"what": what, "key": key_of(spec), "value": json.dumps(value)})

    def rows(self) -> Iterator[dict[str, Any]]:
        """All runs, one at a time, in the order in which they ended: names, results and curve."""
        for key, *row, curve in self.all(f"SELECT key, {', '.join(COLUMNS)}, curve FROM runs ORDER BY rowid"):
            try:
                yield gate.row(dict(zip(COLUMNS, row, strict=True))) | {"curve": asdict(gate.curve(curve))}
            except UnfitError as error:
                raise self.damaged(f"Run {str(key)[:SHOWN]}") from error

    def keep_study(self, study: StudyData) -> None:
        """Store the data of a study, for reports, under its question and its number of runs."""
        asked = [study.problem, study.answer.question, study.answer.raced]
        spec = {"asked": asked, "ran": study.ran, "recorded": study.recorded is not None}
        self.remember("study", spec, {"asked": asked, "shown": msgspec.to_builtins(study, enc_hook=float)})

    def studies(self) -> list[StudyData]:
        """The latest data of each question, for reports, in the order in which the questions were first asked."""
        last: dict[tuple[Any, ...], StudyData] = {}
        for asked, study in self.facts("study"):
            if study.recorded or asked not in last or last[asked].ran != study.ran:  # a recorded one has more data
                last[asked] = study
        return [*last.values()]

    def question(self, problem: str, study: str) -> int:
        """The number of this study among those of the problem, in the order they were first asked; a new study is stored."""
        return self._asked("question", problem, study).index(study) + 1

    def share(self, family: str, candidates: list[str]) -> int:
        """The number of the share of alpha for a set of candidates: that of the first stored set that contains them all.

        A set that no earlier set of this family of questions contains takes the next share, and is stored.
        """
        shares: list[set[str]] = []
        for asked in map(set, self._asked("candidates", family, candidates)):
            if not any(asked <= earlier for earlier in shares):
                shares.append(asked)
        return next(k for k, earlier in enumerate(shares, 1) if set(candidates) <= earlier)

    def _asked(self, what: str, family: str, item: Any) -> list[Any]:
        """The items of a family, with this one, in the order in which they were first stored."""
        self.remember(what, {"family": family, "item": item}, [family, item])
        asked = [other for name, other in self.facts(what) if name == family]
        if item not in asked:
            raise self.damaged(f"The fact '{what}' of {family[:SHOWN]}")
        return asked

    def facts(self, what: str) -> Iterator[Any]:
        """All facts of a name, in the order in which they were stored."""
        query = "SELECT key, value FROM facts WHERE what = ? ORDER BY rowid"
        return (self._value(value, what, key) for key, value in self.all(query, (what,)))
