"""The experiments on trainability: each piece against another way of computing it."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lib.data import digits
from lib.ntk import copies, experiments, flow, maps, pooling, sgd_map, steps, tasks, width
from lib.ntk.architectures import ARCHITECTURES, tangent_kernel
from lib.ntk.experiments import live
from lib.ntk.fcn import fcn_kernel
from lib.ntk.flow import FlowConfig
from lib.ntk.lanczos import krylov
from lib.ntk.maps import MapConfig
from lib.ntk.pooling import PoolingConfig
from lib.ntk.recorded import EXPERIMENTS
from lib.ntk.sgd_map import SgdConfig
from lib.ntk.spectrum import mean_predictor
from lib.ntk.steps import StepConfig
from lib.runs.plan import Plan

KIND = {"sigma_w2": 1.5, "sigma_b2": 0.05, "activation": "erf"}
SCALES = {"sigma_w2": torch.tensor([1.5, 0.7], dtype=torch.float64), "sigma_b2": 0.3}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(n=5, features=6):
    return torch.randn(n, features, generator=seeded(9), dtype=torch.float64)


def nets(activation="erf", outputs=3):
    sizes = [6, 8, 7, outputs]
    return copies.networks(sizes, [seeded(1), seeded(2)], activation=activation, **SCALES)


def module(networks, copy):
    """One of the copies as a torch module with the scales inside the parameters."""
    layers = []
    for weight, bias in zip(networks.weights, networks.biases, strict=True):
        linear = nn.Linear(*weight.shape[:0:-1], dtype=weight.dtype)
        scale = networks.scales.weight[copy, 0, 0] / math.sqrt(weight.shape[-1])
        linear.weight.data = (scale * weight[copy]).detach().clone()
        linear.bias.data = (networks.scales.bias[copy, 0, 0] * bias[copy, 0]).detach().clone()
        layers += [linear, networks.activation]
    return layers[:-1]


def through(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def jacobian(networks, copy, x):
    """Gradients of all outputs on ``x`` by the parameters in the NTK parameterization."""
    layers, rows = module(networks, copy), []
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    sigma_b = networks.scales.bias[copy, 0, 0]
    for output in through(layers, x).flatten():
        for layer in linear:
            layer.zero_grad()
        output.backward(retain_graph=True)
        row = []
        for layer in linear:
            side = networks.scales.weight[copy, 0, 0] / math.sqrt(layer.in_features)
            row += [side * layer.weight.grad.flatten(), sigma_b * layer.bias.grad]
        rows.append(torch.cat(row))
    return torch.stack(rows)


# --- tasks


def test_inputs_have_mean_square_one_and_labels_are_centred():
    found = tasks.task("digits", 50, 100, 3)
    both = torch.cat([found.train_x.flatten(0, 1), found.test_x])
    torch.testing.assert_close(both.square().mean(1), torch.ones(250, dtype=torch.float64))
    assert found.train_y.shape == (3, 50, 10)
    torch.testing.assert_close(found.train_y.sum(2), torch.zeros(3, 50, dtype=torch.float64))
    assert (found.train_y.argmax(2) == found.train).all()


def test_training_sets_differ_and_hold_no_image_twice_or_from_the_test():
    found = tasks.task("digits", 200, 300, 2)
    for images in found.train_x:
        distances = torch.cdist(images, torch.cat([images, found.test_x]))
        assert (distances < 1e-6).sum() == len(images)
    assert not torch.equal(found.train[0], found.train[1])


def test_the_labels_are_those_of_the_images():
    found = tasks.task("digits", 1400, 300, 1, seed=4)
    whole = digits(seeded(4), test=300, dtype=torch.float64)
    near = torch.cdist(found.train_x[0], tasks.unit(whole.train_x)).argmin(1)
    assert (whole.train_y[near] == found.train[0]).all()


def test_two_classes():
    found = tasks.task("digits", 30, 200, 1, classes=2)
    assert set(found.train.unique().tolist()) == set(found.test.unique().tolist()) == {0, 1}
    assert set(found.train_y.unique().tolist()) == {-0.5, 0.5}


def test_pieces_are_cut_in_rows():
    x = torch.arange(2 * 3 * 5 * 6).reshape(2, 3, 5, 6)
    found = tasks.pieces(x, 3, 2)
    assert found.shape == (2, 4, 3, 3, 3)
    for piece, (top, left) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        torch.testing.assert_close(found[:, piece], x[..., top : top + 3, left : left + 3])


@pytest.fixture(scope="module")
def squares():
    """Squares of small photographs, of six tiles each, whose pixels are numbered through."""
    numbers = np.arange(2 * 130 * 200).reshape(2, 130, 200, 1) * np.ones(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "load_sample_images", lambda: SimpleNamespace(images=[*numbers]))
        found = tasks.photographs(seeded(), test=242, dtype=torch.float64)
    step = (found.train_x[0, 0, 0, 1] - found.train_x[0, 0, 0, 0]).item()
    lowest = min(found.train_x.min().item(), found.test_x.min().item())
    return found, *(((x - lowest) / step).round() for x in (found.train_x, found.test_x))


def test_squares_of_photographs_are_pieces_of_them(squares):
    for x in squares[1:]:
        down, across = x.diff(dim=2), x.diff(dim=3)
        assert (down == 200).all() and (across == 1).all() and (x == x[:, :1]).all()


def test_no_pixel_of_a_photograph_is_both_in_training_and_in_test_squares(squares):
    training, test = (set(x.unique().tolist()) for x in squares[1:])
    assert len(training | test) == 12 * 62**2  # of each tile, all but two rows and columns
    assert not training & test


def test_squares_of_photographs_are_standard_and_their_classes_the_photographs(squares):
    found = squares[0]
    assert found.train_x.shape == (1210, 3, 32, 32) and len(found.test_x) == 242
    assert found.train_x.mean().item() == pytest.approx(0, abs=1e-12)
    assert found.train_x.std().item() == pytest.approx(1)
    x, labels = torch.cat(found[::2]), torch.cat(found[1::2])
    assert labels.bincount().tolist() == [726, 726]
    assert x[labels == 0].max() < x[labels == 1].min()


def test_photographs_have_only_so_many_squares_to_test_on():
    with pytest.raises(ValueError, match="test = 2421: choose at most the 2420"):
        tasks.photographs(seeded(), test=2421, dtype=torch.float64)


def test_a_task_of_photographs_has_two_classes():
    found = tasks.task("photographs", 30, 40, 2)
    assert found.train_x.shape == (2, 30, 3072) and found.train_y.shape == (2, 30, 2)
    assert set(found.test.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mnist", 10, 10, 1), "choose one of"),
        (("digits", 0, 10, 1), "choose at least 1"),
        (("digits", 10, 1797, 1), "at least 1 of the 1797 images, not all"),
        (("digits", 1700, 100, 1), "choose at most the 1697"),
    ],
)
def test_tasks_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        tasks.task(*arguments)


# --- copies of networks


@pytest.mark.parametrize("activation", ["erf", "relu", "tanh", torch.sin])
def test_each_copy_is_a_network_of_its_own(activation):
    networks, x = nets(activation), inputs()
    for copy in range(2):
        expected = through(module(networks, copy), x)
        torch.testing.assert_close(networks(x)[copy], expected)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_empirical_kernels_are_products_of_gradients(activation):
    networks, x = nets(activation), inputs()
    found = copies.kernels(networks, x)
    for copy in range(2):
        first = jacobian(networks, copy, x)[::3]  # the first output on each input
        torch.testing.assert_close(found.ntk[copy], first @ first.T)
        hidden = through(module(networks, copy)[:-1], x)
        expected = SCALES["sigma_w2"][copy] / 7 * hidden @ hidden.T + 0.3
        torch.testing.assert_close(found.nngp[copy], expected.detach())


def test_sharpness_is_the_largest_eigenvalue_for_all_outputs():
    networks, x = nets(), inputs()
    found = copies.sharpness(networks, x, seeded(), iterations=300)
    for copy in range(2):
        rows = jacobian(networks, copy, x)
        largest = torch.linalg.eigvalsh(rows @ rows.T)[-1]
        torch.testing.assert_close(found[copy], largest, rtol=1e-6, atol=0)
        assert largest > torch.linalg.eigvalsh(rows[::3] @ rows[::3].T)[-1]


def test_copies_train_as_each_would_alone():
    x, y = inputs(), inputs(features=3)
    networks, rates, batches = nets(), torch.tensor([0.05, 0.2]), [[0, 3], [4, 1], [2, 0]]
    start = nets()(x)
    together = list(copies.descend(networks, x, y, rates, map(torch.tensor, batches), start=start))
    for copy in range(2):
        weights = [w[copy].clone().requires_grad_() for w in nets().weights]
        biases = [b[copy].clone().requires_grad_() for b in nets().biases]
        scales = copies.Scales(*(s[copy][None] for s in networks.scales))
        shown = copies.Networks(
            [w[None] for w in weights], [b[None] for b in biases], scales, networks.activation
        )
        optimiser = torch.optim.SGD([*weights, *biases], lr=float(rates[copy]))
        for batch, residual in zip(batches, together, strict=True):
            optimiser.zero_grad()
            alone = shown(x[batch])[0] - start[copy, batch].detach() - y[batch]
            torch.testing.assert_close(residual[copy], alone.detach())
            (alone.square().sum() / 2).backward()
            optimiser.step()
        for new, old in zip(networks.weights, weights, strict=True):
            torch.testing.assert_close(new[copy].detach(), old.detach())


def test_batches_go_through_all_images_in_every_epoch():
    stream = copies.batches(10, 4, seeded())
    epochs = [torch.cat([next(stream) for _ in range(3)]) for _ in range(2)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(*epochs)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sizes": [3]}, "at least two"),
        ({"sizes": [3, 0, 1]}, "at least 1"),
        ({"sigma_w2": 0.0}, "positive variances"),
        ({"sigma_b2": -1.0}, "positive variances"),
        ({"activation": "step"}, "step"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes, error):
    given = {"sizes": [3, 2], "generators": [seeded()]} | KIND | changes
    with pytest.raises(ValueError, match=error):
        copies.networks(**given)


# --- width


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_one_hidden_layer_has_the_infinite_kernels_on_average(activation):
    """Both are unbiased at depth 1; n = 4000 networks of width 3, four standard errors."""
    x, kind = inputs(3), KIND | {"depth": 1, "activation": activation}
    found, limit = width.finite_kernels(x, 3, range(4000), **kind), fcn_kernel(x, **kind)
    for some, exact in zip(found, limit, strict=True):
        assert ((some.mean(0) - exact).abs() < 4 * some.std(0) / math.sqrt(4000)).all()


def test_drawn_block_by_block_or_at_once_the_networks_are_the_same(monkeypatch):
    x = inputs(3, 16)
    whole = width.finite_kernels(x, 64, [3, 8], depth=2, **KIND)
    monkeypatch.setattr(width, "BLOCK", 4096)  # 32 rows of two networks
    for part, exact in zip(
        width.finite_kernels(x, 64, [3, 8], depth=2, **KIND), whole, strict=True
    ):
        torch.testing.assert_close(part, exact)


def test_the_way_back_has_the_transpose_of_the_way_forward(monkeypatch):
    monkeypatch.setattr(width, "BLOCK", 100)
    layer = width.streamed(inputs(), [1, 2], 0, [6, 20])
    forward = layer.forward(torch.eye(6, dtype=torch.float64).expand(2, 6, 6))
    back = layer.back(torch.eye(20, dtype=torch.float64).expand(2, 20, 20))
    torch.testing.assert_close(forward.mT, back)
    assert not torch.equal(forward[0], forward[1])


def test_the_rate_of_a_power_law_is_its_exponent():
    widths = [4, 16, 128]
    assert width.rate(widths, 3 * torch.tensor(widths) ** -0.5) == pytest.approx(-0.5, abs=1e-6)


def test_kernels_converge_at_the_inverse_root_of_the_width():
    """n = 16 networks at each of six widths; the exponent has a standard error of about 0.04."""
    found = live("kernel-width", seeds=16, widths=tuple(2**k for k in range(4, 10)))
    for place in range(2):
        for name in ("nngp", "ntk"):
            limit = torch.tensor(found[f"{name}_limit"][place])
            kernels = torch.tensor(found[name][place]).double()
            far = width.deviation(kernels, limit)
            assert width.rate(found.axes["width"], far) == pytest.approx(-0.5, abs=0.12)


# --- maps


def test_a_kernel_map_is_one_kernel_after_the_other():
    config = MapConfig.small(images=(40,), test=60, seeds=2, depths=(0, 3, 7), times=(2.0, 50.0))
    problem = config.task(images=40)
    found = maps.kernel_map(config, 1.9, problem)
    kind = {"sigma_w2": 1.9, "sigma_b2": config.sigma_b2, "activation": "erf"}
    for seed in range(2):
        x, y = problem.train_x[seed], problem.train_y[seed]
        for place, depth in enumerate(config.depths):
            train = fcn_kernel(x, depth=depth, **kind).ntk
            values = np.linalg.eigvalsh(train.numpy())
            assert float(found.kappa[place, seed]) == pytest.approx(
                values[-1] / values[0], rel=1e-6
            )
            assert float(found.top[place, seed]) == pytest.approx(values[-1], rel=1e-12)
            test = fcn_kernel(problem.test_x, x, depth=depth, **kind).ntk
            for clock, eta in enumerate((1 / 400, 1 / values[-1])):
                for moment, t in enumerate(config.times):
                    spot = place, seed, clock, moment
                    for kernel, name, labels in (
                        (train, "train", problem.train[seed]),
                        (test, "test", problem.test),
                    ):
                        outputs = mean_predictor(kernel, train, y, t=t, eta=eta)
                        right = tasks.accuracy(outputs, labels)
                        assert float(getattr(found, name)[spot]) == pytest.approx(float(right))


@pytest.mark.parametrize(("sigma_w2", "depth"), [(1.0, 2), (1.0, 40), (1.75, 40), (2.8, 8)])
def test_krylov_spaces_train_as_all_eigenvectors_do(sigma_w2, depth):
    """400 digits, both clocks to the longest time: outputs to 1e-7, with rank 100."""
    problem, kind = tasks.task("digits", 400, 1, 2), {"sigma_w2": sigma_w2, "depth": depth}
    train = fcn_kernel(problem.train_x, sigma_b2=0.18, activation="erf", **kind).ntk
    values = torch.linalg.eigvalsh(train)
    t = torch.tensor([[1.0, 64.0, 4096.0]] * 2, dtype=torch.float64)
    eta = torch.stack([torch.full((2,), 1 / 4000).double(), 1 / values[:, -1]])[:, None, :, None]
    exact = mean_predictor(train, train, problem.train_y, t, eta)
    space = krylov(train, problem.train_y)
    torch.testing.assert_close(space.values.amax((1, 2)), values[:, -1])
    found = train @ space.coefficients(t, eta[..., None])
    assert float((found - exact).norm() / exact.norm()) < 1e-7


def test_a_krylov_space_can_be_everything_or_nothing():
    """Five columns of a 12 by 12 kernel, one of them 0: the inverse, at infinite time."""
    root = torch.randn(12, 12, generator=seeded(), dtype=torch.float64)
    kernel, y = root @ root.T + torch.eye(12, dtype=torch.float64), inputs(12, 5)
    y[:, 3] = 0
    space = krylov(kernel, y)
    long = space.coefficients(torch.tensor([1e9], dtype=torch.float64), torch.tensor(1.0))[0]
    torch.testing.assert_close(long, torch.linalg.solve(kernel, y))
    values = torch.linalg.eigvalsh(kernel).expand(5, 12)
    torch.testing.assert_close(space.values[[0, 1, 2, 4]], values[:4])


def test_a_map_of_many_images_is_that_of_few(monkeypatch):
    config = MapConfig.small(depths=(0, 5, 24), test=100, seeds=2)
    exact = maps.kernel_map(config, 1.9, config.task(images=150))
    monkeypatch.setattr(maps, "WHOLE", 100)
    found = maps.kernel_map(config, 1.9, config.task(images=150))
    assert found.kappa.isnan().all()
    for name in ("train", "test", "top", "bulk"):
        torch.testing.assert_close(getattr(found, name), getattr(exact, name))


def test_deep_networks_learn_near_the_critical_line_only():
    found = live("kernel-map", sigma_w2=(1.0, 1.75, 3.0), depths=(32,), seeds=3)
    test, train = (found[name][0, :, 0, :, 0, -2].mean(1) for name in ("test", "train"))
    assert train[0] < 0.4  # ordered: not trained in time
    assert train[2] == 1  # chaotic: trained, and wrong elsewhere
    assert test[1] > 0.7 > 0.4 > test[[0, 2]].max()


def test_trained_networks_do_not_depend_on_which_train_together():
    config = SgdConfig.small(sigma_w2=(1.0, 1.6, 2.5), seeds=2, times=(3, 40), dtype=torch.float64)
    problem = config.task()
    whole = sgd_map.sgd_accuracy(config, 3, problem)
    parts = sgd_map.sgd_accuracy(replace(config, at_once=1), 3, problem)
    assert whole[0].shape == (3, 2, 2)
    assert (whole[0][1:, :, -1] > 0.8).all()
    assert (whole[1][1:, :, -1] > 0.5).all()
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_wide_trained_networks_follow_the_kernel():
    """Full batches, width 512, n = 2: the error is the closed form's, to 0.02 of the first."""
    config = SgdConfig((1.5,), (2,), (4, 64), images=32, batch=32, width=512, seeds=2, test=100)
    config = replace(config, dtype=torch.float64, rate=0.4)
    problem = config.task()
    *_, error = sgd_map.sgd_accuracy(config, 2, problem)
    variance = torch.tensor([config.sigma_w2[0]] * 2, dtype=torch.float64)
    networks = sgd_map.drawn(config, 2, variance, problem)
    largest = copies.sharpness(networks, problem.train_x, seeded())
    for seed in range(2):
        x, y = problem.train_x[seed], problem.train_y[seed]
        train = fcn_kernel(x, depth=2, sigma_w2=1.5, sigma_b2=0.18, activation="erf").ntk
        eta = 0.8 / float(largest[seed])
        outputs = mean_predictor(
            train, train, y, t=torch.tensor([4.0, 64.0]), eta=eta, discrete=True
        )
        expected = (outputs - y).square().sum((1, 2)) / y.square().sum()
        torch.testing.assert_close(error[0, seed], expected, rtol=0, atol=0.02)
        assert expected[0] > 0.4 > 0.1 > expected[1]


