"""lib.smt: proofs, exact counterexamples, and no answer where there is none."""

import math
import operator
from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.claims import Evidence, Refuted
from lib.smt import Counterexample, IllPosed, Undecided, Untranslatable, decide, translation

x, y, z = sp.symbols("x y z", real=True)
p = sp.Symbol("p", positive=True)
n = sp.Symbol("n", integer=True)
half = sp.Rational(1, 2)


# --- proofs


@pytest.mark.parametrize(
    ("claim", "assuming"),
    [
        (x**2 + y**2 >= 2 * x * y, []),
        (sp.Eq((x + y) ** 2, x**2 + 2 * x * y + y**2, evaluate=False), []),
        (sp.Abs(x + y) <= sp.Abs(x) + sp.Abs(y), []),
        (sp.Abs(sp.Max(x, 0) - sp.Max(y, 0)) <= sp.Abs(x - y), []),
        (sp.Eq(sp.Max(x, y) + sp.Min(x, y), x + y), []),
        (x**4 * y**2 + x**2 * y**4 + 1 >= 3 * x**2 * y**2, []),  # Motzkin: no sum of squares
        ((x + y + z) / 3 >= sp.cbrt(x * y * z), [x >= 0, y >= 0, z >= 0]),
        (sp.sqrt(x) <= (1 + x) / 2, [x >= 0]),
        (sp.Implies(x > 1, x**2 > x), []),
        (1 / x > 0, [x > 0]),
        (p + 1 / p >= 2, []),
        (n**2 + 1 > n, []),  # true for reals, hence for integers
    ],
)
def test_true_claims_are_proved(claim, assuming):
    evidence = decide(claim, assuming)
    assert evidence.kind == "proved"
    assert evidence.facts["cases"] == 1
    assert evidence.facts["engine"].startswith("Z3 ")


@pytest.mark.parametrize(
    ("sign", "claim"),
    [
        ("positive", lambda s: s + 1 > 1),
        ("negative", lambda s: s + 1 < 1),
        ("nonnegative", lambda s: s + 1 >= 1),
        ("nonpositive", lambda s: s + 1 <= 1),
        ("nonzero", lambda s: sp.Ne(s + 1, 1, evaluate=False)),
    ],
)
def test_the_sign_that_a_symbol_carries_is_used(sign, claim):
    carried = sp.Symbol("s", real=True, **{sign: True})
    assert decide(claim(carried)).kind == "proved"
    with pytest.raises(Refuted):
        decide(claim(x))


@pytest.mark.parametrize("sign", ["nonnegative", "nonpositive"])
def test_a_sign_that_admits_zero_admits_it(sign):
    carried = sp.Symbol("s", real=True, **{sign: True})
    with pytest.raises(Refuted, match="at s = 0"):
        decide(sp.Ne(carried**2 + 1, 1))


@pytest.mark.parametrize("claim", [sp.true, True, sp.Eq(x, x), sp.Le(1, 2)])
def test_a_claim_that_sympy_folds_to_true_is_proved(claim):
    assert decide(claim) == Evidence("proved", decide(x <= x).facts)


def test_cases_are_multiplied_and_counted():
    splits = [[x >= 0, x < 0], [y > 1, y <= 1, y >= 0], [z >= 0, z < 0]]
    assert decide(x**2 >= 0, cases=splits).facts["cases"] == 12


# --- refutations


@pytest.mark.parametrize(
    ("claim", "assuming", "message"),
    [
        (x**2 >= 1, [], "at x = 0: 0 ≥ 1 is false"),
        (x**2 > x, [x >= 1], "at x = 1: 1 > 1 is false"),
        (sp.Eq(sp.Abs(x), x), [], "at x = -1: 1 = -1 is false"),
        (x < 1, [sp.Eq(x**2, 2)], "at x = sqrt(2): sqrt(2) < 1 is false"),
        (p > half, [], "at p = 1/2: 1/2 > 1/2 is false"),
        (sp.And(x**2 >= 0, x**2 > 0), [], "at x = 0: 0 > 0 is false"),
        (sp.Implies(x > 2, x > 3), [], "at x = 3: 3 > 3 is false"),
        (sp.Or(x > 0, x < 0), [], "at x = 0: (x > 0) | (x < 0) is false"),
        (sp.false, [], "at every point: the claim is false"),
        (False, [sp.Eq(x, 7)], "at x = 7: the claim is false"),
        (n**2 > n, [], "at n = 0: 0 > 0 is false"),
    ],
)
def test_false_claims_are_refuted_at_an_exact_point(claim, assuming, message):
    with pytest.raises(Refuted) as caught:
        decide(claim, assuming)
    assert str(caught.value) == message
    assert sp.sympify(claim).xreplace(caught.value.point) == sp.false
    assert all(a.xreplace(caught.value.point) == sp.true for a in assuming)


