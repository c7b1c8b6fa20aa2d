"""Networks as functions of pattern sets, and both layers of Algorithm 1, against plain PyTorch."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC
from torch.nn.functional import softplus

from lib.maxpool import dynamics, subsets
from lib.maxpool.benchmark import plain_descent
from lib.maxpool.dynamics import (
    Hyperparameters,
    descended_outer,
    first_layer,
    gram,
    halves,
    hyperparameters,
    initial_network,
    layerwise_gradient_descent,
    lucky,
    lucky_probability,
    max_margin_outer,
)
from lib.maxpool.hardmargin import hard_margin
from lib.maxpool.network import MaxPoolNet, pooled
from lib.maxpool.task import PatternTask, Sample

TASK = PatternTask(4, 5, 3)
MILD = Hyperparameters(k=30, steps=4, rate=0.05, radius=0.3)  # strong nonlinearity, few channels


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def start(task=TASK, hyper=MILD, m=21, copies=None, seed=0):
    """A sample, its halves, and an initial network."""
    generator = seeded(seed)
    sample = task.sample(m, generator, copies=copies)
    return sample, halves(sample), initial_network(task, hyper, generator, copies=copies)


# --- functions of pattern sets


def test_disjoint_sums_are_what_they_say():
    table = torch.randn(2, 8, generator=seeded(), dtype=torch.float64)
    sums = subsets.disjoint_sums(table)
    for a in range(8):
        expected = sum(table[:, b] for b in range(8) if not a & b)
        torch.testing.assert_close(sums[:, a], expected)


def test_codes_forget_order_and_repetition():
    which = torch.tensor([[0, 2, 3], [3, 0, 2], [2, 0, 2], [1, 1, 1]])
    assert subsets.codes(which).tolist() == [13, 13, 5, 2]


@settings(max_examples=40)
@given(st.data())
def test_outputs_are_the_network_on_every_pattern_set_also_with_ties(data):
    """Integer filters, so that sums are exact and ties are common."""
    l, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))  # noqa: E741
    integers = st.lists(st.integers(-2, 2), min_size=k * l, max_size=k * l)
    filters = torch.tensor(data.draw(integers), dtype=torch.float64).view(k, l)
    outer = torch.tensor(data.draw(integers)[:k], dtype=torch.float64)
    for power in (1, 2):
        table = subsets.outputs(subsets.ranking(filters, l), outer, power=power)
        for code in range(1, 2**l):
            held = [p for p in range(l) if code >> p & 1]
            z = filters[:, held].amax(-1).clamp(min=0)
            assert table[code] == (outer * z**power).sum()
        assert table[0] == 0


def test_one_pattern_wins_even_where_two_are_equal():
    filters = torch.tensor([[1.0, 1.0, -1.0], [-1.0, -2.0, 0.0]], dtype=torch.float64)
    rank, code = subsets.ranking(filters, 3), torch.tensor([3, 4])
    won = subsets.pooled_gradients(rank, code, torch.tensor([2.0, 5.0], dtype=torch.float64))
    assert won[0].sum() == 2
    assert set(won[0, :2].tolist()) == {0.0, 2.0}
    assert (won[1] == 0).all()  # no overlap is positive


def test_pooled_sums_and_gradients_are_those_of_the_features():
    sample, _, (filters, _) = start(copies=2)
    c = torch.randn(2, 21, generator=seeded(1), dtype=torch.float64)
    filters.requires_grad_()
    sums = (pooled(filters, sample.x) * c[..., None]).sum(-2)
    expected = torch.autograd.grad(sums.sum(), filters)[0]
    rank, code = subsets.ranking(filters.detach(), 4), subsets.codes(sample.which)
    torch.testing.assert_close(subsets.pooled_sums(rank, code, c), sums)
    torch.testing.assert_close(subsets.pooled_gradients(rank, code, c), expected[..., :4])
    assert (expected[..., 4:] == 0).all()


def test_tables_are_for_one_to_twenty_four_patterns():
    for l in (0, 25):  # noqa: E741
        with pytest.raises(ValueError, match=f"l = {l}: tables of 2"):
            subsets.ranking(torch.zeros(1, 25), l)
    assert subsets.ranking(torch.zeros(1, 25), 24).tops.max() == 2**24 - 1


# --- the first layer


def test_the_first_layer_is_gradient_descent_by_autograd():
    sample, half, (filters, outer) = start(copies=3)
    states = list(first_layer(TASK, half, filters, outer, MILD))
    x = sample.x[:, :11]
    for steps, state in enumerate(states):
        short = Hyperparameters(MILD.k, steps, MILD.rate, MILD.radius)
        expected = plain_descent(x, half.first_y, filters, outer, short)
        torch.testing.assert_close(state.filters, expected, rtol=1e-12, atol=1e-14)
        outputs = state.table.gather(-1, half.first)
        torch.testing.assert_close(outputs, MaxPoolNet(expected, outer)(x))
    assert [state.step for state in states] == [0, 1, 2, 3, 4]
    assert (states[-1].filters - filters).abs().max() > 0.05  # it did move


def test_copies_are_independent_runs():
    sample, half, (filters, outer) = start(copies=3)
    together = [state.filters for state in first_layer(TASK, half, filters, outer, MILD)]
    alone = halves(Sample(*(part[1] for part in sample)))
    for batched, state in zip(
        together, first_layer(TASK, alone, filters[1], outer[1], MILD), strict=True
    ):
        torch.testing.assert_close(batched[1], state.filters)


def test_the_first_half_is_the_larger():
    sample = TASK.sample(7, seeded())
    half = halves(sample)
    assert half.first.tolist() == subsets.codes(sample.which).tolist()[:4]
    assert half.second_y.tolist() == sample.y.tolist()[4:]
    with pytest.raises(ValueError, match="m = 1: give at least 2"):
        halves(TASK.sample(1, seeded()))


def test_the_initial_network_is_uniform_on_a_sphere():
    """20 000 filters: the mean of w w' is r²/d times the identity, within 5 standard errors."""
    hyper = Hyperparameters(k=20_000, steps=1, rate=1.0, radius=0.5)
    filters, outer = initial_network(TASK, hyper, seeded())
    torch.testing.assert_close(filters.norm(dim=-1), torch.full((20_000,), 0.5).double())
    second = filters.T @ filters / 20_000 / 0.25
    assert (second - torch.eye(5) / 5).abs().max() < 5 * 0.3 / 20_000**0.5
    assert set(outer.tolist()) == {-1.0, 1.0}
    assert abs(outer.mean()) < 5 / 20_000**0.5


