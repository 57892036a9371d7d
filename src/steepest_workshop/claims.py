"""How often each kind of sentence of an answer is said, and how often it is then false, in studies replayed on tables.

A replay draws seeds, and examples where a table has them, with replacement, so that the means of the table are the exact truth;
an order is false if the table's truth is on the other side by more than two of its standard errors, as that has 20 seeds.
The answer is that of `steepest.study.conclude`, as printed; `JUDGES` compares each of its claims with the truth.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from steepest.study import bounds
from steepest.study.answer import Answer, Named
from steepest.study.conclude import conclude, new_examples
from steepest.study.course import Course
from steepest.study.question import Scale
from steepest.study.sentences import KINDS
from steepest.study.space import spaces
from steepest.study.table import UNTIMED, Table, arms, question, replay

from . import tables
from .calibrated import Row, figure, verdict
from .worlds import WORLDS, Drawn, Truth, World

Array = NDArray[np.float64]

BUDGET = 120.0  # seconds, of races that have one
SEEDS = 60  # of the race of a replay
STOPPED_AT = (6, 8, 10, 14, 20, 30, 45)  # seeds at which a race is stopped to judge the time that it says
MOST_SEEDS = 600  # of the same race, to see how many runs it needs
PROMISED, IN_TIME = 0.05, 0.2  # largest share of false claims; of claims about times
LEAST_SAID = 0.025  # share of races in which a claim must be said to be judged: 50 of 2,000
FAILS, HOLDS = 15.0, 5.0  # margins by which the next rate is worse: it must be flagged, it must not
CLEAR = 4.0  # standard errors of a comparison by which the order of longer runs is clear
TINY = 1e-9
MANY = 1_000  # races from which the shares are judged as they are
WIDTH = 16  # of a column of the table of claims
RATES = (0.1, 0.22)
STATE = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2, "adamw": 2}  # buffers
RESTING = dataclasses.replace(UNTIMED, reads_only=False)


class Source(Protocol):
    """Runs with a known truth; `draw` makes a study of them, with this many seeds for its race."""

    name: str

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn: ...


class Classic:
    """A recorded table without examples: digits, diabetes or mnist."""

    def __init__(self, name: str) -> None:
        self.name, self.recorded = name, tables.load(name)
        values = self.recorded.sign * self.recorded.values
        lost = np.isnan(values)
        means = np.where(lost.all(1), -np.inf, np.where(lost, 0.0, values).sum(1) / np.maximum((~lost).sum(1), 1))
        names = list(self.recorded.table.rows)
        self.here, self.lost = dict(zip(names, means, strict=True)), dict(zip(names, lost.mean(1), strict=True))

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw seeds with replacement."""
        table = self.recorded.table
        columns = rng.integers(0, self.recorded.values.shape[1], 3 + seeds + table.fresh)
        return Drawn(table.drawn(columns), self.recorded.scale, self.here, self.lost)


@dataclasses.dataclass
class Simulated:
    """Candidates with normal effects of seeds and examples, crossed; `means` are true, in standard deviations of a run."""

    name: str
    means: Array
    of_examples: float = 1.0  # standard deviation of an example's effect on one candidate
    validation: int = 100
    longer: Array | None = None  # true means in longer runs, where all spread by 1

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw new seeds and new examples."""
        count, runs = len(self.means), seeds + 5
        by_seed, by_example = rng.standard_normal((count, runs, 1)), rng.standard_normal((count, 1, self.validation))
        rest = rng.standard_normal((count, runs, self.validation))
        examples = self.means[:, None, None] + by_seed + self.of_examples * (by_example + rest)
        names = [(f"{k:03}", 1.0) for k in range(count)]
        here = self.means + self.of_examples * by_example.mean((1, 2))
        made = arms(examples.mean(2), 5)
        unused = np.zeros((count, 3, self.validation))
        after = None if self.longer is None else self.longer[:, None] + rng.standard_normal((count, 5))
        rates = [(1.0,)] * count
        table = Table(made.spaces, rates, made.recorded, 5, examples=np.concatenate([unused, examples], 1), longer=after)
        scale = Scale("value", "max", examples=self.validation)
        none = dict.fromkeys(names, 0.0)
        new = dict(zip(names, self.means.tolist(), strict=True))
        later = None if self.longer is None else dict(zip(names, self.longer.tolist(), strict=True))
        return Drawn(table, scale, dict(zip(names, here.tolist(), strict=True)), none, new, later)


@dataclasses.dataclass
class Hurried:
    """A world whose races have a budget of few runs, from one that shortens screening runs to one that ends the race early."""

    world: World
    name: str
    runs: tuple[int, ...] = (8, 14, 22, 40, 90)

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw as the world does, and the number of runs that the budget has time for."""
        return self.world.draw(rng, seeds)._replace(longer=None, runs=int(rng.choice(self.runs)))


