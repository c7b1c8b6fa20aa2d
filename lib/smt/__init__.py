"""Z3 over the reals: decide polynomial and piecewise-linear claims for *all* real values.

A claim is a SymPy relation, or a Boolean combination of relations, between polynomials,
fractions, roots, ``Abs``, ``Max``, ``Min``, ``sign`` and ``Piecewise`` of real symbols.  It is
proved, or refuted at a point that SymPy has checked exactly, or :class:`Undecided` is raised.

    >>> import sympy
    >>> x, y = sympy.symbols("x y", real=True)
    >>> decide(sympy.Abs(sympy.Max(x, 0) - sympy.Max(y, 0)) <= sympy.Abs(x - y)).kind
    'proved'
"""

from lib.smt.decision import decide
from lib.smt.errors import Counterexample, IllPosed, Undecided, Untranslatable

__all__ = ["Counterexample", "IllPosed", "Undecided", "Untranslatable", "decide"]