def test_hyperparameters_are_the_largest_of_the_theorem():
    hyper = hyperparameters(TASK, steps=3)
    assert hyper.k == 8 * 125 + 1
    assert hyper.rate == 1 / (4 * 1001 * 4)
    assert hyper.radius == hyper.rate / 200
    assert hyperparameters(TASK, dimension=4).k == 8 * 64 + 1
    assert hyperparameters(TASK, k=2000).k == 2000
    with pytest.raises(ValueError, match=r"k = 1000 channels: .* at least 1001"):
        hyperparameters(TASK, k=1000)
    with pytest.raises(ValueError, match="steps = 0"):
        hyperparameters(TASK, steps=0)


# --- the second layer


def test_inner_products_are_those_of_the_features(monkeypatch):
    sample, half, (filters, _) = start(copies=2)
    z = pooled(filters, sample.x[:, 11:])
    for chunk in (1, 100, 10_000):
        monkeypatch.setattr(dynamics, "CHUNK", chunk)
        torch.testing.assert_close(gram(TASK, filters, half.second), z @ z.mT)


def test_the_hard_margin_is_that_of_scikit_learn():
    """With every point also at its mirror image the free bias of its machine is zero."""
    generator = seeded(3)
    z = torch.randn(4, 12, 30, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (4, 12), generator=generator) * 2.0 - 1
    y = y.double()
    dual = hard_margin(z @ z.mT, y)
    weights = ((dual * y)[..., None] * z).sum(-2)
    assert (dual >= 0).all()
    for i in range(4):
        doubled = torch.cat([z[i], -z[i]]).numpy(), torch.cat([y[i], -y[i]]).numpy()
        machine = SVC(kernel="linear", C=1e8, tol=1e-10).fit(*doubled)
        np.testing.assert_allclose(weights[i], machine.coef_[0], rtol=1e-5, atol=1e-6)


def test_the_hard_margin_does_not_mind_scale_and_repeated_inputs():
    z = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    y = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    for scale in (1e-9, 1.0, 1e9):
        dual = hard_margin(scale**2 * z @ z.T, y)
        weights = (dual * y) @ z * scale
        expected = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64) / scale
        torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12 / scale)


@pytest.mark.parametrize("z", [[[1.0, 2.0], [1.0, 2.0]], [[0.0, 0.0], [1.0, 0.0]]])
def test_what_no_hyperplane_separates_is_refused(z):
    z = torch.tensor(z, dtype=torch.float64)
    with pytest.raises(ValueError, match="no hyperplane through 0 separates"):
        hard_margin(z @ z.T, torch.tensor([1.0, -1.0], dtype=torch.float64))


def test_the_limit_has_margin_one_on_the_second_half_and_least_norm():
    sample, half, (filters, outer) = start(copies=2)
    limit = max_margin_outer(TASK, filters, half)
    margins = half.second_y * MaxPoolNet(filters, limit)(sample.x[:, 11:])
    torch.testing.assert_close(margins.amin(-1), torch.ones(2).double())
    other = limit + 0.1 * outer  # any other separator with margin 1 is longer
    scaled = other / (half.second_y * MaxPoolNet(filters, other)(sample.x[:, 11:])).amin(-1, True)
    assert (scaled.norm(dim=-1) > limit.norm(dim=-1)).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_the_second_layer_is_gradient_descent_by_autograd(normalized):
    sample, half, (filters, outer) = start(copies=2)
    z, y, a = pooled(filters, sample.x[:, 11:]), half.second_y, outer.clone()
    for _ in range(40):
        a.requires_grad_()
        loss = softplus(-y * (z @ a[..., None])[..., 0]).mean(-1)
        move = torch.autograd.grad(loss.sum(), a)[0]
        a = (a - 3.0 * (move / loss[:, None] if normalized else move)).detach()
    found = descended_outer(TASK, filters, outer, half, 40, rate=3.0, normalized=normalized)
    torch.testing.assert_close(found, a)
    margins = half.second_y * (z @ a[..., None])[..., 0]
    assert (margins.amax() > 4) == normalized


