"""What each picture of a study shows, from the data that `shown` makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...studies import statistics as st
from ..palette import DASHES, Style, style
from ..picture import Form, Guide, Mark, Panel, Picture, Series
from . import inside
from .inside import at_points, quarters

Shown = dict[str, Any]
Row = dict[str, Any]
LEAST_FOR_BAND = 3  # seeds
MOST_THIN = 10  # seeds of each that are drawn one by one
MOST_ROWS = 24  # of a picture; its table has all
SEEN = 12  # margins behind the best, which a picture of rates or bounds shows at most
POINTS = 21  # of a learning curve
FULL = 1e-9
LARGEST = 1e100


def drawable(data: Any) -> Any:
    """The same data with numbers of a size that can be drawn: axes that reach beyond 1e100 overflow."""
    if isinstance(data, float):
        return min(max(data, -LARGEST), LARGEST)
    if isinstance(data, dict):
        return {key: drawable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [drawable(value) for value in data]
    return data


def pictures(data: Shown) -> dict[str, Picture]:
    """The pictures by name, in the order of a page; those that have something to show."""
    made = {name: picture(data) for name, picture in PICTURES.items()}
    return {name: picture for name, picture in made.items() if any(panel.series for panel in picture.panels)}


def regret(data: Shown) -> Picture:
    """How far behind the best each of those that raced could be, the pick first."""
    places, unit = data["places"], data["unit"]
    bounded = [place for place in places if place["at_most"] is not None]
    margin = data["answer"]["margin"] or 0.0
    most = max((place["at_most"] for place in bounded), default=1.0) or 1.0
    edge = min(1.05 * most, max(SEEN * margin, 1.2 * (bounded[0]["at_most"] if bounded else 0.0)) or most)
    shown, series = bounded[:MOST_ROWS], []
    for row, place in enumerate(shown):
        words = f"{place['label']}: {place['at_least']:.3g} to {place['at_most']:.3g}{unit} behind the best"
        marks = [Mark("bar", [place["at_least"]], [float(row)], [min(place["at_most"], edge)])]
        form: Form = "diamond" if place["standing"] == "pick" else "mean"
        at = min(place["at_most"], 0.99 * edge)
        marks.append(Mark(form, [at], [float(row)], words=[words]))
        series.append(Series(place["label"], _style(data, place), marks))
    title = "Nothing bounds how far behind any could be: too few ran on five common seeds"
    if bounded:
        first = bounded[0]
        title = f"{first['label']} is at most {first['at_most']:.2g}{unit} behind the best"
        title = title if first["at_most"] else f"{first['label']} is the best of those that raced"
    guides = [Guide("x", margin, f"margin {margin:.2g}")] if 0 < margin < edge else []
    amount = unit if unit.startswith(" in") else f", in{unit}"
    x = f"behind the best{amount} ({100 * data['answer']['confidence']:.0f} %)"
    panel = Panel(series, x, rows=[place["label"] for place in shown], view_x=(0.0, edge), guides=guides)
    caption = (
        "From the least to the most that each could be behind the best of those that raced, all at once and whenever it was "
        "looked at. A bar that reaches the edge goes on."
    )
    heading = ["raced", "standing", "behind at least", "behind at most", "n", "mean"]
    table = [
        [p["label"], p["standing"], f"{p['at_least']:.3g}", _number(p["at_most"]), str(p["n"]), _number(p["mean"], 5)]
        for p in places
    ]
    for row in data["answer"]["rejected"]:
        said = f"rejected: {row['collapsed']} of {row['of']} collapsed"
        table.append([f"{row['name']} with {row['schedule']} at {row['lr']:g}", said, "", "", str(row["of"]), ""])
    return Picture(title, caption, [panel], (heading, table), legend=False)


def ranking(data: Shown) -> Picture:
    """Every seed's value, and the mean with its 95 % interval, best on top."""
    made, notes, table = [], list[tuple[float, str]](), []
    rows = [row for row in data["optimizers"] if row["values"]]
    for place, row in enumerate(rows[:MOST_ROWS]):
        values = [v for v in row["values"] if v is not None]
        mean, se, n = st.mean_se(values)
        low, high = (x.item() for x in st.interval(mean, se, n, 0.05))
        at, label = float(place), row["label"]
        marks = [Mark("dots", values, [at] * len(values), words=[f"{label}, a seed: {v:.5g}" for v in values])]
        if n > 1:
            marks.append(Mark("bar", [low], [at], [high]))
        if n:
            marks.append(Mark("mean", [mean.item()], [at], words=[f"{label}: mean {mean:.5g} of {n}"]))
        if len(values) < len(row["values"]):
            notes.append((at, f"{len(row['values']) - len(values)} of {len(row['values'])} diverged"))
        made.append(Series(label, _style(data, row), marks))
        interval = [f"{low:.5g}", f"{high:.5g}"] if n > 1 else ["", ""]
        table.append(
            [label, f"{row['lr']:g}", _number(row["mean"], 5), *interval, str(n), str(len(row["values"]) - len(values))]
        )
    first = next((row for row in rows if row["mean"] is not None), None)
    title = "No run ended" if first is None else f"{_best(rows, data)} has the best mean {data['split']} {data['metric']}"
    caption = "Mean, 95 % interval of it and every seed. Means of few seeds are luck in part: read the bounds first."
    heading = ["optimizer", "rate", "mean", "low", "high", "n", "diverged"]
    labels = [row["label"] for row in rows[:MOST_ROWS]]
    panel = Panel(made, _metric(data, data["split"]), rows=labels, view_x=_range(made), notes=notes)
    return Picture(title, caption, [panel], (heading, table), legend=False)


