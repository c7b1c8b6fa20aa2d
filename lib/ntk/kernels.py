"""The pair of kernels of an infinitely wide network, and the refusals that all kernels share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch

Scale = float | Tensor


class Kernels(NamedTuple):
    """The two kernels of a network: both (N1, N2), or (*grid, N1, N2) for grids of variances."""

    nngp: Tensor
    ntk: Tensor


def together(*values: Scale) -> list[Tensor]:
    """The values as float64 tensors of one shape, on the device of those that are tensors."""
    devices = [v.device for v in values if isinstance(v, Tensor)]
    place = {"dtype": torch.float64, "device": devices[0] if devices else None}
    return list(torch.broadcast_tensors(*(torch.as_tensor(v, **place) for v in values)))


def check_depth(depth: int) -> None:
    """A depth is a whole number ≥ 0 of nonlinear layers."""
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise TypeError(f"depth = {depth!r}; give the number of nonlinear layers as an int")
    if depth < 0:
        raise OutOfRange(f"depth = {depth}; a network has depth ≥ 0 nonlinear layers")


def check_variances(sigma_w2: Scale, sigma_b2: Scale, batch: Sequence[int] = ()) -> None:
    """σ_w² > 0 and σ_b² ≥ 0, all finite; tensors broadcast, also against a batch of inputs."""
    for name, value, least in (("sigma_w2", sigma_w2, "> 0"), ("sigma_b2", sigma_b2, "≥ 0")):
        if not isinstance(value, Tensor | Real):
            raise TypeError(f"{name} must be a number or a tensor, not {kind(value)}")
        values = torch.as_tensor(value, dtype=None if torch.is_tensor(value) else torch.float64)
        low = values <= 0 if least == "> 0" else values < 0
        if bool((low | ~torch.isfinite(values)).any()):
            raise OutOfRange(f"{name} = {value}; the variance must be finite and {least}")
    shapes = [s.shape for s in (sigma_w2, sigma_b2) if isinstance(s, Tensor)]
    try:
        torch.broadcast_shapes(*shapes, batch)
    except RuntimeError:
        text = " and ".join(str(tuple(shape)) for shape in (*shapes, batch) if len(shape))
        raise ShapeMismatch(
            f"variances, or batches of inputs, of shapes {text} do not broadcast"
        ) from None


def check_fraction(name: str, value: float) -> None:
    """A keep probability is in (0, 1]."""
    if not isinstance(value, int | float) or not 0 < value <= 1 or math.isnan(value):
        raise OutOfRange(f"{name} = {value!r}; the probability to keep a unit is in (0, 1]")


def check_inputs(x1: Tensor, x2: Tensor | None) -> None:
    """Real, finite inputs (*batch, N, features) of one dtype and device, with equal features."""
    for name, x in (("x1", x1), ("x2", x2)):
        if x is None and name == "x2":
            continue
        if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be a float32 or float64 tensor, not {kind(x)}")
        if x.ndim < 2 or 0 in x.shape:
            shape = tuple(x.shape)
            raise ShapeMismatch(f"{name} has shape {shape}; it needs (N, features), none of them 0")
        if not bool(torch.isfinite(x).all()):
            raise NotFinite(f"{name} has a NaN or an infinity; clean the inputs first")
    if x2 is None:
        return
    if x1.shape[-1] != x2.shape[-1] or x1.shape[:-2] != x2.shape[:-2]:
        shapes = f"{tuple(x1.shape)} and {tuple(x2.shape)}"
        raise ShapeMismatch(f"x1 and x2 of shapes {shapes} may only differ in their numbers N")
    if (x1.dtype, x1.device) != (x2.dtype, x2.device):
        raise ShapeMismatch(f"x1 is {x1.dtype} on {x1.device}, x2 is {x2.dtype} on {x2.device}")


def kind(x: object) -> str:
    return str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
