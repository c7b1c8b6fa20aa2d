"""Pooling windows as sums: what a pooling layer reads, whatever it then does with it."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def per_dimension(value, dims: int) -> tuple:
    """(value,)·dims for one number or None, the tuple itself otherwise."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def sliding_sum(pool: nn.Module, dims: int, x: Tensor) -> Tensor:
    """Window sums of MaxPoolNd or AvgPoolNd over the last `dims` dimensions; padding adds nothing.

    PyTorch's own sum pooling where there is one, so that its rules for the border hold.
    """
    shape = (pool.kernel_size, pool.stride, pool.padding, getattr(pool, "dilation", 1))
    kernel, stride, padding, dilation = (per_dimension(value, dims) for value in shape)
    if set(dilation) != {1}:
        for i, sizes in enumerate(zip(kernel, stride, padding, dilation, strict=True)):
            x = slide(x, x.dim() - dims + i, *sizes, pool.ceil_mode)
        return x
    options = {"ceil_mode": pool.ceil_mode, "divisor_override": 1}
    if dims == 1:
        flat = F.avg_pool2d(x.unsqueeze(-2), (1, *kernel), (1, *stride), (0, *padding), **options)
        return flat.squeeze(-2)
    return (F.avg_pool2d if dims == 2 else F.avg_pool3d)(x, kernel, stride, padding, **options)


def slide(x: Tensor, dim: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool):
    """Sum the windows, with holes of width `dilation` − 1, that slide along one dimension.

    With `ceil`, a last window may hang over the end, as long as it starts inside (PyTorch's rule).
    """
    n, span = x.shape[dim], dilation * (kernel - 1) + 1
    out = (n + 2 * padding - span + ceil * (stride - 1)) // stride + 1
    out -= ceil and (out - 1) * stride >= n + padding
    missing = max(0, (out - 1) * stride + span - n - padding)
    x = F.pad(x.movedim(dim, -1), (padding, missing))
    taps = (x[..., i * dilation :][..., : (out - 1) * stride + 1 : stride] for i in range(kernel))
    return reduce(torch.add, taps).movedim(-1, dim)


def adaptive_sum(pool: nn.Module, dims: int, x: Tensor) -> Tensor:
    """Window sums of AdaptiveAvg/MaxPoolNd: window i of m covers ⌊i·n/m⌋ ≤ j < ⌈(i+1)·n/m⌉."""
    for i, size in enumerate(per_dimension(pool.output_size, dims)):
        dim = x.dim() - dims + i
        n = x.shape[dim]
        m = n if size is None else size
        starts = [j * n // m for j in range(m)]
        stops = [-((j + 1) * n // -m) for j in range(m)]
        pieces = [x.narrow(dim, a, b - a).sum(dim) for a, b in zip(starts, stops, strict=True)]
        x = torch.stack(pieces, dim)
    return x


def divisors(pool: nn.Module, dims: int, x: Tensor, total) -> Tensor:
    """The whole number by which the average pooling `pool` divides each of its windows on x.

    Read off from PyTorch itself, so that its conventions (padding counted or not, a last window
    that hangs over, an override) hold: the average of ones is the size of the window / divisor.
    """
    ones = torch.ones_like(x[:1], dtype=torch.float64)
    return (total(pool, dims, ones) / pool.forward(ones)).round()
