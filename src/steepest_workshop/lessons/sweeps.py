"""What the documents say of optimizers on networks, with every optimizer at the best of several rates.

Each question has a grid of settings, trained from some starts. The first CHOOSING starts choose each side's setting and the
others compare them, so that no side gains by its choice. A verdict is a pure function of the accuracies.

`python -m steepest_workshop.lessons.sweeps` trains the grids that are not recorded, half an hour on two cores.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steepest import schedules
from steepest.problems.problem import Problem
from steepest.rules import Rule, get
from steepest.rules.combinators import switch
from steepest.study.verdicts import ACCURACY_MARGIN
from steepest.training.stacked import Run

from . import ON_EDGE, Row, claim, decided, edge, kept, shares, spread
from .compared import UNDECIDED, trained
from .training import document, mlp

Array = NDArray[np.float64]
Trial = tuple[Rule, float, dict[str, Any]]  # a rule, its rate and other hyperparameters
Table = Mapping[Any, Array]  # what is compared: accuracies in per cent (settings, starts)
FILE = "sweeps"
CHOOSING, JUDGING = 4, 12  # starts
MOMENTA, MOMENTUM_RATES = ("sgd", "momentum", "nesterov"), (0.01, 0.03, 0.1, 0.3, 1.0)
STABLE_RATES = tuple(10.0 ** np.arange(-5, 1.1, 0.5))
EPSILONS, EPSILON_RATES = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3), (0.001, 0.003, 0.01, 0.03)
BETAS, BETA_RATES = ((0.9, 0.5), (0.95, 0.8), (0.99, 0.9)), (0.0003, 0.001, 0.003, 0.01, 0.03)
RHOS, RHO_RATES = (0.01, 0.5, 0.9, 0.99), (0.3, 1.0, 3.0, 10.0)
SHARES, SHARE_RATES = (0.5, 0.9, 0.99, 0.999), (0.0003, 0.001, 0.003, 0.01)
FIRST, SECOND, SWITCHES = (0.0003, 0.001, 0.003, 0.01), (0.03, 0.1, 0.3, 1.0), (1000, 2000, 2700)
PLANS, PLAN_RATES = (
    ("constant", "step(gamma=0.3)", "cosine"),
    {"madgrad": (0.001, 0.003, 0.01, 0.03, 0.1), "momentum": (0.03, 0.1, 0.3, 1.0)},
)
DECAYS = {
    "exponential_steps": "exponential steps",
    "multi_step(milestones=(0.5,))": "one milestone",
    "multi_step(milestones=(0.5, 0.75))": "two",
    "multi_step(milestones=(0.25, 0.5, 0.75))": "three",
}
DECAY_RATES = (0.03, 0.1, 0.3, 1.0)  # of SGD with momentum
STEPS, LONG = 1000, 3000


def swept(
    problem: Callable[[], Problem],
    made: Mapping[Any, Sequence[Trial]],
    steps: int = STEPS,
    schedule: str = "constant",
    starts: int = CHOOSING + JUDGING,
    keep: bool = False,
) -> dict[Any, Array]:
    """Test accuracies (settings, starts), 0 where a run diverged: as recorded, or else trained (and recorded if `keep`)."""
    keys = {name: f"{problem.__name__}: {name}, {_listed(made[name])}, {schedule}" for name in made}
    digests = {name: _digest(problem, made[name], steps, schedule, starts) for name in made}
    found = {name: kept.value(FILE, keys[name], digests[name]) for name in made}
    missing = [name for name in made if found[name] is None]
    runs = [
        Run(rule, lr, start, steps, test=True, hyper=hyper, schedule=schedules.get(schedule))
        for name in missing
        for rule, lr, hyper in made[name]
        for start in range(starts)
    ]
    table = np.nan_to_num(trained(problem(), runs, -1, starts)) if runs else np.zeros((0, starts))
    at = np.cumsum([len(made[name]) for name in missing])[:-1]
    found |= dict(zip(missing, np.split(table, at), strict=True)) if missing else {}
    if keep and missing:
        kept.keep(FILE, {keys[name]: (digests[name], np.round(found[name], 2).tolist()) for name in missing})
    return {name: np.array(found[name], float) for name in made}


def _listed(settings: Sequence[Trial]) -> str:
    return f"{settings[0][0].name} at " + " ".join(f"{lr:g}" for _, lr, _ in settings)


def _digest(problem: Callable[[], Problem], settings: Sequence[Trial], steps: int, schedule: str, starts: int) -> str:
    """The digest of what a table comes from."""
    own = [(rule.digest, rule.settings(**hyper, lr=lr)) for rule, lr, hyper in settings]
    return kept.digest(problem, mlp, own, steps, schedule, starts)


def best(values: Array) -> int:
    """The setting with the best mean over the choosing starts."""
    return int(values[:, :CHOOSING].mean(1).argmax())


def judged(values: Array) -> Array:
    """The accuracies of the best setting over the judging starts."""
    return values[best(values), CHOOSING:]


def inside(*tables: Array) -> bool:
    """Whether every best setting has worse ones on both sides, so that no better one lies beyond its grid."""
    return not any(edge(best(values), len(values)) for values in tables)


def if_inside(holds: bool | None, reason: str, *tables: Array) -> tuple[bool | None, str]:
    """An answer and the reason where there is none, and no answer where a best setting lies on its grid's edge."""
    return (holds, reason) if inside(*tables) else (None, ON_EDGE)


