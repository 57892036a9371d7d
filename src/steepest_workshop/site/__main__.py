"""Build the site: `python -m steepest_workshop.site [FOLDER]` in the repository's root; the default is build/site."""

import sys
from pathlib import Path

from .build import build

if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/site"))
