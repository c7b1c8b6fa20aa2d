"""How networks end, by margin, dimension, leak and the size of the start, as a sweep."""

from dataclasses import dataclass

import numpy as np
import torch

from lib.runs.experiment import Arrays, Cell, Experiment, Scale
from lib.teachers.experiments import Columns, stacked, start_study, teacher_draws
from lib.teachers.task import TeacherTask


@dataclass(frozen=True)
class StartConfig:
    """Samples of ``n`` Gaussian inputs, and networks of ``k`` + ``k`` neurons.

    ``margins`` are the gaps of :class:`lib.teachers.task.TeacherTask`.
    """

    margins: tuple[float, ...]
    dimensions: tuple[int, ...]
    alphas: tuple[float, ...]
    radii: tuple[float, ...]
    seeds: int
    steps: int
    n: int = 100
    k: int = 20
    test: int = 2000
    at_once: int = 256
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        check(
            self, margins=1e-9, dimensions=2, radii=0, seeds=1, steps=0, n=2, k=1, test=1, at_once=1
        )


def check(config: object, **least: float) -> None:
    """Raise ValueError where a field is empty or below its least value."""
    for name, bound in least.items():
        value = getattr(config, name)
        if value == () or not np.all(np.array(value) >= bound):
            raise ValueError(f"{name} = {value}: choose at least {bound}")


def parts(seeds: int, at_once: int) -> list[range]:
    """The seeds in groups."""
    return [range(s, min(s + at_once, seeds)) for s in range(0, seeds, at_once)]


def joined(columns: list[Columns]) -> Arrays:
    """Columns (seeds, 1, 1) or (seeds, 1) of groups as arrays (seeds,)."""
    return {k: torch.cat([c[k] for c in columns]).flatten().cpu().numpy() for k in columns[0]}


def descent_flops(runs: int, steps: int, n: int, d: int, k: int) -> float:
    """Two matrix products a step, and some 40 operations for every preactivation."""
    return float(runs) * steps * 2 * k * n * (4 * d + 40)


def small() -> StartConfig:
    """Seconds."""
    return StartConfig((0.1,), (2, 20), (0.1, 0.5), (1e-3, 0.5, 20.0), seeds=4, steps=400)


def large() -> StartConfig:
    """What two cores do in half an hour."""
    radii = (1e-3, 0.1, 0.5, 2.0, 20.0)
    sizes = {"seeds": 256, "steps": 4000, "k": 50, "at_once": 64}
    return StartConfig((0.1, 0.02), (2, 20, 50), (0.1, 0.5), radii, **sizes)


def axes(config: StartConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {
        "margin": config.margins,
        "dimension": config.dimensions,
        "alpha": config.alphas,
        "radius": config.radii,
    }


def run_cell(config: StartConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The columns of :func:`lib.teachers.experiments.start_study`, each (seeds,)."""
    task = TeacherTask(cell["dimension"], config.n, margin=cell["margin"])
    options = {"test": config.test, "seed": config.seed, "dtype": config.dtype}
    found = []
    for seeds in parts(config.seeds, config.at_once):
        draws = stacked(teacher_draws(task, config.k, seeds, **options), device)
        found.append(start_study(draws, (cell["alpha"],), (cell["radius"],), config.steps))
    return joined(found)


def flops(config: StartConfig, cell: Cell | None) -> float:
    """Operations of training and of the test, roughly; there is no preparation."""
    if cell is None:
        return 0.0
    sizes = cell["dimension"], config.k
    training = descent_flops(config.seeds, config.steps, config.n, *sizes)
    return training + descent_flops(config.seeds, 2, config.test, *sizes)


STARTS = Experiment(
    name="starts",
    chapter="linear-teachers",
    about="Clusters, agreement, nonlinearity and errors, by margin, d, leak and initial size.",
    scales={
        "small": Scale(small),
        "paper": Scale(
            large,
            "256 seeds, 50 + 50 neurons, 4000 steps: what two cores do in half an hour. For more "
            "steps add --set steps=8000.",
        ),
    },
    axes=axes,
    run_cell=run_cell,
    flops=flops,
    batch="at_once",
    # Training amplifies the last bits where neurons are about to change sides.
    rtol=0.05,
    atol=0.05,
)
