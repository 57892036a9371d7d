"""`python -m steepest` is `steepest`."""

from .cli import main

main()
