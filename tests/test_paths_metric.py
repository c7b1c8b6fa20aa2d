"""The path-metric: two passes when ordered, three when only the signs agree, refusal otherwise."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.nets import resnet
from lib.paths import (
    ArchitectureMismatch,
    SignMismatch,
    UnsupportedModule,
    path_lifting,
    path_magnitude,
    path_metric,
    path_norm,
    quantize,
    rescale,
    score_prune,
)
from lib.paths.metric import combine
from lib.paths.sweep import Swept
from networks import cnn, filled, mlp, waves

REFERENCE = json.loads((Path(__file__).parent / "pathnorm.json").read_text())
NETS = {"mlp_3_4_3_2": mlp, "tinycnn_1x4x4": cnn}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brute(a: nn.Module, b: nn.Module, shape) -> float:
    return float(np.abs(path_lifting(a, shape) - path_lifting(b, shape)).sum())


@pytest.mark.parametrize("bits", ["2", "3", "4", "6", "8"])
@pytest.mark.parametrize("mode", ["trunc", "round"])
def test_quantization_gives_the_reference_numbers(bits, mode):
    record = REFERENCE["mlp_3_4_3_2"]["quantization_step_2^-b"][bits][mode]
    model = mlp()
    other = quantize(model, 2 ** -int(bits), {"trunc": "truncate"}.get(mode, mode))
    metric = path_metric(model, other, (3,))
    assert brute(model, other, (3,)) == pytest.approx(record["metric_exact"], rel=1e-12)
    assert metric.exact == (mode == "trunc") and metric.passes == (2 if mode == "trunc" else 3)
    assert metric.value == pytest.approx(record["three_pass_upper"], rel=1e-12)
    assert metric.value >= record["metric_exact"] * (1 - 1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("criterion", ["path", "magnitude"])
def test_pruning_gives_the_reference_numbers(name, criterion):
    record, model = REFERENCE[name][f"pruned40_{criterion}"], NETS[name]()
    shape = tuple(REFERENCE[name]["input_shape"])
    scores = path_magnitude(model, shape) if criterion == "path" else dict(model.named_parameters())
    pruned = score_prune(model, {k: v.detach().abs() for k, v in scores.items()}, 0.4)
    assert path_norm(pruned, shape) == pytest.approx(record["L1_pruned"], rel=1e-13)
    metric = path_metric(model, pruned, shape)
    assert metric.value == pytest.approx(record["path_metric"], rel=1e-12)
    assert (metric.exact, metric.passes) == (True, 2)
    x = waves(64, *shape)
    gap = (model(x) - pruned(x)).abs().sum(1).max().item()
    assert gap <= metric.value * max(1, x.abs().max().item())


def test_order_does_not_matter():
    a, b = mlp(), quantize(mlp(), 0.25)
    assert path_metric(a, b, (3,)) == path_metric(b, a, (3,))


def test_a_model_is_at_distance_zero_from_itself():
    metric = path_metric(cnn(), cnn(), (1, 4, 4))
    assert metric == (0.0, True, 2)
    assert path_metric(cnn(), cnn(), (1, 4, 4), log=True).value == -math.inf


def changed(model: nn.Module, factors) -> nn.Module:
    """A copy with its parameters multiplied, one by one, by the factors in turn."""
    other, k = copy.deepcopy(model), 0
    with torch.no_grad():
        for p in other.parameters():
            f = torch.tensor([factors[(k + i) % len(factors)] for i in range(p.numel())])
            p *= f.view(p.shape)
            k += p.numel()
    return other


factors = st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.1, 3.0]), min_size=3, max_size=7)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(factors)
def test_two_passes_are_exact_and_three_are_an_upper_bound(fs):
    model = mlp()
    other = changed(model, fs)
    metric, truth = path_metric(model, other, (3,)), brute(model, other, (3,))
    ordered = max(fs) <= 1 or min(fs) >= 1
    assert metric.exact == ordered or set(fs) == {1.0}
    if metric.exact:
        assert metric.value == pytest.approx(truth, rel=1e-11, abs=1e-11)
    assert metric.value >= truth - 1e-11


@settings(max_examples=15, deadline=None, derandomize=True)
@given(factors)
def test_the_bound_holds_for_batchnorm_in_its_effective_parameters(fs):
    model = cnn()
    model[1].running_mean.zero_()  # the shift is then β, and keeps its sign
    other = changed(model, fs)
    metric = path_metric(model, other, (1, 4, 4))
    assert metric.value >= brute(model, other, (1, 4, 4)) - 1e-10


def test_batchnorm_may_change_the_sign_of_its_shift_though_no_parameter_does():
    model = cnn()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight *= 100
    with pytest.raises(SignMismatch, match=r"bias of 1 \(BatchNorm2d\)"):
        path_metric(model, other, (1, 4, 4))


def test_a_smaller_gamma_alone_can_be_compared_when_shifts_shrink():
    model = cnn()
    model[1].running_mean.zero_()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight *= 0.5
    metric = path_metric(model, other, (1, 4, 4))
    assert metric.exact
    assert metric.value == pytest.approx(brute(model, other, (1, 4, 4)), rel=1e-12)


def test_the_first_opposite_sign_is_named():
    other = copy.deepcopy(mlp())
    with torch.no_grad():
        other[2].weight[1, 2] *= -1
        other[4].bias *= -1
    with pytest.raises(SignMismatch, match=r"weight of 2 \(Linear\) is -0\.38.* at \(1, 2\)"):
        path_metric(mlp(), other, (3,))


def test_opposite_signs_whose_product_underflows_are_refused():
    a, b = (filled(nn.Sequential(nn.Linear(1, 1, bias=False))) for _ in range(2))
    nn.init.constant_(a[0].weight, 1e-200)
    nn.init.constant_(b[0].weight, -1e-200)
    with pytest.raises(SignMismatch, match=r"1e-200 .* -1e-200"):
        path_metric(a, b, (1,))


@pytest.mark.parametrize(("log", "zero"), [(False, 0.0), (True, -math.inf)])
def test_a_difference_below_zero_by_rounding_is_zero(log, zero):
    norms = [Swept(None, s, 1.0) for s in (0.5, math.nextafter(0.5, 1))]
    assert combine(norms, (1, -1), log) == zero


def test_zero_has_every_sign():
    model = mlp()
    other = changed(model, [0.0])
    assert path_metric(model, other, (3,)).value == pytest.approx(path_norm(model, (3,)), rel=1e-15)


OTHERS = {
    "another width": nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
    "another depth": nn.Sequential(nn.Linear(3, 2)),
    "no bias": nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)),
    "no gate": nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_are_refused(name):
    model = filled(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    with pytest.raises(ArchitectureMismatch):
        path_metric(model, filled(OTHERS[name]), (3,))


def test_other_settings_of_a_layer_are_refused():
    a, b = (filled(nn.Sequential(nn.Conv2d(1, 1, 2, stride=s))) for s in (1, 2))
    with pytest.raises(ArchitectureMismatch, match=r"0 \(Conv2d\)"):
        path_metric(a, b, (1, 4, 4))
    a, b = (filled(nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(k))) for k in (2, 4))
    with pytest.raises(ArchitectureMismatch, match=r"1 \(MaxPool2d\)"):
        path_metric(a, b, (1, 4, 4))


def test_other_dtypes_are_refused():
    with pytest.raises(ArchitectureMismatch, match="convert"):
        path_metric(mlp(), mlp().float(), (3,))


def test_both_models_are_examined():
    with pytest.raises(UnsupportedModule):
        path_metric(mlp(), nn.Sequential(nn.Linear(3, 4), nn.GELU()), (3,))


def test_rescaling_both_leaves_the_metric_bit_for_bit():
    a = resnet(18, generator=generator(), width=8).eval()
    b = quantize(a, 1 / 64)
    p, q = (rescale(m, generator=generator(3)) for m in (a, b))
    assert path_metric(a, b, (3, 32, 32)) == path_metric(p, q, (3, 32, 32))


def test_logarithms_do_not_overflow():
    a = filled(nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(4))))
    b = changed(a, [1.0, 0.5, 0.25])
    expected = math.log(path_metric(a, b, (2,)).value) + 4 * math.log(2.0**400)
    with torch.no_grad():
        for p in (*a.parameters(), *b.parameters()):
            p *= 2.0**400
    assert path_metric(a, b, (2,), log=True).value == pytest.approx(expected, rel=1e-13)
    with pytest.raises(OverflowError, match="log=True"):
        path_metric(a, b, (2,))


def test_the_bound_is_attained_by_positive_networks_at_one():
    model = mlp()
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
    other = quantize(model, 0.25)
    x = torch.ones(1, 3, dtype=torch.float64)
    gap = (model(x) - other(x)).abs().sum().item()
    assert gap == pytest.approx(path_metric(model, other, (3,)).value, rel=1e-13)
    assert gap == pytest.approx(
        REFERENCE["mlp_3_4_3_2"]["tightness_abs_x1_trunc_quarter"][0], rel=1e-13
    )
