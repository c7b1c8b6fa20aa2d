"""Which line networks find on small samples, by the leak, for many draws at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.teachers.clusters import agreement
from lib.teachers.experiments import NORMALISED, Columns, directions, networks, seeded
from lib.teachers.svm import angle, coupled_svm, max_margin, two_point_direction
from lib.teachers.task import TeacherTask, orthogonally_separable
from lib.teachers.training import train

POINTS = (2.0, 0.0), (-0.4, 0.9)  # of the labels 1 and -1


def two_points(generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Always the same two points."""
    return torch.tensor(POINTS, dtype=dtype), torch.tensor([1.0, -1.0], dtype=dtype)


def orthogonal(generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Ten points that are orthogonally separable, so that D8 promises the limit."""
    return orthogonally_separable(10, 6, generator, dtype=dtype)


def separable_points(generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Ten points of a linear teacher in the plane, for which nothing is promised."""
    x, y, _ = TeacherTask(2, 10, margin=0.3).sample(generator, dtype=dtype)
    return x, y


def mirrored(generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The same with their mirror images (−x, −y)."""
    x, y = separable_points(generator, dtype)
    return torch.cat([x, -x]), torch.cat([y, -y])


FAMILIES = {
    "two points": two_points,
    "orthogonal": orthogonal,
    "separable": separable_points,
    "mirrored": mirrored,
}


def leak_study(
    family: str,
    alphas: Sequence[float],
    seeds: range,
    *,
    k: int,
    radius: float,
    steps: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Columns:
    """Angles in degrees, and agreement, of networks on a family of samples: (seeds, alphas).

    ``angle`` is that between κ and the ordinary SVM, ``predicted`` that between the coupled SVM
    (for two points: its closed form) and the ordinary one, and ``off`` that between κ and the
    coupled one.  ``nar`` and ``par`` are shares of the sample.
    """
    x, y, start = _leak_draws(family, seeds, k, seed, dtype, device)
    net = train(networks(start, alphas, (radius,)), x[:, None], y[:, None], steps, NORMALISED).net()
    net, (x, y) = net[:, :, 0], (x[:, None, 0], y[:, None, 0])
    ordinary, coupled = max_margin(x, y), coupled_line(family, x, y, net.alpha[0])
    agree = agreement(net, x, y)
    return {
        "angle": angle(net.kappa, ordinary),
        "predicted": angle(coupled, ordinary),
        "off": angle(net.kappa, coupled),
        "nar": agree.nar,
        "par": agree.par,
    }


def _leak_draws(
    family: str, seeds: range, k: int, seed: int, dtype: torch.dtype, device: str
) -> list[Tensor]:
    """Samples (seeds, 1, n, d), (seeds, 1, n), and initial neurons (seeds, 2, k, d)."""
    found = []
    for copy in seeds:
        generator = seeded(seed, copy)
        x, y = FAMILIES[family](generator, dtype)
        found.append([x[None], y[None], directions(k, x.shape[-1], generator, dtype)])
    return [torch.stack(parts).to(device) for parts in zip(*found, strict=True)]


def coupled_line(family: str, x: Tensor, y: Tensor, alphas: Tensor) -> Tensor:
    """The direction of the coupled SVM, (seeds, alphas, d), in closed form where there is one."""
    if family == "two points":
        return two_point_direction(x[..., 0, :], x[..., 1, :], alphas)
    pair = coupled_svm(x, y, alphas)
    return pair.w - pair.u
