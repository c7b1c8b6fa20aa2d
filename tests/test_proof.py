"""Checked derivations: true steps are proved, false ones fail with a point, unknown ones say so."""

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from lib.claims import Refuted
from lib.proof import Chain, FalseStep, ladder

a, b = sp.symbols("a b", positive=True)
x = sp.Symbol("x", real=True)
n = sp.Symbol("n", integer=True, positive=True)
k = sp.Symbol("k", integer=True)


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


def test_complex_symbols_are_refused():
    with pytest.raises(ValueError, match="declare z real"):
        Chain(sp.Symbol("z"))


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
