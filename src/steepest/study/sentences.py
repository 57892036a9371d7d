"""The answer in words: a headline, the few lines that a user most needs, and all further details.

Every line has the kind of its claim. `steepest selftest statistics` counts for every kind how often what is said is false.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

from .answer import Against, Answer, Longer

MOST_LINES = 5  # lines after the headline
KINDS = {  # kinds of claims; True if the chance of any false one is guarded in all races together
    "bound": True,
    "new examples": True,
    "ruled out": True,
    "possible": True,
    "cheaper": True,
    "difference": False,
    "range": False,
    "cliff": False,
    "order": False,
    "time": False,
    "fresh": False,
    "collapse": False,
    "verdict": True,
}


class Line(NamedTuple):
    """A line of an answer. `kind` is that of its claim, empty if it only reports what was done."""

    kind: str
    text: str
    is_first: bool = True  # whether it may be among the first lines


def worded(answer: Answer) -> Answer:
    """The answer with its words."""
    made = [line for line in _lines(answer) if line.text]
    first = [line.text for line in made if line.is_first][:MOST_LINES]
    return dataclasses.replace(answer, sentence=sentence(answer), lines=first, details=[line.text for line in made])


def sentence(answer: Answer) -> str:
    """The headline: what to use, for how many steps, and how sure that is."""
    if answer.pick is None and not answer.compared:
        return "Nothing was tried: the time was spent before the first run ended; give a longer --budget."
    if answer.pick is None:
        return _nothing(answer)
    pick = answer.pick
    course = "" if pick.schedule == "constant" else f" with {pick.schedule}"
    length = f" for {answer.steps:,} steps" if answer.steps > 1 else ""  # a program may have steps of its own
    lead = f"Use {pick.name}{course} at {pick.lr:g}{pick.more}{length}."
    if answer.bound is None:
        return f"{lead}{_unbounded(answer)}"
    others = answer.compared - 1
    who = "the other one compared is not" if others == 1 else f"none of the {others} others compared is"
    sure = f"With {100 * answer.confidence:.0f} % confidence,"
    here = f"{who} better" + (f" by more than {_up_to(answer, answer.bound)}" if answer.bound else "")
    more = "" if answer.bound_new_data is None else f", or by more than {_up_to(answer, answer.bound_new_data)} on new examples"
    if more and _up_to(answer, answer.bound_new_data or 0.0) == _up_to(answer, answer.bound):
        more = ", on these examples or on new ones"
    return f"{lead} {sure} {here}{more}."


def _unbounded(answer: Answer) -> str:
    """The rest of the headline for a pick without a bound."""
    if answer.compared < 2:
        return " Nothing else was tried, so there is nothing to compare it with."
    if answer.limit == "margin":
        return " All others that raced collapsed in half of their runs or more."
    rival = answer.rival
    few = "too few seeds to say how much better another could be"
    if rival is not None and rival.ahead is not None and rival.seeds:
        seeds = f"{rival.seeds} shared seed{'s' if rival.seeds > 1 else ''}"
        return f" It was {_side(answer, rival.ahead)} {rival} on {seeds}: {few}."
    length = round((answer.screened or answer.fidelity or 1.0) * answer.steps)
    at = f", in runs that ended after {length} of {answer.steps} steps" if length < answer.steps else ""
    if second := answer.second:
        seeds = f"{second.seeds} screening seed{'s' if second.seeds > 1 else ''}"
        return f" Of {answer.compared} tried it was {_side(answer, second.ahead)} {second} on {seeds}{at}: {few}."
    return f" It did best of the {answer.compared} tried{at}, on {few}."


def _side(answer: Answer, ahead: float) -> str:
    if float(f"{ahead:.2g}") == 0:
        return "level with"
    return f"{_by(answer, abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"


def _nothing(answer: Answer) -> str:
    """The headline if nothing can be picked, with the reason."""
    if "finite metric" in answer.lost:
        return f"Nothing can be picked: {answer.lost}. Fix the metric, or choose one that is always finite."
    if "crashed" in answer.lost:
        return f"Nothing can be picked: {answer.lost}. Check the memory, and for libraries that crash."
    why = f" ({answer.lost})" if answer.lost else ""
    return f"Nothing can be picked: every run diverged or ended no better than it began{why}; try smaller rates."


def seen(answer: Answer) -> str:
    """The steps at which the pick was compared: "500 steps", or "125 of 500 steps"."""
    if not answer.is_short:
        return f"{answer.steps} steps" if answer.steps > 1 else "1 step"
    return f"{round((answer.fidelity or 0) * answer.steps)} of {answer.steps} steps"


def _by(answer: Answer, amount: float) -> str:
    return f"{amount:.2g}{answer.unit}"


def _up_to(answer: Answer, limit: float) -> str:
    """An upper limit, rounded up, so that what is printed is not less than what is known."""
    return f"{rounded_up(limit):.2g}{answer.unit}"


def rounded_up(limit: float) -> float:
    """A positive number with two digits, rounded up."""
    if not 0 < limit < math.inf:
        return limit
    step = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return float(f"{math.ceil(limit / step - 1e-9) * step:.2g}")


def _lines(answer: Answer) -> Iterator[Line]:
    """All lines, the most important first."""
    yield from _figure(answer)
    yield Line("cliff", _cliff(answer))
    if better := answer.better:
        seeds = f"{better.seeds} seed{'s' if better.seeds > 1 else ''}"
        yield Line("", f"{better} did {_by(answer, better.ahead)} better on {seeds}, too late to be raced; --continue resumes.")
    if answer.edge and answer.pick and not answer.better:
        which = "lowest" if answer.pick.lr == answer.axes[0].tried[0] else "highest"
        beyond = "lower" if which == "lowest" else "higher"
        tried = "given" if answer.typed else "tried"
        yield Line("", f"{answer.pick.lr:g} is the {which} rate {tried}: a {beyond} one may be better.")
    collapse = answer.collapse
    if collapse.of:
        most = f"at most {rounded_up(100 * (collapse.at_most or 0.0)):.2g} % do (95 %)"
        yield Line("collapse", f"{collapse.seen} of {collapse.of} runs of the pick collapsed: {most}.", collapse.seen > 0)
    yield from _limit(answer)
    if answer.unraced:
        yield Line("", f"Only screened, for lack of time, and so not compared: {', '.join(answer.unraced)}.")
    yield Line("range", _range(answer))
    yield Line("order", _longer(answer.longer) if answer.longer else "")
    if answer.saturated:
        yield Line("", "The best reach the end of the scale, where no difference can be seen.")
    yield Line("possible", _possible(answer), False)
    yield Line("ruled out", _ruled_out(answer), False)
    if answer.rejected:
        yield Line("", f"Half or more of the runs collapsed: {', '.join(_rejected(answer))}.", False)
    if answer.not_followed:
        seeds = "dropped in screening (1 to 3 seeds each); nothing is claimed about them"
        yield Line("", f"{answer.not_followed} candidates were {seeds}.", False)
    yield Line("", _luck(answer), answer.searched is not None and bool(answer.searched.expected))
    yield Line("", _ranks(answer), False)
    if cheaper := answer.cheaper:
        why = f"with {100 * cheaper.state:.0f} % of the state" if cheaper.state else "without any state"
        yield Line("cheaper", f"Cheaper: {cheaper}, at most {_up_to(answer, cheaper.at_most)} behind the best, {why}.", False)
    if answer.beside:
        yield Line("", f"By other measures, as seen and not tested: {', '.join(map(str, answer.beside))}.", False)
    if answer.question > 1:
        wrong = "any claim of all of them is wrong in at most 5 % of cases"
        yield Line("", f"This is question {answer.question} asked of this store about this problem; {wrong}.", False)


def _figure(answer: Answer) -> Iterator[Line]:
    """The pick on fresh seeds, and whether test data are worse than validation data."""
    figure = answer.figure
    if figure is None:
        return
    data = "test data" if figure.split == "test" else "the same validation examples"
    count = f"{figure.n} fresh seeds" if answer.raced else f"{figure.n} seeds"
    if figure.half is None:
        interval = " (one run)" if figure.n == 1 else f" ({count})" if answer.raced else f" ({count}, which also chose it)"
    else:
        over = f"{count} and {figure.examples:,} examples" if figure.examples else count
        interval = f" ± {rounded_up(figure.half):.2g} (95 %, {over})"
    lost = f"; {figure.lost} more runs collapsed" if figure.lost else ""
    yield Line("fresh", f"On {data}: {figure.mean:.5g}{interval}{lost}.")
    if figure.worse is not None:
        yield Line("fresh", f"That is {_by(answer, figure.worse)} worse than on validation data: compare the two sets.")


def _luck(answer: Answer) -> str:
    """The line on what the best trial claimed, which is luck in part."""
    searched = answer.searched
    if searched is None or searched.mean is None or searched.half is None:
        return ""
    mean = f"a mean of {searched.mean:.5g} on {searched.n} other seeds"
    return f"The best run of the search claimed {searched.claimed:.5g}; that candidate, {searched.best}, has {mean}."


def _ranks(answer: Answer) -> str:
    """The line on how well short runs ranked."""
    ranked = answer.searched and answer.searched.ranked
    if not ranked or ranked.correlation is None or ranked.low is None or ranked.high is None:
        return ""
    interval = f"{ranked.low:.2f} to {ranked.high:.2f}, {ranked.n} candidates"
    return (
        f"Runs of half the steps ranked candidates with a correlation of {ranked.correlation:.2f} to whole runs ({interval})."
    )


def _cliff(answer: Answer) -> str:
    cliff = answer.cliff
    if cliff is None:
        return ""
    if cliff.collapsed:
        how = f"{cliff.collapsed} of its {cliff.of} run{'s' if cliff.of > 1 else ''} collapsed"
    else:
        how = f"it is {_by(answer, cliff.worse or 0.0)} worse"
    return f"The next higher rate, {cliff.lr:g}, fails: {how}."


def _range(answer: Answer) -> str:
    rate = answer.axes[0] if answer.axes else None
    if rate is None or rate.cost_under is None or rate.low is None or rate.high is None:
        return ""
    which = "Of the rates given, those from" if answer.typed else "Rates from"
    return f"{which} {rate.low:g} to {rate.high:g} cost at most {_up_to(answer, rate.cost_under)} (95 %)."


def _possible(answer: Answer) -> str:
    """The line on candidates that could still be better than the pick, best means first."""
    bounded = [(one, one.ahead_at_most) for one in answer.possible if one.is_close and one.ahead_at_most is not None]
    shown = [f"{one} (by at most {_up_to(answer, ahead)})" for one, ahead in bounded[:6]]
    named = {str(one) for one, _ in bounded[:6]}
    rest = [one.ahead_at_most for one in answer.possible if one.ahead_at_most is not None and str(one) not in named]
    more = f", and {len(rest)} with worse means (by at most {_up_to(answer, max(rest))})" if rest else ""
    return f"Could still be better: {', '.join(shown)}{more}." if shown else ""


def _ruled_out(answer: Answer) -> str:
    """The line on candidates that are ruled out, for spaces without a possible candidate."""
    open_ = {one.label for one in (answer.pick, *answer.possible) if one}
    names = [str(one) for one in answer.ruled_out if one.label not in open_]
    return f"Not the best, at these rates: {', '.join(names)}." if names else ""


def _rejected(answer: Answer) -> Iterator[str]:
    """The rejected rates of each space: from some rate above the raced one, up to some rate below it."""
    raced = {place.label: place.lr for place in reversed(answer.places)}  # the best place of a label
    rates: dict[str, list[float]] = {}
    for one in answer.rejected:
        rates.setdefault(one.label, []).append(one.lr)
    for label, lost in rates.items():
        if label not in raced:
            yield f"{label} at {', '.join(f'{lr:g}' for lr in lost)}"
            continue
        high = [lr for lr in lost if lr > raced[label]]
        low = [lr for lr in lost if lr not in high]
        parts = [f"from {min(high):g}"] if high else []
        yield f"{label} {' and '.join([*([f'up to {max(low):g}'] if low else []), *parts])}"


def _limit(answer: Answer) -> Iterator[Line]:
    """The line on what limits the answer."""
    if answer.raced and answer.bound is None and answer.limit == "time" and answer.compared > 1:
        yield Line("", "The time was spent before enough seeds had run; --continue resumes.")
    if answer.bound is None or not answer.raced:
        return
    margin, left = _by(answer, answer.margin or 0.0), answer.remaining
    if answer.limit == "examples":
        yield Line("", f"More seeds would hardly tighten the bound on new examples: {answer.examples} examples limit it.")
    elif answer.limit == "margin":
        yield Line("", f"It ended because the bound is within the margin of {margin}.", False)
    elif left is None:
        yield Line("", f"The time was spent before the bound was within the margin of {margin}; --continue resumes.")
    elif left.most is None or left.seconds_most is None:
        more = f"more than {left.least:,} further runs ({span(left.seconds_least)})"
        yield Line("time", f"A bound of {margin} takes {more}; --continue resumes.")
    else:
        seconds = f"{span(left.seconds_least)} to {span(left.seconds_most)}"
        more = f"{left.least:,} to {left.most:,} further runs ({seconds})"
        yield Line("time", f"A bound of {margin} takes {more}; --continue resumes.")


def _longer(longer: Longer) -> str:
    """The line on how the pick and its rival compare in longer runs."""
    at = f"At {longer.steps:,} steps"
    if longer.ahead is None or longer.low is None or longer.high is None:
        return f"{at} a run of the pick or of {longer} collapsed." if longer.ahead is None else ""
    if longer.order == "undecided":
        return f"{at}, it is not clearly ahead of or behind {longer} ({longer.seeds} seeds)."
    word = "ahead of" if longer.order == "ahead" else "behind"
    return f"{at} it is {word} {longer} (97.5 %, {longer.seeds} seeds)."  # the amount would be that of the luckier half


def table(answer: Answer) -> tuple[list[str], list[list[str]]]:
    """A short table of the pick, its rival and a cheaper candidate: heading and rows, as text."""
    interval = f"{100 * answer.confidence:.0f} % interval"
    heading = ["", "optimizer", "rate", "mean, same seeds", "pick ahead by", interval, "step", "state"]
    return heading, [_row(answer, row) for row in answer.rows]


def _row(answer: Answer, row: Against) -> list[str]:
    label = str(row).replace(f" at {row.lr:g}", "")
    mean = "" if row.mean is None else f"{row.mean:.5g}"
    gap, interval = "", ""
    if row.role != "pick":
        gap = "" if row.ahead is None else f"{row.ahead:.2g}"
        interval = f"{row.seeds} seeds" if row.low is None or row.high is None else f"{row.low:.2g} to {row.high:.2g}"
    return [row.role, label, f"{row.lr:g}", mean, gap, interval, *cost(row.seconds_per_step, row.state)]


def span(seconds: float) -> str:
    """A length of time as text, in seconds, minutes or hours."""
    unit, factor = next((u, f) for u, f, least in (("h", 3600, 7200), ("min", 60, 120), ("s", 1, 0)) if seconds >= least)
    amount = seconds / factor
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.2g} {unit}"


def cost(seconds: float, state: int) -> tuple[str, str]:
    """The time of a step and the bytes of state as text; dashes where no run has shown them."""
    return (duration(seconds), size(state)) if seconds else ("-", "-")


def duration(seconds: float) -> str:
    """Seconds as text, in s, ms or µs."""
    unit, factor = next((u, f) for u, f, least in (("s", 1, 1), ("ms", 1e3, 1e-3), ("µs", 1e6, 0)) if seconds >= least)
    return f"{seconds * factor:.3g} {unit}"


def size(count: int) -> str:
    """Bytes as text, in B, KiB, MiB or GiB."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count} B"
