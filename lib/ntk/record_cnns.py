"""Trained convolutional networks against their kernels as sweeps."""

from functools import partial

import torch

from lib.ntk import trained_cnns
from lib.ntk.architectures import ARCHITECTURES
from lib.ntk.trained_cnns import TrainedConfig
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

CHAPTER = "ntk-trainability"
PHASES = (1.2, 1.7476037497677033, 2.3)  # ordered, critical, chaotic at sigma_b2 = 0.18
CHANNELS = (4, 16, 64)


def digits_scales() -> dict[str, Scale]:
    """Until the pooled networks have learned their training sets."""
    few = {"images": 20, "test": 300, "seeds": 8}
    return {
        "small": Scale(TrainedConfig.small),
        "paper": Scale(
            partial(TrainedConfig, PHASES[1:2], (2,), CHANNELS, powers_of_4(6), **few),
            "Two CPU cores allow 20 images, 64 channels and critical networks of depth 2. All "
            "phases, 128 images, 256 channels and depth 4 are --scale gpu.",
        ),
        "gpu": Scale(partial(wide, images=128, test=300)),
    }


def colour_scales(data: str) -> dict[str, Scale]:
    """Squares of 16 by 16 pixels, 256 positions; small ones of 8 by 8."""
    few = {"data": data, "coarse": 2, "images": 32, "test": 100, "seeds": 8}
    return {
        "small": Scale(partial(TrainedConfig.small, data=data, coarse=4)),
        "paper": Scale(
            partial(TrainedConfig, PHASES[1:2], (2,), CHANNELS, powers_of_4(4), **few),
            "Two CPU cores allow 32 images of 16 by 16 pixels, 2 by 2 of the images' pixels "
            "averaged to one, 64 channels and critical networks of depth 2. All phases, 128 "
            "images, 256 channels and depth 4 are --scale gpu.",
        ),
        "gpu": Scale(partial(wide, data=data, coarse=2, images=128, test=256)),
    }


def wide(**changes: object) -> TrainedConfig:
    """All phases, two depths, and four times the channels of the others."""
    widths = tuple(4 * channels for channels in CHANNELS)
    return TrainedConfig(PHASES, (2, 4), widths, powers_of_4(6), seeds=8, **changes)


def powers_of_4(last: int) -> tuple[int, ...]:
    """4, 16, 64 and so on."""
    return tuple(4**k for k in range(1, last + 1))


def axes(config: TrainedConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    grid = {"sigma_w2": config.sigma_w2, "depth": config.depths, "channels": config.channels}
    return {"architecture": ARCHITECTURES} | grid


def prepare(config: TrainedConfig, device: str) -> Arrays:
    """The predictors of infinite width; the first axes are those of the grid but ``channels``."""
    grid = axes(config)
    shape = [len(grid[name]) for name in ("architecture", "sigma_w2", "depth")]
    found = [
        trained_cnns.predicted(config, architecture, sigma_w2, depth, device)
        for architecture in ARCHITECTURES
        for sigma_w2 in config.sigma_w2
        for depth in config.depths
    ]
    names = ("outputs", "kernel_train", "kernel_test", "kernel_limit")
    return {
        name: torch.stack(parts).unflatten(0, shape).cpu().numpy()
        for name, parts in zip(names, zip(*found, strict=True), strict=True)
    }


def run_cell(config: TrainedConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The arrays of :class:`lib.ntk.trained_cnns.TrainedStudy`, each (seeds, times)."""
    grid = axes(config)
    place = tuple(grid[name].index(cell[name]) for name in ("architecture", "sigma_w2", "depth"))
    limit = torch.from_numpy(before["outputs"][place])
    found = trained_cnns.trained_study(config, *cell.values(), limit, device)
    return {name: array.numpy() for name, array in vars(found).items()}


def flops(config: TrainedConfig, cell: Cell | None) -> float:
    """The training; before it, the pooled kernels, some 300 operations for a pair of positions."""
    if cell:
        return trained_cnns.flops(config, cell["architecture"], cell["depth"], cell["channels"])
    pairs = config.seeds * config.images * (config.images / 2 + config.test)
    layers = len(config.sigma_w2) * sum(config.depths)
    return 150.0 * pairs * (config.shape[1] * config.shape[2]) ** 2 * layers


def experiment(name: str, about: str, **scales: Scale) -> Experiment:
    """A sweep over the grid of a :class:`lib.ntk.trained_cnns.TrainedConfig`."""
    return Experiment(
        name=name,
        chapter=CHAPTER,
        about=about,
        scales=scales,
        axes=axes,
        prepare=prepare,
        kept=("kernel_train", "kernel_test", "kernel_limit"),
        run_cell=run_cell,
        flops=flops,
        batch="at_once",
        atol=0.05,  # single precision, amplified by training
        rtol=0.05,
    )


EXPERIMENTS = (
    experiment(
        "trained-cnns",
        "Trained FCN, CNN-F and CNN-P of growing width against their kernels, on digits.",
        **digits_scales(),
    ),
    experiment(
        "trained-cnns-photographs",
        "The same on squares of two photographs, with 2 by 2 or 4 by 4 pixels averaged to one.",
        **colour_scales("photographs"),
    ),
    experiment(
        "trained-cnns-cifar10",
        "The same on CIFAR-10, with 2 by 2 or 4 by 4 pixels averaged to one; needs the data.",
        **colour_scales("cifar10"),
    ),
)
