"""How often each kind of sentence of an answer is said, and how often it is then false, in studies replayed on tables.

A replay draws seeds, and examples where a table has them, with replacement, so that the means of the table are the exact truth;
an order is false if the table's truth is on the other side by more than two of its standard errors, as that has 20 seeds.
The answer is that of `steepest.study.conclude`, as printed; `JUDGES` compares each of its claims with the truth.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from steepest.study import bounds
from steepest.study.conclude import conclude
from steepest.study.fresh import new_examples
from steepest.study.question import Question, Scale
from steepest.study.sentences import KINDS
from steepest.study.space import spaces
from steepest.study.table import UNTIMED, Table, question, replay

from .calibrated import Row, figure, verdict
from .judges import HOLDS, JOINT, JUDGES, TINY, Case, key_of, worse
from .sources import CLEAR, NULL, SOURCES
from .worlds import Drawn

Array = NDArray[np.float64]

BUDGET = 120.0  # seconds, of races that have one
SEEDS = 60  # of the race of a replay
STOPPED_AT = (6, 8, 10, 14, 20, 30, 45)  # seeds at which a race is stopped to judge the time that it says
MOST_SEEDS = 600  # of the same race, to see how many runs it needs
PROMISED, IN_TIME = 0.05, 0.2  # largest share of false claims; of claims about times
LEAST_SAID = 0.025  # share of races in which a claim must be said to be judged: 50 of 2,000
FAILS = 15.0  # margins by which the next rate is worse and must be said to fail
MANY = 1_000  # races from which the shares are judged as they are
WIDTH = 17  # of a column of the table of claims
RATES = (0.1, 0.22)
STATE = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2, "adamw": 2}  # buffers


def claims(name: str, races: int, seed: int = 0) -> Iterator[Row]:
    """Replay races on a table, and yield a row for each kind of claim, then those on how a claim is made where it should be."""
    source, rng = SOURCES[name](), np.random.default_rng((seed, 5))
    said, false = Counter[str](), Counter[str]()
    fails, holds, clear, widths = list[bool](), list[bool](), list[bool](), list[float]()
    for _ in range(races):
        case = _raced(source.draw(rng, SEEDS))
        if case.answer.pick is None:
            continue
        found = {kind: judge(case) for kind, judge in JUDGES.items()}
        said.update(kind for kind, wrong in found.items() if wrong is not None)
        false.update(kind for kind, wrong in found.items() if wrong)
        false["jointly"] += any(found[kind] for kind in JOINT)
        flagged, margins, lost = case.answer.cliff is not None, *_above(case)
        fails += [flagged] if margins >= FAILS and not case.drawn.runs else []  # few runs miss a rate that fails at times
        holds += [flagged] if margins <= HOLDS and not lost else []
        clear += _clear(case)
        widths += _widths(case)
    for kind in JUDGES:
        yield claim(kind, name, said[kind], false[kind], races)
    what = f"{name}: a bound, one on new examples or what is ruled out is false"
    yield verdict(what, false["jointly"] / races, 0.0, PROMISED, races)
    flags = f"{name}: the next rate is worse by {{}}, and said to fail"
    shares = [
        (flags.format(f"{FAILS:g} margins or more"), fails, 0.95, 1.0),
        (flags.format(f"{HOLDS:g} margins or less"), holds, 0.0, 0.05),
        (f"{name}: the order of longer runs is said where they differ by {CLEAR:g} standard errors", clear, 0.8, 1.0),
    ]
    for what, seen, low, high in shares:
        if len(seen) >= LEAST_SAID * races:
            yield verdict(what, float(np.mean(seen)), low, high, len(seen))
    if widths:
        what = f"{name}: median half-width on new examples, of that with a share of alpha for each look"
        yield figure(what, 100 * float(np.median(widths)), "%")


def _asked(drawn: Drawn, table: Table) -> Question:
    """The question of a replay on a table of what was drawn."""
    return question(table, drawn.scale, margin=drawn.margin, budget=BUDGET if drawn.runs else None)


def _raced(drawn: Drawn) -> Case:
    """Replay a race on what was drawn, with the states of the optimizers, and answer."""
    costs = {space.label: (1.0, STATE.get(space.rule.name, 0)) for space in drawn.table.spaces}
    clock = dataclasses.replace(UNTIMED, reads_only=drawn.longer is None, costs=costs)
    seconds = BUDGET / drawn.runs if drawn.runs else 0.0
    course = replay(_asked(drawn, drawn.table), drawn.table, clock=clock, seconds=seconds)
    return Case(conclude(course), course, drawn)


def _above(case: Case) -> tuple[float, float]:
    """By how many margins the rate above the pick's is truly worse, and which share of its runs diverges; NaN without one."""
    course = case.course
    above = course.next_to(course.pick.candidate, 1) if course.now and course.pick else None
    known = above and (above.label, above.lr) in case.drawn.here
    return worse(case, above.lr) if above and known else (math.nan, math.nan)


def _clear(case: Case) -> list[bool]:
    """Whether the order of longer simulated runs is said, if they truly differ by `CLEAR` standard errors or more."""
    longer, truth = case.answer.longer, case.drawn.longer
    if longer is None or truth is None or case.drawn.scale.name != "value":
        return []
    gap, error = truth[key_of(case.pick)] - truth[key_of(longer)], math.sqrt(2 / longer.seeds)
    return [longer.order != "undecided"] if abs(gap) >= CLEAR * error - TINY else []


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
        drawn = source.draw(rng, MOST_SEEDS)._replace(runs=0)  # the race is stopped by its seeds
        table = drawn.table
        columns = np.array(table.columns)
        last = 3 + int(rng.choice(STOPPED_AT))
        short = table.drawn(np.concatenate([columns[:last], columns[len(columns) - table.fresh :]]))
        asked = _asked(drawn, short)
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
    what = "of two rates with equal means and SDs of 1.37 and 0.31, the second is picked"
    yield verdict(what, picked / races, 0.9, 1.0, races)


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
