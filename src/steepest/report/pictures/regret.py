"""How far behind the best each candidate could be."""

from __future__ import annotations

from ...study.answer import Place
from ...study.data import StudyData
from ...study.sentences import rounded_up
from ..picture import Form, Guide, Mark, Panel, Picture, Series, Table
from ..registry import picture
from .parts import MOST_ROWS, SEEN, amount, style_of


@picture("regret", order=1)
def regret(study: StudyData) -> Picture | None:
    """How far behind the best each raced candidate could be, the pick first."""
    answer = study.answer
    bounded = [(place, place.at_most) for place in answer.places if place.at_most is not None]
    if not bounded:
        return None
    margin, (first, least) = answer.margin or 0.0, bounded[0]
    most = max(at_most for _, at_most in bounded) or 1.0
    edge = min(1.05 * most, max(SEEN * margin, 1.2 * least) or most)
    shown = bounded[:MOST_ROWS]
    series = [_series(study, place, at_most, float(row), edge) for row, (place, at_most) in enumerate(shown)]
    unit = answer.unit if answer.unit.startswith(" in") else f", in{answer.unit}"
    panel = Panel(
        series,
        f"behind the best{unit} ({100 * answer.confidence:.0f} %)",
        rows=[str(place) for place, _ in shown],
        view_x=(0.0, edge),
        guides=[Guide("x", margin, f"margin {margin:.2g}")] if 0 < margin < edge else [],
    )
    behind = f"at most {rounded_up(least):.2g}{answer.unit} behind the best"
    title = f"{first} is {behind if least else 'the best in the race'}"
    caption = (
        "Lower to upper bound on how far each candidate is behind the best in the race: simultaneous bounds, valid whenever "
        "the race is stopped. A bar at the edge extends beyond it."
    )
    return Picture(title, caption, [panel], _table(study), legend=False)


def _series(study: StudyData, place: Place, at_most: float, row: float, edge: float) -> Series:
    form: Form = "diamond" if place.standing == "pick" else "mean"
    words = f"{place}: {place.at_least:.3g} to {at_most:.3g}{study.answer.unit} behind the best"
    marks = [
        Mark("bar", [place.at_least], [row], [min(at_most, edge)]),
        Mark(form, [min(at_most, 0.99 * edge)], [row], words=[words]),
    ]
    return Series(str(place), style_of(study, place), marks)


def _table(study: StudyData) -> Table:
    rows = [
        [str(p), p.standing, amount(p.at_least), amount(p.at_most), str(p.n), amount(p.mean, 5)] for p in study.answer.places
    ]
    for one in study.answer.rejected:
        status = f"rejected: {one.collapsed} of {one.of} collapsed"
        rows.append([f"{one.name} with {one.schedule} at {one.lr:g}{one.more}", status, "", "", str(one.of), ""])
    return ["raced", "standing", "behind at least", "behind at most", "n", "mean"], rows
