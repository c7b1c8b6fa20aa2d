"""The learners, the sample-size curves on patterns and on digit grids, and their sweeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.data import Images, digits
from lib.maxpool import curves, record_curves, record_grids
from lib.maxpool.curves import (
    LEARNERS,
    NOISES,
    Comparison,
    checked,
    compare,
    operations,
    pattern_curves,
    shares,
    turned,
)
from lib.maxpool.grids import grid_curves, grid_sample, picture
from lib.maxpool.learners import (
    Optimiser,
    conv_pool,
    conv_pool_patterns,
    initial,
    max_margin,
    mlp,
    mlp_width,
    train,
    wrong,
)
from lib.maxpool.paper_values import PAPER_VALUES
from lib.maxpool.recorded import EXPERIMENTS
from lib.maxpool.task import PatternTask, rotation
from lib.runs import records, settings
from lib.runs.plan import Plan

TASK = PatternTask(l=6, d=6, n=4)
QUICK = Comparison(channels=20, test=200, optimiser=Optimiser(steps=60, batch=16))
MLP_QUICK = replace(QUICK, learners=("MLP",))
OURS = ("pattern-curves", "patch-curves", "mlp-optimisers", "digit-grids", "mnist-grids")
RECORDED = [name for name in OURS if Plan(EXPERIMENTS[name]).record.exists()]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- the networks


def test_the_networks_are_their_formulas_in_plain_loops():
    x = torch.randn(2, 3, 4, 5, generator=seeded(), dtype=torch.float64)
    for network, inputs in ((conv_pool, 5), (mlp, 20)):
        filters, outer = (w.detach() for w in initial(2, 7, inputs, seeded(1), torch.float64))
        got = network([filters, outer], x)
        for s, i in np.ndindex(2, 3):
            views = x[s, i] if network is conv_pool else x[s, i].reshape(1, -1)
            units = [max(0.0, *(float(w @ v) for v in views)) for w in filters[s]]
            assert float(got[s, i]) == pytest.approx(
                float(outer[s] @ torch.tensor(units, dtype=torch.float64))
            )


@given(st.integers(1, 3), st.integers(1, 5), st.integers(2, 6), st.integers(0, 10**6))
def test_pooling_over_patterns_is_pooling_over_patches(copies, m, n, seed):
    """Values and gradients, with patterns that repeat and filters that all patterns close."""
    generator, task = seeded(seed), PatternTask(4, 5, n)
    patterns = rotation(5, generator, copies=copies)[:, :4]
    sample = task.sample(m, generator, copies=copies)
    x = turned(sample, rotation(5, seeded(seed), copies=copies))
    weights = initial(copies, 6, 5, generator, torch.float64)
    with torch.no_grad():
        weights[0][:, 0] = -patterns.sum(1)
    by_pattern = conv_pool_patterns([*weights, patterns], sample.which)
    by_patch = conv_pool(weights, x.x)
    torch.testing.assert_close(by_pattern, by_patch)
    grads = [torch.autograd.grad((out**2).sum(), weights) for out in (by_pattern, by_patch)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


@given(st.integers(1, 800), st.integers(2, 50), st.integers(3, 40))
def test_the_mlp_has_as_many_weights_to_half_a_unit(channels, n, d):
    gap = mlp_width(channels, n, d) * (n * d + 1) - channels * (d + 1)
    assert abs(gap) <= (n * d + 1) / 2 or mlp_width(channels, n, d) == 1
    assert mlp_width(500, 10, 20) == 52


def test_initial_weights_have_the_stated_variances():
    """200,000 and 1,000 draws: relative standard errors of a variance 0.3% and 4.5%."""
    filters, outer = (w.detach() for w in initial(1, 1000, 200, seeded()))
    assert float(filters.var()) * 200 == pytest.approx(1, rel=0.015)
    assert float(outer.var()) * 1000 == pytest.approx(1, rel=0.2)


def test_zero_outputs_count_as_negative():
    x = torch.zeros(1, 2, 1, 3)
    y = torch.tensor([[1.0, -1.0]])
    assert wrong(mlp, initial(1, 4, 3, seeded()), x, y).tolist() == [[True, False]]


# --- training


def data(copies=2, m=8):
    sample = TASK.sample(m, seeded(5), copies=copies)
    return sample.x, sample.y


def trained(x, y, sizes, optimiser=QUICK.optimiser):
    weights = initial(len(y), 10, TASK.d, seeded(3), torch.float64)
    train(conv_pool, weights, x, y, torch.tensor(sizes), optimiser, seeded(4))
    return [w.detach() for w in weights]


def test_a_step_of_adam_moves_each_weight_by_the_rate_against_its_gradient():
    x, y = data(copies=1, m=1)  # one example, so that every minibatch is the whole sample
    start = initial(1, 10, TASK.d, seeded(3), torch.float64)
    loss = torch.log1p(torch.exp(-y * conv_pool(start, x))).sum()
    grads = torch.autograd.grad(loss, start)
    ends = trained(x, y, [1], Optimiser(rate=0.5, steps=1, batch=7))
    for before, after, grad in zip(start, ends, grads, strict=True):
        sure = grad.abs() > 1e-4  # Adam divides by |gradient| + 1e-8
        expected = -0.5 * grad.sign()
        torch.testing.assert_close((after - before)[sure], expected[sure], rtol=1e-3, atol=0)
        assert (after == before)[grad == 0].all()


def test_a_copy_does_not_feel_the_others():
    x, y = data()
    other = x.clone()
    other[1] = other[1].flip(0)
    one, two = trained(x, y, [8, 8]), trained(other, y, [8, 8])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0][1], two[0][1])


def test_a_copy_sees_its_own_examples_only_and_all_of_them():
    x, y = data()
    spoilt = x.clone()
    spoilt[0, 3:] = torch.nan
    assert all(torch.isfinite(w).all() for w in trained(spoilt, y, [3, 8]))
    assert torch.isnan(trained(spoilt, y, [4, 8])[0][0]).any()


def test_training_lowers_the_loss_to_zero_errors():
    x, y = data(copies=3)
    weights = trained(x, y, [8] * 3, Optimiser(steps=200, batch=8))
    assert not wrong(conv_pool, weights, x, y).any()


# --- the linear learner


@pytest.mark.parametrize(("l", "n"), [(3, 2), (4, 3), (5, 3)])
def test_the_margin_on_the_whole_support_is_the_exact_one(l, n):  # noqa: E741
    """‖w‖² = 2n: the companion's sharpening of Proposition 6.1, and an oracle for the machine."""
    task = PatternTask(l, l, n)
    which, y = task.points()
    x = task.patches(which).flatten(1)
    machine = max_margin(x, y.double())
    assert machine.hard
    assert float(machine.normal @ machine.normal) == pytest.approx(2 * n, rel=2e-3)
    margins = y * (x @ machine.normal + machine.offset)
    assert float(margins.min()) == pytest.approx(1, abs=2e-3)
    assert not machine.wrong(x, y).any()


