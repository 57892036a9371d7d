"""The pictures of a study as matplotlib figures, for papers and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from matplotlib.figure import Figure

from .. import figures
from . import inside, pictures


class Figures:
    """`study.figures`: each method draws a new figure from the data that the report is drawn from."""

    def __init__(self, data: dict[str, Any], record: Callable[[], None]) -> None:
        self._shown, self._record = data, record

    @property
    def _data(self) -> dict[str, Any]:
        return pictures.drawable(self._shown)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        """The names of those that have something to show."""
        return iter(pictures.pictures(self._data))

    def regret(self) -> Figure:
        """How far behind the best each of those that raced could be."""
        return figures.draw(pictures.regret(self._data))

    def ranking(self) -> Figure:
        """Means with their intervals, and every seed."""
        return figures.draw(pictures.ranking(self._data))

    def race(self) -> Figure:
        """The bound of the pick against seconds of training, and when each candidate stopped."""
        return figures.draw(pictures.race(self._data))

    def sensitivity(self) -> Figure:
        """The metric against the rate, a panel for each optimizer."""
        return figures.draw(pictures.sensitivity(self._data))

    def curves(self, x: str = "steps", scale: str = "linear", of: str = "metric") -> Figure:
        """Learning curves: `x` "steps" or "seconds", `scale` "linear" or "log", `of` "metric" or "loss"."""
        return figures.draw(pictures.curves(self._data, x, scale, of))

    def schedules(self) -> Figure:
        """Rates as they were applied, and the training loss below."""
        return figures.draw(pictures.schedules(self._data))

    def insides(self) -> Figure:
        """Updates, gradients and state of the first two, on the way; they are trained once more for it."""
        self._record()
        return figures.draw(inside.insides(self._data))

    def landscape(self) -> Figure:
        """The training loss on the plane of two solutions and their start; they are trained once more for it."""
        self._record()
        return figures.draw(inside.landscape(self._data))

    def cost(self) -> Figure:
        """Seconds and bytes against the metric."""
        return figures.draw(pictures.cost(self._data))
