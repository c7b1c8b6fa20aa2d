"""Which line networks find, by the leak, as a sweep."""

from dataclasses import dataclass

import torch

from lib.runs.experiment import Arrays, Cell, Experiment, Scale
from lib.teachers.leaks import FAMILIES, leak_study
from lib.teachers.record_starts import check, descent_flops, joined, parts


@dataclass(frozen=True)
class LeakConfig:
    """Families of samples, see :data:`lib.teachers.leaks.FAMILIES`, and leaks."""

    alphas: tuple[float, ...]
    seeds: int
    steps: int
    families: tuple[str, ...] = tuple(FAMILIES)
    k: int = 8
    radius: float = 0.1
    at_once: int = 1024
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if not self.families or (unknown := set(self.families) - set(FAMILIES)):
            found = sorted(unknown) if self.families else "()"
            raise ValueError(f"families = {found}: choose some of {', '.join(FAMILIES)}")
        check(self, alphas=0, seeds=1, steps=0, k=1, radius=0, at_once=1)


def small() -> LeakConfig:
    """Seconds."""
    return LeakConfig((0.05, 0.3, 0.6, 0.9), seeds=4, steps=1000)


def large() -> LeakConfig:
    """What two cores do in minutes."""
    return LeakConfig(tuple(i / 20 for i in range(1, 20)), seeds=32, steps=4000)


def axes(config: LeakConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"family": config.families, "alpha": config.alphas}


def run_cell(config: LeakConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The columns of :func:`lib.teachers.leaks.leak_study`, each (seeds,)."""
    options = {name: getattr(config, name) for name in ("k", "radius", "steps", "seed", "dtype")}
    groups = parts(config.seeds, config.at_once)
    setting = cell["family"], (cell["alpha"],)
    return joined([leak_study(*setting, seeds, **options, device=device) for seeds in groups])


def flops(config: LeakConfig, cell: Cell | None) -> float:
    """Operations of training, roughly, for at most 20 points in 6 dimensions."""
    return descent_flops(config.seeds, config.steps, 20, 6, config.k) if cell else 0.0


LEAKS = Experiment(
    name="leaks",
    chapter="linear-teachers",
    about="The angle of networks to the ordinary and the coupled SVM, by kind of sample and leak.",
    scales={
        "small": Scale(small),
        "paper": Scale(large, "8 + 8 neurons, a start of size 0.1, at most 20 points a sample."),
    },
    axes=axes,
    run_cell=run_cell,
    flops=flops,
    batch="at_once",
    rtol=1e-3,
    atol=1e-3,
)
