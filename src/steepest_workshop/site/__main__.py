"""`python -m steepest_workshop.site [FOLDER]` builds the site, from the repository's root, in build/site or another folder."""

import sys
from pathlib import Path

from .build import build

if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "build/site"))