def test_a_witness_may_be_the_root_of_a_polynomial():
    with pytest.raises(Counterexample) as caught:
        decide(x <= 1, [sp.Eq(x**3 - 3 * x + 1, 0)])
    root = caught.value.point[x]
    assert sp.minimal_polynomial(root, y) == y**3 - 3 * y + 1
    assert math.isclose(root, 2 * math.cos(2 * math.pi / 9), rel_tol=1e-12)


def test_a_zero_among_algebraic_numbers_is_recognised():
    with pytest.raises(Counterexample) as caught:
        decide(x**3 + 1 > 3 * x, [sp.Eq(x**3 - 3 * x + 1, 0)])
    assert caught.value.point[x].is_algebraic and not caught.value.point[x].is_Rational


def test_a_refutation_within_one_of_many_cases_is_found():
    with pytest.raises(Counterexample) as caught:
        decide(x * y <= 6, [x <= 3, y <= 3], cases=[[x >= 0, x < 0], [y >= 2, y < 2]])
    assert caught.value.point[x] * caught.value.point[y] > 6


def test_a_counterexample_that_sympy_denies_is_no_refutation(monkeypatch):
    monkeypatch.setitem(translation.RELATIONS, sp.Ge, operator.gt)  # a wrong translation
    with pytest.raises(Undecided, match="SymPy denies"):
        decide(x**2 >= 2 * x - 1)
    monkeypatch.setitem(translation.RELATIONS, sp.Le, operator.ge)  # and one of an assumption
    with pytest.raises(Undecided, match="SymPy denies"):
        decide(x < 3, [x <= 1])


def test_a_counterexample_in_the_reals_does_not_refute_a_claim_on_integers():
    with pytest.raises(Undecided, match="n = 1/2"):
        decide(n**2 >= n)


# --- no answer


def test_undecided_when_time_is_up():
    a, b, c = sp.symbols("a b c", real=True)
    hard = a**8 * b - c**5 * x**3 * y + x**9 * y**7 <= 3 * x**16 + y**16 + a**16 + b**16 + c**16 + 9
    with pytest.raises(Undecided, match=r"Z3 gave up.*cases.*time"):
        decide(hard, timeout=0.2)


def test_a_forgotten_case_is_an_error():
    with pytest.raises(IllPosed, match=r"split 2 .* forgets x = 1, y = 0"):
        decide(x >= x - y**2, [sp.Eq(x, 1)], cases=[[x > 0], [y > 0, y < 0]])


def test_a_case_may_rest_on_the_assumptions():
    assert decide(x * y >= 0, [x * y > 0], cases=[[x > 0, x < 0]]).facts["cases"] == 2


def test_a_case_forgets_where_its_terms_have_no_value():
    with pytest.raises(IllPosed, match="split 1 of the cases forgets x = 0"):
        decide(x**2 >= 0, cases=[[1 / x > 0, 1 / x <= 0]])


def test_an_empty_split_forgets_everything():
    with pytest.raises(IllPosed, match="split 1"):
        decide(x >= 1, cases=[[]])


@pytest.mark.parametrize("assuming", [[x > 1, x < 0], [p < 0], [1 / x > 0, sp.Eq(x, 0)]])
def test_contradictory_assumptions_prove_nothing(assuming):
    with pytest.raises(IllPosed, match="contradict"):
        decide(x > 5, assuming)


@pytest.mark.parametrize(
    ("claim", "where"),
    [
        (x / (x - 1) <= 7, "x = 1"),
        (sp.sqrt(x) >= 0, "x = -1"),
        (x ** sp.Rational(-1, 3) > 0, "x = 0"),
        (sp.Piecewise((x, x > 0), (0, x < 0)) <= x**2 + 1, "x = 0"),
        (sp.Piecewise((x, 1 / x > 0), (0, True)) <= x**2 + 1, "x = 0"),
    ],
)
def test_a_term_without_a_value_is_an_error(claim, where):
    with pytest.raises(IllPosed, match=f"no value at {where}"):
        decide(claim)