def lead(a: Array, b: Array, asked: int = 1) -> tuple[float, float]:
    """By how much the first is ahead, each at its best setting, and half the width of the interval, of so many at once."""
    return spread(judged(a) - judged(b), 0.05 / asked)


def on_networks(say: Callable[[str], None], keep: bool = False) -> Iterator[Row]:
    """What document 001 says of momentum, AdaBelief, epsilon and MADGRAD's schedule."""
    say("001: momentum and Nesterov on MNIST, rate by rate")
    yield from momenta(swept(document, {name: [(get(name), lr, {}) for lr in MOMENTUM_RATES] for name in MOMENTA}, keep=keep))
    say("001: how stable AdaBelief trains")
    names = ("adabelief", "adam", "momentum")
    yield stable(swept(document, {name: [(get(name), lr, {}) for lr in STABLE_RATES] for name in names}, keep=keep))
    say("001: Adam's epsilon")
    adam = get("adam")
    yield from epsilon(
        swept(document, {eps: [(adam, lr, {"eps": eps}) for lr in EPSILON_RATES] for eps in EPSILONS}, keep=keep)
    )
    made: dict[Any, list[Trial]] = {
        (name, plan): [(get(name), lr, {}) for lr in rates] for name, rates in PLAN_RATES.items() for plan in PLANS
    }
    say("001: exponential step sizes and step decay with one, two or three milestones")
    momentum = get("momentum")
    own: list[Trial] = [(momentum, lr, {}) for lr in DECAY_RATES]
    yield stepwise({plan: swept(document, {plan: own}, schedule=plan, keep=keep)[plan] for plan in DECAYS})
    say("001: MADGRAD with the schedule and momentum of SGD")
    yield planned({key: swept(document, {key: made[key]}, schedule=key[1], keep=keep)[key] for key in made})


def of_slides(say: Callable[[str], None], keep: bool = False) -> Iterator[Row]:
    """What document 003 says of Adam's betas, Adadelta's rho and RMSprop's usual setting."""
    adam = get("adam")
    say("003: Adam's betas, rate by rate")
    orders = [pair for own in BETAS for pair in (own, own[::-1])]
    yield crossed(
        swept(document, {b: [(adam, lr, {"beta1": b[0], "beta2": b[1]}) for lr in BETA_RATES] for b in orders}, keep=keep)
    )
    say("003: Adadelta's rho")
    yield from robust(
        swept(document, {rho: [(get("adadelta"), lr, {"rho": rho}) for lr in RHO_RATES] for rho in RHOS}, keep=keep)
    )
    say("003: RMSprop's usual setting")
    rmsprop = get("rmsprop")
    yield usual(swept(document, {beta: [(rmsprop, lr, {"alpha": beta}) for lr in SHARE_RATES] for beta in SHARES}, keep=keep))


