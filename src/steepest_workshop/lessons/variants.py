"""Document 004: powers of the error under SGD, Adam and Adagrad; and a network of two hidden layers on MNIST."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from steepest.api import compare
from steepest.problems.built_in import noisy_regression
from steepest.problems.built_in.breast_cancer import solve
from steepest.problems.built_in.noisy_regression import Data
from steepest.problems.problem import Problem
from steepest.report.palette import style
from steepest.rules import get
from steepest.training.stacked import Run, StackedRuns

from . import NOT_HERE, Row, between, claim, close_to, decided, kept, predicted, spread
from .compared import accuracies, against, scores
from .noisy_regression import EXPONENTS, Array, experiment
from .power import Block
from .rivals import Setting
from .training import document, drawn, images, mlp

SOURCE = "004"
EXACT = (0.99218671, 0.99592763, 0.9993016, 0.99963533, 1.00368735, 1.00186409, 1.00490434, 0.99861362, 0.99307294, 0.99822247)
# exponent, rule, and the last replicate's theta after 1,000 steps
FINAL = """
0.4 adam 0.10675621 0.13306561 0.22496032 0.10094938 0.18651719 0.14231369 0.14785469 0.08840414 0.30632364 0.13131128
0.4 gd 0.04865604 0.12794786 0.17395863 0.07027743 0.14997399 0.03025955 0.14304976 0.03519987 0.18897177 0.02844775
0.7 adam 0.21138336 0.25611736 0.33999842 0.18436075 0.27973139 0.2775759 0.26417712 0.2610319 0.29572431 0.25085275
0.7 gd 0.12270384 0.16269365 0.19887691 0.10335078 0.14877666 0.13488393 0.12730259 0.12570428 0.16097615 0.18247377
1 adam 0.27632435 0.30497584 0.38177757 0.27352123 0.339567 0.29960823 0.33396765 0.3480048 0.35326908 0.26729357
1 gd 0.16909786 0.17034048 0.26476039 0.13554004 0.22585654 0.2036784 0.20631278 0.19936605 0.29641202 0.20573266
2 adam 0.27417634 0.34360829 0.40276927 0.28214233 0.40483774 0.36351695 0.34171235 0.32246308 0.38679239 0.36323049
2 gd 0.57508718 0.59779443 0.60955804 0.43432368 0.55146614 0.48872879 0.59873052 0.52675437 0.54217826 0.54655387
3 adam 0.25624687 0.31877116 0.34075927 0.23898033 0.34050586 0.29671767 0.25507838 0.28910636 0.33825251 0.31997232
3 gd 0.69075776 0.77598346 0.74513576 0.70377153 0.80302679 0.74187181 0.65412221 0.70737926 0.76404636 0.79229806
5 adam 0.20628413 0.26385046 0.27084552 0.14417176 0.27692224 0.22025362 0.22579816 0.22747377 0.25572015 0.26423421
5 gd 0.95223817 1.07675152 0.87585526 0.63918599 0.97985196 1.09275952 1.11038456 0.94355939 0.55686714 1.03764575
"""
LOSSES = (
    *(0.38967667, 0.18968198, 0.14011508, 0.11321267, 0.09650550, 0.08177787, 0.07242025, 0.06685666),
    *(0.06066104, 0.05491418, 0.05058347, 0.04810207, 0.04394179, 0.04050959, 0.03853753),
)
SIZES = (784, 128, 64, 10)
ACCURACY, MINUTES = 97.17, 3.2236938953399656
COVER = 0.95  # of a prediction interval for one printed number: a wider one tells fewer wrong rules from the right one
SEEDS, WORLDS = 10, 400


def rows(tier: str, say: Callable[[str], None]) -> Iterator[Row]:
    """Prediction intervals over simulated data for what an unseeded program printed; who wins for which exponent."""
    say("004: noisy regression")
    worlds = [noisy_regression.data(seed) for seed in range(WORLDS)]
    solutions = np.array([solve(world.x, world.y) for world in worlds])
    low, high = _interval(solutions)
    for i, value in enumerate(EXACT):
        words = f"exact solution, coordinate {i}: {COVER:.0%} prediction interval over {WORLDS} simulated sets of data"
        row = between(SOURCE, words, value, 1.0, low, high, "one in twenty lies outside")
        yield replace(row, power="consistent", alike="any way to the least squares")
    for block in _finals(worlds):
        yield from block.made()
    for i, (mean, error) in enumerate(zip(solutions.mean(0), stats.sem(solutions), strict=True)):
        words = f"true theta {i}: mean of {WORLDS} exact solutions"
        yield close_to(SOURCE, words, 1.0, float(mean), 4 * float(error), power="echo")
    yield from _winners()
    if tier != "quick":
        yield from _shapes()
        say("004: 784-128-64-10 over ten seeds")
        network = _network()
        yield from network.made()
        yield unused(network, 0.003)
        yield _others(say)


def _finals(worlds: Sequence[Data]) -> Iterator[Block]:
    """The last points of the two optimizers, at every exponent."""
    for name, rule in (("Adam", "adam"), ("SGD", "gd")):
        made_of = kept.digest(_ended, _interval, experiment, len(worlds), COVER, FINAL)
        yield Block(SOURCE, f"theta of {name}", Setting(get(rule), 0.001, {}), functools.partial(_ended, name, worlds), made_of)


def _ended(called: str, worlds: Sequence[Data], setting: Setting) -> list[Row]:
    """The printed last points beside the intervals that a setting gives over simulated data."""
    points = [experiment(world, [setting.rule], (setting.lr,), replicates=1).points[:, 0, 0] for world in worlds]
    ends, rows = np.stack(points), []
    for line in FINAL.strip().splitlines():
        power, name, *printed = line.split()
        if (name == "gd") != (called == "SGD"):
            continue
        drawn = ends[:, EXPONENTS.index(float(power))]
        low, high = _interval(drawn)
        ended = drawn[np.isfinite(drawn)]
        middle = float(ended.mean()) if len(ended) else np.nan
        for i, value in enumerate(map(float, printed)):
            words = f"theta {i} after 1,000 steps of {called} at exponent {float(power):g}: {COVER:.0%} interval"
            rows.append(between(SOURCE, words, value, middle, low, high, "one in twenty lies outside"))
    return rows


def blocks() -> Iterator[Block]:
    """The last points, and the network's losses."""
    yield from _finals([noisy_regression.data(seed) for seed in range(WORLDS)])
    yield _network()