# --- the closed form of training


def test_the_closed_form_is_the_iteration_and_the_flow_is_its_limit():
    config = FlowConfig.small()
    known = flow.setting(config)
    train, y = known.limit[: config.images], known.y
    outputs, alpha = [], torch.zeros_like(y)
    for _ in range(12):
        alpha = alpha + known.eta * (y - train @ alpha)  # gradient descent in the kernel's space
        outputs.append(known.limit @ alpha)
    found = flow.closed_form(known.limit, known, (1, 5, 12), flow=False)
    torch.testing.assert_close(found, torch.stack(outputs)[[0, 4, 11]])
    decay = torch.linalg.matrix_exp(-known.eta * 5 * train)
    smooth = flow.closed_form(known.limit, known, (5,), flow=True)[0, : config.images]
    torch.testing.assert_close(smooth, y - decay @ y)


def test_distances_are_of_training_and_of_test_images_by_the_size_of_the_labels():
    outputs, expected = torch.zeros(1, 2, 5, 1), torch.zeros(2, 5, 1)
    expected[0, 1], expected[1, 4] = 3.0, 1.0
    found = flow.distances(outputs, expected, torch.full((3, 1), -0.5), 3)
    roots = torch.tensor([[3.0**0.5 / 0.5, 0], [0, 0.5**0.5 / 0.5]])
    torch.testing.assert_close(found, roots[None])


