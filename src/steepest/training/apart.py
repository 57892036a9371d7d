"""What trainings have in common whose runs train by themselves, each in another process: a loop and a command."""

from __future__ import annotations

from collections.abc import Sequence

from . import ways
from .stacked import Run
from .ways import Plan


class Apart:
    """A training whose runs have a process each; `workers` of them train at the same time."""

    workers: int
    reason = "a process for each run"

    def operations(self) -> int | None:
        """None: this process computes nothing."""
        return None

    def first_plan(self, workers: int) -> Plan:
        """Several runs at a time."""
        return Plan(1, self.workers, why=self.reason)

    def named_plan(self, name: str, why: str = "as asked") -> Plan:
        """The plan with this name: one run at a time, or several. SteepestError for any other."""
        return Plan(1, ways.one_by_one(name, self.workers), why=why)

    def fitted(self, plan: Plan, memory: int | None) -> Plan:
        """The plan unchanged: the memory of a process is its own."""
        return plan

    def choose(self, runs: Sequence[Run], memory: int | None) -> Plan:
        """Several runs at a time."""
        return self.first_plan(self.workers)

    def bytes_of(self, runs: int) -> int:
        """0: the memory of a process is unknown."""
        return 0
