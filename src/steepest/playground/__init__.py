"""A page on which optimizers run in the browser, and its JavaScript, generated from the rules' traces."""

from .page import Playground, play

__all__ = ["Playground", "play"]
