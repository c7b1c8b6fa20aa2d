"""Accuracy of trained networks of finite width, over variance and depth.

The grid of variances and the seeds train at once; each network takes steps of a given share of
the largest that its own kernel on a batch allows, so that the number of steps is what trainability
costs.  Where one eigenvalue dominates, as in the ordered phase, such a step on a batch does on
average what the same share does on all images.
"""

from dataclasses import KW_ONLY, dataclass
from itertools import islice

import torch
from torch import Tensor

from lib.ntk import copies
from lib.ntk.copies import Networks
from lib.ntk.tasks import SHAPE, Settings, Task, accuracy
from lib.ntk.width import stream


@dataclass(frozen=True)
class SgdConfig(Settings):
    """Which networks, on which images, for how long.

    ``rate`` is the share of 2 / lambda_max that a step is, between 0 and 1, lambda_max being that
    of the network's own kernel on its first batch; ``times`` counts steps of ``batch`` images.
    ``centred``: what the network says at the start is subtracted, so that f_0 = 0 as in the theory.
    ``at_once`` variances train together.
    """

    times: tuple[int, ...]
    _: KW_ONLY
    batch: int = 32
    width: int = 128
    rate: float = 0.5
    centred: bool = True
    at_once: int = 64
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("depths", "times", "batch", "width", "at_once"):
            values = getattr(self, name)
            if not values or min(values if isinstance(values, tuple) else (values,)) < 1:
                raise ValueError(f"{name} = {values}: choose at least 1")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate = {self.rate}: choose a share between 0 and 1")
        if self.batch > self.images:
            raise ValueError(f"batch = {self.batch}: choose at most images = {self.images}")

    @classmethod
    def small(cls, **changes: object) -> "SgdConfig":
        """Narrow networks on few images: seconds."""
        grid = {"sigma_w2": (0.5, 1.0, 1.5, 1.75, 2.0, 2.5, 3.0), "depths": (1, 4, 8, 16)}
        sizes = {"images": 64, "batch": 32, "test": 200, "width": 64, "times": (8, 64)}
        return cls(**grid | sizes | changes)


def sgd_accuracy(config: SgdConfig, depth: int, problem: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Train at one depth: accuracies on the training set and on the test set, and the error.

    Each (sigma_w2, seeds, times), float64 on the CPU.  The error is the mean over the training set
    of the squared distance to the label, relative to that of the zero function.
    """
    variances = torch.tensor(config.sigma_w2, dtype=config.dtype).split(config.at_once)
    pieces = [_together(config, depth, problem, some) for some in variances]
    return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


def _together(config: SgdConfig, depth: int, problem: Task, variances: Tensor) -> tuple:
    points, device = len(variances), problem.test_x.device
    x, y, labels = (part.repeat(points, 1, *[1] * (part.dim() - 2)) for part in problem[:3])
    nets = drawn(config, depth, variances.repeat_interleave(config.seeds), problem)
    generator = torch.Generator().manual_seed(stream(config.seed, depth))
    rates = 2 * config.rate / copies.sharpness(nets, x[:, : config.batch], generator)
    first = [nets(part) * config.centred for part in (x, problem.test_x)]
    order = (b.to(device) for b in copies.batches(config.images, config.batch, generator))
    steps = copies.descend(nets, x, y, rates, islice(order, max(config.times)), start=first[0])
    found = []
    for step, _ in enumerate(steps, start=1):
        if step in config.times:
            found.append(_measured(nets, first, x, y, labels, problem))
    return tuple(
        torch.stack(series, -1).reshape(points, config.seeds, -1).double().cpu()
        for series in zip(*found, strict=True)
    )


@torch.no_grad()
def _measured(
    nets: Networks, first: list[Tensor], x: Tensor, y: Tensor, labels: Tensor, problem: Task
) -> tuple[Tensor, Tensor, Tensor]:
    fitted, held = nets(x) - first[0], nets(problem.test_x) - first[1]
    error = (fitted - y).square().sum((1, 2)) / y.square().sum((1, 2))
    return accuracy(fitted, labels), accuracy(held, problem.test), error


def drawn(config: SgdConfig, depth: int, variances: Tensor, problem: Task) -> Networks:
    """One network for each variance; every seed draws the same weights at all variances."""
    features, classes = problem.test_x.shape[-1], problem.train_y.shape[-1]
    generators = [
        torch.Generator().manual_seed(stream(config.seed, depth, copy % config.seeds))
        for copy in range(len(variances))
    ]
    return copies.networks(
        [features, *[config.width] * depth, classes],
        generators,
        sigma_w2=variances.to(problem.test_x.device),
        sigma_b2=config.sigma_b2,
        activation=config.activation,
        dtype=config.dtype,
        device=problem.test_x.device,
    )


def flops(config: SgdConfig, depth: int) -> float:
    """Multiplications and additions of the training: one pass forward and two back."""
    channels, high, wide = SHAPE[config.data]
    weights = depth * config.width**2 + config.width * (channels * high * wide + 10)
    copies_ = len(config.sigma_w2) * config.seeds
    return 6.0 * weights * config.batch * max(config.times) * copies_
