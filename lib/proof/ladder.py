"""Then a proof: rungs from cheap to dear, climbed under a budget of processor time."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sympy as sp

Rung = tuple[str, Callable[[], bool]]

Z3_SECONDS = 20.0  # of the clock: a signal cannot interrupt Z3, so it keeps its own time


def climb(rungs: list[Rung], budget: float) -> str | None:
    """The name of the first rung that proves the step within ``budget`` seconds, else None."""
    try:
        with _processor_time(budget):
            return next((name for name, proves in rungs if proves()), None)
    except _OutOfTime:
        return None


def equality(left: Any, right: Any, assuming: tuple[Any, ...]) -> list[Rung]:
    """Ways to prove ``left = right``: the difference vanishes under ever dearer rewriting.

    SymPy rewrites generically, so an equality is proved where both sides have a value.
    """

    def vanishes(rewrite: Callable[[Any], Any]) -> Callable[[], bool]:
        return lambda: _is_zero(_entrywise(rewrite, (left - right).doit()))

    return [
        ("identical", lambda: left == right),
        ("evaluate", vanishes(lambda d: d)),
        ("expand", vanishes(sp.expand)),
        ("cancel", vanishes(sp.cancel)),
        ("Z3", lambda: _z3_proves(sp.Eq(left, right, evaluate=False), assuming)),
        ("trigonometry", vanishes(sp.trigsimp)),
        ("simplify", vanishes(sp.simplify)),
        ("exponentials", vanishes(lambda d: sp.simplify(d.rewrite(sp.exp)))),
    ]


def inequality(smaller: Any, larger: Any, strict: bool, assuming: tuple[Any, ...]) -> list[Rung]:
    """Ways to prove ``smaller ≤ larger`` (or ``<``): a sign that SymPy infers, or Z3."""

    def signed(rewrite: Callable[[Any], Any]) -> Callable[[], bool]:
        def proves() -> bool:
            gap = rewrite((larger - smaller).doit())
            return bool(gap.is_positive if strict else gap.is_nonnegative)

        return proves

    claim = sp.Lt(smaller, larger) if strict else sp.Le(smaller, larger)
    rewrites = (lambda d: d, sp.expand, sp.factor)
    return [
        *(("sign", signed(rewrite)) for rewrite in rewrites),
        ("Z3", lambda: _z3_proves(claim, assuming)),
        ("sign", signed(sp.simplify)),
    ]


def limit(moving: Any, target: Any, variable: sp.Symbol, point: Any) -> list[Rung]:
    """SymPy's Gruntz algorithm computes the limit (from above); it must be ``target``.

    With other symbols about, the answer holds for most of their values but perhaps not for all, so
    it proves nothing.
    """

    def proves() -> bool:
        if moving.free_symbols - {variable}:
            return False
        found = sp.limit(moving, variable, point, "+")
        return found == target or (found.is_finite and sp.simplify(found - target) == 0)

    return [("limit", proves)]


def _entrywise(rewrite: Callable[[Any], Any], value: Any) -> Any:
    return value.applyfunc(rewrite) if isinstance(value, sp.MatrixBase) else rewrite(value)


def _is_zero(value: Any) -> bool:
    return all(e == 0 for e in value) if isinstance(value, sp.MatrixBase) else value == 0


def _z3_proves(claim: Any, assuming: tuple[Any, ...]) -> bool:
    from lib.smt import Undecided, decide  # Z3 loads only where it is needed

    if any(isinstance(side, sp.MatrixBase) for side in claim.args):
        return False
    try:
        decide(claim, assuming, timeout=Z3_SECONDS)
    except (Undecided, ValueError):  # too hard, or beyond Z3's language: not a refutation
        return False
    return True


class _OutOfTime(BaseException):
    """Not an Exception, so that no library on the way swallows it."""


@contextmanager
def _processor_time(seconds: float) -> Iterator[None]:
    """Interrupt the block after ``seconds`` of this process's own time.

    Processor time, not the clock on the wall: a busy machine must not turn a proof into a
    measurement.  Signals reach only the main thread; elsewhere the block simply runs on.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
