"""Record measurements inside a run: the first two candidates of a study are trained once more, for the report."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import SteepestError
from ..problems.problem import Problem
from ..training.curvature import curvature
from ..training.probe import plane, probe
from ..training.stacked import Run
from ..training.supervised import Supervised
from .recorded import Examples, Image, Inside, Landscape, Recorded
from .result import Entry, Result

WATCHED = 6  # validation examples whose predictions are followed
MOST_ERRORS = 12  # misclassified examples shown


def record(result: Result) -> Recorded:
    """Measurements inside a run of the first two entries on seed 0, the loss on a plane through them, and example images.

    Raises SteepestError if no run finished.
    """
    if not isinstance(result.training, Supervised):
        raise SteepestError("Only a Problem can be recorded: a loop or a command trains in its own way; leave --record out.")
    problem, device = result.training.problem, result.device
    entries = [entry for entry in result.entries if entry.outcomes and entry.outcomes[0].diverged_at is None][:2]
    if not entries:
        raise SteepestError("There is nothing to record: no run finished; try smaller rates.")
    insides, paths, model = list[Inside](), [], None
    for entry in entries:
        c = entry.candidate
        run = Run(c.rule, c.lr, 0, c.steps(result.question.steps), c.multiplier)
        seen, trained = probe(problem, run, slice(0, WATCHED), device)
        model = model or trained
        paths.append(seen.weights)
        keys = ("steps", "gradient", "ratio", "effective", "cosine", "state", "outputs")
        columns = {key: getattr(seen, key) for key in keys}
        insides.append(Inside(label=c.label, name=c.space.name, schedule=c.schedule, lr=c.lr, **columns))
    drawn = None
    if len(entries) == 2 and model is not None and min(map(len, paths)) > 1:
        seen_plane = plane(problem, model, paths)
        drawn = Landscape(
            x=seen_plane.x.tolist(),
            y=seen_plane.y.tolist(),
            losses=seen_plane.losses.tolist(),
            paths=[path.tolist() for path in seen_plane.paths],
            shown=seen_plane.shown,
            apart=seen_plane.apart,
        )
    examples = _examples(problem, entries[0], insides[0].outputs)
    return Recorded(insides=insides, landscape=drawn, bound=_bound(problem, device), examples=examples)


def _bound(problem: Problem, device: str) -> float | None:
    """2 / the largest eigenvalue of the Hessian at the start; None if it cannot be computed."""
    try:
        return curvature(problem, device=device).bound
    except SteepestError:
        return None


def _examples(problem: Problem, entry: Entry, outputs: list[list[int]]) -> Examples | None:
    """Images of the followed validation examples, and of those that every seed got wrong."""
    shape = image_shape(problem)
    if shape is None or problem.metric != "accuracy" or not outputs or not outputs[0]:
        return None
    inputs, target = problem.valid.batch(slice(0, len(problem.valid)))
    each = [o.examples for o in entry.outcomes if o.examples is not None and len(o.examples) == len(target)]
    wrong = np.flatnonzero(~np.any(np.array(each) > 0, 0)).tolist() if each else []

    def image_of(i: int) -> dict[str, Any]:
        return {"image": image(inputs[0][i], shape), "target": int(target[i])}

    return Examples(
        watched=[Image(**image_of(i)) for i in range(len(outputs[0]))],
        errors=[Image(**image_of(i), index=i) for i in wrong[:MOST_ERRORS]],
        wrong=len(wrong),
        seeds=len(each),
        of=len(problem.valid),
    )


def image_shape(problem: Problem) -> tuple[int, ...] | None:
    """The image shape of an input: the problem's `image`, or that of inputs (examples, 1 or 3, height, width), or None."""
    if not problem.valid.in_memory:
        return None
    inputs, _ = problem.valid.batch(slice(0, 1))
    shape = tuple(inputs[0].shape[1:])
    if problem.image is not None:
        return problem.image
    return shape if len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 8 else None


def image(example: torch.Tensor, shape: tuple[int, ...]) -> str:
    """One input as the data URL of a PNG, scaled so that its smallest value is black and its largest white."""
    from PIL import Image

    pixels: NDArray[Any] = example.detach().cpu().double().reshape(shape).numpy()
    low, high = pixels.min(), pixels.max()
    scaled: NDArray[Any] = (255 * (pixels - low) / ((high - low) or 1.0)).astype(np.uint8).squeeze()
    drawn = Image.fromarray(scaled if scaled.ndim == 2 else scaled.transpose(1, 2, 0))
    file = io.BytesIO()
    drawn.save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
