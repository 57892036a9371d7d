"""Calibration: how often the claims of studies hold, in simulations and in replays of recorded runs with a known truth."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steepest import problems
from steepest.problems.problem import Problem
from steepest.study.bounds import Standing
from steepest.study.course import Course
from steepest.study.protocol import RACE, Job, Wanted
from steepest.study.question import Question, Scale
from steepest.study.space import spaces
from steepest.study.statistics import ALPHA, LEAST_PAIRS, alpha_at_look, judge
from steepest.study.table import UNTIMED, Table, arms, question, replay
from steepest.training import ways
from steepest.training.recorder import Outcome
from steepest.training.stacked import Run

from . import claims, tables
from .calibrated import Row, figure, verdict
from .simulations import MOST_SEEDS, TRUTHS, boundaries, on_new_examples, simulate
from .sources import SOURCES

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]

TABLES = ("digits", "diabetes", "mnist")
SCREENING = 3  # seeds of screening; all rates get the first
LEAST_RACES = 40
APART = 10_000_000  # offset between the seeds of copies
MOST_REPLAYED = 400  # seeds of a replay drawn with replacement
MOST_OF_EQUAL = 0.6  # of the runs of the equal protocol, at 0.5 points
SECONDS_PER_STEP = 3e-5  # of one run of digits, measured
STEPS = 500  # of one run of digits
KNOWN = "the equal protocol, had it known how many seeds are enough"
EQUAL_LOOKS = (10, 20, 40, 80, 160, 320)  # seeds at the looks of the equal protocol
TINY = 1e-9
MORE = Scale("value", "max")  # of simulated values


def everything(studies: int = 10_000, seed: int = 0) -> Iterator[Row]:
    """Yield all rows: shares with a verdict (what, share, low, high, holds), figures without (what, figure, unit, holds).

    Independent parts run in parallel, in one process per core.
    """
    races = max(studies // 25, LEAST_RACES)
    parts: list[tuple[Callable[..., Iterable[Row]], tuple[Any, ...]]] = [(simulate, (studies, seed))]
    parts += [(simulated_races, (races, seed, [count], [noise])) for noise in NOISES for count in TRUTHS]
    parts += [(replays, (name, races, seed)) for name in TABLES]
    parts += [(claims.claims, (name, max(studies // 5, LEAST_RACES), seed)) for name in SOURCES]
    parts += [(claims.times, (name, max(studies // 5, LEAST_RACES), seed)) for name in SOURCES]
    parts += [(claims.calmer, (races, seed))]
    parts += [
        (copies, ("digits", races, seed)),
        (costs, (max(races // 4, 25), seed)),
        (on_new_examples, (max(studies // 10, 200), seed)),
        (boundaries, (max(races // 2, 50), seed)),
    ]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for rows in [pool.submit(_listed, make, asked) for make, asked in parts]:
            yield from rows.result()
    yield from real_copies(max(races // 10, 3))


def _listed(make: Callable[..., Iterable[Row]], asked: tuple[Any, ...]) -> list[Row]:
    return [*make(*asked)]


@dataclass
class Wrong:
    """Errors at any look of a race: the best is further `ahead` than its bound, the `bound` of the pick, `ruled_out` a best."""

    ahead: bool = False
    bound: bool = False
    ruled_out: bool = False

    def see(self, now: Standing, truth: Array) -> None:
        """Compare a standing with the true means."""
        best = np.flatnonzero(truth == truth.max())
        self.ahead |= bool((truth[best[0]] - truth > now.ahead[best[0]] + TINY).any())
        self.bound |= bool(truth.max() - truth[now.pick] > now.bound[now.pick] + TINY)
        self.ruled_out |= not now.possible[best].all()


def _watched(course: Course, table: Table, truth: Array) -> Wrong:
    """The errors at any look of a race on a table whose rows have these true means."""
    rows = [table.rows[one.candidate.space.label, one.lr] for one in course.contenders]
    wrong, means = Wrong(), truth[rows]
    for now in course.standings:
        wrong.see(now, means[: len(now.possible)])  # rates next to the pick's may have joined later
    return wrong


def _shares(of: str, seen: list[Wrong], promised: bool = True) -> Iterator[Row]:
    for what, wrong in (
        ("the best is further ahead than its bound", [w.ahead for w in seen]),
        ("the loss by the pick exceeds its bound", [w.bound for w in seen]),
        ("a best one is ruled out", [w.ruled_out for w in seen]),
    ):
        row = verdict(f"{of}: {what}", float(np.mean(wrong)), 0.0, ALPHA, len(seen))
        yield row if promised else {**row, "low": None, "high": None, "holds": None}


def _bad_runs(share: float, lower: float) -> Draw:
    """Centred normal values, a share of which is lower by `lower` standard deviations."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Array:
        return rng.standard_normal(size) - lower * ((rng.random(size) < share) - share)

    return draw


