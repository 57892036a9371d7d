"""Commands on a store: list it, show a run, merge several, check it, and export it to other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SteepestError, place
from ..escapes import every
from ..shell import JSON, command, say, write_json

if TYPE_CHECKING:
    from ..study.store import Store

app = typer.Typer(help="What a store contains.", no_args_is_help=True)
STORE = Annotated[str, typer.Argument(metavar="STORE", help="A store that `compare` made.")]


def opened(path: str) -> Store:
    """Open an existing store. Raises SteepestError if there is none."""
    from ..study.store import Store

    if not place("store", path).is_file():
        raise SteepestError(f"There is no store {path}; give a file that `steepest compare --store` wrote.")
    return Store(path)


@command(app)
def ls(store: STORE, json_file: JSON = None) -> None:
    """List the contents of a store: runs by problem, completed studies, and checkpoints of unfinished runs."""
    from ..study.store import inspection

    with opened(store) as found:
        held = inspection.listed(found)
    say("\n".join(inspection.words(every(held))))
    write_json(held, json_file)


@command(app)
def show(
    store: STORE,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The beginning of its key. Default: the newest runs.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """Show the newest runs, or one run: its spec, outcome and curve."""
    from ..study.store import inspection

    with opened(store) as found:
        shown: Any = inspection.newest(found) if run is None else inspection.one(found, run)
    seen = every(shown)
    say("\n".join(inspection.rows(seen) if run is None else inspection.card(seen)))
    write_json(shown, json_file)


@command(app)
def merge(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store to merge into; created if there is none.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Stores to merge; they are not changed.")],
    json_file: JSON = None,
) -> None:
    """Merge stores into one, without duplicates. Damaged rows are skipped and counted."""
    from ..study.store import Store, inspection

    for other in others:
        opened(other).close()
    with Store(store) as found:
        taken = {other: inspection.merge(found, other) for other in others}
    for other, kinds in taken.items():
        say(f"{other}: {', '.join(f'{count:,} {kind}' for kind, count in kinds.items() if count) or 'nothing new'}")
    write_json(taken, json_file)


@command(app)
def check(store: STORE, json_file: JSON = None) -> None:
    """Check that every row of a store can be read and matches its digest, and list the rows that do not."""
    from ..study.store import inspection

    with opened(store) as found:
        wrong = [*found.notes, *inspection.faults(found)]
        ((runs,),) = found.all("SELECT count(*) FROM runs")
    write_json({"store": store, "sound": not wrong, "faults": wrong}, json_file)
    if wrong:
        say("\n".join(every(wrong)), err=str(json_file) == "-")
        raise SteepestError(
            f"The store {store} has {len(wrong)} faults; `steepest store merge NEW.db {store}` copies the sound rows."
        )
    say(f"{store} is sound: {runs:,} runs.")


@command(app)
def export(
    store: STORE,
    out: Annotated[str, typer.Option(metavar="FILE|FOLDER", help="A .csv or .parquet file, or a folder for the others.")],
    to: Annotated[str | None, typer.Option(help="csv, parquet, tensorboard or mlflow. Default: by the file's name.")] = None,
    json_file: JSON = None,
) -> None:
    """Export every run of a store: as a table, for TensorBoard or for MLflow."""
    from ..study.store.exports import export as write

    with opened(store) as found:
        count = write(found, out, to)
    say(f"Wrote {count} runs to {out}.")
    write_json({"runs": count, "out": out}, json_file)
