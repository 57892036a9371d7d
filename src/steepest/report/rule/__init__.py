"""A rule as text: its card, and its equations in LaTeX."""