def test_the_step_is_a_share_of_the_largest():
    known = flow.setting(FlowConfig.small(rate=0.3, images=9))
    values = np.linalg.eigvalsh(known.limit[:9].numpy())
    assert known.eta == pytest.approx(0.3 * 2 / values[-1])


def test_networks_approach_the_closed_form_as_they_widen():
    """n = 8 networks at three widths.  By their own kernel at the start they are closer, and the
    distance falls about as 1 / width; to the infinite kernel it falls as the inverse root."""
    config = FlowConfig.small(seeds=8, widths=(32, 128, 512), times=(4, 16, 64))
    known = flow.setting(config)
    found = [flow.flow_study(config, width, known) for width in config.widths]

    def far(name):
        return torch.stack([getattr(s, name)[:, 1:].square().mean().sqrt() for s in found])

    assert width.rate(config.widths, far("infinite")) == pytest.approx(-0.5, abs=0.15)
    assert width.rate(config.widths, far("own")) == pytest.approx(-1, abs=0.2)
    assert (far("own") < far("infinite") / 4).all()


# --- the largest step


@pytest.fixture(scope="module")
def around():
    """Steps from below to above the threshold, critical networks with two layers."""
    config = StepConfig.small(ratios=(0.8, 0.9, 1.1, 1.3), steps=60)
    return step_study(config)


