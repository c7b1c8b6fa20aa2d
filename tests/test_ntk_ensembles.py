"""Kernels of many random networks: against one network, by hand, and against infinite width."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from lib.ntk.empirical import empirical_ntk
from lib.ntk.ensembles import random_kernels, redrawn
from lib.ntk.errors import OutOfRange
from lib.ntk.fcn import fcn_kernel
from lib.ntk.finite import Skip, wide_cnn, wide_net
from lib.ntk.kernels import Kernels

NETWORK = {"sigma_w2": 1.7, "sigma_b2": 0.1, "activation": "erf"}
KINDS = ({}, {"residual": True}, {"layer_norm": True}, {"residual": True, "layer_norm": True})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def net_of(*widths: int, **change) -> nn.Sequential:
    return wide_net(widths, generator=generator(), **NETWORK | change)


def distance(samples: Sequence[Tensor], weights: Sequence[float], limit: Tensor) -> float:
    """Of Σ weight·mean(samples), one sample a width, from a limit, in standard errors."""
    i, j = torch.triu_indices(*limit.shape)
    entries = [some[:, i, j].double() for some in samples]
    pairs = list(zip(weights, entries, strict=True))
    far = sum(w * some.mean(0) for w, some in pairs) - limit[i, j]
    spread = sum(w**2 * some.T.cov() / len(some) for w, some in pairs)
    return float((far @ torch.linalg.solve(spread, far)).sqrt())


# --- the networks


def test_a_residual_normalised_network_is_what_it_says():
    net, x = net_of(3, 5, 5, 2, residual=True, layer_norm=True), normal(4, 3)
    first, middle, last = (
        [p.detach() for p in part.parameters()] for part in (net[0], net[1], net[2])
    )

    def dense(layer: list[Tensor], h: Tensor) -> Tensor:
        weight, bias = layer
        return math.sqrt(1.7 / h.shape[-1]) * h @ weight.T + math.sqrt(0.1) * bias

    def normalised(z: Tensor) -> Tensor:
        return (z - z.mean(-1, keepdim=True)) / z.std(-1, correction=0, keepdim=True)

    z = dense(first, x)
    z = z + dense(middle, torch.erf(normalised(z)))
    wanted = z[:, :2] + dense(last, torch.erf(normalised(z)))
    torch.testing.assert_close(net(x).detach(), wanted)


def test_without_a_hidden_layer_there_is_nothing_to_skip():
    net, x = net_of(3, 1, residual=True, layer_norm=True), normal(2, 3)
    found = random_kernels(net, x, 2, generator())
    for some, wanted in zip(found, fcn_kernel(x, depth=0, **NETWORK), strict=True):
        torch.testing.assert_close(some, wanted.expand(2, 2, 2))


@pytest.mark.parametrize(
    ("widths", "change", "words"),
    [
        ((3, 4, 5, 1), {"residual": True}, "equal"),
        ((3, 4, 5), {"residual": True}, "no more outputs"),
        ((3, 1, 1), {"layer_norm": True}, "2 neurons"),
    ],
)
def test_networks_that_cannot_be_are_refused(widths, change, words):
    with pytest.raises(OutOfRange, match=words):
        net_of(*widths, **change)


def test_layer_norm_needs_two_hidden_neurons_and_no_more():
    assert net_of(1, 2, 1, layer_norm=True)(normal(3, 1)).isfinite().all()


# --- one program for all


def drawn(net: nn.Sequential, count: int) -> list[dict[str, Tensor]]:
    """The parameters that `random_kernels` draws at seed 7, network by network."""
    random = generator(7)
    values = [v for part in (net[:-1], net[-1]) for v in redrawn(part, count, random).values()]
    names = [name for name, _ in net.named_parameters()]
    return [{n: v[k] for n, v in zip(names, values, strict=True)} for k in range(count)]


def by_hand(net: nn.Sequential, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The mean of products of outputs over the weights of the last layer."""
    for name, parameter in net.named_parameters():
        parameter.data = weights[name]
    z = net[:-1](x).detach()
    skips = isinstance(net[-1], Skip)
    h = net[-1].layer[:-1](z) if skips else z
    return (1.7 * h @ h.T + skips * z @ z.T) / h.shape[-1] + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_each_network_has_its_own_kernels(kind):
    net, x = net_of(3, 5, 5, 2, **kind), normal(4, 3)
    found = random_kernels(net, x, 3, generator(7))
    for k, weights in enumerate(drawn(net, 3)):
        ntk = empirical_ntk(net, x, parameters=weights)[..., 0, 0]
        torch.testing.assert_close(found.ntk[k], ntk)
        torch.testing.assert_close(found.nngp[k], by_hand(net, x, weights))


