"""Document 001: least squares to 8 digits, what a batch costs, schedules, momentum, and the optimizers it names on MNIST."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from steepest import optim, problems, rules, schedules, surfaces
from steepest.api import compare
from steepest.problems import download
from steepest.problems.built_in import tables
from steepest.problems.seeds import seeded
from steepest.surfaces import optimality
from steepest.training.single import train

from . import MUCH, NOT_HERE, Row, agreed, batches, claim, close_to, decided, kept, spread
from .compared import LOOKS, UNDECIDED, against, as_good, settled
from .power import Block
from .rivals import Setting
from .training import Images, document, drawn, images, measured, mlp

SOURCE = "001"
# w before batches 0 and 50 of each epoch, and at the end
TRACE = """
0. 0. 0.4391737 0.41735388 0.45621431 0.43296123 0.50458588 0.46953377 0.50659246 0.46976394 0.51664408 0.46913792
0.51715596 0.46786206 0.52339741 0.46367398 0.52374047 0.4622501 0.5295512 0.45779193 0.52985556 0.456353 0.53556725 0.45194588
0.53584598 0.45050492 0.54149192 0.44617918 0.54174661 0.44473749 0.54733087 0.44049501 0.54756198 0.43905271
0.55308576 0.43489257 0.55329364 0.43344969 0.55875783 0.42937075 0.55894282 0.42792729
"""
# ten of its tumours by number: diagnosis, radius, texture, perimeter, area, smoothness, compactness
SAMPLE = """
90 B 14.620 24.02 94.57 662.7 0.08974 0.08606
35 M 16.740 21.59 110.10 869.5 0.09610 0.13360
101 B 6.981 13.43 43.79 143.5 0.11700 0.07568
118 M 15.780 22.91 105.70 782.6 0.11550 0.17520
433 M 18.820 21.97 123.70 1110.0 0.10180 0.13890
530 B 11.750 17.56 75.89 422.9 0.10730 0.09713
525 B 8.571 13.10 54.53 221.3 0.10360 0.07632
42 M 19.070 24.81 128.30 1104.0 0.09081 0.21900
497 B 12.470 17.31 80.45 480.1 0.08928 0.07630
337 M 18.770 21.43 122.90 1092.0 0.09116 0.14020
"""
# rule, hyperparameter, what the tutorial gives
DEFAULTS: tuple[tuple[Any, ...], ...] = (
    ("adagrad", "lr", 0.01),
    ("adagrad", "eps", 1e-10),
    ("adagrad", "eps", 1e-8, "it gives 1e-8 in words and torch's 1e-10 in code"),
    ("adagrad", "initial_accumulator_value", 0.0),
    ("rmsprop", "alpha", 0.99),
    ("rmsprop", "alpha", 0.9, "it gives 0.9 in words and torch's 0.99 in code"),
    ("adam", "beta1", 0.9),
    ("adam", "beta2", 0.999),
    ("adam", "eps", 1e-8),
    ("adamw", "weight_decay", 0.01),
)
IDS = "861648 854253 862722 864877 908445 91858 91805 855625 914580 897630"
NAMED = "sgd,momentum,nesterov,adagrad,rmsprop,adam,adamw,adabelief,madgrad,adan,schedule_free_sgd,schedule_free_adamw"
# ImageNet, top-1 per cent: ResNet-50 and ResNet-101 after 100, 200, 300 epochs; ConvNeXt after 150 and 300; ResNet-18
RESNET = {
    "SAM": (77.3, 78.7, 79.4, 79.5, 81.1, 81.6),
    "SGD-M": (77.0, 78.6, 79.3, 79.3, 81.0, 81.4),
    "Adam": (76.9, 78.4, 78.8, 78.4, 80.2, 80.6),
    "AdamW": (77.0, 78.9, 79.3, 78.9, 79.9, 80.4),
    "LAMB": (77.0, 79.2, 79.8, 79.4, 81.1, 81.3),
    "Adan": (78.1, 79.7, 80.2, 79.9, 81.6, 81.8),
}
CONVNEXT = {
    "Tiny, AdamW": (81.2, 82.1),
    "Tiny, Adan": (81.7, 82.4),
    "second, AdamW": (82.2, 83.1),
    "second, Adan": (82.5, 83.3),
}
RESNET18 = {"Adan": 70.90, "SGD": 70.23, "Nadam": 68.82, "Adam": 63.79, "Radam": 67.62, "Padam": 70.07, "LAMB": 68.46,
            "AdamW": 67.93, "AdaBelief": 70.08, "Adai": 69.68}  # fmt: skip
RATE = 1e-3  # of its least squares
FAR = "it needs days on several GPUs; cited, not trained"


def trace(setting: Setting | None = None) -> dict[int, np.ndarray]:
    """The weights after each update of the tutorial's least squares, by our own rule and trainer."""
    chosen = setting or Setting(rules.get("sgd"), RATE, {})
    seen = {0: np.zeros(2)}

    def watch(k: int, model: torch.nn.Module) -> None:
        seen[k] = model.weight.detach().numpy()[0].copy()  # type: ignore[operator]

    train(problems.get("breast-cancer"), chosen.rule, lr=chosen.lr, steps=570, seed=0, hyper=dict(chosen.hyper), on_step=watch)
    return seen


