"""A rule: its card, its equations, and the document of all."""
