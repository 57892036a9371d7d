"""`steepest work`: train one slice of a study, for machines that share only a folder."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Collection
from typing import Annotated, Any, cast

import typer

from .. import grammar, rules
from .. import problems as library
from ..errors import SteepestError, absolute, place
from ..options import PROBLEM, Options, stored
from ..shell import JSON, command, loading, near, write_json
from .options import takes_options

app = typer.Typer()
ASKED = "asked"  # the name of the facts with the options of a store's studies
FILE = "FILE.py"  # replaces the name of any Python file or module: a store never names code
COMMAND = "PROGRAM"  # replaces a command line


@command(app)
@takes_options("work")
def work(
    problem: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROBLEM|FILE.py]", help="Default: that of the store's last study; a Python file must be named."
        ),
    ] = None,
    slice_: Annotated[str, typer.Option("--slice", metavar="i/n", help="Slice i of n. Default: all runs.")] = "1/1",
    json_file: JSON = None,
    **asked: Any,
) -> None:
    """Train one slice of the runs that a study needs next, for a cluster without Ray; `store merge` combines the slices.

    There is no budget: a race continues to its margin, round after round. When nothing is left to train, the answer is printed.
    """
    share, store = _share(slice_), str(absolute(asked["store"]))  # before the user's code runs
    asked["optimizers"] = ",".join(asked["optimizers"])
    if problem is not None or asked["command"] is not None:
        asked = asked | {"problem": problem}
    else:
        asked = last_asked(store) | {name: asked[name] for name in ("workers",)}
    asked["store"] = store
    options, out = Options(**asked), sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a model or a problem file prints is not part of the answer
        with loading():
            from ..api import Share
            from ..api import work as run
            from ..report import terminal

        found = run(**asked, share=share)
        remember(found.store, asked)
        console = terminal.console(out)
        if isinstance(found, Share):
            others = f"{found.left:,} runs are left for the other slices; when they have ended: "
            merging = f"steepest store merge {options.store} {options.store}-slice-*-of-{share[1]}, then run the slices again."
            words = f"{found.trained:,} runs trained and stored in {found.store}. {others}{merging}"
            console.print(near(words), soft_wrap=True)
            result: dict[str, Any] = {"trained": found.trained, "left": found.left, "study": None}
        else:
            terminal.show(found.result, found.data, console)
            result = {"trained": found.result.trained, "left": 0, "study": found.to_dict()}
    write_json({"store": near(found.store)} | result, json_file)


def remember(store: str, asked: dict[str, Any]) -> None:
    """Store the options of a study, for `work` and `--continue`; a Python file is stored as `FILE`, without its path."""
    from ..study.store import Store

    if store != ":memory:":
        asked = _without_paths(asked)
        with Store(store) as kept:
            before = [*kept.facts(ASKED)]
            if not before or before[-1] != asked:
                kept.remember(ASKED, {"number": len(before), **asked}, asked)


def last_asked(store: str) -> dict[str, Any]:
    """The options of a store's last study. Raises SteepestError if there is none, or if its problem was a Python file."""
    asked = _last(store, "steepest work")
    if asked is None:
        raise SteepestError(f"The store {store} has no study; name a problem, with the options of `steepest compare`.")
    return asked


def resumed(problem: str | None, asked: dict[str, Any], typed: set[str]) -> tuple[str | None, dict[str, Any]]:
    """The problem and the options of `compare --continue`: those of the store's last study, except for what was typed.

    The last study counts only if it was of the typed problem, if there is one. Raises SteepestError if there is nothing to
    continue, or if the study's problem was a Python file and none was typed.
    """
    problem = COMMAND if asked["command"] is not None else problem
    last = _last(asked["store"], "steepest compare --continue", problem, typed)
    if last is None and problem is None:
        raise SteepestError(f"The store {near(asked['store'])} has no study to continue; name a problem.")
    if last is None or (problem is not None and _stored_problem(problem) != last["problem"]):
        return None if problem == COMMAND else problem or PROBLEM, asked
    named = last.pop("problem")
    named = None if problem == COMMAND else problem or named
    return named, asked | {k: v for k, v in last.items() if k not in typed}


def _last(store: str, command: str, problem: str | None = None, typed: Collection[str] = ()) -> dict[str, Any] | None:
    """The options of a store's last study; None if there is none.

    A store may come from someone else, so no file that it names is run: if a problem or a rule was a file, it raises
    SteepestError with the command to type, in which the file is to be filled in; a `problem` or optimizers that were `typed`
    replace the stored ones.
    """
    from ..study.store import Store
    from ..study.store.inspection import copied

    if not place("store", store).is_file():
        return None
    with copied(store) as copy, Store(copy) as opened:
        facts = [*opened.facts(ASKED)]
    if not facts:
        return None
    asked = _without_paths(facts[-1])
    program = problem is None and asked["problem"] == COMMAND
    if program or FILE in (problem or asked["problem"]) or ("optimizers" not in typed and FILE in asked["optimizers"]):
        changed = {k: v for k, v in asked.items() if k != "problem" and v != stored()[k]}
        options = {"store": near(store)} | changed
        words = [word for name, value in options.items() for word in _typed(name, value)]
        trained = ["--command", COMMAND, "--metric", "REGEX", "--direction", "min"] if program else [asked["problem"]]
        used = "ran a program" if program else "used a Python file"
        what = "command" if program else "file"
        raise SteepestError(
            f"The study in {store} {used}, and a store never names a {what} to run. Give the {what} yourself:",
            shlex.join([*command.split(), *trained, *words]),
        )
    return asked


def _typed(name: str, value: Any) -> list[str]:
    """An option as it is typed."""
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def _without_paths(asked: dict[str, Any]) -> dict[str, Any]:
    """The options with every path replaced by `FILE`: that of the problem, and those of rules in files."""
    defaults = stored()
    chosen = defaults | {k: v for k, v in asked.items() if k in defaults}
    names = [str(_without_path(grammar.candidate(text))) for text in grammar.split(chosen["optimizers"])]
    return chosen | {"problem": _stored_problem(asked["problem"]), "optimizers": ",".join(names)}


def _without_path(one: grammar.One | grammar.Parts) -> grammar.One | grammar.Parts:
    """A candidate in which a file or module is replaced by `FILE`; names of built-in optimizers and of torch stay."""
    if isinstance(one, grammar.Parts):
        return grammar.Parts(tuple((key, cast(grammar.One, _without_path(part))) for key, part in one.parts))
    if one.name in rules.RULES or one.name.startswith("torch.optim."):
        return one
    return grammar.One(f"{FILE}:{re.split('[:.]', one.name)[-1]}", one.settings)


def _stored_problem(problem: str | None) -> str:
    """A problem as a store names it: a built-in name, `FILE`, or `COMMAND` where there is none."""
    if problem is None or problem == COMMAND:
        return COMMAND
    return problem if problem in library.BUILT_IN else FILE


def _share(text: str) -> tuple[int, int]:
    """Parse a slice "i/n". Raises SteepestError for anything else."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    share = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= share[0] <= share[1]:
        raise SteepestError(f"The slice is {text!r}; expected i/n with i from 1 to n, such as 3/8.")
    return share
