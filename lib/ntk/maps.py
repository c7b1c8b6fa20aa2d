"""Accuracy of infinitely wide networks, over variance and depth: from the kernel alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.ntk.fcn import fcn_kernels
from lib.ntk.lanczos import krylov
from lib.ntk.spectrum import mean_predictor, spectrum
from lib.ntk.tasks import Settings, Task, accuracy

# What one unit of time is.  "flow": as in the authors' notebook, gradient flow on the squared
# error averaged over images and classes.  "steps": a step of 1 / lambda_max on its sum.
CLOCKS = ("flow", "steps")
WHOLE = 2048  # images up to which all eigenvectors are computed


@dataclass(frozen=True, kw_only=True)
class MapConfig(Settings):
    """Which kernels, on which images, after which times (by both clocks).

    ``images`` holds the sizes of the training sets.
    """

    times: tuple[float, ...] = (1.0, 8.0, 64.0, 512.0, 4096.0)
    images: tuple[int, ...] = (256,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.depths or min(self.depths) < 0 or sorted(set(self.depths)) != [*self.depths]:
            raise ValueError(f"depths = {self.depths}: choose increasing numbers, at least 0")
        if not self.times or not min(self.times) > 0:
            raise ValueError(f"times = {self.times}: choose positive times")
        if not self.images or min(self.images) < 2:
            raise ValueError(f"images = {self.images}: choose at least 2")

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
    others, and the ratio of the largest to the smallest (infinite where that is rounding, NaN for
    more than ``WHOLE`` images).
    """

    train: Tensor
    test: Tensor
    top: Tensor
    bulk: Tensor
    kappa: Tensor


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
    times = torch.tensor(config.times, dtype=train.dtype, device=train.device)
    times, rows, images = times.expand(len(CLOCKS), -1), torch.cat([train, test], 1), len(train[0])
    if images > WHOLE:
        space = krylov(train, problem.train_y)
        top = space.values.amax((-1, -2))
        bulk = (train.diagonal(dim1=-2, dim2=-1).sum(-1) - top) / (images - 1)
        numbers = [top, bulk, torch.full_like(top, torch.nan)]
        coefficients = space.coefficients(times, _rates(top, problem)[..., None])
        outputs = torch.einsum("srm,ctsmk->ctsrk", rows, coefficients)
    else:
        numbers = [*spectrum(train)[:3]]
        eta = _rates(numbers[0], problem)
        outputs = mean_predictor(rows, train, problem.train_y, times, eta)
    parts = outputs[..., :images, :], outputs[..., images:, :]
    right = [
        accuracy(part, some).movedim(-1, 0)
        for part, some in zip(parts, (problem.train, problem.test), strict=True)
    ]
    return right + numbers


def _rates(top: Tensor, problem: Task) -> Tensor:
    """The learning rate of each clock, (clocks, 1, seeds, 1)."""
    flow = torch.full_like(top, 1 / problem.train_y[0].numel())
    return torch.stack([flow, 1 / top])[:, None, :, None]