def race(data: Shown) -> Picture:
    """How the race went: the bound of the pick against seconds of training, and when each candidate stopped."""
    looks = data["looks"] if data["raced"] else []
    if not looks:
        return Picture("", "", [], ([], []))
    known = [look for look in looks if look["bound"] is not None]
    x, y = [look["seconds"] for look in known], [look["bound"] for look in known]
    words = [
        f"after {look['runs']} runs, {look['seconds']:.3g} s: {look['pick']}, at most {look['bound']:.3g} behind"
        for look in known
    ]
    black = Style("#000000", "solid")
    margin, end = data["answer"]["margin"], looks[-1]["seconds"]
    bound = Series("the bound of the pick", black, [Mark("line", x, y), Mark("mean", x, y, words=words)])
    guides = [Guide("y", margin, f"margin {margin:.2g}")] if margin else []
    log = bool(y) and min(y) > 0 and max(y) > 5 * min(y)
    top = Panel([bound], y_label=f"bound{data['unit']}", log_y=log, guides=guides, view_x=(0, 1.03 * end))
    lanes, places = [], data["places"][:MOST_ROWS]
    for row, place in enumerate(places):
        stopped = max(looks, key=lambda look: (look["seeds"].get(place["label"], 0), -look["runs"]))
        at = float(row)
        said = f"{place['label']}: {place['n']} seeds, the last after {stopped['seconds']:.3g} s; {place['standing']}"
        form: Form = "diamond" if place["standing"] == "pick" else "cross" if place["standing"] == "ruled out" else "mean"
        marks = [Mark("bar", [0.0], [at], [stopped["seconds"]]), Mark(form, [stopped["seconds"]], [at], words=[said])]
        lanes.append(Series(place["label"], _style(data, place), marks))
    rows = [f"{place['label']}  n = {place['n']}" for place in places]
    low = Panel(lanes, "seconds of training, summed over processes", rows=rows, view_x=(0, 1.03 * end))
    title = f"The race took {looks[-1]['runs']} runs" + (f" to a bound of {y[-1]:.2g}{data['unit']}" if y else "")
    caption = (
        "A diamond is the pick, a cross one ruled out, a dot one that may be the best still; each where its last seed ended."
    )
    table = [[str(look["runs"]), f"{look['seconds']:.4g}", look["pick"], _number(look["bound"])] for look in looks]
    return Picture(title, caption, [top, low], (["runs", "seconds", "pick", "bound"], table), legend=False)