@pytest.mark.parametrize("readout", ["flatten", "gap"])
def test_convolutional_networks_have_theirs(readout):
    kind = NETWORK | {"shape": (3, 4), "readout": readout}
    net, x = wide_cnn((2, 3, 4, 1), generator=generator(), **kind), normal(3, 2, 3, 4)
    found = random_kernels(net, x, 2, generator(7))
    for k, weights in enumerate(drawn(net, 2)):
        torch.testing.assert_close(found.ntk[k], empirical_ntk(net, x, parameters=weights))
        torch.testing.assert_close(found.nngp[k], by_hand(net, x, weights))


def test_all_are_drawn_however_they_are_grouped():
    net, x = net_of(3, 4, 1), normal(2, 3)
    found = random_kernels(net, x, 5, generator(), at_once=2)
    assert found.ntk.shape == found.nngp.shape == (5, 2, 2)
    assert len(found.ntk[:, 0, 0].unique()) == 5


def test_dropout_masks_units_of_each_input_alone():
    """One unit and two equal inputs: what passes it is multiplied by 0 or by 2 for each input."""
    net, x = net_of(3, 1, 1), normal(1, 3).expand(2, 3)
    whole = random_kernels(net, x, 200, generator(7))
    dropped = random_kernels(net, x, 200, generator(7), keep_prob=0.5)
    for found, full in zip(dropped, whole, strict=True):
        factor = (found - 0.1) / (full - 0.1)
        kept = factor.diagonal(dim1=1, dim2=2) > 2
        both = kept[:, :, None] & kept[:, None, :]
        torch.testing.assert_close(factor, 4 * both.to(factor))
        assert 0.4 < kept.double().mean() < 0.6
        assert (kept[:, 0] != kept[:, 1]).double().mean() > 0.4


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ({}, {"keep_prob": 0.0}, "keep_prob"),
        ({"residual": True}, {"keep_prob": 0.5}, "residual"),
        ({}, {"networks": 0}, "networks"),
        ({}, {"at_once": 0}, "at_once"),
    ],
)
def test_what_has_no_kernels_is_refused(kind, change, words):
    call = {"networks": 2, "generator": generator()} | change
    with pytest.raises(OutOfRange, match=words):
        random_kernels(net_of(3, 4, 4, 1, **kind), normal(2, 3), **call)


# --- infinite width: distances are in standard errors, of six entries; 5 has probability 0.0003


def many(net: nn.Sequential, x: Tensor, count: int, **change) -> Kernels:
    return random_kernels(net, x.to(next(net.parameters())), count, generator(1), **change)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("kind", [{"residual": True}, {"keep_prob": 0.7}])
def test_one_layer_has_the_limit_for_its_mean_at_every_width(activation, kind):
    """20 000 networks of width 8, against a limit that is three per cent larger, too."""
    change, x = kind | {"activation": activation}, normal(3, 4)
    limit = fcn_kernel(x, depth=1, **NETWORK | change)
    keep = change.pop("keep_prob", 1.0)
    found = many(net_of(4, 8, 1, dtype=torch.float32, **change), x, 20_000, keep_prob=keep)
    for some, wanted in zip(found, limit, strict=True):
        assert distance([some], (1,), wanted) < 5
        assert distance([some], (1,), 1.03 * wanted) > 5


def test_a_normalised_relu_layer_has_a_diagonal_of_rational_numbers():
    """Θ_aa has the mean K + (σ_w²/2)·(N − 2)/(N − 3): 1/s² of N neurons has N/(N − 3) of its limit,
    and the projection leaves N − 2 dimensions. Width 8, 40 000 networks: 5 standard errors."""
    kind = {"activation": "relu", "layer_norm": True, "dtype": torch.float32}
    found = many(net_of(4, 8, 1, **kind), normal(3, 4), 40_000)
    for some, wanted in ((found.nngp, 0.85 + 0.1), (found.ntk, 0.85 + 0.1 + 0.85 * 6 / 5)):
        each = some.diagonal(dim1=1, dim2=2).double()
        far = (each.mean(0) - wanted) / each.std(0) * 200
        assert far.abs().max() < 5


def test_normalised_residual_networks_have_their_limit():
    """Two blocks, 10 000 networks each of width 32 and 64, extrapolated."""
    kind, x = {"residual": True, "layer_norm": True}, normal(3, 4)
    limit = fcn_kernel(x, depth=2, **NETWORK | kind)
    nets = [net_of(4, n, n, 1, dtype=torch.float32, **kind) for n in (32, 64)]
    found = [many(net, x, 10_000) for net in nets]
    for name in ("nngp", "ntk"):
        samples, wanted = [getattr(some, name) for some in found], getattr(limit, name)
        assert distance(samples, (-1, 2), wanted) < 5
        assert distance(samples, (-1, 2), 1.03 * wanted) > 5
