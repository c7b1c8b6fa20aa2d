import copy
from dataclasses import replace

import pytest
import torch

from lib import training
from lib.data import digits
from lib.nets import small_resnet, split_state
from lib.paths import path_magnitude, prunable
from lib.paths.experiments import PruningConfig, pruning_experiment
from lib.paths.masks import CRITERIA, criteria, kept, overlap, parameter_masks
from lib.training import Schedule

TINY = PruningConfig(
    schedule=Schedule(epochs=2, batch=16, rate=0.2, weight_decay=1e-3),
    rewind=1,
    test=1400,
    widths=(4, 4),
    seeds=2,
    sparsities=(0.2, 0.5),
    dtype=torch.float64,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(copies=1, seed=1):
    model = small_resnet(generator=seeded(seed), widths=(4, 4), copies=copies, dtype=torch.float64)
    with torch.no_grad():  # batch statistics that matter
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=seeded(len(name))))
    return model.eval()


def flat_weights(model, copies=1):
    weights = [model.get_parameter(name).detach() for name in prunable(model)]
    return torch.cat([w.reshape(copies, -1) for w in weights], dim=1)


@pytest.fixture(scope="module")
def result():
    return pruning_experiment(TINY)


# --- the experiment


def test_shapes_and_ranges(result):
    assert result.criteria == CRITERIA
    assert result.dense.shape == (2,)
    assert result.one_shot.shape == result.accuracy.shape == (3, 2, 2)
    assert result.history.shape == (3, 2, 2, 1)  # epochs after the rewind
    assert result.overlap.shape == (2, 2, 2)
    assert result.weights == len(flat_weights(network())[0])
    for shares in result.dense, result.one_shot, result.history, result.overlap:
        assert (shares >= 0).all()
        assert (shares <= 1).all()


def test_rescaling_leaves_the_path_masks_alone_and_spoils_magnitude(result):
    assert (result.overlap[0] == 1).all()
    assert (result.overlap[1] < 0.9).all()


def test_the_seed_decides_every_bit(result):
    again, other = pruning_experiment(TINY), pruning_experiment(replace(TINY, seed=1))
    for name in ("dense", "one_shot", "history", "overlap"):
        assert torch.equal(getattr(again, name), getattr(result, name))
    assert not torch.equal(other.history, result.history)


@pytest.mark.parametrize("at_once", [1, 5])
def test_pruned_copies_finish_together_as_they_would_alone(result, at_once):
    """Shares of 1,400 images: equal, but for images on a boundary (float64, rounding only)."""
    alone = pruning_experiment(replace(TINY, at_once=at_once))
    for name in ("one_shot", "history"):
        difference = (getattr(alone, name) - getattr(result, name)).abs()
        assert difference.max() <= 2 / 1400


def test_one_shot_is_what_pruning_a_trained_network_by_hand_gives(result):
    images = digits(seeded(TINY.seed), test=TINY.test, dtype=torch.float64)
    for seed, state in enumerate(result.trained):
        model = network()
        model.load_state_dict(state)
        costs = path_magnitude(model.eval(), (1, 8, 8))
        names = list(prunable(model))
        flat = torch.cat([costs[n].flatten() for n in names])
        threshold = flat.sort().values[round(0.5 * len(flat))]
        with torch.no_grad():
            for name in names:
                model.get_parameter(name)[costs[name] < threshold] = 0
        share = training.accuracy(model, images.test_x, images.test_y)
        assert abs(share - result.one_shot[0, 1, seed]) <= 2 / 1400


def test_pruning_nothing_retraces_the_dense_run():
    """The copies rewind to the same weights, see the same batches, and end at the same accuracy."""
    untouched = pruning_experiment(replace(TINY, sparsities=(1e-9,)))
    assert untouched.dense.min() > 0.2  # twice chance: there is something to retrace
    difference = (untouched.accuracy[:, 0] - untouched.dense).abs()
    assert difference.max() <= 2 / 1400


def test_progress_hears_of_every_epoch():
    messages = []
    pruning_experiment(replace(TINY, at_once=6), progress=messages.append)
    assert len(messages) == 2 + 2 * 1  # dense, then twelve copies six at a time from the rewind
    assert messages[-1] == "6 copies: epoch 2 of 2"


def test_rewinding_to_the_start_is_allowed():
    assert pruning_experiment(replace(TINY, rewind=0)).history.shape[-1] == 2


