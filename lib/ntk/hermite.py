"""Dual activations of any smooth function, by Gauss–Hermite quadrature.

With the normalised Hermite polynomials h_n and α_n(a) = E φ(√a z) h_n(z), Mehler's formula is
T = Σ_n α_n(a) α_n(b) cⁿ at the correlation c = k/√(ab); Ṫ is the same of φ'. Quadrature gives the
α_n, one input at a time; pairs of inputs then cost a polynomial. All terms of T at a = b are
positive, so c ↦ T is convex on [0, 1], whatever φ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from lib.ntk.activations import Activation, Pair
from lib.ntk.errors import NotConverged, OutOfRange, UnknownActivation

FIRST, ORDER = 48, 3072  # Hermite terms: the first try, and the most; twice as many nodes
TOLERANCE = 1e-6  # of E φ² and E φ'² may be lost with the terms that are left out
REFUSED = "is no differentiable, deterministic elementwise function of a tensor"
Function = Callable[[Tensor], Tensor]


class Rule(NamedTuple):
    """A quadrature: nodes and weights (Q,), and weights times h_n at the nodes (Q, order)."""

    nodes: Tensor
    weights: Tensor
    basis: Tensor


@lru_cache(maxsize=16)
def rule(order: int, dtype: torch.dtype, device: torch.device) -> Rule:
    """2·order nodes: eigenvalues of the Jacobi matrix, with Christoffel's weights."""
    size = 2 * order
    nodes = eigh_tridiagonal(np.zeros(size), np.sqrt(np.arange(1.0, size)), eigvals_only=True)
    nodes = (nodes - nodes[::-1]) / 2
    nodes = nodes[np.abs(nodes) < 36]  # beyond, weights are below 1e-280 and h_n may overflow
    table = polynomials(nodes, size)
    weights = 1 / (table**2).sum(0)
    weights, basis = weights / weights.sum(), (table[:order] * weights / weights.sum()).T
    return Rule(*(torch.tensor(t).to(device, dtype) for t in (nodes, weights, basis)))


def polynomials(z: np.ndarray, count: int) -> np.ndarray:
    """h_0 … h_{count−1} at z, orthonormal for standard normal z: (count, *z.shape)."""
    h = [np.ones_like(z), z]
    for n in range(1, count - 1):
        h.append((z * h[-1] - np.sqrt(n) * h[-2]) / np.sqrt(n + 1))
    return np.stack(h[:count])


def values(function: Function, q: Tensor, order: int) -> tuple[Tensor, Tensor, Rule]:
    """φ and φ' at √q times the nodes, each (*q.shape, Q); gradients flow on to q, if asked for."""
    r, traced = rule(order, q.dtype, q.device), q.requires_grad and torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        q = q if traced else q.detach().clone().requires_grad_()
        u = q.sqrt()[..., None] * r.nodes
        f = applied(function, u)
        if not isinstance(f, Tensor) or f.shape != u.shape or not f.requires_grad:
            raise UnknownActivation(f"{function!r} {REFUSED}")
        check_elementwise(function, u, f)
        (slope,) = torch.autograd.grad(f.sum(), u, create_graph=traced)
    return (f if traced else f.detach()), slope, r


def applied(function: Function, u: Tensor) -> Tensor:
    try:
        return function(u)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UnknownActivation(f"{function!r} {REFUSED}: {error}") from error


