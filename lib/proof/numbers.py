"""Numbers first: both sides of a step at sample points, where a false step shows itself."""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import sympy as sp

POINTS, SEED = 12, 0
DIGITS = 30  # working precision
AGREE = sp.Float("1e-20", DIGITS)  # relative difference below which two numbers agree

Point = dict[sp.Symbol, Any]


class Comparison(NamedTuple):
    """What the sample points say: how many were compared, and where the step is false, if so."""

    points: int
    false_at: Point | None = None
    left: Any = None
    right: Any = None


def compare(left: Any, relation: str, right: Any, assuming: tuple[Any, ...]) -> Comparison:
    """Look for a point at which ``left relation right`` is false.

    A point where one side has a finite value and the other has none is such a point.  Raises
    ValueError where neither side has a value anywhere: then nothing was compared.
    """
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    compared = 0
    for point in sample(symbols, assuming):
        a, b = number(left, point), number(right, point)
        if a is None and b is None:
            continue
        compared += 1
        if a is None or b is None or not holds(a, relation, b):
            return Comparison(compared, point, a, b)
    if not compared:
        raise ValueError(f"{left} {relation} {right}: neither side could be evaluated anywhere")
    return Comparison(compared)


DECADES = (2, 8, 32)  # how close to the limit we look: far apart, for limits may be slow


def approach(moving: Any, target: Any, variable: sp.Symbol, point: Any) -> Comparison:
    """Going closer to ``point`` must shrink ``|moving − target|``, or make it grow beyond bounds.

    Raises ValueError where nothing could be compared.
    """
    others = sorted((moving.free_symbols | target.free_symbols) - {variable}, key=str)
    near, compared = [_near(point, decade) for decade in DECADES], 0
    for rest in sample(others, ()):
        values = [number(moving, {**rest, variable: v}) for v in near]
        if None in values:
            continue
        compared += 1
        goal = target.subs(rest)
        if not _tends(values, goal):
            return Comparison(compared, {**rest, variable: near[-1]}, values[-1], goal)
    if not compared:
        raise ValueError(f"{moving} could not be evaluated near {variable} = {point}")
    return Comparison(compared)


def _near(point: Any, decade: int) -> Any:
    """A number near ``point``; the offset is no fraction, so that no period fits it."""
    step = sp.Integer(10) ** decade
    if point.is_infinite:
        return sp.sign(point) * (step + sp.pi / 7)
    return point + (1 + sp.pi / 7) / step


def _tends(values: list[Any], goal: Any) -> bool:
    if goal.is_infinite:
        grown = [v * sp.sign(goal) for v in values]
        return bool(grown[2] > 0 and grown[0] < grown[1] < grown[2])
    gaps = [abs(v - goal) for v in values]
    return bool(gaps[2] <= AGREE or (gaps[2] <= gaps[1] <= gaps[0] and 2 * gaps[2] < gaps[0]))


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
    """First 0 and ±1, where false claims like to hide, then small numbers, then larger ones."""
    turn = attempt % POINTS
    if turn < 3:
        size = sp.Integer(turn > 0 and rng.choice((0, 1, 1)))
    elif symbol.is_integer:
        size = sp.Integer(rng.randint(0, 7 if turn < 8 else 60))
    else:
        reach = 3 if turn < 8 else 30 if turn < 10 else 300
        size = sp.Rational(rng.randint(1, 60), 60) * reach
    if size == 0 and symbol.is_nonzero:
        size = sp.Integer(1)
    if symbol.is_nonnegative:
        return size
    return -size if symbol.is_nonpositive else size * rng.choice((-1, 1))


def number(expr: Any, point: Point) -> Any:
    """The value as a number, or a matrix of them; None where it is not finite."""
    try:
        value = expr.subs(point).doit().evalf(DIGITS)
    except (ValueError, ZeroDivisionError):  # a sum that diverges, say
        return None
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
