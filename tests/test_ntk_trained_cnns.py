"""Many convolutional networks at once against one module after the other, and their training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.ntk import conv_copies, copies, record_cnns, trained_cnns
from lib.ntk.architectures import ARCHITECTURES, tangent_kernel
from lib.ntk.cnn import cnn_kernel
from lib.ntk.experiments import live
from lib.ntk.finite import wide_cnn, wide_net
from lib.ntk.tasks import accuracy
from lib.ntk.trained_cnns import TrainedConfig

KIND = {"sigma_w2": 1.5, "sigma_b2": 0.3, "activation": "erf"}
SHAPE = (2, 4, 5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(*sizes, seed=9):
    return torch.randn(*sizes, 40, generator=seeded(seed), dtype=torch.float64)


def nets(pooled, copies_=2, channels=(3, 6), kind=KIND):
    generators = [seeded(k + 1) for k in range(copies_)]
    return conv_copies.networks(SHAPE, channels, 3, generators, pooled=pooled, **kind)


def module(networks, copy):
    """One of the copies as the book's module of a single network."""
    channels = [SHAPE[0], *(len(b[0, 0]) for b in networks.biases)]
    readout = "gap" if networks.pooled else "flatten"
    one = wide_cnn(channels, shape=SHAPE[1:], readout=readout, generator=seeded(), **KIND)
    layers = [part for part in one if hasattr(part, "weight")]
    for layer, weight, bias in zip(layers, networks.weights, networks.biases, strict=True):
        layer.weight.data = weight[copy].reshape(layer.weight.shape).detach().clone()
        layer.bias.data = bias[copy, 0].detach().clone()
    return one


def small(**changes):
    sizes = {"channels": (3,), "times": (1, 3), "images": 6, "test": 20, "seeds": 2}
    return TrainedConfig.small(**{"dtype": torch.float64} | sizes | changes)


def study(config, architecture, limit=None):
    place = architecture, config.sigma_w2[0], config.depths[0]
    if limit is None:
        limit = trained_cnns.predicted(config, *place).outputs
    return trained_cnns.trained_study(config, *place, config.channels[0], limit)


# --- networks


@pytest.mark.parametrize("pooled", [True, False])
def test_each_copy_is_a_network_of_its_own(pooled):
    both, x = nets(pooled), images(2, 7)
    found = both(x)
    for copy in range(2):
        expected = module(both, copy)(x[copy].unflatten(-1, SHAPE))
        torch.testing.assert_close(found[copy], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(both(x[0])[0], found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_circular_shift_changes_nothing_exactly_where_positions_are_pooled(pooled):
    x = images(5)
    moved = x.unflatten(-1, SHAPE).roll((1, 2), (-2, -1)).flatten(1)
    far = (nets(pooled)(moved) - nets(pooled)(x)).abs().max()
    assert far < 1e-12 if pooled else far > 0.1


@pytest.mark.parametrize("pooled", [True, False])
def test_a_layer_has_the_infinite_kernel_on_average(pooled):
    """n = 4000 networks, four channels, one output of each; five standard errors."""
    x, kind = images(3), KIND | {"sigma_w2": 1.1}
    many = nets(pooled, copies_=4000, channels=(4,), kind=kind)
    values = many(x).flatten(0, 0)[..., 0]
    found = values[:, :, None] * values[:, None]
    readout = "gap" if pooled else "flatten"
    expected = cnn_kernel(x.unflatten(-1, SHAPE), depth=1, readout=readout, **kind).nngp
    errors = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - expected).abs() < 5 * errors).all()
    assert (errors < 0.05 * expected.diagonal()).all()


@pytest.mark.parametrize("pooled", [True, False])
def test_sharpness_is_the_largest_eigenvalue_for_all_outputs(pooled):
    both, x = nets(pooled), images(2, 4)
    found = copies.sharpness(both, x, seeded(), iterations=200)
    for copy in range(2):
        one = module(both, copy)
        out = one(x[copy].unflatten(-1, SHAPE)).flatten()
        rows = [torch.autograd.grad(o, [*one.parameters()], retain_graph=True) for o in out]
        jacobian = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        assert float(found[copy]) == pytest.approx(np.linalg.norm(jacobian.numpy(), 2) ** 2)