def test_a_branch_needs_a_value_only_where_it_is_taken():
    assert decide(sp.Piecewise((1 / x, x > 0), (0, True)) >= 0).kind == "proved"


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (sp.sin(x) <= 1, "sin"),
        (x <= sp.pi, "pi"),
        (x**y >= 0, "Pow"),
        (x <= 0.5, "exact sympy.Rational"),
        (x, "no relation"),
        (sp.Integer(1), "no relation"),
        (x < sp.Symbol("x", positive=True), "called x"),
        (sp.Eq(sp.Symbol("i", imaginary=True), x, evaluate=False), "real=True"),
    ],
)
def test_what_cannot_be_translated_is_refused(claim, message):
    with pytest.raises(Untranslatable, match=message):
        decide(claim)


# --- the translation, against arithmetic with fractions

rationals = st.fractions(-3, 3, max_denominator=4)


def _pairs(children):
    """Expressions together with the Python functions that compute them."""
    one = [
        (sp.Abs, abs),
        (sp.sign, lambda a: (a > 0) - (a < 0)),
        (lambda a: a**3, lambda a: a**3),
        (lambda a: 1 / (1 + a**2), lambda a: Fraction(1) / (1 + a**2)),
    ]
    two = [
        (operator.add, operator.add),
        (operator.mul, operator.mul),
        (sp.Max, max),
        (sp.Min, min),
        (
            lambda a, b: sp.Piecewise((a, b > 0), (b, a < -1), (2, True)),
            lambda a, b: a if b > 0 else b if a < -1 else 2,
        ),
    ]
    unary, binary = st.sampled_from(one), st.sampled_from(two)
    return st.one_of(
        st.builds(lambda f, a: (f[0](a[0]), lambda v: f[1](a[1](v))), unary, children),
        st.builds(
            lambda f, a, b: (f[0](a[0], b[0]), lambda v: f[1](a[1](v), b[1](v))),
            binary,
            children,
            children,
        ),
    )


leaves = st.one_of(
    st.sampled_from([(x, lambda v: v[0]), (y, lambda v: v[1])]),
    rationals.map(lambda q: (sp.Rational(q), lambda v: q)),
)


@given(st.recursive(leaves, _pairs, max_leaves=5), rationals, rationals)
@settings(max_examples=60, deadline=None)
def test_terms_have_the_value_that_python_computes(pair, a, b):
    term, compute = pair
    value, here = sp.Rational(Fraction(compute((a, b)))), [sp.Eq(x, a), sp.Eq(y, b)]
    assert decide(sp.Eq(term, value), here).kind == "proved"
    with pytest.raises(Refuted):
        decide(sp.Eq(term, value + 1), here)


@given(st.fractions(0, 9, max_denominator=5), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_rational_power_is_the_root_that_is_not_negative(base, root, power):
    term = x ** sp.Rational(power, root)
    assert decide(sp.Eq(term, sp.Rational(base**power)), [sp.Eq(x, base**root)]).kind == "proved"


RELATIONS = {
    sp.Eq: operator.eq,
    sp.Ne: operator.ne,
    sp.Lt: operator.lt,
    sp.Le: operator.le,
    sp.Gt: operator.gt,
    sp.Ge: operator.ge,
}
CONNECTIVES = {
    sp.And: lambda a, b, c: a and b and c,
    sp.Or: lambda a, b, c: a or b or c,
    sp.Xor: lambda a, b, c: a ^ b ^ c,
    sp.Equivalent: lambda a, b, c: a == b == c,
    sp.ITE: lambda a, b, c: b if a else c,
    lambda a, b, c: sp.Implies(a, sp.Not(b)): lambda a, b, c: not a or not b,
}


def _is_proved(claim, assuming):
    try:
        return decide(claim, assuming).kind == "proved"
    except Refuted:
        return False


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("a", [-1, 0, half])
def test_relations_mean_what_they_mean_in_python(relation, a):
    claim = relation(x, y, evaluate=False)
    assert _is_proved(claim, [sp.Eq(x, a), sp.Eq(y, 0)]) == RELATIONS[relation](a, 0)


@pytest.mark.parametrize("connective", CONNECTIVES)
@pytest.mark.parametrize("row", range(8))
def test_connectives_have_their_truth_table(connective, row):
    truth = [bool(row & bit) for bit in (1, 2, 4)]
    here = [sp.Eq(s, 1 if t else -1) for s, t in zip((x, y, z), truth, strict=True)]
    claim = connective(x > 0, y > 0, z > 0)
    assert _is_proved(claim, here) == CONNECTIVES[connective](*truth)
