"""The report: one self-contained HTML file with the answer, the code to paste, and pictures with their data tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib import resources

from ..escapes import is_picture
from ..escapes import page as escape
from ..study import sentences as answers
from ..study.data import StudyData
from ..study.recorded import Image
from . import figures, policy
from .palette import Style
from .picture import Picture, Table
from .pictures import pictures_of
from .registry import PICTURES
from .safe import safe

FIRST_SHOWN = 3  # optimizers shown at first in a picture with choices
DASHES = {"solid": "", "dashed": "6 3", "dotted": "1.5 2.5", "dashdot": "6 2 1.5 2"}


def text(studies: Sequence[StudyData]) -> str:
    """The HTML of the report of these studies; `file` writes it."""
    studies, code = [safe(study) for study in studies], _file("page.js")
    title = escape("steepest: " + ", ".join(study.problem for study in studies))
    sections = "".join(_study(study, k) for k, study in enumerate(studies))
    versions = ", ".join(f"{name} {number}" for name, number in studies[0].versions.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy(code)}">
<title>{title}</title><style>{_file("page.css")}</style></head><body><main>
{sections}
</main><footer>Made by <code>{escape(studies[0].command)}</code><br>
{escape(versions)}; {escape(studies[0].device)}</footer>
<script>{code}</script></body></html>
"""


def section(study: StudyData) -> str:
    """HTML with the answer, the code and the first picture, for a notebook; it needs no script."""
    study = safe(study)
    picture = next(iter(pictures_of(study).values()), None)
    drawn = f"<figure>{figures.svg(picture, 'notebook')}</figure>" if picture else ""
    return f"<div style='max-width:46rem'><p><b>{escape(study.answer.sentence)}</b></p>{_code(study)}{drawn}</div>"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _study(study: StudyData, number: int) -> str:
    answer = study.answer
    wrong = [line for line in answer.details if line.startswith("Rates from ") and "cost under" in line]  # of earlier versions
    details = "".join(f"<li>{escape(line)}</li>" for line in answer.details if line not in wrong)
    short = _table(answers.table(answer), "the pick, its rival and a cheaper candidate") if answer.rows else ""
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in study.notes)
    optimum = ""
    if study.optimum:
        optimum = f"<p>The lowest possible loss is {study.optimum[0]:.6g}: {escape(study.optimum[1])}.</p>"
    pairs = "".join(f"<li>{escape(v.sentence)} {escape(v.beside)}</li>" for v in study.verdicts)
    parts = "".join(_part(study, f"s{number}-{name}", name, picture) for name, picture in pictures_of(study).items())
    heading = "; ".join(filter(None, (study.about, f"{study.steps} steps a run", study.batches)))
    return f"""<section><h1>{escape(study.problem)}</h1><p class="about">{escape(heading)}</p>
<p class="answer">{escape(answer.sentence)}</p>
{short}
{_code(study)}
<h2>Confidence and details</h2><ul>{details}</ul>{optimum}{notes}
<details><summary>How these numbers were computed</summary><p>{escape(study.protocol)}</p></details>
{parts}{_examples(study)}
<h2>Every optimizer and schedule at its best rate</h2>{_table(study.table, "every optimizer and schedule at its best rate")}
<details><summary>All pairwise verdicts</summary><ul>{pairs}</ul></details></section>"""


def _code(study: StudyData) -> str:
    if not study.code:
        return ""
    copy = '<button type="button" data-copy>Copy</button>'
    return f'<div class="paste"><pre tabindex="0">{escape(study.code)}</pre>{copy}</div>'


def _part(study: StudyData, key: str, name: str, picture: Picture) -> str:
    """A picture with its title, legend or choices, caption, and data table."""
    legend = "" if PICTURES[name].choices else _legend(picture)
    drawn = _variants(study, key, name) if PICTURES[name].choices else figures.svg(picture, key)
    versions = ", ".join(f"{part} {study.versions[part]}" for part in ("steepest", "torch") if part in study.versions)
    return f"""<section id="{key}"><h2>{escape(picture.title)}</h2>{legend}
<figure>{drawn}<figcaption>{escape(picture.caption)}</figcaption></figure>
<details><summary>Data of this picture</summary>{_table(picture.table, picture.title)}</details>
<p class="foot">{escape(f"{study.ran}; {versions}; {study.command}")}</p></section>
"""


