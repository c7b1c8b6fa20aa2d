"""Activations on blocks of covariances: both dual maps in one pass, in place.

A state is two tensors in the offset layout of `lib.ntk.blocks`, (offsets, *shape, i, j): the
covariance K and Θ − K. For ReLU the first is the *gap* (K_αα + K_α'α')/2 − K_αα' instead, which
keeps its relative precision for nearly equal patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.activations import ERF, RELU, Activation, get_activation
from lib.ntk.hermite import ORDER, TOLERANCE, coefficients

SCRATCH = 5  # buffers of the size of a covariance that a step may use
Take = Callable[[Tensor], Tensor]


class Fused(NamedTuple):
    """One activation, ready for blocks. ``step`` leaves T and Ṫ⊙Θ over ``scale`` in the state."""

    record: Activation
    scale: float
    gap: bool  # state[0] is the gap, before and after
    factor: Callable[[Tensor], Tensor]  # of variances (*shape, n): (factors, *shape, n)
    step: Callable[[Tensor, Tensor, Tensor, Take, Sequence[Tensor]], object]


def fused(activation: str | Callable[[Tensor], Tensor] | Activation) -> Fused:
    """Closed forms for ReLU and erf, Mehler's series for all others."""
    act = get_activation(activation)
    if act is RELU:
        return Fused(act, 0.5, True, relu_factor, relu_step)
    if act is ERF:
        return Fused(act, 2 / math.pi, False, erf_factor, erf_step)
    kept = getattr(act.dual_, "keywords", {})
    terms = kept.get("terms", partial(coefficients, act.function, ORDER, TOLERANCE))
    return Fused(act, 1.0, False, partial(series_factor, terms), series_step)


def relu_step(
    state: Tensor, left: Tensor, right: Tensor, take: Take, work: Sequence[Tensor]
) -> None:
    """Arc-cosine maps (Cho & Saul 2009) on gaps; the factor is ρ = √(a/2).

    gap = (ρ−ρ')² + 4ρρ'E with E = sin²(θ/2), and T's gap is ½[(ρ−ρ')² + 4ρρ'F/π] with
    F = (π−θ)E + θ/2 − sin(θ)/2: terms of one sign. The last two cancel when θ is small, where they
    are a share θ/(3π) of F; of the gap of nearly equal images, rounding is then about ε/θ.
    """
    gap, rest = state
    size, spread, sine, cosine, angle = work
    here, there = left[0, ..., None], take(right[0])
    torch.mul(4 * here, there, out=size)
    torch.sub(here, there, out=spread).square_()
    gap.sub_(spread)
    rest.add_(size, alpha=0.5).sub_(gap)  # Θ, as K = 2ρρ' − 4ρρ'E
    gap.div_(size).clamp_(0, 1)
    torch.sqrt(gap, out=sine)
    torch.sub(gap.new_ones(()), gap, out=cosine).sqrt_()
    torch.atan2(sine, cosine, out=angle)  # θ/2
    torch.sub(angle, sine.mul_(cosine), out=cosine)
    angle.mul_(-2 / math.pi).add_(1)  # 1 − θ/π, which is 2Ṫ
    rest.mul_(angle)
    gap.mul_(angle).add_(cosine, alpha=1 / math.pi).mul_(size).add_(spread)


def relu_factor(variance: Tensor) -> Tensor:
    """√(a/2), never 0: a dark patch then gives 0/small, not 0/0."""
    return (variance / 2).sqrt_().clamp_(min=torch.finfo(variance.dtype).tiny ** 0.5)[None]


def erf_factor(variance: Tensor) -> Tensor:
    return (2 / (1 + 2 * variance)).sqrt_()[None]


def erf_step(
    state: Tensor, left: Tensor, right: Tensor, take: Take, work: Sequence[Tensor]
) -> None:
    """Arc-sine maps (Williams 1997); the factor is √(2/(1+2a))."""
    covariance, rest = state
    size, slope = work[:2]
    torch.mul(left[0, ..., None], take(right[0]), out=size)
    rest.add_(covariance).mul_(size)
    covariance.mul_(size)
    torch.mul(covariance, covariance, out=slope)
    slope.neg_().add_(1).clamp_(min=torch.finfo(slope.dtype).eps).rsqrt_()
    rest.mul_(slope)
    covariance.asin_()


def series_factor(terms: Callable[[Tensor], tuple[Tensor, Tensor]], variance: Tensor) -> Tensor:
    """1/√a, then α_n of φ and of φ' in turn (see `lib.ntk.hermite`)."""
    root = variance.clamp(min=torch.finfo(variance.dtype).tiny).rsqrt()
    alphas = torch.stack(terms(variance), -1).flatten(-2)  # φ and φ' alternate
    return torch.cat((root[None], alphas.movedim(-1, 0)))


def series_step(
    state: Tensor, left: Tensor, right: Tensor, take: Take, work: Sequence[Tensor]
) -> None:
    """Mehler's formula at the correlation, by Horner's rule."""
    covariance, rest = state
    corr, value, slope = work[:3]
    rest.add_(covariance)
    torch.mul(covariance, left[0, ..., None], out=corr)
    corr.mul_(take(right[0])).clamp_(-1, 1)
    for k, out in enumerate((value, slope)):
        horner(corr, left[1 + k :: 2], right[1 + k :: 2], take, out)
    covariance.copy_(value)
    rest.mul_(slope)


def horner(corr: Tensor, left: Tensor, right: Tensor, take: Take, out: Tensor) -> None:
    """Σ_n left_n right_n cⁿ, up to the last term that counts."""
    order = min(len(left), len(right))
    size = left[:order].flatten(1).abs().amax(1) * right[:order].flatten(1).abs().amax(1)
    counts = (size > size.max() * torch.finfo(corr.dtype).eps / 64).tolist()
    out.zero_()
    last = max((n for n in range(order) if counts[n]), default=-1)
    for n in range(last, -1, -1):
        out.mul_(corr)
        if counts[n]:
            out.addcmul_(left[n][..., None], take(right[n]))
