"""A perceptron proof for cross-entropy (companion): both its inequalities, and bounds.

With F = ⟨W, W*⟩ for W* = (w*, …, w*, −w*, …, −w*), s(z) = 1/(1 + e^z), and ‖x‖ ≤ R, one step of
rate η on a sample of margin z gives

    (i)  F_t − F_{t−1} ≥ 2kαvη s,    (ii)  ‖W_t‖² − ‖W_{t−1}‖² ≤ 2η s z + 2kη²v²R² s².

For a step on all samples, s and s z are means.  For the hinge loss s = 1[z < 1].
"""

import math
from typing import NamedTuple

import torch
from scipy.special import lambertw
from torch import Tensor

from lib.teachers.errors import NotSeparable
from lib.teachers.network import LeakyNet, Number
from lib.teachers.task import check_sample, first, margins
from lib.teachers.training import Descent, trajectory

PRICE = float(lambertw(math.exp(-1)).real)  # the largest value of z/(1 + e^z), at z = 1 + PRICE


class Setting(NamedTuple):
    """The numbers in the bounds, such as `sgd_bound`; tensors are one for each network."""

    k: int
    alpha: Number
    v: Number
    rate: Number  # η
    norm: Number  # ‖w*‖
    radius: Number  # R, the largest norm of an input
    start: Number  # R_0, the largest norm of a neuron at first


class Potentials(NamedTuple):
    """What a perceptron proof follows: T + 1 states, and the T steps between them.

    F = ⟨W, W*⟩ for W* = (w*, …, w*, −w*, …, −w*).  A sample of margin z has the push
    s = 1/(1 + e^z), or s = 1[z < 1] for the hinge loss.
    """

    setting: Setting
    inner: Tensor  # (T + 1, …), F_t
    square: Tensor  # (T + 1, …), ‖W_t‖²
    push: Tensor  # (T, …), s, or its mean over the sample
    product: Tensor  # (T, …), s z, or its mean
    mistakes: Tensor  # (T, …), 1[z ≤ 0], or its mean

    def rise(self) -> tuple[Tensor, Tensor]:
        """The sides of F_t − F_{t−1} ≥ 2kαvη s at every step, the larger first: each (T, …)."""
        k, alpha, v, rate, *_ = self.setting
        return self.inner.diff(dim=0), 2 * k * alpha * v * rate * self.push

    def growth(self) -> tuple[Tensor, Tensor]:
        """The sides of ‖W_t‖² − ‖W_{t−1}‖² ≤ 2η s z + 2kη²v²R² s², the smaller first: each (T, …).

        For a step on all samples, s and s z are means.
        """
        k, _, v, rate, _, radius, _ = self.setting
        bound = 2 * rate * self.product + 2 * k * (rate * v * radius * self.push) ** 2
        return self.square.diff(dim=0), bound

    def total(self) -> Tensor:
        """A_t, the sum of the first t pushes, for t = 1, …, T: (T, …)."""
        return self.push.cumsum(0)


def setting(net: LeakyNet, x: Tensor, w_star: Tensor, rate: Number) -> Setting:
    """The numbers in the bounds for networks before training, inputs (…, n, d), w* (…, d)."""
    start = net.weights.norm(dim=-1).flatten(-2).amax(-1)
    radius = x.norm(dim=-1).amax(-1)
    return Setting(net.k, net.alpha, net.v, rate, w_star.norm(dim=-1), radius, start)


