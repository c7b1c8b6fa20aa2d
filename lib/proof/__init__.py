"""Checked derivations: a chain of ``=``, ``≤``, ``<``, ``→`` and ``~`` steps, verified as written.

Each step is tried on numbers first, so a false one fails at once and shows a point where its
sides differ.  Then a ladder of proof methods is climbed, cheapest first, under a budget of
processor time.  A step that no rung proves is kept, marked ``≈``, and makes the whole chain
*measured*, not *proved*.

    >>> from sympy import symbols
    >>> a, b = symbols("a b", positive=True)
    >>> Chain((a + b) ** 2).eq(a**2 + 2 * a * b + b**2, "expand").ge(4 * a * b, "AM-GM").kind
    'proved'
"""

from lib.proof.chain import Chain, FalseStep, Step, identities

__all__ = ["Chain", "FalseStep", "Step", "identities"]
