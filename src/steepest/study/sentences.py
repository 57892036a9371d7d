"""The answer in words: one sentence on what to pick and how much it could lose, and a line for each further question."""

from __future__ import annotations

from collections.abc import Iterator

from .answer import Answer, Longer


def sentence(answer: Answer) -> str:
    """The sentence on what to pick and how much it could lose."""
    if answer.pick is None and not answer.compared:
        return "Nothing was tried: the time was spent before the first run ended; give a longer --budget."
    if answer.pick is None:
        return _nothing(answer)
    pick = answer.pick
    course = "" if pick.schedule == "constant" else f" with {pick.schedule}"
    settings = "".join(f", {name} {value:g}" for name, value in pick.settings.items())
    edge = f", the best rate {'given, the first or last' if answer.typed else 'tried, at the edge of its grid'}"
    lead = f"Use {pick.name}{course} at {pick.lr:g}{settings}{edge if answer.edge else ''}."
    if answer.bound is None:
        return f"{lead}{_unbounded(answer)}"
    rates = " at the rates given" if answer.typed else ""
    here = f"on these {answer.examples} validation examples ({100 * answer.confidence:.0f} %)"
    others = answer.compared - 1
    if answer.bound == 0:
        none = "The other one" if others == 1 else f"None of the other {others}"
        line = f" {none} compared{rates} is {'not ' if others == 1 else ''}better {here}"
    else:
        line = f" No other of the {answer.compared} compared{rates} is better by more than {_by(answer, answer.bound)} {here}"
    if answer.bound_new_data is not None:
        new = f"by more than {_by(answer, answer.bound_new_data)}" if answer.bound_new_data else "none either"
        line += f"; on new examples, {new}"
    return f"{lead}{line}."


def _unbounded(answer: Answer) -> str:
    """The rest of the sentence for a pick without a bound."""
    tried = f" It did best of the {answer.compared} tried" if answer.compared > 1 else " Nothing else was tried"
    short = f", in runs that ended after {seen(answer)}" if answer.is_short else ""
    if not answer.is_short and answer.screened is not None and answer.screened < 1:
        at = f"{round(answer.screened * answer.steps)} of {answer.steps} steps"
        short = f", compared in runs that ended after {at}"
    return f"{tried}{short}, on too few seeds to say how much better another could be."


def _nothing(answer: Answer) -> str:
    """The sentence if nothing can be picked, with the reason."""
    if "finite metric" in answer.lost:
        return f"Nothing can be picked: {answer.lost}. Fix the metric, or choose one that is always finite."
    if "crashed" in answer.lost:
        return f"Nothing can be picked: {answer.lost}. Check the memory, and for libraries that crash."
    why = f" ({answer.lost})" if answer.lost else ""
    return f"Nothing can be picked: every run diverged or ended no better than it began{why}; try smaller rates."


def seen(answer: Answer) -> str:
    """The steps at which the pick was compared: "500 steps", or "125 of 500 steps"."""
    if not answer.is_short:
        return f"{answer.steps} steps"
    return f"{round((answer.fidelity or 0) * answer.steps)} of {answer.steps} steps"


def _by(answer: Answer, amount: float) -> str:
    return f"{amount:.2g}{answer.unit}"


def details(answer: Answer) -> list[str]:
    """The further lines of the answer."""
    return [line for line in _details(answer) if line]


def _details(answer: Answer) -> Iterator[str]:
    figure, collapse, cheaper = answer.figure, answer.collapse, answer.cheaper
    if figure:
        spread = f" ± {figure.se:.2g}" if figure.se else ""
        data = "test data" if figure.split == "test" else "the same validation examples"
        seeds = "fresh seeds" if answer.raced else "the seeds compared"
        whole = f", {answer.steps} steps" if answer.is_short else ""
        yield f"On {data}, {seeds}{whole}: {figure.mean:.5g}{spread} (n = {figure.n})."
    if answer.saturated:
        yield "Saturated: the best reach the end of the scale, where nothing tells them apart."
    yield _possible(answer)
    yield _ruled_out(answer)
    if answer.rejected:
        yield f"Rejected, since half of their runs or more diverged or learned nothing: {', '.join(_rejected(answer))}."
    if answer.not_followed:
        yield f"Not followed further, since they began worse on one to three seeds: {answer.not_followed}."
    if collapse.of:
        most = f"up to {100 * (collapse.at_most or 0.0):.2g} %"
        yield f"Collapsed runs of the pick: {collapse.seen} of {collapse.of} ({most})."
    if cheaper:
        why = f"with {100 * cheaper.state:.0f} % of the state" if cheaper.state else "and keeps no state"
        yield f"Cheaper: {cheaper}, at most {_by(answer, cheaper.at_most)} behind the best, {why}."
    if answer.beside:
        yield f"By other measures: {', '.join(map(str, answer.beside))}."
    yield _limits(answer)
    yield f"All this for {seen(answer)}.{_longer(answer.longer, answer.unit) if answer.longer else ''}"
    if answer.question > 1:
        yield f"This is question {answer.question} asked of this store about this problem."


def _possible(answer: Answer) -> str:
    """The line on candidates that could still be better than the pick."""
    bounded = [(one, one.ahead_at_most) for one in answer.possible[:6]]
    shown = [f"{one} (by at most {_by(answer, ahead)})" for one, ahead in bounded if ahead is not None]
    more = f", and {len(answer.possible) - 6} more" if len(answer.possible) > 6 else ""
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


def _limits(answer: Answer) -> str:
    """The line on what limits the answer."""
    if answer.bound is None:
        return ""
    margin = _by(answer, answer.margin or 0.0)
    if answer.limit == "examples":
        return "What limits this is the number of validation examples: more seeds would tell no more about new ones."
    if answer.limit == "margin":
        return f"It ended because the bound is within the margin of {margin}."
    if answer.seconds_to_margin is None:
        return f"It ended because the time was spent; the margin is {margin}."
    return f"About {answer.seconds_to_margin:.0f} s more would bring the bound to the margin of {margin}."


def _longer(longer: Longer, unit: str) -> str:
    """The sentence on how the pick and the runner-up compare in longer runs."""
    if longer.ahead is None:
        return f" At {longer.steps} steps a run of the first two collapsed."
    word = "is still ahead of" if longer.ahead >= 0 else "falls behind"
    return f" At {longer.steps} steps it {word} {longer} (by {abs(longer.ahead):.2g}{unit}, {longer.seeds} seeds)."
