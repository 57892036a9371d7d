"""The built-in problems, one per file."""
