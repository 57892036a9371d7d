"""A result as data: the dictionary that `--json` writes, the table, and the lines of code to paste."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...rules.definition import FILES
from ...studies.design import TUNING_SEEDS
from ...studies.results import Entry, Result, first_why, reasons
from ...studies.verdicts import Verdict
from ...update.torch_class.signature import class_arguments

if TYPE_CHECKING:
    import pandas


def as_dict(result: Result) -> dict[str, Any]:
    """The result under the keys of `compare --json`. Never NaN or infinity: null, and a "status" beside it."""
    design = result.design
    return {
        "problem": design.problem.name,
        "metric": design.problem.metric_name,
        "direction": design.problem.direction,
        "steps": design.steps,
        "device": design.device,
        "versions": result.versions,
        "answer": result.answer.to_dict() if result.answer else None,
        "batch_size": design.problem.batch_size,
        "optimizers": [_optimizer(entry, design.steps) for entry in result.entries],
        "verdicts": [_verdict(v) for v in result.verdicts],
        "optimum": design.problem.optimum,
        "notes": result.notes,
    }


def _optimizer(entry: Entry, steps: int) -> dict[str, Any]:
    mean, se, n = entry.summary()
    seen = entry.outcomes or [o for t in entry.trials for o in t.outcomes]
    whys = [reasons(entry.outcomes)] if n < len(entry.values) else []
    if se is None and n == 1:
        whys.append("one value has no standard error")
    if not entry.values:
        whys.append("not raced" if seen else "never tried")
    share = entry.fidelity(steps)
    more: dict[str, Any] = {"why": first_why(entry.outcomes)} if first_why(entry.outcomes) else {}
    more |= {"fidelity": share} if share is not None and share < 1 else {}
    return {
        "name": entry.candidate.rule.name,
        "schedule": entry.candidate.schedule,
        "lr": entry.lr,
        "hyper": {k: v for k, v in entry.candidate.rule.hyper.items() if k != "lr"},
        "lr_at_edge": entry.at_edge,
        "seeds": list(range(len(entry.values))),
        "values": entry.values,
        "mean": mean,
        "se": se,
        "diverged": sum(o.status in ("diverged", "failed") for o in entry.outcomes),
        "seconds_per_step": entry.seconds_per_step,
        "state_bytes": entry.state_bytes,
        "loss": _mean_loss(entry),
        "sweep": [
            {"lr": t.lr, "values": t.values, "diverged": t.diverged}
            | ({"status": reasons(t.outcomes), "why": first_why(t.outcomes)} if t.lost else {})
            for t in entry.trials
        ],
    } | ({"status": "; ".join(whys), **more} if whys else more)


def _verdict(v: Verdict) -> dict[str, Any]:
    keys = ("a", "b", "difference", "low", "high", "p", "probability", "verdict", "seeds_needed")
    return {key: getattr(v, key) for key in keys} | ({"status": v.status} if v.status else {})


def table(result: Result) -> pandas.DataFrame:
    """One row for each optimizer, best first; numbers as in `as_dict`."""
    import pandas

    keys = ("name", "schedule", "lr", "mean", "se", "diverged", "seconds_per_step", "state_bytes")
    counted = [(row, sum(v is not None for v in row["values"])) for row in as_dict(result)["optimizers"]]
    rows = [{k: row[k] for k in keys} | {"n": n} for row, n in counted]
    return pandas.DataFrame(rows, columns=["name", "schedule", "lr", "mean", "se", "n", *keys[5:]]).set_index("name")


def cells(result: Result) -> tuple[list[str], list[list[str]]]:
    """The table as words: its heading and its rows, for the screen and the page."""
    several = len({e.candidate.schedule for e in result.entries}) > 1
    problem = result.design.problem
    heading = ["optimizer", *(["schedule"] if several else []), "learning rate"]
    heading += [f"{result.split} {problem.metric_name} ± SE", "n", "diverged", "step time", "state"]
    losses = problem.metric is not None
    heading += ["validation loss"] if losses else []
    rows = []
    for e in result.entries:
        mean, se, n = e.summary()
        lr = "-" if e.lr is None else f"{e.lr:g}" + (" (edge)" if e.at_edge else "")
        rows.append([e.candidate.rule.name, *([e.candidate.schedule] if several else []), lr])
        rows[-1] += [
            _raced(e, mean, se) if e.values else _screened(e, result.design.steps),
            str(n),
            str(sum(o.status in ("diverged", "failed") for o in e.outcomes)),
            duration(e.seconds_per_step),
            size(e.state_bytes),
            *([_loss(e)] if losses else []),
        ]
    return heading, rows


def _mean_loss(entry: Entry) -> float | None:
    """The mean loss on validation data of an entry's runs; None without one."""
    values = [o.loss for o in entry.outcomes if o.loss is not None]
    return sum(values) / len(values) if values else None