def of_lab(say: Callable[[str], None], keep: bool = False) -> Iterator[Row]:
    """What document 002 says of Adam followed by SGD."""
    say("002: Adam first, then SGD")
    adam, sgd = get("adam"), get("sgd")
    made: dict[str, list[Trial]] = {
        "Adam": [(adam, lr, {}) for lr in FIRST],
        "SGD": [(sgd, lr, {}) for lr in SECOND],
    }
    alone = swept(document, made, LONG, keep=keep)
    first = FIRST[best(alone["Adam"])]
    after: list[Trial] = [(switch(adam, sgd, at=at, then_ratio=lr / first), first, {}) for at in SWITCHES for lr in SECOND]
    yield switched({**alone, "both": swept(document, {"both": after}, LONG, keep=keep)["both"]})


def momenta(table: Table) -> Iterator[Row]:
    """Momentum beside plain descent, and Nesterov's beside momentum, at the best rates and at equal ones."""
    for a, b, printed in (("momentum", "sgd", shares.FASTER), ("nesterov", "momentum", shares.BETTER)):
        mean, half = lead(table[a], table[b])
        equal = [spread(x[CHOOSING:] - y[CHOOSING:], 0.05) for x, y in zip(table[a], table[b], strict=True)]
        ahead = ", ".join(
            f"{gain:+.2f} +- {width:.2f} at {lr:g}" for (gain, width), lr in zip(equal, MOMENTUM_RATES, strict=True)
        )
        parts = [f"{name} {judged(table[name]).mean():.2f} % at {MOMENTUM_RATES[best(table[name])]:g}" for name in (a, b)]
        words = (
            f"{STEPS:,} steps, {JUDGING} starts, best rates chosen on others: {', '.join(parts)}, {mean:+.2f} +- {half:.2f}; "
        )
        words += f"at equal rates {ahead}"
        holds = if_inside(decided([(mean, half)]), UNDECIDED, table[a], table[b])
        yield claim("001", f"{printed} (a network on MNIST)", words, *holds)


def stable(table: Table) -> Row:
    """Over how many decades of rates an optimizer trains to within a point of its best."""
    widths, parts = {}, []
    for name, values in table.items():
        means = values.mean(1)
        widths[name] = 0.5 * int((means > means.max() - 1).sum())
        scatter = values[int(means.argmax())].std(ddof=1)
        parts.append(f"{name} {widths[name]:g} decades (its starts vary by {scatter:.2f} points at its best)")
    words = f"rates within a point of the best after {STEPS:,} steps on MNIST: {', '.join(parts)}"
    gains = [(widths["adabelief"] - widths[name], 0.25) for name in ("adam", "momentum")]  # half a step of the grid
    return claim("001", "AdaBelief trains stably", words, decided(gains), "as stable as some; its paper's GANs are not here")


