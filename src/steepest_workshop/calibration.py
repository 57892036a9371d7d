"""Studies whose truth is known, simulated or replayed from tables of real runs: how often what is promised holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy import special

from steepest import problems, rules, schedules
from steepest.report.study.terminal import Bar
from steepest.studies import bounds
from steepest.studies.bounds import Standing
from steepest.studies.defaults import TRIALS
from steepest.studies.design import Candidate, Design
from steepest.studies.race import TOGETHER, Race
from steepest.studies.running import Wanted
from steepest.studies.statistics import ALPHA, LEAST_PAIRS, alpha_at_look, interval, judge, mean_se
from steepest.studies.store import Store
from steepest.training.stacked import Run

from . import tables
from .tables import Table

Array = NDArray[np.float64]
Row = dict[str, Any]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]

TABLES = ("digits", "diabetes", "mnist")
SCREENING = 3  # seeds, of which all rates get the first
LEAST_RACES = 40
APART = 10_000_000  # seeds of one copy from those of the next
MOST_SEEDS = 40  # of a simulated race
MOST_REPLAYED = 400  # seeds of a replay that draws with replacement
MOST_OF_EQUAL = 0.6  # of the runs of the equal protocol, at 0.5 points
SECONDS_PER_STEP = 3e-5  # of one run of digits, measured
STEPS = 500  # of one run of digits
KNOWN = "the equal protocol, had it known how many seeds are enough"
EQUAL_LOOKS = (10, 20, 40, 80, 160, 320)  # seeds after which the equal protocol is looked at
TINY = 1e-9


def everything(studies: int = 10_000, seed: int = 0) -> Iterator[Row]:
    """All rows: shares with a verdict (what, share, low, high, holds) and figures without one (what, figure, unit, holds)."""
    yield from simulate(studies, seed)
    races = max(studies // 25, LEAST_RACES)
    yield from simulated_races(races, seed)
    for name in TABLES:
        yield from replays(name, races, seed)
    yield from copies("digits", races, seed)
    yield from real_copies(max(races // 10, 3))
    yield from costs(max(races // 4, 25), seed)
    yield from on_new_examples(max(studies // 10, 200), seed)
    yield from boundaries(max(races // 2, 50), seed)


def words(row: Row) -> str:
    """A row as a line of text."""
    if "figure" in row:
        return f"{row['figure']:8.4g} {row['unit']}: {row['what']}"
    if row["holds"] is None:
        said = "beyond the promise"
    else:
        said = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %: {'holds' if row['holds'] else 'DOES NOT HOLD'}"
    return f"{100 * row['share']:6.2f} %  ({said})  {row['what']}"


def _row(what: str, share: float, low: float, high: float, studies: int | None = None) -> Row:
    """A share with a verdict, three Monte-Carlo standard errors of the promise allowed where it is one of so many studies."""
    below, above = (3 * float(np.sqrt(p * (1 - p) / studies)) if studies else 0.0 for p in (low, high))
    return {"what": what, "share": share, "low": low, "high": high, "holds": bool(low - below <= share <= high + above)}


def _figure(what: str, figure: float, unit: str) -> Row:
    return {"what": what, "figure": float(figure), "unit": unit, "holds": None}


def simulate(studies: int = 10_000, seed: int = 0) -> list[Row]:
    """Simulated studies whose truth is known: how often intervals cover it, and how often "better" is said of equals.

    Each row: what, share, low and high (what the share must lie within, three Monte-Carlo standard errors allowed), holds.
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


def race(values: Array, margin: float, example: float = 0.0, least_runs: int = 1) -> Iterator[Standing]:
    """The standings of a race on these values (K, seeds), more being better, until it ends or the seeds do.

    A block of it makes so many runs, at least.
    """
    seeds = np.zeros(len(values), int)
    wanted, target = list(range(len(values))), LEAST_PAIRS
    while target <= values.shape[1]:
        seeds[wanted] = target
        collapsed = [k for k, (row, n) in enumerate(zip(values, seeds, strict=True)) if np.isnan(row[:n]).any()]
        now = bounds.standing(values, seeds.tolist(), example=example, margin=margin, disfavoured=collapsed)
        yield now
        after = bounds.following(now, margin, least_runs)
        if after is None:
            return
        wanted, target = after


