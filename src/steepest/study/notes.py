"""Notes on a study: what a reader must know besides the numbers, a sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import listed
from ..training import checkpoints
from ..training.unfinished import folder_of
from .course import Course
from .keys import Keys
from .result import Entry
from .store import Store

if TYPE_CHECKING:
    from .lab import Lab


def notes(lab: Lab, course: Course, entries: Sequence[Entry], repeats: bool | None) -> list[str]:
    """Everything to be said about a study, its store and its problem."""
    lab.store.guard()
    said = [course.fits] if course.fits else []
    if course.interrupted:
        said.append("It was interrupted, and says what was known by then; --continue goes on.")
    return [*said, *_of_store(lab), *_of_problem(lab), *_of_work(course, entries), *_of_runs(entries, repeats)]


def first_known(store: Store, problem: str, keys: Keys) -> str:
    """The fingerprint that a store first saw under a problem's name; one of an earlier version's form is no other."""
    named, known = {"problem": problem, "device": keys.device}, ""
    for what in ("fingerprint", "identity"):
        store.remember(what, named, keys.fingerprint)
        known = str(store.recall(what, named))
        if not re.fullmatch("[0-9a-f]{64}", known):
            break
    return known


def _of_store(lab: Lab) -> Iterator[str]:
    yield from lab.store.notes
    unfit = checkpoints.set_aside(lab.store.path)
    if unfit:
        files = f"{unfit} files" if unfit > 1 else "A file"
        yield (
            f"{files} of runs under way in {folder_of(lab.store.path).name} did not fit, so these runs began "
            f"anew; what ends in {checkpoints.ASIDE} may be deleted."
        )


def _of_problem(lab: Lab) -> Iterator[str]:
    problem = lab.problem
    if problem.same_start:
        yield "A module was given, not a function: every seed starts from the same weights."
    if lab.first_known() != lab.keys.fingerprint:
        yield (
            f"{problem.name} is not what it was when this store first saw it (its data, first weights or code), so "
            "runs from then are not used. Where nothing was edited, something in it is random: seed it."
        )
    if lab.undigested:
        yield (
            f"An edit of these would not be noticed, and runs from before it used: {listed(lab.undigested)}. After one, "
            "give a new --store."
        )
    older = lab.store.unmatched(problem.name)
    if older:
        yield (
            f"{older} runs of {problem.name} in the store are of an earlier version, which did not know problems or "
            "rules by their code: they are kept, but cannot be matched, and were not used."
        )


def _of_work(course: Course, entries: Sequence[Entry]) -> Iterator[str]:
    """Where candidates did not get equal work, and what equal work is."""
    tried = {e.candidate.label: len(e.trials) for e in entries}
    if len(set(tried.values())) > 1 and all(e.candidate.space.rates is None for e in entries):
        least = min(tried.values())
        grown = ", ".join(f"{label} {n}" for label, n in tried.items() if n > least)
        yield f"Grids were grown where a best rate lay on their edge: rates tried of {grown}, of each other {least}."
    elif len(set(tried.values())) > 1:
        work = ", ".join(f"{label} {n}" for label, n in tried.items())
        yield f"The optimizers were not tuned with equal work (rates tried: {work})."
    for rule in {e.candidate.space.name: e.candidate.rule for e in entries}.values():
        if rule.evaluations > 1:
            steps = course.question.steps // rule.evaluations
            yield f"{rule.name} takes {rule.evaluations} gradients a step, so it makes {steps} steps: equal work."


def _of_runs(entries: Sequence[Entry], repeats: bool | None) -> Iterator[str]:
    """Runs that crashed or have no value, runs that do not repeat, and rates at an edge."""
    failed = [str(t.candidate) for e in entries for t in e.trials if any(o.failed for o in t.outcomes)]
    failed += [str(e.candidate) for e in entries if any(o.failed for o in e.outcomes)]
    if failed:
        runs = ", ".join(dict.fromkeys(failed))
        yield f"Runs that crashed their process three times, or its node, count as diverged: {runs}."
    unmeasured = [o for e in entries for o in (*e.outcomes, *(o for t in e.trials for o in t.outcomes))]
    unmeasured = [o for o in unmeasured if o.status == "no metric"]
    if unmeasured:
        runs = f"{len(unmeasured)} runs" if len(unmeasured) > 1 else "1 run"
        yield f"{runs} trained to the end and have no value: {unmeasured[0].why}."
    if repeats is False:
        yield (
            "Runs do not repeat: the first steps of one seed, trained again, gave other losses. A loss, metric or model of "
            "yours keeps a memory between runs, or draws numbers that are not seeded, so equal seeds are no fair pairs."
        )
    for e in entries:
        if e.at_edge and e.lr is not None:
            yield f"The best rate of {e.candidate.label}, {e.lr:g}, is the last of those tried: a better may lie beyond."
    alike = [e for e in entries if len(e.values) > 1 and len(set(e.values)) == 1 and e.values[0] is not None]
    if len(alike) == len(entries):
        yield "Every seed gave the same value: this problem has no randomness, so its intervals have no width."