def _interval(drawn: Array) -> tuple[float, float]:
    """The central part of simulated values, all coordinates alike, those of diverged runs left out."""
    ended = drawn[np.isfinite(drawn)]
    low, high = np.quantile(ended, [(1 - COVER) / 2, (1 + COVER) / 2]) if len(ended) else (np.nan, np.nan)
    return float(low), float(high)


def _shapes() -> Iterator[Row]:
    """The first batch, and how many images are tested."""
    data = images(flat=False)
    first = next(drawn(len(data.x), 64))
    for name, printed, shape in (
        ("images", "64 x 1 x 28 x 28", data.x[first].shape),
        ("labels", "64", data.y[first].shape),
    ):
        ours = " x ".join(map(str, shape))
        yield Row(SOURCE, f"shape of a batch's {name}", printed, ours, "equal", printed == ours, power="echo")
    yield close_to(SOURCE, "number of images tested", 10_000, len(data.test_x), 0, power="echo")
    layers = [layer for layer in mlp(SIZES) if isinstance(layer, torch.nn.Linear)]
    for layer, (inputs, outputs) in zip(layers, ((784, 128), (128, 64), (64, 10)), strict=True):
        printed, ours = f"{inputs} to {outputs}", f"{layer.in_features} to {layer.out_features}"
        yield Row(SOURCE, "a layer of its network", printed, ours, "equal", printed == ours, power="echo")
    words = "the document does not say which image it shows; `prediction` draws any image"
    yield Row(SOURCE, "digit predicted of one test image", 4, NOT_HERE, None, None, words, "echo")


def _winners() -> Iterator[Row]:
    """Test losses after 950 updates, the last looked at: ten paired replicates, with and without gradient noise."""
    world = noisy_regression.data(0)
    for noise, label in (((0.0, 0.0), "no gradient noise"), ((0.5, 0.5), "normal and random-sign noise of 0.5")):
        chosen = [get(name) for name in ("gd", "adam", "adagrad", "adagrad")]
        result = experiment(world, chosen, (0.001, 0.001, 0.001, 0.01), noise=noise)
        last = result.losses[..., -1]
        for j, other in ((1, "Adam"), (2, "Adagrad"), (3, "Adagrad at rate 0.01")):
            winners, parts = set(), []
            for i, exponent in enumerate(EXPONENTS):
                mean, half = spread(last[i, 0] - last[i, j], 0.05 / len(EXPONENTS))
                winner = other if mean > half else "SGD" if mean < -half else "neither"
                winners.add(winner)
                parts.append(f"{exponent:g}: {winner} ({mean:+.3g} +- {half:.2g})")
            words = f"test loss of SGD minus {other}, {label}, ten replicates on one set of data: {'; '.join(parts)}"
            if j == 1:
                printed = (
                    f"which of SGD and Adam wins depends on the exponent ({'with' if any(noise) else 'without'} gradient noise)"
                )
                yield claim(SOURCE, printed, words, len(winners - {"neither"}) > 1)
            else:
                yield Row(SOURCE, "Adagrad, left to the reader", None, words, None, None, "nothing is printed")