MARGIN = 0.5  # of simulated races, in standard deviations of a run
STEPS = np.arange(6.0)
SOURCES: dict[str, Callable[[], Source]] = {
    **{name: lambda name=name: Classic(name) for name in ("digits", "diabetes", "mnist")},  # type: ignore[misc]
    **{name: lambda name=name: World(name) for name in WORLDS},  # type: ignore[misc]
    "tuning, hurried": lambda: Hurried(World("tuning"), "tuning, hurried"),
    "symbols, hurried": lambda: Hurried(World("symbols"), "symbols, hurried"),
    "ladder": lambda: Simulated("ladder", -0.3 * STEPS, longer=-CLEAR * math.sqrt(2 / 5) * STEPS),
    "equal": lambda: Simulated("equal", np.zeros(6), of_examples=3.0, longer=np.zeros(6)),
}
NULL = ("equal",)  # tables on which nothing is better, so that only guarded claims are judged


@dataclasses.dataclass(frozen=True)
class Case:
    """An answer with the truth about its pick and about everything that it compares."""

    answer: Answer
    course: Course
    drawn: Drawn

    def here(self, one: Named) -> float:
        """The true mean of a candidate on these examples."""
        return self.drawn.here[_key(one)]

    @property
    def pick(self) -> Named:
        """The pick."""
        assert self.answer.pick is not None
        return self.answer.pick

    def best(self, truth: Truth) -> float:
        """The best true mean of the contenders."""
        return max((truth[one.candidate.label, one.lr] for one in self.course.contenders), default=-math.inf)


def _key(one: Named) -> tuple[str, float]:
    return one.label or one.name, one.lr


Judge = Callable[[Case], bool | None]  # whether a claim is false; None if it is not said


def _bound(case: Case) -> bool | None:
    bound = case.answer.bound
    return None if bound is None else case.best(case.drawn.here) - case.here(case.pick) > bound + TINY


def _new_examples(case: Case) -> bool | None:
    bound, truth = case.answer.bound_new_data, case.drawn.new
    return None if bound is None or truth is None else case.best(truth) - truth[_key(case.pick)] > bound + TINY


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
    label, pick = _key(case.pick)
    inside = [mean for (own, lr), mean in case.drawn.here.items() if own == label and rate.low <= lr <= rate.high]
    return case.drawn.here[label, pick] - min(inside) > rate.cost_under + TINY


def _cliff(case: Case) -> bool | None:
    cliff = case.answer.cliff
    if cliff is None:
        return None
    worse, lost = _worse(case, cliff.lr)
    return worse <= HOLDS and lost <= case.drawn.lost[_key(case.pick)]


def _worse(case: Case, lr: float) -> tuple[float, float]:
    """By how many margins another rate of the pick's is truly worse, and which share of its runs diverges."""
    label, pick = _key(case.pick)
    gap = case.drawn.here[label, pick] - case.drawn.here[label, lr]
    return gap / (case.answer.margin or math.inf), case.drawn.lost[label, lr]


def _order(case: Case) -> bool | None:
    longer, truth = case.answer.longer, case.drawn.longer
    if longer is None or truth is None or longer.order == "not told apart":
        return None
    pick, rival = _key(case.pick), _key(longer)
    ahead = truth[pick] - truth[rival] if longer.order == "ahead" else truth[rival] - truth[pick]
    return ahead < -2 * case.drawn.error(pick, rival)


def _fresh(case: Case) -> bool | None:
    figure = case.answer.figure
    if figure is None or figure.half is None:
        return None
    truth = case.drawn.new if figure.split == "test" and case.drawn.new else case.drawn.here
    sign = case.course.question.scale.sign
    return abs(sign * figure.mean - truth[_key(case.pick)]) > figure.half or figure.worse is not None


def _collapse(case: Case) -> bool | None:
    most = case.answer.collapse.at_most
    return None if most is None else case.drawn.lost[_key(case.pick)] > most


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


