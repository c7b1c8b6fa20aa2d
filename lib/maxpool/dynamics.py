"""Algorithm 1 of Brutzkus & Globerson 2021: gradient descent on filters, then on outer weights.

Many independent runs ("copies") are one tensor program.  Inputs carry no noise, so all that a
network sees of one is its pattern set: see :mod:`lib.maxpool.subsets`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from lib.maxpool.hardmargin import hard_margin
from lib.maxpool.subsets import codes, outputs, pooled_gradients, pooled_sums, ranking
from lib.maxpool.task import PatternTask, Sample

CHUNK = 2**18  # numbers in a piece of the feature matrix: 2 MiB stay in the cache


@dataclass(frozen=True)
class Hyperparameters:
    """Of the first layer: ``k`` channels, T_1 ``steps`` at ``rate`` η_1, from norm ``radius`` r."""

    k: int
    steps: int
    rate: float
    radius: float


class State(NamedTuple):
    """The network after ``step`` steps on its filters; a leading axis counts copies, if any."""

    step: int
    filters: Tensor  # (…, k, d)
    table: Tensor  # (…, 2^l), the output N on every pattern set, by its code


class Halves(NamedTuple):
    """A sample's pattern sets as codes (…, m) and labels (…, m), in two halves."""

    first: Tensor
    first_y: Tensor
    second: Tensor
    second_y: Tensor


class Layerwise(NamedTuple):
    """What Algorithm 1 starts from and returns; a leading axis counts copies, if any."""

    start: Tensor  # (…, k, d) filters, at first
    signs: Tensor  # (…, k) outer weights while the filters learn, ±1
    filters: Tensor  # (…, k, d)
    outer: Tensor  # (…, k)


def hyperparameters(
    task: PatternTask, *, steps: int = 5, k: int | None = None, dimension: int | None = None
) -> Hyperparameters:
    """The largest rate and radius that Theorem 5.1 allows: η_1 = 1/(4k(T_1 + 1)), r = η_1/200.

    ``k`` is at least, and by default, 8d³ + 1; the proof works with ``dimension`` l in place of d
    (companion).  Raises ValueError when ``k`` is too small or there is no step.
    """
    least = 8 * (dimension or task.d) ** 3 + 1
    k = least if k is None else k
    if k < least:
        raise ValueError(f"k = {k} channels: Lemma 5.2 needs more than 8d³, so at least {least}")
    if steps < 1:
        raise ValueError(f"steps = {steps}: the first layer needs at least one")
    rate = 1 / (4 * k * (steps + 1))
    return Hyperparameters(k, steps, rate, rate / 200)