@dataclass
class Wrong:
    """What was wrong at any time of a race: a bound of the best over another, the bound of the pick, who was ruled out."""

    ahead: bool = False
    bound: bool = False
    ruled_out: bool = False

    def see(self, now: Standing, truth: Array) -> None:
        """Compare a standing with the true means."""
        best = np.flatnonzero(truth == truth.max())
        self.ahead |= bool((truth[best[0]] - truth > now.ahead[best[0]] + TINY).any())
        self.bound |= bool(truth.max() - truth[now.pick] > now.bound[now.pick] + TINY)
        self.ruled_out |= not now.possible[best].all()


def _watched(values: Array, truth: Array, margin: float, example: float = 0.0) -> Wrong:
    wrong = Wrong()
    for now in race(values, margin, example):
        wrong.see(now, truth)
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
    """Normal values, a share of which lie lower by so many standard deviations, centred."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Array:
        return rng.standard_normal(size) - lower * ((rng.random(size) < share) - share)

    return draw


TRUTHS = {
    2: np.array([0, -0.3]),
    5: np.array([0, 0, 0, -0.3, -1]),
    15: np.repeat([0, -0.3, -1], [10, 3, 2]),
}  # in standard deviations of a difference
NOISES: dict[str, tuple[Draw, bool]] = {  # of all but the first, which is normal: what hides how bad they are
    "normal": (lambda rng, size: rng.standard_normal(size), True),
    "skewed, exponential bad runs": (lambda rng, size: 1 - rng.exponential(size=size), True),
    "1 run in 20 is 5 SD lower": (_bad_runs(0.05, 5), True),
    "1 run in 10 is 10 SD lower": (_bad_runs(0.1, 10), False),
}


def simulated_races(
    studies: int, seed: int = 0, counts: Iterable[int] = tuple(TRUTHS), noises: Iterable[str] = tuple(NOISES)
) -> Iterator[Row]:
    """Races to a margin of 0.1 SD, which most never reach, so that every look is taken: the hardest case."""
    rng = np.random.default_rng((seed, 1))
    for name in noises:
        draw, promised = NOISES[name]
        for count in counts:
            truth, seen = TRUTHS[count].astype(float), []
            for _ in range(studies):
                noise = draw(rng, (count, MOST_SEEDS))
                noise[0] = rng.standard_normal(MOST_SEEDS)
                common = 2 * rng.standard_normal(MOST_SEEDS)
                seen.append(_watched(truth[:, None] + noise / np.sqrt(2) + common, truth, 0.1))
            yield from _shares(f"{count} candidates, {name}", seen, promised)


@dataclass(frozen=True)
class Screened:
    """Which candidates race after screening, and the runs that it took."""

    racing: list[int]
    runs: int


def screened(values: Array, group: NDArray[np.int64], margin: float) -> Screened:
    """As the race screens: all on one seed, the better half of each group on the others, its best and those near the leader."""
    merits = [np.where(np.isnan(m), -np.inf, m) for m in (values[:, 0], values.mean(1))]
    halves, racing = [], []
    for g in np.unique(group):
        own = _sorted(np.flatnonzero(group == g).tolist(), merits[0])
        halves += [c for c in own[: max(len(own) // 2, 1)] if merits[0][c] > -np.inf]
    leader = max(merits[1][c] for c in halves)
    for g in np.unique(group):
        own = _sorted([c for c in halves if group[c] == g], merits[1])
        racing += [c for i, c in enumerate(own) if merits[1][c] > -np.inf and (i == 0 or merits[1][c] >= leader - margin)]
    return Screened(sorted(racing), len(values) + (values.shape[1] - 1) * len(halves))


def _sorted(candidates: list[int], merit: Array) -> list[int]:
    return sorted(candidates, key=lambda c: float(merit[c]), reverse=True)


def _means(values: Array) -> Array:
    """The mean of each candidate's runs that did not diverge; minus infinity where all did."""
    there = np.isfinite(values)
    sums = np.where(there, values, 0).sum(1)
    return np.where(there.any(1), sums / np.maximum(there.sum(1), 1), -np.inf)


