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
from scipy import special

from steepest import problems
from steepest.problems.problem import Problem
from steepest.study import bounds
from steepest.study.bounds import Standing
from steepest.study.course import Course
from steepest.study.protocol import RACE, Job, Wanted
from steepest.study.question import Question, Scale
from steepest.study.space import spaces
from steepest.study.statistics import ALPHA, LEAST_PAIRS, alpha_at_look, interval, judge, mean_se
from steepest.study.table import UNTIMED, Table, arms, question, replay
from steepest.training import ways
from steepest.training.recorder import Outcome
from steepest.training.stacked import Run

from . import tables

Array = NDArray[np.float64]
Row = dict[str, Any]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]

TABLES = ("digits", "diabetes", "mnist")
SCREENING = 3  # seeds of screening; all rates get the first
LEAST_RACES = 40
APART = 10_000_000  # offset between the seeds of copies
MOST_SEEDS = 40  # in a simulated race
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


def words(row: Row) -> str:
    """Format a row as a line of text."""
    if "figure" in row:
        return f"{row['figure']:8.4g} {row['unit']}: {row['what']}"
    if row["holds"] is None:
        said = "beyond the promise"
    else:
        said = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %: {'holds' if row['holds'] else 'DOES NOT HOLD'}"
    return f"{100 * row['share']:6.2f} %  ({said})  {row['what']}"


def _row(what: str, share: float, low: float, high: float, studies: int | None = None) -> Row:
    """A share with a verdict; with `studies`, three Monte-Carlo standard errors of the bounds are allowed."""
    below, above = (3 * float(np.sqrt(p * (1 - p) / studies)) if studies else 0.0 for p in (low, high))
    return {"what": what, "share": share, "low": low, "high": high, "holds": bool(low - below <= share <= high + above)}


def _figure(what: str, figure: float, unit: str) -> Row:
    return {"what": what, "figure": float(figure), "unit": unit, "holds": None}


def simulate(studies: int = 10_000, seed: int = 0) -> list[Row]:
    """Simulate studies with a known truth: coverage of intervals, and how often an equal optimizer is called "better".

    Rows have what, share, low and high (the allowed range, plus three Monte-Carlo standard errors), and holds.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []

    def row(what: str, share: float, low: float, high: float) -> None:
        rows.append(_row(what, share, low, high, studies))

    draws: dict[str, tuple[Callable[[tuple[int, int]], Any], float, float]] = {
        "normal": (rng.standard_normal, 0.94, 0.96),
        "Laplace": (lambda size: rng.laplace(size=size), 0.93, 1.0),
        "Student t, 3 degrees of freedom": (lambda size: rng.standard_t(3, size), 0.93, 1.0),
        "Student t, 2 degrees of freedom": (lambda size: rng.standard_t(2, size), 0.93, 1.0),
    }
    for name, (draw, low, high) in draws.items():
        mean, se, n = mean_se(draw((studies, 10)))
        left, right = interval(mean, se, n, 0.05)
        row(f"95 % intervals cover, {name} differences, n = 10", float(((left <= 0) & (right >= 0)).mean()), low, high)
    for count in (2, 3, 7, 10):
        pairs = list(itertools.combinations(range(count), 2))
        values = rng.standard_normal((studies, count, 10)) + rng.standard_normal((studies, 1, 10))
        differences = np.stack([values[:, a] - values[:, b] for a, b in pairs], axis=1)
        said = judge(differences, 0.0)["verdict"] == "better"
        row(f"'better' said among {count} equal optimizers, one look", float(said.any(1).mean()), 0.0, 0.06)
    values = rng.standard_normal((studies, 1, 50))
    wrong = np.zeros(studies, bool)
    for look in range(1, 6):
        said = judge(values[..., : 10 * look], 0.0, alpha_at_look(look))["verdict"] == "better"
        wrong |= said.any(1)
    row("'better' said of 2 equal optimizers in five looks, alpha spent", float(wrong.mean()), 0.0, ALPHA)
    return rows


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
    rows = [table.rows[one.candidate.label, one.lr] for one in course.contenders]
    wrong, means = Wrong(), truth[rows]
    for now in course.standings:
        wrong.see(now, means)
    return wrong


def _shares(of: str, seen: list[Wrong], promised: bool = True) -> Iterator[Row]:
    for what, wrong in (
        ("the best is further ahead than its bound", [w.ahead for w in seen]),
        ("the loss by the pick exceeds its bound", [w.bound for w in seen]),
        ("a best one is ruled out", [w.ruled_out for w in seen]),
    ):
        row = _row(f"{of}: {what}", float(np.mean(wrong)), 0.0, ALPHA, len(seen))
        yield row if promised else {**row, "low": None, "high": None, "holds": None}


def _bad_runs(share: float, lower: float) -> Draw:
    """Centred normal values, a share of which is lower by `lower` standard deviations."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Array:
        return rng.standard_normal(size) - lower * ((rng.random(size) < share) - share)

    return draw