def _loss(entry: Entry) -> str:
    """The mean loss on validation data of an entry's runs, in digits."""
    loss = _mean_loss(entry)
    return "" if loss is None else f"{loss:.4g}"


def _raced(entry: Entry, mean: float | None, se: float | None) -> str:
    """The mean of an entry that raced, or why it has none."""
    if mean is None and entry.outcomes and all(o.status == "no metric" for o in entry.outcomes):
        return "metric not finite"
    return spread(mean, se)


def _screened(entry: Entry, steps: int) -> str:
    """The mean of an entry that did not race, on the seeds of its screening, or why it has none."""
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
    """A mean and its standard error, to two digits of the error."""
    if mean is None:
        return "all diverged"
    if not se:
        return f"{mean:.6g}"
    digits = max(0, 1 - int(f"{se:e}".rsplit("e", 1)[1]))
    return f"{mean:.{digits}f} ± {se:.{digits}f}" if digits < 9 else f"{mean:.5g} ± {se:.1e}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    unit, factor = next((u, f) for u, f, least in (("s", 1, 1), ("ms", 1e3, 1e-3), ("µs", 1e6, 0)) if seconds >= least)
    return f"{seconds * factor:.3g} {unit}"


def size(count: int) -> str:
    """Bytes in the unit that reads best."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count} B"


def code(entry: Entry, steps: int) -> str:
    """The choice as lines of Python to paste."""
    rule = entry.candidate.rule
    defaults = class_arguments(dict((rule.base or rule).hyper))
    changed = {k: v for k, v in class_arguments(dict(rule.hyper)).items() if k != "lr" and v != defaults[k]}
    changed |= {"matrices_only": False} if rule.matrices_only else {}
    arguments = "".join(f", {k}={v!r}" for k, v in changed.items())
    lines, maker = ["import steepest", ""], f"steepest.optim.{rule.class_name}"
    if not (rule.base or rule).is_ours:
        file, name = FILES.get(rule, (None, rule.name))
        maker = f"steepest.optim.from_rule({name})"
        lines[1:1] = [f"from {file.stem} import {name}"] if file else []
    lines.append(f"optimizer = {maker}(model.parameters(), lr={entry.lr!r}{arguments})")
    if entry.candidate.schedule != "constant":
        lines.append(f"scheduler = steepest.schedules.get({entry.candidate.schedule!r}).to_torch(optimizer, {steps})")
    return "\n".join(lines)


def answer(result: Result) -> str:
    """The study's answer in a sentence or two."""
    assert result.answer
    return result.answer.sentence


def standing(result: Result, label: str) -> list[str]:
    """How an optimizer stands to those that rank after it: "better than a, b", "tied with c", "undecided against d"."""
    words = {"better": "better than", "tied": "tied with", "undecided": "undecided against"}
    groups = {word: [v.b for v in result.verdicts if v.a == label and v.verdict == verdict] for verdict, word in words.items()}
    return [f"{word} {', '.join(names)}" for word, names in groups.items() if names]


def protocol(result: Result) -> str:
    """How the numbers came about, for the foot of a report."""
    d, answer = result.design, result.answer
    length = f"{d.steps} steps a run, {d.problem.drawing}"
    diverged = "a run diverged if its loss was not finite or stayed over 1,000 times its start."
    searched = [e for e in result.entries if e.candidate.rates is None]
    if answer and result.split == "validation" and not result.look and answer.raced:
        screening = "every rate of a log grid on one screening seed, the better half on two more; " if searched else ""
        return (
            f"{length}; {screening}then a race on common seeds (same initial weights and batches), until no other "
            f"could be better than the pick by more than {answer.margin:.3g}{answer.unit}; comparisons with the best (Hsu), "
            f"one-sided t bounds at {100 * answer.confidence:.0f} % over {answer.compared - 1} comparisons and all looks; "
            f"on validation data; {diverged}"
        )
    level = f"{result.alpha:.4g}".rstrip("0")
    if searched:
        tuning = (
            f"{len(searched[0].trials)} rates of a log grid for each optimizer, "
            f"chosen on {len(TUNING_SEEDS)} tuning seeds by validation {d.problem.metric_name}"
        )
    else:
        tuning = "rates as given"
    spent = f"look {result.look} at this study, which spends {level} of the 0.05 for all looks"
    look = spent if result.look else "no look, since under 5 seeds allow no verdict"
    return (
        f"{length}; {tuning}; confirmed on {d.seeds} fresh seeds, paired (same initial weights and batches); "
        f"paired t tests with Holm's correction over {len(result.verdicts)} pairs; {look}; {diverged}"
    )
