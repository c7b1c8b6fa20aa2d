"""Checked derivations: true steps are proved, false ones fail with a point, unknown ones say so."""

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from lib.claims import Refuted
from lib.proof import Chain, FalseStep, ladder, numbers

a, b = sp.symbols("a b", positive=True)
x = sp.Symbol("x", real=True)
n = sp.Symbol("n", integer=True, positive=True)
k = sp.Symbol("k", integer=True)
t = sp.Symbol("t", real=True)


@pytest.mark.parametrize(
    "chain",
    [
        lambda: Chain((a + b) ** 2).eq(a**2 + 2 * a * b + b**2),
        lambda: Chain(sp.Sum(k, (k, 1, n))).eq(n * (n + 1) / 2),
        lambda: Chain(sp.Integral(sp.exp(-(x**2)), (x, -sp.oo, sp.oo))).eq(sp.sqrt(sp.pi)),
        lambda: Chain(sp.sin(x) ** 2).eq(1 - sp.cos(x) ** 2),
        lambda: Chain((sp.ones(3, 3) - sp.eye(3)).inv()).eq(sp.ones(3, 3) / 2 - sp.eye(3)),
        lambda: Chain(a * b).le((a**2 + b**2) / 2, "AM-GM").lt(a**2 + b**2),
        lambda: Chain(x**2 + 1).gt(x).ge(x - 1),
        lambda: Chain(sp.Max(a, b)).le(a + b),
        lambda: Chain(sp.sin(x) / x).to(1, x, 0),
        lambda: Chain(sp.log(1 + sp.exp(x))).sim(x, x, sp.oo),
        lambda: Chain(sp.exp(x)).to(sp.oo, x, sp.oo),
        lambda: Chain(sp.exp(-1 / x)).to(0, x, 0),
        lambda: Chain((x**2 - x) / x, assuming=(sp.Ne(x, 0),)).eq(x - 1),
        lambda: Chain(x, assuming=(x > 10,)).gt(9),
    ],
)
def test_true_steps_are_proved(chain):
    assert chain().kind == "proved"


@pytest.mark.parametrize(
    "chain",
    [
        lambda: Chain((a + b) ** 2).eq(a**2 + a * b + b**2),
        lambda: Chain(a).lt(a),
        lambda: Chain(x**2).le(x**3),
        lambda: Chain(x**2).gt(0),
        lambda: Chain(sp.sqrt(x**2)).eq(x),
        lambda: Chain(sp.eye(2)).eq(sp.ones(2, 2)),
        lambda: Chain(sp.eye(2)).eq(sp.eye(3)),
        lambda: Chain(sp.sin(x) / x).to(2, x, 0),
        lambda: Chain(sp.log(1 + sp.exp(x))).sim(2 * x, x, sp.oo),
        lambda: Chain(sp.Sum(k, (k, 1, n))).eq(n * (n - 1) / 2),
        lambda: Chain((x**2 - x) / x).eq(x - 1),  # no value at 0
        lambda: Chain(sp.Integral(1 / t**2, (t, x, 1))).eq(1 / x - 1),  # diverges for x < 0
        lambda: Chain(sp.exp(-x)).to(sp.oo, x, sp.oo),
        lambda: Chain(x**-2).to(-sp.oo, x, 0),
        lambda: Chain(sp.acos(sp.cos(a))).eq(a),
        lambda: Chain(sp.exp(x)).le(21),
        lambda: Chain(sp.factorial(n)).le(5040),
        lambda: Chain(sp.sin(sp.pi * x)).to(0, x, sp.oo),
        lambda: Chain(sp.Rational(1, 5) + 1 / sp.log(x)).to(0, x, sp.oo),
        lambda: Chain(1 / x).sim(x**-2, x, sp.oo),
        lambda: Chain((x - sp.Rational(1, 7)) ** 2).gt(0),
        lambda: Chain(sp.Integer(0)).lt((x - sp.Rational(1, 7)) ** 2),
    ],
)
def test_false_steps_fail(chain):
    with pytest.raises(FalseStep):
        chain()


def test_false_step_names_its_number_both_sides_and_a_point():
    with pytest.raises(FalseStep, match=r"step 2 is false: .*at x = .*left side is .*right side"):
        Chain((x + 1) ** 2).eq(x**2 + 2 * x + 1).eq(x**2 + x + 1)
    assert issubclass(FalseStep, Refuted)


