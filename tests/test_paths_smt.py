"""lib.paths.smt: the theorem is proved, its near misses refuted, and its symmetries are real."""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from lib.claims import Refuted
from lib.paths import smt
from lib.smt import decide


def _forward(weights, biases, x):
    """A chain in plain arithmetic: ``weights`` of the first neuron, then of each later one."""
    first, *later = weights
    z = sum(w * v for w, v in zip(first, x, strict=True)) + biases[0]
    for w, b in zip(later, biases[1:], strict=True):
        z = w * max(z, 0) + b
    return z


def _lifting(weights, biases):
    first, *later = weights
    phi = [*first, biases[0]]
    for w, b in zip(later, biases[1:], strict=True):
        phi = [w * v for v in phi] + [b]
    return phi[:-1]


def _read(witness, depth, inputs, prime):
    value = {str(s): Fraction(int(v.p), int(v.q)) for s, v in witness.items()}
    first = ["w1"] if inputs == 1 else [f"w1{i + 1}" for i in range(inputs)]
    weights = [[value[f"{w}{prime}"] for w in first]]
    weights += [value[f"w{k}{prime}"] for k in range(2, depth + 1)]
    biases = [value.get(f"b{k}{prime}", Fraction(0)) for k in range(1, depth)] + [Fraction(0)]
    x = [value["x"]] if inputs == 1 else [value[f"x{i + 1}"] for i in range(inputs)]
    return weights, biases, x


def _gap_distance_and_norm(witness, depth, inputs):
    w, b, x = _read(witness, depth, inputs, "")
    w_, b_, _ = _read(witness, depth, inputs, "'")
    distance = sum(abs(p - q) for p, q in zip(_lifting(w, b), _lifting(w_, b_), strict=True))
    return abs(_forward(w, b, x) - _forward(w_, b_, x)), distance, max(map(abs, x))


def _agree_in_sign(witness):
    value = {str(s): v for s, v in witness.items()}
    return all(v * value[f"{s}'"] >= 0 for s, v in value.items() if f"{s}'" in value)


# --- the theorem


@pytest.mark.parametrize(
    ("depth", "options", "cases"),
    [
        (2, {}, 32),
        (2, {"inputs": 2}, 64),
        (2, {"biases": False, "floor": 0}, 8),
        (3, {}, 1024),
        (3, {"biases": False, "floor": 0}, 64),
    ],
)
def test_the_theorem_is_proved(depth, options, cases):
    evidence = smt.main_theorem(depth, **options)
    assert evidence.kind == "proved"
    assert evidence.facts["cases"] == cases


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize(
    "wrong", [{"signs": False}, {"constant": sp.Rational(9, 10)}, {"floor": 0}, {"floor": "9/10"}]
)
def test_a_near_miss_is_refuted_by_a_chain_that_violates_it(depth, wrong):
    with pytest.raises(Refuted) as caught:
        smt.main_theorem(depth, **wrong)
    gap, distance, norm = _gap_distance_and_norm(caught.value.point, depth, 1)
    constant, floor = Fraction(str(wrong.get("constant", 1))), Fraction(wrong.get("floor", 1))
    assert gap > constant * max(norm, floor) * distance
    assert ("signs" in wrong) != _agree_in_sign(caught.value.point)


def test_no_constant_rescues_the_theorem_without_its_signs():
    with pytest.raises(Refuted) as caught:
        smt.main_theorem(2, inputs=2, biases=False, signs=False, constant=1000)
    gap, distance, _ = _gap_distance_and_norm(caught.value.point, 2, 2)
    assert gap > 0
    assert distance == 0


@pytest.mark.parametrize(("depth", "inputs"), [(1, 1), (0, 1), (2, 0)])
def test_a_chain_has_an_input_and_a_hidden_neuron(depth, inputs):
    with pytest.raises(ValueError, match="depth >= 2"):
        smt.main_theorem(depth, inputs=inputs)


def test_an_output_bias_changes_nothing():
    gap, bound, move, radius = sp.symbols("gap bound move radius", real=True)
    claim = sp.Abs(gap + move) <= bound + radius * sp.Abs(move)
    assert decide(claim, [sp.Abs(gap) <= bound, radius >= 1]).kind == "proved"


# --- what its statement is made of

rationals = st.fractions(-4, 4, max_denominator=4)


@given(st.lists(rationals, min_size=8, max_size=8))
def test_the_symbolic_chain_computes_the_network_and_its_lifting(numbers):
    theta = smt._parameters(3, 2, True, "")
    x = sp.symbols("x1 x2", real=True)
    at = {s: sp.Rational(v) for s, v in zip([*smt._flat(*theta), *x], numbers, strict=True)}
    weights, biases, inputs = _read(at, 3, 2, "")
    assert smt._preactivations(theta, x)[-1].xreplace(at) == _forward(weights, biases, inputs)
    assert sorted(p.xreplace(at) for p in smt._lifting(theta)) == sorted(_lifting(weights, biases))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_quadrants_are_the_sign_condition(mirrored):
    u, v = sp.symbols("u v", real=True)
    given = [u >= 0, v >= 0] if mirrored else []
    same = sp.Or(*smt._quadrants(u, v, True, mirrored))
    assert decide(sp.Equivalent(same, u * v >= 0), given).kind == "proved"
    anywhere = sp.Or(*smt._quadrants(u, v, False, mirrored))
    assert decide(anywhere, [u >= 0] if mirrored else []).kind == "proved"


