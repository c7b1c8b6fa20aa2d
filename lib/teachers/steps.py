"""Steps of gradient descent for many runs at once, with the gradient in closed form.

A run is one network with its sample.  Here all runs share one leading axis.  Steps are exact for
losses far below the smallest number: what counts is the ratio of the terms of the loss, which is
computed from their logarithms.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lib.teachers.errors import ShapeMismatch
from lib.teachers.network import LeakyNet, Number, at, log_losses
from lib.teachers.task import check_sample

LOSSES = ("logistic", "hinge")
CACHE = 2**23  # bytes of the runs that step together on a CPU: more would not stay near the core
MEMORY = 2**32  # the same elsewhere


@dataclass(frozen=True, eq=False)
class Descent:
    """A rule of training: W ← W − ``rate`` · gradient, for the mean loss over the sample.

    ``order`` (…, T) int64 makes it stochastic: step t sees the one sample order[…, t].
    ``normalised`` divides each step by the loss.  ``loss`` is "logistic", ln(1 + e^{−z}), or
    "hinge", max(0, 1 − z).  ``rate`` and ``order`` broadcast to the leading axes of the networks.
    """

    rate: Number
    normalised: bool = False
    loss: str = "logistic"
    order: Tensor | None = None

    def __post_init__(self) -> None:
        rate = self.rate
        if not (bool((rate > 0).all()) if isinstance(rate, Tensor) else rate > 0):
            raise ValueError(f"rate = {rate}: choose a positive number")
        if self.loss not in LOSSES:
            raise ValueError(f"loss = {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if self.normalised and self.loss == "hinge":
            raise ValueError("the hinge loss can be 0: normalise the logistic loss only")


class State(NamedTuple):
    """The runs after ``step`` steps.  ``weights`` are overwritten by the next step: clone to keep.

    ``margins`` z and ``pushes`` −ℓ'(z), both (…, n), are those of the samples that the next step
    sees: all n of them, or 1 for stochastic descent.  They are None in the last state.
    """

    step: int
    weights: Tensor  # (…, 2, k, d)
    margins: Tensor | None
    pushes: Tensor | None


class Runs(NamedTuple):
    """Networks, their samples, and how they are to be trained: one leading axis for all."""

    weights: Tensor  # (runs, 2, k, d)
    x: Tensor  # (runs, n, d)
    y: Tensor  # (runs, n)
    alpha: Number  # a number, or (runs,); so are the next two
    v: Number
    rate: Number
    order: Tensor | None  # (runs, T)

    def split(self, size: int) -> Iterator["Runs"]:
        """The same in chunks of ``size`` runs, the last one perhaps smaller."""
        for start in range(0, len(self.weights), size):
            piece = slice(start, start + size)
            yield Runs(*(f[piece] if isinstance(f, Tensor) else f for f in self))


def flatten(net: LeakyNet, x: Tensor, y: Tensor, steps: int, rule: Descent) -> Runs:
    """All networks with their samples as runs; raises as :func:`.training.trajectory`."""
    check_sample(x, y)
    lead, (n, d) = net.weights.shape[:-3], x.shape[-2:]
    if steps < 0:
        raise ValueError(f"steps = {steps}: choose at least 0")
    if d != net.weights.shape[-1]:
        raise ShapeMismatch(f"inputs in R^{d} and neurons in R^{net.weights.shape[-1]} do not fit")
    _check_order(rule.order, n, steps)
    fields = (net.alpha, net.v, rule.rate)
    flat = [_expand(f.to(net.weights), lead) if isinstance(f, Tensor) else f for f in fields]
    order = None if rule.order is None else _expand(rule.order, lead, 1)
    x, y = _expand(x.to(net.weights), lead, 2), _expand(y.to(net.weights), lead, 1)
    return Runs(_expand(net.weights, lead, 3), x, y, *flat, order)


def _check_order(order: Tensor | None, n: int, steps: int) -> None:
    if order is None:
        return
    if order.shape[-1] < steps:
        raise ShapeMismatch(
            f"an order of {order.shape[-1]} samples for {steps} steps: make it longer"
        )
    if bool(((order < 0) | (order >= n)).any()):
        raise ValueError(f"the order names samples that do not exist: give 0, …, {n - 1}")


def _expand(tensor: Tensor, lead: tuple[int, ...], own: int = 0) -> Tensor:
    """The tensor for each run, (runs, …): its last ``own`` axes are one run's."""
    inner = tensor.shape[tensor.ndim - own :]
    try:
        return tensor.expand((*lead, *inner)).reshape(-1, *inner)
    except RuntimeError:
        shapes = f"{tuple(tensor.shape[: tensor.ndim - own])} to {tuple(lead)}"
        raise ShapeMismatch(f"the leading axes do not broadcast, {shapes} networks") from None


