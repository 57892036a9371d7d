"""Time the playground in Chromium: a traced drag of the start, and drawing on a canvas against drawing as SVG."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steepest.playground import play

from ..gallery import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RULES = "sgd@0.02,momentum@0.004,nesterov@0.02,adagrad@2,rmsprop@0.1,adam@0.5,adamw@0.5"
STEPS = 500
ADDRESS = f"surface=valley&steps={STEPS}&rules={RULES}"
MOVES = 80
DREW = 0.5  # milliseconds; a shorter handler drew nothing
WRAPPED = ('(() => {\n"use strict";', "})();</script>")  # without these, the page's functions can be called separately
# Medians of 40, each after a change of the start: computing the paths, drawing on the canvas, drawing the same as SVG
PARTS = """() => {
  const median = (work) => {
    const spent = [];
    for (let k = 0; k < 40; k++) {
      state.start = [-4.5 + 0.01 * k, 1.2];
      const began = performance.now();
      work();
      spent.push(performance.now() - began);
    }
    return spent.sort((a, b) => a - b)[20];
  };
  const host = document.createElement("div");
  document.body.append(host);
  const svg = () => {
    const context = new KEPT.SvgContext(view.width, view.height), chart = new KEPT.SvgContext(424, 248);
    drawMap(context);
    drawHeights(chart, 424, 248, shown(), { ...state, floor });
    host.replaceChildren(context.getSvg(), chart.getSvg());
    host.getBoundingClientRect();
  };
  const paths_ms = median(() => state.rules.map((entry) => pathOf(entry, surface, state)));
  return { paths_ms, canvas_ms: median(draw), svg_ms: median(svg) };
}"""


def dragged(chromium: Browser, tab: Page) -> dict[str, Any]:
    """Drag the start on an open page and measure each move, from the event handler to the last draw call, in ms."""
    box = tab.locator("#start").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    chromium.start_tracing(page=tab, categories=["devtools.timeline", "disabled-by-default-devtools.timeline"])
    tab.mouse.move(x, y)
    tab.mouse.down()
    for k in range(MOVES):
        tab.mouse.move(x + 3 * k, y + 60 * math.sin(k / 8))
    trace = json.loads(chromium.stop_tracing())["traceEvents"]
    events = [e for e in trace if e["ph"] == "X"]  # complete: a task still running when the trace stops has no duration
    tab.mouse.up()
    moves = [e for e in events if e["name"] == "EventDispatch" and e["args"]["data"]["type"] == "pointermove"]
    handlers = [e["dur"] / 1000 for e in moves if e["dur"] / 1000 > DREW]
    main = {e["tid"] for e in moves}
    longest = max(e["dur"] / 1000 for e in events if e["name"] == "RunTask" and e["tid"] in main)
    return {"moves": len(handlers), "handler_ms": statistics.median(handlers), "longest_task_ms": longest}


def measure() -> dict[str, Any]:
    """Time a drag with the paths of seven rules for 500 steps, and its parts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        chromium = started.chromium.launch(executable_path=browser())
        made = play()
        page = made.write(Path(folder) / "play.html")
        tab = chromium.new_page(viewport={"width": 1440, "height": 900}, bypass_csp=True)  # its script is modified below
        tab.goto(f"{page.as_uri()}#{ADDRESS}")
        result = dragged(chromium, tab)
        text = made.html
        for part in WRAPPED:
            assert text.count(part) == 1
            text = text.replace(part, "</script>" if part.endswith("</script>") else "")
        page.write_text(text, encoding="utf-8")
        tab.goto(f"{page.as_uri()}#{ADDRESS}")
        tab.reload()
        result |= tab.evaluate(PARTS)
        chromium.close()
    return {"rules": RULES.count("@"), "steps": STEPS, "bytes": len(made.html.encode()), **result}


def text(result: dict[str, Any]) -> str:
    """Format the result for the terminal."""
    return "\n".join(
        [
            f"{result['rules']} rules, {result['steps']} steps each; a page of {result['bytes'] / 1000:.0f} kB, in Chromium",
            f"a move of a drag, handler to last draw call  {result['handler_ms']:6.1f} ms (median of {result['moves']})",
            f"the longest task while it lasted             {result['longest_task_ms']:6.1f} ms",
            f"of a move: all paths computed                {result['paths_ms']:6.1f} ms",
            f"           map and heights on a canvas       {result['canvas_ms']:6.1f} ms",
            f"           the same as SVG, laid out         {result['svg_ms']:6.1f} ms",
        ]
    )
