"""Whether a claim of an answer is false, for every kind of claim, given the truth about what was compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from steepest.study.answer import Answer, Named
from steepest.study.course import Course

from .worlds import Drawn, Truth

HOLDS = 5.0  # margins by which the next rate may be worse and must not be said to fail
TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Case:
    """An answer with the truth about its pick and about everything that it compares."""

    answer: Answer
    course: Course
    drawn: Drawn

    def here(self, one: Named) -> float:
        """The true mean of a candidate on these examples."""
        return self.drawn.here[key_of(one)]

    @property
    def pick(self) -> Named:
        """The pick."""
        assert self.answer.pick is not None
        return self.answer.pick

    def best(self, truth: Truth) -> float:
        """The best true mean of the contenders."""
        return max((truth[one.candidate.space.label, one.lr] for one in self.course.contenders), default=-math.inf)


def key_of(one: Named) -> tuple[str, float]:
    return one.label or one.name, one.lr


Judge = Callable[[Case], bool | None]  # whether a claim is false; None if it is not said


def _bound(case: Case) -> bool | None:
    bound = case.answer.bound
    return None if bound is None else case.best(case.drawn.here) - case.here(case.pick) > bound + TINY


def _new_examples(case: Case) -> bool | None:
    bound, truth = case.answer.bound_new_data, case.drawn.new
    return None if bound is None or truth is None else case.best(truth) - truth[key_of(case.pick)] > bound + TINY


def _ruled_out(case: Case) -> bool | None:
    ruled_out, best = case.answer.ruled_out, case.best(case.drawn.here)
    return any(case.here(one) >= best for one in ruled_out) if ruled_out else None


def _possible(case: Case) -> bool | None:
    said = [(one, one.ahead_at_most) for one in case.answer.possible if one.is_close]
    mean = case.here(case.pick)
    return any(most is not None and case.here(one) - mean > most + TINY for one, most in said) if said else None


def _cheaper(case: Case) -> bool | None:
    one = case.answer.cheaper
    return None if one is None else case.best(case.drawn.here) - case.here(one) > one.at_most + TINY


def _difference(case: Case) -> bool | None:
    row = case.answer.rival
    if row is None or row.low is None or row.high is None:
        return None
    return not row.low - TINY <= case.here(case.pick) - case.here(row) <= row.high + TINY


def _range(case: Case) -> bool | None:
    rate = case.answer.axes[0]
    if rate.cost_under is None or rate.low is None or rate.high is None:
        return None
    label, pick = key_of(case.pick)
    inside = [mean for (own, lr), mean in case.drawn.here.items() if own == label and rate.low <= lr <= rate.high]
    return case.drawn.here[label, pick] - min(inside) > rate.cost_under + TINY


def _cliff(case: Case) -> bool | None:
    cliff = case.answer.cliff
    if cliff is None:
        return None
    margins, lost = worse(case, cliff.lr)
    return margins <= HOLDS and lost <= case.drawn.lost[key_of(case.pick)]


def worse(case: Case, lr: float) -> tuple[float, float]:
    """By how many margins another rate of the pick's is truly worse, and which share of its runs diverges."""
    label, pick = key_of(case.pick)
    gap = case.drawn.here[label, pick] - case.drawn.here[label, lr]
    return gap / (case.answer.margin or math.inf), case.drawn.lost[label, lr]


def _order(case: Case) -> bool | None:
    longer, truth = case.answer.longer, case.drawn.longer
    if longer is None or truth is None or longer.order == "undecided":
        return None
    pick, rival = key_of(case.pick), key_of(longer)
    ahead = truth[pick] - truth[rival] if longer.order == "ahead" else truth[rival] - truth[pick]
    return ahead < -2 * case.drawn.error(pick, rival)


def _fresh(case: Case) -> bool | None:
    figure = case.answer.figure
    if figure is None or figure.half is None:
        return None
    truth = case.drawn.new if figure.split == "test" and case.drawn.new else case.drawn.here
    sign = case.course.question.scale.sign
    return abs(sign * figure.mean - truth[key_of(case.pick)]) > figure.half or figure.worse is not None


def _collapse(case: Case) -> bool | None:
    most = case.answer.collapse.at_most
    return None if most is None else case.drawn.lost[key_of(case.pick)] > most


JUDGES: dict[str, Judge] = {
    "bound": _bound,
    "new examples": _new_examples,
    "ruled out": _ruled_out,
    "possible": _possible,
    "cheaper": _cheaper,
    "difference": _difference,
    "range": _range,
    "cliff": _cliff,
    "order": _order,
    "fresh": _fresh,
    "collapse": _collapse,
}
ELSEWHERE = {"time": "by races that are stopped (`times`)", "verdict": "by simulated studies of equal seeds (`simulations`)"}
JOINT = ("bound", "new examples", "ruled out")