def test_mirroring_costs_no_generality():
    u, v = sp.symbols("u v", real=True)
    both = sp.And(u >= 0, v >= 0)
    reached = sp.Or(both, both.xreplace({u: -u, v: -v}))
    assert decide(sp.Equivalent(reached, u * v >= 0)).kind == "proved"


def test_a_claim_without_the_symmetry_is_not_mirrored():
    theta, other = (smt._parameters(2, 1, True, prime) for prime in ("", "'"))
    (x,) = sp.symbols("x,", real=True)
    with pytest.raises(RuntimeError, match="change their signs"):
        smt._mirrored(theta[0][0][0] * x**2 <= 1, theta, other, [x])


# --- the lemma of one neuron, and the theorem that it yields


def test_the_relu_lemma_is_proved_in_one_case():
    assert smt.relu_neuron().facts["cases"] == 1


def test_the_relu_lemma_needs_the_signs():
    with pytest.raises(Refuted) as caught:
        smt.relu_neuron(signs=False)
    c, c_, z, z_ = caught.value.point.values()
    assert c * c_ < 0
    assert abs(c * max(z, 0) - c_ * max(z_, 0)) > abs(c * z - c_ * z_)


@pytest.mark.parametrize(("size", "rank"), [(s, r) for s in (1, 2, 3, 4) for r in range(1, s + 1)])
def test_the_pooling_lemma_is_proved(size, rank):
    assert smt.pooling_neuron(size, rank).kind == "proved"


def _ranked(values, rank):
    return sorted(values, reverse=True)[rank - 1]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=4))
def test_pooling_of_each_rank_is_that_entry_of_the_sorted_values(values):
    pooled = [smt.rho([sp.Integer(v) for v in values], k + 1) for k in range(len(values))]
    assert pooled == sorted(values, reverse=True)


def test_the_pooling_lemma_is_proved_together_with_its_homogeneity():
    assert smt.pooling_neuron(3, 2).facts["cases"] == 2


@pytest.mark.parametrize(("size", "rank"), [(2, 1), (2, 2), (3, 1), (4, 2)])
def test_the_pooling_lemma_needs_the_signs(size, rank):
    with pytest.raises(Refuted) as caught:
        smt.pooling_neuron(size, rank, signs=False)
    values = {str(s): v for s, v in caught.value.point.items()}
    z, z_ = ([values[f"y{i + 1}{prime}"] for i in range(size)] for prime in ("", "'"))
    gap = abs(1 * _ranked(z, rank) - (-1) * _ranked(z_, rank))  # with c = 1 and c' = -1
    assert gap > max(abs(1 * a - (-1) * b) for a, b in zip(z, z_, strict=True))


@pytest.mark.parametrize(("size", "rank"), [(1, 1), (3, 2)])
def test_the_identity_and_the_median_are_odd_and_need_no_signs(size, rank):
    assert smt.pooling_neuron(size, rank, signs=False).kind == "proved"


@pytest.mark.parametrize(("size", "rank"), [(0, 1), (3, 0), (3, 4)])
def test_a_pool_has_the_rank_that_it_returns(size, rank):
    with pytest.raises(ValueError, match="rank"):
        smt.pooling_neuron(size, rank)


def _network(t, x):
    """Two inputs, two ReLU, their maximum, a ReLU on it and on the first of them, and a skip."""
    h = [max(t[2 * i] * x[0] + t[2 * i + 1] * x[1] + t[4 + i], 0) for i in (0, 1)]
    g = max(t[8] * max(t[6] * h[0], t[7] * h[1]) + t[9] * h[0], 0)
    return t[10] * g + t[11] * x[0]


def _network_lifting(t):
    """Its coordinates, each after the number of the place (x_0, x_1, or the 1 of a bias)."""
    phi = [(0, t[11])]
    for i, tail in ((0, t[6] * t[8] * t[10]), (1, t[7] * t[8] * t[10]), (0, t[9] * t[10])):
        phi += [(place, w * tail) for place, w in enumerate((t[2 * i], t[2 * i + 1], t[4 + i]))]
    return phi


def _path_by_path(theta, other, x):
    pairs = zip(_network_lifting(theta), _network_lifting(other), strict=True)
    return sum(abs(p - q) * abs((*x, 1)[place]) for (place, p), (_, q) in pairs)


@given(
    st.lists(st.tuples(rationals, rationals), min_size=12, max_size=12),
    st.tuples(rationals, rationals),
)
def test_induction_bounds_a_branching_network_path_by_path(pairs, x):
    theta = [a for a, _ in pairs]
    other = [b if a * b >= 0 else -b for a, b in pairs]
    gap = abs(_network(theta, x) - _network(other, x))
    assert gap <= _path_by_path(theta, other, x)


def test_the_bound_path_by_path_is_attained():
    theta, other = ([Fraction(v)] * 12 for v in (2, 1))
    theta[7] = other[7] = Fraction(0)  # nothing is lost to the maximum
    gap = _network(theta, (1, 3)) - _network(other, (1, 3))
    assert gap == _path_by_path(theta, other, (1, 3)) > 0
