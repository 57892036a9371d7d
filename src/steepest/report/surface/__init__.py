"""A surface as text, and pictures of paths on it."""
