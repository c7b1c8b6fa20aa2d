"""The formulas of infinite-width networks in SymPy's language, for checked derivations.

``a`` and ``b`` are the variances of two Gaussian variables, ``k`` their covariance; for ReLU,
``k = sqrt(ab) cos(theta)``.  ``q`` is the fixed point of the variance and ``c`` a correlation.
"""

from typing import Any

import sympy as sp


def erf_dual(a: Any, b: Any, k: Any) -> sp.Expr:
    """E erf(u) erf(v).  Williams 1997, for Gaussian variables without bias."""
    return 2 / sp.pi * sp.asin(2 * k / sp.sqrt((1 + 2 * a) * (1 + 2 * b)))


def erf_slope(a: Any, b: Any, k: Any) -> sp.Expr:
    """E erf'(u) erf'(v), the derivative of :func:`erf_dual` by ``k``."""
    return 4 / sp.pi / sp.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * k**2)


def relu_dual(a: Any, b: Any, theta: Any) -> sp.Expr:
    """E relu(u) relu(v).  Cho and Saul 2009, the arc-cosine kernel of degree 1."""
    return sp.sqrt(a * b) * (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)) / (2 * sp.pi)


def relu_slope(theta: Any) -> sp.Expr:
    """E relu'(u) relu'(v): the probability that both variables are positive."""
    return (sp.pi - theta) / (2 * sp.pi)


def erf_correlation(c: Any, q: Any, sigma_w2: Any, sigma_b2: Any) -> sp.Expr:
    """The C-map of an erf layer: the next correlation of two inputs of variance ``q``."""
    return (sigma_w2 * erf_dual(q, q, q * c) + sigma_b2) / q


def erf_critical(q: Any) -> tuple[sp.Expr, sp.Expr]:
    """(σ_w², σ_b²) of the critical point with the fixed point ``q``.  Companion."""
    root = sp.sqrt(1 + 4 * q)
    return sp.pi / 4 * root, q - root / 2 * sp.asin(2 * q / (1 + 2 * q))


def relu_cosine(theta: Any) -> sp.Expr:
    """The cosine of the next angle, after a ReLU layer without bias."""
    return (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)) / sp.pi


def modulo_ones(expr: Any, ones: sp.Symbol, m: Any) -> sp.Expr:
    """A polynomial in the m×m matrix ``ones``, J, as α + βJ: each power is reduced by J² = mJ.

    ``m`` may be a symbol: an identity then holds for every size.
    """
    return sp.rem(sp.expand(expr), ones**2 - m * ones, ones)


def eigenvalues(matrix: Any, ones: sp.Symbol, m: Any) -> tuple[sp.Expr, sp.Expr]:
    """Of α + βJ: on the vector of ones, and on all vectors whose entries add up to 0."""
    alpha, beta = (
        sp.Poly(modulo_ones(matrix, ones, m), ones).coeff_monomial(ones**k) for k in (0, 1)
    )
    return sp.simplify(alpha + m * beta), sp.simplify(alpha)
