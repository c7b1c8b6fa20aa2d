"""Networks on pairs of digits against their own lines, as a sweep."""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor

from lib import data
from lib.runs.experiment import Arrays, Cell, Experiment, Scale
from lib.teachers.experiments import Draws, pair_draws, pair_study, stacked
from lib.teachers.record_starts import check, descent_flops, joined, parts

LOADERS = {"digits": data.digits, "mnist": data.mnist}
PIXELS = {"digits": 64, "mnist": 784}
SCARCEST = {"digits": 351, "mnist": sum(sorted(data.MNIST.counts)[:2])}  # of the smallest pair
ALL = tuple(f"{a}-{b}" for a, b in combinations(range(10), 2))


@dataclass(frozen=True)
class PairConfig:
    """Pairs of classes, such as "3-8"; ``train`` images of a pair are learnt."""

    pairs: tuple[str, ...]
    radii: tuple[float, ...]
    seeds: int
    steps: int
    data: str = "digits"
    folder: str | None = field(default=None, metadata={"local": True})  # of downloads
    train: int = 80
    test: int = 260
    k: int = 10
    alpha: float = 0.1
    at_once: int = 64
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if self.data not in LOADERS:
            raise ValueError(f"data = {self.data!r}: choose one of {sorted(LOADERS)}")
        if not self.pairs or (unknown := sorted(set(self.pairs) - set(ALL))):
            found = unknown if self.pairs else "()"
            raise ValueError(f"pairs = {found}: write some as {ALL[0]}, …, {ALL[-1]}")
        check(self, radii=0, seeds=1, steps=0, train=2, test=1, k=1, at_once=1)
        if self.train + self.test > SCARCEST[self.data]:
            raise ValueError(
                f"train + test = {self.train + self.test}: some pair of {self.data} has only"
                f" {SCARCEST[self.data]} images"
            )


def small() -> PairConfig:
    """Seconds."""
    return PairConfig(("0-1", "3-8"), (1e-3, 20.0), seeds=3, steps=200)


def large() -> PairConfig:
    """All pairs; what two cores do in minutes."""
    return PairConfig(ALL, (1e-3, 1.0, 20.0), seeds=12, steps=800)


def mnist_small() -> PairConfig:
    """One pair of the larger images."""
    sizes = {"data": "mnist", "train": 200, "test": 2000}
    return PairConfig(("3-8",), (1e-3, 20.0), seeds=2, steps=200, **sizes)


def mnist_full() -> PairConfig:
    """All pairs of the larger images."""
    sizes = {"data": "mnist", "train": 1000, "test": 5000, "k": 50, "at_once": 4}
    return PairConfig(ALL, (1e-3, 1.0, 20.0), seeds=16, steps=4000, **sizes)


def axes(config: PairConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"pair": config.pairs, "radius": config.radii}


@lru_cache(maxsize=1)
def images(name: str, folder: str | None) -> tuple[Tensor, Tensor]:
    """All images (N, pixels), with pixels in [0, 1], and their classes; kept from cell to cell."""
    where = {"folder": folder} if name == "mnist" else {}
    found = LOADERS[name](torch.Generator().manual_seed(0), test=1, standardise=False, **where)
    both = torch.cat([found.train_x, found.test_x]), torch.cat([found.train_y, found.test_y])
    return both[0].flatten(1), both[1]


def drawn(config: PairConfig, pair: str, seeds: range, device: str) -> Draws:
    """The samples of a pair, and initial neurons."""
    pixels, classes = images(config.data, config.folder)
    first, second = map(int, pair.split("-"))
    chosen = (classes == first) | (classes == second)
    sizes = {"train": config.train, "test": config.test, "seed": config.seed}
    shown = pixels[chosen].to(config.dtype), classes[chosen] == first
    return stacked(pair_draws(*shown, config.k, seeds, **sizes), device)


def run_cell(config: PairConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The columns of :func:`lib.teachers.experiments.pair_study`, each (seeds,)."""
    found = []
    for seeds in parts(config.seeds, config.at_once):
        draws = drawn(config, cell["pair"], seeds, device)
        found.append(pair_study(draws, (config.alpha,), (cell["radius"],), config.steps))
    return joined(found)


def flops(config: PairConfig, cell: Cell | None) -> float:
    """Operations of training and of the test, roughly; there is no preparation."""
    if cell is None:
        return 0.0
    sizes = PIXELS[config.data], config.k
    training = descent_flops(config.seeds, config.steps, config.train, *sizes)
    return training + descent_flops(config.seeds, 4, config.test, *sizes)


SHARED = {
    "chapter": "linear-teachers",
    "axes": axes,
    "run_cell": run_cell,
    "flops": flops,
    "batch": "at_once",
    # Training amplifies the last bits: on another machine some test images fall otherwise.
    "rtol": 0.05,
    "atol": 0.05,
}

PAIRS = Experiment(
    name="digit-pairs",
    about="Networks on all pairs of the bundled digits against their own lines.",
    scales={
        "small": Scale(small),
        "paper": Scale(
            large,
            "All 45 pairs of the bundled digits, 80 images of each to learn, for 800 steps; 12 "
            "seeds. MNIST needs the network (mnist-pairs).",
        ),
    },
    **SHARED,
)
MNIST_PAIRS = Experiment(
    name="mnist-pairs",
    about="The same on all pairs of MNIST digits; needs the download.",
    scales={"small": Scale(mnist_small), "paper": Scale(mnist_full)},
    **SHARED,
)
