"""Document 001 on a residual network of 20 layers: exponential step sizes beside other decays, and its last table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scipy import stats

from ..api import Study, compare
from ..problems.cifar10 import cifar10_resnet20
from . import Row, claim
from .tutorial import RESNET18

SCHEDULES = (
    *("constant", "exponential_steps", "inverse_time", "cosine"),
    *("multi_step(milestones=(0.5,))", "multi_step(milestones=(0.33, 0.66))", "multi_step(milestones=(0.25, 0.5, 0.75))"),
)
# our names for the table's optimizers
TABLE = {"Adan": "adan", "SGD": "momentum", "Nadam": "nadam", "Adam": "adam", "Radam": "radam", "Padam": "padam"}
TABLE |= {"LAMB": "lamb", "AdamW": "adamw", "AdaBelief": "adabelief", "Adai": "adai"}


def rows(say: Callable[[str], None], steps: int = 700, seeds: int = 5, trials: int = 7) -> Iterator[Row]:
    """Hours on two cores: the figure's question on what is here of CIFAR-10, and how far the order agrees with the table's."""
    problem = cifar10_resnet20()
    where = f"{problem.about}, {steps} steps, {seeds} seeds, equal tuning"
    say("001: exponential step sizes on CIFAR-10")
    found = compare(problem, "momentum", schedules=SCHEDULES, store=":memory:", steps=steps, seeds=seeds, trials=trials)
    told = _told(found)
    names = list(told)
    words = f"{where}; per cent: {', '.join(f'{name} {value}' for name, value in told.items())}"
    ahead = names.index("momentum+exponential_steps") < names.index("momentum+constant")
    yield claim("001", "exponential step sizes do as well as tuned step decay", words, None if ahead else False)
    say("001: eleven optimizers on CIFAR-10")
    chosen = [*TABLE.values(), "sam"]
    found = compare(problem, chosen, schedules="cosine", store=":memory:", steps=steps, seeds=seeds, trials=trials)
    told = _told(found)
    ours = [-list(told).index(name) for name in TABLE.values()]
    tau = stats.kendalltau([RESNET18[name] for name in TABLE], ours)
    words = f"{where}, cosine; per cent: {', '.join(f'{name} {value}' for name, value in told.items())}"
    words += f"; Kendall's tau with the printed order of ten {tau.statistic:+.2f} (p = {tau.pvalue:.2g})"
    yield claim("001", "the printed order of ResNet-18 on ImageNet", words, None)


def _told(study: Study) -> dict[str, str]:
    """Mean and standard error of each candidate, best first."""
    told = {}
    for entry in study.result.entries:
        mean, se, _ = entry.summary()
        told[entry.candidate.label] = "diverged" if mean is None else f"{mean:.2f} +- {se or 0:.2f}"
    return told
