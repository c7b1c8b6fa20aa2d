"""What the chapter on path-metrics records, for `python -m lib`."""

from lib.paths.record_change import CHANGE
from lib.paths.record_depth import DEPTH
from lib.paths.record_pruning import CIFAR10, DIGITS

EXPERIMENTS = {experiment.name: experiment for experiment in (DIGITS, CIFAR10, DEPTH, CHANGE)}
