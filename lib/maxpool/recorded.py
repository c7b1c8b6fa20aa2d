"""What the chapter on max-pooling records, for `python -m lib`."""

from lib.maxpool.record_curves import CURVES, OPTIMISERS, PATCHES
from lib.maxpool.record_grids import DIGIT_GRIDS, MNIST_GRIDS
from lib.maxpool.record_lemmas import LEMMAS

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (CURVES, PATCHES, OPTIMISERS, DIGIT_GRIDS, MNIST_GRIDS, LEMMAS)
}
