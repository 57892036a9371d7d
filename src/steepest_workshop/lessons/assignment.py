"""Document 000: SGD, momentum and Adam on MNIST with one hidden layer, its seed and its loader's random draws.

Trained in exact mode (`exact=True`), which rounds as torch's loops do. The compiled kernels compute in another order, and over
thousands of steps last bits can grow to a digit that is printed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from steepest import optim
from steepest.api import compare
from steepest.problems.built_in import mnist
from steepest.problems.seeds import seeded
from steepest.rules import RULES, get, rule, zeros
from steepest.rules.vocabulary import debias, ema, sqrt
from steepest.update.torch_class.optimizer import build

from . import ON_EDGE, Row, agreed, between, claim, close_to, edge, kept, predicted
from .power import Block
from .rivals import Setting
from .training import Images, document, drawn, images, measured, mlp, train

SOURCE = "000"
# what it prints, SGD's twice alike, after 500, 1000, ..., 3000 iterations: the last batch's loss, and the test accuracy
PRINTED = {
    name: (tuple(map(float, losses.split())), tuple(map(float, accuracies.split())))
    for name, losses, accuracies in (
        ("SGD", "0.34602201 0.21451080 0.19199982 0.17146038 0.11251388 0.17320278", "91.5 92.47 93.87 94.47 95.17 95.57"),
        ("momentum", "0.10950699 0.12049893 0.11275810 0.05045485 0.01912786 0.15129447", "95.77 96.36 96.47 97.55 97.35 97.4"),
        ("Adam", "0.22579645 0.17263271 0.13682723 0.07791977 0.07298332 0.13467194", "93.31 94.72 95.54 96.41 96.9 97.21"),
    )
}
# How far a printed figure may be: an accuracy by its last digit, a loss by what rounding makes of 2,500 steps, and of 3,000.
ACCURACY, LOSS = (0.005, 0.005), (1e-6, 3e-6)
OTHERWISE = "torch's own optimizer misses it here by as much: this machine rounds otherwise than the document's"
EVERY = 500
SETS = {"MNIST": (60_000, 784), "CIFAR-10": (50_000, 3072), "ImageNet": (1_281_167, 3 * 224 * 224)}  # images, values of each
GRADIENTS = 120_000  # of single examples: two passes over the images
BATCH_RATES, FEW_RATES, SINGLE_RATES = (1.0, 2.5, 5.0), (0.3, 1.0, 3.0), (0.003, 0.01, 0.03)


def settings() -> dict[str, Setting]:
    """The optimizers that it trains with."""
    return {
        "SGD": Setting(get("sgd"), 0.1, {}),
        "momentum": Setting(get("momentum"), 0.1, {}),
        "Adam": Setting(get("adam"), 0.001, {}),
    }


def torchs(name: str) -> Callable[[Any], torch.optim.Optimizer]:
    """What makes the document's own optimizer: torch's class, and its plain loop."""
    if name == "Adam":
        return functools.partial(torch.optim.Adam, lr=0.001, foreach=False)
    return functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9 if name == "momentum" else 0.0, foreach=False)


def run(make: Callable[[Any], torch.optim.Optimizer], data: Images, steps: int = 3000) -> list[tuple[int, float, float]]:
    """Iteration, the last batch's loss and the test accuracy, every 500 iterations, drawn as the document's program draws."""
    seen: list[tuple[int, float, float]] = []
    with seeded(0):
        model = mlp((784, 100, 10))

        def record(step: int, loss: float) -> None:
            next(drawn(len(data.test_x), 100, shuffle=False))  # its test loader draws a seed too
            seen.append((step, loss, measured(model, data.test_x, data.test_y)[1]))

        train(model, make(model.parameters()), data, 100, steps, EVERY, record)
    return seen


def rows(tier: str, say: Callable[[str], None]) -> Iterator[Row]:
    """The three trainings, then ten seeds of them and of the four that the document only names."""
    data = images()
    first: dict[str, float] = {}
    yield from _packed()
    for block in blocks():
        say(f"000: {block.name}")
        made = block.made()
        first[block.name] = float(made[0].ours)  # type: ignore[arg-type]
        yield from made
    ((_, _, tenfold),) = run(maker(replace(settings()["SGD"], lr=1.0)), data, EVERY)
    words = f"accuracy after 500 iterations: {first['momentum']:.2f} %; plain SGD {first['SGD']:.2f} % at the same rate, "
    words += f"{tenfold:.2f} % at ten times the rate, which goes as far a step in a steady slope"
    holds = agreed(first["momentum"] > other for other in (first["SGD"], tenfold))
    yield claim(SOURCE, "momentum accelerates convergence", words, holds, "depends on the rate that plain SGD is given")
    yield from _undivided(say)
    yield _rounded()
    yield fits(_memory())
    if tier != "quick":
        yield from _seeds(say)
        yield from _batches(data, say)


def blocks() -> Iterator[Block]:
    """The three trainings."""
    made_of = kept.digest(run, _trained, train, mlp, PRINTED, ACCURACY, LOSS)
    for name, setting in settings().items():
        yield Block(SOURCE, name, setting, functools.partial(_trained, name), made_of)


def maker(setting: Setting) -> Callable[[Any], torch.optim.Optimizer]:
    """What makes the optimizer of a setting, which rounds as torch's loops do."""
    return lambda params: build(setting.rule, params, lr=setting.lr, exact=True, **setting.hyper)


