"""Runs: one alone or many at once, and the ways to train them."""