def initial_network(
    task: PatternTask,
    hyper: Hyperparameters,
    generator: torch.Generator,
    *,
    copies: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Filters (…, k, d) uniform on the sphere of the radius, and outer weights (…, k) of ±1.

    The device is the generator's.
    """
    lead, device = (hyper.k,) if copies is None else (copies, hyper.k), generator.device
    v = torch.randn(*lead, task.d, generator=generator, dtype=dtype, device=device)
    signs = 2 * torch.randint(2, lead, generator=generator, device=device) - 1
    return hyper.radius * v / v.norm(dim=-1, keepdim=True), signs.to(dtype)


def halves(sample: Sample) -> Halves:
    """S_1, the first ⌈m/2⌉ inputs, for the filters; and S_2, the rest, for the outer weights.

    Raises ValueError when there are fewer than two inputs.
    """
    m = sample.y.shape[-1]
    if m < 2:
        raise ValueError(f"m = {m}: give at least 2 inputs, one for each half")
    sets, cut = codes(sample.which), (m + 1) // 2
    return Halves(sets[..., :cut], sample.y[..., :cut], sets[..., cut:], sample.y[..., cut:])


def first_layer(
    task: PatternTask,
    half: Halves,
    filters: Tensor,
    outer: Tensor,
    hyper: Hyperparameters,
) -> Iterator[State]:
    """The states W^(0), …, W^(T_1) of gradient descent on the filters with the logistic loss.

    The subgradient of the paper: a channel's output w·p has the gradient p, the pattern that wins.
    """
    for step in range(hyper.steps + 1):
        rank = ranking(filters, task.l)
        table = outputs(rank, outer)
        yield State(step, filters, table)
        if step < hyper.steps:
            margins = half.first_y * table.gather(-1, half.first)
            amounts = half.first_y * torch.sigmoid(-margins) / half.first.shape[-1]
            move = pooled_gradients(rank, half.first, amounts) * outer[..., None]
            filters = filters.clone()
            filters[..., : task.l] += hyper.rate * move


def gram(task: PatternTask, filters: Tensor, code: Tensor) -> Tensor:
    """z(x)·z(x') for all pairs of inputs, (…, m, m); z is what the filters (…, k, d) pool.

    ``code`` (…, m) holds the inputs' pattern sets.  Filters are taken in pieces, to bound memory.
    """
    held = (code[..., None] >> torch.arange(task.l, device=code.device)) & 1
    held, total = held.to(filters.dtype), 0.0
    for part in filters[..., : task.l].mT.split(max(1, CHUNK // code.numel()), dim=-1):
        z = part.new_zeros(*code.shape, part.shape[-1])
        for pattern in range(task.l):
            seen = held[..., pattern, None] * part[..., pattern, :].unsqueeze(-2)
            torch.maximum(z, seen, out=z)
        total = total + z @ z.mT
    return total


def max_margin_outer(task: PatternTask, filters: Tensor, half: Halves) -> Tensor:
    """The limit of the second layer's direction: outer weights of the hard-margin SVM on S_2.

    Scaled so that the smallest margin is 1.  Theorem 5.1 quotes Soudry et al. 2018 for the limit.
    Raises ValueError when the features do not separate the classes.
    """
    dual = hard_margin(gram(task, filters, half.second), half.second_y)
    return pooled_sums(ranking(filters, task.l), half.second, dual * half.second_y)


def descended_outer(
    task: PatternTask,
    filters: Tensor,
    outer: Tensor,
    half: Halves,
    steps: int,
    *,
    rate: float | None = None,
    normalized: bool = False,
) -> Tensor:
    """Outer weights after ``steps`` steps of gradient descent on S_2, from ``outer``.

    ``rate`` η_2 is by default 4k, half of what Theorem 5.1 allows.  ``normalized`` divides each
    step by the loss, which goes to the same direction much faster (Nacson et al. 2019).
    Gradients lie in the span of the features, so only m numbers change.
    Raises ValueError when ``steps`` is negative.
    """
    if steps < 0:
        raise ValueError(f"steps = {steps}: choose at least 0")
    k, m = outer.shape[-1], half.second.shape[-1]
    rate = 4 * k if rate is None else rate
    pairs, y = gram(task, filters, half.second), half.second_y
    rank = ranking(filters, task.l)
    start = outputs(rank, outer).gather(-1, half.second)
    amounts = torch.zeros_like(y)
    for _ in range(steps):
        margins = y * (start + (pairs @ amounts[..., None])[..., 0])
        push = logsigmoid(-margins)
        if normalized:
            push = push - _log_loss(margins)
        amounts = amounts + rate / m * y * push.exp()
    return outer + pooled_sums(rank, half.second, amounts)


def _log_loss(margins: Tensor) -> Tensor:
    """log of the mean of log(1 + e^-margin), (…, 1), also where the loss is below every float."""
    log = torch.where(margins > 30, -margins, softplus(-margins).log())
    return log.logsumexp(-1, keepdim=True) - math.log(margins.shape[-1])


def layerwise_gradient_descent(
    task: PatternTask,
    sample: Sample,
    hyper: Hyperparameters,
    generator: torch.Generator,
    *,
    second: int | None = None,
) -> Layerwise:
    """Algorithm 1 (LW_CNN) on a sample without noise, all its copies at once.

    ``second`` is T_2, the steps of the second layer at rate 4k; None takes their limit in
    direction.  The generator draws the initial network.  Raises as the two layers do.
    """
    copies = sample.y.shape[0] if sample.y.ndim == 2 else None
    half = halves(sample)
    drawn = initial_network(task, hyper, generator, copies=copies, dtype=sample.y.dtype)
    start, signs = (part.to(sample.y.device) for part in drawn)
    *_, last = first_layer(task, half, start, signs, hyper)
    if second is None:
        outer = max_margin_outer(task, last.filters, half)
    else:
        outer = descended_outer(task, last.filters, signs, half, second)
    return Layerwise(start, signs, last.filters, outer)


def lucky(filters: Tensor, task: PatternTask, sign: int = 1) -> Tensor:
    """The set W^+ of filters (…, k): o_1 beats every spurious pattern, and has positive overlap.

    With ``sign`` -1 the set W^-, o_2 in place of o_1.  Source: Brutzkus & Globerson 2021, §5.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign = {sign!r}: give 1 for W^+ or -1 for W^-")
    own = filters[..., 0 if sign == 1 else 1]
    return (own > 0) & (own > filters[..., 2 : task.l].amax(-1))


def lucky_probability(l: int) -> Fraction:  # noqa: E741
    """The probability that a random filter is in W^+: (1 - 2^-(l-1))/(l - 1).

    With probability 2^-(l-1) none of the l - 1 overlaps is positive; else each is equally likely
    to be the largest.  Source: the proof of Lemma 5.2, there with l = d; companion for l < d.
    """
    if l < 3:
        raise ValueError(f"l = {l}: choose at least 3 patterns")
    return (1 - Fraction(1, 2 ** (l - 1))) / (l - 1)
