"""Surfaces: functions of a few coordinates to minimise, by name or by a formula."""

from .formula import get, parse
from .named import SURFACES
from .surface import Point, Surface, points_of

__all__ = ["SURFACES", "Point", "Surface", "get", "parse", "points_of"]
