"""Counterexamples: exact points, checked by SymPy, so that no translation has to be trusted."""

from typing import Any

import sympy
import z3
from sympy.core.evalf import PrecisionExhausted
from sympy.core.relational import Relational

from lib.smt.errors import Counterexample, Point, Undecided
from lib.smt.translation import Translation

SIGN = {sympy.Eq: "=", sympy.Ne: "≠", sympy.Le: "≤", sympy.Ge: "≥", sympy.Lt: "<", sympy.Gt: ">"}


def point(z: Translation, model: z3.ModelRef) -> Point:
    """The values of all symbols in a Z3 model."""
    return {s: _exact(model.eval(v, model_completion=True)) for s, v in z.variables.items()}


def _exact(value: z3.ArithRef) -> sympy.Expr:
    """The SymPy number that a Z3 value is: a fraction, or a root of a polynomial."""
    if z3.is_rational_value(value):
        return sympy.Rational(value.numerator_as_long(), value.denominator_as_long())
    coefficients = [_exact(c) for c in reversed(value.poly())]
    return sympy.Poly(coefficients, sympy.Dummy()).sqf_part().real_roots()[value.index() - 1]


def counterexample(claim: Any, assuming: list, at: Point) -> Counterexample:
    """The error to raise for a claim that fails ``at`` a point, once SymPy agrees that it does."""
    if not all(_admits(symbol, value) for symbol, value in at.items()):
        raise Undecided(f"false for real values, at {show(at)}, but those are not admitted")
    if holds(claim, at) or not all(holds(a, at) for a in assuming):
        raise Undecided(f"Z3 claims a counterexample that SymPy denies: {show(at)}")
    return Counterexample(f"at {show(at)}: {_failure(claim, at)}", at)


def show(at: Point) -> str:
    """``x = 1, y = -3/2``."""
    return ", ".join(f"{symbol} = {value}" for symbol, value in at.items()) or "every point"


def holds(claim: Any, at: Point) -> bool:
    """Whether a claim is true at a point, by exact arithmetic; ``Undecided`` when SymPy is lost."""
    value = claim.xreplace(at)
    value = value.xreplace({r: _compare(r) for r in value.atoms(Relational)})
    if value not in (sympy.true, sympy.false):
        raise Undecided(f"SymPy cannot tell whether {value}, at {show(at)}")
    return bool(value)


def _compare(relation: Relational) -> Any:
    """A relation between numbers, by its digits or, where they vanish, by a minimal polynomial."""
    gap = relation.lhs - relation.rhs
    try:
        digits = sympy.N(gap, 30, strict=True)
    except PrecisionExhausted:
        digits = 0 if sympy.minimal_polynomial(gap).is_Symbol else gap
    return relation.func(digits, 0)


def _admits(symbol: sympy.Symbol, value: sympy.Expr) -> bool:
    """Whether a symbol may take a value: Z3 is not told of ``integer=True`` and the like."""
    facts = symbol.assumptions0.items()
    return all(getattr(value, f"is_{name}") in (truth, None) for name, truth in facts)


def _failure(claim: Any, at: Point) -> str:
    """The part of the claim that fails, with its values put in."""
    if isinstance(claim, sympy.And):
        return _failure(next(part for part in claim.args if not holds(part, at)), at)
    if isinstance(claim, sympy.Implies):
        return _failure(claim.args[1], at)
    if isinstance(claim, Relational):
        left, right = claim.lhs.xreplace(at), claim.rhs.xreplace(at)
        return f"{left} {SIGN[type(claim)]} {right} is false"
    return f"{claim} is false" if claim.args else "the claim is false"
