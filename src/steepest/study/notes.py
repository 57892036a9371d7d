"""Notes on a study: warnings and explanations for its reader, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import listed
from ..rules.foreign import Maker, Parts
from ..training import checkpoints
from ..training.loop.running import RAISED
from ..training.unfinished import folder_of
from ..update import foreign
from .course import Course
from .keys import Keys
from .result import Entry
from .store import Store

if TYPE_CHECKING:
    from .lab import Lab

NOTABLE = 0.25  # share of the budget that went to other things than runs, from which on a note says so


def notes(lab: Lab, course: Course, entries: Sequence[Entry], repeats: bool | None) -> list[str]:
    """All notes on a study, its store and its problem."""
    lab.store.guard()
    said = [course.fits] if course.fits else []
    if lab.trained and course.question.budget and lab.began_after > NOTABLE * course.question.budget:
        said.append(f"Starting and checks took {lab.began_after:.2g} s of the budget of {course.question.budget:g} s.")
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
    compared = {name for space in lab.question.spaces for name in _bases(space.rule)}
    for key, sentence, code in lab.store.facts("notice"):
        about = code.partition(": ")[2]  # an optimizer, which this study may not compare
        if key == lab.keys.fingerprint and (not about or about in compared):
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


def _bases(maker: Maker) -> list[str]:
    """The names of the optimizers of a candidate, without their settings."""
    parts = [*maker.parts.values()] if isinstance(maker, Parts) else [maker]
    return [(part.base or part).name for part in parts]


def _of_work(course: Course, entries: Sequence[Entry]) -> Iterator[str]:
    """Notes on unequal tuning, and on rules that take several gradients a step."""
    tried = {e.candidate.space.label: _rates_tried(e) for e in entries}
    searched = all(e.candidate.space.rates is None for e in entries)
    first = min(course.question.trials, *(len(e.candidate.space.rate.first(course.question.trials)) for e in entries))
    said = unequal(tried, first, searched=searched, interrupted=course.interrupted)
    if said and not course.question.search:  # in which every optimizer has as many points
        yield said
    sized = [space for space in course.question.spaces if space.batch_size]
    if sized and (sizes := sized[0].axis("batch_size")):
        at = {size: sized[0].at(1.0, batch_size=size).steps(course.question.steps) for size in sizes.options or ()}
        each = ", ".join(f"{steps} steps with batches of {size}" for size, steps in at.items())
        yield f"Runs see as many examples whatever their batch size: {each}."
    twins = [(e, twin) for e in entries for twin in entries if foreign.same(e.candidate.space.rule, twin.candidate.space.rule)]
    for name, twin in dict.fromkeys((e.candidate.space.name, twin.candidate.space.name) for e, twin in twins):
        yield f"{name} and {twin} are the same optimizer: their results differ only by rounding and by their tuning."
    for rule in {e.candidate.space.name: e.candidate.rule for e in entries}.values():
        if rule.evaluations > 1:
            steps = course.question.steps // rule.evaluations
            yield f"{rule.name} takes {rule.evaluations} gradients a step, so it trains for {steps} steps: equal work."


def _rates_tried(entry: Entry) -> int:
    """The number of rates that a space was tried at, without those of refined candidates."""
    further = {axis.name for axis in entry.candidate.space.further}
    return len({trial.lr for trial in entry.trials if not further & dict(trial.candidate.settings).keys()})


def unequal(tried: Mapping[str, int], first: int, *, searched: bool = True, interrupted: bool = False) -> str:
    """A note on candidates of which different numbers of rates were `tried`; `first` is the size of a first grid."""
    least = min(tried.values())
    each = ", ".join(f"{label} {count}" for label, count in tried.items())
    if searched and least < first:
        return f"The study ended before all rates of the first grids were tried (rates tried: {each})."
    if len(set(tried.values())) == 1:
        return ""
    if searched and not interrupted:
        grown = ", ".join(f"{label} {count}" for label, count in tried.items() if count > least)
        return f"Grids were extended where the best rate was at an edge (rates tried: {grown}; every other {least})."
    return f"The optimizers were not tuned with equal work (rates tried: {each})."


def _of_runs(entries: Sequence[Entry], repeats: bool | None) -> Iterator[str]:
    """Runs that crashed or have no value, runs that do not repeat, and rates at an edge."""
    every = [(e.candidate, o) for e in entries for o in e.outcomes]
    every += [(t.candidate, o) for e in entries for t in e.trials for o in t.outcomes]
    raised = {str(candidate): o.why for candidate, o in every if o.why.startswith(RAISED)}
    if raised:
        first, why = next(iter(raised.items()))
        runs = first if len(raised) == 1 else f"{first} and {len(raised) - 1} more"
        yield f"Runs that raised count as collapsed: {runs}; {why.rstrip('.')}."
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
