"""Numbers first: both sides of a step at sample points, where a false step shows itself."""

import random
from collections.abc import Iterator
from typing import Any

import sympy as sp

POINTS, SEED = 12, 0
DIGITS = 30  # working precision
AGREE = sp.Float("1e-20", DIGITS)  # relative difference below which two numbers agree

Point = dict[sp.Symbol, Any]
Counterexample = tuple[Point, Any, Any]  # where, and the two values there


def compare(
    left: Any, relation: str, right: Any, assuming: tuple[Any, ...]
) -> Counterexample | None:
    """A point at which ``left relation right`` is false, or None when every sample point agrees.

    Raises ValueError where no sample point could be evaluated: then nothing was compared.
    """
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    compared = 0
    for point in sample(symbols, assuming):
        a, b = number(left, point), number(right, point)
        if a is None or b is None:
            continue
        compared += 1
        if not holds(a, relation, b):
            return point, a, b
    if not compared:
        raise ValueError(f"{left} {relation} {right}: neither side could be evaluated anywhere")
    return None


def approach(moving: Any, target: Any, variable: sp.Symbol, point: Any) -> Counterexample | None:
    """Going closer to ``point`` must shrink ``|moving − target|``; None where it does."""
    others = sorted((moving.free_symbols | target.free_symbols) - {variable}, key=str)
    near = [
        sp.Integer(10) ** k if point == sp.oo else point + sp.Rational(1, 10**k) for k in (3, 6, 9)
    ]
    for rest in sample(others, ()):
        pairs = [(number(moving, {**rest, variable: v}), number(target, rest)) for v in near]
        if any(a is None or b is None for a, b in pairs):
            continue
        if not _shrinks([abs(a - b) for a, b in pairs]):
            return {**rest, variable: near[-1]}, *pairs[-1]
    return None


def _shrinks(gaps: list[Any]) -> bool:
    """Slow limits (1/log) shrink slowly, so a tenth over six decades is asked, not more."""
    monotone = gaps[2] <= gaps[1] <= gaps[0]
    return gaps[2] <= AGREE or (monotone and gaps[2] < gaps[0] * sp.Rational(9, 10))


def sample(symbols: list[sp.Symbol], assuming: tuple[Any, ...]) -> Iterator[Point]:
    """Yield ``POINTS`` exact points of the symbols' domain at which all of ``assuming`` hold."""
    rng, found = random.Random(SEED), 0
    for attempt in range(400 * POINTS):
        point = {s: _draw(s, rng, attempt) for s in symbols}
        if all(relation.subs(point) == True for relation in assuming):  # noqa: E712 (SymPy's true)
            found += 1
            yield point
        if found == POINTS:
            return
    if not found:
        raise ValueError(f"no sample point satisfies {assuming}: are the assumptions consistent?")


def _draw(symbol: sp.Symbol, rng: random.Random, attempt: int) -> sp.Rational:
    """A small rational; the first points favour 0 and ±1, where false claims like to hide."""
    if symbol.is_integer:
        size = sp.Integer(rng.randint(0, 7))
    elif attempt < 3:
        size = sp.Integer(rng.choice((0, 1, 1)))
    else:
        size = sp.Rational(rng.randint(1, 60), 20)
    if size == 0 and symbol.is_nonzero:
        size = sp.Integer(1)
    if symbol.is_extended_nonnegative:
        return size
    return -size if symbol.is_extended_nonpositive else size * rng.choice((-1, 1))


def number(expr: Any, point: Point) -> Any:
    """The value as a number, or a matrix of them; None where it is not finite."""
    value = expr.subs(point).doit().evalf(DIGITS)
    entries = list(value) if isinstance(value, sp.MatrixBase) else [value]
    return value if all(e.is_number and e.is_finite for e in entries) else None


def holds(left: Any, relation: str, right: Any) -> bool:
    """Compare two numbers (or, for ``=``, two matrices) up to :data:`AGREE`."""
    if isinstance(left, sp.MatrixBase):
        return left.shape == right.shape and all(map(_equal, left, right))
    if relation == "=":
        return _equal(left, right)
    if relation in (">", "≥"):
        left, right = right, left
    if _equal(left, right):
        return relation in "≤≥"
    return bool(left < right)


def _equal(left: Any, right: Any) -> bool:
    return bool(abs(left - right) <= AGREE * max(1, abs(left), abs(right)))
