"""Older bounds, and the constants of the generalization theorem."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.paths import (
    generalization_factor,
    norm_bound,
    normalized,
    operator_norm_product,
    path_lifting,
    path_norm,
    per_output_path_norm,
    sharpened_generalization_factor,
)

IMAGENET = {"n": 1_268_355, "B": 2.64, "kernel": 9, "d_in": 3 * 224**2, "d_out": 1000}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*widths: int, batch: tuple[int, ...] = (), seed: int = 0) -> list[torch.Tensor]:
    g = generator(seed)
    pairs = zip(widths[1:], widths, strict=False)
    return [torch.randn(*batch, *pair, generator=g, dtype=torch.float64) for pair in pairs]


def network(weights: list[torch.Tensor]) -> nn.Module:
    layers = []
    for m in weights:
        layers += [nn.Linear(m.shape[1], m.shape[0], bias=False, dtype=m.dtype), nn.ReLU()]
        layers[-2].weight = nn.Parameter(m.clone())
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("depth", "factor", "sharpened"),
    [
        (18, 0.0881, 0.0599),
        (34, 0.1145, 0.0716),
        (50, 0.1359, 0.0817),
        (101, 0.1885, 0.1077),
        (152, 0.2294, 0.1286),
    ],
)
def test_constants_of_the_published_table(depth, factor, sharpened):
    assert round(generalization_factor(depth=depth, pool_types=1, **IMAGENET), 4) == factor
    ours = sharpened_generalization_factor(depth=depth, pool_layers=1, **IMAGENET)
    assert round(ours, 4) == sharpened


@pytest.mark.parametrize(
    ("pool_types", "exponential"),
    [(0, (3 * 5) ** 2 * 3 * (2 * 3)), (1, (5 * 5) ** 2 * (5 / 2) * (2 * 3))],
)
def test_the_published_constant_by_hand(pool_types, exponential):
    factor = generalization_factor(
        n=16, B=1, depth=2, kernel=5, pool_types=pool_types, d_in=1, d_out=3
    )
    assert factor**2 == pytest.approx(math.log(exponential), rel=1e-14)


@pytest.mark.parametrize(
    ("pool_layers", "exponential"), [(0, 3**2 * (2 * 3)), (3, 3**2 * 5**3 * (2 * 3))]
)
def test_the_sharpened_constant_by_hand(pool_layers, exponential):
    factor = sharpened_generalization_factor(
        n=16, B=1, depth=2, kernel=5, pool_layers=pool_layers, d_in=1, d_out=3
    )
    assert factor**2 == pytest.approx(math.log(exponential), rel=1e-14)


def test_the_factor_is_linear_in_the_lipschitz_constant_and_the_radius():
    one = generalization_factor(100, 1, 3, 2, 1, 5, 2)
    assert generalization_factor(100, 1, 3, 2, 1, 5, 2, G=2, r=7) == pytest.approx(14 * one)
    assert generalization_factor(400, 1, 3, 2, 1, 5, 2) == pytest.approx(one / 2)


def test_two_matrices_by_hand():
    weights = [torch.tensor([[1.0, -2], [0, 1]]), torch.tensor([[1.0, 3]])]
    assert operator_norm_product(weights) == 3 * 4
    assert per_output_path_norm(weights).tolist() == [1 * 3 + 3 * 1]
    assert [m.tolist() for m in normalized(weights)] == [
        [[pytest.approx(1 / 3), pytest.approx(-2 / 3)], [0, 1]],
        [[3, 3]],
    ]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 1000))
def test_normalizing_brings_the_product_down_to_the_path_norm(widths, seed):
    weights = gaussian(*widths, seed=seed)
    best = normalized(weights)
    per_output = per_output_path_norm(weights)
    assert per_output.max() <= operator_norm_product(weights) * (1 + 1e-14)
    torch.testing.assert_close(per_output_path_norm(best), per_output, rtol=1e-12, atol=0)
    torch.testing.assert_close(operator_norm_product(best), per_output.max(), rtol=1e-12, atol=0)
    x = torch.randn(4, widths[0], generator=generator(seed), dtype=torch.float64)
    torch.testing.assert_close(network(best)(x), network(weights)(x), rtol=1e-9, atol=1e-12)


def test_per_output_norms_add_up_to_the_path_norm():
    weights = gaussian(4, 5, 6, 3)
    total = per_output_path_norm(weights).sum().item()
    assert total == pytest.approx(path_norm(network(weights), (4,)), rel=1e-13)


def test_dead_neurons_are_cut_off():
    weights = [torch.tensor([[0.0], [2.0]]), torch.tensor([[100.0, 3.0]])]
    assert operator_norm_product(normalized(weights)) == 6


def test_leading_dimensions_are_batched():
    weights = gaussian(3, 4, 2, batch=(5,))
    for i in range(5):
        single = [m[i] for m in weights]
        assert operator_norm_product(weights)[i] == operator_norm_product(single)
        torch.testing.assert_close(per_output_path_norm(weights)[i], per_output_path_norm(single))
        torch.testing.assert_close(normalized(weights)[1][i], normalized(single)[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_norm_bound_is_above_the_path_metric(seed):
    a = gaussian(3, 3, 3, 2, seed=seed)
    b = [m + 0.3 * d for m, d in zip(a, gaussian(3, 3, 3, 2, seed=seed + 100), strict=True)]
    radius = max(1.0, *(m.abs().sum(1).max().item() for m in (*a, *b)))
    distance = max((m - n).abs().max().item() for m, n in zip(a, b, strict=True))
    gap = np.abs(path_lifting(network(a), (3,)) - path_lifting(network(b), (3,))).sum()
    assert gap <= norm_bound(3, 3, radius, distance)


def test_the_norm_bound_by_hand():
    assert norm_bound(4, 3, 2.0, 0.5) == 3 * 16 * 4 * 0.5
    assert norm_bound(1, 1, 1.0, 0.25) == 0.25  # one weight: attained


@pytest.mark.parametrize(
    "call",
    [
        lambda: norm_bound(0, 1, 1, 1),
        lambda: norm_bound(1, 1, 0.5, 1),
        lambda: norm_bound(1, 1, 1, -1),
        lambda: norm_bound(1, 1, math.nan, 1),
        lambda: operator_norm_product([]),
        lambda: per_output_path_norm(gaussian(2, 3) + gaussian(2, 3)),
        lambda: normalized(gaussian(2, 3)[::-1] + gaussian(2, 3)),
        lambda: generalization_factor(0, 1, 1, 1, 1, 1, 1),
        lambda: generalization_factor(10, 1, 1, 1, -1, 1, 1),
        lambda: sharpened_generalization_factor(10, 1, 1, 0, 1, 1, 1),
    ],
)
def test_arguments_that_make_no_bound(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()
