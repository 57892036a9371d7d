"""What a study does unless told otherwise. It imports nothing heavy: the command line shows it."""

from __future__ import annotations

from ..rules import CLASSICS

OPTIMIZERS = CLASSICS
SCHEDULES = ("constant", "cosine")
TRIALS = 7  # rates in a grid at first: two decades
SEEDS = 10  # that confirm
BUDGET = "60s"  # of a race
STORE = "steepest.db"
REPORT = "steepest-report.html"
PROBLEM = "digits"
