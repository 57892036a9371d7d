"""The report: one HTML file with the answer, the code to paste, and pictures with their data. It holds all it needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib import resources
from typing import Any

from ...escapes import LINES, every, is_picture
from ...escapes import page as escape
from .. import figures, policy
from ..palette import Style
from ..picture import Picture, Table
from .pictures import curves, drawable, pictures

Shown = dict[str, Any]
FIRST_SHOWN = 3  # optimizers in the learning curves, until a reader asks for more
DASHES = {"solid": "", "dashed": "6 3", "dotted": "1.5 2.5", "dashdot": "6 2 1.5 2"}


def text(studies: Sequence[Shown]) -> str:
    """The whole page of these studies, as `shown` makes them; `file` writes it."""
    studies, code = drawable(every(studies, LINES)), _file("page.js")
    title = escape("steepest: " + ", ".join(data["problem"] for data in studies))
    sections = "".join(_study(data, k) for k, data in enumerate(studies))
    versions = ", ".join(f"{name} {number}" for name, number in studies[0]["versions"].items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy(code)}">
<title>{title}</title><style>{_file("page.css")}</style></head><body><main>
{sections}
</main><footer>Made by <code>{escape(studies[0]["command"])}</code><br>
{escape(versions)}; {escape(studies[0]["device"])}</footer>
<script>{code}</script></body></html>
"""


def section(data: Shown) -> str:
    """The answer, the code and the first picture, for a notebook: it needs no script."""
    data = drawable(every(data, LINES))
    picture = next(iter(pictures(data).values()), None)
    drawn = f"<figure>{figures.svg(picture, 'notebook')}</figure>" if picture else ""
    return f"<div style='max-width:46rem'><p><b>{escape(data['answer']['sentence'])}</b></p>{_code(data)}{drawn}</div>"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _study(data: Shown, number: int) -> str:
    said = (line for line in data["details"] if not line.startswith("Rates from "))  # earlier versions did, and it was false
    details = "".join(f"<li>{escape(line)}</li>" for line in said)
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in data["notes"])
    optimum = (
        f"<p>The least loss possible is {data['optimum'][0]:.6g}: {escape(data['optimum'][1])}.</p>" if data["optimum"] else ""
    )
    pairs = "".join(f"<li>{escape(sentence)} {escape(beside)}</li>" for _, sentence, beside in data["pairs"])
    parts = []
    for name, picture in pictures(data).items():
        key = f"s{number}-{name}"
        drawn = _curves(data, key) if name == "curves" else figures.svg(picture, key)
        parts.append(_part(data, key, picture, drawn))
    parts.append(_examples(data))
    heading = "; ".join(filter(None, (data["about"], f"{data['steps']} steps a run", data.get("batches"))))
    return f"""<section><h1>{escape(data["problem"])}</h1><p class="about">{escape(heading)}</p>
<p class="answer">{escape(data["answer"]["sentence"])}</p>
{_code(data)}
<h2>How sure, and what else is known</h2><ul>{details}</ul>{optimum}{notes}
<details><summary>How these numbers came about</summary><p>{escape(data["protocol"])}</p></details>
{"".join(parts)}
<h2>All that raced or was screened</h2>{_table(data["table"], "all that raced or was screened")}
<details><summary>Every pair</summary><ul>{pairs}</ul></details></section>"""


def _code(data: Shown) -> str:
    if not data["code"]:
        return ""
    copy = '<button type="button" data-copy>Copy</button>'
    return f'<div class="paste"><pre tabindex="0">{escape(data["code"])}</pre>{copy}</div>'


def _part(data: Shown, key: str, picture: Picture, drawn: str) -> str:
    foot = f"{data['ran']}; steepest {data['versions']['steepest']}, torch {data['versions']['torch']}; {data['command']}"
    legend = "" if "data-choices" in drawn else _legend(picture)
    return f"""<section id="{key}"><h2>{escape(picture.title)}</h2>{legend}
<figure>{drawn}<figcaption>{escape(picture.caption)}</figcaption></figure>
<details><summary>Data of this picture</summary>{_table(picture.table, picture.title)}</details>
<p class="foot">{escape(foot)}</p></section>
"""