def sensitivity(data: Shown) -> Picture:
    """Validation metric against the rate, a panel for each optimizer with its schedules, in the range that is of use.

    Diverged runs stand on a rail below it, and means beyond it as arrows on its edge.
    """
    tried = [row for row in data["optimizers"] if any(t["values"] for t in row["trials"])]
    if all(len(row["trials"]) < 2 for row in tried):
        return Picture("", "", [], ([], []))
    names = list(dict.fromkeys(row["name"] for row in tried))
    means = {(row["label"], t["lr"]): _mean(t["values"]) for row in tried for t in row["trials"]}
    known = [m for m in means.values() if m is not None]
    more = data["direction"] == "max"
    best, worst = (max(known), min(known)) if more and known else (min(known), max(known)) if known else (0.0, 1.0)
    log = not more and best > 0 and worst > 20 * best
    bests = [own for name in names if (own := _best_mean(means, tried, name, more)) is not None]
    far = (min if more else max)(bests, default=best)  # every panel shows its best
    span = max(SEEN * (data["answer"]["margin"] or 0.0), abs(best) / 50, 1.5 * abs(best - far)) or 1.0
    span = min(span, abs(best - worst) or span)
    edge = best - span if more else max(20 * best, 2 * far) if log else best + span
    rail = edge - 0.12 * span if more else edge * 1.5 if log else edge + 0.12 * span
    bottom = rail - 0.1 * span if more else rail * 1.4 if log else rail + 0.1 * span
    ahead = best + 0.1 * span if more else best / 1.3 if log else best - 0.1 * span
    panels, table = [], list[list[str]]()
    for name in names:
        series, lost = [], False
        for row in (row for row in tried if row["name"] == name):
            inside, beyond, crosses, every = [], [], [], []
            for t in row["trials"]:
                mean, bad = means[row["label"], t["lr"]], sum(v is None for v in t["values"])
                table.append([row["label"], f"{t['lr']:g}", _number(mean, 5), str(len(t["values"]) - bad), str(bad)])
                at = f"{row['label']} at {t['lr']:g}"
                if bad:
                    crosses.append((t["lr"], rail, f"{at}: {bad} of {len(t['values'])} diverged"))
                if mean is not None and (mean >= edge if more else mean <= edge):
                    inside.append((t["lr"], mean, f"{at}: {mean:.5g}"))
                    every += [
                        (t["lr"], v, f"{at}, a seed: {v:.5g}") for v in t["values"] if v is not None and len(t["values"]) > 1
                    ]
                elif mean is not None:
                    inside.append((t["lr"], math.nan, ""))
                    beyond.append((t["lr"], edge, f"{at}: {mean:.5g}, out of the frame"))
            chosen = [point for point in inside if point[0] == row["lr"]]
            marks = [
                at_points("line", inside),
                at_points("dots", every),
                at_points("spots", inside),
                at_points("below" if more else "above", beyond),
            ]
            marks += [at_points("diamond", chosen), at_points("cross", crosses)]
            lost = lost or bool(crosses)
            series.append(Series(row["schedule"], _by_schedule(data, row), marks))
        guides = _good(data, name) + ([Guide("y", rail, "diverged")] if lost else [])
        panels.append(
            Panel(series, title=name, log_x=True, log_y=log, view_y=(min(bottom, ahead), max(bottom, ahead)), guides=guides)
        )
    courses = sorted({row["schedule"] for row in tried})
    title = "How the rate matters"
    drawn = ", ".join(f"{DASHES[k % len(DASHES)]} {c}" for k, c in enumerate(courses))
    caption = (
        f"{_metric(data, 'validation').capitalize()} against the learning rate, means over seeds: {drawn}. A diamond is the "
        "rate that was taken, a cross a rate with diverged runs, a triangle on the edge a mean out of the frame."
    )
    caption += _shortened(tried)
    if (data.get("recorded") or {}).get("bound"):
        caption += (
            " Beyond 2/λ, the largest eigenvalue of the Hessian at the start, plain descent first grows along its direction."
        )
    return Picture(title, caption, panels, (["optimizer", "rate", "mean", "n", "diverged"], table), columns=2, legend=False)


