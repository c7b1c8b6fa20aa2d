"""Pruning by scores, one-shot SynFlow and quantization, always on copies."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lib.nets import small_resnet
from lib.paths import path_magnitude, path_norm, prunable, quantize, rescale, score_prune, synflow
from networks import cnn, filled, mlp

REFERENCE = json.loads((Path(__file__).parent / "pathnorm.json").read_text())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masked(model: nn.Module) -> int:
    return sum(int((m == 0).sum()) for n, m in model.named_buffers() if n.endswith("_mask"))


def test_what_is_pruned_by_default():
    assert prunable(cnn()) == ["0.weight", "4.weight", "8.weight"]
    assert "layer1.0.bn1.weight" not in prunable(small_resnet(generator=generator()))


@pytest.mark.parametrize("name", ["mlp_3_4_3_2", "tinycnn_1x4x4"])
def test_the_number_of_prunable_and_pruned_weights_is_the_reference(name):
    record = REFERENCE[name]
    model = mlp() if "mlp" in name else cnn()
    sizes = dict(model.named_parameters())
    assert sum(sizes[n].numel() for n in prunable(model)) == record["n_prunable"]
    pruned = score_prune(model, path_magnitude(model, record["input_shape"]), 0.4)
    assert masked(pruned) == record["pruned40_path"]["n_pruned"]


@pytest.mark.parametrize("amount", [0, 0.1, 0.5, 0.9, 1])
def test_exactly_the_lowest_scores_go(amount):
    model = mlp()
    scores = path_magnitude(model, (3,))
    pruned = score_prune(model, scores, amount)
    flat = torch.cat([scores[n].flatten() for n in prunable(model)])
    masks = torch.cat(
        [dict(pruned.named_buffers())[f"{n}_mask"].flatten() for n in prunable(model)]
    )
    assert int((masks == 0).sum()) == round(amount * len(flat))
    if 0 < amount < 1:
        assert flat[masks == 0].max() <= flat[masks == 1].min()


def test_the_number_of_weights_to_prune_is_rounded_to_the_nearest():
    model = filled(nn.Sequential(nn.Linear(29, 1, bias=False)))
    assert masked(score_prune(model, path_magnitude(model, (29,)), 0.1)) == 3  # of 2.9


def test_equal_scores_go_in_order_and_infinite_ones_first():
    model = filled(nn.Sequential(nn.Linear(4, 1, bias=False)))
    scores = {"0.weight": torch.tensor([[2.0, 1.0, 1.0, -torch.inf]])}
    assert score_prune(model, scores, 0.5)[0].weight_mask.tolist() == [[1, 0, 1, 0]]


def test_scores_serve_torch_directly():
    model, other = mlp(), mlp()
    scores = path_magnitude(model, (3,))
    places = [(other[i], "weight") for i in (0, 2, 4)]
    importance = {place: scores[f"{i}.weight"] for place, i in zip(places, (0, 2, 4), strict=True)}
    prune.global_unstructured(
        places, prune.L1Unstructured, importance_scores=importance, amount=0.4
    )
    pruned = score_prune(model, scores, 0.4)
    assert all(torch.equal(pruned[i].weight, other[i].weight) for i in (0, 2, 4))


def test_pruning_again_counts_what_is_already_gone():
    model = mlp()
    once = score_prune(model, path_magnitude(model, (3,)), 0.3)
    twice = score_prune(once, path_magnitude(once, (3,)), 0.5)
    for i in (0, 2, 4):
        assert (twice[i].weight_mask <= once[i].weight_mask).all()
    assert masked(twice) == 15


def test_the_mask_does_not_see_rescaling():
    model = small_resnet(generator=generator()).eval()
    other = rescale(model, generator=generator(1))
    masks = [score_prune(m, path_magnitude(m, (1, 8, 8)), 0.4).state_dict() for m in (model, other)]
    names = [n for n in masks[0] if n.endswith("_mask")]
    assert names and all(torch.equal(masks[0][n], masks[1][n]) for n in names)


def test_the_model_itself_is_left_alone():
    model = mlp()
    before = {n: p.clone() for n, p in model.named_parameters()}
    pruned = score_prune(model, path_magnitude(model, (3,)), 0.9)
    quantize(model, 0.25)
    synflow(model, (3,))
    assert list(before) == [n for n, _ in model.named_parameters()]
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())
    assert path_norm(pruned, (3,)) < path_norm(model, (3,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": 1.5}, "between 0 and 1"),
        ({"amount": float("nan")}, "between 0 and 1"),
        ({"names": []}, "nothing to prune"),
        ({"names": ["9.weight"]}, "no parameter"),
        ({"scores": {}}, "no score for '0.weight'"),
        ({"scores": {"0.weight": torch.ones(3)}, "names": ["0.weight"]}, "shape"),
        ({"scores": {"0.bias": torch.full((4,), torch.nan)}, "names": ["0.bias"]}, "NaN"),
    ],
)
def test_arguments_that_prune_nothing(change, words):
    arguments = {"scores": path_magnitude(mlp(), (3,)), "amount": 0.4} | change
    with pytest.raises(ValueError, match=words):
        score_prune(mlp(), **arguments)


def test_truncation_moves_toward_zero_and_rounding_to_the_nearest():
    model = filled(nn.Sequential(nn.Linear(4, 1, bias=False)))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.9, -0.9, 0.625, -0.1]]))
    assert quantize(model, 0.25)[0].weight.tolist() == [[0.75, -0.75, 0.5, 0.0]]
    assert quantize(model, 0.25, "round")[0].weight.tolist() == [[1.0, -1.0, 0.5, 0.0]]


def test_quantization_leaves_batchnorm_and_masks():
    model = score_prune(cnn(), path_magnitude(cnn(), (1, 4, 4)), 0.4)
    other = quantize(model, 0.25)
    assert torch.equal(other[1].weight, model[1].weight)
    assert torch.equal(other[4].weight_mask, model[4].weight_mask)
    assert torch.equal(other[4].weight, other[4].weight_orig * other[4].weight_mask)
    assert torch.equal(other[4].weight_orig / 0.25, (other[4].weight_orig / 0.25).round())


@pytest.mark.parametrize("arguments", [(0,), (-1.0,), (0.5, "floor"), (float("nan"),)])
def test_steps_and_modes_that_make_no_grid(arguments):
    with pytest.raises(ValueError, match="truncate"):
        quantize(mlp(), *arguments)


def test_synflow_of_a_chain_is_the_product():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(-3.0)
        model[2].weight.fill_(5.0)
    assert [s.item() for s in synflow(model, (1,)).values()] == [15.0, 15.0]