def _network() -> Block:
    """Its network under Adam, fifteen epochs from ten starts at once."""
    own = Setting(get("adam"), 0.001, {})
    made_of = kept.digest(_epochs, _trained, SEEDS, LOSSES, ACCURACY)
    ten = functools.cache(lambda: _trained(own, SEEDS))
    return Block(SOURCE, "784-128-64-10", own, functools.partial(_epochs, own, ten), made_of)


def unused(block: Block, lr: float) -> Row:
    """How many printed figures come out at the rate that the program passes on, and at another that it only sets."""
    right, other = (block.rows(setting) for setting in (block.setting, replace(block.setting, lr=lr)))
    hold, wrong = (sum(bool(row.holds) for row in found if row.power != "echo") for found in (right, other))
    words = f"of its printed losses and accuracy {hold} come out at {block.setting.lr:g}, {wrong} at {lr:g}"
    return claim(SOURCE, f"its lr = {lr:g} is not used", words, decided([(hold - wrong, 2)]))


class Trained(NamedTuple):
    """Mean losses by epoch (15, starts), accuracies at the end, in per cent, and seconds for one."""

    losses: Array
    accuracies: Array
    seconds: float


def _trained(setting: Setting, starts: int) -> Trained:
    data = images(mean=0.5, deviation=0.5)
    problem = Problem(
        name="document-004",
        model=lambda: mlp(SIZES),
        loss=torch.nn.CrossEntropyLoss(),
        train=(data.x, data.y),
        valid=(data.test_x, data.test_y),
        metric="accuracy",
        batch_size=64,
    )
    began, each = time.perf_counter(), -(-len(data.x) // 64)
    team = StackedRuns(problem, [Run(setting.rule, setting.lr, seed, 15 * each) for seed in range(starts)])
    losses = np.array([torch.stack([team.step() for _ in range(each)]).mean(0).numpy() for _ in LOSSES])
    return Trained(losses, np.array(team.evaluate("valid")[1]), (time.perf_counter() - began) / starts)


def _epochs(own: Setting, ten: Callable[[], Trained], setting: Setting) -> list[Row]:
    """The printed losses and accuracy beside 95 % prediction intervals of one more run, over ten starts of a setting.

    Any setting but the document's own has one start, and the own one's spread.
    """
    right = ten()
    found = right if setting is own else _trained(setting, 1)
    rows = [_next(f"mean training loss of epoch {k}", p, found.losses[k], right.losses[k]) for k, p in enumerate(LOSSES)]
    rows.append(_next("test accuracy after 15 epochs", ACCURACY, found.accuracies, right.accuracies))
    words = f"{found.seconds / 60:.2f} minutes a run, {len(found.accuracies)} runs at once on this machine"
    rows.append(Row(SOURCE, "training time in minutes", MINUTES, words, None, None, "another machine's seconds", "echo"))
    return rows


def _next(what: str, printed: float, found: Array, varied: Array) -> Row:
    """A printed figure beside the interval of one more run."""
    words = f"{what}: 95 % prediction interval of a run, over {len(varied)} seeds"
    own, low, high = map(float, predicted(found, varied))
    return between(SOURCE, words, printed, own, low, high, "unseeded; one in twenty lies outside")


def _others(say: Callable[[str], None]) -> Row:
    """Its network under the optimizers that the reader is told to feel free to try, at equal tuning."""
    say("004: other optimizers on its network")
    own = replace(document(), name="document-004", model=lambda: mlp(SIZES), batch_size=64, steps=2000)
    study = compare(own, "adam,sgd,momentum,rmsprop,adagrad", schedules="constant", seeds=SEEDS, store=":memory:")
    values = accuracies(study)
    parts = [against(values, name, "adam", 4)[1] for name in ("sgd", "momentum", "rmsprop", "adagrad")]
    rates = ", ".join(f"{entry.candidate.label} {entry.lr:.2g}" for entry in study.result.entries)
    words = f"2,000 steps, {SEEDS} seeds, per cent: {scores(study)}; at rates {rates}; against Adam: "
    words += ", ".join(f"{name} {part}" for name, part in zip(("SGD", "momentum", "RMSprop", "Adagrad"), parts, strict=True))
    return Row(SOURCE, "other optimizers on its network, left to the reader", None, words, None, None, "nothing is printed")


def bars(noise: tuple[float, float] = (0.0, 0.0)) -> Figure:
    """Test loss against updates for each exponent: means of ten replicates, bands of 2.5 standard errors."""
    names = ("gd", "adam", "adagrad")
    result = experiment(noisy_regression.data(0), [get(name) for name in names], (0.001, 0.001, 0.01), noise=noise)
    figure = Figure(figsize=(10, 6), layout="constrained")
    steps = np.arange(0, 1000, 50)
    for i, (axes, exponent) in enumerate(zip(figure.subplots(2, 3, sharex=True).flat, EXPONENTS, strict=True)):
        for j, (name, called) in enumerate(zip(names, ("SGD", "Adam", "Adagrad, rate 0.01"), strict=True)):
            mean, error = result.losses[i, j].mean(0), stats.sem(result.losses[i, j], axis=0)
            look = style("sgd" if name == "gd" else name)
            axes.plot(steps, mean, color=look.colour, linestyle=look.dash, label=None if i else called)
            axes.fill_between(steps, mean - 2.5 * error, mean + 2.5 * error, color=look.colour, alpha=0.2, linewidth=0)
        axes.set_title(f"exponent {exponent:g}", loc="left")
        axes.grid(alpha=0.25)
    figure.supxlabel("updates")
    figure.supylabel("test loss")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    lows = "; ".join(f"{e:g}: {result.losses[i, :, :, -1].mean(1).round(3).tolist()}" for i, e in enumerate(EXPONENTS))
    figure.set_gid(f"Test losses of SGD, Adam and Adagrad by exponent; at the last evaluation {lows}.")
    return figure


def lowest() -> Figure:
    """The lowest mean test loss of each optimizer at each exponent, as a share of the first; cut to three digits as printed."""
    names = {"SGD": "gd", "Adam": "adam"}
    losses = experiment(noisy_regression.data(0), [get(name) for name in names.values()], (0.001, 0.001)).losses.mean(2)
    figure, words = Figure(figsize=(7.6, 3.8), layout="constrained"), []
    axes = figure.subplots()
    for j, name in enumerate(names):
        best, colour = losses[:, j].min(-1), style("sgd" if name == "SGD" else "adam").colour
        shares, cut = 100 * best / losses[:, j, 0], [int(value * 1000) / 1000 for value in best]
        axes.plot(range(len(EXPONENTS)), shares, "os"[j], color=colour, label=name, markersize=7)
        for i, (share, value) in enumerate(zip(shares, cut, strict=True)):
            above = share == (100 * losses[i].min(-1) / losses[i, :, 0]).max()
            offset, align = ((0, 8), "bottom") if above else ((0, -8), "top")
            axes.annotate(f"{value:g}", (i, share), offset, textcoords="offset points", ha="center", va=align, color=colour)
        words.append(f"{name} {dict(zip(EXPONENTS, cut, strict=True))}")
    axes.set_yscale("log")
    axes.set_ylim(0.01, 250)
    axes.set_xticks(range(len(EXPONENTS)), [f"{exponent:g}" for exponent in EXPONENTS])
    axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    axes.set_xlabel("exponent of the error")
    axes.set_ylabel("% of the first test loss")
    axes.set_title("Lowest test loss in 950 updates, mean of ten replicates", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower left")
    figure.set_gid(f"The lowest mean test loss by exponent. {'; '.join(words)}.")
    return figure


def digits(count: int = 60) -> Figure:
    """The first images in rows of ten."""
    data = images(flat=False)
    figure = Figure(figsize=(6, 0.75 * -(-count // 10)), layout="constrained")
    figure.set_gid(f"The first {count} handwritten digits of MNIST.")
    for axes, image, label in zip(figure.subplots(-(-count // 10), 10).flat, data.x, data.y, strict=False):
        axes.imshow(image[0].numpy(), cmap="gray_r")
        axes.set_title(str(int(label)), fontsize=8, pad=2)
        axes.axis("off")
    return figure


def prediction(model: torch.nn.Module, index: int = 0) -> Figure:
    """A test image beside the probability that a model gives each digit."""
    data = images(mean=0.5, deviation=0.5)
    with torch.no_grad():
        chances = torch.softmax(model(data.test_x[index : index + 1]), 1)[0].numpy()
    figure = Figure(figsize=(6, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(data.test_x[index].view(28, 28).numpy(), cmap="gray_r")
    left.axis("off")
    right.barh(range(10), chances, color="#0072B2")
    right.set_yticks(range(10))
    right.invert_yaxis()
    right.set_xlim(0, 1.05)
    right.set_xlabel("probability")
    for digit, chance in enumerate(chances):
        if 0.005 <= chance < 0.85:
            right.text(chance + 0.02, digit, f"{chance:.2f}", va="center", fontsize="small")
    label, guess = int(data.test_y[index]), int(chances.argmax())
    left.set_title(f"a {label}", loc="left")
    right.set_title(f"the network says {guess}: {chances[guess]:.3f}", loc="left")
    figure.set_gid(f"A handwritten {label}; the model says {guess} with probability {chances[guess]:.3f}.")
    return figure
