"""Convert a result to `StudyData`: the numbers and words that the terminal, JSON, reports and figures show."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..rules import Rule
from ..rules.definition import FILES
from ..rules.foreign import NAMED, Foreign, Parts, part_of
from ..training.recorder import Curve as Recorded
from ..update.torch_class.signature import class_arguments
from . import data, sentences
from .answer import Answer
from .budget import EARLY, TUNING_SEEDS
from .conclude import first_why, reasons
from .data import StudyData
from .result import Entry, Result, Trial, count_diverged
from .scalars import DIGITS, in_words
from .search import SAMPLED

MOST_POINTS = 100  # points of a schedule


def study_data(result: Result, command: str) -> StudyData:
    """A result as data; `command` is the command that made it."""
    facts, question, answer = result.training.facts, result.question, result.answer
    courses = sorted({e.candidate.schedule for e in result.entries})
    return StudyData(
        version=data.VERSION,
        problem=facts.name,
        about=facts.about,
        metric=question.scale.name,
        is_measure=question.scale.measure is not None,
        direction=question.scale.direction,  # type: ignore[arg-type]
        in_points=question.scale.in_points,
        split=result.split,
        steps=question.steps,
        device=result.device,
        versions=result.versions,
        answer=answer,
        batch_size=facts.batch_size,
        batches=facts.batches,
        optimizers=[_entry(entry, courses, result) for entry in result.entries],
        verdicts=result.verdicts,
        optimum=facts.optimum,
        notes=result.notes,
        table=table(result),
        code=code(result.chosen, answer.steps, result.training.searched.parts or ()) if answer.pick else "",
        protocol=protocol(result),
        ran=f"{result.trained + result.stored} runs of {_length(answer)}",
        command=command,
    )


def _entry(entry: Entry, courses: list[str], result: Result) -> data.Entry:
    mean, se, n = entry.summary()
    seen = entry.outcomes or [o for t in entry.trials for o in t.outcomes]
    whys = [reasons(entry.outcomes)] if n < len(entry.values) else []
    if se is None and n == 1:
        whys.append("one value has no standard error")
    if not entry.values:
        whys.append("not raced" if seen else "never tried")
    share, candidate = entry.fidelity(result.question.steps), entry.candidate
    names = _searched(entry)
    return data.Entry(
        name=candidate.space.name,
        schedule=candidate.schedule,
        label=candidate.label,
        space=candidate.space.label,
        lr=entry.lr,
        settings={name: candidate.value(name) for name in names},
        hyper=candidate.hyper,
        lr_at_edge=entry.at_edge,
        seeds=list(range(len(entry.values))),
        values=entry.values,
        mean=mean,
        se=se,
        diverged=count_diverged(entry.outcomes),
        seconds_per_step=entry.seconds_per_step,
        state_bytes=entry.state_bytes,
        loss=_mean_loss(entry),
        fidelity=share if share is not None and share < 1 else None,
        status="; ".join(whys),
        why=first_why(entry.outcomes),
        variant=courses.index(candidate.schedule),
        evaluations=candidate.rule.evaluations,
        length=candidate.steps(result.question.steps),
        multipliers=_multipliers(entry, result),
        runs=[_curve(outcome.curve, outcome.diverged_at) for outcome in entry.outcomes],
        trials=[_trial(trial, names) for trial in entry.trials],
    )


def _multipliers(entry: Entry, result: Result) -> list[tuple[int, float]]:
    """The schedule's multipliers along a run; a schedule may depend on the metric, so that of seed 0 is used."""
    candidate, own = entry.candidate, entry.candidate.steps(result.question.steps)
    sign = -result.question.scale.metric_sign
    curve = entry.outcomes[0].curve if entry.outcomes else None
    marks = zip(curve.steps[1:], curve.metric[1:], strict=True) if curve else ()
    seen = [(step, sign * value) for step, value in marks if value is not None]
    at = sorted({round(k * (own - 1) / MOST_POINTS) for k in range(MOST_POINTS + 1)})
    return [(k, _short(candidate.multiplier(k, own, [better for step, better in seen if step <= k]))) for k in at]


def _curve(curve: Recorded, diverged_at: int | None) -> data.Curve:
    columns = {key: [x if x is None else _short(x) for x in getattr(curve, key)] for key in ("train", "valid", "metric")}
    return data.Curve(steps=curve.steps, **columns, diverged_at=diverged_at)


def _searched(entry: Entry) -> list[str]:
    """The names of the axes other than the rate of which some candidate of the space has a value of its own."""
    candidates = [entry.candidate, *(trial.candidate for trial in entry.trials)]
    moved = {name for candidate in candidates for name, _ in candidate.settings}
    return [axis.name for axis in (*entry.candidate.space.others, *entry.candidate.space.further) if axis.name in moved]


