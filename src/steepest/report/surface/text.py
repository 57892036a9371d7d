"""The output of `steepest surface` and `steepest path`, as text and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...surfaces import Surface
from ...surfaces.optimality import Stationary, convexity, schwarz, stationary

if TYPE_CHECKING:  # with torch
    from ...paths.descent import Descent, Path
    from ...training.curvature import Curvature


def card(surface: Surface) -> dict[str, Any]:
    """A surface as data: formula, derivatives, minima, stationary points with kind and eigenvalues, and convexity."""
    points = stationary(surface)
    convex, why = convexity(surface)
    lowest = [s for s in points if s.kind == "minimum"]
    points_there = [list(s.point) for s in lowest if s.value <= lowest[0].value + 1e-9 * (1 + abs(lowest[0].value))]
    data: dict[str, Any] = {
        "name": surface.name,
        "formula": surface.formula,
        "gradient": [str(g) for g in surface.gradient_expressions],
        "hessian": [[str(h) for h in row] for row in surface.hessian_expressions],
        "minima": [list(m) for m in surface.minima] or points_there,
        "stationary": [_point(s) for s in points],
        "convex": convex,
    }
    return data if convex is not None else data | {"status": why}


def _point(s: Stationary) -> dict[str, Any]:
    data: dict[str, Any] = {"point": list(s.point), "value": s.value, "kind": s.kind}
    data["eigenvalues"] = None if s.eigenvalues is None else list(s.eigenvalues)
    return data if s.eigenvalues is not None else data | {"status": "the gradient is not defined here"}


def text(surface: Surface) -> str:
    """The card as text for the screen, with the reason for its convexity."""
    names = [str(v) for v in surface.variables]
    lines = [f"{surface.name}: {surface.formula}", ""]
    lines += [f"  d/d{v:<5} {g}" for v, g in zip(names, surface.gradient_expressions, strict=True)]
    if surface.dims <= 3:
        for v, row in zip(names, surface.hessian_expressions, strict=True):
            lines += [f"  d2/d{v}d{w:<2} {h}" for w, h in zip(names, row, strict=True)]
    points = stationary(surface)
    box = ", ".join(f"{v} in [{a:g}, {b:g}]" for v, (a, b) in zip(names, surface.domain, strict=True))
    lines += ["", f"Stationary points found with {box}: {_counts(points)}"]
    for s in points[:30]:
        at = ", ".join(f"{x:.6g}" for x in s.point)
        words = ", ".join(f"{w:.4g}" for w in s.eigenvalues or ())
        words = f"eigenvalues {words}" if words else "its gradient is not defined here"
        lines.append(f"  {s.kind:10} ({at})  height {s.value:.6g}  {words}")
    lines += [f"  and {len(points) - 30} more"] if len(points) > 30 else []
    minima = [s for s in points if s.kind == "minimum"]
    if minima:
        lines.append("Unimodal: one minimum was found." if len(minima) == 1 else f"Multimodal: {len(minima)} minima.")
    if surface.formula.find("Abs") >= 0:
        lines.append("Kinks of an absolute value have no gradient and are not listed.")
    convex, why = convexity(surface)
    lines.append({True: "Convex: ", False: "Not convex: ", None: "Perhaps convex: "}[convex] + why + ".")
    caveat = schwarz(surface)
    return "\n".join([*lines, *([caveat] if caveat else [])])


def _counts(points: list[Stationary]) -> str:
    plural = {"minimum": "minima", "maximum": "maxima", "saddle": "saddles", "degenerate": "degenerate"}
    counts = {kind: sum(s.kind == kind for s in points) for kind in plural}
    counted = [f"{n} {kind if n == 1 else plural[kind]}" for kind, n in counts.items() if n]
    return ", ".join(counted) or "none"


def network(name: str, here: Curvature, rate: float) -> str:
    """The gradient norm and curvature of a network's loss at its initial weights, compared with a learning rate."""
    lines = [f"{name}, initial weights of seed 0: loss {here.loss:.6g}, gradient norm {here.gradient:.6g}"]
    lines.append(f"Hessian: eigenvalues from {here.least:.6g} to {here.largest:.6g}")
    if here.least < 0 < here.largest:
        lines.append("Both signs: the loss curves up in some directions and down in others, as at a saddle.")
    if here.bound is not None:
        side = "above" if rate > here.bound else "below"
        lines.append(
            f"Plain descent grows along the steepest direction at a rate above 2 / {here.largest:.4g} = {here.bound:.4g};"
        )
        lines.append(f"sgd's usual rate, {rate:g}, lies {side} it.")
    return "\n".join(lines)


def paths(descent: Descent) -> dict[str, Any]:
    """A descent as data; a path that diverged ends before that step."""
    return {"surface": descent.surface.name, "optimizers": [_path(path) for path in descent.paths]}


def _path(path: Path) -> dict[str, Any]:
    end = path.diverged_at
    data: dict[str, Any] = {"name": path.name, "lr": path.lr, "points": path.points[:end].tolist()}
    data |= {"values": [v if math.isfinite(v) else None for v in path.values[:end].tolist()], "diverged_at": end}
    return data if end is not None else data | {"status": "it did not diverge"}


def ends(descent: Descent) -> str:
    """A table of where the paths end, as text for the screen."""
    surface = descent.surface
    at = ", ".join(f"{x:g}" for x in descent.start)
    lines = [f"{surface.name} = {surface.formula} from ({at}), {descent.steps} gradients each"]
    lines.append(f"{'optimizer':22}{'rate':>10}  {'':6} {'last height':>13}  way")
    for path in descent.paths:
        left, end = path.leaves(surface.domain), path.diverged_at
        way = f"diverges at step {end}" if end is not None else "stays in the frame"
        way = f"leaves the frame at step {left}" if left is not None and (end is None or left < end) else way
        last = path.values[: len(path.values) if end is None else max(end, 1)][-1]
        lines.append(f"{path.name:22}{path.lr:>10.3g}  {'tuned' if path.tuned else 'given':6} {last:>13.6g}  {way}")
    return "\n".join(lines)
