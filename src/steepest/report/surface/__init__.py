"""A surface: its text, and the pictures of paths on it."""