def step_study(config):
    return steps.step_study(config, 2, 1.3758)


def test_small_residuals_grow_by_the_factor_of_the_top_eigenvalue(around):
    assert ((around.growth / around.expected - 1).abs() < 0.05).all()
    own = around.own * torch.tensor([0.8, 0.9, 1.1, 1.3])[:, None]
    clear = (own - 1).abs() > 0.02
    assert ((around.growth > 1) == (own > 1))[clear].all()


def test_a_large_residual_above_the_threshold_rises_and_then_falls(around):
    peak, last = around.peak[1, -1], around.last[1, -1]
    assert (peak > 2).all()
    assert (last < 0.5).all()
    assert (around.last[0, -1] > 2).all()  # of tiny labels the residual still grows


# --- pooling


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pooling_multiplies_the_condition_number(architecture):
    config = PoolingConfig.small(images=12, test=20)
    found = pooling.pooling_study(config, architecture, 1.7476, 3)
    x = tasks.task("digits", 12, 20, 1).train_x[0]
    network = {"sigma_w2": 1.7476, "sigma_b2": 0.18, "depth": 3, "activation": "erf"}
    kernel = tangent_kernel(architecture, x, None, (1, 8, 8), **network)
    values = np.linalg.eigvalsh(kernel.numpy())
    assert float(found.kappa) == pytest.approx(values[-1] / values[0], rel=1e-6)
    assert float(found.bulk) == pytest.approx(values[:-1].mean(), rel=1e-9)
    ratio = float(found.top / found.bulk)
    assert (ratio > 100) == (architecture == "CNN-P")