@pytest.mark.parametrize("pooled", [True, False])
def test_copies_train_as_each_would_alone_by_torch(pooled):
    both, x = nets(pooled), images(2, 6)
    y = torch.randn(2, 6, 3, generator=seeded(4), dtype=torch.float64)
    alone, rates = [module(both, copy) for copy in range(2)], torch.tensor([0.01, 0.02])
    first = both(x).detach()
    every = [slice(None)] * 3
    list(copies.descend(both, x, y, rates.double(), every, start=first))
    for copy, one in enumerate(alone):
        optimizer = torch.optim.SGD(one.parameters(), lr=float(rates[copy]))
        for _ in every:
            optimizer.zero_grad()
            residual = one(x[copy].unflatten(-1, SHAPE)) - first[copy] - y[copy]
            (residual.square().sum() / 2).backward()
            optimizer.step()
        expected = one(x[copy].unflatten(-1, SHAPE))
        torch.testing.assert_close(both(x)[copy], expected, rtol=0, atol=1e-8)
        assert (expected - first[copy]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("shape", "changes", "words"),
    [
        ((1, 2, 8), {}, "shape = .*choose images of 3 by 3"),
        (SHAPE, {"sigma_w2": 0.0}, "choose positive variances"),
        (SHAPE, {"sigma_b2": -1.0}, "choose positive variances"),
    ],
)
def test_networks_that_cannot_be_are_refused(shape, changes, words):
    with pytest.raises(ValueError, match=words):
        conv_copies.networks(shape, (3,), 2, [seeded()], pooled=True, **KIND | changes)


# --- what is measured


