"""`steepest work`: one slice of a study, for machines that share a folder and no more."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Annotated, Any

import typer

from ..errors import SteepestError, place
from ..shell import JSON, check_json, loading, sentences, write_json
from ..studies import defaults

app = typer.Typer()
ASKED = "asked"  # the fact in a store that tells what its studies were asked


@app.command()
@sentences
def work(
    problem: Annotated[
        str | None,
        typer.Argument(metavar="[PROBLEM|FILE.py]", help="Default: what the store was last asked, all options."),
    ] = None,
    store: Annotated[str, typer.Option(metavar="FILE", help="The study's store; slices write beside it.")] = defaults.STORE,
    slice_: Annotated[str, typer.Option("--slice", metavar="i/n", help="Which of how many. Default: all.")] = "1/1",
    optimizers: Annotated[str, typer.Option(help="As for compare.")] = ",".join(defaults.OPTIMIZERS),
    schedules: Annotated[str, typer.Option(help="As for compare.")] = ",".join(defaults.SCHEDULES),
    lrs: Annotated[str, typer.Option(help="As for compare.")] = "auto",
    trials: Annotated[int, typer.Option(help="As for compare.")] = defaults.TRIALS,
    seeds: Annotated[int | None, typer.Option(help="As for compare.")] = None,
    steps: Annotated[int | None, typer.Option(help="As for compare.")] = None,
    margin: Annotated[float | None, typer.Option(help="As for compare.")] = None,
    device: Annotated[str, typer.Option(help="As for compare.")] = "cpu",
    plan: Annotated[str, typer.Option(help="As for compare.")] = "auto",
    memory: Annotated[str | None, typer.Option(help="As for compare.")] = None,
    json_file: JSON = None,
) -> None:
    """One slice of the runs that a study needs next, for a cluster without Ray; `store merge` brings the slices together.

    There is no budget: a race goes on to its margin, round after round. Where nothing is left to train, the answer is printed.
    """
    check_json(json_file)
    asked: dict[str, Any] = {"problem": problem, "optimizers": optimizers, "schedules": schedules, "lrs": lrs, "trials": trials}
    asked |= {"seeds": seeds, "steps": steps, "margin": margin, "device": device, "plan": plan, "memory": memory}
    share = _share(slice_)
    out = sys.stderr if str(json_file) == "-" else sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a model or a problem file prints is not part of the answer
        with loading():
            from ..api import Share
            from ..api import work as run
            from ..report.study import terminal

        chosen = asked if problem is not None else last_asked(store)
        found = run(**chosen, store=store, share=share)
        remember(found.store, chosen)
        console = terminal.console(out)
        if isinstance(found, Share):
            others = f"{found.left:,} runs are left for the other slices; when they have ended: "
            merging = f"steepest store merge {store} {store}-slice-*-of-{share[1]}, then the slices once more."
            console.print(f"{found.trained:,} runs trained, kept in {found.store}. {others}{merging}", soft_wrap=True)
        else:
            terminal.show(found.result, console)
    if isinstance(found, Share):
        told = {"store": found.store, "trained": found.trained, "left": found.left, "study": None}
    else:
        told = {"store": found.store, "trained": found.result.trained, "left": 0, "study": found.to_dict()}
    write_json(told, json_file)


def remember(store: str, asked: dict[str, Any]) -> None:
    """Keep what a study was asked, for `work` to go on with."""
    from ..studies.store import Store

    if store != ":memory:":
        with Store(store) as kept:
            before = [*kept.facts(ASKED)]
            if not before or before[-1] != asked:
                kept.remember(ASKED, {"number": len(before), **asked}, asked)


def last_asked(store: str) -> dict[str, Any]:
    """What a store's last study was asked; SteepestError where it remembers none."""
    from ..studies.inspection import copied
    from ..studies.store import Store

    if place("store", store).is_file():
        with copied(store) as copy, Store(copy) as kept:
            facts = [*kept.facts(ASKED)]
        if facts:
            return dict(facts[-1])
    raise SteepestError(f"The store {store} remembers no study; name the problem, with options as for `steepest compare`.")


def _share(text: str) -> tuple[int, int]:
    """Which slice of how many."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    share = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= share[0] <= share[1]:
        raise SteepestError(f"The slice is {text!r}; expected i/n with i from 1 to n, such as 3/8.")
    return share