def test_what_no_hyperplane_separates_has_no_hard_margin():
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    y = torch.tensor([1.0, 1.0, -1.0, -1.0])
    machine = max_margin(x, y)
    assert not machine.hard
    assert machine.wrong(x, y).any()


def test_a_margin_too_narrow_for_the_softness_is_said_to_be_so():
    x, y = torch.tensor([[0.0], [0.1]]), torch.tensor([-1.0, 1.0])
    assert max_margin(x, y, softness=1e4).hard  # the dual weights are 200
    assert not max_margin(x, y, softness=10).hard


def test_a_sample_with_one_label_teaches_that_label():
    machine = max_margin(torch.eye(3), -torch.ones(3))
    x = torch.randn(5, 3, generator=seeded())
    assert not machine.wrong(x, -torch.ones(5)).any()
    assert machine.wrong(x, torch.ones(5)).all()


# --- curves


def test_patterns_are_turned_rows_and_the_patches_hold_them():
    turns = rotation(TASK.d, seeded(), copies=2)
    plain = TASK.sample(5, seeded(1), copies=2)
    sample = turned(plain, turns)
    for s in range(2):
        torch.testing.assert_close(sample.x[s], turns[s][plain.which[s]])


def test_shares_count_only_what_was_trained_on():
    test = torch.tensor([[True, False], [True, True]])
    training = torch.tensor([[True, False, True, True], [True, True, False, False]])
    got = shares(test, training, torch.tensor([1, 4]))
    assert [part.tolist() for part in got] == [[0.5, 1.0], [1.0, 0.5]]


