"""`python -m lib`: run the chapters' experiments at any scale, and record them."""

import sys

from lib.maxpool import recorded as maxpool
from lib.ntk import recorded as ntk
from lib.paths import recorded as paths
from lib.runs.cli import main
from lib.teachers import recorded as teachers

CHAPTERS = (paths, maxpool, ntk, teachers)  # a module for each chapter, with its EXPERIMENTS

if __name__ == "__main__":
    sys.exit(main({name: e for chapter in CHAPTERS for name, e in chapter.EXPERIMENTS.items()}))
