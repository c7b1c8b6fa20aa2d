"""The pattern task and the max-pooling network."""

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from lib.maxpool import (
    MaxPoolNet,
    PatternTask,
    exact_patches,
    noise_ball,
    noise_radius,
    pooled,
    present,
    rotated,
    rotation,
)
from lib.maxpool import task as task_module

TASKS = [PatternTask(3, 3, 2), PatternTask(4, 6, 3), PatternTask(5, 5, 4), PatternTask(6, 6, 2)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 4, 3), "l = 2: choose at least 3"),
        ((5, 4, 3), "l = 5 .* d = 4 .* choose l <= d"),
        ((4, 4, 1), "n = 1: choose at least 2"),
    ],
)
def test_sizes_that_make_no_task_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        PatternTask(*sizes)


def test_sizes_are_integers():
    with pytest.raises(TypeError, match=r"n = 2\.0: give an integer"):
        PatternTask(3, 3, 2.0)


@pytest.mark.parametrize("copies", [None, 3])
def test_an_input_has_one_patch_that_tells_its_label(copies):
    task = PatternTask(5, 7, 4)
    x, y, which = task.sample(50, generator(), copies=copies)
    lead = (50,) if copies is None else (3, 50)
    assert (x.shape, y.shape, which.shape) == ((*lead, 4, 7), lead, (*lead, 4))
    assert ((which < 2).sum(-1) == 1).all() and which.min() == 0 and which.max() == 4
    assert torch.equal(y == 1, (which == 0).any(-1)) and torch.equal(y == -1, (which == 1).any(-1))
    assert torch.equal(x.argmax(-1), which) and torch.equal(x.sum(-1), torch.ones(*lead, 4).to(x))
    assert x.max() == 1 and x.min() == 0


def test_every_input_is_equally_likely():
    task, m = PatternTask(4, 4, 3), 24_000
    rows, _ = task.points()
    count = Counter(map(tuple, task.sample(m, generator()).which.tolist()))
    assert set(count) == set(map(tuple, rows.tolist())) and len(count) == 24
    assert chisquare(list(count.values())).pvalue > 1e-3  # all 24 of them, m / 24 each


def test_copies_are_independent():
    """One copy tells nothing of the next: 4 pairs of labels, equally often in 10 000."""
    y = PatternTask(3, 3, 2).sample(10_000, generator(), copies=2).y
    assert chisquare(list(Counter(map(tuple, y.T.tolist())).values())).pvalue > 1e-3


def test_the_generator_decides_the_sample():
    task = PatternTask(6, 6, 5)
    first, again, other = (task.sample(20, generator(s), noise_radius) for s in (1, 1, 2))
    assert torch.equal(first.x, again.x) and not torch.equal(first.x, other.x)


def test_the_dtype_is_an_argument():
    x, y, which = PatternTask(4, 4, 3).sample(5, generator(), noise_ball, dtype=torch.float32)
    assert (x.dtype, y.dtype, which.dtype) == (torch.float32, torch.float32, torch.int64)


@pytest.mark.parametrize(("sizes", "name"), [({"m": 0}, "m"), ({"m": 2, "copies": 0}, "copies")])
def test_a_sample_holds_something(sizes, name):
    with pytest.raises(ValueError, match=f"{name} = 0: choose at least 1"):
        PatternTask(4, 4, 3).sample(generator=generator(), **sizes)


@pytest.mark.parametrize("task", TASKS)
def test_support_and_probabilities_count_the_inputs(task):
    rows, y = task.points()
    count = Counter(
        (label, frozenset(row)) for row, label in zip(rows.tolist(), y.tolist(), strict=True)
    )
    assert len(rows) == len(set(map(tuple, rows.tolist()))) == sum(count.values())
    assert set(task.support()) == set(count) and len(task.support()) == len(count)
    for label, patterns in task.support():
        assert task.probability(label, patterns) == Fraction(count[label, patterns], len(rows))


@pytest.mark.parametrize("patterns", [{0}, {1, 2}, {0, 1, 2}, {2, 3}, {0, 2, 3, 4}, {0, 9}, set()])
def test_what_is_off_the_support_has_probability_zero(patterns):
    assert PatternTask(5, 5, 3).probability(1, patterns) == 0


def test_a_label_is_plus_or_minus_one():
    with pytest.raises(ValueError, match="label = 0: give 1 or -1"):
        PatternTask(4, 4, 3).probability(0, {0, 2})