@pytest.mark.parametrize("noise", NOISES)
def test_curves_have_their_shapes_and_come_out_again(noise):
    runs = [
        pattern_curves(TASK, (4, 30), 3, seeded(), noise=noise, comparison=QUICK) for _ in range(2)
    ]
    assert runs[0].test.shape == runs[0].train.shape == (len(LEARNERS), 2, 3)
    assert runs[0].hard.shape == (2, 3)
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))
    assert ((runs[0].test >= 0) & (runs[0].test <= 1)).all()
    assert (runs[0].train * torch.tensor([4, 30])[:, None] % 1 == 0).all()


def test_enough_examples_teach_the_max_pooling_network_everything():
    comparison = replace(QUICK, channels=50, optimiser=Optimiser(steps=150, batch=16))
    got = pattern_curves(PatternTask(8, 8, 6), (6, 80), 4, seeded(), comparison=comparison)
    assert (got.train == 0).all()
    assert (got.test[0, 1] == 0).all()
    assert (got.test[0, 0] > 0).any()
    assert (got.test[1:, 0] > 0.1).all()


def test_a_linear_machine_does_not_see_rotations():
    options = {"comparison": replace(QUICK, learners=("SVM",)), "dtype": torch.float64}
    both = [
        pattern_curves(TASK, (10, 40), 4, seeded(), noise="radius", rotated=turn, **options)
        for turn in (True, False)
    ]
    torch.testing.assert_close(both[0].test, both[1].test, rtol=0, atol=0.005)  # one test input
    assert (both[0].test > 0).any()


@pytest.mark.parametrize("rotated", [True, False])
def test_patterns_are_orthonormal_and_without_rotation_the_standard_basis(monkeypatch, rotated):
    seen = []
    monkeypatch.setattr(
        curves, "compare", lambda *samples, patterns, **_: seen.extend((*samples, patterns))
    )
    options = {"rotated": rotated, "dtype": torch.float64, "comparison": QUICK}
    pattern_curves(PatternTask(4, 6, 3), (5,), 2, seeded(), **options)
    training, test, patterns = seen[0], seen[1], seen[-1]
    torch.testing.assert_close(patterns @ patterns.mT, torch.eye(4).double().expand(2, 4, 4))
    assert torch.equal(patterns, torch.eye(4, 6).expand(2, 4, 6)) is not rotated
    for sample, m in ((training, 5), (test, 200)):
        assert sample.x.shape == (2, m, 3, 6)
        torch.testing.assert_close(sample.x[1], patterns[1][sample.which[1]])


def test_the_softness_of_a_comparison_reaches_the_machine():
    alone = replace(QUICK, learners=("SVM",))
    hard = [
        pattern_curves(TASK, (40,), 3, seeded(), comparison=replace(alone, softness=c)).hard
        for c in (10.0, 1e-3)
    ]
    assert hard[0].all()
    assert not hard[1].any()


def test_learners_learn_from_the_training_sample():
    """Where it has but one label, they give the test inputs that label."""
    training, test = (TASK.sample(m, seeded(m), copies=2) for m in (30, 300))
    one_sided = training._replace(y=torch.ones_like(training.y))
    got = compare(one_sided, test, (30,), 2, seeded(), QUICK)
    assert (got.train == 0).all()
    negative = (test.y < 0).double().mean(1)
    torch.testing.assert_close(got.test[2, 0], negative)
    assert (got.test[:2, 0] > 0.4).all()


def test_pooling_over_patterns_learns_what_pooling_over_patches_learns():
    turns = rotation(TASK.d, seeded(), copies=4)
    samples = [turned(TASK.sample(m, seeded(m), copies=4), turns) for m in (12, 300)]
    comparison = replace(QUICK, learners=("ConvPool",))
    runs = [
        compare(*samples, (6, 12), 2, seeded(9), comparison, patterns=patterns)
        for patterns in (None, turns[:, : TASK.l])
    ]
    torch.testing.assert_close(runs[0].test, runs[1].test, rtol=0, atol=1.5 / 300)
    assert (runs[0].test > 0).any()


def test_one_learner_alone_draws_no_other():
    got = pattern_curves(TASK, (5,), 2, seeded(), comparison=MLP_QUICK)
    assert got.test.shape == (1, 1, 2)
    assert got.hard.all()


