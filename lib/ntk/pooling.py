"""Convolutional kernels with and without pooling, and fully connected ones, on the same images."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lib.ntk.architectures import tangent_kernel
from lib.ntk.spectrum import mean_predictor, spectrum
from lib.ntk.tasks import SHAPE, Settings, accuracy


@dataclass(frozen=True, kw_only=True)
class PoolingConfig(Settings):
    """Which kernels on which images."""

    images: int = 40
    test: int = 80

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.depths or min(self.depths) < 1:
            raise ValueError(f"depths = {self.depths}: choose at least 1")

    @classmethod
    def small(cls, **changes: object) -> "PoolingConfig":
        """A few digits: seconds."""
        sizes = {"sigma_w2": (1.7476,), "depths": (1, 4), "images": 20, "test": 40}
        return cls(**sizes | changes)


@dataclass(frozen=True)
class PoolingStudy:
    """The kernel's spectrum on the training set and its predictor, (seeds,) each, float64.

    ``accuracy`` is that of the mean predictor at infinite time on the test images; ``top`` is the
    largest eigenvalue, ``bulk`` the mean of the others, ``kappa`` the largest by the smallest.
    """

    accuracy: Tensor
    top: Tensor
    bulk: Tensor
    kappa: Tensor


def pooling_study(
    config: PoolingConfig,
    architecture: str,
    sigma_w2: float,
    depth: int,
    device: torch.device | str = "cpu",
) -> PoolingStudy:
    """One kernel, on the training set of each seed and against the test set."""
    problem = config.task(device)
    network = {"sigma_w2": sigma_w2, "sigma_b2": config.sigma_b2, "activation": config.activation}
    network |= {"depth": depth, "shape": SHAPE[config.data]}
    kernel = partial(tangent_kernel, architecture, **network)
    found = []
    for x, y in zip(problem.train_x, problem.train_y, strict=True):
        train, test = kernel(x, None), kernel(problem.test_x, x)
        right = accuracy(mean_predictor(test, train, y), problem.test)
        found.append([right, *(float(number) for number in spectrum(train)[:3])])
    return PoolingStudy(*torch.tensor(found, dtype=torch.float64).T)


def flops(config: PoolingConfig, architecture: str, depth: int) -> float:
    """Worth some 300 operations for a pair of images, a pair of positions and a layer."""
    pairs = config.images * (config.images / 2 + config.test) * config.seeds
    _, high, wide = SHAPE[config.data]
    positions = {"FCN": 1, "CNN-F": high * wide, "CNN-P": (high * wide) ** 2 / 2}
    return 300.0 * pairs * positions[architecture] * depth
