"""The kernel recursions of fully connected networks in many digits, from any starting matrices.

Slow, and meant as a yardstick: for tests, and where double precision runs out, as for condition
numbers in the ordered phase. ReLU and erf, by their closed forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import mpmath as mp

from lib.ntk.errors import OutOfRange, UnknownActivation

DIGITS = 50
Number = mp.mpf | float | str


class PreciseKernels(NamedTuple):
    """Both kernels as symmetric mpmath matrices."""

    nngp: mp.matrix
    ntk: mp.matrix


def relu(a: mp.mpf, b: mp.mpf, k: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """T and Ṫ; the cosine is clipped, for rounding may take it past 1."""
    root = mp.sqrt(a * b)
    if not root:
        return mp.mpf(0), mp.mpf(1) / 4
    c = max(mp.mpf(-1), min(mp.mpf(1), k / root))
    theta = mp.acos(c)
    rest = mp.pi - theta
    return root * (mp.sqrt(1 - c * c) + rest * c) / (2 * mp.pi), rest / (2 * mp.pi)


def erf(a: mp.mpf, b: mp.mpf, k: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """T and Ṫ."""
    product = (1 + 2 * a) * (1 + 2 * b)
    return 2 / mp.pi * mp.asin(2 * k / mp.sqrt(product)), 4 / mp.pi / mp.sqrt(product - 4 * k * k)


DUALS = {"relu": relu, "erf": erf}


def precise_input(
    x: Sequence[Sequence[Number]], sigma_w2: Number, sigma_b2: Number, digits: int = DIGITS
) -> mp.matrix:
    """K⁰ = σ_w² x·x'/n + σ_b² of inputs given as rows; floats are taken at their exact value."""
    with mp.workdps(digits + 10):
        rows = [[mp.mpf(v) for v in row] for row in x]
        w, b, n = mp.mpf(sigma_w2), mp.mpf(sigma_b2), len(rows[0])
        return mp.matrix([[w * mp.fdot(r, s) / n + b for s in rows] for r in rows])


def precise_kernels(
    start: mp.matrix,
    *,
    depths: Iterable[int],
    sigma_w2: Number,
    sigma_b2: Number,
    activation: str,
    residual: bool = False,
    layer_norm: bool = False,
    digits: int = DIGITS,
) -> Iterator[tuple[int, PreciseKernels]]:
    """Yield (depth, kernels) in ascending order, from K⁰ = Θ⁰ = start, which is symmetric.

    Numbers given as strings are read at full precision. Options as in `lib.ntk.fcn.fcn_kernel`.
    Raises UnknownActivation and OutOfRange.
    """
    wanted = sorted(set(depths))
    if activation not in DUALS:
        raise UnknownActivation(f"activation {activation!r}; in many digits use 'relu' or 'erf'")
    if not wanted or wanted[0] < 0:
        raise OutOfRange(f"depths = {wanted}; name depths ≥ 0")
    with mp.workdps(digits + 10):
        w, b = mp.mpf(sigma_w2), mp.mpf(sigma_b2)
        k = theta = start.copy()
    for depth in range(wanted[-1] + 1):
        if depth in wanted:
            yield depth, PreciseKernels(k.copy(), theta.copy())
        with mp.workdps(digits + 10):
            k, theta = layer(k, theta, w, b, DUALS[activation], residual, layer_norm)


def layer(
    k: mp.matrix,
    theta: mp.matrix,
    w: mp.mpf,
    b: mp.mpf,
    dual: Callable,
    residual: bool,
    layer_norm: bool,
) -> PreciseKernels:
    """One more layer."""
    new = PreciseKernels(mp.matrix(k.rows), mp.matrix(k.rows))
    size = [mp.sqrt(k[i, i]) if layer_norm else mp.mpf(1) for i in range(k.rows)]
    for i in range(k.rows):
        for j in range(i + 1):
            by = size[i] * size[j]
            ends = (k[e, e] / size[e] ** 2 for e in (i, j))
            t, slope = dual(*ends, k[i, j] / by)
            nngp, ntk = w * t + b, w * t + b + w * slope * theta[i, j] / by
            if residual:
                nngp, ntk = nngp + k[i, j], ntk + theta[i, j]
            new.nngp[i, j] = new.nngp[j, i] = nngp
            new.ntk[i, j] = new.ntk[j, i] = ntk
    return new


def precise_spectrum(kernel: mp.matrix, digits: int = DIGITS) -> list[mp.mpf]:
    """Eigenvalues of a symmetric matrix, ascending."""
    with mp.workdps(digits + 10):
        return sorted(mp.eigsy(kernel, eigvals_only=True))
