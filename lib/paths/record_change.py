"""Certified against observed change of trained networks, pruned and truncated: a sweep."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from lib.paths import experiments, record_pruning
from lib.paths.experiments import PruningConfig
from lib.paths.studies import output_change_study
from lib.runs.experiment import Arrays, Cell, Experiment, Scale
from lib.training import Schedule

CHANGES = ("path-magnitude", "magnitude", "truncation")


@dataclass(frozen=True)
class ChangeConfig:
    """How the networks are trained, and by how much they are then changed.

    ``sparsities`` are shares of the weights, ``steps`` the truncations' grids: as many of each.
    """

    training: PruningConfig
    sparsities: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    steps: tuple[float, ...] = field(default=tuple(2.0**-k for k in range(10, 2, -1)))

    def __post_init__(self) -> None:
        if len(self.sparsities) != len(self.steps):
            raise ValueError(f"steps = {self.steps}: choose as many as sparsities")

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.training.seed


def small() -> ChangeConfig:
    """Networks trained for seconds."""
    return ChangeConfig(PruningConfig.small(seeds=2))


def full() -> ChangeConfig:
    """Networks trained to the end of the long schedule."""
    schedule = Schedule(epochs=90, batch=128, rate=0.1, weight_decay=1e-3)
    return ChangeConfig(PruningConfig(schedule, rewind=5, seeds=5, at_once=5))


def axes(config: ChangeConfig) -> dict[str, tuple]:
    """One network a cell: a path-metric is of a pair of modules."""
    return {"network": tuple(range(config.training.seeds))}


def prepare(config: ChangeConfig, device: str) -> Arrays:
    """Train all networks at once."""
    training = replace(config.training, sparsities=(0.5,))  # nothing is pruned here
    dense = experiments.train_dense(training, record_pruning.shared(training, device))
    return {"dense": dense.accuracy.numpy()} | record_pruning.packed("trained", dense.trained)


def run_cell(config: ChangeConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Certified and observed change, each (changes, levels): float64, for all test images."""
    training = replace(config.training, seeds=1, sparsities=(0.5,))
    images = record_pruning.shared(training, device).images
    model = experiments.network(images, training, torch.Generator(), 1)
    model.load_state_dict(record_pruning.unpacked("trained", before, device)[cell["network"]])
    levels = {"sparsities": config.sparsities, "steps": config.steps}
    study = output_change_study(model, images.test_x, **levels)
    names = ("certified", "observed")
    return {n: np.stack([getattr(study[c], n).numpy() for c in CHANGES]) for n in names}


def flops(config: ChangeConfig, cell: Cell | None) -> float:
    """Training, or some fifty passes over the test images."""
    if cell is None:
        return record_pruning.flops(config.training, None)
    images = config.training.test * 6 * len(config.steps)
    return 2.0 * images * record_pruning.products(config.training)


CHANGE = Experiment(
    name="output-change",
    chapter="path-metrics",
    about="How far the outputs of trained networks move, and how far the path-metric lets them.",
    scales={
        "small": Scale(small),
        "paper": Scale(
            full, "Two CPU cores allow the bundled digits; the inputs are the test images."
        ),
    },
    axes=axes,
    prepare=prepare,
    run_cell=run_cell,
    kept=("dense",),
    flops=flops,
    # The networks are trained: on another machine they are other networks of the same kind.
    atol=0.03,
    rtol=0.5,
)
