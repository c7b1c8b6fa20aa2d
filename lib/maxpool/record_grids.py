"""The digit grids as sweeps over the training size (Figure 3c)."""

from dataclasses import dataclass, field
from functools import lru_cache, partial

import torch

from lib import data
from lib.data import Images
from lib.maxpool.curves import USUAL, Comparison, operations
from lib.maxpool.grids import SIDE, grid_curves
from lib.maxpool.learners import Optimiser
from lib.maxpool.record_curves import parts, seeded, stacked
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

LOADERS = {"digits": data.digits, "mnist": data.mnist}
PIXELS = {"digits": 64, "mnist": 784}


@dataclass(frozen=True)
class GridConfig:
    """Training sizes on grids of ``data``; ``held`` images of it make the test grids."""

    data: str = "digits"
    folder: str | None = field(default=None, metadata={"local": True})  # of downloads
    held: int = 360
    sizes: tuple[int, ...] = (100, 500, 1000)
    seeds: int = 2
    comparison: Comparison = USUAL
    at_once: int = 10
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.data not in LOADERS:
            raise ValueError(f"data = {self.data!r}: choose one of {sorted(LOADERS)}")
        if not self.sizes:
            raise ValueError("sizes = (): choose at least one")
        for name in ("seeds", "at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")


def digits_full() -> GridConfig:
    """The bundled digits at most of the paper's sizes; softer, for large samples overlap."""
    comparison = Comparison(optimiser=Optimiser(rate=3e-3, steps=2000), softness=1.0)
    return GridConfig(sizes=(100, 500, 1000, 5000), seeds=10, comparison=comparison)


def mnist_full() -> GridConfig:
    """The paper's data, sizes and repeats."""
    comparison = Comparison(optimiser=Optimiser(rate=1e-3, steps=5000, batch=64), softness=0.1)
    sizes = (100, 500, 1000, 5000, 10_000)
    options = {"sizes": sizes, "seeds": 5, "comparison": comparison, "at_once": 5}
    return GridConfig("mnist", held=10_000, **options)


def mnist_small() -> GridConfig:
    """The same in a minute."""
    comparison = Comparison(channels=100, optimiser=Optimiser(rate=1e-3, steps=300))
    return GridConfig("mnist", held=10_000, sizes=(100, 1000), comparison=comparison)


def axes(config: GridConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"size": config.sizes}


@lru_cache(maxsize=1)
def images(name: str, folder: str | None, held: int, seed: int, dtype: torch.dtype) -> Images:
    """Kept from cell to cell: the split is the same for all sizes."""
    where = {"folder": folder} if name == "mnist" else {}
    return LOADERS[name](torch.Generator().manual_seed(seed), test=held, dtype=dtype, **where)


def run_cell(config: GridConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """``test`` and ``train`` errors, (learners, seeds), and whether margins are ``hard``."""
    shown = images(config.data, config.folder, config.held, config.seed, config.dtype)
    options = {"generator": seeded(config.seed, cell["size"]), "device": device}
    run = partial(grid_curves, shown, (cell["size"],), comparison=config.comparison, **options)
    return stacked([run(seeds=seeds) for seeds in parts(config.seeds, config.at_once)])


def flops(config: GridConfig, cell: Cell | None) -> float:
    """Operations of the networks, roughly; there is no preparation."""
    if cell is None:
        return 0.0
    return config.seeds * operations(config.comparison, SIDE**2, PIXELS[config.data])


SHARED = {
    "chapter": "max-pooling",
    "axes": axes,
    "run_cell": run_cell,
    "flops": flops,
    "batch": "at_once",
    # Training amplifies the last bits: on another machine some test inputs fall otherwise.
    "atol": 0.05,
}

DIGIT_GRIDS = Experiment(
    name="digit-grids",
    about="Test error of three learners on grids of the bundled digits, by training size.",
    scales={
        "small": Scale(GridConfig),
        "paper": Scale(
            digits_full,
            "The bundled digits, 8 by 8 pixels, in place of MNIST, which needs the network "
            "(mnist-grids).",
        ),
    },
    **SHARED,
)
MNIST_GRIDS = Experiment(
    name="mnist-grids",
    about="The same on grids of MNIST digits (Figure 3c); needs the download.",
    scales={"small": Scale(mnist_small), "paper": Scale(mnist_full)},
    **SHARED,
)
