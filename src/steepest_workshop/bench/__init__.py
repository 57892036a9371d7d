"""Speed, measured beside named rivals on the same work in one run."""
