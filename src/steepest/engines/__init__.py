"""Engines: what turns a rule into updates and a problem into trained runs. They know no rule by name."""
