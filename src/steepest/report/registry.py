"""The registry of pictures: a picture is one function of `StudyData` in one file of `pictures/`.

    @picture("regret", order=1)
    def regret(study: StudyData) -> Picture | None:
        \"\"\"How far behind the best each raced candidate could be.\"\"\"

The report then shows it at this position with a table of its data, and `study.figures.regret()` draws it in a notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..study.data import StudyData
from .picture import Picture

Choices = dict[str, dict[str, str]]  # the button label of each value of each option
PICTURES: dict[str, Registered] = {}


@dataclass(frozen=True)
class Registered:
    """A registered picture: its name, its position on a page, and the function that draws it.

    `draw(study, **options)` returns the picture, or None if the study has no data for it. `needs` names a field of the study
    that `draw` requires. `choices(study)` returns the options that a reader of the page can choose.
    """

    name: str
    order: float
    draw: Callable[..., Picture | None]
    needs: str = ""
    choices: Callable[[StudyData], Choices] | None = None

    def __call__(self, study: StudyData, *args: Any, **options: Any) -> Picture | None:
        """The picture of a study, or None if the study has no data for it."""
        made = self.draw(study, *args, **options)
        return made if made and any(panel.series for panel in made.panels) else None


def picture(
    name: str, order: float, needs: str = "", choices: Callable[[StudyData], Choices] | None = None
) -> Callable[[Callable[..., Picture | None]], Callable[..., Picture | None]]:
    """Register a function of a study as a picture; the arguments are the fields of `Registered`."""

    def register(draw: Callable[..., Picture | None]) -> Callable[..., Picture | None]:
        PICTURES[name] = Registered(name, order, draw, needs, choices)
        return draw

    return register