def test_coarse_images_are_means_of_squares_with_mean_square_one():
    config = small(data="photographs", coarse=8)
    whole, seen = config.task(), config.seen()
    assert seen.train_x.shape == (2, 6, 3 * 4 * 4) and seen.test_x.shape == (20, 48)
    first = whole.train_x[1, 2].unflatten(-1, (3, 4, 8, 4, 8)).mean((2, 4)).flatten()
    expected = first / first.square().mean().sqrt()
    torch.testing.assert_close(seen.train_x[1, 2], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(small().seen().test_x, small().task().test_x)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_predictions_are_those_of_steps_with_the_kernel(architecture):
    """Gradient descent on the training outputs, written out, and a pseudo-inverse for the limit."""
    config = small()
    place = architecture, config.sigma_w2[0], config.depths[0]
    found, problem = trained_cnns.predicted(config, *place), config.seen()
    x, y = problem.train_x[1], problem.train_y[1]
    network = dict(zip(("sigma_w2", "depth"), place[1:], strict=True))
    network |= {"sigma_b2": config.sigma_b2, "activation": config.activation, "shape": config.shape}
    train, test = (
        tangent_kernel(architecture, *pair, **network) for pair in ((x, None), (problem.test_x, x))
    )
    eta = 1 / torch.linalg.eigvalsh(train)[-1]  # half of the largest
    fitted, held = torch.zeros_like(y), torch.zeros(20, 10, dtype=torch.float64)
    for step in range(1, 4):
        residual = y - fitted
        fitted, held = fitted + eta * train @ residual, held + eta * test @ residual
        if step in config.times:
            i = config.times.index(step)
            torch.testing.assert_close(found.outputs[1, i], held, rtol=0, atol=1e-12)
            assert found.train[1, i] == accuracy(fitted, problem.train[1])
            assert found.test[1, i] == accuracy(held, problem.test)
    last = test @ torch.linalg.pinv(train, hermitian=True) @ y
    assert found.limit[1] == accuracy(last, problem.test)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_approach_their_kernel_as_they_widen(architecture):
    """By the inverse root of the channels they would be twice as near: n = 8 networks."""
    sizes = {"times": (16,), "seeds": 8, "images": 4, "test": 10, "dtype": torch.float32}
    both = (study(small(channels=(c,), **sizes), architecture) for c in (16, 64))
    narrow, wide = (float(found.far.square().mean().sqrt()) for found in both)
    assert 1.4 < narrow / wide < 2.5
    assert narrow < 0.4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_seeds_train_together_as_one_after_the_other(architecture):
    config = small(seeds=3)
    together, alone = (study(replace(config, at_once=k), architecture) for k in (3, 1))
    for name in ("train", "test", "far"):
        found = getattr(together, name)
        assert found.shape == (3, 2)
        torch.testing.assert_close(found, getattr(alone, name), rtol=0, atol=1e-9)
    assert len(set(together.far[:, 0].tolist())) == 3


def test_a_study_measures_networks_after_steps_of_half_the_largest():
    """The steps by torch, on one network; the largest by an eigenvalue."""
    config, place = small(times=(2,)), ("CNN-P", 1.7476, 2)
    limit = torch.full((2, 1, 20, 10), 0.25, dtype=torch.float64)
    found = trained_cnns.trained_study(config, *place, 3, limit)
    problem, nets_ = config.seen(), trained_cnns.drawn(config, *place, 3, [0, 1])
    x, y = problem.train_x[1], problem.train_y[1]

    def outputs(x):
        return nets_(x)[1]

    for p in nets_.parameters:
        p.requires_grad_()
    flat = outputs(x).flatten()
    rows = [torch.autograd.grad(o, nets_.parameters, retain_graph=True) for o in flat]
    jacobian = torch.stack([torch.cat([g[1].flatten() for g in row]) for row in rows])
    eta = 1 / np.linalg.norm(jacobian.numpy(), 2) ** 2
    first = outputs(x).detach(), outputs(problem.test_x).detach()
    for _ in range(2):
        loss = (outputs(x) - first[0] - y).square().sum() / 2
        gradients = torch.autograd.grad(loss, nets_.parameters)
        with torch.no_grad():
            torch._foreach_sub_(nets_.parameters, [eta * g for g in gradients])
    parts = zip((x, problem.test_x), first, strict=True)
    fitted, held = ((outputs(part) - start).detach() for part, start in parts)
    far = (held - 0.25).square().sum(1).mean().sqrt() / y.square().sum(1).mean().sqrt()
    assert float(found.far[1, 0]) == pytest.approx(float(far), rel=1e-3)
    assert found.train[1, 0] == accuracy(fitted, problem.train[1])
    assert found.test[1, 0] == accuracy(held, problem.test)


def test_training_starts_from_nothing_and_lowers_the_error():
    config = small(times=(1, 30))
    nets_ = trained_cnns.drawn(config, "CNN-F", 1.75, 2, 8, [0, 1])
    problem = config.seen()
    assert nets_(problem.train_x).abs().max() > 0.1
    (first, _), (last, held) = trained_cnns.outputs(config, nets_, problem)
    errors = [(f - problem.train_y).square().sum() for f in (0 * last, first, last)]
    assert errors[0] > errors[1] > 2 * errors[2]
    assert held.shape == (2, 20, 10)


def test_fully_connected_networks_have_as_many_weights_between_two_layers():
    dense, flat = (trained_cnns.drawn(small(), a, 1.5, 2, 5, [0]) for a in ("FCN", "CNN-F"))
    assert dense.weights[1].numel() == flat.weights[1].numel() == (3 * 5) ** 2
    one = wide_net([64, 15, 15, 10], generator=seeded(), **KIND)
    assert [w.shape[1:] for w in dense.weights] == [p.shape for p in list(one.parameters())[::2]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_estimate_counts_the_products_of_the_layers(architecture):
    """Against torch's own count of one pass forward; six times as much is a step."""
    from torch.utils.flop_counter import FlopCounterMode

    config = small(channels=(5,), times=(7,))
    networks = trained_cnns.drawn(config, architecture, 1.5, 2, 5, [0, 1])
    x = config.seen().train_x
    with FlopCounterMode(display=False) as counter:
        networks(x)
    expected = 3 * counter.get_total_flops() * 7
    assert trained_cnns.flops(config, architecture, 2, 5) == expected


# --- the experiment


def test_live_numbers_have_the_axes_of_a_record():
    sizes = {"channels": (2, 3, 4), "times": (1, 2), "images": 3, "test": 5, "seeds": 2}
    found = live("trained-cnns", **sizes, depths=(1,), sigma_w2=(1.0, 2.0))
    assert found["test"].shape == found["far"].shape == (3, 2, 1, 3, 2, 2)
    assert found["kernel_test"].shape == (3, 2, 1, 2, 2)
    assert found["kernel_limit"].shape == (3, 2, 1, 2)


def test_a_cell_is_compared_with_the_kernel_of_its_own_place():
    config = small(depths=(1, 2), sigma_w2=(0.8, 2.5))
    before = record_cnns.prepare(config, "cpu")
    cell = {"architecture": "CNN-F", "sigma_w2": 2.5, "depth": 1, "channels": 3}
    found = record_cnns.run_cell(config, cell, "cpu", before)
    limit = trained_cnns.predicted(config, "CNN-F", 2.5, 1).outputs
    expected = trained_cnns.trained_study(config, *cell.values(), limit)
    np.testing.assert_allclose(found["far"], expected.far, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ()}, "channels = .*choose at least 1"),
        ({"channels": (0,)}, "channels = .*choose at least 1"),
        ({"depths": (0,)}, "depths = .*choose at least 1"),
        ({"at_once": 0}, "at_once = .*choose at least 1"),
        ({"times": (0, 1)}, "times = .*choose at least 1"),
        ({"times": (4, 1)}, "times = .*choose increasing"),
        ({"rate": 1.0}, "rate = .*choose a share"),
        ({"coarse": 3}, "coarse = 3.*choose a divisor"),
        ({"coarse": 4}, "coarse = 4.*choose a divisor"),
        ({"coarse": 0}, "coarse = 0.*choose at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainedConfig.small(**changes)