@torch.no_grad()
def check_elementwise(function: Function, u: Tensor, f: Tensor) -> None:
    """Values at some places do not depend on those elsewhere, as they do in a softmax."""
    first = tuple(slice((min(size, 16) + 1) // 2) for size in u.shape)
    alone = function(u[first])
    if alone.shape != f[first].shape or not alone.allclose(f[first], rtol=1e-3, equal_nan=True):
        raise UnknownActivation(f"{function!r} {REFUSED}")


def enough(function: Function, most: int, q: Tensor) -> int:
    """The smallest tried order whose last quarter of terms is below rounding at the largest q.

    Fewer, if that quarter is small but hardly shrinks: a kink, of which no number of terms gets
    hold.
    """
    if not q.numel():
        return FIRST
    order, widest, before = min(FIRST, most), q.detach().max().double(), torch.inf
    while order < most:
        f, slope, r = values(function, widest, order)
        alpha, beta = f @ r.basis, slope @ r.basis
        squares = alpha.square(), beta.square()
        rest = max(float(s[-order // 4 :].sum() / s.sum().clamp(min=1e-300)) for s in squares)
        resolved = rest <= 1e-17 and float(aliased(alpha, beta, widest)) <= 1e-12
        if resolved or (order >= 8 * FIRST and 0.6 * before < rest < 0.1):
            break
        order, before = min(2 * order, most), rest
    return order


def aliased(alpha: Tensor, beta: Tensor, q: Tensor) -> Tensor:
    """How far the terms of φ' are from the slope of those of φ, as a share of both; shape of q.

    Partial integration makes √q β_n equal to √(n+1) α_{n+1}. A fast oscillation looks like a slow
    one at few nodes, and no term is seen to be missing, but its slope is not that of the slow one.
    """
    n = torch.arange(1, alpha.shape[-1], dtype=alpha.dtype, device=alpha.device)
    beta = q.sqrt()[..., None] * beta
    apart = (beta[..., :-1] - n.sqrt() * alpha[..., 1:]).square().sum(-1)
    whole = alpha.square().sum(-1) + beta.square().sum(-1)
    return apart / whole.clamp(min=torch.finfo(alpha.dtype).tiny)


def coefficients(
    function: Function, most: int, tolerance: float, q: Tensor, widest: Tensor | None = None
) -> Pair:
    """α_n(q) of φ and of φ', each (*q.shape, order); NotConverged if they leave out too much.

    `widest` is a variance that the order has to do for too.
    """
    order = enough(function, most, q if widest is None else widest)
    f, slope, r = values(function, q, order)
    alpha, beta = (g @ r.basis for g in (f, slope))
    missed = [aliased(alpha, beta, q)]
    for g, found in ((f, alpha), (slope, beta)):
        whole = g.square() @ r.weights
        lost = whole - found.square().sum(-1)
        missed.append(lost / whole.clamp(min=torch.finfo(q.dtype).tiny))
    worst = torch.stack(missed).amax(0).detach()
    if worst.numel() and not bool((worst <= max(tolerance, 100 * torch.finfo(q.dtype).eps)).all()):
        remedy = "order" if order == most else "tolerance, for φ seems to have a kink"
        raise NotConverged(
            f"{order} Hermite terms miss {float(worst.max()):.1e} of E φ² or E φ'² at variances up "
            f"to {float(q.max()):.3g}; use quadrature(φ, ...) with a larger {remedy}"
        )
    return alpha, beta


def series_(c: Tensor, alpha: Tensor, beta: Tensor, out: Tensor) -> None:
    """Write Σ_n α_n β_n cⁿ to `out`, by Horner's rule up to the last term that counts."""
    n = alpha.shape[-1]
    sizes = alpha.reshape(-1, n).abs().amax(0) * beta.reshape(-1, n).abs().amax(0)
    counts = (sizes > sizes.max() * torch.finfo(c.dtype).eps / 64).tolist()
    out.zero_()
    for i in reversed(range(n - counts[::-1].index(True) if True in counts else 0)):
        out.mul_(c)
        if counts[i]:
            out.addcmul_(alpha[..., i], beta[..., i])


def of_both(terms: Callable[..., Pair], a: Tensor, b: Tensor) -> tuple[Pair, Pair]:
    """The coefficients of two sets of variances, as many for one as for the other."""
    widest = torch.maximum(a.max(), b.max()) if a.numel() and b.numel() else None
    return terms(a, widest=widest), terms(b, widest=widest)


def dual_(k: Tensor, a: Tensor, b: Tensor, dot: Tensor, *, terms: Callable[..., Pair]) -> None:
    left, right = of_both(terms, a, b)
    c = (k / (a * b).sqrt()).nan_to_num_(nan=0.0).clamp_(-1, 1)
    series_(c, left[0], right[0], k)
    series_(c, left[1], right[1], dot)


def gap_(gap: Tensor, a: Tensor, b: Tensor, dot: Tensor, *, terms: Callable[..., Pair]) -> None:
    """T's gap is ½ Σ (α_n(a) − α_n(b))² + Σ α_n(a) α_n(b) (1 − cⁿ).

    Here 1 − cⁿ is (1 − c) Σ_{i<n} cⁱ, which Horner's rule sums with the tails of Σ α_n(a) α_n(b).
    """
    left, right = of_both(terms, a, b)
    n = left[0].shape[-1]
    scale = (a * b).sqrt()
    d = (gap - (a.sqrt() - b.sqrt()).square() / 2).div_(scale).nan_to_num_(nan=0.0).clamp_(0, 2)
    c, tail = 1 - d, torch.zeros_like(gap)
    gap.zero_()
    for i in reversed(range(1, n)):
        tail.addcmul_(left[0][..., i], right[0][..., i])
        gap.mul_(c).add_(tail)
    gap.mul_(d)
    for i in range(n):
        apart = left[0][..., i] - right[0][..., i]
        gap.addcmul_(apart, apart, value=0.5)
    series_(c, left[1], right[1], dot)


def diagonal(function: Function, most: int, q: Tensor) -> Pair:
    f, slope, r = values(function, q, enough(function, most, q))
    return f.square() @ r.weights, slope.square() @ r.weights


def growth(function: Function, most: int, q: Tensor) -> Tensor:
    """dT/dq = E z φ φ' / √q."""
    q = q.clamp(min=1e-12)
    f, slope, r = values(function, q, enough(function, most, q))
    return (f * slope) @ (r.weights * r.nodes) / q.sqrt()


def drops(q: Tensor, d: Tensor, *, terms: Callable[[Tensor], Pair]) -> Pair:
    alpha, beta = terms(q)
    n, d = torch.arange(alpha.shape[-1], dtype=q.dtype, device=q.device), d[..., None]
    lost = torch.where(d < 0.5, -torch.expm1(n * torch.log1p(-d.clamp(max=0.5))), 1 - (1 - d) ** n)
    return (alpha.square() * lost).sum(-1), (beta.square() * lost).sum(-1)


def bend(q: Tensor, d: Tensor, *, terms: Callable[[Tensor], Pair]) -> Tensor:
    beta = terms(q)[1][..., 1:]
    n = torch.arange(1, beta.shape[-1] + 1, dtype=q.dtype, device=q.device)
    return (n * beta.square() * (1 - d[..., None]) ** (n - 1)).sum(-1) / q


def remembered(terms: Callable[[Tensor], Pair]) -> Callable[[Tensor], Pair]:
    """`terms`, which answers at once when asked again for the same tensor."""
    last: list = [None, -1, None]

    def ask(q: Tensor) -> Pair:
        version = object() if q.is_inference() else q._version  # or it may have changed unseen
        if last[0] is not q or last[1] != version:
            last[:] = q, version, terms(q)
        return last[2]

    return ask


def quadrature(
    function: Function, *, order: int = ORDER, tolerance: float = TOLERANCE, name: str | None = None
) -> Activation:
    """The dual maps of a smooth elementwise `function` of tensors, with at most `order` terms.

    As many terms are used as the widest variance at hand needs to reach rounding. The maps raise
    NotConverged where the terms left out carry more than `tolerance` of E φ² or
    E φ'²: the error of T is at most that share of √(T(a,a) T(b,b)). `quadrature_error` measures it.
    """
    if not callable(function):
        raise UnknownActivation(f"{function!r} is no function of a tensor")
    if order < 2:
        raise OutOfRange(f"order = {order}; use at least 2 Hermite terms")
    terms = partial(coefficients, function, order, tolerance)
    return Activation(
        name or getattr(function, "__name__", type(function).__name__),
        function,
        partial(dual_, terms=terms),
        partial(gap_, terms=terms),
        partial(diagonal, function, order),
        partial(growth, function, order),
        partial(drops, terms=remembered(terms)),
        partial(bend, terms=terms),
    )


def fixed(function: Function, order: int) -> Activation:
    """`quadrature` with just so many terms, and no check."""

    def terms(q: Tensor, widest: Tensor | None = None) -> Pair:
        *both, r = values(function, q, order)
        return tuple(f @ r.basis for f in both)

    return replace(quadrature(function), dual_=partial(dual_, terms=terms))


# tanh, by Gauss–Hermite quadrature.
TANH = quadrature(torch.tanh, name="tanh")
# z times the normal distribution function of z, by Gauss–Hermite quadrature.
GELU = quadrature(torch.nn.functional.gelu, name="gelu")


def quadrature_error(function: Function, q: Tensor | float, *, order: int = ORDER) -> Tensor:
    """How far T and Ṫ of `function` move, relatively, when the order doubles.

    The largest change over the correlations 1, ½, 0, −½, −1 at the variances q; shape of q. The
    order is the one that `quadrature` uses for the largest of them, which is at most `order`.
    """
    q = torch.as_tensor(q, dtype=torch.float64)
    c = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0], dtype=q.dtype, device=q.device)
    a, used = q[..., None], enough(function, order, q)
    pairs = [fixed(function, n).dual(a * c, a, a) for n in (used, 2 * used)]
    changes = [(x - y).abs().amax(-1) / y[..., 0] for x, y in zip(*pairs, strict=True)]
    return torch.maximum(*changes)
