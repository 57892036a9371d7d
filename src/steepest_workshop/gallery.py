"""Screenshots of reports on studies that are hard to display: `python -m steepest_workshop.gallery FOLDER`.

Needs playwright and an installed Chromium.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import steepest
from steepest.api import Study
from steepest.errors import SteepestError
from steepest.report import file
from steepest.report.palette import COLOURS
from steepest.rules import RULES

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"": 820, "-phone": 390}
HOSTILE = "<script>alert('x')</script> & \"it's\""


def line(**more: Any) -> steepest.Problem:
    """A linear fit, one weight and one bias, to noisy points of a line."""
    x = torch.linspace(-1, 1, 64)[:, None]
    noise = 0.1 * torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    asked: dict[str, Any] = {
        "model": lambda: nn.Linear(1, 1),
        "loss": nn.MSELoss(),
        "train": (x, 2 * x + noise),
        "valid": (x, 2 * x),
        "batch_size": 8,
        "steps": 60,
    }
    return steepest.Problem(**asked | more)


def blobs(**more: Any) -> steepest.Problem:
    """Two linearly separable clusters of points."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 2, generator=generator) + 8 * y[:, None]
    asked: dict[str, Any] = {
        "model": lambda: nn.Linear(2, 2),
        "loss": nn.CrossEntropyLoss(),
        "metric": "accuracy",
        "steps": 100,
    }
    return steepest.Problem(**asked | {"train": (x[:100], y[:100]), "valid": (x[100:], y[100:])} | more)


def _of(problem: Any, *args: Any, **more: Any) -> Study:
    return steepest.compare(problem, *args, store=":memory:", **more)


def _twenty() -> Study:
    names = [name for name in RULES if RULES[name].reach == "element" and not RULES[name].oracle][:20]
    return _of(line(name="twenty"), names, schedules="constant", trials=3, steps=30, seeds=5)


STUDIES: dict[str, Callable[[], Study]] = {
    "race": lambda: _of("digits", record=True),
    "diverged": lambda: _of(line(name="diverged"), "sgd,momentum,adam", lrs=[0.001, 0.1, 300.0], seeds=5, steps=60),
    "one-seed": lambda: _of(line(name="one seed"), "sgd,adam", lrs=0.05, seeds=1),
    "one-optimizer": lambda: _of(line(name="one optimizer"), "adam", schedules="constant", budget="20s"),
    "twenty": _twenty,
    "saturated": lambda: _of(blobs(name="saturated"), "sgd,adam,rmsprop", budget="20s"),
    "hostile": lambda: _of(line(name=HOSTILE, about=HOSTILE), "sgd,adam", lrs=0.05, seeds=5),
}


def browser() -> str:
    """The path of an installed Chromium; raises SteepestError if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SteepestError(f"No browser was found; install one of {', '.join(BROWSERS)}, such as Debian's package chromium.")
    return found


def main(folder: Path) -> Iterator[Path]:
    """Save a screenshot of each report on desktop and phone, and of the first figure of a race's report; yield the paths."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser())
        for name, make in STUDIES.items():
            report = file.write([make().data], folder / f"report-{name}.html")
            for suffix, width in WIDTHS.items():
                tab = chromium.new_page(viewport={"width": width, "height": 900})
                tab.goto(report.resolve().as_uri())
                picture = folder / f"report-{name}{suffix}.png"
                tab.screenshot(path=picture, full_page=True)
                few_colours(picture)
                yield picture
                if (name, suffix) == ("race", ""):
                    picture = folder / "report-bounds.png"
                    tab.locator("#s0-regret figure").first.screenshot(path=picture)
                    few_colours(picture)
                    yield picture
                tab.close()
            report.unlink()
        chromium.close()


def few_colours(path: Path) -> None:
    """Reduce a PNG of lines and text to a palette, in place; the optimizers' colours and the description are preserved."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    words = PngInfo()
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
        words.add_text("Description", picture.info.get("Description", ""))
    in_few(whole, table_of(whole)).save(path, pnginfo=words, optimize=True)


FIXED = (*COLOURS, "#ffffff")  # colours that the palette must contain


def table_of(whole: Any, count: int = 248) -> Any:
    """A PIL palette of `count` colours for an image, including the optimizers' colours."""
    from PIL import Image, ImageColor

    own = [part for colour in FIXED for part in ImageColor.getrgb(colour)]
    table, left = Image.new("P", (1, 1)), count - len(FIXED)
    table.putpalette(own + (whole.quantize(left, dither=Image.Dither.NONE).getpalette() or [])[: 3 * left])
    return table


def in_few(whole: Any, table: Any) -> Any:
    """Convert a PIL image to the colours of a palette."""
    from PIL import Image, ImageColor

    few = whole.quantize(palette=table, dither=Image.Dither.NONE)
    pixels, places = np.asarray(whole), np.array(few)
    for k, colour in enumerate(FIXED):  # PIL's nearest colour is approximate
        places[(pixels == ImageColor.getrgb(colour)).all(-1)] = k
    few.putdata(places.ravel().tolist())
    return few


if __name__ == "__main__":
    for made in main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")):
        print(made)
