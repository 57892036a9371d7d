"""Which network the slides trained: they tell neither layers nor batch nor scaling of the pixels, so many are tried.

`python -m steepest_workshop.lessons.search` trains every combination that is not kept, half an hour on two cores, and prints
the table. A combination is judged by the two slow runs, whose first epochs the slides print, and by how many starts
collapse under RMSprop at 0.01.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from steepest import optim
from steepest.problems.seeds import seeded
from steepest.training.ways import workers_on

from . import Row, kept, slides
from .training import Images, images, measured, train

FILE = "search"
PIXELS = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (0.5, 0.5), "normalised": (slides.MEAN, slides.DEVIATION)}
BATCHES = (64, 128)
SLOW = 3  # starts of the slow runs, of which the mean is told
STARTS, STEPS = 6, 100  # of RMSprop at 0.01; what has not begun to learn by then does not
RATES = (0.001, 0.0005)  # of SGD with momentum 0.5


class Tried(NamedTuple):
    """A combination: the slow runs' loss and accuracy after the first epoch, and how many starts collapsed."""

    network: str
    batch: int
    pixels: str
    slow: tuple[tuple[float, float], ...]
    collapsed: int

    def away(self) -> float:
        """The largest distance of the slow runs' accuracies from the printed ones, in points."""
        return max(abs(own - printed) for (_, own), (_, printed) in zip(self.slow, PRINTED, strict=True))


def _convolved(first: int, second: int, hidden: int, drop: bool = False) -> nn.Sequential:
    """Two convolutions of 5 x 5 with pooling, then a hidden layer, or none where it has 0 units."""
    one, two = nn.Conv2d(1, first, 5), nn.Conv2d(first, second, 5)
    spread, still = ([nn.Dropout2d()], [nn.Dropout()]) if drop else ([], [])
    body = [one, nn.MaxPool2d(2), nn.ReLU(), two, *spread, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    inside = 16 * second
    head = [nn.Linear(inside, hidden), nn.ReLU(), *still, nn.Linear(hidden, 10)] if hidden else [nn.Linear(inside, 10)]
    return nn.Sequential(*body, *head).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "32 and 64 channels, 128 hidden": slides.network,
    "20 and 50 channels, 500 hidden": lambda: _convolved(20, 50, 500),
    "10 and 20 channels, dropout, 50 hidden": lambda: _convolved(10, 20, 50, drop=True),
    "32 and 64 channels, none hidden": lambda: _convolved(32, 64, 0),
}
OURS = ("32 and 64 channels, 128 hidden", slides.BATCH, "normalised")
PRINTED = tuple(
    (float(losses.split()[0]), int(correct.split()[0]) / 100)
    for rate in RATES
    for (name, arguments), losses, correct in slides.PRINTED
    if name == "SGD" and arguments["lr"] == rate
)
Combination = tuple[str, int, str]


def tried(combination: Combination) -> Tried:
    """Train a combination."""
    torch.set_num_threads(1)
    name, batch, pixels = combination
    mean, deviation = PIXELS[pixels]
    data = images(flat=False, mean=mean, deviation=deviation)
    each = -(-len(data.x) // batch)
    slow = []
    for rate in RATES:
        ends = []
        for seed in range(SLOW):
            with seeded(seed):
                model = NETWORKS[name]()
                optimizer = optim.SGD(model.parameters(), lr=rate, momentum=0.5)
                train(model, optimizer, data, batch, each, each, lambda step, loss: None)
                ends.append(measured(model, data.test_x, data.test_y))
        slow.append(tuple(np.mean(ends, 0).tolist()))
    collapsed = sum(_late(NETWORKS[name], data, batch, seed) > 0.95 * np.log(10) for seed in range(STARTS))
    return Tried(*combination, tuple(slow), int(collapsed))


def _late(network: Callable[[], nn.Module], data: Images, batch: int, seed: int) -> float:
    """The mean loss of RMSprop's last twenty steps at 0.01; a network that says nothing has ln 10."""
    losses: list[float] = []
    with seeded(seed):
        model = network()
        optimizer = optim.RMSprop(model.parameters(), lr=0.01)
        train(model, optimizer, data, batch, STEPS, 1, lambda step, loss: losses.append(loss))
    return float(np.mean(losses[-20:]))


def made_by(combination: Combination) -> str:
    """The digest of what a combination's figures come from."""
    sources = slides.network, _convolved, tried, _late, train
    rules = [slides.setting_of(("SGD", {"momentum": 0.5})).rule.digest, slides.setting_of(slides.COLLAPSES).rule.digest]
    return kept.digest(*sources, combination, STARTS, STEPS, RATES, PIXELS[combination[2]], rules)


def combinations() -> list[Combination]:
    """All of them."""
    return list(itertools.product(NETWORKS, BATCHES, PIXELS))


def table() -> list[Tried]:
    """What is kept, nearest to the slides' slow runs first."""
    made = []
    for combination in combinations():
        found = kept.value(FILE, _key(combination), made_by(combination))
        if found:
            slow = tuple((loss, right) for loss, right in found["slow"])
            made.append(Tried(*combination, slow, found["collapsed"]))
    return sorted(made, key=Tried.away)


def _key(combination: Combination) -> str:
    return ", ".join(map(str, combination))


def record(say: Callable[[str], None] = print) -> None:
    """Train what is not kept."""
    left = [c for c in combinations() if kept.value(FILE, _key(c), made_by(c)) is None]
    with ProcessPoolExecutor(workers_on("cpu"), mp_context=multiprocessing.get_context("spawn")) as pool:
        for combination, found in zip(left, pool.map(tried, left), strict=True):
            value = {"slow": found.slow, "collapsed": found.collapsed}
            kept.keep(FILE, {_key(combination): (made_by(combination), value)})
            say(f"{_key(combination)}: {found.away():.1f} points away")


def rows() -> Iterator[Row]:
    """The network that is used beside the others that were tried."""
    found, wanted = table(), " and ".join(f"{right:.1f}" for _, right in PRINTED)
    for k, one in enumerate(found):
        accuracies = " and ".join(f"{right:.1f}" for _, right in one.slow)
        words = f"{accuracies} % after an epoch of the slow runs, printed {wanted}; "
        words += f"{one.collapsed} of {STARTS} starts collapse under RMSprop at 0.01"
        used = ", used here" if one[:3] == OURS else ""
        label = f"network tried, {k + 1} of {len(found)}: {one.network}, batches of {one.batch}, pixels {one.pixels}{used}"
        yield Row("003", label, None, words, None, None, "the slides do not tell theirs")


if __name__ == "__main__":
    record()
    for each in table():
        print(f"{each.away():5.1f}  {each.collapsed}/{STARTS}  {each.network}, batches of {each.batch}, pixels {each.pixels}")