def _legend(picture: Picture) -> str:
    """The legend of a picture with several series; empty if the axes already name them."""
    styles = {series.label: series.style for panel in picture.panels for series in panel.series}
    if not picture.legend or len(styles) < 2:
        return ""
    words = "".join(f"<span>{_swatch(style)}{escape(label)}</span>" for label, style in styles.items())
    return f'<p class="chips">{words}</p>'


def _examples(study: StudyData) -> str:
    """Images: the examples that every seed of the pick got wrong, and how the predicted classes of some examples changed."""
    examples = study.recorded and study.recorded.examples
    if not study.recorded or not examples:
        return ""
    first = study.recorded.insides[0]
    followed = ""
    for k, one in enumerate(examples.watched):
        classes = _changes(first.steps, [predicted[k] for predicted in first.outputs])
        words = ", ".join(f"{predicted} from step {step}" for step, predicted in classes)
        followed += _image(one, f"a {one.target}: {words}")
    errors = "".join(_image(one, f"a {one.target}, example {one.index}") for one in examples.errors) or "<p>None.</p>"
    title = f"{examples.wrong} of {examples.of} validation examples are wrong on every one of {examples.seeds} seeds"
    return f"""<section><h2>{escape(title)}</h2><div class="strip">{errors}</div>
<h2>How the predictions of {escape(first.label)} changed during training</h2>
<div class="strip">{followed}</div></section>"""


def _changes(steps: list[int], classes: list[int]) -> list[tuple[int, int]]:
    """The first class, and each that differs from the one before, with the step where it appeared."""
    return [(step, c) for k, (step, c) in enumerate(zip(steps, classes, strict=True)) if k == 0 or c != classes[k - 1]]


def _image(one: Image, words: str) -> str:
    words, image = escape(words), one.image
    if not is_picture(image):  # a store from someone else may contain anything here
        return f"<figure><figcaption>{words} (image omitted: not a PNG)</figcaption></figure>"
    return f'<figure><img src="{image}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def _table(table: Table, about: str) -> str:
    heading, rows = table
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(f"Data: {about}")}">'
    return f"{frame}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _variants(study: StudyData, key: str, name: str) -> str:
    """A picture with buttons: one for each value of each option, one for each optimizer, and one for the seeds."""
    registered = PICTURES[name]
    choices = registered.choices(study) if registered.choices else {}
    variants, labels = "", dict[str, Style]()
    for number, chosen in enumerate(itertools.product(*choices.values())):
        picture = registered(study, **dict(zip(choices, chosen, strict=True)))
        if picture:
            labels |= {series.label: series.style for series in picture.panels[0].series}
        drawn = figures.svg(picture, f"{key}-{'-'.join(chosen)}") if picture else "<p>Some values are not positive.</p>"
        variants += f'<div data-variant="{" ".join(chosen)}"{" hidden" if number else ""}>{drawn}</div>'
    groups = ""
    for option, values in choices.items():
        buttons = "".join(
            _button(escape(words), not k, f'data-variant-of="{option}" data-value="{value}"')
            for k, (value, words) in enumerate(values.items())
        )
        groups += f'<span class="group">{buttons}</span>' if len(values) > 1 else f"<span hidden>{buttons}</span>"
    chips = "".join(
        _button(f"{_swatch(style)}{escape(label)}", k < FIRST_SHOWN, f'data-label="{escape(label)}"')
        for k, (label, style) in enumerate(labels.items())
    )
    seeds = _button("all seeds", False, "data-seeds")
    return f'<div data-choices><div class="chips">{groups}{seeds}</div>{variants}<div class="chips">{chips}</div></div>'


def _button(words: str, pressed: bool, more: str) -> str:
    return f'<button type="button" aria-pressed="{str(pressed).lower()}" {more}>{words}</button>'


def _swatch(style: Style) -> str:
    dash = DASHES[style.dash]
    line = f'<line x1="0" y1="5" x2="26" y2="5" stroke="{style.colour}" stroke-width="3" stroke-dasharray="{dash}"/>'
    return f'<svg viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'
