"""The ledger of the book as it was built: nothing unexplained, nothing weaker than it was."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "_build/html/ledger.json"

# A proof that no longer goes through leaves its row merely measured.  The build accepts that, for
# it is honest; the book does not, so what was once proved must stay proved: row and scope.
PROVED = {
    ("pm-jacobian", "the factorisation, on the example graph"),
    ("pm-one-pass", "the example graph, q = 1, 2, 3"),
    ("pm-neuron", "ReLU"),
    ("pm-neuron", "the largest of two and of three, the second of four"),
    ("pm-geodesic", "paths of three edges"),
    ("pm-main-chains", ""),
    ("pm-sign-needed", ""),
    ("pm-straight-line", ""),
    ("pm-three-pass", "one path of three edges"),
    ("pm-phi-cost", "the example graph, symbolic parameters"),
    ("pm-conservation", "the example graph, symbolic parameters"),
    ("mp-shattering-weights", ""),
    ("mp-basis", "l = 2, 3, 4, symbolic values"),
    ("mp-lucky-exact", "the integral, with L = l − 1"),
    ("mp-margin", "2 − 1 = 1"),
    ("mp-constant", "the product of the two bounds"),
    ("mp-linear", "one patch"),
    ("mp-linear-exact", "one patch"),
    ("ntk-c-star", "the two derivatives"),
    ("ntk-circulant", "each mode, any frequency"),
    ("ntk-critical-decay", "one layer, to second order"),
    ("ntk-critical-decay", "u and v for erf"),
    ("ntk-critical-exact", ""),
    ("ntk-critical-line", ""),
    ("ntk-critical-log-relu", "the angle after one layer"),
    ("ntk-critical-residual", "the coefficient, given that of χ"),
    ("ntk-diagonal", ""),
    ("ntk-divergence", "one eigenvector, all η, λ > 0"),
    ("ntk-dropout", "the algebra"),
    ("ntk-erf-dual", ""),
    ("ntk-flow", "one eigenvector"),
    ("ntk-kriging", "the weights at ε > 0, three inputs"),
    ("ntk-layernorm", "χ₁ of ReLU"),
    ("ntk-layernorm", "χ₁ of erf"),
    ("ntk-price", "the density"),
    ("ntk-q-star", "the two derivatives"),
    ("ntk-relu-bias", "q* and χ₁"),
    ("ntk-relu-dual", ""),
    ("ntk-residual", "one layer"),
    ("ntk-resonance", ""),
    ("ntk-slip-start", ""),
    ("ntk-two-eigenvalues", ""),
    ("lt-odd-even", "one neuron"),
    ("lt-one-of-two", "x and its mirror image"),
    ("lt-step", "(i), one neuron of each kind"),
    ("lt-step", "(ii), one neuron of each kind"),
    ("lt-price", ""),
    ("lt-concave", ""),
    ("lt-mistakes", ""),
    ("lt-clusters", "two neurons in each cluster"),
    ("lt-cap", "the formulas for d = 2 and 3"),
    ("lt-lockstep", "two neurons, two samples"),
    ("lt-coupled", "the kernel, in the plane"),
    ("lt-two-points", "both points have the same margin"),
    ("lt-two-points-parallel", ""),
    ("lt-monotone", "one neuron and two samples, in the plane"),
}


@pytest.fixture(scope="module")
def rows():
    assert LEDGER.exists(), "run `make book` first: the ledger is computed by the build"
    return json.loads(LEDGER.read_text(encoding="utf-8"))["rows"]


def test_every_row_of_every_chapter_is_in_the_ledger(rows):
    written = [
        row["id"]
        for file in sorted((ROOT / "chapters").glob("*.yml"))
        for row in yaml.safe_load(file.read_text(encoding="utf-8"))["rows"]
    ]
    assert sorted(row["id"] for row in rows) == sorted(written)


def test_no_row_is_grey_without_a_reason(rows):
    assert [r["id"] for r in rows if r["status"] == "stated" and not r["reason"]] == []


def test_every_check_refused_a_counterfeit_and_shows_a_witness(rows):
    for check in (check for row in rows for check in row["checks"]):
        assert check["counterfeit"]["says"] and check["counterfeit"]["witness"], check["row"]


def test_what_was_proved_stays_proved(rows):
    proved = {(c["row"], c["scope"]) for r in rows for c in r["checks"] if c["kind"] == "proved"}
    assert proved == PROVED


def test_measurements_name_sample_and_seed(rows):
    for check in (check for row in rows for check in row["checks"]):
        if check["kind"] == "measured":
            assert check["facts"]["n"] > 0 and "seed" in check["facts"], check["row"]


def test_a_companion_statement_is_never_printed_as_the_papers(rows):
    for row in rows:
        if row["source"] == "recalled":
            assert row["paper"] != "companion", f"{row['id']}: a companion statement is derived"
        if row["paper"] == "companion":
            assert row["source"] in ("derived", "source"), row["id"]