def _margin(table: Table, truth: Array) -> float:
    """The default margin: 0.5 points, or 1 % of the best loss."""
    return 0.5 if table.example else 0.01 * abs(float(truth.max()))


def replays(name: str, studies: int, seed: int = 0) -> Iterator[Row]:
    """Races on columns of a recorded table; the truth is the mean over all of them.

    Drawn without replacement, sample and truth have columns in common, which is slightly favourable; with it, draws are
    independent, and the truth is exact.
    """
    rng, table = np.random.default_rng((seed, 2)), tables.load(name)
    values = table.sign * table.values
    truth, count = _means(values), values.shape[1]
    margin = _margin(table, truth)
    for how in ("without replacement", "with replacement"):
        seen = []
        for _ in range(studies):
            columns: Any = rng.permutation(count) if how == "without replacement" else rng.integers(0, count, count)
            first, later = values[:, columns[:SCREENING]], values[:, columns[SCREENING:]]
            racing = screened(first, table.group, margin).racing
            seen.append(_watched(later[racing], truth[racing], margin, table.example))
        yield from _shares(f"{name}, its seeds drawn {how}", seen)


def copies(name: str, studies: int, seed: int = 0, names: int = 3) -> Iterator[Row]:
    """One rule under three names, each with seeds of its own: is every rate of one name ruled out at any time?"""
    rng, table = np.random.default_rng((seed, 3)), tables.load(name)
    values = table.sign * table.values
    truth, count = _means(values), values.shape[1]
    own = np.flatnonzero(table.group == table.group[int(truth.argmax())])
    optimizer, schedule, _ = table.names[own[0]]
    each, wrong = count // names, []
    for _ in range(studies):
        columns = rng.permutation(count)[: each * names].reshape(names, each)
        racing = np.concatenate([values[np.ix_(own, part)] for part in columns])
        standings = race(racing, _margin(table, truth), table.example)
        wrong.append(any(not now.possible.reshape(names, -1).any(1).all() for now in standings))
    what = (
        f"{optimizer} with {schedule} on {name} under {names} names, {len(own)} rates each: every rate of one name is ruled out"
    )
    yield _row(what, float(np.mean(wrong)), 0.0, ALPHA, studies)


class Copies(Race):
    """A race whose candidates are one, each on seeds that no other has, nor those of another study."""

    def __init__(self, design: Design, number: int) -> None:
        super().__init__(design, Store(":memory:"), Bar(Console(quiet=True)), None, None, False)
        self.first_seed = {c.label: APART * (1 + number * len(design.candidates) + k) for k, c in enumerate(design.candidates)}

    def _runs(self, wanted: list[Wanted], **how: Any) -> tuple[list[Run], list[dict[str, Any]]]:
        return super()._runs([(c, lr, seed + self.first_seed[c.label]) for c, lr, seed in wanted], **how)


def real_copies(studies: int, names: int = 3, steps: int = STEPS) -> Iterator[Row]:
    """Whole studies on digits, trained here: one rule under three names, each with seeds of its own, its rates searched."""
    rule, course, problem = rules.get("adamw"), schedules.get("cosine"), problems.get("digits")
    candidates = tuple(Candidate(rule, course, f"{rule.name} {k + 1}", None) for k in range(names))
    design = Design(problem, candidates, 0, steps, TRIALS, margin=None, device="cpu", plan="many:64")
    wrong, runs = [], 0
    for number in range(studies):
        study = Copies(design, number)
        runs += study.run().trained
        assert study.now
        possible = {one.candidate.label for one, may in zip(study.contenders, study.now.possible, strict=True) if may}
        wrong.append(len(possible) < names)
    what = f"{studies} real studies of {rule.name} with cosine under {names} names on digits, {runs} runs"
    yield _row(f"{what}: every rate of one name that raced is ruled out", float(np.mean(wrong)), 0.0, ALPHA, studies)