def claims(name: str, races: int, seed: int = 0) -> Iterator[Row]:
    """Replay races on a table, and yield a row for each kind of claim that it can carry."""
    source, rng = SOURCES[name](), np.random.default_rng((seed, 5))
    said, false = Counter[str](), Counter[str]()
    fails, holds, widths = list[bool](), list[bool](), list[float]()
    clear = list[bool]()
    for _ in range(races):
        drawn = source.draw(rng, SEEDS)
        fields: dict[str, Any] = {"margin": MARGIN} if isinstance(source, Simulated) else {}
        seconds = BUDGET / drawn.runs if drawn.runs else 0.0
        fields |= {"budget": BUDGET} if drawn.runs else {}
        costs = {space.label: (1.0, STATE.get(space.rule.name, 0)) for space in drawn.table.spaces}
        clock = dataclasses.replace(UNTIMED if drawn.longer is None else RESTING, costs=costs)
        course = replay(question(drawn.table, drawn.scale, **fields), drawn.table, clock=clock, seconds=seconds)
        case = Case(conclude(course), course, drawn)
        if case.answer.pick is None:
            continue
        found = {kind: judge(case) for kind, judge in JUDGES.items()}
        said.update(kind for kind, wrong in found.items() if wrong is not None)
        false.update(kind for kind, wrong in found.items() if wrong)
        false["jointly"] += any(found[kind] for kind in JOINT)
        above = course.next_to(course.contenders[course.now.pick].candidate, 1) if course.now else None
        if above and (above.label, above.lr) in drawn.here:
            worse, lost = _worse(case, above.lr)
            (fails if worse >= FAILS else holds if worse <= HOLDS and not lost else []).append(case.answer.cliff is not None)
        clear += _clear(case)
        widths += _widths(case)
    for kind in JUDGES:
        yield claim(kind, name, said[kind], false[kind], races)
    yield verdict(
        f"{name}: a bound, one on new examples or what is ruled out is false", false["jointly"] / races, 0.0, PROMISED, races
    )
    if len(fails) >= LEAST_SAID * races and not isinstance(source, Hurried):  # a few runs miss a rate that fails at times
        yield verdict(
            f"{name}: the next rate is worse by {FAILS:g} margins or more, and said to fail",
            float(np.mean(fails)),
            0.95,
            1.0,
            len(fails),
        )
    if len(holds) >= LEAST_SAID * races:
        yield verdict(
            f"{name}: the next rate is worse by {HOLDS:g} margins or less, and said to fail",
            float(np.mean(holds)),
            0.0,
            0.05,
            len(holds),
        )
    if len(clear) >= LEAST_SAID * races:
        what = f"{name}: the order of longer runs is said where they differ by {CLEAR:g} standard errors"
        yield verdict(what, float(np.mean(clear)), 0.8, 1.0, len(clear))
    if widths:
        yield figure(
            f"{name}: median half-width on new examples, of that with a share of alpha for each look",
            100 * float(np.median(widths)),
            "%",
        )


def _clear(case: Case) -> list[bool]:
    """Whether the order of longer simulated runs is said, if they truly differ by `CLEAR` standard errors or more."""
    longer, truth = case.answer.longer, case.drawn.longer
    if longer is None or truth is None or case.drawn.scale.name != "value":
        return []
    error = math.sqrt(2 / longer.seeds)
    return (
        [longer.order != "not told apart"] if abs(truth[_key(case.pick)] - truth[_key(longer)]) >= CLEAR * error - TINY else []
    )


def _widths(case: Case) -> list[float]:
    """The half-width of the bound on new examples, relative to one that spends alpha over the looks and by Bonferroni."""
    course, now = case.course, case.course.now
    results = [[o.examples for o in one.outcomes if o.examples is not None] for one in course.contenders]
    if now is None or case.answer.bound_new_data is None or not all(results):
        return []
    look, count = len(bounds.looks(int(now.seeds[now.pick]))) - 1, len(results)
    level = course.question.alpha * bounds.spent(max(look, 0)) / (count - 1)
    sign, old = course.question.scale.sign, list[tuple[float, float]]()
    pick = sign * np.array(results[now.pick])
    for k, own in enumerate(results):
        n = min(len(own), len(pick))
        if k != now.pick and n > 1:
            mean, variance, freedom = bounds.crossed(sign * np.array(own[:n]) - pick[:n])
            half = float(special.stdtrit(freedom, 1 - level)) * math.sqrt(variance)
            old.append((mean + half, half))
    half = case.answer.bound_new_data - new_examples(course).gap
    return [half / max(old)[1]] if old and max(old)[1] else []


