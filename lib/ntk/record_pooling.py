"""Pooled, unpooled and fully connected kernels as a sweep."""

from functools import partial

from lib.ntk import pooling
from lib.ntk.pooling import ARCHITECTURES, PoolingConfig
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

CHAPTER = "ntk-trainability"
PHASES = (1.2, 1.7476037497677032, 2.3)  # ordered, critical, chaotic at sigma_b2 = 0.18


def digits_full() -> PoolingConfig:
    """What two cores compute in minutes."""
    return PoolingConfig(PHASES, (1, 2, 4, 8, 16), images=128, test=300)


def photographs_full() -> PoolingConfig:
    """Images of 32 by 32 pixels: a million pairs of positions in each pair of images."""
    return PoolingConfig(PHASES[1:2], (1, 2, 4), data="photographs", images=64, test=96)


def photographs_gpu() -> PoolingConfig:
    """All phases and the depth of the digits."""
    return PoolingConfig(PHASES, (1, 2, 4, 8, 16), data="photographs", images=256, test=256)


def cifar_full() -> PoolingConfig:
    """The same of CIFAR-10."""
    return PoolingConfig(PHASES[1:2], (1, 2, 4), data="cifar10", images=64, test=128)


def cifar_gpu() -> PoolingConfig:
    """Enough images for accuracies."""
    return PoolingConfig(PHASES, (1, 2, 4, 8, 16), data="cifar10", images=256, test=512)


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


SHARED = {
    "chapter": CHAPTER,
    "axes": axes,
    "run_cell": run_cell,
    "flops": flops,
    "atol": 0.02,
    "rtol": 1e-6,
}
EXPERIMENTS = (
    Experiment(
        name="pooling",
        about="Accuracy and spectrum of FCN, CNN-F and CNN-P kernels on digits, by phase, depth.",
        scales={
            "small": Scale(PoolingConfig.small),
            "paper": Scale(
                digits_full,
                "Two CPU cores allow 128 images of 8 by 8 pixels.",
            ),
        },
        **SHARED,
    ),
    Experiment(
        name="pooling-photographs",
        about="The same on squares of two photographs, 32 by 32 pixels in colour.",
        scales={
            "small": Scale(
                partial(PoolingConfig.small, data="photographs", images=4, test=4, depths=(1,))
            ),
            "paper": Scale(
                photographs_full,
                "Two CPU cores allow 64 images and critical networks to depth 4. All phases, 256 "
                "images and depth 16 are --scale gpu.",
            ),
            "gpu": Scale(photographs_gpu),
        },
        **SHARED,
    ),
    Experiment(
        name="pooling-cifar10",
        about="The same on CIFAR-10, 32 by 32 pixels; needs the data.",
        scales={
            "small": Scale(
                partial(PoolingConfig.small, data="cifar10", images=4, test=4, depths=(1,))
            ),
            "paper": Scale(
                cifar_full,
                "Two CPU cores allow 64 images and critical networks to depth 4: enough for the "
                "spectrum. All phases, 256 images and depth 16 are --scale gpu.",
            ),
            "gpu": Scale(cifar_gpu),
        },
        **SHARED,
    ),
)