def potentials(
    net: LeakyNet, x: Tensor, y: Tensor, w_star: Tensor, steps: int, rule: Descent
) -> Potentials:
    """Train as :func:`lib.teachers.training.train` does, and keep its :class:`Potentials`.

    The two sides of an inequality may be equal; then they differ by rounding, some 1e-16 of the
    ``inner`` or ``square`` that they are differences of.
    Raises :class:`NotSeparable` with a sample for which y w*·x is below 1, ValueError for no step
    or loss-normalised ones, and what :func:`lib.teachers.training.trajectory` raises.
    Source: companion.
    """
    if rule.normalised:
        raise ValueError("the bound is about steps of one rate: give a rule that is not normalised")
    if steps < 1:
        raise ValueError(f"steps = {steps}: choose at least 1")
    check_unit_margin(x, y, w_star)
    side = torch.stack((w_star, -w_star), -2)
    inner, square, moves = [], [], []
    for state in trajectory(net, x, y, steps, rule):
        inner.append((state.weights.sum(-2) * side).sum((-1, -2)))
        square.append(state.weights.square().sum((-1, -2, -3)))
        if state.margins is not None:
            z, s = state.margins, state.pushes
            moves.append([t.mean(-1) for t in (s, s * z, (z <= 0).to(z))])
    columns = [torch.stack(column) for column in zip(*moves, strict=True)]
    numbers = setting(net, x, w_star, rule.rate)
    return Potentials(numbers, torch.stack(inner), torch.stack(square), *columns)


def check_unit_margin(x: Tensor, y: Tensor, w_star: Tensor) -> None:
    """Raise :class:`NotSeparable` unless y w*·x ≥ 1 for every sample, to 1e-9."""
    check_sample(x, y)
    values = margins(x, y, w_star)
    if (found := first(values < 1 - 1e-9)) is not None:
        raise NotSeparable(
            f"sample {found}: y w*·x = {values[found]:.6g} is below 1;"
            " divide w* by lib.teachers.separated(x, y, w_star)"
        )


# --- what follows


def sgd_bound(steps: Number, s: Setting) -> Tensor:
    """A_T ≤ (‖w*‖²/α²)(ln T/(kv²η) + R²) + 2‖w*‖R_0/(αvη).

    Holds for any rate, width, start and order of visits, and for full-batch descent, where A_T
    sums means.  Infinite for α = 0.  Raises ValueError when a T is below 1.  Source: companion.
    """
    steps = torch.as_tensor(steps, dtype=torch.float64, device=s.radius.device)
    if bool((steps < 1).any()):
        raise ValueError(f"steps = {steps}: the bound is for at least 1")
    return _bound(steps.log(), s)


def hinge_bound(s: Setting) -> Tensor:
    """At most this many updates with the hinge loss, at any time.  Source: companion."""
    return _bound(1.0, s)


def _bound(price: Number, s: Setting) -> Tensor:
    alpha = torch.as_tensor(s.alpha, dtype=torch.float64, device=s.radius.device)
    slope, per_rate = s.norm / alpha, price / (s.k * s.v**2 * s.rate)
    bound = slope**2 * (per_rate + s.radius**2) + 2 * slope * s.start / (s.v * s.rate)
    return torch.where(alpha > 0, bound, torch.inf)


def epoch_loss_bound(total: Tensor, n: int, s: Setting) -> Tensor:
    """At most this is the loss after an epoch in which the pushes sum to ``total`` A_e.

    A_e (1/(n(1 − A_e)) + 2kηv²R²), and infinite where A_e ≥ 1.  Source: companion.
    """
    moved = 2 * s.k * s.rate * (s.v * s.radius) ** 2
    bound = total * (1 / (n * (1 - total)) + moved)
    return torch.where(total < 1, bound, torch.inf)


def gd_loss_bound(push: Tensor, n: int) -> Tensor:
    """At most this is the loss of a network whose mean push is ``push``: s̄/(1 − n s̄).

    Infinite where n s̄ ≥ 1.  Source: companion.
    """
    return torch.where(n * push < 1, push / (1 - n * push), torch.inf)


def flow_bound(time: Number, s: Setting) -> Tensor:
    """At most this is ∫ s̄ under gradient flow up to ``time``: of order √time.

    ‖w*‖ (√(2kR_0² + 2c·time) + √(2k) R_0)/(√(2k) αv), c = LambertW(1/e).  Source: companion.
    """
    where = {"dtype": torch.float64, "device": s.radius.device}
    time, alpha = (torch.as_tensor(t, **where) for t in (time, s.alpha))
    norms = (2 * s.k * s.start**2 + 2 * PRICE * time).sqrt() + (2 * s.k) ** 0.5 * s.start
    return torch.where(alpha > 0, s.norm * norms / ((2 * s.k) ** 0.5 * alpha * s.v), torch.inf)