NOISES: dict[str, tuple[Draw, bool]] = {  # of all candidates but the first, which is normal
    "normal": (lambda rng, size: rng.standard_normal(size), True),
    "skewed, exponential bad runs": (lambda rng, size: 1 - rng.exponential(size=size), True),
    "1 run in 20 is 5 SD lower": (_bad_runs(0.05, 5), True),
    "1 run in 10 is 10 SD lower": (_bad_runs(0.1, 10), False),
}


def simulated_races(
    studies: int, seed: int = 0, counts: Iterable[int] = tuple(TRUTHS), noises: Iterable[str] = tuple(NOISES)
) -> Iterator[Row]:
    """Simulate races to a margin of 0.1 SD, which most never reach, so that they take every look: the hardest case."""
    for name in noises:
        draw, promised = NOISES[name]
        for count in counts:
            rng = np.random.default_rng((seed, 1, [*NOISES].index(name), count))
            truth, seen = TRUTHS[count].astype(float), []
            for _ in range(studies):
                noise = draw(rng, (count, MOST_SEEDS))
                noise[0] = rng.standard_normal(MOST_SEEDS)
                common = 2 * rng.standard_normal(MOST_SEEDS)
                table = arms(truth[:, None] + noise / np.sqrt(2) + common)
                course = replay(question(table, MORE, margin=0.1), table)
                seen.append(_watched(course, table, truth))
            yield from _shares(f"{count} candidates, {name}", seen, promised)


def _sorted(candidates: list[int], merit: Array) -> list[int]:
    return sorted(candidates, key=lambda c: float(merit[c]), reverse=True)


def _means(values: Array) -> Array:
    """The mean of each candidate's runs that did not diverge; minus infinity if all did."""
    there = np.isfinite(values)
    sums = np.where(there, values, 0).sum(1)
    return np.where(there.any(1), sums / np.maximum(there.sum(1), 1), -np.inf)


def replays(name: str, studies: int, seed: int = 0) -> Iterator[Row]:
    """Replay races on columns of a recorded table; the truth is the mean over all columns.

    Without replacement, sample and truth share columns, which is slightly favourable; with replacement, draws are
    independent and the truth is exact.
    """
    rng, recorded = np.random.default_rng((seed, 2)), tables.load(name)
    truth, count, table = _means(recorded.sign * recorded.values), recorded.values.shape[1], recorded.table
    for how in ("without replacement", "with replacement"):
        seen = []
        for _ in range(studies):
            columns: Any = rng.permutation(count) if how == "without replacement" else rng.integers(0, count, count)
            course = replay(question(table, recorded.scale), table.drawn(columns))
            seen.append(_watched(course, table, truth))
        yield from _shares(f"{name}, its seeds drawn {how}", seen)


def copies(name: str, studies: int, seed: int = 0, names: int = 3) -> Iterator[Row]:
    """Replay races of one rule under three names with separate seeds: how often is every raced rate of a name ruled out?"""
    rng, recorded = np.random.default_rng((seed, 3)), tables.load(name)
    truth, count = _means(recorded.sign * recorded.values), recorded.values.shape[1]
    optimizer, schedule, _ = recorded.names[int(truth.argmax())]
    own = np.flatnonzero([name[:2] == (optimizer, schedule) for name in recorded.names])
    rates = [[recorded.names[row][2] for row in own]] * names
    (space,) = spaces([optimizer], [schedule], None)
    alike = [dataclasses.replace(space, label=f"{optimizer} {k + 1}") for k in range(names)]
    each, wrong = count // names, []
    for _ in range(studies):
        columns = rng.permutation(count)[: each * names].reshape(names, each)
        table = Table(alike, rates, np.concatenate([recorded.values[np.ix_(own, part)] for part in columns]))
        wrong.append(_loses_a_name(replay(question(table, recorded.scale), table)))
    what = f"{optimizer} with {schedule} on {name} under {names} names: every rate of one name that raced is ruled out"
    yield verdict(what, float(np.mean(wrong)), 0.0, ALPHA, studies)


def _loses_a_name(course: Course) -> bool:
    """Whether all raced candidates of one name are ruled out at any look of a race."""
    labels = [one.candidate.label for one in course.contenders]

    def left(now: Standing) -> int:
        return len({label for label, may in zip(labels, now.possible, strict=False) if may})

    return any(left(now) < len(set(labels[: len(now.possible)])) for now in course.standings)