def test_a_deep_network_with_moved_images_takes_the_same_code_path():
    """The paper's network, two channels wide; a single copy, whose classifier is a plain Linear."""
    schedule = Schedule(epochs=2, batch=64, rate=0.1, augment=True)
    shape = {"depth": 18, "widths": (2,), "seeds": 1, "sparsities": (0.5,), "at_once": 1}
    first, again = (pruning_experiment(replace(TINY, schedule=schedule, **shape)) for _ in "ab")
    assert first.accuracy.shape == (3, 1, 1)
    assert (first.overlap[0] == 1).all()
    assert torch.equal(first.history, again.history)


@pytest.mark.parametrize(
    "change",
    [
        {"data": "letters"},
        {"rewind": 2},
        {"rewind": -1},
        {"seeds": 0},
        {"at_once": 0},
        {"sparsities": ()},
        {"sparsities": (0.5, 1.0)},
        {"sparsities": (0.0,)},
        {"factors": ()},
        {"factors": (1.0, 0.0)},
    ],
)
def test_a_config_names_the_field_that_is_wrong(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} = .*: choose"):
        replace(TINY, **change)


def test_the_two_scales_differ_in_numbers_only():
    small, paper = PruningConfig.small(), PruningConfig.paper()
    assert (small.sparsities, small.factors) == (paper.sparsities, paper.factors)
    assert PruningConfig.small(seeds=7).seeds == 7


# --- scores and masks


def test_one_pass_scores_all_copies_as_alone():
    together, alone = network(copies=3), network()
    scores = criteria(together, (1, 8, 8), 3, (1, 128, 4096), seeded())
    for s, state in enumerate(split_state(together, alone, 3)):
        alone.load_state_dict(state)
        costs = path_magnitude(alone, (1, 8, 8))
        flat = torch.cat([costs[name].flatten() for name in prunable(alone)])
        torch.testing.assert_close(scores["path-magnitude"][s], flat, rtol=1e-12, atol=0)


def test_path_scores_are_bit_identical_after_rescaling_by_powers_of_two():
    scores = criteria(network(copies=2), (1, 8, 8), 2, (1, 128, 4096), seeded())
    assert torch.equal(scores["path-magnitude"], scores["path-magnitude, rescaled"])
    assert not torch.equal(scores["magnitude"], scores["magnitude, rescaled"])


def test_criteria_leave_the_model_alone():
    model = network(copies=2).train()
    before = copy.deepcopy(model.state_dict())
    criteria(model, (1, 8, 8), 2, (1, 2), seeded())
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_masks_have_exactly_the_counts_asked_for_in_every_copy():
    scores = torch.rand(3, 101, generator=seeded()).round(decimals=1)  # with many ties
    masks = kept(scores, (0.1, 0.5, 0.996))
    assert ((~masks).sum(-1) == torch.tensor([[10], [50], [101]])).all()


def test_the_lowest_scores_go_and_of_equals_the_first():
    scores = torch.tensor([[3.0, 1.0, 2.0, 1.0, 1.0]])
    assert kept(scores, (0.2, 0.4, 0.8)).long().tolist() == [
        [[1, 0, 1, 1, 1]],
        [[1, 0, 1, 0, 1]],
        [[1, 0, 0, 0, 0]],
    ]


def test_overlap_counts_common_pruned_weights():
    a, b = torch.tensor([[0, 0, 1, 1]]).bool(), torch.tensor([[0, 1, 0, 1]]).bool()
    assert overlap(a, b).tolist() == [0.5]


def test_a_mask_touches_its_own_copy_only():
    model = network(copies=3)
    x = torch.rand(4, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    keep = torch.ones(3, len(flat_weights(network())[0]), dtype=torch.bool)
    keep[1] = False
    before = model(x)
    training.hold(parameter_masks(model, keep))
    after = model(x)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    torch.testing.assert_close(after[:, 1], after[:1, 1].expand(4, -1))  # only biases are left


def test_pruned_weights_are_still_zero_after_finishing():
    model = network(copies=2)
    keep = kept(criteria(model, (1, 8, 8), 2, (1,), seeded())["magnitude"], (0.6,))[0]
    images = digits(seeded(), test=1400, dtype=torch.float64)
    order = training.orders(len(images.train_x), 2, seeded())
    masks = parameter_masks(model, keep)
    list(training.train(model, *images[:2], TINY.schedule, order, masks=masks))
    assert torch.equal(flat_weights(model, 2) != 0, keep)
