"""The ledger: a status is computed from a check that ran and that could have failed.

A chapter calls :func:`check` with a verification, the claim, and a counterfeit of the claim.  The
same verification must accept the one and refute the other.  What it did is filed as a record
beside the cell's output; :func:`ledger` joins the records with the rows of the papers.  Nobody
types a status.
"""

import html
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from lib.glue import emit, show

KINDS = ("proved", "exhaustive", "certified", "measured", "stated")  # strongest first
SOURCES = ("paper", "source", "recalled", "derived")
MARKS = {"proved": "✓", "exhaustive": "∀", "certified": "=", "measured": "≈", "stated": "○"}


class Refuted(AssertionError):
    """The claim is false; the message is a witness.  No other exception counts as a refutation."""


class CounterfeitAccepted(AssertionError):
    """A verification let a statement pass that is known to be false, so it verifies nothing."""


class LedgerError(ValueError):
    """The rows and the records of the ledger contradict each other."""


@dataclass(frozen=True)
class Evidence:
    """What a verification did: its ``kind``, JSON-able ``facts``, and an optional display."""

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    latex: str = ""

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
    if not holds:
        raise Refuted(witness)
    return Evidence("measured", facts)


def together(*evidence: Evidence) -> Evidence:
    """Join the parts of one claim; the whole is only as strong as its weakest part."""
    if not evidence:
        raise ValueError("no evidence to join: pass at least one verification")
    weakest = max(evidence, key=lambda e: KINDS.index(e.kind))
    facts: dict[str, Any] = {}
    for part in evidence:
        for key, value in part.facts.items():
            count = isinstance(value, int) and key not in ("seed", "tolerance")
            facts[key] = facts.get(key, 0) + value if count else value
    return Evidence(weakest.kind, facts, "\n".join(e.latex for e in evidence if e.latex))


def _all_hold(holds: Callable[[Any], bool], cases: Iterable[Any]) -> int:
    count = 0
    for count, case in enumerate(cases, start=1):
        if not holds(case):
            raise Refuted(f"case {count} fails: {case}")
    if count == 0:
        raise ValueError("no cases to try: an empty check would accept anything")
    return count


# --- the check itself


def check(
    row: str,
    verify: Callable[[Any], Evidence],
    claim: Any,
    counterfeit: Any,
    *,
    says: str,
    scope: str = "",
) -> Evidence:
    """Verify ``claim``, see the same verification refute ``counterfeit``, and file the record.

    ``row`` is the ledger id; ``says`` puts the counterfeit in words; a non-empty ``scope`` says
    that only this part of the statement is checked here.

    Raises :class:`Refuted` when the claim is false, :class:`CounterfeitAccepted` when the
    counterfeit passes; any other error goes through unchanged, for it refutes nothing.
    """
    if not says:
        raise ValueError(f"{row}: say in words what the counterfeit claims (says=...)")
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
    if evidence.latex:
        show(evidence.latex)
    bundle = {"text/html": _verdict(record), "text/plain": _plain(record)}
    emit(name, bundle, check=record)
    return evidence


def _refutation(row: str, verify: Callable[[Any], Evidence], counterfeit: Any, says: str) -> str:
    try:
        verify(counterfeit)
    except Refuted as refuted:
        return str(refuted)
    raise CounterfeitAccepted(f"{row}: the check also accepts its counterfeit ({says})")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def label(kind: str, partial: bool) -> str:
    """The words of a status: its kind, and whether only a part of the statement is covered."""
    return f"{kind} in part" if partial else kind


def summary(facts: dict[str, Any]) -> str:
    """The facts of a record as one short line: ``2000 instances, exact rationals, seed 0``."""
    counted = ("steps", "cases", "instances", "points")
    words = []
    for key, value in facts.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        if key in counted:
            words.append(f"{shown} {key.rstrip('s') if value == 1 else key}")
        elif key in ("arithmetic", "engine", "what"):
            words.append(shown)
        else:
            words.append(f"{key} {shown}")
    return ", ".join(words)


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


# --- joining rows and records


def ledger(rows: list[dict[str, Any]], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each row the status that its records earn.

    The status is the strongest kind among the checks of the whole statement; where every check
    covers only a part, the strongest of those, with ``partial`` set.  A row without checks is
    *stated*.  Raises :class:`LedgerError` where rows and records contradict each other.
    """
    _consistent(rows, records)
    return [row | _status([r for r in records if r["row"] == row["id"]]) for row in rows]


def _status(checks: list[dict[str, Any]]) -> dict[str, Any]:
    if not checks:
        return {"status": "stated", "partial": False, "checks": []}
    whole = [c for c in checks if not c["scope"]]
    kind = min((c["kind"] for c in whole or checks), key=KINDS.index)
    return {"status": kind, "partial": not whole, "checks": checks}


def _consistent(rows: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    ids = [row["id"] for row in rows]
    checked = {record["row"] for record in records}
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise LedgerError(f"two rows share the id {twice[0]}: ids are permanent and unique")
    if unknown := sorted(checked - set(ids)):
        raise LedgerError(
            f"a check names {unknown[0]}, which is no row of a chapter's .yml: add it"
        )
    for row in rows:
        _consistent_row(row, set(ids), row["id"] in checked)
    try:
        tuple(TopologicalSorter({r["id"]: r.get("uses", []) for r in rows}).static_order())
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise LedgerError(f"claims use each other in a circle: {circle}") from None


def _consistent_row(row: dict[str, Any], ids: set[str], checked: bool) -> None:
    if row.get("source") not in SOURCES:
        raise LedgerError(f"{row['id']}: source is {row.get('source')!r}; choose one of {SOURCES}")
    if unknown := set(row.get("uses", [])) - ids:
        raise LedgerError(f"{row['id']} uses {sorted(unknown)[0]}, which is no row")
    if checked and row.get("reason"):
        raise LedgerError(f"{row['id']} has a check and a reason for having none: drop one")
