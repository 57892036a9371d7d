"""The page: one HTML file with every rule and surface, which needs neither network nor server."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..checks import writable, written
from ..errors import SteepestError
from ..escapes import script as quoted
from ..report import policy
from ..rules import RACE, RULES, Rule, get, switch
from ..surfaces import SURFACES, Surface
from ..surfaces import get as surface_of
from . import script

PARTS = (
    *("newton", "base", "run", "formula", "descent", "quadratic", "picture", "share", "lessons", "network", "network_tab"),
    *("look", "phase", "rules_list", "drive", "teach", "take", "controls", "play"),
)
SWITCH = switch(get("adam"), get("sgd"), at=60.0)
OFFERED = ("at", "then_ratio")  # hyperparameters of the switch; the rules themselves have the others
MOST = 12  # rules together


@dataclass(frozen=True, eq=False)
class Playground:
    """A page, whose text is `html`."""

    html: str

    def write(self, path: str | Path) -> Path:
        """Write the page; SteepestError if the folder does not exist."""
        return written("page", writable("page", path, "play.html"), self.html)

    def _repr_html_(self) -> str:
        inside = html.escape(self.html)
        return f'<iframe title="steepest playground" srcdoc="{inside}" style="width:100%;height:900px;border:0"></iframe>'


def play(surface: str = "valley", optimizers: Sequence[str | Rule] = RACE) -> Playground:
    """Make a page that starts with a surface of two coordinates, a name or a formula, and these optimizers.

    >>> from steepest.playground import play
    >>> path = play("x**2 + 3*sin(y)**2", ["sgd", "adam(eps=1)"]).write("steepest-play.html")  # doctest: +SKIP
    """
    chosen = surface_of(surface)
    if chosen.dims != 2:
        coordinates = "coordinate" if chosen.dims == 1 else "coordinates"
        raise SteepestError(f"{surface} has {chosen.dims} {coordinates}; the page shows surfaces of 2, such as valley.")
    rules = [get(rule) for rule in optimizers]
    names = [rule.name for rule in rules]
    if not 1 <= len(rules) <= MOST or len(set(names)) < len(names):
        raise SteepestError(
            f"The optimizers are {', '.join(names) or 'none'}; the page begins with 1 to {MOST}, each named once."
        )
    matrices = [rule.name for rule in rules if len(rule.shapes) > 1]
    if matrices:
        raise SteepestError(f"{matrices[0]} cannot walk on a surface: {script.MATRICES}.")
    surfaces = {name: make() for name, make in SURFACES.items()}
    address = {"formula" if chosen.about == "yours" else "surface": surface}
    if "surface" in address:
        surfaces.setdefault(surface, replace(chosen, name=surface))
    offered = {rule.name: rule for rule in (*RULES.values(), SWITCH) if rule.is_ours or rule is SWITCH}
    offered |= {rule.name: rule for rule in map(_parent, rules)}
    first = {"address": address, "most": MOST, "rules": [_entry(rule) for rule in rules]}
    return Playground(_page(list(offered.values()), list(surfaces.values()), first))


def _parent(rule: Rule) -> Rule:
    """The registered rule that this one is a variant of, with other defaults; else the rule itself."""
    parent = RULES.get(rule.name.partition("(")[0])
    return parent if parent and parent.step is rule.step else rule


def _entry(rule: Rule) -> str:
    """A rule as the page's address writes it: a name, and the hyperparameters that differ."""
    parent = _parent(rule)
    changed = ",".join(f"{k}={v}" for k, v in rule.hyper.items() if v != parent.hyper[k])
    return f"{parent.name}({changed})" if changed else parent.name


def _page(rules: Sequence[Rule], surfaces: Sequence[Surface], first: Mapping[str, object]) -> str:
    parts = [
        script.kept(),
        f"const FIRST = {quoted(first)};",
        script.rules_script(rules, {SWITCH.name: OFFERED}),
        script.surfaces_script(surfaces),
        *(script.file(f"{name}.js") for name in PARTS),
        "begins();",
    ]
    code = '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();"
    licences = html.escape(script.file("kept/LICENSES.txt"))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy(code)}">
<title>steepest playground</title>
<style>{script.file("page.css")}{script.file("network.css")}</style></head>
<body>{script.file("page.html")}
<details id="licences"><summary>Licences</summary><pre tabindex="0">{licences}</pre></details>
<script>{code}</script></body></html>
"""