def fitting(runs: Runs) -> int:
    """How many runs one chunk holds."""
    _, _, k, d = runs.weights.shape
    seen = 1 if runs.order is not None else runs.x.shape[1]
    one = runs.weights.element_size() * (2 * k * seen + 6 * k * d)
    return max(1, (CACHE if runs.weights.device.type == "cpu" else MEMORY) // one)


def descend(runs: Runs, steps: int, rule: Descent) -> Iterator[State]:
    """The states of all runs, before each of the steps and after the last."""
    weights = runs.weights.clone(memory_format=torch.contiguous_format)
    seen = _samples(runs)
    forward, update = _layer(runs, weights)
    gain = at(runs.rate, 1) * at(runs.v, 1)
    for step in range(steps):
        x, across, y = seen(step)
        z = y * forward(x, across)
        push = torch.sigmoid(-z) if rule.loss == "logistic" else (z < 1).to(z)
        yield State(step, weights, z, push)
        share = _shares(z) if rule.normalised else push / z.shape[-1]
        update(x, gain * share * y)
    yield State(steps, weights, None, None)


def _samples(runs: Runs) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """The function that gives the samples of a step: x (runs, n, d), xᵀ (runs, d, n) and y."""
    if runs.order is None:
        every = runs.x, runs.x.mT.contiguous(), runs.y
        return lambda step: every
    count, n, d = runs.x.shape
    first = torch.arange(count, device=runs.x.device) * n
    index, x, y = runs.order.mT + first, runs.x.reshape(-1, d), runs.y.reshape(-1)

    def one(step: int) -> tuple[Tensor, Tensor, Tensor]:
        seen = x[index[step]]
        return seen[:, None], seen[..., None], y[index[step], None]

    return one


def _shares(z: Tensor) -> Tensor:
    """s(z_i)/Σ ℓ(z_j), the steps of loss-normalised descent, (…, n) for margins of any size."""
    log_loss = log_losses(z)
    return (logsigmoid(-z) - log_loss.logsumexp(-1, keepdim=True)).exp()


def _layer(
    runs: Runs, weights: Tensor
) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], None]]:
    """Two functions: outputs N (runs, n) at inputs x and xᵀ, and W ← W + Σ_i c_i ∂N(x_i)/∂W · 1/v.

    The second uses the activations of the last call of the first, and works in place.
    """
    count, _, k, d = weights.shape
    n = 1 if runs.order is not None else runs.x.shape[1]
    rows = weights.view(count, 2 * k, d)
    active = rows.new_empty(count, 2 * k, n)  # first holds preactivations, to stay in the cache
    move = torch.empty_like(rows)
    alpha, v = at(runs.alpha, 1), at(runs.v, 1)

    def forward(x: Tensor, across: Tensor) -> Tensor:
        _product(rows, across, active)
        bent = active.clamp_(min=0).view(count, 2, k, n).sum(2)
        active.sign_()
        kappa = weights[:, 0].sum(1) - weights[:, 1].sum(1)
        straight = (x * kappa[:, None]).sum(-1) if n == 1 else (kappa[:, None] @ across)[:, 0]
        return v * (alpha * straight + (1 - alpha) * (bent[:, 0] - bent[:, 1]))

    def update(x: Tensor, c: Tensor) -> None:
        weighted = c[..., None] * x
        straight = at(alpha, 1) * weighted.sum(1, keepdim=True)
        _product(active, weighted.mul_(1 - at(alpha, 1)), move)
        step = move.add_(straight).view_as(weights)
        weights[:, 0].add_(step[:, 0])
        weights[:, 1].sub_(step[:, 1])

    return forward, update


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Matrix products a b of all runs.

    On a CPU they are NumPy's: so thin a product takes two thirds of the time of PyTorch's there.
    """
    if a.shape[-1] == 1:
        torch.mul(a, b, out=out)
    elif a.device.type == "cpu":
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    else:
        torch.bmm(a, b, out=out)
