"""Configuration of Sphinx: furo, MyST with stored notebook outputs, formulas as MathML; pages make no requests."""

from __future__ import annotations

import re
from typing import Any

import latex2mathml.converter
from docutils import nodes

project = "steepest"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "steepest"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_copyright = False
templates_path: list[str] = []
exclude_patterns = ["notebooks"]  # they are downloads; the lessons are pages made of them
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks contain their outputs
nb_merge_streams = True
nb_render_markdown_format = "myst"  # for formulas in outputs
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
pygments_style, pygments_dark_style = "default", "monokai"
smartquotes = False


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    formula = latex2mathml.converter.convert(node.astext(), display="block")
    self.body.append(f'<div class="formula" tabindex="0">{formula}</div>')
    raise nodes.SkipNode


def _plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Convert a plain-text docstring to reStructuredText: join indented lines, separate items, escape underscores."""
    shown: list[str] = []
    example = False
    for line in lines:
        example = line.startswith(">>>") or (example and bool(line.strip()))
        if example:
            shown += (
                [""] if shown and shown[-1] and line.startswith(">>>") and not shown[-1].startswith((">>>", "...")) else []
            ) + [line]
        elif line.startswith(" ") and shown and shown[-1]:
            shown[-1] += " " + line.strip()
        else:
            fresh = re.match(r"[\w, *`|]+: ", line) and shown and shown[-1]
            shown += ([""] if fresh else []) + [re.sub(r"(\w)_(?=\W|$)", r"\1\\_", line)]
    lines[:] = shown


def setup(app: Any) -> None:
    """Register the conversion of docstrings, and MathML for formulas: browsers display it, screen readers read it out."""
    app.connect("autodoc-process-docstring", _plain)
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.config.html_math_renderer = "mathml"
