"""Document 003: a small convolutional network on MNIST under SGD, momentum, Nesterov, Adam, RMSprop and Adadelta.

The slides tell neither the network nor the batch size nor the scaling of the pixels; `search.py` tries some. What they print
narrows them down: two slow runs (SGD with momentum 0.5 at rates 0.001 and 0.0005), and RMSprop at 0.01, which stays at 11.35 %.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from steepest import optim
from steepest.problems.seeds import seeded
from steepest.training.ways import workers_on
from steepest.update.torch_class.optimizer import build
from steepest.update.torch_class.signature import by_class_name

from . import Row, agreed, between, claim, close_to, decided, kept, predicted, sweeps
from .rivals import Setting
from .training import Images, drawn, images, measured

SOURCE = "003"
BATCH = 128
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels
Config = tuple[str, dict[str, Any]]  # class in steepest.optim, arguments
# printed blocks: losses and correct images of 10,000 after each of ten epochs
PRINTED: tuple[tuple[Config, str, str], ...] = (
    (("SGD", {"lr": 0.0005, "momentum": 0.5}), "2.1605 1.7345 0.8599 0.5235 0.4134 0.3605 0.3239 0.2977 0.2765 0.2582",
     "5517 7321 8362 8700 8892 8977 9069 9154 9188 9240"),
    (("Adam", {"lr": 0.0005}), "0.0604 0.0331 0.0460 0.0340 0.0308 0.0292 0.0303 0.0310 0.0396 0.0393",
     "9809 9891 9850 9880 9897 9907 9908 9914 9889 9900"),
    (("RMSprop", {"lr": 0.01}), "2.3016 2.3026 2.3016 2.3011 2.3015 2.3017 2.3015 2.3016 2.3015 2.3015",
     "1135 1135 1135 1135 1135 1135 1135 1135 1135 1135"),
    (("RMSprop", {"lr": 0.001}), "0.0520 0.0571 0.0424 0.0583 0.0291 0.0414 0.0324 0.0315 0.0304 0.0411",
     "9831 9809 9864 9821 9907 9864 9903 9909 9920 9901"),
    (("RMSprop", {"lr": 0.00001}), "0.8277 0.4112 0.2947 0.2382 0.2062 0.1802 0.1598 0.1438 0.1296 0.1217",
     "8580 9013 9203 9335 9424 9475 9535 9593 9632 9665"),
    (("SGD", {"lr": 0.001, "momentum": 0.5}), "1.4816 0.4470 0.3211 0.2686 0.2310 0.2034 0.1857 0.1670 0.1527 0.1426",
     "7719 8855 9098 9231 9320 9430 9481 9524 9562 9613"),
    (("Adam", {"lr": 0.001}), "0.0478 0.0376 0.0357 0.0309 0.0275 0.0328 0.0289 0.0290 0.0325 0.0286",
     "9854 9863 9886 9898 9917 9897 9914 9901 9900 9927"),
    (("RMSprop", {"lr": 0.001}), "0.0538 0.0702 0.0437 0.0293 0.0354 0.0454 0.0294 0.0357 0.0589 0.0461",
     "9868 9832 9915 9934 9924 9906 9937 9938 9893 9923"),
    (("Adam", {"lr": 0.00025}), "0.0639 0.0472 0.0383 0.0323 0.0333 0.0420 0.0313 0.0285 0.0325 0.0293",
     "9807 9851 9875 9898 9895 9863 9898 9916 9908 9905"),
    (("RMSprop", {"lr": 0.00025}), "0.0295 0.0285 0.0312 0.0316 0.0311 0.0415 0.0414 0.0409 0.0379 0.0344",
     "9911 9917 9911 9914 9917 9898 9890 9900 9917 9928"),
)  # fmt: skip
COUNTED = 20  # starts from which RMSprop at 0.01 is looked at after one epoch
ENOUGH = 5  # starts, for an interval that is not all of Student's tail
FILE, FIRST = "slides", 100  # where ten starts of each block are kept, and the first of them
SLOW = (PRINTED[0][0], PRINTED[5][0], PRINTED[4][0])  # whose epochs tell optimizers apart
DEAD = 1  # a start from which RMSprop at 0.01 collapses in its first steps, for the picture of it
COLLAPSES, TWICE = PRINTED[2][0], PRINTED[3][0]
# settings that the blocks and the slide on Adadelta print beside the rate
SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"dampening": 0, "nesterov": False, "weight_decay": 0},
    "Adam": {"amsgrad": False, "betas": (0.9, 0.999), "eps": 1e-08, "weight_decay": 0},
    "RMSprop": {"alpha": 0.99, "centered": False, "eps": 1e-08, "momentum": 0, "weight_decay": 0},
    "Adadelta": {"rho": 0.9, "eps": 1e-6, "lr": 1.0, "weight_decay": 0},
}
# runs that the slides draw or name without numbers
DRAWN: tuple[Config, ...] = (
    ("SGD", {"lr": 0.04}),
    ("SGD", {"lr": 0.005}),
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.005, "momentum": 0.5}),
    ("SGD", {"lr": 0.001, "momentum": 0.5}),
    ("SGD", {"lr": 0.001, "momentum": 0.5, "nesterov": True}),
    ("Adam", {"lr": 0.035}),
    ("Adadelta", {"rho": 0.01}),
    ("Adadelta", {"rho": 0.9}),
    ("Adam", {"lr": 0.0005, "betas": (0.9, 0.99)}),
    ("Adam", {"lr": 0.001, "betas": (0.9, 0.99)}),
    ("Adam", {"lr": 0.001, "betas": (0.99, 0.9)}),
    ("Adam", {"lr": 0.001, "betas": (0.01, 0.01)}),
)

CLAIMED, STARTS = (*DRAWN[7:9], *DRAWN[10:12]), 2  # those that claims are made of, and their starts


def network() -> nn.Sequential:
    """Two convolutions of 5 x 5 (32 and 64 channels) with pooling, then 128 hidden units."""
    first, second = nn.Conv2d(1, 32, 5), nn.Conv2d(32, 64, 5)
    body = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10)).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def epochs(setting: Setting, data: Images, count: int, seed: int = 0) -> list[tuple[float, float]]:
    """Validation loss and accuracy after each epoch."""
    history = []
    with seeded(seed):
        model = network()
        optimizer = build(setting.rule, model.parameters(), lr=setting.lr, **setting.hyper)
        for _ in range(count):
            for index in drawn(len(data.x), BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(data.x[index]), data.y[index]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            history.append(measured(model, data.test_x, data.test_y))
    return history


_shared: list[Any] = []  # what forked processes train on


Job = tuple[Config, int, int]  # a configuration, epochs, seed


def _work(job: Job) -> list[tuple[float, float]]:
    torch.set_num_threads(1)
    config, count, seed = job
    return epochs(setting_of(config), _shared[0], count, seed)


def all_of(jobs: Sequence[Job], data: Images) -> Iterator[list[tuple[float, float]]]:
    """Train jobs, as many at a time as there are cores."""
    _shared[:] = [data]
    if "fork" not in multiprocessing.get_all_start_methods():
        yield from map(_work, jobs)
        return
    with ProcessPoolExecutor(workers_on("cpu"), mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_work, jobs)


def made_by(config: Config) -> str:
    """The digest of what an epoch of a configuration comes from."""
    own = setting_of(config)
    return kept.digest(network, epochs, BATCH, MEAN, DEVIATION, own.lr, dict(own.hyper), own.rule.digest)


def _key(config: Config, seed: int) -> str:
    return f"{_named(config)}, start {seed}"


def seeds_of(config: Config, count: int = 10, first: int = FIRST) -> list[list[tuple[float, float]]]:
    """What is kept of a configuration: validation loss and accuracy after each of ten epochs, from each of ten starts."""
    found = (kept.value(FILE, _key(config, seed), made_by(config)) for seed in range(first, first + count))
    return [[tuple(epoch) for epoch in history] for history in found if history]


def record(data: Images, starts: int = 10, say: Callable[[str], None] = print) -> None:
    """Train every printed and drawn configuration from so many starts; hours. What is kept is left out."""
    configs = [block[0] for k, block in enumerate(PRINTED) if not label_of(k).endswith(" again")]
    wanted = [(COLLAPSES, 1, FIRST + k) for k in range(COUNTED)]
    wanted += [(config, 10, FIRST + k) for k in range(starts) for config in configs if config != COLLAPSES]
    wanted += [(config, 10, FIRST) for config in DRAWN]
    wanted += [(config, 10, FIRST + k) for k in range(1, STARTS) for config in CLAIMED]
    _keep(wanted, data, say)
    dead = [FIRST + k for k in range(COUNTED) if collapsed(seeds_of(COLLAPSES, 1, first=FIRST + k)[0])]
    _keep([(COLLAPSES, 10, seed) for seed in dead], data, say)


def _keep(wanted: Sequence[Job], data: Images, say: Callable[[str], None]) -> None:
    """Train and keep what is not kept for as many epochs."""
    jobs = [job for job in wanted if len(kept.value(FILE, _key(job[0], job[2]), made_by(job[0])) or ()) < job[1]]
    for (config, _, seed), history in zip(jobs, all_of(jobs, data), strict=True):
        kept.keep(FILE, {_key(config, seed): (made_by(config), history)})
        say(f"{_key(config, seed)}: {history[-1][1]:.2f} %")


def collapsed(history: Sequence[tuple[float, float]]) -> bool:
    """Whether a run says one digit of every image after its first epoch: no digit is more than 11.35 % of them."""
    loss, right = history[0]
    return right <= 11.35 and abs(loss - np.log(10)) < 0.01


def _named(config: Config) -> str:
    class_name, arguments = config
    return f"{class_name}({', '.join(f'{k}={v}' for k, v in arguments.items())})"


def twins() -> tuple[float, float]:
    """How far the two printed runs of RMSprop at 0.001 lie apart at most: in loss, and in points of accuracy."""
    (_, *first), (_, *second) = (block for block in PRINTED if block[0] == TWICE)
    loss, right = (
        np.abs(np.array(a.split(), float) - np.array(b.split(), float)).max() for a, b in zip(first, second, strict=True)
    )
    return float(loss), float(right) / 100


def rows(tier: str, say: Callable[[str], None]) -> Iterator[Row]:
    """The settings beside the printed blocks, the blocks epoch by epoch, and, unless quick, the runs that are only drawn."""
    data = images(flat=False, mean=MEAN, deviation=DEVIATION)
    for class_name, printed in SETTINGS.items():
        group = getattr(optim, class_name)([torch.zeros(1)]).param_groups[0]
        for name, value in printed.items():
            words = f"{class_name}: default {name}"
            yield Row(SOURCE, words, str(value), str(group[name]), "equal", value == group[name], power="echo")
    words = "a misprint: 9,911 of 1,000 images cannot be right, and are called 99 %"
    yield Row(SOURCE, "images tested in the block of RMSprop(lr=0.00025)", 1000, len(data.test_x), 0, None, words, "echo")
    for name, value in (("alpha", 0.9), ("lr", 0.001)):
        ours = float(optim.RMSprop([torch.zeros(1)]).param_groups[0][name])
        yield Row(
            SOURCE, f"RMSprop: usual {name}", value, ours, 0, None, "advice of the slides; ours is torch's default", "echo"
        )
    yield from _printed()
    if tier != "quick":
        yield from _drawn(data, say)
        yield from sweeps.of_slides(say)


def setting_of(config: Config) -> Setting:
    """A configuration as a rule with its rate and hyperparameters."""
    class_name, arguments = config
    rule, hyper = by_class_name()[class_name], dict(arguments)
    lr = hyper.pop("lr", rule.rate)
    if "betas" in hyper:
        hyper["beta1"], hyper["beta2"] = hyper.pop("betas")
    return Setting(rule, lr, hyper)


def _dead() -> list[list[tuple[float, float]]]:
    """The ten epochs of the starts that collapse: a run that does is to be like them."""
    return [history for history in seeds_of(COLLAPSES, COUNTED) if collapsed(history) and len(history) == 10]


def label_of(k: int) -> str:
    """A printed block by its configuration; the second of two alike is called so."""
    config = PRINTED[k][0]
    return _named(config) + (" again" if any(config == block[0] for block in PRINTED[:k]) else "")


def _within(k: int) -> Iterator[Row]:
    """A printed block beside the prediction intervals of one more run that its starts give, epoch by epoch.

    The slides do not tell their network: the one here was chosen by what they print, so that nothing here shows that it is it.
    """
    config, losses, correct = PRINTED[k]
    found = np.array(_dead() if config == COLLAPSES else seeds_of(config))  # (starts, epochs, loss and accuracy)
    intervals = predicted(found) if len(found) >= ENOUGH else None
    why = f"unseeded, and the network is inferred; 95 % of a run over {len(found)} starts"
    if k == len(PRINTED) - 1:
        why += "; the block begins near where the one before it ends, as if its network had been trained on"
    for epoch, (loss, right) in enumerate(zip(losses.split(), correct.split(), strict=True)):
        for j, (what, printed) in enumerate((("validation loss", float(loss)), ("accuracy", int(right) / 100))):
            words = f"{label_of(k)}, epoch {epoch + 1}: {what}"
            if intervals is None:
                yield Row(SOURCE, words, printed, None, None, None, "too few starts of this rule are kept", "unscored")
                continue
            mean, low, high = (float(part[epoch, j]) for part in intervals)
            row = between(SOURCE, words, printed, mean, low, high, why)
            yield dataclasses.replace(row, power="fitted" if row.holds else "")


def _starts() -> Iterator[Row]:
    """How many starts collapse under RMSprop at 0.01: a share, with its interval; where starts are kept."""
    after = [history[0][1] for history in seeds_of(COLLAPSES, COUNTED)]
    if not after:
        return
    dead = [collapsed(history) for history in seeds_of(COLLAPSES, COUNTED)]
    low, high = stats.binomtest(sum(dead), len(dead)).proportion_ci(method="wilson")
    words = f"of {len(dead)} starts {sum(dead)} stand below 12 % after an epoch (95 %: {low:.0%} to {high:.0%} of all), "
    words += f"the best at {max(after):.1f} %"
    yield claim(SOURCE, "RMSprop at 0.01 stays at 11.35 %", words, agreed(dead), "depends on the start")


def _printed() -> Iterator[Row]:
    """The blocks, epoch by epoch, within what is kept of their starts."""
    yield from _starts()
    for k in range(len(PRINTED)):
        yield from _within(k)


def courses(data: Images | None = None) -> dict[str, list[tuple[float, float]]]:
    """Validation loss and accuracy by epoch of the runs that are only drawn: kept, or else trained where there are data."""
    found = {_named(config): seeds_of(config, 1) for config in DRAWN}
    left = [config for config in DRAWN if not found[_named(config)]]
    if data and left:
        made = all_of([(config, 10, FIRST) for config in left], data)
        found |= {_named(config): [history] for config, history in zip(left, made, strict=True)}
    return {name: histories[0] for name, histories in found.items() if histories}


def luck() -> float:
    """By how many points the last accuracies of two runs differ that differ in their start only: half a 95 % interval."""
    ends = np.array([[history[-1][1] for history in seeds_of(config, ENOUGH)] for config in (TWICE, PRINTED[6][0])])
    return float(stats.t.ppf(0.975, ends.size - len(ends)) * np.sqrt(2 * ends.var(1, ddof=1).mean()))


def _drawn(data: Images, say: Callable[[str], None]) -> Iterator[Row]:
    """The runs without printed numbers, ten epochs from one start each."""
    say(f"003: {len(DRAWN)} drawn trainings")
    seen = courses(data)
    for name, history in seen.items():
        label, accuracy = f"{name}, drawn: accuracy after {len(history)} epochs", history[-1][1]
        if name.startswith("Adadelta"):
            yield close_to(SOURCE, label, 99, accuracy, 0.5, power="fitted")
        else:
            yield Row(SOURCE, label, None, accuracy, None, None, "no number is printed")
    low, high, straight, crossed = (
        [history[-1] for history in seeds_of(config, STARTS)] or [seen[_named(config)][-1]] for config in CLAIMED
    )  # loss and accuracy after the last epoch, by start
    words = f"after ten epochs {_told(low)} at rho 0.01, {_told(high)} at 0.9"
    robust = agreed(abs(a[1] - b[1]) < luck() for a, b in zip(low, high, strict=False))
    yield claim(SOURCE, "Adadelta is robust to rho", f"{words}; equal runs differ by up to {luck():.2f} points", robust)
    more = decided((a[0] - b[0], twins()[0]) for a, b in zip(low, high, strict=False))
    yield claim(SOURCE, "Adadelta has more loss at rho 0.01", words, more, "undecided: equal runs differ by as much")
    words = f"after ten epochs {_told(crossed)} at betas 0.99, 0.9, {_told(straight)} the other way round"
    bad = decided((b[1] - a[1], luck()) for a, b in zip(crossed, straight, strict=False))
    yield claim(SOURCE, "beta1 > beta2 is bad", words, bad, "undecided: equal runs differ by as much")
    plain, nesterov = (seen[f"SGD(lr=0.001, momentum=0.5{more})"][-1][1] for more in ("", ", nesterov=True"))
    words = f"SGD with momentum 0.5 at 0.001 from one start, after ten epochs: plain {plain:.2f} %, Nesterov {nesterov:.2f} %"
    yield Row(SOURCE, "Nesterov against momentum, drawn", None, words, None, None, "no number is printed")


def _told(ends: Sequence[tuple[float, float]]) -> str:
    """Accuracies, and losses in brackets, of some starts."""
    return f"{', '.join(f'{right:.2f}' for _, right in ends)} % (loss {', '.join(f'{loss:.3f}' for loss, _ in ends)})"


if __name__ == "__main__":
    record(images(flat=False, mean=MEAN, deviation=DEVIATION))