def _trial(trial: Trial, names: Sequence[str]) -> data.Trial:
    seen = [o.curve.steps[-1] for o in trial.outcomes if o.diverged_at is None and o.curve.steps]
    lost = [o for o in trial.outcomes if o.valid is None]
    return data.Trial(
        lr=trial.lr,
        values=trial.values,
        diverged=trial.diverged,
        diverged_at=[o.diverged_at for o in trial.outcomes],
        seen=max(seen, default=None),
        settings={name: trial.candidate.value(name) for name in names},
        status=reasons(trial.outcomes) if lost else "",
        why=first_why(trial.outcomes) if lost else "",
    )


def _short(x: float) -> float:
    return float(f"{x:.{DIGITS}g}")


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The table for the screen and the page: its heading and rows, as text."""
    several = len({e.candidate.schedule for e in result.entries}) > 1
    searched = list(dict.fromkeys(name for e in result.entries for name in _searched(e)))
    heading = ["optimizer", *(["schedule"] if several else []), "learning rate", *searched]
    scale = result.question.scale
    heading += [
        f"{scale.name if scale.measure else f'{result.split} {scale.name}'} ± SE",
        "n",
        "diverged",
        "step time",
        "state",
    ]
    losses = not result.training.facts.is_loss and any(_mean_loss(e) is not None for e in result.entries)
    heading += ["validation loss"] if losses else []
    rows = []
    for e in result.entries:
        mean, se, n = e.summary()
        lr = "-" if e.lr is None else f"{e.lr:g}" + (" (edge)" if e.at_edge else "")
        loss, settings = _mean_loss(e), {name: e.candidate.value(name) for name in _searched(e)}
        rows.append(
            [
                e.candidate.space.name,
                *([e.candidate.schedule] if several else []),
                lr,
                *(in_words(settings[name]) if name in settings else "" for name in searched),
                _raced(e, mean, se) if e.values else _screened(e, result.question.steps),
                str(n),
                str(count_diverged(e.outcomes)),
                *sentences.cost(e.seconds_per_step, e.state_bytes),
                *(["" if loss is None else f"{loss:.4g}"] if losses else []),
            ]
        )
    return heading, rows


def _mean_loss(entry: Entry) -> float | None:
    """The mean validation loss of an entry's runs; None if there is none."""
    values = [o.loss for o in entry.outcomes if o.loss is not None]
    return sum(values) / len(values) if values else None


def _raced(entry: Entry, mean: float | None, se: float | None) -> str:
    """The mean of an entry that raced, or the reason why it has none."""
    if mean is None and entry.outcomes and all(o.status == "no metric" for o in entry.outcomes):
        return "metric not finite"
    return spread(mean, se)


def _screened(entry: Entry, steps: int) -> str:
    """The mean of an entry that did not race, over its screening seeds, or the reason why it has none."""
    trial = entry.screened
    if trial is None:
        return "never tried"
    values = [v for v in trial.values if v is not None]
    if not values:
        return "diverged" if trial.diverged else "metric not finite"
    share = entry.fidelity(steps)
    whole = entry.candidate.steps(steps)
    short = f", {round(share * whole)} of {whole} steps" if share is not None and share < 1 else ""
    return f"{sum(values) / len(values):.5g} (screened{short})"


def spread(mean: float | None, se: float | None) -> str:
    """A mean and its standard error, rounded to two digits of the error."""
    if mean is None:
        return "all diverged"
    if not se:
        return f"{mean:.6g}"
    digits = max(0, 1 - int(f"{se:e}".rsplit("e", 1)[1]))
    return f"{mean:.{digits}f} ± {se:.{digits}f}" if digits < 9 else f"{mean:.5g} ± {se:.1e}"


def code(entry: Entry, steps: int, names: Sequence[str] = ()) -> str:
    """Python code that creates the chosen optimizer and schedule, to paste; `names` has those of a loop's optimizers."""
    candidate = entry.candidate
    if candidate.lr != entry.lr:
        return ""
    maker = candidate.rule
    if maker.digest.startswith(NAMED):  # the program of a command makes it
        return ""
    if isinstance(maker, Parts):
        pairs = [(key, *_made(*part_of(maker, candidate.lr, key), f"{_word(key)}.parameters()")) for key in maker.parts]
    elif len(names) > 1:
        pairs = [(key, *_made(maker, candidate.lr, f"{_word(key)}.parameters()")) for key in names]
    else:
        pairs = [("", *_made(maker, candidate.lr, "model.parameters()"))]
    imports = dict.fromkeys(line for _, lines, _ in pairs for line in lines)
    if candidate.schedule != "constant":
        imports = {"import steepest": None} | imports
    lines = [*imports, ""]
    lines += [f"{_word(key)}_optimizer = {call}" if key else f"optimizer = {call}" for key, _, call in pairs]
    if candidate.schedule != "constant":
        schedule = f"steepest.schedules.get({candidate.schedule!r}).to_torch"
        lines += [
            f"{_word(key)}_scheduler = {schedule}({_word(key)}_optimizer, {steps})"
            if key
            else f"scheduler = {schedule}(optimizer, {steps})"
            for key, _, _ in pairs
        ]
    return "\n".join([*lines, *(f"{name} = {value!r}" for name, value in candidate.config.items())])


