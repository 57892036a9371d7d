"""The course of a race."""

from __future__ import annotations

from ...study.answer import Look, Place
from ...study.data import StudyData
from ...study.sentences import rounded_up
from ..palette import Style
from ..picture import Form, Guide, Mark, Panel, Picture, Series
from ..registry import picture
from .parts import MOST_ROWS, amount, is_wide, style_of

FORMS: dict[str, Form] = {"pick": "diamond", "possible": "mean", "ruled out": "cross"}


@picture("race", order=3)
def race(study: StudyData) -> Picture | None:
    """The bound of the pick against seconds of training, and when each candidate's last seed ended."""
    answer, looks = study.answer, study.answer.looks
    if not answer.raced or not looks:
        return None
    view = (0.0, 1.03 * looks[-1].seconds)
    points = [
        (
            look.seconds,
            look.bound,
            f"after {look.runs} runs, {look.seconds:.3g} s: {look.pick}, at most {look.bound:.3g} behind",
        )
        for look in looks
        if look.bound is not None
    ]
    bounds = [bound for _, bound, _ in points]
    bound = Series("the bound of the pick", Style("#000000", "solid"), [Mark.at("line", points), Mark.at("mean", points)])
    guides = [Guide("y", answer.margin, f"margin {answer.margin:.2g}")] if answer.margin else []
    top = Panel([bound], y_label=f"bound{answer.unit}", log_y=is_wide(bounds), guides=guides, view_x=view)
    places = answer.places[:MOST_ROWS]
    lanes = [_lane(study, place, float(row)) for row, place in enumerate(places)]
    names = [f"{place}  n = {place.n}" for place in places]
    low = Panel(lanes, "seconds of training, summed over processes", rows=names, view_x=view)
    reached = f" to a bound of {rounded_up(bounds[-1]):.2g}{answer.unit}" if bounds else ""
    title = f"The race took {looks[-1].runs} runs{reached}"
    caption = "Marks show where a candidate's last seed ended: diamond, the pick; cross, ruled out; dot, possibly the best."
    table = [[str(look.runs), amount(look.seconds, 4), look.pick, amount(look.bound)] for look in looks]
    return Picture(title, caption, [top, low], (["runs", "seconds", "pick", "bound"], table), legend=False)


def _lane(study: StudyData, place: Place, row: float) -> Series:
    """A candidate's bar, up to the end of its last seed."""

    def order(look: Look) -> tuple[int, int]:
        """Sort key, largest for the first look at which all its seeds had ended."""
        return look.seeds.get(str(place), 0), -look.runs

    end = max(study.answer.looks, key=order).seconds
    words = f"{place}: {place.n} seeds, the last after {end:.3g} s; {place.standing}"
    marks = [Mark("bar", [0.0], [row], [end]), Mark(FORMS[place.standing], [end], [row], words=[words])]
    return Series(str(place), style_of(study, place), marks)
