"""The ledger: a status is computed from a check that ran and that could have failed.

A chapter calls :func:`check` with a verification, the claim, and a counterfeit of the claim.  The
same verification must accept the one and refute the other.  What it did is filed as a record
beside the cell's output; :mod:`lib.ledger` joins the records with the rows of the papers.  Nobody
types a status.
"""

import html
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lib.glue import emit, show

KINDS = ("proved", "exhaustive", "certified", "measured", "stated")  # strongest first
COUNTED = ("steps", "identities", "cases", "instances")
ADDED = (*COUNTED, "unproved")  # facts that add up when the parts of a claim are joined
MARKS = {"proved": "✓", "exhaustive": "∀", "certified": "=", "measured": "≈", "stated": "○"}


class Refuted(AssertionError):
    """The claim is false; the message is a witness.  No other exception counts as a refutation."""


class CounterfeitAccepted(AssertionError):
    """A verification let a statement pass that is known to be false, so it verifies nothing."""


@dataclass(frozen=True)
class Evidence:
    """What a verification did: its ``kind``, JSON-able ``facts``, and an optional display."""

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    latex: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS[:-1]:
            raise ValueError(f"evidence cannot be {self.kind!r}; choose one of {KINDS[:-1]}")


# --- verifications: each returns Evidence or raises Refuted with a witness


def exhaustive(holds: Callable[[Any], bool], cases: Iterable[Any]) -> Evidence:
    """Try ``holds`` on every case of a finite set; the kind is *exhaustive*."""
    return Evidence("exhaustive", {"cases": _all_hold(holds, cases)})


def certified(
    holds: Callable[[Any], bool], cases: Iterable[Any], *, arithmetic: str, seed: int | None = None
) -> Evidence:
    """Try ``holds`` on sampled instances in exact or interval ``arithmetic``: *certified*.

    No rounding enters, so each instance is settled; nothing is said about the others.
    """
    facts = {"instances": _all_hold(holds, cases), "arithmetic": arithmetic}
    return Evidence("certified", facts if seed is None else facts | {"seed": seed})


def measured(
    value: float,
    target: float,
    *,
    n: int,
    seed: int,
    rtol: float = 0.0,
    atol: float = 0.0,
    what: str = "value",
) -> Evidence:
    """Compare a measured number with its target, within ``atol + rtol·|target|``: *measured*."""
    _sample_size(n)
    tolerance = atol + rtol * abs(target)
    if not math.isfinite(tolerance) or tolerance <= 0:
        raise ValueError("a measurement needs a positive, finite tolerance: pass rtol or atol")
    if not abs(value - target) <= tolerance:  # written so that NaN is refuted
        raise Refuted(f"{what} = {value:.6g}, not within {tolerance:.2g} of {target:.6g}")
    facts = {"what": what, "value": value, "target": target, "tolerance": tolerance}
    return Evidence("measured", facts | {"n": n, "seed": seed})


def observed(holds: bool, witness: str, **facts: Any) -> Evidence:
    """A yes/no observation of an experiment; ``facts`` must name ``n`` and ``seed``: *measured*."""
    if missing := {"n", "seed"} - facts.keys():
        raise ValueError(f"an observation must name its {', '.join(sorted(missing))}")
    _sample_size(facts["n"])
    if not _truth(holds):
        raise Refuted(witness)
    return Evidence("measured", facts)


def together(*evidence: Evidence) -> Evidence:
    """Join the parts of one claim; the whole is only as strong as its weakest part.

    Counts of steps and cases add up; of measurements the one stands that came nearest to its
    tolerance, with its own sample, for parts often look at the same one; of other facts the first
    that is given.  A counterfeit of the whole is refused as soon as one part refuses it: parts that
    need counterfeits of their own go to :func:`each`.
    """
    if not evidence:
        raise ValueError("no evidence to join: pass at least one verification")
    weakest = max(evidence, key=lambda e: KINDS.index(e.kind))
    facts: dict[str, Any] = {}
    for part in sorted(evidence, key=_strain, reverse=True):
        for key, value in part.facts.items():
            facts[key] = facts.get(key, 0) + value if key in ADDED else facts.get(key, value)
    return Evidence(weakest.kind, facts, sum((e.latex for e in evidence), ()))


def _strain(part: Evidence) -> float:
    """How much of its tolerance a measurement uses; 0 for other evidence."""
    facts = part.facts
    return abs(facts["value"] - facts["target"]) / facts["tolerance"] if "value" in facts else 0.0


def each(*parts: Callable[[], Evidence]) -> Evidence:
    """Join parts of a claim that stand or fall alike, so that each faces the counterfeit.

    Raises :class:`Refuted` when every part is refuted, and :class:`CounterfeitAccepted` when some
    hold and some do not.
    """
    outcomes = [_outcome(part) for part in parts]
    refuted = [o for o in outcomes if isinstance(o, Refuted)]
    if not refuted:
        return together(*outcomes)
    if len(refuted) < len(outcomes):
        held = next(k for k, o in enumerate(outcomes, start=1) if o not in refuted)
        raise CounterfeitAccepted(f"part {held} holds where another is refuted: {refuted[0]}")
    raise refuted[0]