def _legend(picture: Picture) -> str:
    """What lines look like, where a picture has several that its axes do not name."""
    styles = {series.label: series.style for panel in picture.panels for series in panel.series}
    if not picture.legend or len(styles) < 2:
        return ""
    words = "".join(f"<span>{_swatch(style)}{escape(label)}</span>" for label, style in styles.items())
    return f'<p class="chips">{words}</p>'


def _examples(data: Shown) -> str:
    """Images: how the classes given to some examples changed, and what every seed of the pick got wrong."""
    recorded = data.get("recorded") or {}
    shown = recorded.get("examples")
    if not shown:
        return ""
    first = recorded["insides"][0]
    followed = ""
    for k, one in enumerate(shown["watched"]):
        given = [classes[k] for classes in first["outputs"]]
        said = ", ".join(f"{given_class} from step {step}" for step, given_class in _changes(first["steps"], given))
        followed += _image(one, f"a {one['target']}: {said}")
    errors = "".join(_image(one, f"a {one['target']}, example {one['index']}") for one in shown["errors"])
    none = "" if errors else "<p>None.</p>"
    title = f"{shown['wrong']} of {shown['of']} validation examples are wrong on every one of {shown['seeds']} seeds"
    return f"""<section><h2>{escape(title)}</h2><div class="strip">{errors}</div>{none}
<h2>What {escape(first["label"])} took some examples for, as it learned</h2>
<div class="strip">{followed}</div></section>"""


def _changes(steps: list[int], classes: list[int]) -> list[tuple[int, int]]:
    """Where a class changed, with the class: the first one, and each that is another than the one before."""
    return [(step, c) for k, (step, c) in enumerate(zip(steps, classes, strict=True)) if k == 0 or c != classes[k - 1]]


def _image(one: dict[str, Any], words: str) -> str:
    words, image = escape(words), one["image"]
    if not is_picture(image):  # a store from elsewhere may hold anything in its place
        return f"<figure><figcaption>{words} (its picture is no PNG, and is left out)</figcaption></figure>"
    return f'<figure><img src="{image}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def _table(table: Table, about: str) -> str:
    heading, rows = table
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(f"Data: {about}")}">'
    return f"{frame}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _curves(data: Shown, key: str) -> str:
    """The learning curves with their choices: steps or seconds, linear or logarithmic, metric or loss; whose, and the seeds."""
    measures = ["metric", "loss"] if data["metric"] != "loss" else ["metric"]
    choices = {"x": ["steps", "seconds"], "scale": ["linear", "log"], "of": measures}
    variants, labels = [], dict[str, Style]()
    for chosen in itertools.product(*choices.values()):
        picture = curves(data, *chosen)
        labels |= {series.label: series.style for series in picture.panels[0].series}
        name, words = f"{key}-{'-'.join(chosen)}", " ".join(chosen)
        hidden = "" if chosen == tuple(options[0] for options in choices.values()) else " hidden"
        drawn = figures.svg(picture, name) if picture.panels[0].series else "<p>Not all of this is above zero.</p>"
        variants.append(f'<div data-variant="{words}"{hidden}>{drawn}</div>')
    groups = ""
    for k, options in choices.items():
        shown = [data["metric"] if option == "metric" else option for option in options]
        buttons = "".join(
            _button(escape(words), not i, f'data-variant-of="{k}" data-value="{option}"')
            for i, (option, words) in enumerate(zip(options, shown, strict=True))
        )
        groups += f'<span class="group">{buttons}</span>' if len(options) > 1 else f"<span hidden>{buttons}</span>"
    chips = "".join(
        _button(f"{_swatch(style)}{escape(label)}", i < FIRST_SHOWN, f'data-label="{escape(label)}"')
        for i, (label, style) in enumerate(labels.items())
    )
    seeds = _button("every seed", False, "data-seeds")
    return (
        f'<div data-choices><div class="chips">{groups}{seeds}</div>{"".join(variants)}<div class="chips">{chips}</div></div>'
    )


def _button(words: str, pressed: bool, more: str) -> str:
    return f'<button type="button" aria-pressed="{str(pressed).lower()}" {more}>{words}</button>'


def _swatch(style: Style) -> str:
    line = (
        f'<line x1="0" y1="5" x2="26" y2="5" stroke="{style.colour}" stroke-width="3" stroke-dasharray="{DASHES[style.dash]}"/>'
    )
    return f'<svg viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'
