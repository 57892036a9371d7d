"""A page on which optimizers run in the browser, and the JavaScript that the rules' traces give it."""

from .page import Playground, play

__all__ = ["Playground", "play"]
