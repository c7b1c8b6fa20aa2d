"""Path-norms and path-magnitudes against published numbers and against enumeration."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from lib.nets import resnet, small_resnet, stack_states
from lib.paths import (
    TooManyPaths,
    activations,
    ends,
    forward,
    lifting,
    path_activations,
    path_lifting,
    path_magnitude,
    path_norm,
    synflow,
    unroll,
)
from lib.paths.windows import sliding_sum
from networks import Forward, cnn, filled, mlp, waves

REFERENCE = json.loads((Path(__file__).parent / "pathnorm.json").read_text())
NETS = {"mlp_3_4_3_2": mlp, "tinycnn_1x4x4": cnn}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- numbers computed elsewhere ---------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("q", [0, 1, 2, 4])
def test_norms_are_the_reference_numbers(name, q):
    record = REFERENCE[name]
    norm = path_norm(NETS[name](), record["input_shape"], q)
    assert norm == pytest.approx(record[f"L{q}"], rel=1e-14)


@pytest.mark.parametrize("name", NETS)
def test_magnitudes_are_the_reference_numbers(name):
    record = REFERENCE[name]
    costs = path_magnitude(NETS[name](), record["input_shape"])
    for layer, total in record["phicost_sum_per_layer"].items():
        assert costs[layer].sum().item() == pytest.approx(total, rel=1e-13)
        first = costs[layer].flatten()[:3].tolist()
        assert first == pytest.approx(record["phicost_first3"][layer], rel=1e-13)
        position, least = record["phicost_argmin"][layer]
        assert costs[layer].argmin().item() == position
        assert costs[layer].min().item() == pytest.approx(least, rel=1e-13)


def test_folding_batchnorm_changes_the_norm_of_the_same_function():
    model = cnn()
    folded = nn.utils.fusion.fuse_conv_bn_eval(model[0], model[1])
    other = nn.Sequential(folded, nn.Identity(), *model[2:]).eval()
    x = waves(3, 1, 4, 4)
    torch.testing.assert_close(other(x), model(x), rtol=1e-12, atol=1e-12)
    expected = REFERENCE["tinycnn_1x4x4"]["L1_after_BN_folding_same_function"]
    assert path_norm(other, (1, 4, 4)) == pytest.approx(expected, rel=1e-13)


# --- against enumeration ----------------------------------------------------------------------


def brute_norm(model: nn.Module, shape, q: float) -> float:
    phi = np.abs(path_lifting(model, shape))
    return float(np.count_nonzero(phi)) if q == 0 else float((phi**q).sum() ** (1 / q))


def brute_magnitude(model: nn.Module, shape) -> dict[str, torch.Tensor]:
    """Zero each parameter in turn and see how far Φ moves."""
    phi = path_lifting(model, shape)
    costs = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, p in model.named_parameters():
            for index in np.ndindex(*p.shape):
                value = p[index].item()
                p[index] = 0.0
                costs[name][index] = np.abs(phi - path_lifting(model, shape)).sum()
                p[index] = value
    return costs


def agree(model: nn.Module, shape) -> None:
    """One sweep says what enumeration says; the graph computes what the model computes."""
    for q in (0, 0.5, 1, 2, 3):
        expected = brute_norm(model, shape, q)
        assert path_norm(model, shape, q) == pytest.approx(expected, rel=1e-12)
        if expected:
            log = path_norm(model, shape, q, log=True)
            assert log == pytest.approx(math.log(expected), rel=1e-12, abs=1e-12)
    x = waves(*shape)
    values = model(x[None]).flatten().tolist()
    graph, theta = unroll(model, shape)
    assert forward(graph, theta, x.flatten().tolist()) == pytest.approx(
        values, rel=1e-11, abs=1e-11
    )
    terms = lifting(graph, theta) * (
        activations(graph, theta, x.flatten().tolist()) @ [*x.flatten(), 1]
    )
    sums = np.bincount(ends(graph), terms, len(graph.outputs))
    assert sums.tolist() == pytest.approx(values, rel=1e-11, abs=1e-11)


def seq(*layers: nn.Module) -> nn.Module:
    return filled(nn.Sequential(*layers))


def conv(*args, **kwargs) -> nn.Module:
    return seq(nn.Conv2d(*args, **kwargs), nn.ReLU(), nn.Conv2d(args[1], 1, 1))


CASES = {
    "linear": (seq(nn.Linear(3, 2)), (3,)),
    "a layer alone": (filled(nn.Linear(3, 2)), (3,)),
    "linear on the last dimension": (seq(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), (4, 3)),
    "stride, dilation": (conv(2, 2, 2, stride=2, dilation=2, padding=1), (2, 5, 5)),
    "groups": (conv(4, 2, 2, groups=2), (4, 3, 3)),
    "padding same": (conv(1, 2, (1, 3), padding="same"), (1, 3, 4)),
    "padding valid": (conv(1, 2, 2, padding="valid"), (1, 3, 4)),
    **{
        f"padding {mode}": (conv(1, 2, 3, padding=(1, 2), padding_mode=mode), (1, 3, 4))
        for mode in ("reflect", "replicate", "circular")
    },
    "padding same, circular": (
        conv(1, 2, (2, 3), padding="same", padding_mode="circular"),
        (1, 3, 4),
    ),
    "conv1d": (seq(nn.Conv1d(2, 2, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)), (2, 6)),
    "conv3d": (seq(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.MaxPool3d(2)), (1, 3, 3, 3)),
    "transposed 1d": (seq(nn.ConvTranspose1d(2, 4, 3, stride=2, groups=2), nn.ReLU()), (2, 3)),
    "transposed 2d": (
        seq(nn.ConvTranspose2d(2, 2, 3, 2, 1, 1, dilation=2), nn.ReLU(), nn.Conv2d(2, 1, 2)),
        (2, 2, 2),
    ),
    "transposed 3d": (seq(nn.ConvTranspose3d(1, 2, 2, bias=False)), (1, 2, 2, 2)),
    "batchnorm 1d": (seq(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)), (3,)),
    "batchnorm 1d, sequences": (seq(nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.ReLU()), (2, 4)),
    "batchnorm 3d": (seq(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU()), (1, 2, 3, 2)),
    "batchnorm first": (seq(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 2)), (2, 3, 3)),
    "batchnorm without parameters": (
        seq(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2, affine=False), nn.ReLU()),
        (1, 3, 3),
    ),
    "max-pooling, padded": (seq(nn.Conv2d(1, 2, 1), nn.MaxPool2d(3, 2, 1)), (1, 5, 5)),
    "max-pooling, dilated": (seq(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2, 1, 1, 2)), (1, 5, 4)),
    "max-pooling, dilated, ceil": (
        seq(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, 3, 0, 2, ceil_mode=True)),
        (1, 5, 7),
    ),
    "average, ceil": (seq(nn.Conv2d(1, 2, 1), nn.AvgPool2d(2, 2, ceil_mode=True)), (1, 5, 5)),
    "average, padding counted": (
        seq(nn.Conv2d(1, 1, 1), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        (1, 6, 6),
    ),
    "average, padding not counted": (
        seq(nn.Conv2d(1, 1, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        (1, 6, 5),
    ),
    "average, override": (
        seq(nn.Conv2d(1, 1, 1), nn.AvgPool2d(2, divisor_override=3)),
        (1, 4, 4),
    ),
    "average 1d": (seq(nn.Conv1d(1, 2, 1), nn.AvgPool1d(3, 2, 1)), (1, 7)),
    "average 3d": (seq(nn.Conv3d(1, 1, 1), nn.AvgPool3d(2, ceil_mode=True)), (1, 3, 2, 2)),
    "adaptive average, not divisible": (
        seq(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((3, 2))),
        (1, 5, 5),
    ),
    "adaptive average, free size": (
        seq(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d((None, 2))),
        (1, 3, 5),
    ),
    "adaptive average 1d": (seq(nn.Conv1d(1, 2, 1), nn.AdaptiveAvgPool1d(3)), (1, 7)),
    "adaptive average 3d": (seq(nn.Conv3d(1, 1, 1), nn.AdaptiveAvgPool3d(2)), (1, 3, 3, 2)),
    "adaptive max": (seq(nn.Conv2d(1, 2, 1), nn.AdaptiveMaxPool2d(3)), (1, 5, 4)),
    "adaptive max 1d": (seq(nn.Conv1d(1, 2, 1), nn.AdaptiveMaxPool1d(3)), (1, 7)),
    "adaptive max 3d": (seq(nn.Conv3d(1, 1, 1), nn.AdaptiveMaxPool3d(2)), (1, 3, 3, 2)),
    "dropout, identity": (
        seq(nn.Linear(2, 2), nn.Dropout(), nn.Identity(), nn.ReLU(), nn.Linear(2, 1)),
        (2,),
    ),
    "unflatten": (
        seq(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)), nn.ReLU(), nn.Conv2d(1, 2, 2)),
        (2,),
    ),
}


def model_of(function, **layers: nn.Module) -> nn.Module:
    return filled(Forward(function, **layers))


def two(n: int = 2, m: int = 2) -> dict[str, nn.Module]:
    return {"a": nn.Linear(n, m), "b": nn.Linear(n, m)}


CASES |= {
    "x + y": (model_of(lambda m, x: m.a(x) + m.b(x).relu(), **two()), (2,)),
    "x - y": (model_of(lambda m, x: m.a(x).relu() - m.b(x).relu(), **two()), (2,)),
    "-x": (model_of(lambda m, x: m.b(-m.a(x).relu()).relu(), **two()), (2,)),
    "x + x": (model_of(lambda m, x: m.b(m.a(x) + x) + x + x, **two()), (2,)),
    "torch.sub with alpha": (
        model_of(lambda m, x: torch.sub(m.a(x), m.b(x), alpha=3), **two()),
        (2,),
    ),
    "numbers": (model_of(lambda m, x: 3 * m.a(x).relu() / 7 - m.b(x) * -0.5, **two()), (2,)),
    "times zero": (model_of(lambda m, x: m.a(x) * 0 + m.b(x), **two()), (2,)),
    "broadcasting": (
        model_of(
            lambda m, x: m.a(x) + F.adaptive_avg_pool2d(m.b(x).relu(), 1),
            a=nn.Conv2d(1, 2, 1),
            b=nn.Conv2d(1, 2, 1),
        ),
        (1, 2, 3),
    ),
    "x += y": (model_of(lambda m, x: added_in_place(m, x), **two()), (2,)),
    "cat": (
        model_of(
            lambda m, x: m.c(torch.cat([m.a(x), x, m.b(x)], dim=1).relu()),
            c=nn.Linear(6, 2),
            **two(),
        ),
        (2,),
    ),
    "mean": (
        model_of(
            lambda m, x: m.b(m.a(x).relu().mean((2, 3))), a=nn.Conv2d(1, 2, 2), b=nn.Linear(2, 1)
        ),
        (1, 3, 4),
    ),
    "mean, kept": (
        model_of(lambda m, x: m.a(x).mean(-1, keepdim=True), a=nn.Conv1d(1, 2, 2)),
        (1, 4),
    ),
    "view with sizes": (
        model_of(
            lambda m, x: m.b(m.a(x).relu().view(x.size(0), -1)),
            a=nn.Conv1d(1, 2, 2),
            b=nn.Linear(6, 1),
        ),
        (1, 4),
    ),
    "reshape with shapes": (
        model_of(
            lambda m, x: m.b(m.a(x).reshape(x.shape[0], -1, 2 * x.shape[1]).relu()),
            a=nn.Conv1d(1, 2, 2),
            b=nn.Linear(2, 1),
        ),
        (1, 5),
    ),
    "permute": (
        model_of(
            lambda m, x: m.b(m.a(x).permute(0, 2, 1).relu()),
            a=nn.Conv1d(1, 2, 2),
            b=nn.Linear(2, 2),
        ),
        (1, 4),
    ),
    "functions": (
        model_of(
            lambda m, x: m.b(torch.flatten(F.max_pool2d(F.relu(m.a(x)), 2, 1), 1)),
            a=nn.Conv2d(1, 2, 2),
            b=nn.Linear(2, 1),
        ),
        (1, 3, 3),
    ),
    "functions of pooling": (
        model_of(
            lambda m, x: F.adaptive_max_pool2d(
                F.avg_pool2d(m.a(x), 2, 1, 1, False, False), output_size=2
            ),
            a=nn.Conv2d(1, 1, 2),
        ),
        (1, 4, 4),
    ),
    "functional dropout": (
        model_of(lambda m, x: m.a(F.dropout(x, 0.3, training=m.training)), a=nn.Linear(2, 2)),
        (2,),
    ),
    "a branch that ends in nothing": (model_of(lambda m, x: (m.a(x), m.b(x))[1], **two()), (2,)),
}


def added_in_place(m, x):
    y = m.a(x)
    y += m.b(x)
    return F.relu(y, inplace=True)


@pytest.mark.parametrize("name", CASES)
def test_one_sweep_agrees_with_enumeration(name):
    agree(*CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_magnitudes_agree_with_zeroing_and_recomputing(name):
    model, shape = CASES[name]
    costs, expected = path_magnitude(model, shape), brute_magnitude(model, shape)
    assert list(costs) == [n for n, _ in model.named_parameters()]
    for n in costs:
        torch.testing.assert_close(costs[n], expected[n], rtol=1e-11, atol=1e-12)


BLOCKS = {
    "conv": lambda c: nn.Conv2d(c, 2, 2, padding=1),
    "thin": lambda c: nn.Conv2d(c, 1, 2, bias=False),
    "grouped": lambda c: nn.Conv2d(
        c, 2 * c, (1, 2), groups=c, padding=(0, 1), padding_mode="circular"
    ),
    "up": lambda c: nn.ConvTranspose2d(c, 1, 2, stride=2),
    "norm": nn.BatchNorm2d,
    "relu": lambda c: nn.ReLU(),
    "max": lambda c: nn.MaxPool2d(2, ceil_mode=True),
    "overlapping": lambda c: nn.MaxPool2d(2, 1, 1),
    "average": lambda c: nn.AvgPool2d(2, 1, 1, count_include_pad=False),
    "adaptive": lambda c: nn.AdaptiveAvgPool2d((2, 3)),
    "residual": lambda c: Forward(lambda m, x: x - m.a(x).relu(), a=nn.Conv2d(c, c, 1)),
    "doubled": lambda c: Forward(lambda m, x: torch.cat([-x, 2 * x], 1)),
}


@st.composite
def stacks(draw) -> nn.Module:
    """A random stack of the vocabulary for a 1×3×3 image; random parameters, some zero."""
    layers, x = [], torch.zeros(1, 1, 3, 3)
    for name in draw(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5)):
        assume(min(x.shape[2:]) > 1)
        layers.append(BLOCKS[name](x.shape[1]).eval())
        x = layers[-1](x)
    layers += [nn.Flatten(), nn.Linear(x.numel(), 2)]
    model = filled(nn.Sequential(*layers), a=draw(st.floats(0.1, 10)))
    with torch.no_grad():
        for p in model.parameters():
            p *= p.abs() > draw(st.sampled_from((0, 0.3)))
    return model


@settings(max_examples=60, deadline=None, derandomize=True)
@given(stacks())
def test_one_sweep_agrees_with_enumeration_on_random_stacks(model):
    try:
        phi = np.abs(path_lifting(model, (1, 3, 3), limit=20_000))
    except TooManyPaths:
        assume(False)
    for q in (0, 1, 2.5):
        expected = np.count_nonzero(phi) if q == 0 else (phi**q).sum() ** (1 / q)
        assert path_norm(model, (1, 3, 3), q) == pytest.approx(expected, rel=1e-12)
    x = waves(1, 3, 3)
    graph, theta = unroll(model, (1, 3, 3))
    terms = phi_signed(model) * (path_activations(model, x) @ [*x.flatten(), 1])
    sums = np.bincount(ends(graph), terms, 2)
    scale = phi.sum() + 1
    np.testing.assert_allclose(sums, model(x[None])[0].detach(), rtol=0, atol=1e-13 * scale)
    assert len(theta) == len(graph.names)


def phi_signed(model: nn.Module) -> np.ndarray:
    return path_lifting(model, (1, 3, 3))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(stacks())
def test_magnitudes_agree_with_zeroing_and_recomputing_on_random_stacks(model):
    assume(sum(p.numel() for p in model.parameters()) < 60)
    try:
        path_lifting(model, (1, 3, 3), limit=3_000)
    except TooManyPaths:
        assume(False)
    expected = brute_magnitude(model, (1, 3, 3))
    for name, cost in path_magnitude(model, (1, 3, 3)).items():
        torch.testing.assert_close(cost, expected[name], rtol=1e-10, atol=1e-11)


def test_exact_lifting_is_in_fractions_of_the_stored_numbers():
    phi = path_lifting(cnn(), (1, 4, 4), exact=True)
    assert all(isinstance(p, Fraction) for p in phi)
    assert float(sum(map(abs, phi))) == pytest.approx(path_norm(cnn(), (1, 4, 4)), rel=1e-14)
    activations_ = path_activations(cnn(), waves(1, 4, 4), exact=True)
    assert np.array_equal(activations_, path_activations(cnn(), waves(1, 4, 4)))


def test_averages_of_nine_are_exact_ninths():
    model = seq(nn.Conv2d(1, 1, 1, bias=False), nn.AvgPool2d(3))
    nn.init.ones_(model[0].weight)
    assert set(path_lifting(model, (1, 3, 3), exact=True)) == {Fraction(1, 9)}


# --- cases in which other software is wrong without a word -------------------------------------


def ones(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    return model


def test_ceil_mode_reaches_all_twenty_five_entries():
    model = ones(seq(nn.Conv2d(1, 1, 1, bias=False), nn.MaxPool2d(2, ceil_mode=True)))
    assert path_norm(model, (1, 5, 5)) == 25


def test_a_last_window_that_would_start_beyond_the_border_is_none():
    pool = nn.MaxPool1d(2, stride=7, padding=1, dilation=2, ceil_mode=True)
    x = torch.arange(1.0, 7.0).view(1, 1, 6)  # the one window reads the border and the 2
    assert sliding_sum(pool, 1, x).tolist() == pool(x).tolist() == [[[2.0]]]


def test_a_running_mean_adds_to_the_bias_whatever_its_sign():
    model = seq(nn.BatchNorm1d(1, eps=0.0))
    for mean in (5.0, -5.0):
        model[0].running_mean.fill_(mean)
        model[0].running_var.fill_(1.0)
        nn.init.ones_(model[0].weight)
        nn.init.zeros_(model[0].bias)
        assert path_norm(model, (1,)) == 6.0


def test_the_size_of_an_average_belongs_inside_the_root():
    model = ones(seq(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1)))
    assert path_norm(model, (1, 7, 7), q=2) == pytest.approx(1 / 7, rel=1e-15)


def test_differences_and_negatives_add_up():
    model = ones(model_of(lambda m, x: -(m.a(x) - m.b(x)), **two()))
    assert path_norm(model, (2,)) == 2 * (2 * 2 + 2)


# --- sizes, types, devices --------------------------------------------------------------------


def test_several_outputs_are_summed_over():
    both = model_of(lambda m, x: (m.a(x), {"b": m.b(x).relu()}), **two())
    alone = path_norm(both.a, (2,)) + path_norm(both.b, (2,))
    assert path_norm(both, (2,)) == pytest.approx(alone, rel=1e-15)


def test_float32_agrees_with_float64_to_its_precision():
    double = resnet(18, generator=generator(), width=8, dtype=torch.float64).eval()
    norm, shape = path_norm(double, (3, 32, 32)), (3, 32, 32)
    costs = path_magnitude(double, shape, scale="relative")
    single = double.float()
    assert path_norm(single, shape) == pytest.approx(norm, rel=1e-5)
    for name, cost in path_magnitude(single, shape, scale="relative").items():
        assert cost.dtype == torch.float32
        torch.testing.assert_close(cost.double(), costs[name], rtol=1e-4, atol=1e-12)


def test_path_counts_are_exact_in_float32():
    layers = (nn.Linear(4097, 4097, bias=False), nn.Linear(4097, 1, bias=False))
    model = ones(nn.Sequential(*layers).eval())
    assert path_norm(model, (4097,), q=0) == 4097**2  # float32 has no such integer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resnet_152_has_a_logarithm_where_its_norm_and_its_paths_overflow(dtype):
    model = resnet(152, generator=generator(), width=16, dtype=dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            p *= 1000  # each of 151 layers adds seven to the logarithm
    log = path_norm(model, (3, 32, 32), log=True)
    assert 1000 < log < math.inf
    with pytest.raises(OverflowError, match="log=True"):
        path_norm(model, (3, 32, 32))
    shares = path_magnitude(model, (3, 32, 32), scale="relative")
    assert shares["fc.weight"].sum() + shares["fc.bias"].sum() == pytest.approx(1, rel=1e-4)
    logs = path_magnitude(model, (3, 32, 32), scale="log")
    assert logs["fc.weight"].exp().max() == math.inf and logs["fc.weight"].logsumexp((0, 1)) <= log
    with pytest.raises(OverflowError, match="scale='log'"):
        path_magnitude(model, (3, 32, 32))


@pytest.mark.parametrize("factor", [2.0**-900, 2.0**900])
def test_extreme_weights_only_shift_the_logarithm(factor):
    expected = path_norm(cnn_without_bias(1.0), (2,), q=2, log=True) + 3 * math.log(factor)
    assert path_norm(cnn_without_bias(factor), (2,), q=2, log=True) == pytest.approx(
        expected, rel=1e-12
    )


def cnn_without_bias(factor: float) -> nn.Module:
    model = seq(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    with torch.no_grad():
        for p in model.parameters():
            p *= factor
    return model


def test_opposite_extremes_cancel():
    model = cnn_without_bias(1.0)
    expected = path_norm(model, (2,))
    with torch.no_grad():
        model[0].weight *= 2.0**-1000
        model[2].weight *= 2.0**1000
    assert path_norm(model, (2,)) == expected


def test_factors_that_multiply_up_beyond_float32_do_not_overflow():
    def forward(m, x):
        for _ in range(40):
            x = 1000 * x
        return m.a(x)

    model = ones(Forward(forward, a=nn.Linear(1, 1, bias=False)).eval())
    expected = 40 * math.log(1000)
    assert path_norm(model, (1,), log=True) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(-100, 100), min_size=4, max_size=4), st.sampled_from([0.5, 1, 2]))
def test_any_power_of_two_on_a_layer_shifts_the_logarithm(shifts, q):
    kinds = (nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model = seq(*kinds, nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False)).float()
    layers = [model[i] for i in (0, 1, 3, 5)]
    for norm in (model[1], model[4]):  # no shift: every path goes through all layers
        norm.running_mean.zero_()
        nn.init.zeros_(norm.bias)
    before = path_norm(model, (2,), q, log=True)
    shares = path_magnitude(model, (2,), scale="relative")
    with torch.no_grad():
        for layer, k in zip(layers, shifts, strict=True):
            layer.weight *= 2.0**k
    expected = before + sum(shifts) * math.log(2)
    assert path_norm(model, (2,), q, log=True) == pytest.approx(expected, rel=1e-6, abs=1e-5)
    for name, share in path_magnitude(model, (2,), scale="relative").items():
        torch.testing.assert_close(share, shares[name], rtol=1e-5, atol=1e-7)


def test_scales_of_a_score_are_one_score():
    model, shape = cnn(), (1, 4, 4)
    full = path_magnitude(model, shape)
    share = path_magnitude(model, shape, scale="relative")
    log = path_magnitude(model, shape, scale="log")
    norm = path_norm(model, shape)
    for name, cost in full.items():
        torch.testing.assert_close(share[name] * norm, cost, rtol=1e-13, atol=0)
        torch.testing.assert_close(log[name].exp(), cost, rtol=1e-12, atol=0)
        assert share[name].max() <= 1


def test_a_network_of_zeros_has_norm_zero_and_no_costs():
    model = seq(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert path_norm(model, (2,)) == 0
    assert path_norm(model, (2,), log=True) == -math.inf
    for scale, value in (("absolute", 0), ("relative", 0), ("log", -math.inf)):
        for cost in path_magnitude(model, (2,), scale=scale).values():
            assert (cost == value).all()


def test_a_parameter_on_no_path_costs_nothing():
    model = model_of(lambda m, x: m.a(x), **two())
    costs = path_magnitude(model, (2,))
    assert costs["b.weight"].abs().sum() == 0
    assert costs["a.weight"].abs().sum() > 0


def test_gradients_may_be_switched_off_around_a_score():
    expected = path_magnitude(mlp(), (3,))
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            costs = path_magnitude(mlp(), (3,))
        assert all(torch.equal(costs[name], expected[name]) for name in expected)


def test_masks_of_torch_pruning_count_as_zeros():
    model, plain = cnn(), cnn()
    mask = torch.ones_like(model[4].weight)
    mask[0] = 0
    prune.custom_from_mask(model[4], "weight", mask)
    with torch.no_grad():
        plain[4].weight *= mask
        model[4].weight_orig *= 2  # the mask applies to what is stored now
        plain[4].weight *= 2
    assert path_norm(model, (1, 4, 4)) == path_norm(plain, (1, 4, 4))
    masked, zeroed = path_magnitude(model, (1, 4, 4)), path_magnitude(plain, (1, 4, 4))
    assert torch.equal(masked["4.weight_orig"], zeroed["4.weight"])


def test_scores_are_those_of_synflow_without_biases_and_pooling():
    model = seq(
        *(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 2, bias=False), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3, bias=False)),
    )
    costs, scores = path_magnitude(model, (1, 7, 7)), synflow(model, (1, 7, 7))
    for name in costs:
        torch.testing.assert_close(costs[name], scores[name], rtol=1e-12, atol=0)


def snapshot(model: nn.Module) -> list:
    return [
        *(value.clone() for value in model.state_dict().values()),
        *(p.grad for p in model.parameters()),
        *(m.training for m in model.modules()),
        *(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
        *(sorted(vars(m)) for m in model.modules()),
        *(p.requires_grad for p in model.parameters()),
        *(p._version for p in model.parameters()),
    ]


def test_the_model_is_left_as_it_was():
    model = small_resnet(generator=generator()).eval()
    prune.l1_unstructured(model.fc, "weight", 0.5)
    model.conv1.weight.requires_grad_(False)
    before = snapshot(model)
    path_norm(model, (1, 8, 8), q=2)
    path_magnitude(model, (1, 8, 8))
    for a, b in zip(before, snapshot(model), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_copies_in_one_network_have_the_scores_of_the_single_networks():
    singles = [small_resnet(generator=generator(s), dtype=torch.float64).eval() for s in range(2)]
    joint = small_resnet(generator=generator(), copies=2, dtype=torch.float64).eval()
    joint.load_state_dict(stack_states([net.state_dict() for net in singles], joint))
    costs = path_magnitude(joint, (1, 8, 8))
    each = [path_magnitude(net, (1, 8, 8)) for net in singles]
    for cost, *parts in zip(costs.values(), *(scores.values() for scores in each), strict=True):
        expected = torch.cat(parts).reshape(cost.shape)
        torch.testing.assert_close(cost, expected, rtol=1e-11, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_matter():
    model = resnet(18, generator=generator(), width=8, dtype=torch.float64).eval()
    here = path_norm(model, (3, 32, 32)), path_magnitude(model, (3, 32, 32))
    there = path_norm(model.cuda(), (3, 32, 32)), path_magnitude(model, (3, 32, 32))
    assert there[0] == pytest.approx(here[0], rel=1e-12)
    for name, cost in there[1].items():
        torch.testing.assert_close(cost.cpu(), here[1][name], rtol=1e-10, atol=0)
