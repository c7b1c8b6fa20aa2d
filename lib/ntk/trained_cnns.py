"""Convolutional networks of finite width, trained, against the predictors of their kernels.

Pooled, unpooled and fully connected networks see the same images, and take steps on all of them at
once that are a given share of the largest stable one.  Each seed has its own training set and its
own network.
"""

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import pairwise, repeat
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.ntk import conv_copies, copies
from lib.ntk.architectures import READOUTS, tangent_kernel
from lib.ntk.conv_copies import WINDOW, Convolutional
from lib.ntk.copies import Networks
from lib.ntk.spectrum import max_learning_rate, mean_predictor
from lib.ntk.tasks import CLASSES, SHAPE, Settings, Task, accuracy, unit
from lib.ntk.width import stream


@dataclass(frozen=True)
class TrainedConfig(Settings):
    """Which networks, on which images, for how many steps on all images at once.

    ``channels`` of the convolutional networks; fully connected ones are ``WINDOW`` times as wide,
    so that they have as many weights between two layers.  ``rate`` is the share of 2 / lambda_max
    that a step is, between 0 and 1, with the lambda_max of each network's own kernel at the start,
    and of the infinite kernel for its predictor.  ``coarse`` by ``coarse`` pixels of the images
    are averaged to one.  ``at_once`` networks train together.
    """

    channels: tuple[int, ...]
    times: tuple[int, ...]
    _: KW_ONLY
    coarse: int = 1
    rate: float = 0.5
    at_once: int = 8
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("depths", "channels", "times", "coarse", "at_once"):
            values = getattr(self, name)
            if not values or min(values if isinstance(values, tuple) else (values,)) < 1:
                raise ValueError(f"{name} = {values}: choose at least 1")
        if sorted(set(self.times)) != [*self.times]:
            raise ValueError(f"times = {self.times}: choose increasing numbers")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate = {self.rate}: choose a share between 0 and 1")
        if any(side % self.coarse or side < WINDOW * self.coarse for side in SHAPE[self.data][1:]):
            raise ValueError(f"coarse = {self.coarse}: choose a divisor of {SHAPE[self.data][1:]}")

    @classmethod
    def small(cls, **changes: object) -> "TrainedConfig":
        """Twenty digits and few channels: seconds."""
        grid = {"sigma_w2": (1.7476,), "depths": (2,), "channels": (4, 16)}
        sizes = {"times": (4, 16, 64, 256), "images": 20, "test": 100, "seeds": 4}
        return cls(**grid | sizes | changes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the networks see."""
        channels, high, wide = SHAPE[self.data]
        return channels, high // self.coarse, wide // self.coarse

    def seen(self, device: torch.device | str = "cpu") -> Task:
        """The training sets and the test set, coarse."""
        problem = self.task(device)
        parts = (coarser(x, self) for x in (problem.train_x, problem.test_x))
        return problem._replace(**dict(zip(("train_x", "test_x"), parts, strict=True)))


def coarser(x: Tensor, config: TrainedConfig) -> Tensor:
    """Flat images (..., features) with squares of pixels averaged, again of mean square 1."""
    images = x.flatten(0, -2).unflatten(-1, SHAPE[config.data])
    return unit(F.avg_pool2d(images, config.coarse)).unflatten(0, x.shape[:-1])


# --- networks


@dataclass(frozen=True)
class TrainedStudy:
    """Trained networks: (seeds, times) each, float64.

    ``train`` and ``test`` are accuracies.  ``far``: the root mean square over test images of the
    distance between a network's outputs and its infinite kernel's predictor at the same step,
    relative to the labels.
    """

    train: Tensor
    test: Tensor
    far: Tensor


def trained_study(
    config: TrainedConfig,
    architecture: str,
    sigma_w2: float,
    depth: int,
    channels: int,
    limit: Tensor,
    device: torch.device | str = "cpu",
) -> TrainedStudy:
    """Train one network on each training set; ``limit`` (seeds, times, test, classes)."""
    problem, found = config.seen(device), []
    for some in torch.arange(config.seeds).split(config.at_once):
        nets = drawn(config, architecture, sigma_w2, depth, channels, some.tolist(), device)
        part = Task(*(field[some.to(device)] for field in problem[:3]), *problem[3:])
        found.append(_measured(config, nets, part, limit[some].to(device)))
    return TrainedStudy(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))


def _measured(
    config: TrainedConfig, nets: Convolutional | Networks, problem: Task, limit: Tensor
) -> list[Tensor]:
    size, found = problem.train_y.square().sum(-1).mean(-1).double(), []
    for (fitted, held), expected in zip(
        outputs(config, nets, problem), limit.unbind(1), strict=True
    ):
        far = (held - expected).square().sum(-1).mean(-1)
        right = accuracy(fitted, problem.train), accuracy(held, problem.test)
        found.append((*right, (far / size).sqrt()))
    return [torch.stack(series, -1) for series in zip(*found, strict=True)]


def outputs(
    config: TrainedConfig, nets: Convolutional | Networks, problem: Task
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train in place by gradient descent; changes of the outputs after each of the times.

    On the training images and the test images: (copies, N, classes) each.
    """
    x = problem.train_x
    generator = torch.Generator().manual_seed(config.seed)
    rates = 2 * config.rate / copies.sharpness(nets, x, generator)
    with torch.no_grad():
        first = [nets(part) for part in (x, problem.test_x)]
    every = repeat(slice(None), max(config.times))
    steps = copies.descend(nets, x, problem.train_y, rates, every, start=first[0])
    for step, _ in enumerate(steps, start=1):
        if step in config.times:
            with torch.no_grad():
                yield nets(x) - first[0], nets(problem.test_x) - first[1]


def drawn(
    config: TrainedConfig,
    architecture: str,
    sigma_w2: float,
    depth: int,
    channels: int,
    seeds: list[int],
    device: torch.device | str = "cpu",
) -> Convolutional | Networks:
    """One random network for each seed: the same whichever are drawn together."""
    kind = {"sigma_w2": sigma_w2, "sigma_b2": config.sigma_b2, "activation": config.activation}
    kind |= {"dtype": config.dtype, "device": device}
    names = [(config.seed, depth, channels, seed) for seed in seeds]
    generators = [torch.Generator().manual_seed(stream(*name)) for name in names]
    shape, classes = config.shape, CLASSES[config.data]
    if architecture == "FCN":
        sizes = [math.prod(shape), *[WINDOW * channels] * depth, classes]
        return copies.networks(sizes, generators, **kind)
    kind["pooled"] = READOUTS[architecture] == "gap"
    return conv_copies.networks(shape, [channels] * depth, classes, generators, **kind)


def flops(config: TrainedConfig, architecture: str, depth: int, channels: int) -> float:
    """Multiplications and additions of the training: one pass forward and two back."""
    shape, classes = config.shape, CLASSES[config.data]
    if architecture == "FCN":
        positions, width = 1, WINDOW * channels
        pairs = pairwise([math.prod(shape), *[width] * depth, classes])
    else:
        positions, pooled = math.prod(shape[1:]), architecture == "CNN-P"
        pairs = conv_copies.fans(shape, [channels] * depth, classes, pooled=pooled)
    *hidden, last = (fan_in * out for fan_in, out in pairs)
    weights = positions * sum(hidden) + last
    return 6.0 * weights * config.images * max(config.times) * config.seeds


# --- their kernels


class Predicted(NamedTuple):
    """By the infinite kernel: ``outputs`` (seeds, times, test, classes), accuracies by seed.

    ``train`` and ``test`` (seeds, times) after as many steps as the networks take, and ``limit``
    (seeds,) on the test images after infinitely many; float64 all.
    """

    outputs: Tensor
    train: Tensor
    test: Tensor
    limit: Tensor


def predicted(
    config: TrainedConfig,
    architecture: str,
    sigma_w2: float,
    depth: int,
    device: torch.device | str = "cpu",
) -> Predicted:
    """The mean predictor on each training set, after steps of the share ``rate``."""
    problem, found = config.seen(device), []
    times = torch.tensor(config.times, dtype=torch.float64, device=device)
    network = {"sigma_w2": sigma_w2, "sigma_b2": config.sigma_b2, "activation": config.activation}
    kernel = partial(tangent_kernel, architecture, shape=config.shape, depth=depth, **network)
    for x, y, labels in zip(*problem[:3], strict=True):
        x = x.double()
        train, test = kernel(x, None), kernel(problem.test_x.double(), x)
        y, eta = y.double(), config.rate * max_learning_rate(train)
        fitted, held = (
            mean_predictor(rows, train, y, times, float(eta), discrete=True)
            for rows in (train, test)
        )
        last = accuracy(mean_predictor(test, train, y), problem.test)
        found.append((held, accuracy(fitted, labels), accuracy(held, problem.test), last))
    return Predicted(*(torch.stack(parts) for parts in zip(*found, strict=True)))
