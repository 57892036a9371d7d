"""A point on a surface: the rule and the formula in one compiled loop."""
