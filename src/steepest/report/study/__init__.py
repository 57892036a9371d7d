"""A study: its tables, page, figures and text."""
