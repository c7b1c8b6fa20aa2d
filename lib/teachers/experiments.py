"""What networks learn from a linear teacher, and on pairs of digits, for many draws at once.

Every draw (a seed) has a random stream of its own, on the CPU, and shares it with all settings:
the same samples and the same initial directions, so that differences are due to the settings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.teachers.clusters import agreement, cluster_radius, disagreement_bound, odd_even
from lib.teachers.errors import NotSeparable
from lib.teachers.network import LeakyNet, initial
from lib.teachers.steps import Descent
from lib.teachers.svm import angle, max_margin
from lib.teachers.task import TeacherTask, inputs
from lib.teachers.training import train

NORMALISED = Descent(1.0, normalised=True)
Columns = dict[str, Tensor]


class Draws(NamedTuple):
    """For every seed: a training sample, a test sample, and initial neurons of norm 1."""

    x: Tensor  # (seeds, n, d)
    y: Tensor  # (seeds, n)
    test_x: Tensor  # (seeds, m, d)
    test_y: Tensor  # (seeds, m)
    start: Tensor  # (seeds, 2, k, d)


def seeded(*entropy: int) -> torch.Generator:
    """A generator of its own for every tuple of non-negative integers."""
    state = np.random.SeedSequence(entropy).generate_state(1)[0]
    return torch.Generator().manual_seed(int(state))


def stacked(draws: Sequence[Sequence[Tensor]], device: str = "cpu") -> Draws:
    """The draws of single seeds as one."""
    return Draws(*(torch.stack(parts).to(device) for parts in zip(*draws, strict=True)))


def directions(k: int, d: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Neurons uniform on the unit sphere, (2, k, d)."""
    return initial(k, d, generator, alpha=0.0, dtype=dtype).weights


def networks(start: Tensor, alphas: Sequence[float], radii: Sequence[float]) -> LeakyNet:
    """Networks (seeds, alphas, radii) with neurons ``start`` (seeds, 2, k, d), times a radius."""
    alpha, radius = (
        torch.tensor(t, dtype=start.dtype, device=start.device) for t in (alphas, radii)
    )
    weights = start[:, None, None] * radius[:, None, None, None]
    return LeakyNet(weights.expand(-1, len(alphas), *(-1,) * 4), alpha[:, None])


# --- what is measured of networks (...)


def line(net: LeakyNet, x: Tensor) -> Tensor:
    """κ·x for inputs (…, m, d): the network's own linear classifier, (…, m)."""
    return (x @ net.kappa[..., None])[..., 0]


def differs(net: LeakyNet, x: Tensor) -> Tensor:
    """The share of the inputs at which N and the network's own line differ in sign."""
    return (net(x) * line(net, x) <= 0).to(x).mean(-1)


def errors(net: LeakyNet, x: Tensor, y: Tensor) -> Columns:
    """The shares of a sample that the network and its own line get wrong."""
    wrong = {"error": net.margins(x, y), "line_error": y * line(net, x)}
    return {name: (z <= 0).to(x).mean(-1) for name, z in wrong.items()}


def order(net: LeakyNet, x: Tensor, y: Tensor) -> Columns:
    """Radius of the wider cluster over its mean, agreement on the sample, and ln of the loss."""
    c, agree = cluster_radius(net), agreement(net, x, y)
    return {
        "rho": torch.maximum(c.rho_w, c.rho_u),
        "bound": disagreement_bound(c.rho_w, c.rho_u, x.shape[-1]),
        "agree": (agree.w + agree.u) / 2,
        "nar": agree.nar,
        "par": agree.par,
        "log_loss": net.log_loss(x, y),
    }


# --- 1. samples with a linear teacher


def teacher_draws(
    task: TeacherTask, k: int, seeds: range, *, test: int, seed: int, dtype: torch.dtype
) -> list[list[Tensor]]:
    """For every seed the tensors of :class:`Draws`, with ``test`` fresh samples of the teacher."""

    def draw(copy: int) -> list[Tensor]:
        generator = seeded(seed, task.d, copy)
        x, y, w_star = task.sample(generator, dtype=dtype)
        fresh = task.labelled(test, w_star, generator)
        return [x, y, fresh.x, fresh.y, directions(k, task.d, generator, dtype)]

    return [draw(copy) for copy in seeds]


