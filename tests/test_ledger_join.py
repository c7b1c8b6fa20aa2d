"""Rows and records joined: a status must not claim too much, and contradictions are errors."""

import pytest

from lib.ledger import LedgerError, ledger

SOURCES = ("paper", "source", "recalled", "derived")


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


def test_each_row_keeps_what_it_says_and_gets_its_own_checks():
    rows = [row("a", source=source, title=source.title()) for source in SOURCES]
    rows = [r | {"id": f"a-{k}"} for k, r in enumerate(rows)]
    checks = [record("a-1"), record("a-2", "measured")]
    joined = ledger(rows, checks)
    assert [{k: r[k] for k in ("id", "source", "title")} for r in joined] == rows
    assert [r["status"] for r in joined] == ["stated", "proved", "measured", "stated"]
    assert [r["checks"] for r in joined] == [[], checks[:1], checks[1:], []]


@pytest.mark.parametrize(
    ("rows", "records", "message"),
    [
        ([row("a")], [record("b")], "b, which is no row"),
        ([row("a"), row("a")], [], "share the id a"),
        ([row("a", uses=["z"])], [], "uses z"),
        ([row("a", uses=["b"]), row("b", uses=["a"])], [], "circle"),
        ([{"id": "a", "source": "hearsay"}], [], "hearsay"),
        ([{"id": "a"}], [], "a: source is None; choose one of"),
        ([row("a", reason="too hard")], [record("a")], "drop one"),
    ],
)
def test_contradictions_are_errors(rows, records, message):
    with pytest.raises(LedgerError, match=message):
        ledger(rows, records)
