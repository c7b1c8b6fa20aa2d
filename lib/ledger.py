"""The ledger: the rows of the papers, each with the status that its checks earned."""

from graphlib import CycleError, TopologicalSorter
from typing import Any

from lib.claims import KINDS

SOURCES = ("paper", "source", "recalled", "derived")


class LedgerError(ValueError):
    """The rows and the records of the ledger contradict each other."""


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