def _traced(setting: Setting) -> list[Row]:
    """The printed weights of least squares beside those that a setting gives."""
    printed, seen, rows = np.array(TRACE.split(), float).reshape(-1, 2), trace(setting), []
    for i, point in enumerate(printed):
        k = 57 * (i // 2) + 50 * (i % 2) if i < len(printed) - 1 else 570
        for j, name in enumerate(("radius", "area")):
            words = f"least squares, weight of {name} after {k} updates"
            own = float(seen[k][j]) if k in seen else np.nan  # a wrong rule may have diverged before
            rows.append(close_to(SOURCE, words, float(point[j]), own, 5.1e-9, power="" if k else "echo"))
    return rows


def blocks() -> Iterator[Block]:
    """The tutorial's one training that can be had to the digit."""
    setting = Setting(rules.get("sgd"), RATE, {})
    yield Block(SOURCE, "least squares", setting, _traced, kept.digest(trace, _traced, TRACE))


def fit() -> Figure:
    """The tumours and the plane that least squares lays through them, in space."""
    problem, w = problems.get("breast-cancer"), trace()[570]
    (x,), y = problem.train.batch(slice(0, len(problem.train)))
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    axes.scatter(x[:, 0], x[:, 1], y[:, 0], s=9, color="#0072B2", label="tumours")
    across = np.linspace(-2.5, 5.5, 12)
    a, b = np.meshgrid(across, across)
    axes.plot_surface(a, b, w[0] * a + w[1] * b, color="#D55E00", alpha=0.3, linewidth=0, label="Xw after 570 updates")
    axes.set_title("Least squares: the plane through the tumours", loc="left")
    axes.set_xlabel("mean radius, standardised")
    axes.set_ylabel("mean area, standardised")
    axes.set_zlabel("mean perimeter, standardised")
    axes.legend(frameon=False)
    figure.set_gid(f"569 tumours and the plane with weights {w[0]:.4f} and {w[1]:.4f}, which passes through them.")
    return figure


def rows(tier: str, say: Callable[[str], None]) -> Iterator[Row]:
    """What the tutorial prints, its claims, and its tables."""
    say("001: least squares")
    for block in blocks():
        yield from block.made()
    count = len(problems.get("breast-cancer").train) // 10
    yield close_to(SOURCE, "batches of 10 in an epoch of least squares", 56, count, 0, power="echo")
    yield from _sample()
    for row, updates in zip(batches.cost(), (10, 100, 1000), strict=True):
        words = f"updates of 10 epochs, {row['method']} descent, m = {row['m']}"
        yield close_to(SOURCE, words, updates, row["updates"], 0, power="echo")
    for name, letter, value, *reason in DEFAULTS:
        ours = float(rules.get(name).settings()[letter])
        yield Row(
            SOURCE, f"{name}: default {letter}", value, ours, 0, None if reason else ours == value, "".join(reason), "echo"
        )
    multi = schedules.multi_step((50, 80, 100), 0.1)
    for epoch, value in ((49, 1.0), (50, 0.1), (80, 0.01), (100, 0.001)):
        words = f"MultiStep [50, 80, 100] by 0.1: multiplier in epoch {epoch}"
        yield close_to(SOURCE, words, value, multi(epoch, 120), 1e-12, power="echo")
    yield from _optimality()
    yield from _descent()
    for name, values in RESNET.items():
        for (depth, epochs), value in zip(((d, e) for d in (50, 101) for e in (100, 200, 300)), values, strict=True):
            yield Row(SOURCE, f"ImageNet, ResNet-{depth}, {epochs} epochs, {name}", value, NOT_HERE, None, None, FAR, "cited")
    for name, pair in CONVNEXT.items():
        for epochs, value in zip((150, 300), pair, strict=True):
            yield Row(SOURCE, f"ImageNet, ConvNeXt {name}, {epochs} epochs", value, NOT_HERE, None, None, FAR, "cited")
    for name, value in RESNET18.items():
        yield Row(SOURCE, f"ImageNet, ResNet-18, {name}", value, NOT_HERE, None, None, FAR, "cited")
    if tier != "quick":
        yield from _qualities()
        yield from _plateau(say)
        yield from _named(say)


def _sample() -> Iterator[Row]:
    """The rows of data that it shows, in scikit-learn's copy."""
    features, diagnoses = tables.tumours()
    for line in SAMPLE.split("\n")[1:-1]:
        number, diagnosis, *values = line.split()
        row, called = features[int(number)], "MB"[int(diagnoses[int(number)])]
        yield Row(SOURCE, f"tumour {number}: diagnosis", diagnosis, called, "equal", diagnosis == called, power="echo")
        for name, value, own in zip(tables.FEATURES, values, row, strict=False):
            yield close_to(SOURCE, f"tumour {number}: {name}", float(value), float(own), 0, power="echo")
    yield from _official(1 + features.shape[1])


def _official(columns: int) -> Iterator[Row]:
    """What only the tutorial's own file can show: in $STEEPEST_DATA/cancer/cancer_dataset.csv, where a user has it."""
    path = download.folder("cancer") / "cancer_dataset.csv"
    if not path.is_file():
        words = f"scikit-learn's copy of the data has no ids of patients, and the tutorial's file {path.name} is not here"
        yield Row(SOURCE, "ids of ten patients", IDS, NOT_HERE, None, None, words, "echo")
        words = "its file also has an id and an empty column; scikit-learn's copy has a diagnosis and 30 features"
        yield Row(SOURCE, "columns of the table", 33, columns, 0, None, words, "echo")
        return
    with path.open(encoding="utf-8", newline="") as file:
        heading, *table = csv.reader(file)
    numbers = [int(line.split()[0]) for line in SAMPLE.split("\n")[1:-1]]
    ids = " ".join(table[number][heading.index("id")] for number in numbers if number < len(table))
    yield Row(SOURCE, "ids of ten patients", IDS, ids, "equal", ids == IDS, "another file", "echo")
    yield close_to(SOURCE, "columns of the table", 33, len(heading), 0, "another file", "echo")


def _optimality() -> Iterator[Row]:
    convex, why = optimality.convexity(surfaces.get("plateau"))
    count = len(optimality.stationary(surfaces.get("plateau")))
    holds = count == 1 and convex is False
    yield claim(SOURCE, "unimodal functions are not always convex", f"the plateau has {count} stationary point; {why}", holds)
    example = optimality.schwarz(surfaces.get("schwarz"))
    yield claim(SOURCE, "the Hessian is not always symmetric", example or "no example", example is not None)


def _descent() -> Iterator[Row]:
    raw, standard = batches.scaling()
    words = (
        f"after 2,000 steps {raw['left']:.2g} of the excess loss is left raw, {standard['left']:.2g} standardised; the closed "
    )
    words += f"form's loss is {raw['exact']:.6g} and {standard['exact']:.6g}"
    holds = raw["left"] > MUCH * standard["left"] and np.isclose(raw["exact"], standard["exact"])
    yield claim(SOURCE, "descent needs features in one range; the closed form does not", words, bool(holds))
    rates = {row["m"]: row["largest rate"] for row in batches.largest_rates()}
    sizes = sorted(rates)
    words = "after 20 epochs the largest rate is " + ", ".join(f"{rates[m]:.2g} for batches of {m}" for m in sizes)
    grows = agreed(rates[a] < rates[b] for a, b in itertools.pairwise(sizes))
    yield claim(SOURCE, "larger batches allow larger rates", words, grows, "depends on the size; all at once has few updates")
    heavy = {row["m"]: row["largest rate"] for row in batches.largest_rates(momentum=0.9)}
    words = (
        f"with momentum 0.9 the largest rate falls from {heavy[569]:.2g} (all) to {heavy[10]:.2g} (10) and {heavy[1]:.2g} (1)"
    )
    yield claim(SOURCE, "momentum works in larger batches and may break in smaller ones", words, heavy[569] > MUCH * heavy[1])
    hit = {row["m"]: row for row in batches.outliers()}
    words = (
        f"the worst clean excess of the last epoch is {hit[1]['worst']:.2g} for single examples, {hit[569]['worst']:.2g} all"
    )
    yield claim(
        SOURCE, "outliers take stochastic descent to undesirable areas", words, hit[1]["worst"] > MUCH * hit[569]["worst"]
    )


def _qualities() -> Iterator[Row]:
    """The table of what the three kinds of descent are like: accuracy, speed of an update, memory, examples as they come."""
    by_size = {row["m"]: row for row in batches.qualities()}
    methods = {"batch": by_size[569], "mini-batch": by_size[10], "stochastic": by_size[1]}

    def values_of(key: str, unit: str) -> str:
        return ", ".join(f"{name} {row[key]:.3g}{unit}" for name, row in methods.items())

    batch, few, single = methods.values()
    start = float(batches.excess(batches.data(), np.zeros(2)))
    words = f"excess loss after 20 epochs at the best rate, {start:.3g} at the start: {values_of('excess', '')}"
    yield claim(
        SOURCE, "the accuracy of all three is good", words, all(row["excess"] < start / MUCH for row in methods.values())
    )
    slower = batch["ns an update"] > few["ns an update"] > single["ns an update"]
    yield claim(SOURCE, "an update is slow, medium, fast", values_of("ns an update", " ns"), slower)
    more = batch["bytes held"] > few["bytes held"] > single["bytes held"]
    words = f"most memory that the gradient of one update took: {values_of('bytes held', ' bytes')}"
    yield claim(SOURCE, "memory is high, medium, low", words, more)
    yield _closer()
    counts = {name: row["updates of half"] for name, row in methods.items()}
    words = "while the examples arrive one by one, there were updates by the time of half of them: "
    words += ", ".join(f"{name} {count}" for name, count in counts.items())
    holds = counts["batch"] == 0 and counts["mini-batch"] > 0 and counts["stochastic"] > 0
    yield claim(SOURCE, "mini-batches and single examples learn online", words, holds)


def _closer() -> Row:
    """Whether mini-batches end nearer than single examples, each at its best rate, over as many orders as that takes."""
    ends, few, single = batches.ends, 10, 1
    for count in (100, 200, 400, 800):
        left = {size: ends(size, seeds=count) for size in (few, single)}
        mean, half = spread(left[single] - left[few], 0.05 / 4)
        if abs(mean) > half:
            break
    words = f"excess loss {left[few].mean():.2g} with batches of 10, {left[single].mean():.2g} singly, "
    words += f"over {count} orders of the data; difference {mean:.1g} +- {half:.1g}"
    closer = mean > 0 if abs(mean) > half else None
    return claim(SOURCE, "mini-batches get a little closer to the minimum", words, closer, UNDECIDED)


def _plateau(say: Callable[[str], None]) -> Iterator[Row]:
    """Nesterov's momentum with ReduceLROnPlateau for 6,000 iterations, fed each epoch's accuracy, from five starts.

    The tutorial's program passes on the accuracy of the last 500th iteration, which may be an epoch old. Its text reduces the
    rate by a factor of 2 to 10, its program by 10.
    """
    say("001: Nesterov and ReduceLROnPlateau on MNIST")
    data, starts = images(), range(5)
    ends = {0: [_ten_epochs(data, schedules.constant(), start) for start in starts]}
    for factor in (2, 5, 10):
        ends[factor] = [_ten_epochs(data, schedules.plateau(1 / factor, 0, 1e-4), start) for start in starts]
    yield reduced(ends)


def _ten_epochs(data: Images, schedule: schedules.Schedule, seed: int) -> tuple[float, float]:
    """The accuracy after ten epochs, and the last rate."""
    with seeded(seed):
        model = mlp((784, 100, 10))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        driver = schedule.to_torch(optimizer, 10)
        driver.sign = -1.0  # an accuracy, larger being better
        for _ in range(10):
            for index in drawn(len(data.x), 100):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(data.x[index]), data.y[index])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            accuracy = measured(model, data.test_x, data.test_y)[1]
            driver.step(accuracy)
        return accuracy, float(optimizer.param_groups[0]["lr"])


