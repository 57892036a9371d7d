"""Small problems on synthetic data, with 2,000 held-out examples, whose runs are recorded for the calibration.

`python -m steepest_workshop.worlds [NAME ...]` records what is missing, in 15 minutes for all on one core. A run takes at
most half a second, so that every rate of every optimizer is trained on many seeds. A `World` draws seeds and examples from
these with replacement, so that their means are the exact truth for the claims of a replayed study.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import lzma
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from steepest import rules
from steepest.problems.problem import Problem
from steepest.rules import Rule
from steepest.study.axes import LEARNING_RATE
from steepest.study.budget import TUNING_SEEDS
from steepest.study.question import Scale
from steepest.study.race import FRESH_SEEDS
from steepest.study.space import spaces
from steepest.study.table import Table
from steepest.training import ways
from steepest.training.stacked import Run

from .tables import HERE

PLAN = "many:48"
TRAIN, HELD_OUT = 1_000, 2_000  # examples


def spirals() -> Problem:
    """Classify noisy points of five spiral arms with a 2-32-32-5 ReLU network: 1,000 points, accuracy."""
    rng = np.random.default_rng(1)
    arm = rng.integers(0, 5, TRAIN + HELD_OUT)
    radius = np.sqrt(rng.uniform(0.02, 1, len(arm)))
    angle = 2 * np.pi * arm / 5 + 4 * radius + 0.25 * rng.standard_normal(len(arm))
    x = torch.tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), dtype=torch.float32)

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))

    return _split("spirals", model, nn.CrossEntropyLoss(), x, torch.tensor(arm), 32, 600)


def teacher() -> Problem:
    """Fit the noisy outputs of a random network with a 10-32-1 tanh network: 1,000 points, squared error."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((TRAIN + HELD_OUT, 10))
    inner, outer = rng.standard_normal((10, 6)) / np.sqrt(10), rng.standard_normal(6)
    y = np.tanh(2 * x @ inner) @ outer + 0.3 * rng.standard_normal(len(x))

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))

    inputs, target = (torch.tensor(values, dtype=torch.float32) for values in (x, y[:, None]))
    return _split("teacher", model, nn.MSELoss(), inputs, target, 32, 400)


class Reader(nn.Module):
    """A plain recurrent network that predicts the next symbol at every position of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, 24)
        self.recur = nn.Linear(24, 24)
        self.out = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the next symbols, (batch, symbol, position)."""
        state, seen = torch.zeros_like(self.embed(x[:, 0])), []
        for k in range(x.shape[1]):
            state = torch.tanh(self.embed(x[:, k]) + self.recur(state))
            seen.append(self.out(state))
        return torch.stack(seen, -1)


def symbols() -> Problem:
    """Predict the symbols of a second-order Markov chain with a recurrent network: 1,000 sequences of 8, cross-entropy."""
    rng = np.random.default_rng(3)
    table = rng.dirichlet([0.2] * 8, (8, 8)).cumsum(-1)
    chain = rng.integers(0, 8, (TRAIN + HELD_OUT, 9))
    for k in range(2, 9):
        above = rng.random((len(chain), 1)) > table[chain[:, k - 2], chain[:, k - 1]]
        chain[:, k] = np.minimum(above.sum(1), 7)
    data = torch.tensor(chain)
    return _split("symbols", Reader, nn.CrossEntropyLoss(), data[:, :-1], data[:, 1:], 32, 150)


def textures(classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy 8 x 8 images of gratings, one orientation and width for each class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, TRAIN + HELD_OUT)
    turn, width = np.pi * y / classes, rng.uniform(2.2, 3.2, len(y))
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), 0)
    along = np.einsum("nk,kij->nij", np.stack([np.cos(turn), np.sin(turn)], 1), grid)
    x = np.sin(2 * np.pi * along / width[:, None, None] + rng.uniform(0, 2 * np.pi, (len(y), 1, 1)))
    return torch.tensor(x + 0.8 * rng.standard_normal(x.shape), dtype=torch.float32)[:, None], torch.tensor(y)


