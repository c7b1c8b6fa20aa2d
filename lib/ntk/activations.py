"""Dual activations: T(K) = E φ(u)φ(v) and Ṫ(K) = E φ'(u)φ'(v), for centred Gaussian (u, v).

Below, a = Var u, b = Var v and k = Cov(u, v) broadcast against each other. `relu` and `erf` have
closed forms; all others go through `lib.ntk.hermite`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.ntk.elementary import asin_, atan_, sqrt_
from lib.ntk.errors import UnknownActivation

PI = math.pi
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Activation:
    """φ with its dual maps; every map works on tensors of any one dtype and device.

    function: φ itself, elementwise, for networks of finite width.
    dual_: (k, a, b, dot) → None writes T over k and Ṫ over dot; a, b broadcast against k.
    gap_: the same of gaps: (a + b)/2 − k becomes (T(a) + T(b))/2 − T, without cancellation.
    layer_: (K, Θ, a, b, σ_w², σ_b², scratch) → None, a layer in fewer passes; or there is none.
    diagonal: q → (T, Ṫ) at a = b = k = q, exactly.
    growth: q → dT(q, q, q)/dq, the slope of the variance map for σ_w² = 1.
    drops: (q, d) → (T, Ṫ) at k = q minus (T, Ṫ) at k = q(1 − d), without cancellation.
    bend: (q, d) → d²T/dk² at a = b = q, k = q(1 − d); infinite for ReLU at d = 0.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    dual_: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    gap_: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    diagonal: Callable[[Tensor], Pair]
    growth: Callable[[Tensor], Tensor]
    drops: Callable[[Tensor, Tensor], Pair]
    bend: Callable[[Tensor, Tensor], Tensor]
    layer_: Callable[..., None] | None = None

    def dual(self, k: Tensor, a: Tensor, b: Tensor) -> Pair:
        """(T, Ṫ) as new tensors, of the broadcast shape of k, a and b."""
        k = k.expand(torch.broadcast_shapes(k.shape, a.shape, b.shape)).clone()
        dot = torch.empty_like(k)
        self.dual_(k, a, b, dot)
        return k, dot


# ReLU: with k = √(ab) cos θ, T = √(ab) C(θ)/2 and Ṫ = (1 − θ/π)/2, where the arc-cosine function
# C(θ) = (sin θ + (π − θ) cos θ)/π (Cho & Saul 2009). Near θ = 0 all of 1 − cos θ and 1 − C(θ) is
# lost to rounding in cos θ, so whoever can keeps the gap d = 1 − cos θ instead.


def relu_gap_(d: Tensor, dot: Tensor, work: Tensor) -> None:
    """In place: d = 1 − cos θ becomes 1 − C(θ), and dot becomes 1 − θ/π. `work` is scratch.

    1 − C = d − (sin θ − θ cos θ)/π = d(1 − θ/π) + (θ − sin θ)/π, relatively exact to about ε/θ.
    """
    one = torch.ones((), dtype=d.dtype, device=d.device)
    torch.mul(d, 0.5, out=dot)
    asin_(sqrt_(dot))  # θ/2
    torch.sub(2 * one, d, out=work)
    sqrt_(work.mul_(d))  # sin θ
    work.sub_(dot, alpha=2)
    torch.add(one, dot, alpha=-2 / PI, out=dot)
    d.mul_(dot).sub_(work, alpha=1 / PI)


def relu_dual_(k: Tensor, a: Tensor, b: Tensor, dot: Tensor) -> None:
    scale = (a * b).sqrt_().expand_as(k)  # one root of the product: exactly q where a = b = q
    k.div_(scale).nan_to_num_(nan=0.0).clamp_(-1, 1)
    torch.acos(k, out=dot)
    sine = torch.mul(k, k).neg_().add_(1).sqrt_()
    dot.mul_(-1 / PI).add_(1)
    k.mul_(dot).add_(sine, alpha=1 / PI).mul_(scale).mul_(0.5)
    dot.mul_(0.5)


def sine_less(x: Tensor) -> Tensor:
    """sin x − x cos x by its series, for 0 ≤ x ≤ ½."""
    terms = (2 * n * (-1) ** (n + 1) / math.factorial(2 * n + 1) for n in range(1, 9))
    return sum(term * x ** (2 * n + 3) for n, term in enumerate(terms))


def relu_gaps_(gap: Tensor, a: Tensor, b: Tensor, dot: Tensor) -> None:
    """With ρ = √a and ρ' = √b the gap is (ρ − ρ')²/2 + ρρ'(1 − cos θ), and T's is half of that."""
    scale = (a * b).sqrt_().expand_as(gap)
    apart = (a.sqrt() - b.sqrt()).square_().mul_(0.5)
    gap.sub_(apart).div_(scale).nan_to_num_(nan=0.0).clamp_(0, 2)
    relu_gap_(gap, dot, torch.empty_like(gap))
    gap.mul_(scale).add_(apart).mul_(0.5)
    dot.mul_(0.5)


def relu_drops(q: Tensor, d: Tensor) -> Pair:
    d = d.clamp(0, 2)
    theta = 2 * torch.asin((d / 2).sqrt())
    rest = (d * (2 - d)).sqrt() - theta * (1 - d)
    gap = d - torch.where(theta < 0.5, sine_less(theta.clamp(max=0.5)), rest) / PI
    return q * gap / 2, theta / (2 * PI)


def relu_bend(q: Tensor, d: Tensor) -> Tensor:
    return 1 / (2 * PI * q * (d * (2 - d)).sqrt())


# max(z, 0), in closed form.
RELU = Activation(
    "relu",
    torch.relu,
    relu_dual_,
    relu_gaps_,
    lambda q: (q / 2, torch.full_like(q, 0.5)),
    lambda q: torch.full_like(q, 0.5),
    relu_drops,
    relu_bend,
)


