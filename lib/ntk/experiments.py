"""The chapter's experiments, live: the cells of a record, computed here and now."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lib.ntk.recorded import EXPERIMENTS
from lib.runs.experiment import Experiment


class Live(NamedTuple):
    """Like a record: ``live["test"]`` is an array whose first axes are those of ``live.axes``."""

    config: Any
    axes: dict[str, tuple]
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def live(name: str, device: str = "cpu", **changes: object) -> Live:
    """Compute the small scale of an experiment, with changes to its config, in this process.

    The same functions make the records, at the paper's scale.
    Raises ValueError for a name that is not registered, and TypeError for a field that is none.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment = {name!r}: choose one of {sorted(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    config = replace(experiment.scales["small"].config(), **changes)
    return Live(config, experiment.axes(config), computed(experiment, config, device))


def computed(experiment: Experiment, config: Any, device: str) -> dict[str, np.ndarray]:
    """All cells, one after the other, stacked along the axes, and what the preparation keeps."""
    before = experiment.prepare(config, device) if experiment.prepare else {}
    parts = [experiment.run_cell(config, c, device, before) for c in experiment.cells(config)]
    shape = experiment.shape(config)
    arrays = {
        key: np.stack([part[key] for part in parts]).reshape(shape + np.shape(parts[0][key]))
        for key in parts[0]
    }
    return arrays | {key: before[key] for key in experiment.kept}
