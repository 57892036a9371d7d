"""Pages of the rules: idea, formula, source, state, paths next to SGD's and Adam's, and accuracy by rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from steepest import surfaces
from steepest.paths.descent import descend
from steepest.paths.loop import formula_of, trajectory
from steepest.report.palette import style
from steepest.report.rule.card import describe
from steepest.report.rule.latex import equations
from steepest.report.surface.pictures import save
from steepest.rules import RULES, Rule, get
from steepest.study.axes import LEARNING_RATE

from .. import catalogue, conformance
from . import cost, sensitivity

BESIDE = ("sgd", "adam")
PLAYGROUND = "_static/play.html"  # path on the site
STEPS, NOISE = 150, 1.0
MARGINS = {"left": 0.06, "right": 0.99, "top": 0.91, "bottom": 0.17}  # a computed layout takes half the time of the site


def _beside(rule: Rule) -> list[Rule]:
    others = [get(name) for name in BESIDE if name != rule.name]
    return [*others, rule]


def paths(rule: Rule) -> Figure:
    """Draw paths of the rule, SGD and Adam in a valley, off a saddle and with noise, each at its best rate."""
    figure, words = Figure(figsize=(9.6, 3.2)), []
    figure.subplots_adjust(**MARGINS, wspace=0.18)
    left, middle, right = figure.subplots(1, 3)
    for axes, name, steps in ((left, "valley", 60), (middle, "saddle", 120)):
        surface = surfaces.get(name)
        lrs: dict[str, float] = (
            {} if name == "valley" else {each.name: surface.rates.get(each.name, surface.rates[""]) for each in _beside(rule)}
        )
        descent = descend(surface, _beside(rule), surface.start, steps, lrs)
        (x0, x1), (y0, y1) = surface.domain
        x, y = np.meshgrid(np.linspace(x0, x1, 120), np.linspace(y0, y1, 120))
        axes.contour(x, y, surface.value(np.stack([x, y], -1)), levels=14, colors="#cccccc", linewidths=0.6)
        for path in descent.paths:
            look = style(path.name)
            axes.plot(
                *path.points.T,
                color=look.colour,
                linestyle=look.dash,
                linewidth=2.2 if path.name == rule.name else 1.2,
                label=path.name,
            )
        axes.set_xlim(x0, x1)
        axes.set_ylim(y0, y1)
        axes.set_title(name, loc="left", fontsize="medium")
        ends = ", ".join(f"{path.name} {path.values[np.isfinite(path.values)][-1]:.1e}" for path in descent.paths)
        words.append(f"heights at the end on {name}: {ends}")
    surface, rates = surfaces.get("bowl"), LEARNING_RATE.values(range(-9, 3))
    noise = NOISE * np.random.default_rng(0).standard_normal((STEPS, 2))
    for each in _beside(rule):
        best = min(
            (trajectory(each, formula_of(surface), surface.start, STEPS, lr=lr, noise=noise)[1] for lr in rates),
            key=lambda values: float(np.median(np.nan_to_num(values, nan=np.inf)[STEPS // 2 :])),
        )
        look = style(each.name)
        right.plot(
            best, color=look.colour, linestyle=look.dash, linewidth=2.2 if each.name == rule.name else 1.2, label=each.name
        )
    right.set_yscale("log")
    right.set_title("noise on a bowl: height by step", loc="left", fontsize="medium")
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
    figure.set_gid(f"{rule.name} beside SGD and Adam: {'; '.join(words)}.")
    return figure


def curves(rule: Rule) -> Figure:
    """Plot the validation accuracy of the rule, SGD and Adam against the rate, on digits and MNIST."""
    figure, words = Figure(figsize=(9.6, 3.2)), []
    figure.subplots_adjust(**MARGINS, wspace=0.04)
    for axes, name in zip(figure.subplots(1, 2, sharey=True), sensitivity.STEPS, strict=True):
        for each in _beside(rule):
            found = sensitivity.curve(name, each)
            if found is None:
                continue
            values, look, x = np.nan_to_num(found, nan=0.0), style(each.name), sensitivity.rates(each)
            wide = 2.2 if each.name == rule.name else 1.2
            axes.plot(x, values.mean(1), color=look.colour, linestyle=look.dash, linewidth=wide, label=each.name)
            axes.fill_between(x, values.min(1), values.max(1), color=look.colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        axes.set_ylim(50, 100)
        axes.set_xlabel("rate")
        axes.set_title(f"{name}, {sensitivity.STEPS[name]:,} steps", loc="left", fontsize="medium")
        axes.grid(alpha=0.25)
        best = sensitivity.facts(name, rule)
        words += [f"on {name} at best {best.accuracy:.1f} % at {best.lr:g}"] if best else []
    figure.axes[0].set_ylabel("validation accuracy, %")
    figure.axes[0].legend(frameon=False)
    figure.set_gid(f"Validation accuracy by rate, {sensitivity.SEEDS} seeds: {rule.name} {', '.join(words)}.")
    return figure


def page(rule: Rule, row: dict[str, Any], folder: Path) -> str:
    """The page of a rule as Markdown, from its row of the conformance table; its pictures are written to the folder."""
    card = describe(rule.name)
    lines = [f"# {_title(rule)}", "", card["idea"], "", f"`steepest.optim.{rule.class_name}`, by name `{rule.name}`."]
    lines += [f"Equal to `{card['twin']}`."] if card["twin"] else []
    lines += ["", "## Formula", "", *(f"$$\n{line}\n$$\n" for line in equations(rule))]
    lines += [
        "## Source",
        "",
        "As in the library, without its docstring:",
        "",
        "```python",
        card["source"],
        "```",
        "",
    ]
    for name, figure in (("paths", paths(rule)), *([("rates", curves(rule))] if _is_measured(rule) else [])):
        save(figure, folder / f"{rule.name}-{name}.png")
        words = figure.get_gid() or ""
        title = {"paths": "## Its path, with those of SGD and Adam", "rates": "## Accuracy by rate"}[name]
        lines += [title, "", f"![{words.partition('. ')[0].replace('[', '(').replace(']', ')')}]({rule.name}-{name}.png)", ""]
        if name == "paths" and len(rule.shapes) == 1:
            address = f"surface=valley&amp;rules={','.join(each.name for each in _beside(rule))}"
            lines += [f"<a href='../{PLAYGROUND}#{address}'>Race them yourself</a> in the playground.", ""]
    lines += [
        "## When to use it",
        "",
        f"**Use it** {card['use']}",
        "",
        f"**Avoid it** {card['avoid']}",
        "",
    ]
    lines += [*_evidence(rule), "", *_hyper(card), "", *_state(rule, card)]
    lines += ["", "## Differences from paper, author and torch", "", *(f"- {d}" for d in rule.deviations or ("None.",)), ""]
    lines += [line for said in catalogue.errors(row) for line in (said, "")]
    return "\n".join([*lines, "## Source of the rule", "", f"{card['reference']}.", ""])


def _title(rule: Rule) -> str:
    """The class name of a rule, and its own name if several rules share the class."""
    shared = sum(each.class_name == rule.class_name for each in RULES.values()) > 1
    return f"{rule.class_name}: {rule.name}" if shared and rule.name != rule.class_name.lower() else rule.class_name


def _is_measured(rule: Rule) -> bool:
    return any(sensitivity.curve(name, rule) is not None for name in sensitivity.STEPS)


def _evidence(rule: Rule) -> Iterator[str]:
    if not _is_measured(rule):
        return
    yield "Measured:"
    yield ""
    for name in sensitivity.STEPS:
        own, adam = sensitivity.facts(name, rule), sensitivity.facts(name, get("adam"))
        if own and adam:
            other = (
                (f" (Adam {adam.accuracy:.1f} % at {adam.lr:g})", f" (Adam {adam.decades:.1f})")
                if rule.name != "adam"
                else ("", "")
            )
            best = f"{own.accuracy:.1f} % at best, at {own.lr:g}{other[0]}"
            wide = f"within {sensitivity.NEAR:g} point of it over {own.decades:.1f} decades of rates{other[1]}"
            yield f"- {name}: {best}; {wide}."


def _hyper(card: dict[str, Any]) -> list[str]:
    lines = ["## Settings", "", "| setting | default | domain |", "|---|---|---|"]
    return lines + [f"| `{h['name']}` | {h['default']} | {h['domain']} |" for h in card["hyper"]]


def _state(rule: Rule, card: dict[str, Any]) -> list[str]:
    lines = ["## State and cost", "", f"{catalogue.state_bytes(rule)} bytes per float32 parameter at the defaults."]
    lines += [f"- `{s['name']}` starts at {s['starts']}; in a checkpoint `{s['key']}`." for s in card["state"]]
    return [*lines, "", *_cost(rule)]


def _cost(rule: Rule) -> Iterator[str]:
    """Yield sentences on the measured time of a step."""
    found = cost.of(rule)
    if found:
        yield f"A step on ResNet-50's 25.6 million parameters takes {found['over_sgd']:.1f} times as long as plain SGD's, at "
        yield f"{100 * found['of_memory']:.0f} % of memory speed ({found['threads']} threads, float32)."
        own = "Torch's own step" if rule.twin else "Another package's step"
        others = [(found["over_default"], own), (found["over_fused"], "Torch's fused step")]
        yield from (f"{words} takes {times:.1f} times as long as this." for times, words in others if times)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The index page, a table of all rules, from the rows of the conformance table."""
    about = "A page for each rule: its idea, formula, source, path, cost, and accuracy by rate."
    lines = ["# Optimizers", "", about, "", *catalogue.compared(rows, lambda rule: f"[{_title(rule)}]({rule.name}.md)"), ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", *RULES, "```", ""])


def write(folder: Path) -> None:
    """Write all pages and their pictures to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = conformance.table()
    (folder / "index.md").write_text(table(rows), encoding="utf-8")
    for row in rows:
        rule = get(row["name"])
        (folder / f"{rule.name}.md").write_text(page(rule, row, folder), encoding="utf-8")
