"""The closed form of training in the kernel regime, against training itself.

With a constant tangent kernel, steps of size eta on half the sum of squares multiply the residual
on an eigenvector of the training kernel by ``1 - eta lambda`` each; small steps follow the flow,
``exp(-eta lambda t)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.ntk import copies
from lib.ntk.copies import Networks
from lib.ntk.fcn import fcn_kernel
from lib.ntk.spectrum import mean_predictor
from lib.ntk.tasks import Task, task
from lib.ntk.width import stream


@dataclass(frozen=True)
class FlowConfig:
    """Networks that learn to tell two digits apart; the step is ``rate`` · 2 / lambda_max.

    ``times`` counts steps on all ``images`` at once; lambda_max is that of infinite width.
    """

    widths: tuple[int, ...]
    times: tuple[int, ...]
    rate: float = 0.05
    images: int = 16
    test: int = 200
    seeds: int = 4
    depth: int = 2
    sigma_w2: float = 1.5
    sigma_b2: float = 0.05
    activation: str = "erf"
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        for name in ("widths", "times", "images", "test", "seeds", "depth"):
            values = getattr(self, name)
            if not values or min(values if isinstance(values, tuple) else (values,)) < 1:
                raise ValueError(f"{name} = {values}: choose at least 1")
        if not self.rate > 0 or not self.sigma_w2 > 0:
            raise ValueError(
                f"rate = {self.rate}, sigma_w2 = {self.sigma_w2}: choose positive numbers"
            )

    @classmethod
    def small(cls, **changes: object) -> "FlowConfig":
        """Widths to 256: a second or two."""
        sizes = {"widths": (16, 64, 256), "times": tuple(2**k for k in range(9))}
        return cls(**sizes | changes)


@dataclass(frozen=True)
class Setting:
    """What all widths share: ``x`` (images + test, features), ``y`` (images, 1), labels ±1/2.

    ``limit`` (images + test, images) is the infinite tangent kernel, ``eta`` the step.
    """

    x: Tensor
    y: Tensor
    limit: Tensor
    eta: float


def setting(config: FlowConfig, device: str = "cpu") -> Setting:
    """Zeros and ones among the digits, and the kernel of infinite width on them."""
    problem = two_digits(config, device)
    x = problem.both_x[0]
    kind = {name: getattr(config, name) for name in ("sigma_w2", "sigma_b2", "activation")}
    limit = fcn_kernel(x, x[: config.images], depth=config.depth, **kind).ntk
    largest = float(torch.linalg.eigvalsh(limit[: config.images])[-1])
    return Setting(x, problem.train_y[0, :, :1], limit, 2 * config.rate / largest)


def two_digits(config: FlowConfig, device: str) -> Task:
    """One training set with two classes."""
    options = {"seed": config.seed, "classes": 2, "dtype": config.dtype, "device": device}
    return task("digits", config.images, config.test, 1, **options)


def closed_form(kernel: Tensor, known: Setting, times: tuple[int, ...], *, flow: bool) -> Tensor:
    """Outputs (..., times, N, 1) after so many steps from f_0 = 0, by a constant kernel.

    ``kernel`` (..., N, images) has the training images first.  By gradient flow, or else by the
    steps themselves.
    """
    clock = torch.tensor(times, dtype=kernel.dtype, device=kernel.device)
    train = kernel[..., : kernel.shape[-1], :]
    options = {"t": clock, "eta": known.eta, "discrete": not flow}
    return mean_predictor(kernel, train, known.y, **options).movedim(0, -3)


@dataclass(frozen=True)
class FlowStudy:
    """How far trained networks are from the closed form.

    Root mean squares over images, relative to that of the labels; each (seeds, times, 2), of the
    training images and the test images.  ``infinite``: from the steps of the infinite kernel;
    ``own``: from those of the network's kernel at the start; ``flow``: from the infinite flow.
    ``outputs`` (times, images + test) are the first network's.
    """

    infinite: Tensor
    own: Tensor
    flow: Tensor
    outputs: Tensor


def flow_study(config: FlowConfig, width: int, known: Setting) -> FlowStudy:
    """Train ``config.seeds`` networks of one width, all at once, on all images at every step."""
    x, y, images = known.x, known.y, config.images
    nets = drawn(config, width, config.seeds, known)
    first = nets(x)
    own = copies.kernels(nets, x).ntk[..., :images]
    outputs = trained(nets, first, known, config.times)
    far = []
    for kernel, smooth in ((known.limit, False), (own, False), (known.limit, True)):
        expected = closed_form(kernel, known, config.times, flow=smooth)
        far.append(distances(outputs, expected, y, images))
    return FlowStudy(*far, outputs[0, :, :, 0])


def drawn(config: FlowConfig, width: int, seeds: int, known: Setting) -> Networks:
    """Random networks; the same seeds at every call."""
    entropy = [(config.seed, width, s) for s in range(seeds)]
    return copies.networks(
        [known.x.shape[-1], *[width] * config.depth, 1],
        [torch.Generator().manual_seed(stream(*some)) for some in entropy],
        sigma_w2=config.sigma_w2,
        sigma_b2=config.sigma_b2,
        activation=config.activation,
        dtype=known.x.dtype,
        device=known.x.device,
    )


def trained(nets: Networks, first: Tensor, known: Setting, times: tuple[int, ...]) -> Tensor:
    """Train in place; changes of the outputs after so many steps, (copies, times, N, outputs)."""
    images, first = len(known.y), first.detach()
    rates = torch.full((len(first),), known.eta, dtype=first.dtype, device=first.device)
    full = (slice(None) for _ in range(max(times)))
    steps = copies.descend(nets, known.x[:images], known.y, rates, full, start=first[:, :images])
    found = []
    for step, _ in enumerate(steps, start=1):
        if step in times:
            with torch.no_grad():
                found.append(nets(known.x) - first)
    return torch.stack(found, 1)


def distances(outputs: Tensor, expected: Tensor, y: Tensor, images: int) -> Tensor:
    """Relative root mean squares on training and test images: (copies, times, 2)."""
    squares = (outputs - expected).square().sum(-1)
    parts = [squares[..., :images].mean(-1), squares[..., images:].mean(-1)]
    return (torch.stack(parts, -1) / y.square().sum(-1).mean()).sqrt()
