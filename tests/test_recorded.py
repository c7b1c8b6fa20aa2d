"""The records of the book: whole, of the present configs, and the same code as the live studies."""

import numpy as np
import pytest
import torch

from lib.__main__ import CHAPTERS
from lib.paths import record_change, record_depth, record_pruning
from lib.paths.experiments import PruningConfig, pruning_experiment
from lib.paths.masks import CRITERIA
from lib.paths.recorded import EXPERIMENTS
from lib.paths.studies import depth_study
from lib.runs import records, settings, verifying
from lib.runs.codehash import code_digest
from lib.runs.experiment import OFFICIAL
from lib.runs.plan import RESULTS, Plan
from lib.training import Schedule

ALL = {name: e for chapter in CHAPTERS for name, e in chapter.EXPERIMENTS.items()}
RECORDED = [name for name, e in ALL.items() if Plan(e).record.exists()]
DOWNLOADS = ("mnist", "cifar10")  # in the names of those that need the network
TINY = PruningConfig(
    schedule=Schedule(epochs=2, batch=16, rate=0.2, weight_decay=1e-3),
    rewind=1,
    test=1400,
    widths=(4, 4),
    seeds=2,
    sparsities=(0.2, 0.5),
    at_once=2,  # the seeds of one cell
    dtype=torch.float64,
)


def cells(experiment, config):
    """What a sweep computes, one cell after the other."""
    before = experiment.prepare(config, "cpu") if experiment.prepare else {}
    parts = [experiment.run_cell(config, c, "cpu", before) for c in experiment.cells(config)]
    shape = experiment.shape(config)
    stacked = {k: np.stack([p[k] for p in parts]) for k in parts[0]}
    return before, {k: a.reshape(*shape, *a.shape[1:]) for k, a in stacked.items()}


def test_what_needs_no_network_is_recorded():
    assert set(RECORDED) >= {name for name in ALL if not any(word in name for word in DOWNLOADS)}


@pytest.mark.parametrize("chapter", sorted({e.chapter for e in ALL.values()}))
def test_no_record_is_of_an_experiment_that_is_gone(chapter):
    found = {path.stem for path in (RESULTS / chapter).glob("*.*")}
    assert found == {name for name in RECORDED if ALL[name].chapter == chapter}


@pytest.mark.parametrize("name", RECORDED)
def test_a_record_is_whole_and_of_the_present_config(name):
    plan, record = Plan(ALL[name]), records.read(ALL[name])
    assert record.info["config"] == settings.plain(plan.config)
    assert record.info["command"] == f"python -m lib run {name} --scale {OFFICIAL}"
    assert all(np.array(array).size for array in record.arrays.values())
    assert plan.record.stat().st_size < 2_000_000  # 256 seeds in 60 settings, and no more


@pytest.mark.parametrize("name", ALL)
def test_every_scale_has_a_config_and_an_estimate(name):
    for scale in ALL[name].scales:
        plan = Plan(ALL[name], scale)
        assert len(plan.cells) == np.prod(ALL[name].shape(plan.config))
        assert ALL[name].work(plan.config) > 0
        assert len(code_digest(ALL[name].module)) == 16


def test_small_cells_of_the_depth_record_come_out_again():
    experiment = EXPERIMENTS["depth"]
    record, plan = records.read(experiment), Plan(experiment)
    narrow = [i for i, c in enumerate(plan.cells) if c["width"] <= 32 and c["depth"] <= 16]
    found = verifying.compare(plan, record, narrow, say=bool)
    assert len(found) == 4 * len(narrow)
    assert all(comparison.accepted for comparison in found)


def test_a_cell_that_differs_is_refused():
    experiment = EXPERIMENTS["depth"]
    record, plan = records.read(experiment), Plan(experiment)
    record.arrays["log_metric"][0, 0] += 1e-3
    found = verifying.compare(plan, record, [0], say=bool)
    assert [c.accepted for c in found] == [True, False, True, True]


# --- the sweeps run the code of the live studies


def test_the_cells_of_the_pruning_sweep_are_the_experiment():
    """In float64, with the same copies in memory together: bit for bit."""
    live = pruning_experiment(TINY)
    before, swept = cells(EXPERIMENTS["pruning-digits"], TINY)
    assert np.array_equal(before["dense"], live.dense)
    assert np.array_equal(before["overlap"], live.overlap)
    assert int(before["weights"]) == live.weights
    assert np.array_equal(swept["one_shot"], live.one_shot)
    assert np.array_equal(swept["history"], live.history)
    assert list(record_pruning.axes(TINY)["criterion"]) == list(CRITERIA)


def test_the_small_depth_sweep_is_the_study_of_the_chapter():
    config = record_depth.DepthConfig((2, 3), (4,), seeds=5, ordered=False, inputs=20)
    _, swept = cells(EXPERIMENTS["depth"], config)
    for row, depth in enumerate(config.depths):
        entropy = np.random.SeedSequence([config.seed, depth, 4]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(entropy))
        study = depth_study((depth,), 4, 5, generator, inputs=20)
        for name in ("gap", "metric", "three_pass", "norm_bound"):
            value = np.exp(swept[f"log_{name}"][row, 0])
            np.testing.assert_allclose(value, getattr(study, name)[0], rtol=1e-13)


def test_the_change_sweep_certifies_trained_networks():
    config = record_change.ChangeConfig(TINY, sparsities=(0.2, 0.5), steps=(0.01, 0.1))
    before, swept = cells(EXPERIMENTS["output-change"], config)
    assert np.array_equal(before["dense"], pruning_experiment(TINY).dense)
    assert swept["certified"].shape == (2, 3, 2)
    assert (swept["observed"] > 0).all()
    assert (swept["observed"] <= swept["certified"]).all()


def test_states_survive_packing():
    dense = record_pruning.prepare(TINY, "cpu")
    states = record_pruning.unpacked("trained", dense, "cpu")
    again = record_pruning.packed("trained", states)
    assert len(states) == TINY.seeds
    assert all(np.array_equal(dense[key], array) for key, array in again.items())


# --- what the recorded numbers say


def test_no_recorded_change_exceeds_its_bound():
    depth, change = (records.read(EXPERIMENTS[name]) for name in ("depth", "output-change"))
    assert (depth["log_gap"] <= depth["log_metric"] + 1e-9).all()
    assert (depth["log_metric"] <= depth["log_norm_bound"] + 1e-9).all()
    assert (change["observed"] <= change["certified"]).all()


def test_the_recorded_path_masks_survive_rescaling():
    overlap = records.read(EXPERIMENTS["pruning-digits"])["overlap"]
    assert (overlap[0] == 1).all()
    assert (overlap[1] < 1).all()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: record_depth.DepthConfig((), (4,), 5, True), r"depths = \(\): choose at least 1"),
        (lambda: record_depth.DepthConfig((2,), (0,), 5, True), r"widths = \(0,\): choose"),
        (lambda: record_change.ChangeConfig(TINY, (0.5,), (1.0, 2.0)), "as many as sparsities"),
    ],
)
def test_a_wrong_config_is_named(config, words):
    with pytest.raises(ValueError, match=words):
        config()
