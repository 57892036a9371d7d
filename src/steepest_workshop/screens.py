"""Screenshots of the playground: `python -m steepest_workshop.screens FOLDER`.

Needs playwright and an installed Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from steepest.playground import play

from .gallery import browser, few_colours

WIDE, NARROW = (1440, 900), (390, 844)
SCREENS = {
    "wide": (WIDE, "light", ""),
    "dark": (WIDE, "dark", "surface=himmelblau&start=-0.5,-1&panel=basins&follow=0"),
    "rates": (WIDE, "light", "surface=valley&rules=sgd@0.022,momentum@0.0046,adagrad@2.2,adam@1&panel=rates&follow=0"),
    "phase": ((1440, 1120), "light", "surface=valley&steps=100&rules=sgd@0.03,momentum(momentum=0.8)@0.03&panel=phase"),
    "newton": (WIDE, "light", "surface=rosenbrock&steps=30&rules=sgd@0.001,momentum@0.001,newton@1"),
    "narrow": (NARROW, "light", "surface=rosenbrock"),
    "turned": (WIDE, "light", "surface=valley&turn=35&rules=sgd@0.03,momentum@0.01,adam@0.3&at=60"),
    "formula": (WIDE, "dark", "formula=x**2+%2B+3*sin(y)**2&panel=rates"),
    "network": (WIDE, "light", "tab=network"),
    "network-narrow": (NARROW, "dark", "tab=network"),
}


def main(folder: Path) -> Iterator[Path]:
    """Save a screenshot of each view, of a lesson's question, and of every lesson after its answer; yield the paths."""
    from playwright.sync_api import Page, sync_playwright

    folder.mkdir(parents=True, exist_ok=True)

    def keep(tab: Page, name: str, whole: bool = False) -> Path:
        path = folder / f"play-{name}.png"
        tab.screenshot(path=path, full_page=whole)
        few_colours(path)
        return path

    with sync_playwright() as started, tempfile.TemporaryDirectory() as room:
        chromium = started.chromium.launch(executable_path=browser())
        address = play().write(Path(room) / "play.html").as_uri()
        for name, ((width, height), scheme, said) in SCREENS.items():
            look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
            tab = chromium.new_page(**look, device_scale_factor=2 if width < 500 else 1)  # type: ignore[arg-type]
            tab.goto(f"{address}#{said}")
            if name.startswith("network"):
                tab.get_by_role("button", name="Train").click()
                tab.wait_for_timeout(4000)
            tab.wait_for_timeout(1500)
            yield keep(tab, name, whole=width < 500)
            tab.close()
        tab = chromium.new_page(viewport={"width": WIDE[0], "height": WIDE[1]}, reduced_motion="reduce")
        tab.goto(address)
        for k in range(1, tab.locator("#lesson option").count()):  # the first option is none
            tab.select_option("#lesson", str(k))
            if k == 1:
                tab.wait_for_timeout(400)
                yield keep(tab, "lesson-asks")
            tab.locator("#lesson-card .options button").first.click()
            tab.wait_for_timeout(600)
            yield keep(tab, f"lesson-{k}")
        chromium.close()


if __name__ == "__main__":
    for made in main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")):
        print(made)