def test_what_is_too_much_to_list_is_refused():
    task = PatternTask(40, 40, 20)
    for listing in (task.support, task.points):
        with pytest.raises(ValueError, match="too many to list: choose l and n smaller"):
            listing()
    with pytest.raises(ValueError, match="2228224 inputs"):  # 2 · 17 · 2¹⁶, above 2²⁰
        PatternTask(4, 4, 17).points()


@pytest.mark.parametrize(("listing", "count"), [(PatternTask.support, 6), (PatternTask.points, 24)])
def test_as_many_as_the_limit_are_listed(monkeypatch, listing, count):
    task = PatternTask(4, 4, 3)
    monkeypatch.setattr(task_module, "AT_MOST", count)
    assert listing(task)
    monkeypatch.setattr(task_module, "AT_MOST", count - 1)
    with pytest.raises(ValueError, match=f"{count} .* too many"):
        listing(task)


@pytest.mark.parametrize(("noise", "power"), [(noise_ball, 5), (noise_radius, 1)])
def test_noise_has_its_law(noise, power):
    """The norm to the power d (to the power 1) is uniform, and the direction too: n = 4000."""
    v = noise((1000, 4, 5), generator(), torch.float64).flatten(0, 1)
    assert kstest((v.norm(dim=-1) ** power).numpy(), "uniform").pvalue > 1e-3
    u = v / v.norm(dim=-1, keepdim=True)
    assert u.mean(0).abs().max() < 5 / (4000 * 5) ** 0.5
    assert (u.T @ u / 4000 - torch.eye(5) / 5).abs().max() < 0.02


@pytest.mark.parametrize("noise", [noise_ball, noise_radius])
def test_the_patches_of_an_input_have_noise_of_their_own(noise):
    """Norms and directions of two patches, uncorrelated: 1000 inputs, 5 standard errors."""
    a, b = noise((1000, 2, 5), generator(), torch.float64).unbind(1)
    norms = torch.stack((a.norm(dim=-1), b.norm(dim=-1)))
    assert norms.corrcoef()[0, 1].abs() < 5 / 1000**0.5
    assert torch.cosine_similarity(a, b, dim=-1).mean().abs() < 5 / (5 * 1000) ** 0.5


@pytest.mark.parametrize("copies", [None, 2])
def test_noise_is_added_to_the_patterns(copies):
    task = PatternTask(4, 6, 3)
    x, _, which = task.sample(30, generator(), noise_radius, copies=copies)
    away = (x - task.patches(which)).norm(dim=-1)
    assert away.min() > 0 and away.max() <= 1


@pytest.mark.parametrize("copies", [None, 2])
def test_a_rotation_changes_nothing_that_a_rotated_network_sees(copies):
    sample = PatternTask(4, 6, 3).sample(8, generator(), noise_ball, copies=copies)
    turned = rotated(sample, generator(1))
    q = rotation(6, generator(1), copies=copies)
    w = torch.randn(5, 6, generator=generator(2), dtype=torch.float64)
    torch.testing.assert_close(pooled(w @ q, turned.x), pooled(w, sample.x))
    assert torch.equal(turned.y, sample.y) and torch.equal(turned.which, sample.which)


def test_rotations_are_orthogonal_and_uniform():
    """Without a choice of signs, the diagonal entries are mostly of one sign; n = 2000 copies."""
    q = rotation(4, generator(), copies=2000)
    torch.testing.assert_close(q @ q.mT, torch.eye(4).to(q).expand_as(q))
    assert q.mean(0).abs().max() < 5 / (2000 * 4) ** 0.5
    assert ((q**2).mean(0) - 1 / 4).abs().max() < 5 * (3 / 24 - 1 / 16) ** 0.5 / 2000**0.5


@pytest.mark.parametrize("copies", [None, 3])
def test_present_is_the_set_of_patterns(copies):
    task = PatternTask(6, 6, 4)
    which = task.sample(20, generator(), copies=copies).which
    held = present(which, 6)
    assert held.shape == (*which.shape[:-1], 6) and held.dtype == torch.bool
    for row, flags in zip(which.flatten(0, -2), held.flatten(0, -2), strict=True):
        assert set(row.tolist()) == set(flags.nonzero().flatten().tolist())


