"""The chapter's formulas in SymPy against numbers from elsewhere."""

import math

import pytest
import sympy as sp
from scipy import integrate, special

from lib.ntk import symbolic
from lib.ntk.phase import critical_sigma_w2, phase
from lib.proof import Chain, FalseStep

A, B, K = 0.7, 1.3, -0.4


def average(f, a=A, b=B, k=K):
    """E f(u, v) of a Gaussian pair, by quadrature over the plane."""
    det = a * b - k * k

    def density(v, u):
        return math.exp(-(b * u * u - 2 * k * u * v + a * v * v) / (2 * det)) / math.sqrt(det)

    value, _ = integrate.dblquad(
        lambda v, u: f(u) * f(v) * density(v, u), -8, 8, -9, 9, epsabs=1e-10
    )
    return value / (2 * math.pi)


def slope_of_erf(u):
    return 2 / math.sqrt(math.pi) * math.exp(-u * u)


def test_erf_dual_is_the_gaussian_average():
    assert float(symbolic.erf_dual(A, B, K)) == pytest.approx(average(special.erf), abs=1e-8)


def test_erf_slope_is_the_gaussian_average():
    assert float(symbolic.erf_slope(A, B, K)) == pytest.approx(average(slope_of_erf), abs=1e-8)


def test_relu_dual_is_the_gaussian_average():
    theta = math.acos(K / math.sqrt(A * B))
    inside, _ = integrate.dblquad(
        lambda v, u: (
            u * v * math.exp(-(B * u * u - 2 * K * u * v + A * v * v) / (2 * (A * B - K * K)))
        ),
        0,
        9,
        0,
        9,
        epsabs=1e-10,
    )
    expected = inside / (2 * math.pi * math.sqrt(A * B - K * K))
    assert float(symbolic.relu_dual(A, B, theta)) == pytest.approx(expected, abs=1e-8)


def test_relu_slope_is_the_derivative_of_the_dual():
    a, b, theta = sp.symbols("a b theta", positive=True)
    by_theta = sp.diff(symbolic.relu_dual(a, b, theta), theta)
    by_k = by_theta / sp.diff(sp.sqrt(a * b) * sp.cos(theta), theta)
    assert sp.simplify(by_k - symbolic.relu_slope(theta)) == 0


def test_relu_cosine_is_the_dual_over_that_of_equal_inputs():
    theta = sp.Symbol("theta", positive=True)
    ratio = symbolic.relu_dual(3, 3, theta) / symbolic.relu_dual(3, 3, 0)
    assert sp.simplify(ratio - symbolic.relu_cosine(theta)) == 0


def test_the_correlation_map_keeps_equal_inputs_and_the_fixed_point():
    at = phase(1.5, 0.05)
    assert float(symbolic.erf_correlation(1, at.q, 1.5, 0.05)) == pytest.approx(1, abs=1e-14)
    assert float(symbolic.erf_correlation(at.c, at.q, 1.5, 0.05)) == pytest.approx(at.c, abs=1e-14)


@pytest.mark.parametrize("q", [0.1, 1.0, 5.0])
def test_critical_points_are_those_of_the_library(q):
    sigma_w2, sigma_b2 = map(float, symbolic.erf_critical(q))
    assert critical_sigma_w2(sigma_b2) == pytest.approx(sigma_w2, rel=1e-10)
    assert phase(sigma_w2, sigma_b2).q == pytest.approx(q, rel=1e-6)


def test_all_onesreduce_like_matrices():
    all_ones, m = sp.Symbol("J", real=True), sp.Symbol("m", positive=True)
    reduced = symbolic.modulo_ones((2 + 3 * all_ones) * (5 - all_ones) ** 2, all_ones, m)
    for size in (1, 2, 4):
        ones, one = sp.ones(size), sp.eye(size)
        product = (2 * one + 3 * ones) * (5 * one - ones) ** 2
        alpha, beta = (
            sp.Poly(reduced, all_ones).coeff_monomial(all_ones**k).subs(m, size) for k in (0, 1)
        )
        assert product == alpha * one + beta * ones


def test_eigenvalues_are_those_of_the_matrix():
    all_ones, m = sp.Symbol("J", real=True), sp.Symbol("m", positive=True)
    top, rest = symbolic.eigenvalues(2 + 3 * all_ones, all_ones, m)
    found = (2 * sp.eye(4) + 3 * sp.ones(4)).eigenvals()
    assert found == {top.subs(m, 4): 1, rest: 3}


def test_a_wrong_slope_is_a_false_step():
    a, b = sp.symbols("a b", positive=True)
    k = sp.Symbol("k", real=True)
    with pytest.raises(FalseStep):
        Chain(sp.diff(symbolic.erf_dual(a, b, k), k)).eq(2 * symbolic.erf_slope(a, b, k))
