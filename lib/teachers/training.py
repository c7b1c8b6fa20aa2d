"""Training of leaky networks: any number of independent runs in one tensor program."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lib.parallel import results
from lib.teachers.network import LeakyNet, Number
from lib.teachers.steps import Descent, Runs, State, descend, fitting, flatten

ORDERS = ("shuffled", "cyclic", "random")


class History(NamedTuple):
    """The networks after some ``steps``: ``weights`` (steps, …, 2, k, d)."""

    steps: tuple[int, ...]
    weights: Tensor
    alpha: Number
    v: Number

    def net(self, index: int = -1) -> LeakyNet:
        """The networks after ``steps[index]`` steps; by default the last ones."""
        return LeakyNet(self.weights[index], self.alpha, self.v)


def visits(
    n: int,
    epochs: int,
    generator: torch.Generator,
    *,
    copies: tuple[int, ...] = (),
    how: str = "shuffled",
) -> Tensor:
    """Which sample each step of stochastic descent sees: (…, epochs·n) int64.

    ``shuffled`` draws a new order each epoch, ``cyclic`` takes 0, …, n − 1 each time, and
    ``random`` draws with replacement.  The device is the generator's.
    """
    if how not in ORDERS:
        raise ValueError(f"how = {how!r}: choose one of {', '.join(ORDERS)}")
    where = {"generator": generator, "device": generator.device}
    if how == "random":
        return torch.randint(n, (*copies, epochs * n), **where)
    if how == "cyclic":
        return torch.arange(n, device=generator.device).repeat(epochs).expand(*copies, -1)
    return torch.rand((*copies, epochs, n), **where).argsort(-1).flatten(-2)


def train(
    net: LeakyNet,
    x: Tensor,
    y: Tensor,
    steps: int,
    rule: Descent,
    *,
    keep: Iterable[int] = (),
    chunk: int | None = None,
) -> History:
    """Train every network of ``net`` on inputs ``x`` (…, n, d) with labels ``y`` (…, n).

    All leading axes broadcast to those of ``net``.  The networks after the steps in ``keep``, and
    after the last, are kept.  ``chunk`` runs go through the steps together, on one core; by default
    as many as stay near it, while every core has some.  ``net`` stays as it is.
    Raises as :func:`trajectory` does, or ValueError for a step to keep that is not taken.
    """
    runs = flatten(net, x, y, steps, rule)
    wanted = sorted({*keep, steps})
    if wanted[0] < 0 or wanted[-1] > steps:
        raise ValueError(f"keep = {wanted}: choose steps from 0 to {steps}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk = {chunk}: choose at least 1 run")
    threads = torch.get_num_threads() if net.weights.device.type == "cpu" else 1
    size = chunk or min(fitting(runs), -(-len(runs.weights) // threads))

    def trained(part: Runs) -> Tensor:
        states = descend(part, steps, rule)
        return torch.stack([state.weights.clone() for state in states if state.step in wanted])

    parts = list(results(trained, runs.split(size), threads))
    weights = torch.cat(parts, 1).view(len(wanted), *net.weights.shape)
    return History(tuple(wanted), weights, net.alpha, net.v)


def trajectory(net: LeakyNet, x: Tensor, y: Tensor, steps: int, rule: Descent) -> Iterator[State]:
    """The states before each of the steps, and after the last; arguments as in :func:`train`.

    Raises :class:`ShapeMismatch` when shapes do not fit or the order is too short,
    :class:`WrongLabel` and :class:`ZeroInput` for such samples, and ValueError for steps below 0.
    """
    runs, lead = flatten(net, x, y, steps, rule), net.weights.shape[:-3]
    return (_unflattened(state, net, lead) for state in descend(runs, steps, rule))


def _unflattened(state: State, net: LeakyNet, lead: tuple[int, ...]) -> State:
    step, weights, *rest = state
    rest = [None if t is None else t.view(*lead, t.shape[-1]) for t in rest]
    return State(step, weights.view(net.weights.shape), *rest)
