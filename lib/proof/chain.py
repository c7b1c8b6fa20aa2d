"""The chain itself: steps are added one by one, and each is verified before it is kept."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from lib.claims import Evidence, Refuted, together
from lib.proof import ladder, numbers

ORDER = {"=", "≤", "<", "≥", ">"}
LIMIT = {"=", "→", "~"}
TEX = {"=": "=", "≤": r"\le", "<": "<", "≥": r"\ge", ">": ">", "→": r"\to", "~": r"\sim"}


class FalseStep(Refuted):
    """A step of a derivation is false: the message has its number, both sides, and a point."""


@dataclass(frozen=True)
class Step:
    """One verified line: its ``relation`` to the line before, and ``how`` it was verified."""

    relation: str
    expr: Any
    why: str
    how: str | None  # None: no proof was found, only sample points agree
    points: int = 0  # how many were compared
    towards: tuple | None = None  # of a limit: the variable and its point


@dataclass(frozen=True)
class Chain:
    """A derivation.  ``assuming`` holds relations between the symbols that every step may use.

    Symbols carry their own assumptions and must be declared real (``real=True``, ``positive=True``,
    ``integer=True`` …).  ``budget`` is the processor time in seconds for the proof of one step.

    Each method below returns the longer chain.  It raises :class:`FalseStep` when the step is
    false, and ValueError when it cannot follow the steps before it or cannot be evaluated.
    """

    first: Any
    assuming: tuple[Any, ...] = ()
    budget: float = 10.0
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", _real(self.first))

    @property
    def last(self) -> Any:
        """The expression that the next step continues from."""
        return self.steps[-1].expr if self.steps else self.first

    @property
    def kind(self) -> str:
        """``proved`` when each step is, else ``measured``."""
        return "measured" if any(step.how is None for step in self.steps) else "proved"

    def eq(self, expr: Any, why: str = "") -> "Chain":
        """Continue with ``= expr``, for every value of the symbols."""
        return self._ordered("=", expr, why)

    def le(self, expr: Any, why: str = "") -> "Chain":
        """Continue with ``≤ expr``."""
        return self._ordered("≤", expr, why)

    def lt(self, expr: Any, why: str = "") -> "Chain":
        """Continue with ``< expr``."""
        return self._ordered("<", expr, why)

    def ge(self, expr: Any, why: str = "") -> "Chain":
        """Continue with ``≥ expr``."""
        return self._ordered("≥", expr, why)

    def gt(self, expr: Any, why: str = "") -> "Chain":
        """Continue with ``> expr``."""
        return self._ordered(">", expr, why)

    def to(self, expr: Any, variable: sp.Symbol, point: Any, why: str = "") -> "Chain":
        """Continue with ``→ expr`` as ``variable → point`` (from above, where it is finite)."""
        return self._limiting("→", expr, self.last, expr, (variable, sp.sympify(point)), why)

    def sim(self, expr: Any, variable: sp.Symbol, point: Any, why: str = "") -> "Chain":
        """Continue with ``~ expr``: the ratio of the two tends to 1 as ``variable → point``."""
        ratio = self.last / sp.sympify(expr)
        return self._limiting("~", expr, ratio, 1, (variable, sp.sympify(point)), why)

    def _ordered(self, relation: str, expr: Any, why: str) -> "Chain":
        expr = self._admit(relation, expr)
        compared = numbers.compare(self.last, relation, expr, self.assuming)
        self._refuse(relation, expr, compared)
        if relation == "=":
            rungs = ladder.equality(self.last, expr, self.assuming)
        else:
            ends = (self.last, expr) if relation in "≤<" else (expr, self.last)
            rungs = ladder.inequality(*ends, relation in "<>", self.assuming)
        return self._add(Step(relation, expr, why, None, compared.points), rungs)

    def _limiting(
        self, relation: str, expr: Any, moving: Any, target: Any, towards: tuple, why: str
    ) -> "Chain":
        expr = self._admit(relation, expr, towards)
        moving, target = sp.sympify(moving), sp.sympify(target)
        compared = numbers.approach(moving, target, *towards)
        self._refuse(relation, expr, compared)
        variable, point = map(sp.latex, towards)
        arrow = rf"${variable} \to {point}{'^+' if towards[1].is_finite else ''}$"
        reason = f"{why}, {arrow}" if why else arrow
        step = Step(relation, expr, reason, None, compared.points, towards)
        return self._add(step, ladder.limit(moving, target, *towards))

    def _admit(self, relation: str, expr: Any, towards: tuple | None = None) -> Any:
        if len({step.towards for step in self.steps if step.towards} | {towards} - {None}) > 1:
            raise ValueError(f"step {len(self.steps) + 1}: one chain has one limit, not several")
        if relation == "→" and towards[0] in sp.sympify(expr).free_symbols:
            raise ValueError(f"step {len(self.steps) + 1}: the limit contains {towards[0]} itself")
        used = {step.relation for step in self.steps} | {relation}
        one_way = not (used & {"≤", "<"} and used & {"≥", ">"})
        if not (used <= LIMIT or (used <= ORDER and one_way)):
            raise ValueError(
                f"step {len(self.steps) + 1}: a chain of {' '.join(sorted(used))} concludes "
                "nothing; start a new chain"
            )
        return _real(expr)

    def _refuse(self, relation: str, expr: Any, compared: numbers.Comparison) -> None:
        if compared.false_at is None:
            return
        where = ", ".join(f"{s} = {v}" for s, v in compared.false_at.items())
        raise FalseStep(
            f"step {len(self.steps) + 1} is false: {_clip(self.last)} {relation} {_clip(expr)}; "
            f"at {_clip(where or 'every point')} the left side is {_short(compared.left)} "
            f"and the right side {_short(compared.right)}"
        )

    def _add(self, step: Step, rungs: list[ladder.Rung]) -> "Chain":
        try:
            how = ladder.climb(rungs, self.budget)
        except Refuted as refuted:  # Z3 found what the sample points missed
            raise FalseStep(f"step {len(self.steps) + 1} is false: {refuted}") from None
        return replace(self, steps=(*self.steps, replace(step, how=how)))

    def evidence(self) -> Evidence:
        """The chain as evidence: *proved* when each step is, else *measured* at sample points."""
        if not self.steps:
            raise ValueError("a chain without steps shows nothing: add .eq, .le, .to, …")
        engine = f"SymPy {sp.__version__}" + " and Z3" * any(s.how == "Z3" for s in self.steps)
        facts: dict[str, Any] = {"steps": len(self.steps), "engine": engine}
        if self.kind == "measured":
            open_steps = [step for step in self.steps if step.how is None]
            facts |= {"unproved": len(open_steps), "n": min(step.points for step in open_steps)}
            facts |= {"tolerance": float(numbers.AGREE), "seed": numbers.SEED}
        return Evidence(self.kind, facts, (self.latex(),))

    def latex(self) -> str:
        """Aligned LaTeX; under each line its mark, how it was verified, and the reason given."""
        lines = [rf"& {sp.latex(self.first)}"]
        for step in self.steps:
            mark = rf"\checkmark\ \text{{{step.how}}}" if step.how else r"\approx\ \text{points}"
            reason = rf"\text{{: {step.why}}}" if step.why else ""
            lines.append(rf"{TEX[step.relation]}\;& {sp.latex(step.expr)}")
            lines.append(rf"& \quad{{\scriptstyle {mark}{reason}}}")
        body = " \\\\\n".join(lines)
        return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"

    def _repr_latex_(self) -> str:
        return self.latex()


def identities(pairs: Iterable[tuple[Any, Any]]) -> Evidence:
    """Many equalities ``left = right``, too many to print: each is a chain of one step.

    Raises :class:`FalseStep` at the first false one; *proved* only when every one is.
    """
    evidence = together(*(Chain(left).eq(right).evidence() for left, right in pairs))
    facts = {"identities": evidence.facts.pop("steps"), **evidence.facts}
    return Evidence(evidence.kind, facts)


def _real(expr: Any) -> Any:
    expr = sp.sympify(expr)
    if vague := sorted(str(s) for s in expr.free_symbols if not s.is_real):
        raise ValueError(
            f"declare {', '.join(vague)} real (real=True, positive=True, …): "
            "over the complex numbers the step means something else"
        )
    return expr


def _clip(expr: Any, length: int = 50) -> str:
    text = str(expr)
    return text if len(text) <= length else text[: length - 1] + "…"


def _short(value: Any) -> str:
    if value is None:
        return "without a value"
    return str(value.tolist() if isinstance(value, sp.MatrixBase) else value.evalf(8))