def real_copies(studies: int, names: int = 3, steps: int = STEPS) -> Iterator[Row]:
    """Train whole studies on digits: one rule under three names with separate seeds, with a search of its rates."""
    problem, (space,) = problems.get("digits"), spaces(["adamw"], ["cosine"], None)
    alike = tuple(dataclasses.replace(space, label=f"adamw {k + 1}") for k in range(names))
    scale = Scale("accuracy", "max", in_points=True, examples=len(problem.valid))
    asked = Question(alike, scale, steps, 7)
    wrong, runs = [], 0
    for number in range(studies):
        first = {space.label: APART * (1 + number * names + k) for k, space in enumerate(alike)}
        trained = Trained(problem, first)
        wrong.append(_loses_a_name(replay(asked, trained, watch=trained.train)))
        runs += len(trained)
    what = f"{studies} real studies of adamw with cosine under {names} names on digits, {runs} runs"
    yield verdict(f"{what}: every rate of one name that raced is ruled out", float(np.mean(wrong)), 0.0, ALPHA, studies)


class Trained(dict[Job, Outcome]):
    """Outcomes of runs that are trained when requested; labels have separate seeds, and runs after the race are skipped."""

    def __init__(self, problem: Problem, first: Mapping[str, int]) -> None:
        super().__init__()
        self.problem, self.first = problem, first

    def train(self, wanted: Wanted) -> None:
        """Train a batch of runs."""
        jobs = wanted.jobs if wanted.phase == RACE else ()
        runs = [
            Run(c.rule, c.lr, job.seed + self.first[c.space.label], job.length, c.multiplier)
            for job in jobs
            if (c := job.candidate)
        ]
        for i, outcome in ways.train_all(self.problem, runs, ways.named("many:64")):
            self[jobs[i]] = outcome


def costs(studies: int, seed: int = 0) -> Iterator[Row]:
    """Runs and seconds of training to a bound on digits, against the equal protocol; columns are drawn with replacement.

    The equal protocol runs every rate on three seeds, then the best of each optimizer and schedule on equal seeds, with looks
    after 10, 20, 40, ... seeds. It is also evaluated with a single look at the least sufficient number of seeds.
    """
    rng, recorded = np.random.default_rng((seed, 4)), tables.load("digits")
    table, values = recorded.table, recorded.sign * recorded.values
    chunked = dataclasses.replace(UNTIMED, chunked=True)
    for bound in (0.5, 0.2):
        runs: dict[str, list[int]] = {"the race": [], "the equal protocol": [], KNOWN: []}
        for _ in range(studies):
            columns = rng.integers(0, values.shape[1], SCREENING + MOST_REPLAYED)
            asked = question(table, recorded.scale, margin=bound)
            runs["the race"].append(replay(asked, table.drawn(columns), clock=chunked).ran)
            first, later = values[:, columns[:SCREENING]], values[:, columns[SCREENING:]]
            best = [_sorted(np.flatnonzero(recorded.group == g).tolist(), _means(first))[0] for g in np.unique(recorded.group)]
            for way, looks in (("the equal protocol", EQUAL_LOOKS), (KNOWN, None)):
                runs[way].append(first.size + len(best) * equal_seeds(later[best], bound, looks))
        medians = {way: float(np.median(of)) for way, of in runs.items()}
        for way, median in medians.items():
            yield figure(f"digits to a bound of {bound} points, median, {way}", median, "runs")
            yield figure(f"digits to a bound of {bound} points, median, {way}", median * STEPS * SECONDS_PER_STEP, "s")
        ours, equal, known = medians.values()
        what = f"digits to a bound of {bound} points: runs of the race, of those of"
        if bound == 0.5:
            yield verdict(f"{what} the equal protocol", ours / equal, 0.0, MOST_OF_EQUAL)
        else:
            yield figure(f"{what} the equal protocol", 100 * ours / equal, "%")
        yield figure(f"{what} {KNOWN}", 100 * ours / known, "%")


def equal_seeds(values: Array, bound: float, looks: tuple[int, ...] | None) -> int:
    """The number of equal seeds at which no other candidate can be ahead of the first by more than the bound.

    Paired t tests with Holm over all pairs. `looks` are numbers of seeds, each look with its share of alpha as in an equal
    study; None for a single look, at the least sufficient number.
    """
    pairs = np.array(list(itertools.combinations(range(len(values)), 2)))
    differences = values[pairs[:, 0]] - values[pairs[:, 1]]
    most = values.shape[1]
    for look, n in enumerate(looks or tuple(range(LEAST_PAIRS, most)), start=1):
        first = int(values[:, :n].mean(1).argmax())
        judged = judge(differences[:, :n], 0.0, alpha_at_look(look if looks else 1))
        ahead = np.where(pairs[:, 0] == first, -judged["low"], judged["high"])
        if ahead[(pairs == first).any(1)].max() <= bound:
            return int(n)
    return int(most)
