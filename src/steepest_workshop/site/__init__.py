"""The documentation site: written pages, a generated page for each rule, lessons with their output, the reference."""
