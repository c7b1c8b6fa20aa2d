"""Shattering, the exact VC dimension, and a network that learns nothing by fitting its sample."""

from fractions import Fraction
from itertools import product
from math import comb

import pytest
import sympy as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.maxpool import (
    PatternTask,
    exact_patches,
    interpolating_network,
    malicious_erm,
    malicious_error,
    meets,
    pattern_sets,
    seen,
    set_weights,
    shattering_network,
    shattering_points,
    shattering_weights,
    unseen_probability,
    vc_dimension,
    weighted_network,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def representatives(task, sets):
    """An input for each pattern set, its patterns in order and the last one repeated."""
    rows = [sorted(p) + [max(p)] * (task.n - len(p)) for p in sets]
    return exact_patches(rows, task.d)


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("last", [0, 1])
def test_shattering_points_are_inputs_that_all_meet_but_complements(n, last):
    which = shattering_points(n, last=last)
    support = {patterns for _, patterns in PatternTask(2 * n, 2 * n, n).support()}
    sets = [frozenset(row) for row in which.tolist()]
    assert which.shape == (2 ** (n - 1), n) and len(set(sets)) == len(sets)
    assert set(sets) <= support and all(row[-1] == last for row in which.tolist())
    spurious = [p - {last} for p in sets]
    for i, j in product(range(len(sets)), repeat=2):
        assert spurious[i].isdisjoint(spurious[j]) == (i + j == len(sets) - 1)


def test_which_pattern_a_bit_asks_for():
    assert shattering_points(3).tolist() == [[3, 5, 0], [3, 4, 0], [2, 5, 0], [2, 4, 0]]


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("last", [0, 1])
def test_every_labelling_has_its_network(n, last):
    x = exact_patches(shattering_points(n, last=last), 2 * n)
    labellings = list(product((1, -1), repeat=2 ** (n - 1)))
    assert len(labellings) == 2**2 ** (n - 1)
    for labels in labellings:
        assert shattering_network(labels)(x).tolist() == list(labels)


def test_random_labellings_of_more_points():
    for n, seed in product((4, 5, 6), range(3)):
        signs = 1 - 2 * torch.randint(2, (2 ** (n - 1),), generator=generator(seed))
        x = exact_patches(shattering_points(n), 2 * n)
        assert shattering_network(signs.tolist())(x).tolist() == signs.tolist()


def test_the_last_patch_may_differ_from_point_to_point():
    which = shattering_points(3)
    which[::2, -1] = 1
    labels = [1, 1, -1, 1]
    assert shattering_network(labels)(exact_patches(which, 6)).tolist() == labels


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_closed_form_solves_the_linear_system(n):
    size = 2 ** (n - 1)
    y = (1 - 2 * torch.randint(2, (size,), generator=generator(n))).tolist()
    matrix = sp.ones(size, size) - sp.eye(size)
    assert list(matrix.LUsolve(sp.Matrix(y[::-1]))) == shattering_weights(y)


def test_the_network_is_the_one_of_the_theorem():
    net = weighted_network([Fraction(1, 3), Fraction(-2)])
    third = Fraction(1, 3)
    assert net.filters.tolist() == [[0, 0, 0, third], [0] * 4, [0] * 4, [0, 0, 2, 0]]
    assert net.outer.tolist() == [1, 1, -1, -1]


def test_weights_for_the_labels_in_their_own_order_do_not_shatter():
    x, labels = exact_patches(shattering_points(3), 6), [1, -1, -1, -1]
    assert weighted_network(shattering_weights(labels[::-1]))(x).tolist() != labels


@pytest.mark.parametrize("labels", [[], [1], [1, 1, -1], [1] * 6])
def test_the_number_of_labels_is_a_power_of_two(labels):
    with pytest.raises(ValueError, match=rf"{len(labels)} labels: give 2\^\(n−1\)"):
        shattering_network(labels)


def test_labels_are_plus_or_minus_one():
    with pytest.raises(ValueError, match="label 0: every label is 1 or -1"):
        shattering_network([1, 0])


def test_shattering_takes_two_patches_and_a_pattern_for_the_last():
    with pytest.raises(ValueError, match="n = 1: choose at least 2"):
        shattering_points(1)
    with pytest.raises(ValueError, match="last = 2: the last patch holds pattern 0 or 1"):
        shattering_points(3, last=2)


SIZES = [(3, 2), (4, 2), (4, 3), (5, 3), (5, 9), (6, 4)]


@pytest.mark.parametrize(("l", "n"), SIZES)
def test_the_vc_dimension_is_the_rank_of_all_filters_on_the_support(l, n):  # noqa: E741
    sets = [patterns for _, patterns in PatternTask(l, l, n).support()]
    assert vc_dimension(l, n) == sp.Matrix(meets(sets, pattern_sets(l))).rank() == len(sets)


def test_the_vc_dimension_in_the_case_of_the_theorem():
    for n in range(2, 12):
        d = 2 * n
        assert vc_dimension(d, n) == 2 ** (d - 2) + comb(d - 2, n - 1) - 2
        assert vc_dimension(d, n) >= 2 ** (n - 1)
    assert vc_dimension(20, 10) == 310_762


@pytest.mark.parametrize(("l", "n", "name"), [(2, 5, "l = 2"), (5, 1, "n = 1")])
def test_the_vc_dimension_needs_a_task(l, n, name):  # noqa: E741
    with pytest.raises(ValueError, match=f"{name}: choose at least"):
        vc_dimension(l, n)


@pytest.mark.parametrize("l", [1, 2, 3, 4, 5])
def test_the_overlaps_of_all_sets_with_all_filters_are_unimodular(l):  # noqa: E741
    sets = pattern_sets(l)
    assert sp.Matrix(meets(sets, sets)).det() == (1 if l == 1 else -1)
    assert len(sets) == len(set(sets)) == 2**l - 1 and frozenset() not in sets


def test_meets_asks_whether_two_sets_meet():
    assert meets([{0}, {0, 2}], [{1}, {2}, {0, 1}]).tolist() == [[0, 0, 1], [0, 1, 1]]


@given(st.lists(st.integers(-5, 5), min_size=15, max_size=15))
def test_every_function_of_pattern_sets_has_its_network(numbers):
    values = dict(zip(pattern_sets(4), numbers, strict=True))
    task = PatternTask(4, 4, 4)
    net = interpolating_network(4, values)
    assert net(representatives(task, values)).tolist() == numbers
    assert all(type(v) is int for v in net.outer)


def test_the_weights_are_the_moebius_sums():
    values = {p: (7 * sum(p) + len(p)) % 11 - 5 for p in pattern_sets(4)}
    everything, weights = frozenset(range(4)), set_weights(4, values)
    for a in pattern_sets(4):
        parts = [b for b in [frozenset(), *pattern_sets(4)] if b <= a]
        total = sum((-1) ** len(a - b) * values.get(everything - b, 0) for b in parts)
        assert weights.get(a, 0) == -total
    assert all(weights.values()) and frozenset() not in weights


def test_every_labelling_of_the_support_has_its_network():
    task = PatternTask(4, 5, 3)
    sets = [patterns for _, patterns in task.support()]
    x = representatives(task, sets)
    for labels in product((1, -1), repeat=vc_dimension(4, 3)):
        net = interpolating_network(4, dict(zip(sets, labels, strict=True)), d=5)
        assert net(x).tolist() == list(labels)


def test_fractions_are_kept_and_unnamed_sets_are_zero():
    net = interpolating_network(3, {frozenset({0, 2}): Fraction(1, 3)})
    sets = pattern_sets(3)
    out = net(representatives(PatternTask(3, 3, 3), sets)).tolist()
    assert out == [Fraction(1, 3) if p == {0, 2} else 0 for p in sets]


@pytest.mark.parametrize("patterns", [set(), {3}, {0, -1}])
def test_a_value_belongs_to_a_set_of_the_patterns(patterns):
    with pytest.raises(ValueError, match="give one or more of 0, …, 2"):
        interpolating_network(3, {frozenset(patterns): 1})


def test_tables_of_all_sets_have_a_limit():
    for refused in (lambda: interpolating_network(21, {}), lambda: pattern_sets(0)):
        with pytest.raises(ValueError, match="choose 1 to 20 patterns"):
            refused()


@pytest.mark.parametrize("seed", range(3))
def test_the_malicious_network_is_right_on_the_sample_and_wrong_elsewhere(seed):
    task = PatternTask(6, 7, 4)
    sample = task.sample(25, generator(seed))
    net, (rows, y) = malicious_erm(task, sample), task.points()
    assert torch.equal(net.tensors()(sample.x), sample.y)
    out = net(exact_patches(rows, 7)).tolist()
    met = seen(sample)
    for value, label, row in zip(out, y.tolist(), rows.tolist(), strict=True):
        assert value == (label if frozenset(row) in met else -label)
    wrong = sum(value != label for value, label in zip(out, y.tolist(), strict=True))
    assert Fraction(wrong, len(rows)) == unseen_probability(task, sample) > Fraction(1, 10)


def test_a_sample_of_everything_leaves_nothing_to_be_wrong_about():
    task = PatternTask(4, 4, 3)
    rows, y = task.points()
    sample = task.sample(1, generator())._replace(which=rows, y=y)
    assert unseen_probability(task, sample) == 0


def test_a_malicious_network_needs_one_sample_of_its_task():
    task = PatternTask(5, 5, 3)
    with pytest.raises(ValueError, match="give one of them"):
        malicious_erm(task, task.sample(4, generator(), copies=2))
    sample = task.sample(1, generator())
    with pytest.raises(ValueError, match=r"patterns \[2, 3, 4\] .* give a sample of the task"):
        malicious_erm(task, sample._replace(which=torch.tensor([[2, 3, 4]])))
    with pytest.raises(ValueError, match="give a sample of the task"):
        malicious_erm(task, sample._replace(y=-sample.y))


@pytest.mark.parametrize(("l", "n", "m"), [(4, 3, 2), (3, 2, 3), (5, 3, 1), (4, 3, 0)])
def test_the_expected_error_is_the_mean_over_all_samples(l, n, m):  # noqa: E741
    task = PatternTask(l, l, n)
    support = [(p, task.probability(*p)) for p in task.support()]
    mean = Fraction(0)
    for drawn in product(support, repeat=m):
        weight, met = Fraction(1), {p for p, _ in drawn}
        for _, chance in drawn:
            weight *= chance
        mean += weight * sum(chance for p, chance in support if p not in met)
    assert malicious_error(task, m) == pytest.approx(float(mean), rel=1e-12)


def test_a_sample_does_not_have_fewer_than_no_inputs():
    with pytest.raises(ValueError, match="m = -1: choose at least 0"):
        malicious_error(PatternTask(4, 4, 3), -1)