def test_the_default_rate_of_the_second_layer_is_half_of_what_the_theorem_allows():
    _, half, (filters, outer) = start()
    given = descended_outer(TASK, filters, outer, half, 3, rate=4.0 * 30)
    assert torch.equal(descended_outer(TASK, filters, outer, half, 3), given)


def test_gradient_descent_goes_to_the_limit():
    """Theorem 5.1(1) and the theorem of Soudry et al.: the loss vanishes, the direction converges.

    At 100 times the default rate, where it still descends: the default needs as many more steps.
    """
    task = PatternTask(4, 4, 3)
    sample, hyper = task.sample(60, seeded(5), copies=3), hyperparameters(task)
    limit = layerwise_gradient_descent(task, sample, hyper, seeded(6))
    half, z = halves(sample), pooled(limit.filters, sample.x[:, 30:])

    def loss_and_angle(steps, **options):
        options = {"rate": 400 * hyper.k} | options
        a = descended_outer(task, limit.filters, limit.signs, half, steps, **options)
        margins = half.second_y * (z @ a[..., None])[..., 0]
        angle = torch.cosine_similarity(a, limit.outer, dim=-1).clamp(max=1).arccos()
        return torch.stack([softplus(-margins).mean(-1), angle])

    stages = [loss_and_angle(steps) for steps in (0, 100, 1000)]
    stages.append(loss_and_angle(1000, normalized=True))
    for earlier, later in itertools.pairwise(stages):
        assert (later < earlier).all()
    assert (stages[-1] < torch.tensor([[1e-30], [0.05]])).all()
    assert (loss_and_angle(5000, normalized=True)[1] < 0.01).all()  # the loss is 0 in float64


def test_algorithm_one_is_its_two_layers():
    sample = TASK.sample(20, seeded(1), copies=2)
    result = layerwise_gradient_descent(TASK, sample, MILD, seeded(2))
    start_, signs = initial_network(TASK, MILD, seeded(2), copies=2)
    *_, last = first_layer(TASK, halves(sample), start_, signs, MILD)
    assert torch.equal(result.start, start_)
    assert torch.equal(result.signs, signs)
    assert torch.equal(result.filters, last.filters)
    assert torch.equal(result.outer, max_margin_outer(TASK, last.filters, halves(sample)))
    walked = layerwise_gradient_descent(TASK, sample, MILD, seeded(2), second=9)
    expected = descended_outer(TASK, last.filters, signs, halves(sample), 9)
    assert torch.equal(walked.outer, expected)
    with pytest.raises(ValueError, match="steps = -1"):
        layerwise_gradient_descent(TASK, sample, MILD, seeded(2), second=-1)


def test_a_single_sample_needs_no_axis_of_copies():
    sample = TASK.sample(20, seeded(1))
    result = layerwise_gradient_descent(TASK, sample, MILD, seeded(2))
    outputs = MaxPoolNet(result.filters, result.outer)(sample.x)
    assert result.filters.shape == (30, 5)
    assert (sample.y * outputs)[10:].min() >= 1 - 1e-9


# --- lucky filters


def test_luck_is_to_win_over_all_but_the_other_discriminative_pattern():
    task = PatternTask(4, 4, 2)
    for order in itertools.permutations((-1.0, 1.0, 2.0, 3.0)):
        w = torch.tensor([order], dtype=torch.float64)
        for sign, own in ((1, 0), (-1, 1)):
            rivals = [order[p] for p in range(4) if p != 1 - own]
            won = order[own] == max(rivals) and order[own] > 0
            assert lucky(w, task, sign).tolist() == [won]
    assert not lucky(-torch.ones(1, 4), task).any()
    with pytest.raises(ValueError, match="sign = 0"):
        lucky(torch.ones(1, 4), task, 0)


@pytest.mark.parametrize("patterns", [3, 5, 8])
def test_lucky_probability_is_the_frequency(patterns):
    """200 000 filters in R^9, both classes: within 4.5 standard errors."""
    task = PatternTask(patterns, 9, 2)
    hyper = Hyperparameters(k=200_000, steps=1, rate=1.0, radius=1.0)
    filters, _ = initial_network(task, hyper, seeded(patterns))
    p = float(lucky_probability(patterns))
    for sign in (1, -1):
        frequency = lucky(filters, task, sign).double().mean().item()
        assert abs(frequency - p) < 4.5 * (p * (1 - p) / 200_000) ** 0.5


def test_lucky_probability_is_exact_for_three_patterns():
    """Two Gaussian overlaps: the first is the larger and positive in three octants of eight."""
    assert lucky_probability(3) == Fraction(3, 8)
    with pytest.raises(ValueError, match="l = 2"):
        lucky_probability(2)