def reduced(ends: Mapping[int, Sequence[tuple[float, float]]]) -> Row:
    """Accuracies and last rates by the factor of a plateau's reduction, 0 for a constant rate."""
    right = {factor: np.array(own)[:, 0] for factor, own in ends.items()}
    gains = {factor: spread(right[factor] - right[0], 0.05 / (len(right) - 1)) for factor in right if factor}
    parts = []
    for factor, (mean, half) in gains.items():
        rates = [rate for _, rate in ends[factor]]
        gain = f"gain {mean:+.2f} +- {half:.2f}, last rates {min(rates):.0e} to {max(rates):.0e}"
        parts.append(f"by {factor} {right[factor].mean():.2f} % ({gain})")
    words = (
        f"accuracy {right[0].mean():.2f} % at a constant rate, reduced on a plateau {', '.join(parts)}; {len(right[0])} starts"
    )
    holds = decided(gains.values())
    return claim(SOURCE, "models benefit from reducing the rate once learning stops improving", words, holds, UNDECIDED)


def _named(say: Callable[[str], None]) -> Iterator[Row]:
    """A sheet for each optimizer that the tutorial describes, on MNIST at equal tuning; and what it says of each."""
    say("001: twelve optimizers on MNIST at equal tuning")
    problem = document()
    study = compare(problem, NAMED, schedules="constant", seeds=20, store=":memory:")
    pairs = [("adabelief", "adam"), ("adabelief", "momentum"), ("madgrad", "adam"), ("madgrad", "momentum")]
    pairs += [("adan", "adam")]
    values, asked = settled(problem, study, pairs, len(pairs)), len(pairs) * LOOKS
    for entry in study.result.entries:
        name, (mean, se, n) = entry.candidate.rule.name, entry.summary()
        words = "diverged" if mean is None else f"{mean:.2f} +- {se:.2f} % over {n} seeds at rate {entry.lr:g}"
        words += f", {entry.state_bytes // 1024} KiB of state"
        words += "".join(f"; {against(values, name, other, asked)[1]}" for other in ("momentum", "adam") if other != name)
        label = f"{name}: 1,000 steps on MNIST at equal tuning"
        yield Row(SOURCE, label, None, words, None, None, "no number is printed")
    for name, printed in (
        ("adabelief", "AdaBelief is as fast as adaptive methods and generalises as SGD"),
        ("madgrad", "MADGRAD is as fast as adaptive methods and generalises as SGD"),
    ):
        verdicts = [against(values, name, other, asked) for other in ("adam", "momentum")]
        leads = [lead for lead, _ in verdicts]
        worst = -1.0 if -1.0 in leads else None if None in leads else 0.0
        yield as_good(SOURCE, printed, ", ".join(words for _, words in verdicts), worst)
    yield king({name: against(values, "adam", name, asked) for name in NAMED.split(",") if name != "adam"})
    lead, words = against(values, "adan", "adam", asked)
    yield claim(SOURCE, "Adan is faster than Adam", words, None if lead is None else lead > 0, UNDECIDED)
    state_bytes = {entry.candidate.rule.name: entry.state_bytes for entry in study.result.entries}
    ratio = state_bytes["adan"] / state_bytes["adam"]
    holds = False if ratio <= 1 else True if ratio < 1.25 else None
    words = f"{ratio:.2f} times Adam's state"
    yield claim(SOURCE, "Adan has a slightly higher memory cost than Adam", words, holds, "higher, and not slightly")


def king(leads: Mapping[str, tuple[float | None, str]]) -> Row:
    """Whether no optimizer is better than Adam at equal tuning."""
    better = [name for name, (ahead, _) in leads.items() if ahead == -1]
    unknown = [name for name, (ahead, _) in leads.items() if ahead is None]
    words = f"at equal tuning on MNIST {', '.join(better) or 'none'} of {len(leads)} others are better than Adam"
    words += f", undecided against {', '.join(unknown)}" if unknown else ""
    holds = False if better else None if unknown else True
    return claim(SOURCE, "Adam is the king of optimizers", words, holds, UNDECIDED)
