"""Demonstrations and checks of steepest: conformance, benchmarks, the five documents, and oracles written from the papers."""