def _word(key: str) -> str:
    """The name of a part as a Python name."""
    return re.sub(r"\W", "_", key)


def _made(maker: Rule | Foreign, lr: float, params: str) -> tuple[list[str], str]:
    """The imports and the call that make an optimizer."""
    if isinstance(maker, Foreign):
        own = {name: value for name, value in maker.given.items() if name != "lr"}
        arguments = "".join(f", {name}={value!r}" for name, value in own.items())
        first = params.removesuffix(".parameters()") if maker.wants_model else params
        return [*maker.imports], f"{maker.called}({first}, {maker.takes_lr}={lr!r}{arguments})"
    defaults = class_arguments(dict((maker.base or maker).hyper))
    changed = {k: v for k, v in class_arguments(dict(maker.hyper)).items() if k != "lr" and v != defaults[k]}
    changed |= {"matrices_only": False} if maker.matrices_only else {}
    arguments = "".join(f", {k}={v!r}" for k, v in changed.items())
    imports, name = ["import steepest"], f"steepest.optim.{maker.class_name}"
    if not (maker.base or maker).is_ours:
        file, own_name = FILES.get(maker.base or maker, (None, maker.name))
        name = f"steepest.optim.from_rule({own_name})"
        imports += [f"from {file.stem} import {own_name}"] if file else []
    return imports, f"{name}({params}, lr={lr!r}{arguments})"


def _length(answer: Answer) -> str:
    """The steps of the runs of a study, in words."""
    mixed = (answer.screened or 1.0) < 1 and not answer.is_short
    return f"up to {answer.steps} steps" if mixed else sentences.seen(answer)


def protocol(result: Result) -> str:
    """A description of how the numbers were computed, for the report."""
    question, answer = result.question, result.answer
    steps = f"{question.steps} steps a run" if question.steps > 1 else "one program a run"
    length = ", ".join(filter(None, (steps, result.training.facts.batches)))
    diverged = "a run diverged if its loss was not finite or stayed over 1,000 times its start."
    searched = [e for e in result.entries if e.candidate.space.rates is None]
    if answer.raced:
        short = (answer.screened or 1.0) < 1
        more = f"in runs that end after {100 * EARLY:g} % of their steps" if short else "the better half on two more"
        screening = f"every rate of a log grid on one screening seed, {more}; " if searched else ""
        if any(e.candidate.space.further for e in result.entries):
            screening += "then further settings of the leaders, one change after another, on screening seeds; "
        if question.search:
            screening = (
                f"{question.trials} points of each optimizer, its defaults and a scrambled Sobol sequence, for half of the "
                f"steps; the best quarter of each, and {SAMPLED} others at random, for all; the best on two more seeds; "
            )
        bounds = (
            f"comparisons with the best (Hsu), one-sided t bounds at {100 * answer.confidence:.0f} % over "
            f"{answer.compared - 1} comparisons and all looks; "
        )
        return (
            f"{length}; {screening}then a race on common seeds (same initial weights and batches), until no other could be "
            f"better than the pick by more than {answer.margin:.3g}{answer.unit}, or the time is spent; "
            f"{bounds if answer.bound is not None else ''}on validation data; {diverged}"
        )
    level = f"{result.alpha:.4g}".rstrip("0")
    if searched:
        tuning = (
            f"{len(searched[0].trials)} rates of a log grid for each optimizer, "
            f"chosen on {len(TUNING_SEEDS)} tuning seeds by validation {question.scale.name}"
        )
    else:
        tuning = "rates as given"
    spent = f"look {result.look} at this study, which spends {level} of the 0.05 for all looks"
    look = spent if result.look else "no look, since under 5 seeds allow no verdict"
    return (
        f"{length}; {tuning}; confirmed on {question.seeds} fresh seeds, paired (same initial weights and batches); "
        f"paired t tests with Holm's correction over {len(result.verdicts)} pairs; {look}; {diverged}"
    )
