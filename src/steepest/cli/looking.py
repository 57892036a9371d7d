"""Commands that train nothing: lists, surfaces, paths, schedules, rules and the playground."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import problems as library
from .. import rules
from .. import schedules as multipliers
from ..checks import names_in
from ..errors import SteepestError, absolute
from ..rules import RACE, Rule
from ..shell import JSON, check_distinct, check_file, command, near, say, write_json

app = typer.Typer()


@command(app, "list")
def list_(
    what: Annotated[str, typer.Argument(metavar="optimizers|schedules|problems|surfaces|axes|measures")],
    json_file: JSON = None,
) -> None:
    """List the optimizers, schedules, problems, surfaces, axes to search, or measures to race on."""
    from ..errors import unknown

    if what == "surfaces":
        from .. import surfaces

    kinds: dict[str, list[dict[str, Any]]] = {
        "optimizers": [
            {
                "name": r.name,
                "class": r.class_name,
                "reference": r.reference,
                "reach": r.reach,
                "state": list(r.state),
                "hyper": r.hyper,
                "deviations": list(r.deviations),
            }
            for r in rules.RULES.values()
        ],
        "schedules": [
            {"name": k, "arguments": str(inspect.signature(f)).split(" ->")[0], "formula": _first_line(f)}
            for k, f in multipliers.FORMULAS.items()
        ],
        "problems": [{"name": name} for name in library.BUILT_IN],
        "surfaces": [{"name": k, "about": _first_line(f)} for k, f in surfaces.SURFACES.items()] if what == "surfaces" else [],
        **{kind: _searched(what) if what == kind else [] for kind in ("axes", "measures")},
    }
    if what not in kinds:
        raise unknown("list", what, kinds)
    for row in kinds[what]:
        more = f"{row['class']:19}{row['reference']}" if "class" in row else row.get("formula") or row.get("about", "")
        say(f"{row['name']:21}{more}".rstrip())
    write_json(kinds[what], json_file)


def _searched(what: str) -> list[dict[str, Any]]:
    """The axes or the measures of studies."""
    from ..study.axes import AXES, LEARNING_RATE, in_words
    from ..study.measures import MEASURES, METRIC

    if what == "measures":
        return [{"name": name} for name in (METRIC, *MEASURES)]
    every = (LEARNING_RATE, *AXES.values())
    return [
        {"name": a.name, "scale": a.scale, "usual": a.usual, "of": a.of, "about": f"{in_words(a)}; {a.source}"} for a in every
    ]


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


@command(app)
def surface(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FORMULA|PROBLEM", help='"himmelblau", "x**2 + 3*sin(y)**2", or a problem.')
    ],
    json_file: JSON = None,
) -> None:
    """Analyse a surface: stationary points, convexity and minima; for a network's loss, its initial slope and curvature."""
    if name in library.BUILT_IN or name.endswith(".py"):
        from ..report.surface import text
        from ..training.curvature import curvature

        problem = library.get(name)
        steepness = curvature(problem)
        say(text.network(problem.name, steepness, rules.get("sgd").rate))
        write_json({"name": problem.name, **steepness._asdict()}, json_file)
        return
    from .. import surfaces
    from ..report.surface import text

    chosen = surfaces.get(name)
    if str(json_file) != "-":  # text and data are both slow to compute
        say(text.text(chosen))
    if json_file is not None:
        write_json(text.card(chosen), json_file)


VIEWS = ("map", "space", "panels", "heights", "insides")


