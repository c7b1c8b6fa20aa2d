"""The convolutional kernel recursion on one block of image pairs, fused and in place.

Covariances are held in *offset layout*: ``M[δ, α, i, j]`` is the entry of image i at position α and
image j at position α + δ. The average over a window moves both positions together, so it keeps δ:
each offset is a recursion of its own over P positions, a read-out by flattening needs δ = 0 only,
and a block never holds more than its own pairs and offsets, whatever the size of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.fused import SCRATCH, Fused

BUFFERS = 2 + SCRATCH  # of the size of a covariance; the averages use the scratch, too


class Network(NamedTuple):
    """What the recursion needs to know besides the images."""

    depth: int
    sigma_w2: float
    sigma_b2: float
    activation: Fused
    readout: str
    window: int


class Side(NamedTuple):
    """Images at one end of a block, with the factors of each layer and the mean of the last T."""

    pixels: Tensor  # (C, *shape, n)
    factors: list[Tensor]  # depth × (factors, *shape, n)
    mean: Tensor  # (n,)


# --- windows and offsets


def window_sum(x: Tensor, out: Tensor, axis: int, window: int) -> Tensor:
    """``out[α] = Σ x[β]`` over the window of odd width around α, circular along one axis."""
    size, base = x.shape[axis], x
    if window == 1:
        return out.copy_(x)
    for shift in range(1, window // 2 + 1):
        kept = size - shift
        for pieces in (
            ((0, shift, kept), (kept, 0, shift)),  # the neighbours after
            ((shift, 0, kept), (0, kept, shift)),  # the neighbours before
        ):
            for a, b, length in pieces:
                near, far = base.narrow(axis, a, length), x.narrow(axis, b, length)
                torch.add(near, far, out=out.narrow(axis, a, length))
            base = out
    return out


def window_mean(x: Tensor, window: int) -> Tensor:
    """The average over the window along all axes but the last; a new tensor."""
    for axis in range(x.ndim - 1):
        x = window_sum(x, torch.empty_like(x), axis, window)
    return x / window ** (x.ndim - 1)


def digits(ids: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """Row-major coordinates of flat positions or offsets."""
    return list(torch.unravel_index(ids, tuple(shape)))


def flat(coordinates: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Flat positions of coordinates taken around the circle."""
    total = torch.zeros_like(coordinates[0])
    for coordinate, size in zip(coordinates, shape, strict=True):
        total = total * size + coordinate % size
    return total


def neighbours(offsets: Tensor, shape: Sequence[int]) -> Tensor:
    """Where α + δ is: flat positions (offsets, P)."""
    positions = torch.arange(math.prod(shape), device=offsets.device)
    steps = (d[:, None] for d in digits(offsets, shape))
    return flat([a + d for a, d in zip(digits(positions, shape), steps, strict=True)], shape)


def halved(shape: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """One offset of each pair {δ, −δ}, and its weight: ½ where δ = −δ, else 1."""
    every = torch.arange(math.prod(shape), device=device)
    opposite = flat([-d for d in digits(every, shape)], shape)
    kept = every <= opposite
    return every[kept], 1 - (every == opposite)[kept] / 2


# --- one block


def side(x: Tensor, net: Network) -> Side:
    """Images (n, C, *shape) with the variances of every layer."""
    x = x.movedim(0, -1)
    act, variance, factors = net.activation, x.square().mean(0), []
    for _ in range(net.depth):
        variance = net.sigma_w2 * window_mean(variance, net.window) + net.sigma_b2
        factors.append(act.factor(variance))
        variance, _ = act.record.diagonal(variance)
    return Side(x, factors, variance.flatten(0, -2).mean(0))


def moved(x: Tensor, index: Tensor) -> Tensor:
    """``x[α + δ, j]`` as (offsets, *shape, 1, j), for x of (*shape, n)."""
    return x.flatten(0, -2)[index].view(len(index), *x.shape[:-1], 1, x.shape[-1])


def block(net: Network, left: Side, right: Side, offsets: Tensor) -> Tensor:
    """Sums over positions of T's gap and Ṫ⊙Θ after the last activation: (2, offsets, i, j).

    Takes memory for BUFFERS × offsets × P × i × j numbers.
    """
    shape, index = left.pixels.shape[1:-1], neighbours(offsets, left.pixels.shape[1:-1])
    full = (len(offsets), *shape, left.pixels.shape[-1], right.pixels.shape[-1])
    buffers = left.pixels.new_empty(BUFFERS, *full)
    state, spare, scratch = buffers[:2], buffers[2:4], buffers[4:]
    start(left.pixels, right.pixels, index, state, scratch[0])
    scale = net.sigma_w2 / len(left.pixels)
    for a, b in zip(left.factors, right.factors, strict=True):
        state, spare = convolve(net, state, spare, scale)
        net.activation.step(state, a, b, partial(moved, index=index), (*spare, *scratch))
        scale = net.sigma_w2 * net.activation.scale
    return state.sum(tuple(range(2, 2 + len(shape)))).mul_(scale)


def start(left: Tensor, right: Tensor, index: Tensor, state: Tensor, work: Tensor) -> None:
    """The inputs' gap Σ_c (x−x')²/2 in ``state[0]``; 0 in ``state[1]``."""
    state.zero_()
    for x, y in zip(left[..., None], right, strict=True):
        state[0].addcmul_(torch.sub(x, moved(y, index), out=work), work, value=0.5)


def convolve(net: Network, state: Tensor, spare: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Average over the window and scale, for the bias leaves a gap; new state, spare one."""
    axes = range(2, state.ndim - 2)
    for axis in axes:
        state, spare = window_sum(state, spare, axis, net.window), state
    state.mul_(scale / net.window ** len(axes))
    return state, spare
