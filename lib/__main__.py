"""`python -m lib`: run the chapters' experiments at any scale, and record them."""

import sys

from lib.paths import recorded
from lib.runs.cli import main

CHAPTERS = (recorded,)  # a module for each chapter, with its EXPERIMENTS

if __name__ == "__main__":
    sys.exit(main({name: e for chapter in CHAPTERS for name, e in chapter.EXPERIMENTS.items()}))