def _shortened(tried: list[Row]) -> str:
    """A sentence for the caption of a study whose rates were screened in shortened runs; empty for others."""
    for row in tried:
        seen = [t["seen"] for t in row["trials"] if t.get("seen")]
        if seen and max(seen) < row["length"]:
            return f" Rates were screened in runs of {max(seen)} of {row['length']} steps."
    return ""


def _best_mean(means: dict[tuple[str, float], float | None], tried: list[Row], name: str, more: bool) -> float | None:
    """The best mean over an optimizer's rates and schedules."""
    labels = {row["label"] for row in tried if row["name"] == name}
    known = [mean for (label, _), mean in means.items() if label in labels and mean is not None]
    return (max(known) if more else min(known)) if known else None


def _good(data: Shown, name: str) -> list[Guide]:
    """In plain descent's panel the rate beyond which it grows at the start."""
    bound = (data.get("recorded") or {}).get("bound")
    return [Guide("x", bound, "2/λ")] if bound and name == "sgd" else []


def curves(data: Shown, x: str = "steps", scale: str = "linear", of: str = "metric") -> Picture:
    """Validation metric (or loss) against the step (or seconds): mean, standard error and seeds.

    A mean stops where its first seed stopped. On a logarithmic axis the band is that of the logarithms.
    """
    key, log = "metric" if of == "metric" else "valid", scale == "log"
    made, table = [], []
    for row in data["optimizers"]:
        if not row["runs"]:
            continue
        each = row["seconds_per_step"] if x == "seconds" else row["evaluations"]  # equal work stands at equal places
        seeds = [run for run in row["runs"] if run["steps"]]
        shortest: list[int] = min((run["steps"] for run in seeds), key=len, default=[])
        common = [each * step for step in shortest]
        values = np.ma.masked_invalid(np.array([run[key][: len(common)] for run in seeds], float))  # None where not finite
        if not common or not values.count(0).all() or (log and not (values > 0).all()):
            continue
        forward, back = (np.ma.log, np.ma.exp) if log else (np.ma.asarray, np.ma.asarray)
        logs = forward(values)
        mean, stopped = logs.mean(0), sum(len(run["steps"]) < POINTS for run in seeds)
        thin_x = [v for run in seeds[:MOST_THIN] for v in (*(each * step for step in run["steps"]), math.nan)]
        thin_y = [math.nan if v is None else v for run in seeds[:MOST_THIN] for v in (*run[key], None)]
        marks = [Mark("thin", thin_x, thin_y)]
        if len(seeds) >= LEAST_FOR_BAND:
            se = np.ma.filled(logs.std(0, ddof=1), 0.0) / math.sqrt(len(seeds))
            marks.append(Mark("band", common, back(mean - se).tolist(), back(mean + se).tolist()))
        n = f"n = {len(seeds)}" + (f", {stopped} stopped early" if stopped and len(shortest) < POINTS else "")
        points = [
            (at, v, f"{row['label']} at {at:.4g}: {v:.5g} ({n})") for at, v in zip(common, back(mean).tolist(), strict=True)
        ]
        marks += [at_points("line", points), at_points("spots", points)]
        made.append(Series(row["label"], _style(data, row), marks))
        table.append([row["label"], n, *(f"{back(mean)[k]:.5g}" for k in quarters(len(common)))])
    lines = [line.y for series in made if (line := series.mark("line"))]
    what = _metric(data, "validation") if of == "metric" else "validation loss"
    title = _leads(data, lines, [series.label for series in made], of)
    axis = "step" if x == "steps" else "seconds"
    view = None if log else _view(lines)
    panel = Panel(made, axis, what, log_y=log, view_y=view)
    caption = "Mean and standard error; a mean stops where a seed stopped."
    heading = ["optimizer", "seeds", "at the start", "after a quarter", "half-way", "at the end"]
    return Picture(title, caption, [panel], (heading, table))