def costs(studies: int, seed: int = 0) -> Iterator[Row]:
    """Runs and seconds of training to a bound on digits, beside the equal protocol; columns are drawn with replacement.

    The equal protocol runs every rate on three seeds and the best of each optimizer and schedule on as many seeds each, looked
    at after 10, 20, 40, ... of them. Beside it is what it would take if it were known beforehand how many are enough.
    """
    rng, table = np.random.default_rng((seed, 4)), tables.load("digits")
    values = table.sign * table.values
    for bound in (0.5, 0.2):
        runs: dict[str, list[int]] = {"the race": [], "the equal protocol": [], KNOWN: []}
        for _ in range(studies):
            columns = rng.integers(0, values.shape[1], SCREENING + MOST_REPLAYED)
            first, later = values[:, columns[:SCREENING]], values[:, columns[SCREENING:]]
            chosen = screened(first, table.group, bound)
            *_, last = race(later[chosen.racing], bound, table.example, TOGETHER)
            runs["the race"].append(chosen.runs + int(last.seeds.sum()))
            best = [_sorted(np.flatnonzero(table.group == g).tolist(), _means(first))[0] for g in np.unique(table.group)]
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
    """The equal seeds at which no pair's interval allows another to be ahead of the first by more than the bound.

    Paired t tests and Holm over all pairs. Looked at after these many seeds, each with the share of alpha that an equal study
    spends on it; None for one look, at the least number that is enough.
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


SPREADS = {  # variances of one result: of the seed, of the example, and the rest
    "seeds vary most": (0.2, 0.02, 1.0),
    "examples vary most": (0.02, 0.2, 1.0),
    "both vary": (0.1, 0.1, 1.0),
    "neither varies": (0.0, 0.0, 1.0),
}


def on_new_examples(studies: int, seed: int = 0) -> Iterator[Row]:
    """How often the 95 % bound on new examples covers, for crossed results: normal ones, and 0 or 1 for right and wrong."""
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
    """Results (seeds, examples) of mean 0, with these variances of seeds, examples and the rest."""
    by_seed, by_example, rest = np.sqrt(spread)
    effects = by_seed * rng.standard_normal((seeds, 1)) + by_example * rng.standard_normal(examples)
    return np.asarray(effects + rest * rng.standard_normal((seeds, examples)))


def _right(rng: np.random.Generator, seeds: int, hard: Array, right: float) -> Array:
    """1 where an example is right, else 0: as hard for all candidates, harder for this one, better and worse seeds."""
    own, by_seed = rng.standard_normal(len(hard)), rng.standard_normal((seeds, 1))
    latent = 2 * hard + 0.5 * own + 0.2 * by_seed + rng.standard_normal((seeds, len(hard)))
    return np.asarray(latent < special.ndtri(right) * np.sqrt(4 + 0.25 + 0.04 + 1), float)


def boundaries(studies: int, seed: int = 0) -> Iterator[Row]:
    """The mean bound of the pick among 15 after 10, 20 and 40 seeds, by ways to look often, at the same level."""
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
    """Standard deviations that a one-sided t bound lies above the mean of n."""
    return float(special.stdtrit(n - 1, 1 - level) / np.sqrt(n))


def confidence_sequence(n: int, level: float, tuned: int = 20) -> float:
    """Standard deviations that a one-sided bound right at every n lies above the mean of n: a t confidence sequence.

    A Gaussian mixture over effects under the right Haar prior (Wang & Ramdas 2025); half a two-sided one of twice the level,
    which favours it a little. The mixture is the one that is tightest at the `tuned` number of seeds.
    """

    def radius(count: int, g: float) -> float:
        spread = 1 + count * g
        a = (np.sqrt(spread) / (2 * level)) ** (2 / count)
        return float(np.sqrt((a - 1) / (1 - a / spread) * (count - 1) / count)) if a < spread else np.inf

    best = min(np.geomspace(0.01, 100, 200).tolist(), key=lambda g: radius(tuned, g))
    return radius(n, best)