def test_assumptions_are_used_and_needed():
    assert Chain(a * b, assuming=(a < 1,)).lt(b).kind == "proved"
    with pytest.raises(FalseStep):
        Chain(a * b).lt(b)


def test_contradictory_assumptions_are_refused():
    with pytest.raises(ValueError, match="consistent"):
        Chain(a, assuming=(a < -1,)).lt(b)


def test_without_a_proof_a_step_is_only_measured(monkeypatch):
    monkeypatch.setattr(ladder, "climb", lambda rungs, budget: None)
    evidence = Chain(a + b).eq(b + a).evidence()
    assert evidence.kind == "measured"
    assert {"n", "seed", "tolerance", "unproved"} <= evidence.facts.keys()
    assert r"\approx" in evidence.latex[0] and r"\checkmark" not in evidence.latex[0]


def test_an_endless_rung_is_cut_off():
    def forever():
        while True:
            sp.sqrt(2)

    assert ladder.climb([("forever", forever)], budget=0.1) is None
    assert ladder.climb([("at once", lambda: True), ("forever", forever)], budget=5) == "at once"


@pytest.mark.parametrize("assumption", [{}, {"extended_real": True}, {"complex": True}])
def test_symbols_that_may_not_be_real_are_refused(assumption):
    with pytest.raises(ValueError, match="declare z real"):
        Chain(sp.Symbol("z", **assumption))


def test_a_limit_with_other_symbols_about_is_measured():
    c = sp.Symbol("c", real=True)
    assert Chain(a * x / (x + 1)).to(a, x, sp.oo).kind == "measured"
    assert Chain((c - 7) * x / ((c - 7) * x + 1)).to(1, x, sp.oo).kind == "measured"


def test_one_chain_has_one_limit():
    with pytest.raises(ValueError, match="one limit"):
        Chain(1 / x + x).sim(x, x, sp.oo).to(0, x, 0)
    with pytest.raises(ValueError, match="contains x itself"):
        Chain(x + 1).to(x, x, 0)


def test_a_one_sided_limit_says_so():
    assert "0^+" in Chain(sp.Abs(x) / x).to(1, x, 0).latex()


def test_nothing_compared_is_an_error():
    with pytest.raises(ValueError, match="neither side"):
        Chain(sp.oo).eq(sp.oo)


def test_one_open_step_keeps_the_whole_chain_from_being_proved(monkeypatch):
    answers = iter([None, "expand"])
    monkeypatch.setattr(ladder, "climb", lambda rungs, budget: next(answers))
    chain = Chain(a + b).eq(b + a).eq(a + b)
    assert [step.how for step in chain.steps] == [None, "expand"]
    assert chain.kind == "measured"
    assert chain.evidence().facts["unproved"] == 1


def test_sample_points_respect_the_symbols():
    nonzero = sp.Symbol("y", real=True, nonzero=True)
    negative = sp.Symbol("m", negative=True)
    points = list(numbers.sample([x, nonzero, negative, n], ()))
    assert len(points) == numbers.POINTS
    assert all(p[nonzero] != 0 and p[negative] < 0 and p[n] >= 1 for p in points)
    assert 0 in {p[x] for p in points} and max(abs(p[x]) for p in points) > 10


def test_relations_that_conclude_nothing_are_refused():
    with pytest.raises(ValueError, match="concludes nothing"):
        Chain(a).le(a + b).ge(a)
    with pytest.raises(ValueError, match="concludes nothing"):
        Chain(x).le(x + a).to(a, x, 0)


def test_an_empty_chain_is_no_evidence():
    with pytest.raises(ValueError, match="without steps"):
        Chain(a).evidence()


def test_latex_marks_every_line():
    latex = Chain(a * b).le((a**2 + b**2) / 2, "AM-GM").lt(a**2 + b**2).latex()
    assert latex.count(r"\checkmark") == 2
    assert r"\le\;&" in latex and r"\text{: AM-GM}" in latex


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=5), st.integers(1, 9))
def test_a_changed_coefficient_never_passes(coefficients, change):
    polynomial = sum(c * x**i for i, c in enumerate(coefficients))
    changed = sp.expand(polynomial + change * x ** (len(coefficients) - 1))
    with pytest.raises(FalseStep):
        Chain(sp.factor(polynomial)).eq(changed)
