"""Benchmarks against named rivals, on the same work in the same run."""