TRUTHS = {
    2: np.array([0, -0.3]),
    5: np.array([0, 0, 0, -0.3, -1]),
    15: np.repeat([0, -0.3, -1], [10, 3, 2]),
}  # in standard deviations of a difference
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
    yield _row(what, float(np.mean(wrong)), 0.0, ALPHA, studies)


def _loses_a_name(course: Course) -> bool:
    """Whether all raced candidates of one name are ruled out at any look of a race."""
    labels = [one.candidate.label for one in course.contenders]

    def left(now: Standing) -> int:
        return len({label for label, may in zip(labels, now.possible, strict=True) if may})

    return any(left(now) < len(set(labels)) for now in course.standings)


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
    yield _row(f"{what}: every rate of one name that raced is ruled out", float(np.mean(wrong)), 0.0, ALPHA, studies)


class Trained(dict[Job, Outcome]):
    """Outcomes of runs that are trained when requested; labels have separate seeds, and runs after the race are skipped."""

    def __init__(self, problem: Problem, first: Mapping[str, int]) -> None:
        super().__init__()
        self.problem, self.first = problem, first

    def train(self, wanted: Wanted) -> None:
        """Train a batch of runs."""
        jobs = wanted.jobs if wanted.phase == RACE else ()
        runs = [
            Run(c.rule, c.lr, job.seed + self.first[c.label], job.length, c.multiplier) for job in jobs if (c := job.candidate)
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
            yield _figure(f"digits to a bound of {bound} points, median, {way}", median, "runs")
            yield _figure(f"digits to a bound of {bound} points, median, {way}", median * STEPS * SECONDS_PER_STEP, "s")
        ours, equal, known = medians.values()
        what = f"digits to a bound of {bound} points: runs of the race, of those of"
        if bound == 0.5:
            yield _row(f"{what} the equal protocol", ours / equal, 0.0, MOST_OF_EQUAL)
        else:
            yield _figure(f"{what} the equal protocol", 100 * ours / equal, "%")
        yield _figure(f"{what} {KNOWN}", 100 * ours / known, "%")


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


SPREADS = {  # variances of a result: by seed, by example, residual
    "seeds vary most": (0.2, 0.02, 1.0),
    "examples vary most": (0.02, 0.2, 1.0),
    "both vary": (0.1, 0.1, 1.0),
    "neither varies": (0.0, 0.0, 1.0),
}


def on_new_examples(studies: int, seed: int = 0) -> Iterator[Row]:
    """Simulate the coverage of the 95 % bound on new examples, for crossed results: normal, and 0 or 1."""
    rng = np.random.default_rng((seed, 5))
    for examples, seeds in itertools.product((89, 360), (8, 20)):
        for name, spread in SPREADS.items():
            covered = []
            for _ in range(studies):
                pick, other = (_crossed(rng, seeds, examples, spread) for _ in range(2))
                covered.append(bounds.on_new_examples([pick, other], 0, ALPHA)[1] >= 0)
            what = f"the bound on new examples covers: {seeds} seeds, {examples} examples, normal, {name}"
            yield _row(what, float(np.mean(covered)), 1 - ALPHA, 1.0, studies)
        for right in (0.9, 0.97):
            covered = []
            for _ in range(studies):
                hard = rng.standard_normal(examples)
                pick, other = (_right(rng, seeds, hard, right) for _ in range(2))
                covered.append(bounds.on_new_examples([pick, other], 0, ALPHA)[1] >= 0)
            what = f"the bound on new examples covers: {seeds} seeds, {examples} examples, {100 * right:.0f} % right"
            yield _row(what, float(np.mean(covered)), 1 - ALPHA, 1.0, studies)


def _crossed(rng: np.random.Generator, seeds: int, examples: int, spread: tuple[float, float, float]) -> Array:
    """Results of shape (seeds, examples) and mean 0, with these variances by seed, by example and residual."""
    by_seed, by_example, rest = np.sqrt(spread)
    effects = by_seed * rng.standard_normal((seeds, 1)) + by_example * rng.standard_normal(examples)
    return np.asarray(effects + rest * rng.standard_normal((seeds, examples)))


def _right(rng: np.random.Generator, seeds: int, hard: Array, right: float) -> Array:
    """1 for a correct example, else 0; difficulty has a shared, a candidate's and a seed's effect, and noise."""
    own, by_seed = rng.standard_normal(len(hard)), rng.standard_normal((seeds, 1))
    latent = 2 * hard + 0.5 * own + 0.2 * by_seed + rng.standard_normal((seeds, len(hard)))
    return np.asarray(latent < special.ndtri(right) * np.sqrt(4 + 0.25 + 0.04 + 1), float)


def boundaries(studies: int, seed: int = 0) -> Iterator[Row]:
    """The mean bound of the pick of 15 candidates after 10, 20 and 40 seeds, for three ways to look often, at one level."""
    rng, truth = np.random.default_rng((seed, 6)), TRUTHS[15].astype(float)
    count, looks = len(truth), bounds.looks(MOST_SEEDS)
    level = ALPHA / (count - 1)
    ways = {
        "the shares of alpha used": {n: _t(n, level * bounds.spent(k)) for k, n in enumerate(looks)},
        "equal shares of 12 looks and none later": {n: _t(n, level / len(looks)) for n in looks},
        "a t confidence sequence": {n: confidence_sequence(n, level) for n in range(LEAST_PAIRS, MOST_SEEDS + 1)},
    }
    seen: dict[tuple[str, int], list[float]] = {}
    for _ in range(studies):
        values = truth[:, None] + rng.standard_normal((count, MOST_SEEDS)) / np.sqrt(2)
        differences = values[:, None] - values[None]
        for way, factors in ways.items():
            ahead = np.where(np.eye(count, dtype=bool), 0.0, np.inf)
            for n in range(LEAST_PAIRS, MOST_SEEDS + 1):
                if np.isfinite(factor := factors.get(n, np.inf)):
                    some = differences[..., :n]
                    ahead = np.minimum(ahead, some.mean(-1) + factor * some.std(-1, ddof=1))
                if n in (10, 20, 40):
                    possible = (ahead > 0).sum(1) == count - 1
                    seen.setdefault((way, n), []).append(float(ahead[possible].max(0).min()))
    for (way, n), bound in seen.items():
        yield _figure(f"mean bound of 15 candidates after {n} seeds, by {way}", float(np.mean(bound)), "SD")


def _t(n: int, level: float) -> float:
    """The distance of a one-sided t bound from the mean of n values, in standard deviations."""
    return float(special.stdtrit(n - 1, 1 - level) / np.sqrt(n))


def confidence_sequence(n: int, level: float, tuned: int = 20) -> float:
    """The distance of a t confidence sequence, valid at every n, from the mean of n values, in standard deviations.

    A Gaussian mixture over effects under the right Haar prior (Wang & Ramdas 2025), one-sided as half of a two-sided one of
    twice the level, which favours it slightly. The mixture is the tightest at `tuned` seeds.
    """

    def radius(count: int, g: float) -> float:
        spread = 1 + count * g
        a = (np.sqrt(spread) / (2 * level)) ** (2 / count)
        return float(np.sqrt((a - 1) / (1 - a / spread) * (count - 1) / count)) if a < spread else np.inf

    best = min(np.geomspace(0.01, 100, 200).tolist(), key=lambda g: radius(tuned, g))
    return radius(n, best)