def test_a_network_worked_out_by_hand():
    """Channel 1 pools max(2, 3) = 3, channel 2 pools 0 since both overlaps are negative."""
    filters, x = [[1, 0], [0, -1]], [[[2, 1], [3, 5]]]
    assert pooled(filters, x).tolist() == [[3, 0]]
    assert MaxPoolNet(filters, [Fraction(1, 3), 7])(x).tolist() == [1]
    net = MaxPoolNet(torch.tensor(filters), torch.tensor([4, 7]))
    assert net(torch.tensor(x)).tolist() == [12]


entries = st.integers(-3, 3)


@given(st.lists(entries, min_size=6, max_size=6), st.lists(entries, min_size=14, max_size=14))
def test_tensors_and_exact_numbers_agree(outer, numbers):
    """Integers as small as these are exact in float64, too; max and sum by the definition."""
    filters, a = np.array(numbers[:6], dtype=object).reshape(3, 2), [Fraction(v) for v in outer[:3]]
    x = np.array(numbers[6:], dtype=object).reshape(2, 2, 2)
    net = MaxPoolNet(filters, a)
    said = net(x).tolist()
    assert net.tensors()(torch.tensor(x.tolist(), dtype=torch.float64)).tolist() == said
    defined = [
        sum(
            c * max(0, *(sum(v * u for v, u in zip(w, patch, strict=True)) for patch in point))
            for c, w in zip(a, filters, strict=True)
        )
        for point in x
    ]
    assert defined == said


def test_exact_networks_stay_exact():
    net = MaxPoolNet([[Fraction(1, 3), 0, 0]], [Fraction(3, 7)])
    out = net(exact_patches(torch.tensor([[0, 2], [1, 2]]), 3)).tolist()
    assert out == [Fraction(1, 7), 0] and isinstance(out[0], Fraction)


def test_copies_of_a_network_take_one_input_or_an_input_each():
    filters = torch.randn(3, 4, 6, generator=generator(), dtype=torch.float64)
    outer = torch.randn(3, 4, generator=generator(1), dtype=torch.float64)
    x = PatternTask(4, 6, 3).sample(7, generator(2), noise_ball, copies=3).x
    each = [MaxPoolNet(w, a)(one) for w, a, one in zip(filters, outer, x, strict=True)]
    torch.testing.assert_close(MaxPoolNet(filters, outer)(x), torch.stack(each))
    same = [MaxPoolNet(w, a)(x[0]) for w, a in zip(filters, outer, strict=True)]
    torch.testing.assert_close(MaxPoolNet(filters, outer)(x[0]), torch.stack(same))


def test_a_channel_that_pools_to_zero_does_not_learn():
    """As in the paper, where p_i(x) = 0 unless the largest overlap is positive."""
    filters = torch.tensor([[0.0, -1.0], [1.0, 0.0]], requires_grad=True)
    MaxPoolNet(filters, torch.ones(2))(torch.eye(2)[None]).sum().backward()
    assert filters.grad.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("filters", "outer"), [((3, 2), (2,)), ((3,), ()), ((4, 3, 2), (3,)), ((1, 1, 1, 1), (1, 1, 1))]
)
def test_shapes_must_fit(filters, outer):
    with pytest.raises(ValueError, match=r"give \(k, d\) and \(k,\)"):
        MaxPoolNet(torch.zeros(filters), torch.zeros(outer))


def test_tensors_and_exact_numbers_do_not_mix():
    with pytest.raises(TypeError, match="two tensors, or numbers for both"):
        MaxPoolNet(torch.zeros(1, 2), [1])
    with pytest.raises(TypeError, match=r"net\.tensors\(\), or exact_patches"):
        MaxPoolNet([[1, 2]], [1])(torch.zeros(1, 1, 2))
    with pytest.raises(TypeError, match=r"net\.tensors\(\), or exact_patches"):
        MaxPoolNet(torch.zeros(1, 2), torch.zeros(1))([[[1, 2]]])


def test_a_network_may_have_no_channel():
    net = MaxPoolNet(np.zeros((0, 3), dtype=object), [])
    assert net(exact_patches([[0, 1], [1, 2]], 3)).tolist() == [0, 0]


def test_exact_patches_are_integers():
    for index in product(range(3), repeat=2):
        patches = exact_patches(index, 3)
        assert all(type(v) is int for v in patches.flat)
        assert [list(row).index(1) for row in patches] == list(index)
