"""Activations on blocks of covariances: both dual maps in one pass, in place.

A state is two tensors in the offset layout of `lib.ntk.blocks`, (offsets, *shape, i, j): the *gap*
(K_αα + K_α'α')/2 − K_αα' and Θ − K. Unlike K the gap keeps its relative precision for nearly equal
patches, and stays 0 for equal ones: a chaotic network would magnify the rounding of K.
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
    """One activation, for blocks. ``step`` leaves T's gap and Ṫ⊙Θ over ``scale`` in the state."""

    record: Activation
    scale: float
    factor: Callable[[Tensor], Tensor]  # of variances (*shape, n): (factors, *shape, n)
    step: Callable[[Tensor, Tensor, Tensor, Take, Sequence[Tensor]], object]


def fused(activation: str | Callable[[Tensor], Tensor] | Activation) -> Fused:
    """Closed forms for ReLU and erf, Mehler's series for all others."""
    act = get_activation(activation)
    if act is RELU:
        return Fused(act, 0.5, relu_factor, relu_step)
    if act is ERF:
        return Fused(act, 4 / math.pi, erf_factor, erf_step)
    kept = getattr(act.dual_, "keywords", {})
    terms = kept.get("terms", partial(coefficients, act.function, ORDER, TOLERANCE))
    return Fused(act, 1.0, partial(series_factor, terms), series_step)


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
    return (variance + 0.25).sqrt_()[None]


def erf_step(
    state: Tensor, left: Tensor, right: Tensor, take: Take, work: Sequence[Tensor]
) -> None:
    """Arc-sine maps (Williams 1997) on gaps; the factor is ρ = √(a + ¼).

    With u = gap − (ρ−ρ')²/2, which is ρρ' − ¼ − K, the root r = √((1+2a)(1+2b) − 4K²) of
    Ṫ = (4/π)/r is √((ρ+ρ')² + 4u(2K + u)), and T's gap is (4/π) atan(2u/(ρ + ρ' + r)), where
    nothing cancels; r ≥ 1.
    """
    gap, rest = state
    covariance, total, root = work[:3]
    here, there = left[0, ..., None], take(right[0])
    torch.sub(here, there, out=root)
    gap.addcmul_(root, root, value=-0.5)
    torch.addcmul(gap.new_tensor(-0.25), here, there, out=covariance).sub_(gap)
    rest.add_(covariance)
    torch.add(gap, covariance, alpha=2, out=covariance)
    torch.add(here, there, out=total)
    torch.mul(total, total, out=root)
    root.addcmul_(gap, covariance, value=4).clamp_(min=1).sqrt_()
    rest.div_(root)
    gap.div_(total.lerp_(root, 0.5)).atan_()


def series_factor(terms: Callable[[Tensor], tuple[Tensor, Tensor]], variance: Tensor) -> Tensor:
    """√a, never 0, then α_n of φ and of φ' in turn (see `lib.ntk.hermite`)."""
    root = variance.sqrt().clamp_(min=torch.finfo(variance.dtype).tiny ** 0.5)
    alphas = torch.stack(terms(variance), -1).flatten(-2)  # φ and φ' alternate
    return torch.cat((root[None], alphas.movedim(-1, 0)))


def series_step(
    state: Tensor, left: Tensor, right: Tensor, take: Take, work: Sequence[Tensor]
) -> None:
    """Mehler's formula at the correlation c: Ṫ by Horner's rule, T's gap from 1 − c."""
    gap, rest = state
    d, corr, slope, value, tail = work
    here, there = left[0, ..., None], take(right[0])
    torch.sub(here, there, out=d)
    gap.addcmul_(d, d, value=-0.5)
    torch.mul(here, there, out=corr)
    rest.add_(corr).sub_(gap)  # Θ, as K = √(ab) − √(ab)(1 − c)
    torch.div(gap, corr, out=d).clamp_(0, 2)
    torch.sub(gap.new_ones(()), d, out=corr)
    horner(corr, left[2::2], right[2::2], take, slope)
    rest.mul_(slope)
    quotient(corr, left[1::2], right[1::2], take, value, tail)
    torch.mul(d, value, out=gap)
    add_differences(gap, left[1::2], right[1::2], take, tail)


def horner(corr: Tensor, left: Tensor, right: Tensor, take: Take, out: Tensor) -> None:
    """Σ_n left_n right_n cⁿ, up to the last term that counts."""
    out.zero_()
    for n, counts in reversed(list(enumerate(of_products(left, right)))):
        out.mul_(corr)
        if counts:
            out.addcmul_(left[n][..., None], take(right[n]))


def quotient(
    corr: Tensor, left: Tensor, right: Tensor, take: Take, out: Tensor, tail: Tensor
) -> None:
    """Σ_n left_n right_n (1 − cⁿ)/(1 − c), a polynomial whose coefficients are tails of a sum."""
    out.zero_()
    tail.zero_()
    for n, counts in reversed(list(enumerate(of_products(left, right)))[1:]):
        if counts:
            tail.addcmul_(left[n][..., None], take(right[n]))
        out.mul_(corr).add_(tail)


def add_differences(gap: Tensor, left: Tensor, right: Tensor, take: Take, work: Tensor) -> None:
    """Add ½ Σ_n (left_n − right_n)², of which one side may have more terms."""
    for n, counts in enumerate(of_squares(left, right)):
        if not counts:
            continue
        if n < len(left) and n < len(right):
            apart = torch.sub(left[n][..., None], take(right[n]), out=work)
        else:
            apart = left[n][..., None] if n < len(left) else take(right[n])
        gap.addcmul_(apart, apart, value=0.5)


def of_products(left: Tensor, right: Tensor) -> list[bool]:
    """Which products of terms count."""
    order = min(len(left), len(right))
    return counting(largest(left[:order]) * largest(right[:order]))


def of_squares(left: Tensor, right: Tensor) -> list[bool]:
    """Which terms of either side count, squared."""
    short, long = sorted((largest(left).square(), largest(right).square()), key=len)
    order = len(short)
    return counting(torch.cat((torch.maximum(short, long[:order]), long[order:])))


def largest(terms: Tensor) -> Tensor:
    """Of each term over all positions and images."""
    return terms.flatten(1).abs().amax(1)


def counting(sizes: Tensor) -> list[bool]:
    """Whether each term counts beside the largest; after the last that does there is none."""
    counts = (sizes > sizes.max() * torch.finfo(sizes.dtype).eps / 64).tolist()
    return counts[: max((n + 1 for n, c in enumerate(counts) if c), default=0)]
