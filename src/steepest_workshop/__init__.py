"""What is made with steepest to show and check it: conformance, benchmarks, the five documents, and the papers' oracles."""
