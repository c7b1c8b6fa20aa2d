"""What the chapter on linear teachers records, for `python -m lib`."""

from lib.teachers.record_leaks import LEAKS
from lib.teachers.record_pairs import MNIST_PAIRS, PAIRS
from lib.teachers.record_starts import STARTS

EXPERIMENTS = {experiment.name: experiment for experiment in (STARTS, LEAKS, PAIRS, MNIST_PAIRS)}