# erf: T = (2/π) asin(2k/√((1+2a)(1+2b))) and Ṫ = (4/π)/√((1+2a)(1+2b) − 4k²) (Williams 1997).


def erf_dual_(k: Tensor, a: Tensor, b: Tensor, dot: Tensor) -> None:
    fa, fb = (1 + 2 * a).rsqrt_(), (1 + 2 * b).rsqrt_()
    k.mul_(2 * fa).mul_(fb)
    one = torch.ones((), dtype=k.dtype, device=k.device)
    torch.addcmul(one, k, k, value=-1, out=dot)
    dot.rsqrt_().mul_(fa * (4 / PI)).mul_(fb)
    asin_(k).mul_(2 / PI)


def erf_gap_(gap: Tensor, a: Tensor, b: Tensor, dot: Tensor) -> None:
    """With p = √(1+4a), asin(2a/(1+2a)) = 2 atan p − π/2; let σ be its mean over both ends.

    For y = sin ω = 2k/√((1+2a)(1+2b)) the gap of T is (2/π)(σ − ω), and tan of half of σ − ω is
    (sin σ − sin ω)/(cos σ + cos ω), whose numerator is f f'(2 gap − (p − p')²/4), f = 1/√(1+2a).
    """
    pa, pb = (1 + 4 * a).sqrt_(), (1 + 4 * b).sqrt_()
    fa, fb = (1 + 2 * a).rsqrt_(), (1 + 2 * b).rsqrt_()
    both = fa * fb
    gap.mul_(2).sub_((pa - pb).square_(), alpha=0.25).mul_(both)
    sine = (pa * pb).sub_(1).mul_(both / 2).sub_(gap)
    torch.addcmul(torch.ones((), dtype=gap.dtype, device=gap.device), sine, sine, value=-1, out=dot)
    sqrt_(dot)
    atan_(gap.div_((pa + pb).mul_(both / 2).add_(dot))).mul_(4 / PI)
    torch.div(both.mul_(4 / PI), dot, out=dot)


def erf_layer_(
    k: Tensor, theta: Tensor, a: Tensor, b: Tensor, sigma_w2: float, sigma_b2: float, both: Tensor
) -> None:
    """A layer without extras; with f = √(2/(1+2a)), y = f f' k and Ṫ = (2/π) f f'/√(1 − y²)."""
    torch.mul((2 / (1 + 2 * a)).sqrt_(), (2 / (1 + 2 * b)).sqrt_(), out=both)
    k.mul_(both)
    theta.mul_(both)
    torch.addcmul(torch.ones((), dtype=k.dtype, device=k.device), k, k, value=-1, out=both)
    both.rsqrt_()
    asin_(k).mul_(sigma_w2 * 2 / PI).add_(sigma_b2)
    torch.addcmul(k, theta, both, value=sigma_w2 * 2 / PI, out=theta)


def erf_diagonal(q: Tensor) -> Pair:
    # asin(2q/(1+2q)) as an arc tangent, which keeps its digits for every q.
    root = (1 + 4 * q).sqrt()
    return 2 / PI * torch.atan2(2 * q, root), 4 / PI / root


def erf_drops(q: Tensor, d: Tensor) -> Pair:
    """The difference of two arc sines as one arc tangent; (1 + 2q) cos is `top`, then `low`."""
    top, more = (1 + 4 * q).sqrt(), 4 * q**2 * d * (2 - d)
    low = (1 + 4 * q + more).sqrt()
    sine = 2 * q * (more / (top + low) + top * d)
    cosine = top * low + 4 * q**2 * (1 - d)
    return 2 / PI * torch.atan2(sine, cosine), 4 / PI * more / (top * low * (top + low))


def erf_bend(q: Tensor, d: Tensor) -> Tensor:
    k = q * (1 - d)
    return 16 / PI * k / (1 + 4 * q + 4 * q**2 * d * (2 - d)) ** 1.5


def erf_growth(q: Tensor) -> Tensor:
    return 4 / PI / ((1 + 2 * q) * (1 + 4 * q).sqrt())


# The error function, in closed form.
ERF = Activation(
    "erf",
    torch.erf,
    erf_dual_,
    erf_gap_,
    erf_diagonal,
    erf_growth,
    erf_drops,
    erf_bend,
    erf_layer_,
)


def get_activation(activation: str | Callable[[Tensor], Tensor] | Activation) -> Activation:
    """The record for a name, or for any smooth elementwise function by quadrature.

    PyTorch's own ReLU and erf, as functions or as a module, have the closed forms of their names.
    Raises UnknownActivation for other names, and NotConverged from the maps of a function which
    Gauss–Hermite quadrature does not resolve (see `lib.ntk.hermite.quadrature`).
    """
    from lib.ntk import hermite  # it needs the record defined here

    if isinstance(activation, Activation):
        return activation
    named = {"relu": RELU, "erf": ERF, "tanh": hermite.TANH, "gelu": hermite.GELU}
    if isinstance(activation, str) and activation in named:
        return named[activation]
    if callable(activation):
        return closed_form(activation) or hermite.quadrature(activation)
    raise UnknownActivation(
        f"activation {activation!r}; use one of {', '.join(named)} or a smooth function of tensors"
    )


def closed_form(function: Callable[[Tensor], Tensor]) -> Activation | None:
    """The record of one of PyTorch's functions that is known by a name here."""
    if function in (torch.relu, torch.nn.functional.relu) or isinstance(function, torch.nn.ReLU):
        return RELU
    return ERF if function in (torch.erf, torch.special.erf) else None
