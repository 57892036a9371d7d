"""Train runs: one alone or many together, and the ways to do so."""