# --- registered experiments

LOCAL = [name for name in EXPERIMENTS if "cifar" not in name]
RECORDED = [name for name, e in EXPERIMENTS.items() if Plan(e).record.exists()]


def test_the_downloads_wait_for_a_network():
    assert set(RECORDED) == set(LOCAL)


def test_live_numbers_have_the_axes_of_a_record():
    found = live("kernel-map", sigma_w2=(1.0, 2.0), depths=(1, 3), images=(10, 20), test=50)
    assert found["test"].shape == (2, 2, 2, 1, 2, 5)
    with pytest.raises(ValueError, match="choose one of"):
        experiments.live("kernel")


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (MapConfig.small, {"depths": (3, 1)}),
        (MapConfig.small, {"depths": (-1,)}),
        (MapConfig.small, {"sigma_w2": (0.0,)}),
        (MapConfig.small, {"times": (0.0,)}),
        (MapConfig.small, {"images": (1,)}),
        (MapConfig.small, {"images": ()}),
        (MapConfig.small, {"data": "letters"}),
        (SgdConfig.small, {"rate": 1.0}),
        (SgdConfig.small, {"batch": 65}),
        (SgdConfig.small, {"depths": (0,)}),
        (SgdConfig.small, {"sigma_w2": ()}),
        (SgdConfig.small, {"data": "letters"}),
        (FlowConfig.small, {"rate": 0.0}),
        (FlowConfig.small, {"widths": ()}),
        (StepConfig.small, {"ratios": (-1.0,)}),
        (StepConfig.small, {"steps": 3}),
        (StepConfig.small, {"width": 0}),
        (PoolingConfig.small, {"depths": (0,)}),
        (PoolingConfig.small, {"images": 0}),
        (PoolingConfig.small, {"sigma_w2": (-1.0,)}),
        (PoolingConfig.small, {"data": "letters"}),
    ],
)
def test_settings_that_cannot_be_are_refused(make, changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} = .*choose"):
        make(**changes)