def epsilon(table: Table) -> Iterator[Row]:
    """Adam's epsilon, each at its best rate: whether 1e-8 is the best, and whether it matters once the rate is tuned."""
    parts = [f"{eps:g}: {judged(values).mean():.2f} % at {EPSILON_RATES[best(values)]:g}" for eps, values in table.items()]
    others = {eps: lead(values, table[1e-8], len(table) - 1) for eps, values in table.items() if eps != 1e-8}
    top = max(others, key=lambda eps: others[eps][0])
    words = f"accuracy after {STEPS:,} steps at the best rate, by epsilon: {', '.join(parts)}; "
    words += f"{top:g} gains {others[top][0]:+.2f} +- {others[top][1]:.2f} over 1e-8"
    better = (
        True if others[top][0] > others[top][1] else False if all(m + h < ACCURACY_MARGIN for m, h in others.values()) else None
    )
    tables = table.values()
    yield claim("001", "the default epsilon 1e-8 may not be the best", words, *if_inside(better, UNDECIDED, *tables))
    far = max(abs(mean) + half for mean, half in others.values())
    apart = any(abs(mean) - half > ACCURACY_MARGIN for mean, half in others.values())
    words = f"from 1e-12 to 1e-3, with the rate tuned for each, accuracy moves by at most {far:.2f} points from that of 1e-8"
    nuisance = True if far <= ACCURACY_MARGIN else False if apart else None
    sentence = "epsilon is a nuisance no more (once the rate is tuned with it)"
    yield claim("001", sentence, words, *if_inside(nuisance, UNDECIDED, *tables))


def planned(table: Mapping[tuple[str, str], Array]) -> Row:
    """Whether the schedule that is best for SGD's momentum is MADGRAD's best too."""
    tops, parts = {}, []
    for name, rates in PLAN_RATES.items():
        own = {plan: table[name, plan] for plan in PLANS}
        tops[name] = max(PLANS, key=lambda plan: own[plan][best(own[plan]), :CHOOSING].mean())
        listed = (f"{plan} {judged(values).mean():.2f} % at {rates[best(values)]:g}" for plan, values in own.items())
        parts.append(f"{name} {', '.join(listed)}")
    loss = lead(table["madgrad", tops["madgrad"]], table["madgrad", tops["momentum"]])
    words = f"{STEPS:,} steps, momentum 0.9 in both: {'; '.join(parts)}; SGD's best, {tops['momentum']}, costs MADGRAD "
    words += f"{loss[0]:.2f} +- {loss[1]:.2f} points"
    holds = True if loss[0] + loss[1] <= ACCURACY_MARGIN else False if loss[0] - loss[1] > ACCURACY_MARGIN else None
    answer = if_inside(holds, UNDECIDED, *table.values())
    return claim("001", "MADGRAD takes the schedule and the momentum of SGD", words, *answer)


def stepwise(table: Table) -> Row:
    """Exponential step sizes beside step decay with its best number of milestones, each at its best rate."""
    top = max([*DECAYS][1:], key=lambda plan: table[plan][best(table[plan]), :CHOOSING].mean())
    mean, half = lead(table["exponential_steps"], table[top])
    parts = [
        f"{called} {judged(table[plan]).mean():.2f} % at {DECAY_RATES[best(table[plan])]:g}" for plan, called in DECAYS.items()
    ]
    words = f"momentum on MNIST, {STEPS:,} steps, {JUDGING} starts, rates and milestones chosen on others: {', '.join(parts)}; "
    words += f"exponential steps gain {mean:+.2f} +- {half:.2f} over the best of the others"
    holds = True if mean - half > -ACCURACY_MARGIN else False if mean + half < -ACCURACY_MARGIN else None
    answer = if_inside(holds, UNDECIDED, *table.values())
    return claim("001", "exponential step sizes do as well as tuned step decay", words, *answer)


def crossed(table: Mapping[tuple[float, float], Array]) -> Row:
    """Adam with beta1 above beta2 beside the same two the other way round, each at its best rate."""
    gains, parts = [], []
    for pair in BETAS:
        gains.append(lead(table[pair[::-1]], table[pair], len(BETAS)))
        accuracies = [f"{judged(table[own]).mean():.2f}" for own in (pair, pair[::-1])]
        parts.append(
            f"{pair[0]:g}, {pair[1]:g} {accuracies[0]} %, swapped {accuracies[1]} ({gains[-1][0]:+.2f} +- {gains[-1][1]:.2f})"
        )
    words = f"a network of one hidden layer, {STEPS:,} steps, {JUDGING} starts, best rates chosen on others: {'; '.join(parts)}"
    answer = if_inside(decided(gains), "depends on the pair", *table.values())
    return claim("003", "beta1 > beta2 is bad (on a smaller network, at its best rate)", words, *answer)


