"""Numbers with an exponent of their own, so that nothing overflows on the way through a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = -(2**20)  # the exponent of zero: below every other, and still a number


class Scaled(NamedTuple):
    """The numbers values·2^exponent: a hundred layers overflow any floating-point format."""

    values: Tensor
    exponent: Tensor  # 0-dimensional, float64
    age: int = 0  # affine steps since the values were balanced


def balance(values: Tensor) -> tuple[Tensor, Tensor]:
    """(f, e) with f = 2^−e, exactly, that brings the largest of the values into [1/2, 1)."""
    largest = values.detach().amax()
    normal = largest.clamp(min=torch.finfo(values.dtype).tiny)
    mantissa, exponent = torch.frexp(normal)
    return mantissa / normal, torch.where(largest > 0, exponent, NOTHING)


def balanced(x: Scaled) -> Scaled:
    """The same numbers, their values at most one."""
    factor, exponent = balance(x.values)
    return Scaled(x.values * factor, x.exponent + exponent)


def aligned(xs: Sequence[Scaled]) -> tuple[list[Tensor], Tensor]:
    """Their values under one common exponent, the largest."""
    if all(x.exponent is xs[0].exponent for x in xs):
        return [x.values for x in xs], xs[0].exponent
    common = reduce(torch.maximum, (x.exponent for x in xs))
    return [x.values * torch.exp2(x.exponent - common) for x in xs], common


def power(x: Scaled, q: float) -> Scaled:
    """x^q for x ≥ 0, with 0^0 = 0: the zeroth power counts what is not zero."""
    if q == 1:
        return x
    values = (x.values != 0).to(x.values.dtype) if q == 0 else x.values.pow(q)
    return Scaled(values, x.exponent * q)


def oldest(xs: Sequence[Scaled]) -> int:
    return max(x.age for x in xs)
