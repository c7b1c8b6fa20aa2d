"""The main theorem of path-metrics, decided by Z3 for all real parameters and inputs.

For parameters with θ_i θ'_i ≥ 0 for all i, and every input x,

    |R_θ(x) − R_θ'(x)| ≤ max(‖x‖_∞, 1) · ‖Φ(θ) − Φ(θ')‖₁ .

There are two ways to it, and both are companion proofs.

*By force.*  :func:`main_theorem` states this for a chain of neurons, and Z3 settles it case by
case.  It needs no idea, and the cases multiply with the depth.

*By induction.*  A single neuron has a lemma, :func:`relu_neuron`, which Z3 settles in one case:

    c c' ≥ 0   implies   |c ρ(z) − c' ρ(z')| ≤ |c z − c' z'| .

It gives the theorem for every network of the paper, and more.  Let v be a neuron with incoming
weights θ_u and bias b, and c c' ≥ 0.  The lemma and the triangle inequality yield

    |c v − c' v'| ≤ Σ_u |c θ_u u − c' θ'_u u'| + |c b − c' b'| .

Here c θ_u and c' θ'_u again have no opposite signs, so that the same holds for each antecedent u
with these in place of c and c', and so on down to the inputs.  Start at an output with c = c' = 1.
What has been multiplied up on arrival is Φ_p(θ) and Φ_p(θ') for each path p, whence

    |R_θ(x) − R_θ'(x)| ≤ Σ_p |Φ_p(θ) − Φ_p(θ')| · |x_p|

with x_p the input where the path p starts, or 1 where it starts at a bias.  Max-pooling needs
:func:`pooling_neuron` in place of the first lemma.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, combinations
from math import prod
from operator import add, sub
from typing import Any

import sympy as sp

from lib.claims import Evidence, together
from lib.smt import decide

Rational = int | str | Fraction | sp.Rational
Parameters = tuple[list[list[sp.Symbol]], list[Any]]  # the weights and the bias of each layer


def relu_neuron(*, signs: bool = True) -> Evidence:
    """Prove |c ρ(z) − c' ρ(z')| ≤ |c z − c' z'| for the ReLU ρ and all c c' ≥ 0.

    ``signs=False`` drops the condition on c and c', which raises
    :class:`~lib.smt.Counterexample`.  Source: companion.
    """
    c, c_, z, z_ = sp.symbols("c c' z z'", real=True)
    claim = sp.Abs(c * sp.Max(z, 0) - c_ * sp.Max(z_, 0)) <= sp.Abs(c * z - c_ * z_)
    return decide(claim, [c * c_ >= 0] if signs else [])


def rho(values: Sequence[sp.Expr], rank: int) -> sp.Expr:
    """The ``rank``-th largest of the values: some ``rank`` of them are all at least as large."""
    return sp.Max(*(sp.Min(*some) for some in combinations(values, rank)))


def pooling_neuron(size: int, rank: int = 1, *, signs: bool = True) -> Evidence:
    """Prove |c ρ(z) − c' ρ(z')| ≤ max_i |c z_i − c' z'_i| for all c c' ≥ 0.

    Here ρ is the ``rank``-th largest of ``size`` values: rank 1 is max-pooling.  Z3 proves that
    |c| ρ(z) = ρ(|c| z), which leaves a claim about y = |c| z and y' = |c'| z'.  ``signs=False``
    lets c and c' have opposite signs, which raises :class:`~lib.smt.Counterexample` unless ρ is
    odd: the identity (1 of 1) and the median (2 of 3) need no condition.  Source: companion.
    """
    if not 1 <= rank <= size:
        raise ValueError(f"no {rank}-th largest of {size} values: need 1 <= rank <= size")
    c = sp.Symbol("c", nonnegative=True)
    y, y_ = (sp.symbols(f"y1:{size + 1}{prime}", real=True) for prime in ("", "'"))
    homogeneous = sp.Eq(rho([c * v for v in y], rank), c * rho(y, rank))
    pooled, pooled_ = rho(y, rank), rho(y_, rank)
    alike = sp.Abs(pooled - pooled_) <= sp.Max(*map(sp.Abs, map(sub, y, y_)))
    opposed = sp.Abs(pooled + pooled_) <= sp.Max(*map(sp.Abs, map(add, y, y_)))
    return together(decide(homogeneous), decide(alike if signs else sp.And(alike, opposed)))


def main_theorem(
    depth: int,
    *,
    inputs: int = 1,
    biases: bool = True,
    signs: bool = True,
    constant: Rational = 1,
    floor: Rational = 1,
    timeout: float = 300.0,
) -> Evidence:
    """Prove |R_θ(x) − R_θ'(x)| ≤ constant · max(‖x‖_∞, floor) · ‖Φ(θ) − Φ(θ')‖₁ for a chain.

    The chain has ``depth`` layers of one neuron each, with a ReLU and, if ``biases``, a bias on
    every layer but the last.  (A bias on the output adds |b − b'| to the right side and at most
    as much to the left one.)  ``depth`` 3 takes some seconds; ``timeout`` is in seconds.

    The theorem has ``signs=True`` (θ_i θ'_i ≥ 0 for all i), ``constant=1`` and ``floor=1``.
    Without the signs, with a constant or, if there are biases, a floor below 1, the statement is
    false, and :class:`~lib.smt.Counterexample` is raised.  Source: companion.
    """
    if depth < 2 or inputs < 1:
        raise ValueError("a chain has depth >= 2, for there is a hidden neuron, and inputs >= 1")
    theta, other = (_parameters(depth, inputs, biases, prime) for prime in ("", "'"))
    x = sp.symbols(f"x1:{inputs + 1}" if inputs > 1 else "x,", real=True)
    z, z_ = _preactivations(theta, x), _preactivations(other, x)
    moves = [p - q for p, q in zip(_lifting(theta), _lifting(other), strict=True)]
    radius = sp.Max(*x, *(-v for v in x), sp.Rational(floor))
    claim = sp.Abs(z[-1] - z_[-1]) <= sp.Rational(constant) * radius * sp.Add(*map(sp.Abs, moves))

    pairs, mirrored = _pairs(theta, other), _mirrored(claim, theta, other, x)
    quadrants = [_quadrants(u, v, signs, (u, v) in mirrored) for u, v in pairs]
    hinges = [*z[:-1], *z_[:-1], *moves]  # where a ReLU or an absolute value bends
    cases = [*quadrants, *([h >= 0, h < 0] for h in hinges)]
    return decide(claim, [sp.Or(*q) for q in quadrants], cases=cases, timeout=timeout)


def _parameters(depth: int, inputs: int, biases: bool, prime: str) -> Parameters:
    def real(name: str) -> sp.Symbol:
        return sp.Symbol(name + prime, real=True)

    first = [real(f"w1{i}" if inputs > 1 else "w1") for i in range(1, inputs + 1)]
    weights = [first, *([real(f"w{k}")] for k in range(2, depth + 1))]
    return weights, [real(f"b{k}") if biases else 0 for k in range(1, depth)] + [0]


def _preactivations(theta: Parameters, x: Any) -> list[sp.Expr]:
    """What enters each neuron; the last one is the output."""
    z, incoming = [], list(x)
    for weights, bias in zip(*theta, strict=True):
        z.append(sum(w * v for w, v in zip(weights, incoming, strict=True)) + bias)
        incoming = [sp.Max(z[-1], 0)]
    return z


def _lifting(theta: Parameters) -> list[sp.Expr]:
    """Φ(θ): a coordinate for each input, then one for each hidden bias."""
    (first, *later), biases = theta
    onward = [prod(w for (w,) in later[k:]) for k in range(len(later) + 1)]
    by_input = [w * onward[0] for w in first]
    return by_input + [b * w for b, w in zip(biases, onward, strict=True) if b != 0]


def _pairs(theta: Parameters, other: Parameters) -> list[tuple[sp.Symbol, sp.Symbol]]:
    """Each parameter with its counterpart: the weights from input to output, then the biases."""
    return list(zip(_flat(*theta), _flat(*other), strict=True))


def _flat(weights: list[list[sp.Symbol]], biases: list[Any]) -> list[sp.Symbol]:
    return [*chain.from_iterable(weights), *(b for b in biases if b != 0)]


def _mirrored(claim: Any, theta: Parameters, other: Parameters, x: Any) -> list:
    """The pairs (u, v) that may be supposed to lie on one side, as (−u, −v) makes the same claim.

    These are the weights of an input, if the input changes its sign too, and of the output.  Each
    of these mirrors moves variables of its own, so that they can be applied one after the other.
    """
    first, last = _pairs(theta, other)[: len(x)], (theta[0][-1][0], other[0][-1][0])
    for mirror in [*((v, *pair) for v, pair in zip(x, first, strict=True)), last]:
        if claim.xreplace({s: -s for s in mirror}) != claim:
            raise RuntimeError(f"SymPy finds the claim changed when {mirror} change their signs")
    return [*first, last]


def _quadrants(u: sp.Symbol, v: sp.Symbol, signs: bool, mirrored: bool) -> list:
    """Where (u, v) may lie: where u v ≥ 0, said without the product, if ``signs``; else anywhere.

    With a mirror it is enough to look where u ≥ 0: where u, v ≥ 0, if there is the condition too.
    """
    same = [sp.And(u >= 0, v >= 0), sp.And(u <= 0, v <= 0)]
    mixed = [sp.And(u >= 0, v <= 0), sp.And(u <= 0, v >= 0)]
    quadrants = same if signs else mixed + same
    return quadrants[::2] if mirrored else quadrants
