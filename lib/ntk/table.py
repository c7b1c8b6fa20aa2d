"""The entries of Table 1: what is measured at finite depth, and the constant that it tends to.

Each sequence below is, up to terms that die out faster, affine in the depth l, or affine plus a
multiple of log l: differences then isolate the constant.  See the chapter for the proofs.
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp

from lib.ntk.architectures import ARCHITECTURES
from lib.ntk.deep import DEPTHS, DIGITS, LABELS, POSITIONS, Regime, deep, read_out, regime

QUANTITIES = ("lambda_max", "lambda_bulk", "kappa", "P(Theta)Y")

Pair = tuple[mp.mpf, mp.mpf]


class Sequence:
    """The kernel matrices of one architecture at the depths that are kept."""

    def __init__(self, phase: str, architecture: str):
        self.at: Regime = regime(phase)
        self.depths = DEPTHS[phase]
        self.positions = 1 if architecture == "FCN" else POSITIONS
        self.pooled = architecture == "CNN-P"
        self.layers = deep(phase, self.positions)
        self.m = len(LABELS)

    def matrices(self, depth: int) -> tuple[mp.matrix, mp.matrix]:
        """Θ between the training images, and with the test image."""
        return read_out(self.layers[depth][1], self.positions, self.pooled)

    def eigenvalues(self, depth: int) -> list[mp.mpf]:
        """Of the training matrix, smallest first."""
        return sorted(mp.eigsy(self.matrices(depth)[0], eigvals_only=True))

    def bulk(self, depth: int) -> mp.mpf:
        """The mean of all eigenvalues but the largest."""
        return sum(self.eigenvalues(depth)[:-1]) / (self.m - 1)

    def kappa(self, depth: int) -> mp.mpf:
        """The largest eigenvalue over the smallest."""
        values = self.eigenvalues(depth)
        return values[-1] / values[0]

    def predictor(self, depth: int) -> mp.mpf:
        """P(Θ)Y at the test image."""
        train, test = self.matrices(depth)
        return mp.fdot(test, mp.lu_solve(train, mp.matrix(LABELS)))

    def shape(self, of: Callable, depth: int, pooled: bool) -> tuple[mp.matrix, mp.matrix]:
        """``of`` the correlations at a depth, read out; 0 where an image meets itself."""
        one = 1 - mp.mpf(10) ** (8 - mp.mp.dps)
        found = {key: k / self.at.q for key, k in self.layers[depth][0].items()}
        return read_out(
            {key: 0 if c > one and key[:2] == key[2:] else of(c) for key, c in found.items()},
            self.positions,
            pooled,
        )


def cell(phase: str, architecture: str, quantity: str, **altered: Any) -> Pair:
    """What is measured of an entry of Table 1, and what is predicted, both at 50 digits.

    The ordered λ_max is measured by how far it is from m p*.

    ``altered`` predicts something else, for a comparison: ``pooled=False`` treats CNN-P like
    CNN-F; ``gain`` replaces the factor of the resonance; ``r=3`` is the decay of ReLU at
    criticality; ``layers`` shifts the exponent of the diagonal; ``kriging="simple"`` drops a
    constraint.  Raises ValueError for an unknown phase, architecture or quantity.
    """
    for value, known in ((phase, DEPTHS), (architecture, ARCHITECTURES), (quantity, QUANTITIES)):
        if value not in known:
            raise ValueError(f"{value!r} is not in the table; choose one of {tuple(known)}")
    rules = {"ordered": ordered, "critical": critical, "chaotic": chaotic}
    with mp.workdps(DIGITS):
        return rules[phase](Sequence(phase, architecture), quantity, **altered)


def ordered(
    s: Sequence,
    quantity: str,
    pooled: bool | None = None,
    gain: Any = None,
    kriging: str = "ordinary",
) -> Pair:
    """p* − Θ_ab ≃ l χ_1^l·gain·ζ_ab, with ζ_ab the limit of χ_1^(−l)(1 − c_ab)."""
    at, (low, high) = s.at, s.depths
    gain = at.gain if gain is None else gain
    zeta, row = s.shape(
        lambda c: (1 - c) * at.chi_1**-high, high, s.pooled if pooled is None else pooled
    )
    whole, trace = sum(zeta) / s.m, sum(zeta[a, a] for a in range(s.m))

    def slope(f: Callable) -> mp.mpf:
        return f(low + 1) * at.chi_1 ** -(low + 1) - f(low) * at.chi_1**-low

    if quantity == "lambda_max":
        gap = slope(lambda depth: s.m * at.p - s.eigenvalues(depth)[-1])
        return gap, gain * whole
    if quantity == "lambda_bulk":
        return slope(s.bulk), gain * (whole - trace) / (s.m - 1)
    if quantity == "kappa":
        scaled = [s.kappa(depth) * depth * at.chi_1**depth for depth in (low, high)]
        return 2 * scaled[1] - scaled[0], s.m * at.p / (gain * smallest(-zeta))
    found = 2 * s.predictor(high) - s.predictor(low)
    return found, mp.fdot(weights(-zeta, -row, kriging), LABELS)


def smallest(matrix: mp.matrix) -> mp.mpf:
    """The smallest eigenvalue of a matrix on the vectors whose entries add up to 0."""
    m = matrix.rows
    project = mp.eye(m) - mp.ones(m) / m
    values = mp.eigsy(project * matrix * project, eigvals_only=True)
    return min(sorted(values, key=abs)[1:])


def weights(inside: mp.matrix, across: mp.matrix, kriging: str) -> mp.matrix:
    """The weights of kriging with the covariance ``inside``: ordinary ones add up to 1."""
    simple = mp.lu_solve(inside, across)
    if kriging == "simple":
        return simple
    spread = mp.lu_solve(inside, mp.ones(inside.rows, 1))
    return simple + spread * (1 - sum(simple)) / sum(spread)


def critical(s: Sequence, quantity: str, pooled: bool | None = None, r: int = 2) -> Pair:
    """Θ_ab ≃ q*(l + s_ab)/(r + 1) with χ = 1 − r/l: r = 2 for smooth activations, 3 for ReLU."""
    at, first, m = s.at, s.depths[0], s.m
    pooled = s.pooled if pooled is None else pooled
    d = s.positions if pooled else 1

    def leading(f: Callable) -> mp.mpf:
        """The coefficient of l where f is affine plus a multiple of log l."""
        return (f(4 * first) - 2 * f(2 * first) + f(first)) / first

    if quantity == "lambda_max":
        share = mp.mpf(m * d + r) / (d * (r + 1))
        return leading(lambda depth: s.eigenvalues(depth)[-1]), share * at.q
    if quantity == "lambda_bulk":
        return leading(s.bulk), mp.mpf(r) / (d * (r + 1)) * at.q
    if quantity == "kappa":
        return leading(lambda depth: depth * s.kappa(depth)), mp.mpf(m * d + r) / r
    reference = 2 / at.curvature / (1 - s.layers[4 * first][0][0, 0, 1, 0] / at.q)
    shift, row = s.shape(lambda c: 2 / at.curvature / (1 - c) - reference, 4 * first, pooled)
    mixed = mp.fdot(shift * mp.matrix(LABELS), mp.ones(m, 1)) * d / (m * d + r)
    found = leading(lambda depth: depth**2 * s.predictor(depth))
    return found, mp.mpf(d) / r * (mp.fdot(row, LABELS) - mixed)


def chaotic(
    s: Sequence, quantity: str, pooled: bool | None = None, gain: Any = None, layers: int = 1
) -> Pair:
    """Θ_aa ≃ q* χ_1^(l+1)/(χ_1 − 1), and Θ_ab − p* ≃ l χ_c^l·gain·ζ_ab."""
    at, first = s.at, s.depths[0]
    pooled = s.pooled if pooled is None else pooled
    d = s.positions if pooled else 1
    gain = at.gain if gain is None else gain
    a = at.q * at.chi_1 ** (first + layers) / (d * (at.chi_1 - 1))
    if quantity == "lambda_max":
        return s.eigenvalues(first)[-1], a
    if quantity == "lambda_bulk":
        return s.bulk(first), a
    if quantity == "kappa":
        return s.kappa(first) - 1, s.m * at.p / a
    _, row = s.shape(lambda c: (c - at.c) * at.chi_c**-first, first, pooled)
    ratio = at.chi_c / at.chi_1
    slope = s.predictor(first + 1) * ratio ** -(first + 1) - s.predictor(first) * ratio**-first
    return slope, mp.fdot(row, LABELS) * gain * at.chi_1**first / a