def _outcome(part: Callable[[], Evidence]) -> Evidence | Refuted:
    try:
        return part()
    except Refuted as refuted:
        return refuted


def worst(errors: Iterable[float]) -> float:
    """The largest of some errors, NaN if one is NaN: Python's ``max`` would pass over it."""
    errors = list(errors)
    return math.nan if any(math.isnan(e) for e in errors) else max(errors)


def _sample_size(n: int) -> None:
    if not n >= 1:
        raise ValueError(f"n = {n}: a measurement needs at least one observation")


def _all_hold(holds: Callable[[Any], bool], cases: Iterable[Any]) -> int:
    count = 0
    for count, case in enumerate(cases, start=1):
        if not _truth(holds(case)):
            raise Refuted(f"case {count} fails: {_brief(case)}")
    if count == 0:
        raise ValueError("no cases to try: an empty check would accept anything")
    return count


def _truth(value: Any) -> bool:
    """A plain truth value: Python would also take a word, a function or a symbol for true."""
    if str(value) not in ("True", "False") or isinstance(value, str):
        raise TypeError(f"{value!r} is neither True nor False: let the check return a comparison")
    return bool(value)


def _brief(case: Any, length: int = 120) -> str:
    """A case in a few words: fractions as 3/2, and no more than fits on a line or two."""
    if isinstance(case, (list, tuple)):
        text = "(" + ", ".join(_brief(part, length // 2) for part in case) + ")"
    else:
        text = str(case)
    return text if len(text) <= length else text[: length - 1] + "…"


# --- the check itself


def check(
    row: str,
    verify: Callable[[Any], Evidence],
    claim: Any,
    counterfeit: Any,
    *,
    says: str,
    scope: str = "",
) -> None:
    """Verify ``claim``, see the same verification refute ``counterfeit``, and file the record.

    ``row`` is the ledger id; ``says`` puts the counterfeit in words; a non-empty ``scope`` says
    that only this part of the statement is checked here.

    Raises :class:`Refuted` when the claim is false, :class:`CounterfeitAccepted` when the
    counterfeit passes; any other error goes through unchanged, for it refutes nothing.
    """
    if not says:
        raise ValueError(f"{row}: say in words what the counterfeit claims (says=...)")
    if counterfeit is claim:
        raise ValueError(f"{row}: the counterfeit is the claim itself: change something")
    start = time.perf_counter()
    evidence = verify(claim)
    if not isinstance(evidence, Evidence):
        raise TypeError(f"{row}: verify must return Evidence, not {type(evidence).__name__}")
    witness = _refutation(row, verify, counterfeit, says)
    record = {
        "row": row,
        "kind": evidence.kind,
        "scope": scope,
        "facts": evidence.facts,
        "seconds": round(time.perf_counter() - start, 2),
        "counterfeit": {"says": says, "witness": witness},
    }
    name = f"check/{row}/{_slug(scope)}" if scope else f"check/{row}"
    for formula in evidence.latex:
        show(formula)
    bundle = {"text/html": _verdict(record), "text/plain": _plain(record)}
    emit(name, bundle, check=record)


def _refutation(row: str, verify: Callable[[Any], Evidence], counterfeit: Any, says: str) -> str:
    try:
        verify(counterfeit)
    except Refuted as refuted:
        return _brief(str(refuted), 200)
    raise CounterfeitAccepted(f"{row}: the check also accepts its counterfeit ({says})")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def label(kind: str, partial: bool) -> str:
    """The words of a status: its kind, and whether only a part of the statement is covered."""
    return f"{kind} in part" if partial else kind


SPOKEN = ("what", "arithmetic", "engine")  # the value says it all; other facts are named


def summary(facts: dict[str, Any]) -> str:
    """The facts of a record as one short line: ``2000 instances, exact fractions, seed 0``."""
    order = (*COUNTED, *SPOKEN, "value", "target", "tolerance", "n")
    first = [key for key in order if key in facts]
    return ", ".join(_fact(key, facts[key]) for key in [*first, *sorted(facts.keys() - order)])


def _fact(key: str, value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    if key in COUNTED:
        one = {"identities": "identity"}.get(key, key.removesuffix("s"))
        return f"{shown} {one if value == 1 else key}"
    return shown if key in SPOKEN else f"{key.replace('_', ' ')} {shown}"


def _plain(record: dict[str, Any]) -> str:
    status, fake = label(record["kind"], bool(record["scope"])), record["counterfeit"]
    return (
        f"{MARKS[record['kind']]} {record['row']}: {status} ({summary(record['facts'])})"
        f" — refused: {fake['says']}: {fake['witness']}"
    )


def _verdict(record: dict[str, Any]) -> str:
    kind, fake = record["kind"], record["counterfeit"]
    status = f"{MARKS[kind]} {label(kind, bool(record['scope']))}"
    scope = f" for {html.escape(record['scope'])}" if record["scope"] else ""
    return (
        f'<div class="verdict verdict-{kind}" data-row="{record["row"]}">'
        f"<strong>{status}</strong>{scope} <span>{html.escape(summary(record['facts']))}</span>"
        f'<div class="counterfeit">Refused: {html.escape(fake["says"])}. '
        f"<code>{html.escape(fake['witness'])}</code></div></div>"
    )
