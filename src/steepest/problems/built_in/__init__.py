"""The built-in problems, one in each file."""
