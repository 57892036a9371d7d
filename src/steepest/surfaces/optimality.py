"""Analyse a surface: stationary points and their kinds, convexity, and points where Schwarz's theorem fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import Point, Surface

Array = NDArray[np.float64]
STARTS = 4096  # starts of Newton's method for stationary points, in up to four coordinates
LEAST_STARTS = 16
FLAT = 1e-6  # eigenvalues below this, relative to the largest or 1, count as zero
TRIES = 20_000  # points at which convexity is tested, in up to four coordinates
LEAST_TRIES = 64
MOST_FLAT = 10  # degenerate points that are listed


@dataclass(frozen=True)
class Stationary:
    """A point where the gradient is zero (or defined to be), its height, and "minimum", "maximum", "saddle" or "degenerate".

    `eigenvalues` are the Hessian's, smallest first; None if there is no Hessian.
    """

    point: Point
    value: float
    kind: str
    eigenvalues: tuple[float, ...] | None


def _affordable(most: int, least: int, dims: int) -> int:
    """The number of points for which eigenvalues, of cubic cost, take no longer than for `most` points in four dimensions."""
    return max(least, min(most, int(most * (4 / dims) ** 3)))


def _starts(surface: Surface, count: int) -> Array:
    from scipy.stats import qmc  # half a second to import

    low, high = np.array(surface.domain, float).T
    return np.asarray(low + (high - low) * qmc.Sobol(surface.dims, seed=0).random(count))


def stationary(surface: Surface) -> list[Stationary]:
    """The stationary points that Newton's method finds in the domain from many starts, lowest first."""
    low, high = np.array(surface.domain, float).T
    count = _affordable(STARTS, LEAST_STARTS, surface.dims)
    at, most = _starts(surface, count), 0.1 * np.linalg.norm(high - low)
    with np.errstate(all="ignore"):
        for _ in range(80):
            g, h = surface.gradient(at), surface.hessian(at)
            fine = np.isfinite(g).all(-1) & np.isfinite(h).all((-1, -2))
            at, g, h = at[fine], g[fine], h[fine]
            w, v = np.linalg.eigh(h)
            along = np.einsum("nij,ni->nj", v, g) / np.where(np.abs(w) > 1e-12, w, np.inf)
            step = np.einsum("nij,nj->ni", v, along)
            size = np.linalg.norm(step, axis=-1, keepdims=True)
            at = at - step * np.minimum(1.0, most / np.maximum(size, 1e-300))
            inside = ((at >= low - most) & (at <= high + most)).all(-1)
            at = at[inside]
    residual = np.abs(surface.gradient(at)).max(-1, initial=0.0)
    scale = 1 + np.abs(surface.hessian(at)).max((-1, -2), initial=0.0)
    edge = 1e-9 * (high - low)
    kept = (residual <= 1e-9 * scale) & ((at >= low - edge) & (at <= high + edge)).all(-1)
    at, residual = at[kept], residual[kept]
    for digits in (4, 8):  # round to plain numbers if these are no worse
        plain = np.round(at, digits)
        better = np.abs(surface.gradient(plain)).max(-1, initial=0.0) <= residual + 1e-13
        at = np.where(better[:, None], plain, at) + 0.0
    kinks = np.array(surface.kinks, float).reshape(-1, surface.dims)
    if len(kinks):
        at = at[(np.linalg.norm(at[:, None] - kinks, axis=-1) > 1e-6).all(1)]
    points = [_kind(surface, tuple(p)) for p in _distinct(at, 1e-5 * float(np.linalg.norm(high - low)))]
    points += [_at_kink(surface, kink) for kink in surface.kinks]
    flat = [s for s in points if s.kind == "degenerate"]
    if len(flat) > MOST_FLAT:  # they fill a line or more
        points = [s for s in points if s.kind != "degenerate"] + flat[:: len(flat) // MOST_FLAT]
    return sorted(points, key=lambda s: (round(s.value, 9), s.point))


def _distinct(at: Array, apart: float) -> list[Array]:
    kept: list[Array] = []
    for p in at[np.lexsort(at.T)]:
        if not kept or np.linalg.norm(np.array(kept) - p, axis=1).min() > apart:
            kept.append(p)
    return kept


def _kind(surface: Surface, point: Point) -> Stationary:
    w = np.linalg.eigvalsh(surface.hessian(point))
    flat = np.abs(w) <= FLAT * max(1.0, np.abs(w).max())
    kind = "degenerate" if flat.any() else "minimum" if (w > 0).all() else "maximum" if (w < 0).all() else "saddle"
    return Stationary(tuple(map(float, point)), float(surface.value(point)), kind, tuple(w.tolist()))


def _at_kink(surface: Surface, kink: Point) -> Stationary:
    """Classify a point without a gradient by the heights on a small sphere around it."""
    away = np.random.default_rng(0).normal(size=(400, surface.dims))
    around = np.array(kink) + 1e-4 * away / np.linalg.norm(away, axis=1, keepdims=True)
    height = float(np.nan_to_num(surface.value(kink)))
    higher = surface.value(around) > height
    kind = "minimum" if higher.all() else "maximum" if not higher.any() else "saddle"
    return Stationary(tuple(map(float, kink)), height, kind, None)


def convexity(surface: Surface) -> tuple[bool | None, str]:
    """Test convexity: True with a proof for quadratics, False with a counter-example, or None if none was found."""
    if all(h.is_number for row in surface.hessian_expressions for h in row):  # a quadratic
        w = sorted(np.linalg.eigvalsh(surface.hessian(np.zeros(surface.dims))).tolist())
        if w[0] >= 0:
            return True, f"a quadratic whose Hessian has eigenvalues {', '.join(f'{x:.6g}' for x in w)}, none below 0: proved"
    tries = _affordable(TRIES, LEAST_TRIES, surface.dims)
    at = _starts(surface, 1 << (tries - 1).bit_length())[:tries]
    with np.errstate(all="ignore"):
        h = surface.hessian(at)
        fine = np.isfinite(h).all((-1, -2))
        at, (w_, v) = at[fine], np.linalg.eigh(h[fine])
    order = np.argsort(w_[:, 0])
    low, high = np.array(surface.domain, float).T
    for i in order[:50]:
        if w_[i, 0] >= 0:
            break
        for size in 0.5 ** np.arange(1, 20):
            a, b = (at[i] + s * size * v[i, :, 0] for s in (-1, 1))
            middle, mean = float(surface.value((a + b) / 2)), float(surface.value(np.array([a, b])).mean())
            if middle > mean + 1e-9 * (1 + abs(mean)) and ((a >= low) & (b <= high) & (a <= high) & (b >= low)).all():
                return False, f"between {_words(a)} and {_words(b)} it rises to {middle:.6g}, above their mean {mean:.6g}"
    return None, f"no counter-example in {len(at):,} tries"


def _words(point: Array) -> str:
    return f"({', '.join(f'{x:.4g}' for x in point)})"


def schwarz(surface: Surface) -> str | None:
    """Describe a kink whose mixed second derivatives depend on their order; None if there is none."""
    for kink in surface.kinks if surface.dims == 2 else ():
        small = 1e-6
        (_, yx), (xy, _) = (surface.gradient(np.array(kink) + small * np.eye(2)[i]) / small for i in (0, 1))
        if np.isfinite([xy, yx]).all() and max(abs(xy), abs(yx)) < 1e3 and abs(xy - yx) > 1e-3:
            return (
                f"At {_words(np.array(kink))} the derivative by x, then y is {xy:.6g}, and by y, then x {yx:.6g}: the second "
                "derivatives are not continuous there, and the Hessian is not symmetric (Schwarz's theorem)."
            )
    return None
