"""Print one race batch by batch, replayed on recorded runs: `python -m steepest_workshop.course [TABLE]`.

docs/protocol.md shows the output for digits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from steepest.study.budget import TUNING_SEEDS
from steepest.study.protocol import AFTER, Wanted
from steepest.study.race import NEXT_TO
from steepest.study.table import question, replay

from . import tables

HEADING = ("asked for", "runs", "seeds", "pick so far", "another is better by at most", "could be the best")


def rows(name: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each batch of a race on a recorded table: the runs requested, then the pick and its bound."""
    recorded, batches = tables.load(name), list[Wanted]()
    course = replay(question(recorded.table, recorded.scale), recorded.table, watch=batches.append)
    looks, standings = iter(course.looks), iter(course.standings)
    for batch in batches:
        seeds, runs = sorted({job.seed for job in batch.jobs}), str(len(batch.jobs))
        if batch.phase == AFTER or batch.why() == NEXT_TO:
            yield batch.why(), runs, str(len(seeds)), "", "", ""
        elif seeds[0] in TUNING_SEEDS:
            candidates = len({job.candidate for job in batch.jobs})
            yield f"screening, {_count(candidates)}", runs, str(len(seeds)), "", "", ""
        else:
            look, now = next(looks), next(standings)
            candidates = len({job.candidate for job in batch.jobs})
            bound = f"{look.bound:.2f}{recorded.scale.unit}" if look.bound is not None else "not known"
            yield f"race, {_count(candidates)}", runs, f"up to {now.seeds.max()}", look.pick, bound, str(now.possible.sum())


def _count(candidates: int) -> str:
    return f"{candidates} candidate{'s' if candidates > 1 else ''}"


def table(name: str) -> str:
    """Format the race as a Markdown table."""
    lines = [HEADING, ("---",) * len(HEADING), *rows(name)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


if __name__ == "__main__":
    print(table(*(sys.argv[1:] or ["digits"])))
