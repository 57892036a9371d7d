"""Document 001 on a residual network of 20 layers: exponential step sizes beside other decays, and its last table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scipy import stats

from steepest.api import compare
from steepest.problems.problem import Problem

from . import Row, claim
from .compared import UNDECIDED, accuracies, against, scores
from .tutorial import RESNET18

SCHEDULES = (
    *("constant", "exponential_steps", "inverse_time", "cosine"),
    *("multi_step(milestones=(0.5,))", "multi_step(milestones=(0.33, 0.66))", "multi_step(milestones=(0.25, 0.5, 0.75))"),
)
# our names for the table's optimizers
TABLE = {"Adan": "adan", "SGD": "momentum", "Nadam": "nadam", "Adam": "adam", "Radam": "radam", "Padam": "padam"}
TABLE |= {"LAMB": "lamb", "AdamW": "adamw", "AdaBelief": "adabelief", "Adai": "adai"}


def rows(problem: Problem, say: Callable[[str], None], steps: int = 700, seeds: int = 5, trials: int = 7) -> Iterator[Row]:
    """Hours on two cores: the figure's question on what is here of CIFAR-10, and how far the order agrees with the table's."""
    where = f"{problem.about}, {steps} steps, {seeds} seeds, equal tuning"
    say("001: exponential step sizes on CIFAR-10")
    study = compare(problem, "momentum", schedules=SCHEDULES, store=":memory:", steps=steps, seeds=seeds, trials=trials)
    values = accuracies(study)
    comparisons = [against(values, f"momentum+{SCHEDULES[1]}", f"momentum+{name}", 3) for name in SCHEDULES[4:]]
    words = f"{where}; per cent: {scores(study)}; exponential steps are {', '.join(words for _, words in comparisons)}"
    leads = [lead for lead, _ in comparisons]
    holds = False if -1 in leads else None if None in leads else True
    yield claim("001", "exponential step sizes do as well as tuned step decay", words, holds, UNDECIDED)
    say("001: eleven optimizers on CIFAR-10")
    chosen = [*TABLE.values(), "sam"]
    study = compare(problem, chosen, schedules="cosine", store=":memory:", steps=steps, seeds=seeds, trials=trials)
    order = [entry.candidate.rule.name for entry in study.result.entries]
    tau = stats.kendalltau([RESNET18[name] for name in TABLE], [-order.index(name) for name in TABLE.values()])
    words = f"{where}, cosine; per cent: {scores(study)}"
    words += f"; Kendall's tau with the printed order of ten {tau.statistic:+.2f} (p = {tau.pvalue:.2g})"
    agrees = None if tau.pvalue >= 0.05 else bool(tau.statistic > 0)
    yield claim("001", "the printed order of ResNet-18 on ImageNet", words, agrees, "undecided: ten names tell too little")