def test_operations_count_a_weight_once_for_each_use():
    one = Comparison(channels=3, test=10, optimiser=Optimiser(steps=2, batch=5))
    mlp_alone = replace(one, learners=("MLP",))
    assert operations(mlp_alone, n=7, d=4) == 2 * (3 * 2 * 5 + 10) * 3 * 5
    assert operations(one, n=7, d=4) == 8 * operations(mlp_alone, n=7, d=4)


# --- digit grids

FAKE = torch.arange(40.0).reshape(20, 1, 1, 2), torch.arange(20) % 10  # image i shows digit i % 10


def test_a_grid_holds_one_decisive_digit_that_gives_its_label():
    sample = grid_sample(*FAKE, 500, seeded(), copies=2)
    shown = FAKE[1][sample.which]
    assert sample.x.shape == (2, 500, 4, 2)
    assert torch.equal((shown == 5).sum(-1), (sample.y == 1).long())
    assert torch.equal((shown == 3).sum(-1), (sample.y == -1).long())
    assert torch.equal(sample.x, FAKE[0].flatten(1)[sample.which])


def test_labels_places_and_images_are_uniform():
    """4,000 grids: 5 standard errors are 0.04 for labels, 0.035 for places."""
    sample = grid_sample(*FAKE, 4000, seeded())
    assert abs(float(sample.y.mean())) < 0.08
    decisive = (FAKE[1][sample.which] % 10 == torch.where(sample.y > 0, 5, 3)[:, None]).double()
    assert (decisive.mean(0) - 0.25).abs().max() < 0.035
    counts = torch.bincount(sample.which.flatten(), minlength=20)
    spurious = counts[(FAKE[1] != 3) & (FAKE[1] != 5)] / counts.sum()
    assert (spurious - 3 / 4 / 16).abs().max() < 0.01


def test_a_picture_puts_the_patches_side_by_side():
    patches = torch.arange(48).reshape(4, 12)  # two channels of 2 by 3 pixels
    image = picture(patches, (2, 2, 3))
    assert image.shape == (2, 4, 6)
    quarters = image[:, :2, :3], image[:, :2, 3:], image[:, 2:, :3], image[:, 2:, 3:]
    for quarter, patch in zip(quarters, patches, strict=True):
        assert torch.equal(quarter.flatten(), patch)
    assert picture(patches.expand(5, 7, 4, 12), (2, 2, 3)).shape == (5, 7, 2, 4, 6)


def test_grids_learn_from_training_images_and_are_tested_on_the_others():
    """Where the held-out 5s are called 3s and the other way round, all is learnt wrongly."""
    images = digits(seeded(), test=600)
    swapped = images.test_y.clone()
    swapped[images.test_y == 5], swapped[images.test_y == 3] = 3, 5
    comparison = replace(QUICK, channels=40, learners=("ConvPool",))
    right, false = (
        grid_curves(Images(*images[:3], y), (300,), 1, seeded(), comparison=comparison).test
        for y in (images.test_y, swapped)
    )
    assert float(right) < 0.15
    assert float(false) > 0.85


# --- what is refused


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Optimiser(rate=0.0), "rate = 0.0: choose a positive"),
        (lambda: Optimiser(rate=float("nan")), "rate = nan: choose a positive"),
        (lambda: Optimiser(steps=-1), "steps = -1: choose at least 0"),
        (lambda: Optimiser(batch=0), "batch = 0: choose at least 1"),
        (lambda: Comparison(channels=0), "channels = 0: choose at least 1"),
        (lambda: Comparison(softness=0.0), "softness = 0.0: choose a positive"),
        (lambda: Comparison(learners=("CNN",)), r"learners = \('CNN',\): choose some of"),
        (lambda: Comparison(learners=()), r"learners = \(\): choose some of"),
        (lambda: checked((), 1), r"sizes = \(\): choose"),
        (lambda: checked((0, 2), 1), r"sizes = \(0, 2\): choose"),
        (lambda: checked((2,), 0), "seeds = 0: choose at least 1"),
        (lambda: pattern_curves(TASK, (5,), 1, seeded(), noise="cube"), "noise = 'cube': choose"),
        (lambda: grid_sample(*FAKE, 0, seeded()), "m = 0: choose at least 1"),
        (lambda: grid_sample(*FAKE, 2, seeded(), decisive=(5, 12)), "no image shows the digit 12"),
        (lambda: record_curves.CurveConfig(noises=()), r"noises = \(\): choose at least one"),
        (lambda: record_curves.CurveConfig(seeds=0), "seeds = 0: choose at least 1"),
        (lambda: record_grids.GridConfig("cifar10"), "data = 'cifar10': choose one of"),
        (lambda: record_grids.GridConfig(sizes=()), r"sizes = \(\): choose at least one"),
    ],
)
def test_a_wrong_choice_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# --- the sweeps

