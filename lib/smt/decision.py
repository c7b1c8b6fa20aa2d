"""Ask Z3 whether a claim can fail: believe a *no*, and have a *yes* checked."""

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import sympy
import z3

from lib.claims import Evidence
from lib.smt import witness
from lib.smt.errors import IllPosed, Undecided
from lib.smt.translation import Translation

PLAIN = (0, 1, -1, 2, -2, "1/2", "-1/2", 3, -3)  # the values that a reader likes best
POLISHING = 2.0  # seconds to look for a plainer counterexample


def decide(
    claim: Any,
    assuming: Iterable[Any] = (),
    *,
    cases: Sequence[Sequence[Any]] = (),
    timeout: float = 60.0,
) -> Evidence:
    """Prove ``claim`` for all real values that satisfy ``assuming``, or refute it.

    Assumptions that the symbols carry (``positive=True`` ...) count as well.  ``cases`` may help
    Z3: each entry lists constraints of which one always holds, such as ``[x >= 0, x < 0]``.  The
    claim is decided in every combination, once Z3 has proved that no case is forgotten.
    ``timeout`` is in seconds, for the whole call.

    Raises :class:`Counterexample`, a :class:`~lib.claims.Refuted` whose exact witness SymPy has
    checked, when the claim is false; :class:`Undecided` when Z3 gives up; :class:`IllPosed` when
    the assumptions contradict one another, a case is missing, or a term of the claim has no value
    (``1/x`` at 0); :class:`Untranslatable` for what Z3 cannot express.
    """
    deadline = time.monotonic() + timeout
    claim, assuming = sympy.sympify(claim), [sympy.sympify(a) for a in assuming]
    cases = [[sympy.sympify(case) for case in split] for split in cases]
    z = Translation([claim, *assuming, *itertools.chain(*cases)])
    fails, given = z3.Not(z.formula(claim)), [z.condition(a) for a in assuming]
    splits = [[z.condition(case) for case in split] for split in cases]
    _well_posed(z, given, splits, claim, deadline)
    for case in itertools.product(*splits):
        query = [*given, *case, fails]
        if (model := _solve(z, query, deadline)) is not None:
            raise witness.counterexample(claim, assuming, _polished(z, query, model))
    facts = {"engine": f"Z3 {z3.get_version_string()}", "cases": math.prod(map(len, splits))}
    return Evidence("proved", facts)


def _well_posed(z: Translation, given: list, splits: list, claim: Any, deadline: float) -> None:
    """Refuse a question that Z3 would answer without content."""
    if _solve(z, given, deadline) is None:
        raise IllPosed("the assumptions contradict one another, so that anything follows from them")
    for number, split in enumerate(splits, start=1):
        if at := _where(z, [*given, z3.Not(z3.Or(*split))], deadline):
            raise IllPosed(f"split {number} of the cases forgets {at}: add a case for it")
    if at := _where(z, [*given, z3.Not(z.defined(claim))], deadline):
        raise IllPosed(f"{claim} has no value at {at}: exclude it by an assumption")


def _where(z: Translation, formulas: list, deadline: float) -> str:
    """A point where all the formulas hold, in words; empty when there is none."""
    model = _solve(z, formulas, deadline)
    return "" if model is None else witness.show(_polished(z, formulas, model))


def _solve(z: Translation, formulas: list, deadline: float) -> z3.ModelRef | None:
    """A model of the formulas, or None when there is none."""
    answer, found = _ask(z, formulas, deadline - time.monotonic())
    if answer == z3.unknown:
        raise Undecided(f"Z3 gave up ({found}): split the claim into cases, or allow more time")
    return found if answer == z3.sat else None


def _ask(z: Translation, formulas: list, seconds: float) -> tuple[Any, Any]:
    """Z3's answer, with a model if there is one, else with its reason for not answering."""
    # Both are complete: the simplex method for linear terms, cylindrical cells for polynomials.
    solver = z3.SimpleSolver() if z.linear else z3.Tactic("qfnra-nlsat").solver()
    solver.set("timeout", max(1, int(1000 * seconds)))
    solver.add(*z.definitions, *formulas)
    answer = solver.check()
    return answer, solver.model() if answer == z3.sat else solver.reason_unknown()


def _polished(z: Translation, formulas: list, model: z3.ModelRef) -> witness.Point:
    """Trade a witness for a plainer one: fix variable after variable, where Z3 agrees at once."""
    stop = time.monotonic() + POLISHING
    for variable in z.variables.values():
        for value in PLAIN if time.monotonic() < stop else ():
            answer, found = _ask(z, [*formulas, variable == value], 0.1)
            if answer == z3.sat:
                formulas, model = [*formulas, variable == value], found
                break
    return witness.point(z, model)
