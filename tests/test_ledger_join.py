"""Rows and records joined: a status must not claim too much, and contradictions are errors."""

import pytest

from lib.ledger import LedgerError, ledger


def row(id, **more):
    return {"id": id, "source": "derived", **more}


def record(id, kind="proved", scope=""):
    return {"row": id, "kind": kind, "scope": scope}


def test_status_is_the_strongest_check_of_the_whole_statement():
    records = [record("a", "measured"), record("a", "certified"), record("a", "proved", "depth 2")]
    (a,) = ledger([row("a")], records)
    assert (a["status"], a["partial"], len(a["checks"])) == ("certified", False, 3)


def test_a_check_of_a_part_never_claims_the_whole():
    (a,) = ledger([row("a")], [record("a", "proved", "depth 2")])
    assert (a["status"], a["partial"]) == ("proved", True)


def test_deleting_a_check_turns_its_row_grey():
    assert ledger([row("a")], [record("a")])[0]["status"] == "proved"
    assert ledger([row("a")], [])[0]["status"] == "stated"


@pytest.mark.parametrize(
    ("rows", "records", "message"),
    [
        ([row("a")], [record("b")], "b, which is no row"),
        ([row("a"), row("a")], [], "share the id a"),
        ([row("a", uses=["z"])], [], "uses z"),
        ([row("a", uses=["b"]), row("b", uses=["a"])], [], "circle"),
        ([{"id": "a", "source": "hearsay"}], [], "hearsay"),
        ([row("a", reason="too hard")], [record("a")], "drop one"),
    ],
)
def test_contradictions_are_errors(rows, records, message):
    with pytest.raises(LedgerError, match=message):
        ledger(rows, records)
