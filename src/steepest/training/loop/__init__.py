"""Training by a user's own function."""
