"""A teacher's kit: notebooks to hand out, and marks for those that come back (docs/teaching.md)."""