def start_study(
    draws: Draws, alphas: Sequence[float], radii: Sequence[float], steps: int
) -> Columns:
    """How networks end, by the leak and the size of the start: columns (seeds, alphas, radii).

    Those of :func:`order` and :func:`errors`; ``differs`` on as many fresh directions, uniform on
    the sphere; and ``angle`` of κ to the ordinary SVM, in degrees.
    """
    x, y, test_x, test_y, start = (part[:, None, None] for part in draws)
    net = train(networks(start[:, 0, 0], alphas, radii), x, y, steps, NORMALISED).net()
    fresh = inputs(
        (test_x.shape[-2], x.shape[-1]), seeded(x.shape[-1]), law="sphere", dtype=x.dtype
    )
    svm = max_margin(draws.x, draws.y)[:, None, None]
    return {
        **order(net, x, y),
        **errors(net, test_x, test_y),
        "differs": differs(net, fresh.to(x.device)),
        "angle": angle(net.kappa, svm),
    }


# --- 2. pairs of digits


def pair_draws(
    pixels: Tensor, first: Tensor, k: int, seeds: range, *, train: int, test: int, seed: int
) -> list[list[Tensor]]:
    """For every seed the tensors of :class:`Draws`, from images (N, d) of two classes.

    ``first`` (N,) says which are of the first class.  ``train`` images are drawn for training, and
    at most ``test`` of the others for the test; the mean grey of the former is subtracted from
    both, and both are divided by their standard deviation.
    """

    def draw(copy: int) -> list[Tensor]:
        generator = seeded(seed, copy)
        chosen = torch.randperm(len(pixels), generator=generator)[: train + test]
        x, y = pixels[chosen], 2 * first[chosen].to(pixels) - 1
        x = (x - x[:train].mean()) / x[:train].std()
        start = directions(k, x.shape[-1], generator, x.dtype)
        return [x[:train], y[:train], x[train:], y[train:], start]

    return [draw(copy) for copy in seeds]


def ordinary_or_nan(x: Tensor, y: Tensor) -> Tensor:
    """The ordinary SVM of every sample (seeds, n, d), with NaN for one that is not separable."""

    def one(x: Tensor, y: Tensor) -> Tensor:
        try:
            return max_margin(x, y)
        except NotSeparable:
            return torch.full_like(x[0], torch.nan)

    return torch.stack([one(*sample) for sample in zip(x, y, strict=True)])


def pair_study(
    draws: Draws, alphas: Sequence[float], radii: Sequence[float], steps: int
) -> Columns:
    """How networks on images end: columns (seeds, alphas, radii).

    Those of :func:`order` and :func:`errors`; on the test images ``differs``, and ``even``, the
    median of |even part|/|odd part| of N; ``train_error``; and of the ordinary SVM of the training
    images ``svm_error`` and ``angle`` to κ, NaN where it does not exist.
    """
    x, y, test_x, test_y, start = (part[:, None, None] for part in draws)
    net = train(networks(start[:, 0, 0], alphas, radii), x, y, steps, NORMALISED).net()
    odd, even = odd_even(net, test_x)
    svm = ordinary_or_nan(draws.x, draws.y)[:, None, None]
    z = test_y * (test_x @ svm[..., None])[..., 0]
    svm_error = torch.where(z.isnan(), torch.nan, (z <= 0).to(z)).mean(-1)
    return {
        **order(net, x, y),
        **errors(net, test_x, test_y),
        "differs": differs(net, test_x),
        "even": (even.abs() / odd.abs()).median(-1).values,
        "train_error": errors(net, x, y)["error"],
        "svm_error": svm_error.expand(net.weights.shape[:-3]),
        "angle": angle(net.kappa, svm),
    }
