"""Why RMSprop at a rate of 0.01 collapses on the slides' network: its first steps, and how far its outputs differ by image."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from steepest import optim
from steepest.problems.seeds import seeded
from steepest.report.palette import COLOURS

from .labels import at_ends
from .slides import BATCH, DEAD, DEVIATION, MEAN, network
from .training import Images, drawn, images

RUNS = ((0.001, 0, "#555555"), (0.01, 0, COLOURS[0]), (0.01, DEAD, COLOURS[1]), (0.01, 2, COLOURS[3]))  # rate, start, colour
FLOOR = 1e-4  # outputs that differ by less are drawn here, at 0


def inside(lr: float, seed: int, steps: int, data: Images) -> np.ndarray:
    """Steps of RMSprop, (steps, 3): the loss, the step's length, and the outputs' standard deviation over a batch's images."""
    seen: list[tuple[float, float, float]] = []
    with seeded(seed):
        model = network()
        optimizer = optim.RMSprop(model.parameters(), lr=lr)
        for index in itertools.islice(drawn(len(data.x), BATCH), steps):
            before = [p.detach().clone() for p in model.parameters()]
            optimizer.zero_grad()
            outputs = model(data.x[index])
            loss = nn.functional.cross_entropy(outputs, data.y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            moved = sum(float(((p.detach() - q) ** 2).sum()) for p, q in zip(model.parameters(), before, strict=True)) ** 0.5
            seen.append((loss.item(), moved, float(outputs.detach().std(0).mean())))
    return np.array(seen)


def collapse(steps: int = 150) -> Figure:
    """Why RMSprop at 0.01 stays at 11.35 %: its first steps are so long that no image is told from another after them.

    All outputs of the second convolution are 0 then, so that the network's outputs are the same for every image: only the
    last biases learn, and the loss stays near ln 10. Now and then a unit comes back, and is lost in the next long step.
    """
    data = images(flat=False, mean=MEAN, deviation=DEVIATION)
    figure = Figure(figsize=(8.6, 7.4), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    words, ends = [], list[dict[str, tuple[float, str]]]([{}, {}, {}])
    for lr, seed, colour in RUNS:
        values = inside(lr, seed, steps, data)
        alike = int((values[:, 2] < FLOOR).sum())
        for k, (axes, column) in enumerate(zip(panels, values.T, strict=True)):
            column = column.clip(FLOOR) if k == 2 else column
            axes.plot(range(1, steps + 1), column, color=colour, linewidth=1.3)
            ends[k][f"rate {lr:g}, start {seed}"] = (float(np.exp(np.log(column[-10:]).mean())), colour)
        words.append(
            f"at rate {lr:g} from start {seed} the first step has length {values[0, 1]:.2g}, the outputs are the same for all "
            f"images at {alike} steps, and the loss is {values[-10:, 0].mean():.2g} at the end"
        )
    titles = ("loss: it learns, or stays at ln 10", "length of the step", "how far the outputs differ between images")
    for axes, labels, title in zip(panels, ends, titles, strict=True):
        axes.set_yscale("log")
        axes.set_title(title, loc="left", fontsize="medium")
        axes.grid(alpha=0.25)
        at_ends(axes, labels)
    panels[0].axhline(np.log(10), color="#888888", linewidth=0.8)
    panels[0].text(steps / 3, 1.2 * np.log(10), "ln 10", color="#555555", fontsize="small")
    panels[2].set_yticks([FLOOR, 1e-2, 1, 100], ["0", "0.01", "1", "100"])
    panels[2].set_xlabel("step")
    figure.suptitle("RMSprop at 0.01: two long steps, and from some starts every image looks the same", x=0.01, ha="left")
    why = "Where the outputs do not depend on the image, only the last biases learn, and one digit is said of every image"
    figure.set_gid(f"RMSprop on the slides' network over {steps} steps. {why}. {'; '.join(words).capitalize()}.")
    return figure
