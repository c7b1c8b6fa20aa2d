"""The sample-size curves as sweeps: by noise law and size, by patches, and by optimiser."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from lib.maxpool.curves import NOISES, USUAL, Comparison, Curves, operations, pattern_curves
from lib.maxpool.learners import Optimiser
from lib.maxpool.task import PatternTask
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

MLP_ALONE = Comparison(learners=("MLP",))


@dataclass(frozen=True)
class CurveConfig:
    """A grid of noise laws, numbers of patches and training sizes; ``at_once`` seeds in memory."""

    noises: tuple[str, ...] = ("none",)
    patches: tuple[int, ...] = (10,)
    sizes: tuple[int, ...] = (10, 50, 100, 200)
    seeds: int = 5
    comparison: Comparison = USUAL
    patterns: int = 20
    d: int = 20
    at_once: int = 16
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for name in ("noises", "patches", "sizes"):
            if not getattr(self, name):
                raise ValueError(f"{name} = (): choose at least one")
        for name in ("seeds", "at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")


@dataclass(frozen=True)
class OptimiserConfig(CurveConfig):
    """The multilayer perceptron alone, over the settings that the paper does not give."""

    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    batches: tuple[int, ...] = (8, 32, 128)
    comparison: Comparison = MLP_ALONE


def by_size() -> CurveConfig:
    """Figures 3a and 3b, both noise laws."""
    sizes = (10, 50, 100, 200, 500, 1000)
    return CurveConfig(tuple(NOISES), sizes=sizes, seeds=32)


def by_patches() -> CurveConfig:
    """Figure 5 at several sizes, for the paper does not state its own."""
    return CurveConfig(("radius", "ball"), (2, 5, 10, 20, 50), (20, 50, 100), seeds=8)


def by_patches_small() -> CurveConfig:
    """Few channels and steps: seconds."""
    comparison = Comparison(channels=100, optimiser=Optimiser(steps=200))
    return CurveConfig(("radius",), (2, 5, 10, 20, 50), (50,), comparison=comparison)


def by_optimiser() -> OptimiserConfig:
    """The sizes of Figure 3a at which the MLP's error is neither chance nor zero."""
    return OptimiserConfig(sizes=(50, 100, 200), seeds=16, at_once=64)


def by_optimiser_small() -> OptimiserConfig:
    """A corner of it."""
    return OptimiserConfig(sizes=(100,), rates=(1e-3, 1e-2), batches=(32,))


def axes(config: CurveConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"noise": config.noises, "patches": config.patches, "size": config.sizes}


def optimiser_axes(config: OptimiserConfig) -> dict[str, tuple]:
    """The grid of the optimiser's settings, with the patterns turned at random or not."""
    settings = {"rate": config.rates, "batch": config.batches}
    return {"rotated": (True, False), **settings, "size": config.sizes}


def run_cell(config: CurveConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """``test`` and ``train`` errors, (learners, seeds), and whether margins are ``hard``."""
    noise, n, size = cell["noise"], cell["patches"], cell["size"]
    generator = seeded(config.seed, list(NOISES).index(noise), n, size)
    options = {"noise": noise, "comparison": config.comparison}
    return swept(config, n, size, generator, device, options)


def run_optimiser(config: OptimiserConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The same with other settings, on data of the same seeds whatever the settings are."""
    generator = seeded(config.seed, config.patches[0], cell["size"])
    options = {"rotated": cell["rotated"], "noise": config.noises[0]}
    options["comparison"] = compared(config, cell)
    return swept(config, config.patches[0], cell["size"], generator, device, options)


def compared(config: CurveConfig, cell: Cell) -> Comparison:
    """Who is compared in a cell, and with which settings of the optimiser."""
    settings = {name: cell[name] for name in ("rate", "batch") if name in cell}
    optimiser = replace(config.comparison.optimiser, **settings)
    return replace(config.comparison, optimiser=optimiser)


def swept(
    config: CurveConfig, n: int, size: int, generator: torch.Generator, device: str, options: dict
) -> Arrays:
    """All seeds of one grid point, ``at_once`` at a time."""
    task = PatternTask(config.patterns, config.d, n)
    options = options | {"dtype": config.dtype, "device": device}
    run = partial(pattern_curves, task, (size,), generator=generator, **options)
    return stacked([run(seeds=seeds) for seeds in parts(config.seeds, config.at_once)])


def parts(seeds: int, at_once: int) -> list[int]:
    """How many seeds to take at a time."""
    return [min(at_once, seeds - first) for first in range(0, seeds, at_once)]


def stacked(curves: list[Curves]) -> Arrays:
    """Runs of one size as arrays whose last axis is the seed."""
    return {
        name: torch.cat([getattr(part, name)[..., 0, :] for part in curves], -1).numpy()
        for name in Curves._fields
    }


def seeded(*entropy: int) -> torch.Generator:
    """A generator of its own for each grid point."""
    seed = np.random.SeedSequence(entropy).generate_state(1)[0]
    return torch.Generator().manual_seed(int(seed))


def flops(config: CurveConfig, cell: Cell | None) -> float:
    """Operations of the networks, roughly; there is no preparation."""
    if cell is None:
        return 0.0
    n = cell.get("patches", config.patches[0])
    return config.seeds * operations(compared(config, cell), n, config.d)


SHARED = {
    "chapter": "max-pooling",
    "flops": flops,
    "batch": "at_once",
    # Training amplifies the last bits: on another machine some test inputs fall otherwise.
    "atol": 0.05,
}

CURVES = Experiment(
    name="pattern-curves",
    about="Test error of three learners by training size and noise law (Figures 3a and 3b).",
    scales={"small": Scale(CurveConfig), "paper": Scale(by_size)},
    axes=axes,
    run_cell=run_cell,
    **SHARED,
)
PATCHES = Experiment(
    name="patch-curves",
    about="Test error of three learners by the number of patches (Figure 5).",
    scales={
        "small": Scale(by_patches_small),
        "paper": Scale(by_patches, "The paper does not state the training size: three are run."),
    },
    axes=axes,
    run_cell=run_cell,
    **SHARED,
)
OPTIMISERS = Experiment(
    name="mlp-optimisers",
    about="Test error of the MLP by learning rate, batch and rotation of the patterns.",
    scales={"small": Scale(by_optimiser_small), "paper": Scale(by_optimiser)},
    axes=optimiser_axes,
    run_cell=run_optimiser,
    **SHARED,
)