def _leads(data: Shown, lines: list[list[float]], labels: list[str], of: str) -> str:
    """Who is ahead early and at the end, by the means."""
    if not lines:
        return ""
    best: Callable[..., int] = np.argmax if of == "metric" and data["direction"] == "max" else np.argmin
    whole = max(map(len, lines))
    full = [k for k, line in enumerate(lines) if len(line) == whole]
    early, late = (labels[full[int(best([lines[k][at] for k in full]))]] for at in (whole // 4, -1))
    what = data["metric"] if of == "metric" else "loss"
    if len(labels) == 1:
        return f"The mean {what} of {labels[0]} as it learned"
    if early == late:
        return f"{late} has the best mean {what} after a quarter of the steps and at the end"
    return f"{early} has the best mean {what} after a quarter of the steps, {late} at the end"


def schedules(data: Shown) -> Picture:
    """The rates of the pick's optimizer as they were applied under each schedule, and the loss below."""
    name = data["answer"]["optimizer"] or (data["optimizers"][0]["name"] if data["optimizers"] else None)
    rates, losses, table = [], [], []
    for row in (row for row in data["optimizers"] if row["name"] == name and row["lr"] is not None):
        applied = [(k * row["evaluations"], row["lr"] * m) for k, m in row["multipliers"]]
        points = [(k, rate, f"{row['schedule']} at step {k}: rate {rate:.4g}") for k, rate in applied]
        rates.append(Series(row["schedule"], _by_schedule(data, row), [at_points("line", points), at_points("spots", points)]))
        runs = [run for run in row["runs"] if run["steps"]]
        shortest: list[int] = min((run["steps"] for run in runs), key=len, default=[])
        if not shortest:
            continue
        mean = np.array([run["train"][: len(shortest)] for run in runs], float).mean(0).tolist()
        at = [
            (step * row["evaluations"], v, f"{row['schedule']} at step {step}: {v:.4g}")
            for step, v in zip(shortest, mean, strict=True)
        ]
        losses.append(Series(row["schedule"], _by_schedule(data, row), [at_points("line", at), at_points("spots", at)]))
        table.append([row["schedule"], f"{row['lr']:g}", f"{applied[-1][1]:.3g}", f"{mean[-1]:.4g}"])
    values = [v for series in losses for v in series.marks[0].y]
    log = bool(values) and min(values) > 0 and max(values) > 5 * min(values)
    below = Panel(losses, "step", "training loss", log_y=log)
    title = f"The rate of {name}, and the training loss under it"
    caption = "Rates as they were applied, at the rate that each schedule raced at; means of batch losses over seeds."
    heading = ["schedule", "rate", "last rate", "last training loss"]
    return Picture(title, caption, [Panel(rates, y_label="rate"), below], (heading, table))


def cost(data: Shown) -> Picture:
    """What each costs: seconds of a run and bytes of state against the metric."""
    ran = [row for row in data["optimizers"] if row["mean"] is not None]
    if len(ran) < 2:
        return Picture("", "", [], ([], []))
    panels, table = list[Panel](), []
    for axis, key, words in (("seconds of a run", "seconds", "s"), ("bytes of state", "state_bytes", "B")):
        series = []
        for row in ran:
            x = row["seconds_per_step"] * row["length"] if key == "seconds" else row["state_bytes"]
            said = f"{row['label']}: {x:.3g} {words}, mean {row['mean']:.5g}"
            series.append(Series(row["label"], _style(data, row), [Mark("mean", [float(x)], [row["mean"]], words=[said])]))
        front = _front([(one.marks[0].x[0], one.marks[0].y[0], one) for one in series], data["direction"] == "max")
        for one in front:
            one.marks.append(Mark("words", one.marks[0].x, one.marks[0].y, words=[one.label]))
        view = _range(series, "y")
        panels.append(Panel(series, axis, _metric(data, data["split"]) if not panels else "", view_y=view))
    for row in ran:
        table.append(
            [row["label"], f"{row['seconds_per_step'] * row['length']:.3g}", str(row["state_bytes"]), f"{row['mean']:.5g}"]
        )
    fast = min(ran, key=lambda row: row["seconds_per_step"] * row["length"], default=None)
    small = min(ran, key=lambda row: row["state_bytes"], default=None)
    title = f"{fast['label']} is the fastest, {small['label']} keeps the least" if fast and small else ""
    title = f"{small['label']} is the fastest and keeps the least" if fast and fast is small else title
    caption = "Means against the seconds of a run, timed alone, and the bytes that the optimizer keeps."
    heading = ["optimizer", "seconds of a run", "bytes of state", "mean"]
    return Picture(title, caption, panels, (heading, table), columns=2, legend=False)


def _front(points: list[tuple[float, float, Series]], more: bool) -> list[Series]:
    """Those that no other beats both by cost and by value."""
    front, best = [], -math.inf
    for _, y, one in sorted(points, key=lambda p: (p[0], -p[1] if more else p[1])):
        if (value := y if more else -y) > best:
            front.append(one)
            best = value
    return front


PICTURES: dict[str, Callable[[Shown], Picture]] = {
    "regret": regret,
    "ranking": ranking,
    "race": race,
    "sensitivity": sensitivity,
    "curves": curves,
    "schedules": schedules,
    "cost": cost,
    "insides": inside.insides,
    "landscape": inside.landscape,
}


def _style(data: Shown, row: Row) -> Style:
    courses = sorted({row["schedule"] for row in data["optimizers"]})
    return style(row["name"], courses.index(row["schedule"]))


def _by_schedule(data: Shown, row: Row) -> Style:
    """A style whose dash is the schedule's, the same for all optimizers, where each has a panel of its own."""
    courses = sorted({row["schedule"] for row in data["optimizers"]})
    return Style(style(row["name"]).colour, DASHES[courses.index(row["schedule"]) % len(DASHES)])


def _best(rows: list[Row], data: Shown) -> str:
    known = [row for row in rows if row["mean"] is not None]
    choose = max if data["direction"] == "max" else min
    return str(choose(known, key=lambda row: row["mean"])["label"])


def _metric(data: Shown, split: str) -> str:
    """The words for the metric on an axis, such as "test accuracy (%)"."""
    return f"{split} {data['metric']}" + (" (%)" if data["in_points"] else "")


def _mean(values: list[float | None]) -> float | None:
    """The mean of a rate's runs, None where one diverged: it is no choice then."""
    kept = [v for v in values if v is not None]
    return sum(kept) / len(kept) if kept and len(kept) == len(values) else None


def _number(x: float | None, digits: int = 3) -> str:
    return "" if x is None else f"{x:.{digits}g}"


def _view(lines: list[list[float]]) -> tuple[float, float]:
    """The range where the means lie after their first fifth: what happens there is what a comparison asks about."""
    late = [v for line in lines for v in line[len(line) // 5 :]] or [0.0]
    pad = (max(late) - min(late) or abs(max(late)) or 1.0) / 10
    return min(late) - pad, max(late) + pad


def _range(series: list[Series], axis: str = "x") -> tuple[float, float] | None:
    """What an axis shows: the middle of what is drawn without single far points; None for all."""
    values = [v for one in series for mark in one.marks for v in getattr(mark, axis) + (mark.high if axis == "x" else [])]
    means = [v for one in series for mark in one.marks if mark.form == "mean" for v in getattr(mark, axis)]
    if len(means) < 3:
        return None
    low, high = np.percentile(means, [25, 75])
    reach = 6 * (high - low) or abs(high) or 1.0
    inside = [v for v in values if low - reach <= v <= high + reach]
    pad = (max(inside) - min(inside) or abs(max(inside)) or 1.0) / 20
    return min(inside) - pad, max(inside) + pad
