"""Why RMSprop at a rate of 0.01 collapses on the slides' network: its first steps, and the hidden units that survive them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from steepest import optim
from steepest.problems.seeds import seeded
from steepest.report.palette import COLOURS, DASHES

from .slides import BATCH, DEAD, DEVIATION, MEAN, network
from .training import Images, drawn, images


def inside(lr: float, seed: int, steps: int, data: Images) -> np.ndarray:
    """Steps of RMSprop, (steps, 3): the loss, the step's length, and the share of hidden units that tell images apart.

    A unit that is on for every image of a batch, or off for every one, says nothing of any.
    """
    seen: list[tuple[float, float, float]] = []
    telling: list[float] = []

    def note(module: nn.Module, inputs: Any, out: torch.Tensor) -> None:
        on = out > 0
        telling.append(float((on.any(0) & ~on.all(0)).float().mean()))

    with seeded(seed):
        model = network()
        model[8].register_forward_hook(note)
        optimizer = optim.RMSprop(model.parameters(), lr=lr)
        for index in itertools.islice(drawn(len(data.x), BATCH), steps):
            before = [p.detach().clone() for p in model.parameters()]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            moved = sum(float(((p.detach() - q) ** 2).sum()) for p, q in zip(model.parameters(), before, strict=True)) ** 0.5
            seen.append((loss.item(), moved, telling[-1]))
    return np.array(seen)


def collapse(steps: int = 150) -> Figure:
    """Why RMSprop at 0.01 stays at 11.35 %: its first steps move every weight by ten rates, and hidden units die of it.

    Where none is left that tells images apart, only the last biases learn: the loss stays near ln 10, and one digit is
    said of every image, most often the one, which 11.35 % of the test images are. Some starts live through it.
    """
    data = images(flat=False, mean=MEAN, deviation=DEVIATION)
    figure = Figure(figsize=(7.6, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    words = []
    for i, (lr, seed) in enumerate(((0.001, 0), (0.01, 0), (0.01, DEAD), (0.01, 2))):
        values = inside(lr, seed, steps, data) * (1, 1, 100)
        for axes, column in zip(panels, values.T, strict=True):
            axes.plot(column, color=COLOURS[i], linestyle=DASHES[i], linewidth=1.2, label=f"rate {lr:g}, start {seed}")
        words.append(
            f"at rate {lr:g} from start {seed} the first step has length {values[0, 1]:.2g}, and after {steps} steps "
            f"{values[-1, 2]:.0f} % of the hidden units tell images apart, at a loss of {values[-20:, 0].mean():.2g}"
        )
    for axes, label in zip(panels, ("loss", "length of the step", "units that tell images apart, %"), strict=True):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
    for axes in panels[:2]:
        axes.set_yscale("log")
    panels[0].axhline(np.log(10), color="#888888", linewidth=0.8)
    panels[0].text(0.6 * steps, 1.15 * np.log(10), "ln 10", color="#555555")
    panels[1].legend(frameon=False, ncols=2, fontsize="small")
    panels[2].set_xlabel("step")
    panels[0].set_title("RMSprop at 0.01: the first steps decide whether any unit is left", loc="left")
    why = (
        "Where no hidden unit is left that tells images apart, only the last biases learn: the loss stays near ln 10, and one "
    )
    why += "digit is said of every image, often the one, which 11.35 % of the test images are"
    figure.set_gid(f"RMSprop on the slides' network over {steps} steps. {why}. {'; '.join(words).capitalize()}.")
    return figure
