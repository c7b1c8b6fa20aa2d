"""A check must be able to fail, and evidence must not claim more than was done."""

import math

import numpy as np
import pytest
import sympy as sp

from lib import claims
from lib.claims import (
    CounterfeitAccepted,
    Evidence,
    Refuted,
    certified,
    check,
    exhaustive,
    measured,
    observed,
    together,
)


@pytest.fixture
def emitted(monkeypatch):
    """The records that ``check`` files, caught before they reach a display."""
    records = []
    monkeypatch.setattr(claims, "emit", lambda name, bundle, **extra: records.append((name, extra)))
    return records


def even_numbers(step):
    return exhaustive(lambda k: (step * k) % 2 == 0, range(10))


def test_check_files_a_record_with_the_refused_counterfeit(emitted):
    check("even", even_numbers, 2, counterfeit=3, says="multiples of 3 are even")
    ((name, extra),) = emitted
    assert name == "check/even"
    assert extra["check"]["facts"] == {"cases": 10}
    assert extra["check"]["kind"] == "exhaustive"
    assert extra["check"]["counterfeit"]["witness"] == "case 2 fails: 1"


def test_check_with_a_scope_has_its_own_name(emitted):
    check("even", even_numbers, 2, counterfeit=3, says="x", scope="Depth 2, no bias")
    assert emitted[0][0] == "check/even/depth-2-no-bias"


def test_false_claim_is_refuted(emitted):
    with pytest.raises(Refuted, match="case 2"):
        check("even", even_numbers, 3, counterfeit=5, says="x")
    assert not emitted


def test_accepted_counterfeit_is_an_error(emitted):
    with pytest.raises(CounterfeitAccepted, match="multiples of 4"):
        check("even", even_numbers, 2, counterfeit=4, says="multiples of 4 are even")
    assert not emitted


def test_a_crash_on_the_counterfeit_is_no_refutation(emitted):
    def verify(n):
        return exhaustive(lambda k: k % n == 0, [0])

    with pytest.raises(ZeroDivisionError):
        check("even", verify, 2, counterfeit=0, says="division by zero")
    assert not emitted


def test_a_failed_assertion_on_the_counterfeit_is_no_refutation(emitted):
    def verify(n):
        assert n == 2
        return exhaustive(lambda k: True, [0])

    with pytest.raises(AssertionError) as error:
        check("even", verify, 2, counterfeit=3, says="x")
    assert not isinstance(error.value, Refuted | CounterfeitAccepted) and not emitted


def test_the_claim_is_not_its_own_counterfeit(emitted):
    with pytest.raises(ValueError, match="the claim itself"):
        check("even", even_numbers, 2, counterfeit=2, says="x")


def test_check_wants_evidence_and_words(emitted):
    with pytest.raises(TypeError, match="Evidence"):
        check("even", lambda n: True, 2, counterfeit=3, says="x")
    with pytest.raises(ValueError, match="says"):
        check("even", even_numbers, 2, counterfeit=3, says="")


def test_an_empty_set_of_cases_checks_nothing():
    with pytest.raises(ValueError, match="no cases"):
        exhaustive(lambda k: True, [])
    with pytest.raises(ValueError, match="no cases"):
        certified(lambda k: True, [], arithmetic="exact")


def test_measurement_refutes_what_lies_outside_its_tolerance():
    assert measured(1.04, 1, n=10, seed=0, atol=0.05).facts["tolerance"] == 0.05
    with pytest.raises(Refuted, match=r"1\.06"):
        measured(1.06, 1, n=10, seed=0, atol=0.05)
    with pytest.raises(Refuted):
        measured(float("nan"), 1, n=10, seed=0, atol=0.05)


@pytest.mark.parametrize("tolerance", [{}, {"atol": float("inf")}, {"rtol": -1}])
def test_measurement_needs_a_real_tolerance(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        measured(1, 1, n=10, seed=0, **tolerance)


def test_a_value_far_below_its_target_is_refuted_too():
    with pytest.raises(Refuted):
        measured(0, 1, n=10, seed=0, atol=0.1)


@pytest.mark.parametrize("value", ["False", "no", lambda: False, [False], None])
def test_what_is_no_truth_value_is_refused(value):
    for verify in (
        lambda: exhaustive(lambda case: value, [0]),
        lambda: observed(value, "", n=1, seed=0),
    ):
        with pytest.raises(TypeError, match="neither True nor False"):
            verify()


def test_truth_values_of_libraries_count():
    for true in (True, np.bool_(True), sp.true):
        assert observed(true, "", n=1, seed=0).kind == "measured"
    for false in (False, np.bool_(False), sp.false):
        with pytest.raises(Refuted):
            observed(false, "", n=1, seed=0)


def test_a_sample_is_not_empty():
    with pytest.raises(ValueError, match="at least one"):
        measured(1, 1, n=0, seed=0, atol=0.1)
    with pytest.raises(ValueError, match="at least one"):
        observed(True, "", n=0, seed=0)


def test_the_worst_error_shows_a_nan():
    assert claims.worst([0.1, 0.3, 0.2]) == 0.3
    assert math.isnan(claims.worst([0.1, math.nan, 0.2]))


def test_observation_must_name_its_sample():
    with pytest.raises(ValueError, match="seed"):
        observed(True, "", n=3)
    with pytest.raises(Refuted, match="crossed"):
        observed(False, "the curves crossed", n=3, seed=0)


def test_evidence_of_no_known_kind_is_refused():
    for kind in ("stated", "true"):
        with pytest.raises(ValueError, match="evidence"):
            Evidence(kind)


def test_joined_evidence_is_as_weak_as_its_weakest_part():
    joined = together(Evidence("proved", {"steps": 2}), Evidence("measured", {"n": 5, "seed": 1}))
    assert joined.kind == "measured"
    assert joined.facts == {"steps": 2, "n": 5, "seed": 1}
    assert together(*[Evidence("proved", {"steps": 2, "seed": 3})] * 3).facts == {
        "steps": 6,
        "seed": 3,
    }


def test_of_joined_measurements_the_one_nearest_to_its_tolerance_is_shown():
    near = measured(1.5, 1, atol=1, n=10, seed=0, what="near")
    far = measured(0.09, 0, atol=0.1, n=20, seed=0, what="far")
    for parts in ((near, far), (far, near)):
        facts = together(*parts).facts
        assert (facts["what"], facts["value"], facts["tolerance"]) == ("far", 0.09, 0.1)
        assert facts["n"] == 20  # its own: the parts may have looked at one sample


def test_summary_has_one_order_whatever_the_dict():
    facts = {"seed": 0, "engine": "SymPy", "steps": 1, "largest_share": 0.12345}
    expected = "1 step, SymPy, largest share 0.1235, seed 0"
    assert claims.summary(facts) == claims.summary(dict(reversed(facts.items()))) == expected
    assert claims.summary({"identities": 2}) == "2 identities"


def test_each_part_faces_the_counterfeit():
    def part(step):
        return lambda: even_numbers(step)

    assert claims.each(part(2), part(4)).facts == {"cases": 20}
    with pytest.raises(Refuted, match="case 2"):
        claims.each(part(3), part(5))
    with pytest.raises(CounterfeitAccepted, match="part 1 holds"):
        claims.each(part(2), part(3))
