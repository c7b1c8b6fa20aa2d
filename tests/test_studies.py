import copy
import math

import pytest
import torch
from torch import nn

from lib.nets import small_resnet
from lib.paths import norm_bound, path_lifting, path_metric, studies
from lib.paths.studies import depth_study, output_change_study


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- depth


def pair(scale, seeds=3, depth=3, width=3):
    g = seeded(1)
    a = scale * torch.randn(seeds, depth, width, width, generator=g, dtype=torch.float64)
    b = a * (1 + 0.3 * (2 * torch.rand(a.shape, generator=g, dtype=torch.float64) - 1))
    x = 2 * torch.rand(seeds, width, 50, generator=g, dtype=torch.float64) - 1
    return a, b, x


def mlp(matrices):
    """One of the networks of the study as a torch module."""
    layers = []
    for matrix in matrices:
        linear = nn.Linear(*matrix.T.shape, bias=False, dtype=torch.float64)
        linear.weight.data = matrix.clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


@pytest.mark.parametrize("scale", [1.0, 0.1])  # operator norms above and below 1
def test_all_seeds_at_once_equal_one_module_at_a_time(scale):
    a, b, x = pair(scale)
    bounds = studies._bounds(torch.stack((a, b)).unbind(2), x, ordered=False)
    gap, metric, three_pass, bound = (log.exp() for log in bounds)
    for s in range(len(a)):
        one, two = mlp(a[s]), mlp(b[s])
        change = (one(x[s].T) - two(x[s].T)).abs().sum(1).max()
        torch.testing.assert_close(gap[s], change.detach())
        lifted = [path_lifting(net, (3,)) for net in (one, two)]
        assert float(metric[s]) == pytest.approx(float(abs(lifted[0] - lifted[1]).sum()), rel=1e-12)
        assert float(three_pass[s]) == pytest.approx(path_metric(one, two, (3,)).value, rel=1e-10)
        rows = max(float(m.abs().sum(1).max()) for m in (*a[s], *b[s]))
        largest = float((a[s] - b[s]).abs().max())
        expected = norm_bound(W=3, L=3, R=max(rows, 1), distance=largest)
        assert float(bound[s]) == pytest.approx(expected, rel=1e-12)


def test_the_bounds_hold_in_their_order():
    study = depth_study((1, 2, 4), 4, 30, seeded())
    assert study.gap.shape == (3, 30)
    assert (study.gap <= study.metric * (1 + 1e-9)).all()
    assert (study.metric <= study.three_pass * (1 + 1e-9)).all()
    assert (study.metric <= study.norm_bound * (1 + 1e-9)).all()


def test_the_norm_bound_worsens_with_depth_faster_than_the_metric():
    study = depth_study((2, 5), 4, 50, seeded())
    ratio = (study.norm_bound / study.metric).median(dim=1).values
    assert ratio[1] > 5 * ratio[0]


def test_no_noise_moves_nothing():
    study = depth_study((3,), 3, 5, seeded(), noise=0.0)
    for bound in study[1:]:
        assert (bound == 0).all()


