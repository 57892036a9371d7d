"""Surfaces: functions of a few coordinates to go down on, by name or by a formula of one's own."""

from .formula import get, parse
from .named import SURFACES
from .surface import Point, Surface, points_of

__all__ = ["SURFACES", "Point", "Surface", "get", "parse", "points_of"]