@functools.cache
def _torchs_run(name: str) -> list[tuple[int, float, float]]:
    """What the document's own optimizer gives on this machine."""
    return run(torchs(name), images())


def _trained(name: str, setting: Setting) -> list[Row]:
    """What is printed of an optimizer beside what a setting gives.

    A figure that torch's own optimizer misses here tells no rule from another: ours is then as far from it as torch's.
    """
    rows, (losses, accuracies) = [], PRINTED[name]
    for k, (own, theirs) in enumerate(zip(run(maker(setting), images()), _torchs_run(name), strict=True)):
        for words, printed, column, near in (
            (f"{name}, accuracy after {own[0]} iterations", accuracies[k], 2, ACCURACY),
            (f"{name}, loss of batch {own[0]}", losses[k], 1, LOSS),
        ):
            row = close_to(SOURCE, words, printed, own[column], near[k == len(losses) - 1])
            away = abs(theirs[column] - printed)
            if away > near[k == len(losses) - 1] * (1 + 1e-9):
                row = replace(row, tolerance=away, holds=own[column] == theirs[column], power="consistent", alike=OTHERWISE)
            rows.append(row)
    return rows


def printout(name: str) -> str:
    """What its program prints of "SGD", "momentum" or "Adam" every 500 iterations, made by our rule in exact mode."""
    lines = (f"Iteration: {k}. Loss: {loss}. Accuracy: {right}" for k, loss, right in run(maker(settings()[name]), images()))
    return "\n".join(lines)


def constantly(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):  # type: ignore[no-untyped-def]
    """Adam as this document's formula has it: averages divided by 1 - beta, at every step alike."""
    m, v = ema(m, g, beta1), ema(v, g * g, beta2)
    return p - lr * (m / (1 - beta1)) / (sqrt(v / (1 - beta2)) + eps), m, v


def under(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):  # type: ignore[no-untyped-def]
    """Adam with epsilon under the root, as this document and the lab print it."""
    m, v = ema(m, g, beta1), ema(v, g * g, beta2)
    return p - lr * debias(m, beta1, t) / sqrt(debias(v, beta2, t) + eps), m, v


def _undivided(say: Callable[[str], None]) -> Iterator[Row]:
    """The documents' formulas for Adam, trained as the program trains, beside what it prints of torch's Adam."""
    right = _trained("Adam", settings()["Adam"])
    for function, sentence in (
        (constantly, "Adam's averages are divided by 1 - beta1 and 1 - beta2"),
        (under, "Adam's epsilon stands under the root"),
    ):
        say(f"000: {sentence}")
        made = rule("this document's formula", rate=0.001)(function)
        del RULES[made.name]
        yield by_formula(sentence, right, _trained("Adam", Setting(made, 0.001, {})))


def by_formula(sentence: str, right: Sequence[Row], found: Sequence[Row]) -> Row:
    """How many printed figures come out by a formula, and by torch's Adam; those that torch's own run misses count for none."""
    telling = [k for k, row in enumerate(right) if row.holds and row.power != "consistent"]
    hold = sum(bool(found[k].holds) for k in telling)
    words = f"of {len(telling)} printed figures that torch's Adam gives on this machine {hold} come out by that formula, whose "
    words += f"accuracies are {found[0].ours:.2f} % after 500 iterations and {found[-2].ours:.2f} % after 3,000 (printed "
    words += f"{right[0].printed:.2f} and {right[-2].printed:.2f})"
    return claim(SOURCE, sentence, words, hold == len(telling) if telling else None)