def test_the_generator_decides():
    first, again, other = (depth_study((2,), 3, 4, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first.metric, again.metric)
    assert not torch.equal(first.metric, other.metric)


@pytest.mark.parametrize("noise", [-0.1, 1.0, float("nan")])
def test_noise_that_could_change_signs_is_refused(noise):
    with pytest.raises(ValueError, match="so that signs stay"):
        depth_study((2,), 3, 4, seeded(), noise=noise)


def test_too_many_paths_are_refused_before_any_work():
    with pytest.raises(ValueError, match="too many paths"):
        depth_study((2, 40), 4, 1, seeded())


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_two_passes_give_the_enumerated_metric_where_no_weight_grows(depth):
    study = depth_study((depth,), 4, 10, seeded(), ordered=True)
    x = torch.zeros(10, 4, 1, dtype=torch.float64)
    streams = studies._streams(10, seeded())  # the inputs come first
    studies._stacked(studies._uniform, (4, 200), streams)
    pairs = studies._layers(depth, 4, streams, 0.1, ordered=True)
    enumerated = studies._bounds(pairs, x, ordered=False)[1].exp()
    torch.testing.assert_close(study.metric[0], enumerated, rtol=1e-11, atol=0)
    torch.testing.assert_close(study.metric, study.three_pass, rtol=1e-11, atol=0)


def test_ordered_weights_never_grow_and_never_change_sign():
    for a, b in studies._layers(3, 5, studies._streams(4, seeded()), 0.5, ordered=True):
        assert (b.abs() <= a.abs()).all()
        assert (a * b >= 0).all()
        assert (b.abs() < 0.6 * a.abs()).any()  # the whole range is used


def test_two_passes_agree_with_the_metric_of_modules_at_depth():
    study = depth_study((20,), 6, 2, seeded(), ordered=True, log=True)
    streams = studies._streams(2, seeded())
    studies._stacked(studies._uniform, (6, 200), streams)
    layers = torch.stack(list(studies._layers(20, 6, streams, 0.1, ordered=True)))
    for s in range(2):
        one, two = mlp(layers[:, 0, s]), mlp(layers[:, 1, s])
        exact = path_metric(one, two, (6,), log=True)
        assert exact.exact
        assert float(study.metric[0, s]) == pytest.approx(exact.value, rel=1e-12)


def test_logarithms_are_those_of_the_numbers():
    number, log = (depth_study((2, 4), 4, 6, seeded(), log=log) for log in (False, True))
    for one, other in zip(number[1:], log[1:], strict=True):
        assert torch.equal(one, other.exp())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_overflows_at_a_depth_where_the_numbers_do(dtype):
    study = depth_study((400,), 64, 2, seeded(), ordered=True, log=True, inputs=4, dtype=dtype)
    for bound in study[1:]:
        assert bound.isfinite().all()
    assert (study.metric > math.log(torch.finfo(dtype).max)).all()
    assert (study.gap < study.metric).all()
    assert (study.metric < study.norm_bound).all()


@pytest.mark.parametrize("ordered", [False, True])
def test_networks_are_the_same_alone_and_together(ordered):
    options = {"ordered": ordered, "inputs": 20}
    together = depth_study((1, 3), 4, 7, seeded(), **options)
    apart = depth_study((1, 3), 4, 7, seeded(), at_once=3, **options)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=0)


# --- a trained network


@pytest.fixture(scope="module")
def trained_like():
    model = small_resnet(generator=seeded(), widths=(4, 4), dtype=torch.float64)
    x = torch.rand(64, 1, 8, 8, generator=seeded(1), dtype=torch.float64) * 2 - 1
    model.train()(x)  # batch statistics that matter
    return model.eval(), x


LEVELS = {"sparsities": (0.1, 0.3, 0.6), "steps": (0.01, 0.05, 0.2)}


def test_certified_change_is_never_exceeded(trained_like):
    model, x = trained_like
    changes = output_change_study(model, 3 * x, **LEVELS)
    assert set(changes) == {"path-magnitude", "magnitude", "truncation"}
    for change in changes.values():
        assert (change.observed > 0).all()
        assert (change.observed <= change.certified * (1 + 1e-9)).all()
        assert (change.certified.diff() > 0).all()  # more change costs more


def test_more_inputs_can_only_show_more_change(trained_like):
    model, x = trained_like
    few, many = (output_change_study(model, some, **LEVELS)["magnitude"] for some in (x[:8], x))
    assert (few.observed < many.observed).all()


def test_path_magnitude_certifies_more_than_magnitude(trained_like):
    changes = output_change_study(*trained_like, **LEVELS)
    assert (changes["path-magnitude"].certified < changes["magnitude"].certified).all()


def test_certificates_grow_with_the_inputs_and_not_below_one(trained_like):
    model, x = trained_like
    small, unit, large = (
        output_change_study(model, c * x / x.abs().max(), **LEVELS)["magnitude"]
        for c in (0.1, 1.0, 3.0)
    )
    assert torch.equal(small.certified, unit.certified)
    torch.testing.assert_close(large.certified, 3 * unit.certified)


def test_the_model_is_left_alone(trained_like):
    model, x = trained_like
    model = copy.deepcopy(model).float().train()
    before = copy.deepcopy(model.state_dict())
    output_change_study(model, x, sparsities=(0.5,), steps=(0.1,))
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
