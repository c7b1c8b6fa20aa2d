"""Pooled, unpooled and fully connected kernels as a sweep."""

from functools import partial

from lib.ntk import pooling
from lib.ntk.architectures import ARCHITECTURES
from lib.ntk.pooling import PoolingConfig
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

CHAPTER = "ntk-trainability"
PHASES = (1.2, 1.7476037497677032, 2.3)  # ordered, critical, chaotic at sigma_b2 = 0.18


def digits_full() -> PoolingConfig:
    """What two cores compute in minutes."""
    return PoolingConfig(PHASES, (1, 2, 4, 8, 16), images=128, test=300)


def colour_scales(data: str, *, test: int, gpu_test: int) -> dict[str, Scale]:
    """Images of 32 by 32 pixels, of which two have a million pairs of positions.

    Small: one layer.  Paper: critical networks, as deep as two cores can.  GPU: all phases, the
    depth of the digits, and enough images for accuracies.
    """
    critical = {"data": data, "images": 64, "test": test}
    many = {"data": data, "images": 256, "test": gpu_test}
    return {
        "small": Scale(partial(PoolingConfig.small, data=data, images=4, test=4, depths=(1,))),
        "paper": Scale(
            partial(PoolingConfig, PHASES[1:2], (1, 2, 4), **critical),
            "Two CPU cores allow 64 images and critical networks to depth 4. All phases, 256 "
            "images and depth 16 are --scale gpu.",
        ),
        "gpu": Scale(partial(PoolingConfig, PHASES, (1, 2, 4, 8, 16), **many)),
    }


def axes(config: PoolingConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    grid = {"sigma_w2": config.sigma_w2, "depth": config.depths}
    return {"architecture": ARCHITECTURES} | grid


def run_cell(config: PoolingConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The arrays of :class:`lib.ntk.pooling.PoolingStudy`, each (seeds,)."""
    place = cell["architecture"], cell["sigma_w2"], cell["depth"]
    found = pooling.pooling_study(config, *place, device)
    return {name: array.numpy() for name, array in vars(found).items()}


def flops(config: PoolingConfig, cell: Cell | None) -> float:
    """The recursion over pairs of positions."""
    return pooling.flops(config, cell["architecture"], cell["depth"]) if cell else 0.0


def experiment(name: str, about: str, **scales: Scale) -> Experiment:
    """A sweep over the grid of a :class:`lib.ntk.pooling.PoolingConfig`."""
    kind = {"axes": axes, "run_cell": run_cell, "flops": flops, "atol": 0.02, "rtol": 1e-6}
    return Experiment(name=name, chapter=CHAPTER, about=about, scales=scales, **kind)


EXPERIMENTS = (
    experiment(
        "pooling",
        "Accuracy and spectrum of FCN, CNN-F and CNN-P kernels on digits, by phase, depth.",
        small=Scale(PoolingConfig.small),
        paper=Scale(digits_full, "Two CPU cores allow 128 images of 8 by 8 pixels."),
    ),
    experiment(
        "pooling-photographs",
        "The same on squares of two photographs, 32 by 32 pixels in colour.",
        **colour_scales("photographs", test=96, gpu_test=256),
    ),
    experiment(
        "pooling-cifar10",
        "The same on CIFAR-10, 32 by 32 pixels; needs the data.",
        **colour_scales("cifar10", test=128, gpu_test=512),
    ),
)
