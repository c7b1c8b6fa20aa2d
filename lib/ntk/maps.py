"""Accuracy of infinitely wide networks, over variance and depth: from the kernel alone."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.ntk.fcn import fcn_kernels
from lib.ntk.spectrum import mean_predictor, spectrum
from lib.ntk.tasks import LOADERS, Task, accuracy, task

# What one unit of time is.  "flow": as in the authors' notebook, gradient flow on the squared
# error averaged over images and classes.  "steps": a step of 1 / lambda_max on its sum.
CLOCKS = ("flow", "steps")


@dataclass(frozen=True)
class MapConfig:
    """Which kernels, on which images, after which times (by both clocks).

    ``images`` holds the sizes of the training sets; every seed has its own.
    """

    sigma_w2: tuple[float, ...]
    depths: tuple[int, ...]
    times: tuple[float, ...] = (1.0, 8.0, 64.0, 512.0, 4096.0)
    data: str = "digits"
    images: tuple[int, ...] = (256,)
    test: int = 360
    seeds: int = 1
    sigma_b2: float = 0.18
    activation: str = "erf"
    seed: int = 0
    dtype: torch.dtype = torch.float64
    folder: str | None = field(default=None, metadata={"local": True})  # of downloads

    def __post_init__(self) -> None:
        if not self.sigma_w2 or not min(self.sigma_w2) > 0:
            raise ValueError(f"sigma_w2 = {self.sigma_w2}: choose positive variances")
        if not self.depths or min(self.depths) < 0 or sorted(set(self.depths)) != [*self.depths]:
            raise ValueError(f"depths = {self.depths}: choose increasing numbers, at least 0")
        if not self.times or not min(self.times) > 0:
            raise ValueError(f"times = {self.times}: choose positive times")
        if not self.images or min(self.images) < 2:
            raise ValueError(f"images = {self.images}: choose at least 2")
        if self.data not in LOADERS:
            raise ValueError(f"data = {self.data!r}: choose one of {sorted(LOADERS)}")

    @classmethod
    def small(cls, **changes: object) -> "MapConfig":
        """64 digits and a coarse grid: seconds."""
        grid = {"sigma_w2": tuple(0.5 + 0.25 * k for k in range(11)), "images": (64,)}
        return cls(**grid | {"depths": (0, 1, 2, 4, 8, 16, 32, 64)} | changes)


@dataclass(frozen=True)
class KernelMap:
    """What the kernels predict at one variance, float64 on the CPU.

    ``train`` and ``test``: accuracies (depths, seeds, clocks, times).  ``top``, ``bulk`` and
    ``kappa`` (depths, seeds): the largest eigenvalue of the training kernel, the mean of the
    others, and the ratio of the largest to the smallest (infinite where that is rounding).
    """

    train: Tensor
    test: Tensor
    top: Tensor
    bulk: Tensor
    kappa: Tensor


def images(config: MapConfig, number: int, device: torch.device | str = "cpu") -> Task:
    """The training sets of ``number`` images, and the test set."""
    return task(
        config.data,
        number,
        config.test,
        config.seeds,
        seed=config.seed,
        folder=config.folder,
        dtype=config.dtype,
        device=device,
    )


def kernel_map(config: MapConfig, sigma_w2: float, problem: Task) -> KernelMap:
    """Train the infinite networks of one variance, of every depth, by the closed form."""
    kind = {"depths": config.depths, "sigma_w2": sigma_w2, "sigma_b2": config.sigma_b2}
    kind["activation"] = config.activation
    test = problem.test_x.expand(len(problem.train_x), *problem.test_x.shape)
    pairs = zip(
        fcn_kernels(problem.train_x, **kind),
        fcn_kernels(test, problem.train_x, **kind),
        strict=True,
    )
    found = [_predicted(config, train.ntk, test.ntk, problem) for (_, train), (_, test) in pairs]
    return KernelMap(*(torch.stack(parts).cpu() for parts in zip(*found, strict=True)))


def _predicted(config: MapConfig, train: Tensor, test: Tensor, problem: Task) -> list[Tensor]:
    """The numbers of one depth, from kernels (seeds, images, images) and (seeds, test, images)."""
    found = spectrum(train)
    flow = torch.full_like(found.lambda_max, 1 / problem.train_y[0].numel())
    eta = torch.stack([flow, 1 / found.lambda_max])[:, None, :, None]  # (clocks, 1, seeds, 1)
    times = torch.tensor(config.times, dtype=train.dtype, device=train.device)
    rows = torch.cat([train, test], 1)
    outputs = mean_predictor(rows, train, problem.train_y, times.expand(len(CLOCKS), -1), eta)
    images = train.shape[-1]
    parts = outputs[..., :images, :], outputs[..., images:, :]
    right = [
        accuracy(part, some).movedim(-1, 0)
        for part, some in zip(parts, (problem.train, problem.test), strict=True)
    ]
    return [*right, found.lambda_max, found.lambda_bulk, found.kappa]
