"""Notes on a study: warnings and explanations for its reader, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import listed
from ..training import checkpoints
from ..training.unfinished import folder_of
from ..update import foreign
from .course import Course
from .keys import Keys
from .result import Entry
from .store import Store

if TYPE_CHECKING:
    from .lab import Lab


def notes(lab: Lab, course: Course, entries: Sequence[Entry], repeats: bool | None) -> list[str]:
    """All notes on a study, its store and its problem."""
    lab.store.guard()
    said = [course.fits] if course.fits else []
    if course.interrupted:
        said.append("The study was interrupted; this is its result so far. Give --continue to resume it.")
    return [*said, *_of_store(lab), *_of_problem(lab), *_of_work(course, entries), *_of_runs(entries, repeats)]


def first_known(store: Store, problem: str, keys: Keys) -> str:
    """The fingerprint first stored under a problem's name; fingerprints in an older format are ignored."""
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
            f"{files} in {folder_of(lab.store.path).name} could not be used as a checkpoint, so these runs were "
            f"restarted; files that end in {checkpoints.ASIDE} may be deleted."
        )


def _of_problem(lab: Lab) -> Iterator[str]:
    name = lab.training.facts.name
    yield from lab.training.facts.caveats
    yield from lab.question.remarks
    for key, sentence in lab.store.facts("notice"):
        if key == lab.keys.fingerprint:
            yield sentence
    if lab.changed_unseen:
        yield (
            f"The first reports of {name} are not those of an earlier study of the same code: something changed that cannot be "
            "seen, such as a file that it reads. Earlier runs are not used; name such files in data=[...]."
        )
        return
    if lab.first_known() != lab.keys.fingerprint:
        yield (
            f"{name} is not what it was when this store first saw it (its data, initial weights or code changed), "
            "so earlier runs are not used. If nothing was edited, something in it is random: seed it."
        )
    if lab.undigested:
        yield (
            f"Edits of these would not be noticed, and earlier runs would be reused: {listed(lab.undigested)}. After an "
            "edit, give a new --store."
        )
    older = lab.store.unmatched(name)
    if older:
        yield (
            f"{older} runs of {name} in the store are of an earlier version, which did not identify problems or "
            "rules by their code: they stay in the store, but cannot be matched and were not used."
        )


def _of_work(course: Course, entries: Sequence[Entry]) -> Iterator[str]:
    """Notes on unequal tuning, and on rules that take several gradients a step."""
    tried = {e.candidate.label: len(e.trials) for e in entries}
    if len(set(tried.values())) > 1 and all(e.candidate.space.rates is None for e in entries) and not course.interrupted:
        least = min(tried.values())
        grown = ", ".join(f"{label} {n}" for label, n in tried.items() if n > least)
        yield f"Grids were extended where the best rate was at an edge (rates tried: {grown}; every other {least})."
    elif len(set(tried.values())) > 1:
        work = ", ".join(f"{label} {n}" for label, n in tried.items())
        yield f"The optimizers were not tuned with equal work (rates tried: {work})."
    twins = [(e, twin) for e in entries for twin in entries if foreign.same(e.candidate.space.rule, twin.candidate.space.rule)]
    for name, twin in dict.fromkeys((e.candidate.space.name, twin.candidate.space.name) for e, twin in twins):
        yield f"{name} and {twin} are the same optimizer: their results differ only by rounding and by their tuning."
    for rule in {e.candidate.space.name: e.candidate.rule for e in entries}.values():
        if rule.evaluations > 1:
            steps = course.question.steps // rule.evaluations
            yield f"{rule.name} takes {rule.evaluations} gradients a step, so it trains for {steps} steps: equal work."


def _of_runs(entries: Sequence[Entry], repeats: bool | None) -> Iterator[str]:
    """Runs that crashed or have no value, runs that do not repeat, and rates at an edge."""
    failed = [str(t.candidate) for e in entries for t in e.trials if any(o.failed for o in t.outcomes)]
    failed += [str(e.candidate) for e in entries if any(o.failed for o in e.outcomes)]
    if failed:
        runs = ", ".join(dict.fromkeys(failed))
        yield f"Runs that crashed their process on every retry count as diverged: {runs}."
    unmeasured = [o for e in entries for o in (*e.outcomes, *(o for t in e.trials for o in t.outcomes))]
    unmeasured = [o for o in unmeasured if o.status == "no metric"]
    if unmeasured:
        runs = f"{len(unmeasured)} runs" if len(unmeasured) > 1 else "1 run"
        yield f"{runs} trained to the end and have no value: {unmeasured[0].why}."
    if repeats is False:
        yield (
            "Runs do not repeat: the first steps of one seed, trained again, gave different losses. Your loss, metric or "
            "model keeps state between runs or draws unseeded random numbers, so runs on equal seeds are not fair pairs."
        )
    for e in entries:
        if e.at_edge and e.lr is not None:
            yield f"The best rate of {e.candidate.label}, {e.lr:g}, is at the edge of those tried: a better one may lie beyond."
    alike = [e for e in entries if len(e.values) > 1 and len(set(e.values)) == 1 and e.values[0] is not None]
    if len(alike) == len(entries):
        yield "Every seed gave the same value: this problem has no randomness, so intervals have zero width."