def _rounded() -> Row:
    """Adam by the compiled kernel, which rounds in another order, beside torch's own loop."""
    setting = settings()["Adam"]
    kernel = run(lambda params: build(setting.rule, params, lr=setting.lr, **setting.hyper), images())
    *_, (_, loss, right) = kernel
    apart = max(abs(own[1] - theirs[1]) for own, theirs in zip(kernel, _torchs_run("Adam"), strict=True))
    words = f"{right:.2f} % and a loss of {loss:.6g}; its losses are within {apart:.1e} of those of torch's loop"
    return Row(
        SOURCE, "Adam by the compiled kernel, after 3000 iterations", None, words, None, None, "rounded in another order"
    )


def _memory() -> int:
    """The bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fits(memory: int) -> Row:
    """Data sets of three sizes as float32 beside a machine's memory."""
    sizes = {name: 4 * images * values for name, (images, values) in SETS.items()}
    listed = ", ".join(f"{name} takes {size / 1e9:.3g} GB" for name, size in sizes.items())
    words = f"as float32 {listed}; this machine has {memory / 1e9:.0f} GB"
    holds = agreed(size > memory for size in sizes.values())
    return claim(SOURCE, "batch descent is unable to fit whole datasets in memory", words, holds, "depends on the data")


def _packed() -> Iterator[Row]:
    """The sizes of the files that it downloads, in bytes."""
    for name, printed in zip(mnist.CONTENT, (9912422, 28881, 1648877, 4542), strict=True):
        size = (mnist.folder() / f"{name}.gz").stat().st_size
        words = "the copy here is packed anew; unpacked, it has the checksum of the original"
        label = f"bytes of {name}.gz"
        if size == printed:
            yield Row(SOURCE, label, printed, size, 0, True, power="echo")
        else:
            yield Row(SOURCE, label, printed, size, 0, None, words, power="echo")


def _seeds(say: Callable[[str], None]) -> Iterator[Row]:
    """Ten seeds: the prediction interval of a single run must hold what is printed; and the four others at tuned rates."""
    say("000: seven optimizers over ten seeds")
    rates = {"sgd": 0.1, "momentum": 0.1, "adam": 0.001}
    study = compare(
        document(),
        "sgd,momentum,adam,adagrad,adadelta,adamax,rmsprop",
        schedules="constant",
        lrs=rates,
        steps=3000,
        seeds=10,
        store=":memory:",
    )
    last = {"sgd": 95.57, "momentum": 97.40, "adam": 97.21}
    for entry in study.result.entries:
        mean, se, n = entry.summary()
        name = entry.candidate.rule.name
        if mean is None or se is None:
            yield Row(SOURCE, f"{name}, ten seeds", None, None, None, None, "runs diverged")
        elif name in last:
            own, low, high = predicted([value for value in entry.values if value is not None])
            words = f"{name}, accuracy after 3000 iterations: 95 % prediction interval of a run, over {n} seeds (55,000 images)"
            row = between(SOURCE, words, last[name], float(own), float(low), float(high), "a seed in twenty lies outside")
            yield replace(row, power="consistent", alike="Adam: momentum's interval has its figure too")
        else:
            words = f"{mean:.2f} +- {se:.2f} % over {n} seeds at its tuned rate {entry.lr:g}"
            yield Row(
                SOURCE, f"{name}, which it only names, after 3000 iterations", None, words, None, None, "no number is printed"
            )


def _batches(data: Images, say: Callable[[str], None]) -> Iterator[Row]:
    """Batch, mini-batch and stochastic descent at as many gradients of single examples, each at the best of three rates."""
    say("000: batch, mini-batch and stochastic descent")
    accuracies, parts, decided = dict[str, float](), [], True
    for name, size, grid in (("batch", 60_000, BATCH_RATES), ("mini-batch", 100, FEW_RATES), ("stochastic", 1, SINGLE_RATES)):
        found = []
        for lr in grid:
            with seeded(0):
                model = mlp((784, 100, 10))
                steps = GRADIENTS // size
                train(model, optim.SGD(model.parameters(), lr=lr), data, size, steps, steps, lambda step, loss: None)
            found.append(measured(model, data.test_x, data.test_y)[1])
        accuracies[name] = max(found)
        at = found.index(accuracies[name])
        decided &= not edge(at, len(grid))
        parts.append(f"{name} {accuracies[name]:.2f} % at {grid[at]:g}")
    sentence = "batch descent is slow: every update needs all of the data"
    words = f"after {GRADIENTS:,} gradients of examples, at the best of three rates: {', '.join(parts)}"
    slow = accuracies["batch"] < min(accuracies["mini-batch"], accuracies["stochastic"])
    yield claim(SOURCE, sentence, words, slow if decided else None, ON_EDGE)