@functools.cache
def pretrained() -> nn.Module:
    """A small convolutional network that tells six orientations apart."""
    x, y = textures(6, 4)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Conv2d(1, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 32), nn.ReLU()]
        model = nn.Sequential(*body, nn.Linear(32, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        for part in torch.randperm(TRAIN, generator=generator).view(-1, 50):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[part]), y[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


def tuning() -> Problem:
    """Fine-tune a convolutional network from six orientations of a grating to nine: 200 images, accuracy."""
    x, y = textures(9, 5)

    def model() -> nn.Module:
        copied = copy.deepcopy(pretrained())
        copied[-1] = nn.Linear(32, 9)  # type: ignore[operator]
        return copied

    return _split("tuning", model, nn.CrossEntropyLoss(), x, y, 20, 150, train=200)


def waves() -> Problem:
    """Tell five wave forms apart in noisy series of 16 values, with a one-dimensional convolution: 1,000 series, accuracy."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 5, TRAIN + HELD_OUT)
    phase = 2 * np.pi * (np.arange(16) * (1 + 0.35 * y[:, None]) / 16 + rng.random((len(y), 1)))
    x = np.sin(phase) + 0.4 * np.sin(2 * phase) * (y % 2)[:, None] + 0.5 * rng.standard_normal(phase.shape)

    def model() -> nn.Module:
        return nn.Sequential(nn.Conv1d(1, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))

    inputs = torch.tensor(x[:, None], dtype=torch.float32)
    return _split("waves", model, nn.CrossEntropyLoss(), inputs, torch.tensor(y), 32, 300)


def codes() -> Problem:
    """Compress 16 values, which depend on four, to three with an autoencoder: 1,000 examples, squared error."""
    rng = np.random.default_rng(7)
    x = np.tanh(rng.standard_normal((TRAIN + HELD_OUT, 4)) @ rng.standard_normal((4, 16)))
    data = torch.tensor(x + 0.1 * rng.standard_normal(x.shape), dtype=torch.float32)

    def model() -> nn.Module:
        encoder = [nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)]
        return nn.Sequential(*encoder, nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 16))

    return _split("codes", model, nn.MSELoss(), data, data, 32, 300)


def _split(
    name: str, model: Callable[[], nn.Module], loss: nn.Module, x: Tensor, y: Tensor, batch: int, steps: int, train: int = TRAIN
) -> Problem:
    """A problem on the first `train` examples, with the last 2,000 held out."""
    held = (x[-HELD_OUT:], y[-HELD_OUT:])
    metric = None if isinstance(loss, nn.MSELoss) or name == "symbols" else "accuracy"
    return Problem(
        name=name,
        model=model,
        loss=loss,
        metric=metric,
        train=(x[:train], y[:train]),
        valid=held,
        batch_size=batch,
        steps=steps,
    )


_MADE: tuple[Callable[[], Problem], ...] = spirals, teacher, symbols, tuning, waves, codes
WORLDS = {make.__name__: make for make in _MADE}
UNTUNED = ("waves", "codes")  # recorded last: nothing in the protocol was chosen by results on these


OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw")
RATES, SHIFT = 9, 2  # rates of each optimizer, three a decade; the grid is shifted up by two, past the cliff
SEEDS = len(TUNING_SEEDS) + 40 + len(FRESH_SEEDS)
LONG_SEEDS, LONG = 20, ("spirals", "teacher")  # seeds and problems that are also trained for five times the steps
STAGES = (0.25, 0.5, 1.0)  # shares of a run after which its value is recorded
VALIDATION = 300  # examples of validation, and of test, that a replay draws
Truth = dict[tuple[str, float], float]
# Bits of a loss's mantissa that are stored, and the least loss: what is stored is the truth, however coarse it is.
DIGITS, LEAST = 1, 2**-7


def rates(rule: Rule) -> list[float]:
    """The rates at which a rule is recorded."""
    axis = dataclasses.replace(LEARNING_RATE, centre=rule.rate)
    first = axis.first(RATES)
    return [*axis.values(range(first.start + SHIFT, first.stop + SHIFT))]


def path(world: str, optimizer: str) -> Path:
    """The file of one optimizer's runs in one world."""
    return HERE / "worlds" / world / f"{optimizer}.npz"


def record(world: str, optimizer: str) -> None:
    """Train an optimizer at every rate on every seed, and save values by stage and the results on single examples.

    The file has `rates`, `values` (rates, seeds, stages), `examples` as `packed` compresses them, and `long` (rates,
    LONG_SEEDS), the values at five times the steps. NaN is a run that diverged.
    """
    problem, rule = WORLDS[world](), rules.get(optimizer)
    assert problem.steps is not None
    lrs = rates(rule)
    runs = [Run(rule, lr, seed, problem.steps, examples=True) for lr in lrs for seed in range(SEEDS)]
    values = np.full((len(runs), len(STAGES)), np.nan, np.float32)
    examples = np.full((len(runs), HELD_OUT), np.nan, np.float16)
    for i, outcome in ways.train_all(problem, runs, ways.named(PLAN)):
        if outcome.valid is not None and outcome.examples is not None:
            at = dict(zip(outcome.curve.steps, outcome.curve.metric, strict=True))
            values[i] = [at[round(share * problem.steps)] for share in STAGES]
            examples[i] = outcome.examples
    saved: dict[str, Any] = {
        "rates": np.array(lrs),
        "values": values.reshape(RATES, SEEDS, -1),
        "examples": packed(examples.reshape(RATES, SEEDS, -1), problem.metric is not None),
    }
    if world in LONG:
        runs = [Run(rule, lr, seed, 5 * problem.steps) for lr in lrs for seed in range(LONG_SEEDS)]
        ends = dict(ways.train_all(problem, runs, ways.named(PLAN)))
        saved["long"] = np.array([ends[i].valid for i in range(len(runs))], np.float32).reshape(RATES, LONG_SEEDS)
    file = path(world, optimizer)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file.with_suffix(".part.npz"), **saved)
    file.with_suffix(".part.npz").replace(file)


def packed(examples: NDArray[np.float16], in_points: bool) -> NDArray[np.uint8]:
    """Compress the results of examples, (rates, seeds, examples): bits of an accuracy, or the first bits of each loss."""
    codes = np.maximum(examples, np.float16(LEAST)).view(np.uint16) >> (np.finfo(np.float16).nmant - DIGITS)
    small = np.packbits(np.nan_to_num(examples) > 0) if in_points else codes.astype(np.uint8).swapaxes(1, 2)
    return np.frombuffer(lzma.compress(small.tobytes()), np.uint8)


def unpacked(blob: NDArray[np.uint8], shape: tuple[int, int], in_points: bool) -> NDArray[np.float32]:
    """The results that `packed` compressed, for a shape of (rates, seeds); a loss is the middle of those with its bits."""
    rates, seeds = shape
    small = np.frombuffer(lzma.decompress(blob.tobytes()), np.uint8)
    if in_points:
        return 100 * np.unpackbits(small, count=rates * seeds * HELD_OUT).reshape(rates, seeds, HELD_OUT).astype(np.float32)
    codes = small.reshape(rates, HELD_OUT, seeds).swapaxes(1, 2).astype(np.uint16)
    spare = np.finfo(np.float16).nmant - DIGITS
    return ((codes << spare) + (1 << spare - 1)).view(np.float16).astype(np.float32)


class Drawn(NamedTuple):
    """Runs drawn from a source for a study: a table, its scale, and the true means, larger being better, by label and rate.

    here: on the validation examples drawn; new: on all examples; longer: in longer runs. lost: the shares that diverged.
    runs: the number that a budget has time for, 0 without one. margin: of the race, None for the default. error: the standard
    error of the true difference in longer runs, of two candidates in a table that has them on few seeds.
    """

    table: Table
    scale: Scale
    here: Truth
    lost: Truth
    new: Truth | None = None
    longer: Truth | None = None
    runs: int = 0
    margin: float | None = None
    error: Callable[[tuple[str, float], tuple[str, float]], float] = lambda one, other: 0.0


class World:
    """The recorded runs of a world; `draw` makes a study of them with `VALIDATION` and as many test examples."""

    def __init__(self, name: str) -> None:
        self.name, problem = name, WORLDS[name]()
        self.in_points, self.steps = problem.in_points, problem.steps
        self.sign = 1.0 if problem.direction == "max" else -1.0
        self.spaces = spaces(OPTIMIZERS, ["constant"], None)
        self.rates: list[list[float]] = []
        examples, early, longer = [], [], []
        for optimizer in OPTIMIZERS:
            with np.load(path(name, optimizer)) as file:
                self.rates.append(file["rates"].tolist())
                own = unpacked(file["examples"], file["values"].shape[:2], self.in_points)
                own[np.isnan(file["values"][..., -1])] = np.nan
                examples.append(own)
                early.append(file["values"][..., 0])
                longer.append(file.get("long"))
        self.examples, self.early = np.concatenate(examples), np.concatenate(early)
        self.longer = np.concatenate([own for own in longer if own is not None]) if name in LONG else None
        self.names = [(o, lr) for o, own in zip(OPTIMIZERS, self.rates, strict=True) for lr in own]

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw seeds for screening, race and fresh runs, and examples for validation and test, all with replacement."""
        count = self.examples.shape[1]
        valid, tested = rng.integers(0, HELD_OUT, (2, VALIDATION))
        here, there = self.examples[:, :, valid], self.examples[:, :, tested]
        columns = rng.integers(0, count, len(TUNING_SEEDS) + seeds + len(FRESH_SEEDS))
        longer = None
        if self.longer is not None:
            longer = self.longer[:, rng.integers(0, self.longer.shape[1], len(FRESH_SEEDS))]
        values = here.mean(-1)
        table = Table(
            self.spaces,
            self.rates,
            values,
            len(FRESH_SEEDS),
            examples=here,
            early=self.early,
            longer=longer,
            tested=(there.mean(-1), there.std(-1, ddof=1) / np.sqrt(VALIDATION)),
        )
        direction = "max" if self.sign > 0 else "min"
        scale = Scale("metric", direction, self.in_points, VALIDATION, "test", not self.in_points, tested=VALIDATION)
        return Drawn(
            table.drawn(columns),
            scale,
            self._means(values),
            self._named(np.isnan(values).mean(1)),
            self._means(self.examples.reshape(len(self.names), -1)),
            None if self.longer is None else self._means(self.longer),
            error=self._error,
        )

    def _error(self, one: tuple[str, float], other: tuple[str, float]) -> float:
        assert self.longer is not None
        first, second = (self.longer[self.names.index(name)] for name in (one, other))
        differences = (first - second)[np.isfinite(first - second)]
        return float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf

    def _means(self, values: NDArray[Any]) -> Truth:
        """The mean of each candidate's runs that did not diverge; minus infinity if all did."""
        there = ~np.isnan(values)
        sums = np.where(there, values, 0.0).sum(1, dtype=float)
        return self._named(np.where(there.any(1), self.sign * sums / np.maximum(there.sum(1), 1), -np.inf))

    def _named(self, values: NDArray[Any]) -> Truth:
        return dict(zip(self.names, values.tolist(), strict=True))


def main(chosen: Sequence[str]) -> None:
    """Record what is missing of the named worlds, or of all."""
    for world in chosen or WORLDS:
        for optimizer in OPTIMIZERS:
            if not path(world, optimizer).is_file():
                begun = time.perf_counter()
                record(world, optimizer)
                print(f"{world}, {optimizer}: {RATES * SEEDS} runs in {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
