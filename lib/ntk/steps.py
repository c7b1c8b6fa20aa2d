"""The largest stable step of gradient descent: 2 / lambda_max of the tangent kernel.

At a step of ``ratio`` times that, the residual on the top eigenvector is multiplied by
``1 - 2 ratio`` at each step, as long as the kernel does not move.  It hardly moves while the
residual is small; where a large one grows, the kernel changes, and may find a new balance.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.ntk import copies
from lib.ntk.fcn import fcn_kernel
from lib.ntk.tasks import task
from lib.ntk.width import stream

SCALES = (1e-9, 1.0)  # of the labels: one at which the kernel stays, and the usual one


@dataclass(frozen=True)
class StepConfig:
    """Networks of several depths and variances, and steps around 2 / lambda_max.

    ``ratios`` are steps in units of 2 / lambda_max of infinite width.  Growth is measured over the
    first ``early`` of all ``steps``.
    """

    depths: tuple[int, ...]
    sigma_w2: tuple[float, ...]
    ratios: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5)
    early: int = 20
    steps: int = 100
    width: int = 256
    images: int = 16
    seeds: int = 3
    sigma_b2: float = 0.05
    activation: str = "erf"
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        for name in ("depths", "sigma_w2", "ratios"):
            if not getattr(self, name) or not min(getattr(self, name)) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: choose positive numbers")
        for name in ("early", "width", "images", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")
        if self.steps < self.early:
            raise ValueError(f"steps = {self.steps}: choose at least early = {self.early}")

    @classmethod
    def small(cls, **changes: object) -> "StepConfig":
        """Three phases, two layers: a second or two."""
        sizes = {"depths": (2,), "sigma_w2": (1.0, 1.3758, 2.0), "width": 128, "steps": 40}
        return cls(**sizes | changes)


@dataclass(frozen=True)
class StepStudy:
    """What happens at each step size, float64.

    ``growth`` (ratios, seeds): the factor a step by which the residual on the network's own top
    eigenvector changes, the geometric mean over the early steps, where labels are tiny.
    ``expected`` (ratios, seeds): that of a kernel that does not move, ``|1 - 2 ratio own|``.
    ``own`` (seeds,): lambda_max of each network at the start, relative to infinite width.
    ``peak`` and ``last`` (2, ratios, seeds): the largest and the last loss, relative to the first,
    for labels of either scale.
    """

    growth: Tensor
    expected: Tensor
    own: Tensor
    peak: Tensor
    last: Tensor


def step_study(
    config: StepConfig, depth: int, sigma_w2: float, device: torch.device | str = "cpu"
) -> StepStudy:
    """Train scales · ratios · seeds networks at once, on all images at every step, from f_0 = 0."""
    options = {"seed": config.seed, "classes": 2, "dtype": config.dtype, "device": device}
    problem = task("digits", config.images, 1, 1, **options)
    x, labels = problem.train_x[0], problem.train_y[0, :, :1]
    shape = len(SCALES), len(config.ratios), config.seeds
    nets = drawn(config, depth, sigma_w2, x)
    values, vectors = torch.linalg.eigh(copies.kernels(nets, x).ntk)
    limit = largest(config, depth, sigma_w2, x)
    ratios = torch.tensor(config.ratios, dtype=x.dtype, device=x.device)
    rates = (2 * ratios / limit)[:, None].expand(shape).flatten()
    scale = torch.tensor(SCALES, dtype=x.dtype, device=x.device)
    y = scale[:, None, None].expand(shape).reshape(-1, 1, 1) * labels
    full = (slice(None) for _ in range(config.steps + 1))
    steps = copies.descend(nets, x, y, rates, full, start=nets(x).detach())
    residuals = torch.stack(list(steps))  # (steps + 1, copies, images, 1)
    height = (vectors[..., -1:].mT @ residuals[[0, config.early]]).abs().reshape(2, *shape)
    loss = residuals.square().sum((2, 3)).reshape(-1, *shape)
    own = values.reshape(*shape, -1)[0, 0, :, -1] / limit
    return StepStudy(
        growth=(height[1, 0] / height[0, 0]) ** (1 / config.early),
        expected=(1 - 2 * ratios[:, None] * own).abs(),
        own=own,
        peak=(loss / loss[0]).amax(0),
        last=loss[-1] / loss[0],
    )


def drawn(config: StepConfig, depth: int, sigma_w2: float, x: Tensor) -> copies.Networks:
    """The same networks for each scale and ratio."""
    times = len(SCALES) * len(config.ratios)
    entropy = [(config.seed, depth, s) for _ in range(times) for s in range(config.seeds)]
    return copies.networks(
        [x.shape[-1], *[config.width] * depth, 1],
        [torch.Generator().manual_seed(stream(*some)) for some in entropy],
        sigma_w2=sigma_w2,
        sigma_b2=config.sigma_b2,
        activation=config.activation,
        dtype=x.dtype,
        device=x.device,
    )


def largest(config: StepConfig, depth: int, sigma_w2: float, x: Tensor) -> float:
    """lambda_max of infinite width."""
    kind = {"sigma_b2": config.sigma_b2, "activation": config.activation}
    kernel = fcn_kernel(x, depth=depth, sigma_w2=sigma_w2, **kind).ntk
    return float(torch.linalg.eigvalsh(kernel)[-1])