TINY = record_curves.CurveConfig(
    ("none", "radius"), (3,), (4, 6), seeds=3, comparison=QUICK, patterns=5, d=6, at_once=2
)


def test_a_cell_is_the_live_study_in_parts():
    cell = {"noise": "radius", "patches": 3, "size": 6}
    arrays = record_curves.run_cell(TINY, cell, "cpu", {})
    generator = record_curves.seeded(0, list(NOISES).index("radius"), 3, 6)
    task, options = PatternTask(5, 6, 3), {"noise": "radius", "comparison": QUICK}
    live = [pattern_curves(task, (6,), s, generator, **options) for s in (2, 1)]
    assert np.array_equal(arrays["test"], torch.cat([c.test[:, 0] for c in live], -1).numpy())
    assert np.array_equal(arrays["train"], torch.cat([c.train[:, 0] for c in live], -1).numpy())
    assert arrays["hard"].shape == (3,)


def test_the_optimisers_of_a_sweep_meet_the_same_data():
    """A machine that the optimiser does not touch has the same errors at all settings."""
    svm = replace(QUICK, learners=("SVM",))
    config = record_curves.OptimiserConfig(patches=(4,), sizes=(9,), comparison=svm)
    cells = record_curves.OPTIMISERS.cells(config)
    found = [record_curves.run_optimiser(config, cell, "cpu", {})["test"] for cell in cells[::5]]
    assert len(cells) == 24
    np.testing.assert_allclose(found, np.stack([found[0]] * len(found)), rtol=0, atol=0.005)


def test_a_cell_of_the_optimiser_sweep_trains_as_it_says():
    config = record_curves.OptimiserConfig(comparison=QUICK)
    compared = record_curves.compared(config, {"rate": 0.5, "batch": 7, "rotated": True})
    assert compared.optimiser == Optimiser(0.5, QUICK.optimiser.steps, 7)
    assert compared.channels == QUICK.channels


def test_a_cell_of_the_optimiser_sweep_turns_the_patterns_or_not():
    config = record_curves.OptimiserConfig(seeds=2, sizes=(30,), comparison=MLP_QUICK)
    cell = {"rate": 0.01, "batch": 8, "size": 30}
    found = [
        record_curves.run_optimiser(config, cell | {"rotated": turn}, "cpu", {})["test"]
        for turn in (True, False)
    ]
    assert not np.array_equal(*found)


def test_a_cell_of_the_grids_is_the_live_study():
    config = record_grids.GridConfig(sizes=(20,), comparison=QUICK, seeds=1)
    arrays = record_grids.run_cell(config, {"size": 20}, "cpu", {})
    images = digits(seeded())
    live = grid_curves(images, (20,), 1, record_curves.seeded(0, 20), comparison=QUICK)
    assert np.array_equal(arrays["test"], live.test[:, 0].numpy())


@pytest.mark.parametrize("name", OURS)
def test_every_scale_tests_on_as_many_inputs_as_the_paper(name):
    for scale in EXPERIMENTS[name].scales:
        plan = Plan(EXPERIMENTS[name], scale)
        assert settings.plain(plan.config)["comparison"]["test"] == 1000


def test_the_readings_of_the_plots_are_errors_of_our_learners():
    for figure in PAPER_VALUES.values():
        assert set(figure) == set(LEARNERS)
        for curve in figure.values():
            assert all(0 <= error <= 0.5 for error in curve.values())
            assert list(curve) == sorted(curve)


@pytest.mark.parametrize("name", RECORDED)
def test_a_record_has_an_error_for_each_cell(name):
    experiment, record = EXPERIMENTS[name], records.read(EXPERIMENTS[name])
    grid = experiment.shape(Plan(experiment).config)
    assert record["test"].shape[: len(grid)] == grid
