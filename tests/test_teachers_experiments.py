"""The experiments on linear teachers: each piece against another way of computing it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.data import MNIST, digits
from lib.runs import records
from lib.runs.codehash import ROOT, library_files
from lib.runs.experiment import OFFICIAL
from lib.runs.plan import Plan
from lib.teachers import benchmark, experiments, leaks
from lib.teachers import record_pairs as pairs
from lib.teachers.experiments import differs, errors, networks, pair_study, stacked, start_study
from lib.teachers.leaks import FAMILIES, leak_study
from lib.teachers.network import LeakyNet
from lib.teachers.record_leaks import LeakConfig
from lib.teachers.record_pairs import PairConfig
from lib.teachers.record_starts import StartConfig, joined
from lib.teachers.recorded import EXPERIMENTS
from lib.teachers.svm import angle, coupled_svm, max_margin
from lib.teachers.task import TeacherTask, check_orthogonally_separable

RECORDED = [name for name, e in EXPERIMENTS.items() if Plan(e).record.exists()]
LIVE = [name for name in EXPERIMENTS if not name.startswith("mnist")]
STARTS = StartConfig((0.1,), (5,), (0.1, 0.5), (0.1, 3.0), seeds=3, steps=30, n=12, k=4, test=50)
LEAKS = LeakConfig((0.1, 0.5), seeds=3, steps=20, k=3)
PAIRS = PairConfig(("1-7",), (0.1, 3.0), seeds=3, steps=20, train=30, test=40, k=3)
TINY = {"starts": STARTS, "leaks": LEAKS, "digit-pairs": PAIRS}


def teacher_draws(config=STARTS, seeds=range(3), margin=0.1):
    task = TeacherTask(config.dimensions[0], config.n, margin=margin)
    options = {"test": config.test, "seed": config.seed, "dtype": config.dtype}
    return stacked(experiments.teacher_draws(task, config.k, seeds, **options))


def lopsided():
    """Two neurons of each kind in the plane, whose boundary is bent."""
    w, u = [[1.0, 0.5], [1.0, -0.5]], [[-0.1, 0.0], [-0.1, 0.0]]
    return LeakyNet(torch.tensor([w, u], dtype=torch.float64), 0.1)


# --- draws


def test_a_seed_draws_the_same_alone_and_among_others():
    for together, alone in zip(teacher_draws(), teacher_draws(seeds=range(1, 2)), strict=True):
        assert torch.equal(together[1], alone[0])


def test_seeds_differ():
    assert not torch.equal(*teacher_draws().start[:2])
    assert not torch.equal(*teacher_draws().x[:2])


def test_the_margin_changes_no_draw():
    near, far = teacher_draws(margin=0.1), teacher_draws(margin=0.2)
    assert torch.equal(near.start, far.start)
    assert torch.equal(near.y, far.y)
    assert not torch.equal(near.x, far.x)


def test_one_teacher_labels_both_samples():
    draws = teacher_draws(replace(STARTS, n=200))
    w = max_margin(draws.x, draws.y)
    right = (draws.test_y * (draws.test_x @ w[..., None])[..., 0] > 0).double().mean(-1)
    assert (right > 0.95).all()
    assert not torch.equal(draws.x[:, :50], draws.test_x)


def test_networks_have_the_leaks_and_sizes_they_should():
    start = teacher_draws().start
    net = networks(start, (0.1, 0.5), (0.01, 1.0, 7.0))
    assert net.weights.shape == (3, 2, 3, 2, 4, 5)
    for i, radius in enumerate((0.01, 1.0, 7.0)):
        torch.testing.assert_close(net.weights[:, 1, i], radius * start)
    assert net[2, 0, 1].alpha == 0.1
    assert net[2, 1, 1].alpha == 0.5


# --- what is measured


def test_errors_and_differences_by_hand():
    net = lopsided()  # κ = (1.1, 0), but N > 0 also at (-0.1, ±1)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-0.1, 1.0], [-0.1, -1.0]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    assert (net(x) > 0).tolist() == [True, False, True, True]
    assert differs(net, x) == 0.5
    assert {k: float(v) for k, v in errors(net, x, y).items()} == {
        "error": 0.25,
        "line_error": 0.25,
    }


def test_the_grid_at_once_is_the_grid_one_by_one():
    draws = teacher_draws()
    grid = start_study(draws, STARTS.alphas, STARTS.radii, 30)
    for a, alpha in enumerate(STARTS.alphas):
        for r, radius in enumerate(STARTS.radii):
            one = start_study(draws, (alpha,), (radius,), 30)
            for name, column in grid.items():
                torch.testing.assert_close(column[:, a, r], one[name][:, 0, 0])


def test_a_smaller_start_ends_in_tighter_clusters():
    found = start_study(teacher_draws(), (0.3,), (0.01, 20.0), 300)
    small, large = found["rho"][:, 0].unbind(-1)
    assert (small < large / 2).all()
    assert (found["log_loss"] < -1).all()


# --- which line


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_separable_and_the_prediction_is_the_coupled_svm(family):
    x, y = FAMILIES[family](experiments.seeded(3), torch.float64)
    alphas = torch.tensor([0.1, 0.6], dtype=torch.float64)
    expected = [coupled_svm(x, y, float(a)) for a in alphas]
    found = leaks.coupled_line(family, x[None, None], y[None, None], alphas)[0]
    for direction, pair in zip(found, expected, strict=True):
        assert angle(direction, pair.w - pair.u) < 1e-5


def test_families_are_what_they_are_called():
    generator = lambda: experiments.seeded(4)  # noqa: E731
    check_orthogonally_separable(*leaks.orthogonal(generator(), torch.float64))
    x, y = leaks.mirrored(generator(), torch.float64)
    half, labels = leaks.separable_points(generator(), torch.float64)
    assert torch.equal(x, torch.cat([half, -half]))
    assert torch.equal(y, torch.cat([labels, -labels]))


def test_two_points_lead_to_the_closed_form():
    found = leak_study("two points", (0.05, 0.6), range(4), k=4, radius=0.1, steps=1500, seed=0)
    assert found["off"].amax() < 0.2
    torch.testing.assert_close(found["predicted"][0].tolist(), [14.15, 2.55], atol=0.01, rtol=0)
    assert (found["par"] == 1).all()


def test_mirror_images_lead_to_the_ordinary_machine():
    found = leak_study("mirrored", (0.05,), range(4), k=4, radius=0.01, steps=1500, seed=0)
    assert found["predicted"].amax() < 1e-4
    assert found["angle"].amax() < 1


# --- pairs of digits


def test_no_image_is_drawn_twice_and_each_keeps_its_label():
    first = torch.arange(30) % 3 == 0
    named = torch.stack([torch.arange(30).double(), 100 * first.double()], -1)
    draws = stacked(experiments.pair_draws(named, first, 3, range(4), train=20, test=9, seed=0))
    x, y = torch.cat([draws.x, draws.test_x], 1), torch.cat([draws.y, draws.test_y], 1)
    assert draws.x.shape == (4, 20, 2)
    assert draws.test_x.shape == (4, 9, 2)
    for images, labels in zip(x, y, strict=True):
        assert len(images[:, 0].unique()) == 29
        assert torch.equal(labels > 0, images[:, 1] > images[:, 1].mean())
    assert not torch.equal(draws.y[0], draws.y[1])


def test_a_pair_is_of_its_two_classes():
    images = digits(torch.Generator().manual_seed(0), test=1, standardise=False)
    both = torch.cat([images.train_x, images.test_x]).flatten(1).double()
    classes = torch.cat([images.train_y, images.test_y])
    draws = pairs.drawn(replace(PAIRS, train=200, test=151), "1-7", range(1), "cpu")
    x, y = torch.cat([draws.x, draws.test_x], 1)[0], torch.cat([draws.y, draws.test_y], 1)[0]
    for label, digit in ((1, 1), (-1, 7)):  # correlations survive the change of scale
        known = both[classes == digit]
        ours, known = (t - t.mean(-1, keepdim=True) for t in (x[y == label], known))
        close = (ours @ known.mT) / (ours.norm(dim=-1)[:, None] * known.norm(dim=-1))
        assert len(ours) > 150
        assert (close.amax(-1) > 1 - 1e-9).all()


def test_training_pixels_have_mean_zero_and_deviation_one():
    draws = pairs.drawn(PAIRS, "1-7", range(3), "cpu")
    flat = draws.x.flatten(1)
    torch.testing.assert_close(flat.mean(-1), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(flat.std(-1), torch.ones(3, dtype=torch.float64))
    assert draws.test_x.mean().abs() > 1e-6


def test_columns_of_pairs_against_plain_sums():
    draws = pairs.drawn(PAIRS, "3-8", range(2), "cpu")
    found = pair_study(draws, (0.1,), (1.0,), 0)
    for seed in range(2):
        net, x = LeakyNet(draws.start[seed], 0.1), draws.test_x[seed]
        odd = (net(x) - net(-x)) / 2
        even = (net(x) + net(-x)) / 2
        assert found["differs"][seed] == (net(x).sign() != odd.sign()).double().mean()
        torch.testing.assert_close(found["even"][seed, 0, 0], (even / odd).abs().median())
        svm = max_margin(draws.x[seed], draws.y[seed])
        wrong = ((x @ svm).sign() != draws.test_y[seed]).double().mean()
        assert found["svm_error"][seed] == wrong


def test_a_sample_without_a_plane_has_no_machine():
    x = torch.tensor([[[1.0, 0], [0, 1]], [[1.0, 0], [2, 0]]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0], dtype=torch.float64).expand(2, 2)
    machine = experiments.ordinary_or_nan(x, y)
    assert machine[0].isfinite().all()
    assert machine[1].isnan().all()


def test_no_pair_has_fewer_images_than_said():
    counts = digits(torch.Generator().manual_seed(0), test=1)
    classes = torch.cat([counts.train_y, counts.test_y]).bincount()
    assert pairs.SCARCEST["digits"] == classes.sort().values[:2].sum()
    assert pairs.SCARCEST["mnist"] == sum(sorted(MNIST.counts)[:2])


# --- sweeps and records


@pytest.mark.parametrize("name", LIVE)
def test_cells_have_a_number_for_each_seed_however_they_are_grouped(name):
    experiment, config = EXPERIMENTS[name], TINY[name]
    cell = experiment.cells(config)[-1]
    whole = experiment.run_cell(config, cell, "cpu", {})
    split = experiment.run_cell(replace(config, at_once=2), cell, "cpu", {})
    for key, column in whole.items():
        assert column.shape == (3,)
        np.testing.assert_allclose(column, split[key], rtol=1e-6, atol=1e-9)


def test_a_cell_of_starts_is_the_study():
    experiment = EXPERIMENTS["starts"]
    cell = {"margin": 0.1, "dimension": 5, "alpha": 0.5, "radius": 3.0}
    found = experiment.run_cell(STARTS, cell, "cpu", {})
    expected = joined([start_study(teacher_draws(), (0.5,), (3.0,), 30)])
    for key, column in expected.items():
        np.testing.assert_array_equal(found[key], column)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (STARTS, {"dimensions": ()}, "dimensions"),
        (STARTS, {"dimensions": (1,)}, "dimensions"),
        (STARTS, {"margins": (0.0,)}, "margins"),
        (STARTS, {"seeds": 0}, "seeds = 0: choose at least 1"),
        (LEAKS, {"families": ("circles",)}, "circles"),
        (LEAKS, {"families": ()}, "families"),
        (PAIRS, {"data": "letters"}, "letters"),
        (PAIRS, {"pairs": ("8-3",)}, "8-3"),
        (PAIRS, {"train": 312}, "some pair of digits has only 351"),
    ],
)
def test_what_makes_no_sense_is_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **change)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_paper_scale_is_more_work_than_the_small_one(name):
    experiment = EXPERIMENTS[name]
    work = [experiment.work(Plan(experiment, scale).config) for scale in ("small", OFFICIAL)]
    assert 0 < work[0] < work[1]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_other_chapter_can_make_a_record_old(name):
    files = library_files(ROOT, f"import {EXPERIMENTS[name].module}")
    chapters = {path.parent.name for path in files} & {"paths", "ntk", "maxpool"}
    assert not chapters


@pytest.mark.parametrize("name", RECORDED)
def test_a_record_has_a_number_for_each_cell_and_seed(name):
    plan, record = Plan(EXPERIMENTS[name]), records.read(EXPERIMENTS[name])
    shape = (*EXPERIMENTS[name].shape(plan.config), plan.config.seeds)
    assert all(np.shape(array) == shape for array in record.arrays.values())


# --- the benchmark


@pytest.mark.parametrize("rule", benchmark.RULES.values(), ids=benchmark.RULES)
def test_all_ways_of_the_benchmark_compute_the_same(rule):
    found = benchmark.calls((2, 3, 10, 4, 3), 12, **rule, some=6)
    first, *rest = [call().view(6, 2, 3, 4) for call, _ in found.values()]
    for other in rest:
        torch.testing.assert_close(other, first)


def test_the_benchmark_prints_ratios(capsys):
    sizes = {"seeds": 2, "scales": 2, "n": 5, "d": 3, "k": 2, "steps": 2, "some": 2, "repeats": 1}
    benchmark.main([part for name, v in sizes.items() for part in (f"--{name}", str(v))])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert lines[2].endswith(" 1.0 times")