@command(app)
def path(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FORMULA", help='"saddle", "valley(condition=100)", "x**2 + 3*sin(y)**2".')
    ],
    optimizers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(RACE),
    lrs: Annotated[
        str | None, typer.Option(help="A rate for all, or by name (sgd=0.1,adam=0.01); auto: the best of a grid.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="The start of all paths, such as --start=1,1e-3.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradients for each optimizer.")] = 200,
    schedule: Annotated[str, typer.Option(help="The schedule of the rates.")] = "constant",
    noise: Annotated[float, typer.Option(help="Standard deviation of normal noise on every gradient.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    view: Annotated[str, typer.Option(help=f"What --out draws: {', '.join(VIEWS)} (of the last optimizer).")] = "map",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: PNG, SVG or PDF.")] = None,
    animate: Annotated[Path | None, typer.Option(metavar="FILE.gif", help="An animation of the paths.")] = None,
    json_file: JSON = None,
) -> None:
    """Compute paths of optimizers down a surface, from one start, at equal work."""
    from ..api import trajectory
    from ..report.surface import text

    if view not in VIEWS:
        raise SteepestError(f"--view is {view!r}; expected one of {', '.join(VIEWS)}.")
    descent = trajectory(name, optimizers, start, steps, lrs=lrs, schedule=schedule, noise=noise, seed=seed)
    say(text.ends(descent))
    if out or animate:
        from ..report.surface import pictures
    if out:
        drawn = {"map": pictures.contour, "space": pictures.surface3d, "panels": pictures.panels, "heights": pictures.heights}
        figure = drawn[view](descent) if view in drawn else pictures.insides(descent.paths[-1], descent.surface)
        pictures.save(figure, absolute(out))
    if animate:
        poster = pictures.animate(descent, absolute(animate))
        say(near(f"Animation: {animate}   Last frame: {poster}"), err=str(json_file) == "-")
    write_json(text.paths(descent), json_file)


@command(app)
def play(
    surface: Annotated[
        str, typer.Argument(metavar="[SURFACE|FORMULA]", help='"himmelblau", "valley(condition=100)", "x**2 + 3*sin(y)**2".')
    ] = "valley",
    optimizers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(RACE),
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where to write the page.")] = Path("steepest-play.html"),
    opened: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json_file: JSON = None,
) -> None:
    """Write an interactive page: drag the start, and every optimizer's path follows. It needs no network and no server."""
    from ..playground import page

    check_file(out, "page", "play.html")
    check_distinct(out=out, json=json_file)
    made = page.play(surface, names_in(optimizers))
    made.write(absolute(out))
    size = absolute(out).stat().st_size
    say(f"Page: {out} ({size / 1000:.0f} kB); open it in a browser.")
    write_json({"out": str(out), "bytes": size, "surface": surface, "optimizers": names_in(optimizers)}, json_file)
    if opened:
        typer.launch(str(absolute(out)))


@command(app)
def schedule(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Such as cosine, 'step(size=30)', 'warmup(0.1) * cosine'.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Steps of the run.")] = 1000,
    rate: Annotated[float, typer.Option(help="The learning rate to multiply, for the picture.")] = 1.0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: PNG, SVG or PDF.")] = None,
    json_file: JSON = None,
) -> None:
    """Print or draw schedules: the multiplier of the learning rate at every step."""
    chosen = [multipliers.get(name) for name in names]
    rows: list[dict[str, Any]] = [{"name": s.name, "values": s.values(steps), "momentum": s.momenta(steps)} for s in chosen]
    for row in rows:
        if not all(map(math.isfinite, row["values"])):
            raise SteepestError(f"The schedule {row['name']} overflows; expected finite multipliers.")
    marks = sorted({round(i * (steps - 1) / 8) for i in range(9)})
    width = max(10, *(len(s.name) for s in chosen)) + 2
    say("step".ljust(width) + "".join(f"{k:>10}" for k in marks))
    for s in chosen:
        say(s.name.ljust(width) + "".join(f"{s(k, steps):>10.4g}" for k in marks))
    if out:
        from ..report.surface import pictures

        pictures.save(pictures.schedules(chosen, steps, rate), out)
    write_json({"schedules": rows}, json_file)


@command(app)
def show(
    name: Annotated[str, typer.Argument(metavar="OPTIMIZER|FILE.py:NAME")],
    language: Annotated[str | None, typer.Option(help="Print only the step, in python, latex or javascript.")] = None,
    json_file: JSON = None,
) -> None:
    """Show a rule: its code, source, hyperparameters, state and deviations, and one step with real numbers."""
    from ..report.rule import card

    shown = card.describe(name) if language is None else _step_in(language, rules.get(name))
    say(card.text(shown) if language is None else shown["text"])
    write_json(shown, json_file)


def _step_in(language: str, rule: Rule) -> dict[str, str]:
    """A rule's step in a language, for `steepest show --language`. Raises SteepestError for an unknown language."""
    from ..playground import javascript
    from ..report.rule import card, latex

    forms: dict[str, Callable[[Rule], str]] = {
        "python": card.source,
        "latex": lambda rule: "\n".join(latex.equations(rule)),
        "javascript": javascript.text,
    }
    if language not in forms:
        raise SteepestError(f"--language is {language!r}; expected one of {', '.join(forms)}.")
    return {"name": rule.name, "language": language, "text": forms[language](rule)}