def claim(kind: str, table: str, said: int, false: int, races: int) -> Row:
    """How often a kind of claim is said and false on a table; `limit` is the upper 95 % limit of the share of false ones.

    It holds if it is false as seldom as promised; with few races, up to three standard errors more often.
    """
    limit = bounds.most_collapses(false, said) if said else None
    most = IN_TIME if kind == "time" else PROMISED
    of = races if KINDS[kind] else said
    judged = said >= LEAST_SAID * races and (KINDS[kind] or table not in NULL)
    slack = 3 * math.sqrt(most * (1 - most) / max(of, 1)) if races < MANY else 0.0
    holds = bool(false / of <= most + slack) if judged and of else None
    return {"kind": kind, "table": table, "said": said, "false": false, "races": races, "limit": limit, "holds": holds}


def times(name: str, races: int, seed: int = 0) -> Iterator[Row]:
    """Stop races at some number of seeds, continue them to their margin, and judge the runs that they said are needed."""
    source, rng = SOURCES[name](), np.random.default_rng((seed, 6))
    said = false = reached = covered = 0
    for _ in range(races):
        drawn = source.draw(rng, MOST_SEEDS)
        table = drawn.table
        columns = np.array(table.columns)
        last = 3 + int(rng.choice(STOPPED_AT))
        short = table.drawn(np.concatenate([columns[:last], columns[len(columns) - table.fresh :]]))
        fields: dict[str, Any] = {"margin": MARGIN} if isinstance(source, Simulated) else {}
        asked = question(short, drawn.scale, **fields)
        stopped = replay(asked, short)
        left = conclude(stopped).remaining
        if left is None:
            continue
        whole = replay(asked, table)
        needed = whole.looks[-1].runs - stopped.looks[-1].runs if whole.stopped == "margin" else math.inf
        said += 1
        if left.most is None:
            false += needed <= left.least
            continue
        false += not left.least <= needed <= left.most
        reached += math.isfinite(needed)
        covered += left.least <= needed <= left.most
    yield claim("time", name, said, false, races)
    if reached >= LEAST_SAID * races:
        yield verdict(f"{name}: the range of runs covers those that reach the margin", covered / reached, 0.8, 1.0, reached)


def calmer(races: int, seed: int = 0) -> Iterator[Row]:
    """Race two rates with equal means, one of which spreads less: is it the pick?"""
    rng, picked = np.random.default_rng((seed, 7)), 0
    for _ in range(races):
        values = 90 + np.array([[1.37], [0.31]]) * rng.standard_normal((2, 3 + SEEDS))
        table = Table(spaces(["sgd"], ["constant"], None), [RATES], values)
        course = replay(question(table, Scale("accuracy", "max", in_points=True)), table)
        picked += course.pick is not None and course.pick.lr == RATES[1]
    yield verdict(
        "of two rates with equal means and SDs of 1.37 and 0.31, the second is picked", picked / races, 0.9, 1.0, races
    )


TITLE = "How often each claim is said, in % of races: how often it is then false, in %, and the upper 95 % limit of that"
ABSENT = (  # what a table needs to carry a claim; elsewhere a claim is never made in these races
    "new examples: the results of single examples, which digits, diabetes and mnist lack",
    "range, cliff: several rates of an optimizer, which ladder and equal lack",
    "order: runs of five times the steps, which spirals, teacher, ladder and equal have",
    "cheaper: optimizers with states of several sizes, which ladder and equal lack",
    "verdict: judged by simulated studies of equal seeds, in the rows above",
)


def matrix(rows: Sequence[Row]) -> Iterator[str]:
    """The table of claims: a line for each kind, a column for each table; then why some cells are empty."""
    cells = {(row["kind"], row["table"]): row for row in rows if "kind" in row}
    names = list(dict.fromkeys(table for _, table in cells))
    yield f"{'claim':14s}" + "".join(f"{name:>{WIDTH}s}" for name in names)
    for kind in KINDS:
        yield f"{kind:14s}" + "".join(f"{cell(cells.get((kind, name))):>{WIDTH}s}" for name in names)
    yield from (f"- {why}" for why in ABSENT)


def cell(row: Row | None) -> str:
    """A cell: the percentage of races that say it, and of these that of false ones, with its upper 95 % limit."""
    if row is None or not row["said"]:
        return "-"
    share = 100 * row["false"] / row["said"]
    broken = "!" if row["holds"] is False else ""
    return f"{broken}{100 * row['said'] / row['races']:.0f}: {share:.1f} <{100 * row['limit']:.1f}"
