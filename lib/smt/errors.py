"""What may be wrong with a claim, and what may be wrong with the question."""

import sympy

from lib.claims import Refuted

Point = dict[sympy.Symbol, sympy.Expr]


class Counterexample(Refuted):
    """The claim is false at ``point``, a dict from its symbols to exact values."""

    def __init__(self, message: str, point: Point):
        super().__init__(message)
        self.point = point


class Undecided(RuntimeError):
    """Neither a proof nor a counterexample was found: nothing is known about the claim."""


class IllPosed(ValueError):
    """The question is empty: contradictory assumptions, a missing case, a term without value."""


class Untranslatable(ValueError):
    """An expression that is not polynomial, rational, a root, or piecewise so, over the reals."""
