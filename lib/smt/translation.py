"""From SymPy's language to Z3's: terms over the reals, formulas, and where both have a value."""

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from typing import Any

import sympy
import z3

from lib.smt.errors import Untranslatable

RELATIONS = {
    sympy.Eq: lambda a, b: a == b,
    sympy.Ne: lambda a, b: a != b,
    sympy.Lt: lambda a, b: a < b,
    sympy.Le: lambda a, b: a <= b,
    sympy.Gt: lambda a, b: a > b,
    sympy.Ge: lambda a, b: a >= b,
}
CONNECTIVES = {
    sympy.And: lambda *p: z3.And(*p),
    sympy.Or: lambda *p: z3.Or(*p),
    sympy.Not: z3.Not,
    sympy.Implies: z3.Implies,
    sympy.Xor: lambda *p: reduce(z3.Xor, p),
    sympy.Equivalent: lambda *p: z3.And(*(a == b for a, b in pairwise(p))),
    sympy.ITE: z3.If,
}
SIGNS = {  # what a symbol may say of its sign; positive is nonnegative and nonzero
    "is_nonnegative": lambda v: v >= 0,
    "is_nonpositive": lambda v: v <= 0,
    "is_nonzero": lambda v: v != 0,
}


class Translation:
    """Z3 variables for the symbols of some expressions, and the translation of all they form.

    A root ``b**(p/q)`` becomes a new variable r with r ≥ 0 and r^q = b; these equations collect
    in ``definitions``, which every query must include.
    """

    def __init__(self, expressions: Iterable[sympy.Basic]):
        symbols = set().union(*(e.free_symbols for e in expressions))
        self.variables = {s: z3.Real(s.name) for s in sorted(symbols, key=str)}
        self.definitions = [fact for s in self.variables for fact in self._facts(s)]
        self.linear = True  # until a product of two variables has been translated
        self._memo: dict[sympy.Basic, Any] = {}
        if namesakes := {s.name for s in symbols if sum(s.name == t.name for t in symbols) > 1}:
            raise Untranslatable(f"different symbols are called {', '.join(namesakes)}: rename one")

    def _facts(self, symbol: sympy.Symbol) -> list:
        if symbol.is_extended_real is False:
            raise Untranslatable(f"{symbol} is not real: declare it with real=True")
        v = self.variables[symbol]
        return [says(v) for name, says in SIGNS.items() if getattr(symbol, name)]

    def term(self, e: Any) -> z3.ArithRef:
        """The Z3 term of a SymPy expression; anything goes where it has no value."""
        if e not in self._memo:
            self._memo[e] = self._term(e)
        return self._memo[e]

    def _term(self, e: Any) -> z3.ArithRef:
        match e:
            case sympy.Symbol():
                return self.variables[e]
            case sympy.Rational():
                return z3.Q(e.p, e.q)
            case sympy.Add():
                return z3.Sum(*map(self.term, e.args))
            case sympy.Mul():
                self.linear &= len(e.args) == 2 and e.args[0].is_number
                return z3.Product(*map(self.term, e.args))
            case sympy.Pow(exp=sympy.Rational()):
                return self._power(e)
            case sympy.Max() | sympy.Min():
                return self._extremum(e)
            case sympy.Abs():
                a = self.term(e.args[0])
                return z3.If(a >= 0, a, -a)
            case sympy.sign():
                a = self.term(e.args[0])
                return z3.If(a > 0, z3.Q(1, 1), z3.If(a < 0, z3.Q(-1, 1), z3.Q(0, 1)))
            case sympy.Piecewise():
                return self._piecewise(e)
            case sympy.Float():
                raise Untranslatable(f"{e} is inexact: write an exact sympy.Rational instead")
        raise Untranslatable(f"{e} ({type(e).__name__}) is not algebraic: Z3 cannot decide it")

    def _power(self, e: sympy.Pow) -> z3.ArithRef:
        base, exponent, self.linear = self.term(e.base), e.exp, False
        if exponent.q != 1:
            root = z3.FreshReal("root")
            means = z3.And(root >= 0, z3.Product(*[root] * exponent.q) == base)
            self.definitions.append(z3.Implies(base >= 0, means))
            base = root
        power = z3.Product(*[base] * abs(exponent.p))
        return power if exponent > 0 else 1 / power

    def _extremum(self, e: Any) -> z3.ArithRef:
        # Numbers first, so that Max(z, 0) asks z >= 0: the very question that a case answers.
        # And in an order that does not change from run to run, for Z3's luck would change with it.
        ordered = sorted(e.args, key=lambda a: (not a.is_number, sympy.default_sort_key(a)))
        first, *others = map(self.term, ordered)
        if isinstance(e, sympy.Max):
            return reduce(lambda a, b: z3.If(b >= a, b, a), others, first)
        return reduce(lambda a, b: z3.If(b <= a, b, a), others, first)

    def _piecewise(self, e: sympy.Piecewise) -> z3.ArithRef:
        *others, last = e.args
        chain = self.term(last.expr)
        for piece in reversed(others):
            chain = z3.If(self.formula(piece.cond), self.term(piece.expr), chain)
        return chain

    def formula(self, e: Any) -> z3.BoolRef:
        """The Z3 formula of a SymPy relation or Boolean combination of relations."""
        if e in (sympy.true, sympy.false):
            return z3.BoolVal(bool(e))
        if type(e) in RELATIONS:
            return RELATIONS[type(e)](*map(self.term, e.args))
        if type(e) in CONNECTIVES:
            return CONNECTIVES[type(e)](*map(self.formula, e.args))
        raise Untranslatable(f"{e} is no relation: write sympy.Eq(left, right), left <= right ...")

    def condition(self, e: Any) -> z3.BoolRef:
        """The formula as something given: it holds, and all its terms have values."""
        return z3.And(self.formula(e), self.defined(e))

    def defined(self, e: Any) -> z3.BoolRef:
        """Where every term of ``e`` has a real value."""
        if isinstance(e, sympy.Piecewise):
            return self._defined_piecewise(e)
        parts = [self.defined(a) for a in e.args]
        if isinstance(e, sympy.Pow) and e.exp.is_Rational:
            base = self.term(e.base)
            parts += [base >= 0] if e.exp.q != 1 else []
            parts += [base != 0] if e.exp < 0 else []
        return z3.And(*parts)

    def _defined_piecewise(self, e: sympy.Piecewise) -> z3.BoolRef:
        value = z3.BoolVal(False)  # where no condition holds there is no value
        for piece in reversed(e.args):
            chosen = z3.If(self.formula(piece.cond), self.defined(piece.expr), value)
            value = z3.And(self.defined(piece.cond), chosen)
        return value
