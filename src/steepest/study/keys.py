"""Store keys of runs and studies: they include everything that could change the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..rules.foreign import Maker
from ..training.versions import versions
from .axes import RATE
from .protocol import Job
from .question import Question
from .space import Space
from .store import key_of


@dataclass(frozen=True)
class Keys:
    """Keys of the runs of one problem, identified by its fingerprint, on a device."""

    fingerprint: str
    device: str

    def problem(self) -> dict[str, Any]:
        """The key of facts about the problem itself."""
        return {"fingerprint": self.fingerprint, "device": self.device}

    def rule(self, rule: Maker, **more: Any) -> dict[str, Any]:
        """The key of an optimizer with its settings, except for the learning rate."""
        return {
            "fingerprint": self.fingerprint,
            "rule": rule.digest,
            "hyper": {k: _plain(v) for k, v in rule.settings().items() if k != RATE},
            "device": self.device,
            "versions": {k: v for k, v in versions().items() if k != "python"},
            **more,
        }

    def job(self, job: Job) -> dict[str, Any]:
        """The key of a run. A run that stores the metric of each example, or ends early, has a key of its own."""
        candidate = job.candidate
        names = {"lr": candidate.lr, "seed": job.seed, "steps": job.length, "schedule": candidate.schedule}
        more: dict[str, Any] = ({"examples": 1} if job.examples else {}) | ({"until": job.until} if job.until else {})
        more |= {"config": candidate.config} if candidate.config else {}
        return self.rule(candidate.rule, **names, **more)

    def study(self, question: Question) -> str:
        """The key of a question; it does not depend on the number of seeds or the budget."""
        spaces = sorted(key_of(self._space(space) | {"steps": question.steps}) for space in question.spaces)
        trials = question.trials if any(space.rates is None for space in question.spaces) else 0
        measure = {"measure": question.scale.name} if question.scale.measure else {}
        search = {"search": question.search} if question.search else {}
        return key_of({"candidates": spaces, "trials": trials} | measure | search)

    def family(self, question: Question) -> tuple[str, list[str]]:
        """The key of the questions that share one alpha with this one, and the keys of the spaces that it compares."""
        return key_of(self.problem() | {"steps": question.steps}), sorted(key_of(self._space(s)) for s in question.spaces)

    def _space(self, space: Space) -> dict[str, Any]:
        others: dict[str, Any] = {"axes": [axis.name for axis in space.others]} if space.others else {}
        ranges = [axis.options and [_plain(value) for value in axis.options] for axis in space.others]
        others |= {"options": ranges} if any(ranges) else {}
        others |= {"further": [axis.name for axis in space.further]} if space.further else {}
        return self.rule(space.rule, schedule=space.schedule, rates=space.rates, **others)


def _plain(value: Any) -> Any:
    """A setting as JSON has it; an object of another kind by its text."""
    if isinstance(value, tuple | list):
        return [one if one is None or isinstance(one, bool | int | float | str) else repr(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