def robust(table: Mapping[float, Array]) -> Iterator[Row]:
    """Adadelta by rho: at its default rate of 1, and at the best one."""
    one = RHO_RATES.index(1.0)
    at_one = {rho: values[one, CHOOSING:] for rho, values in table.items()}
    parts = [f"{rho:g}: {at_one[rho].mean():.2f} %, {judged(values).mean():.2f} % at its best" for rho, values in table.items()]
    away = {rho: spread(at_one[rho] - at_one[0.9], 0.05 / (len(RHOS) - 1)) for rho in RHOS if rho != 0.9}
    words = f"a network of one hidden layer, {STEPS:,} steps, at rate 1, by rho: {', '.join(parts)}"
    near = True if all(abs(m) + h <= 1 for m, h in away.values()) else None
    if any(abs(m) - h > 1 for m, h in away.values()):  # a point: both are "99 %" in the slides' words
        near = False
    yield claim("003", "Adadelta is robust to rho (on a smaller network)", words, near, UNDECIDED)


def usual(table: Mapping[float, Array]) -> Row:
    """RMSprop's usual beta of 0.9 and rate of 0.001 beside the best of a grid."""
    settings = [(beta, k) for beta, values in table.items() for k in range(len(values))]
    top = max(settings, key=lambda at: table[at[0]][at[1], :CHOOSING].mean())
    own = table[0.9][SHARE_RATES.index(0.001), CHOOSING:]
    mean, half = spread(table[top[0]][top[1], CHOOSING:] - own)
    words = f"a network of one hidden layer, {STEPS:,} steps: {own.mean():.2f} %; the best of {len(settings)} settings, "
    words += f"{top[0]:g} and {SHARE_RATES[top[1]]:g}, gains {mean:+.2f} +- {half:.2f}"
    holds = True if mean + half <= ACCURACY_MARGIN else False if mean - half > ACCURACY_MARGIN else None
    answer = (holds, UNDECIDED) if holds is False else if_inside(holds, UNDECIDED, table[top[0]])  # a better one is as bad
    return claim("003", "RMSprop's beta of 0.9 and rate of 0.001 are good", words, *answer)


def switched(table: Mapping[str, Array]) -> Row:
    """Adam followed by SGD beside Adam alone and SGD alone, each at its best rates and switch."""
    pairs = [*itertools.product(SWITCHES, SECOND)]
    at, rate = pairs[best(table["both"])]
    gains = [lead(table["both"], table[name], 2) for name in ("Adam", "SGD")]
    words = f"{LONG:,} steps, {JUDGING} starts, best settings chosen on others: Adam {judged(table['Adam']).mean():.2f} % at "
    words += f"{FIRST[best(table['Adam'])]:g}, SGD {judged(table['SGD']).mean():.2f} % at {SECOND[best(table['SGD'])]:g}, "
    words += f"switched at {at:,} to a rate of {rate:g} {judged(table['both']).mean():.2f} %; gains "
    words += " and ".join(f"{mean:+.2f} +- {half:.2f}" for mean, half in gains)
    worst = min(gains, key=lambda gain: gain[0])
    answer = if_inside(decided([worst]), UNDECIDED, table["Adam"], table["SGD"])
    return claim("002", "use Adam first, then SGD for fine-tuning", words, *answer)


def record(say: Callable[[str], None] = print) -> None:
    """Train the grids that are not recorded."""
    from .networks import rate_by_decay

    rate_by_decay(keep=True)
    for rows in (on_networks, of_slides, of_lab):
        for row in rows(say, keep=True):
            say(f"{row.printed}: {row.holds}. {row.ours}")


if __name__ == "__main__":
    record()
