"""Tangent kernels of networks of finite width: against autograd, and against infinite width."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from lib.ntk import empirical
from lib.ntk.cnn import cnn_kernel
from lib.ntk.empirical import empirical_ntk
from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch, UnknownActivation
from lib.ntk.fcn import fcn_kernel
from lib.ntk.finite import wide_cnn, wide_net

NETWORK = {"sigma_w2": 1.7, "sigma_b2": 0.1, "activation": "erf"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def by_autograd(model: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """(N1, N2, O, O), one backward pass for each output of each example."""

    def gradients(x: Tensor) -> Tensor:
        kept = [p for p in model.parameters() if p.requires_grad]
        rows = []
        for y in model(x).flatten(1):
            grads = [torch.autograd.grad(o, kept, retain_graph=True) for o in y]
            rows.append(torch.stack([torch.cat([g.flatten() for g in row]) for row in grads]))
        return torch.stack(rows)

    return torch.einsum("iop,jqp->ijoq", gradients(x1), gradients(x2))


def models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Modules with outputs of several shapes, and the shape of one input."""
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    frozen = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    frozen[0].weight.requires_grad_(False)
    normed = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.Dropout()).eval()
    made = {
        "scalar": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), (3,)),
        "tied": (tied, (3,)),
        "frozen": (frozen, (4,)),
        "normed": (normed, (1, 4, 5)),
        "layer norm": (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Dropout(0.0)), (2, 4)),
    }
    return {name: (m.double(), shape) for name, (m, shape) in made.items()}


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("workspace", [1, 3000, 1 << 28])
def test_autograd_agrees(name, workspace):
    model, shape = models()[name]
    x1, x2 = normal(3, *shape), normal(2, *shape, seed=1)
    wanted = by_autograd(model, x1, x2)
    mean = wanted.diagonal(dim1=2, dim2=3).mean(-1)
    found = empirical_ntk(model, x1, x2, workspace=workspace)
    torch.testing.assert_close(found, wanted[..., 0, 0] if name == "scalar" else wanted)
    found = empirical_ntk(model, x1, x2, outputs="mean", workspace=workspace)
    torch.testing.assert_close(found, mean)


def test_inputs_may_be_tokens():
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2)).double()
    x = torch.tensor([[1, 2], [2, 6], [5, 1]])
    torch.testing.assert_close(empirical_ntk(model, x), by_autograd(model, x, x))


def test_no_gradient_is_asked_for():
    model = nn.Linear(3, 1).double()
    assert not empirical_ntk(model, normal(2, 3).requires_grad_()).requires_grad
    assert not empirical_ntk(
        model, normal(2, 3), parameters=dict(model.named_parameters())
    ).requires_grad


@settings(max_examples=15)
@given(n=st.integers(1, 5), outputs=st.integers(1, 3), examples=st.integers(1, 4))
def test_one_set_is_the_set_with_itself(n, outputs, examples):
    # One hidden layer more than it seems to need: with one, outputs could be swapped unnoticed.
    model = wide_net((3, 4, 4, outputs), generator=generator(), **NETWORK)
    x, each = normal(n, 3), outputs * 8 * sum(p.numel() for p in model.parameters())
    one = empirical_ntk(model, x, workspace=2 * examples * each)
    torch.testing.assert_close(one, empirical_ntk(model, x, x.clone()))
    swapped = one.mT if outputs == 1 else one.permute(1, 0, 3, 2)
    torch.testing.assert_close(one, swapped, rtol=1e-14, atol=1e-14)


def test_jacobians_fit_into_the_workspace(monkeypatch):
    model, x, held = wide_net((3, 6, 2), generator=generator(), **NETWORK), normal(9, 3), []
    whole = empirical.jacobian

    def jacobian(*arguments):
        made = whole(*arguments)
        held.append(sum(j.numel() * 8 for j in made.values()))
        return made

    monkeypatch.setattr(empirical, "jacobian", jacobian)
    empirical_ntk(model, x, workspace=5000)  # an example needs 2 × 38 × 8 bytes: 4 of them, twice
    assert max(held) == 4 * 608


def test_a_linear_network_has_its_kernel_at_every_width():
    x = normal(4, 3)
    for outputs in (1, 2):
        model = wide_net((3, outputs), generator=generator(), **NETWORK)
        wanted = fcn_kernel(x, depth=0, **NETWORK).ntk
        torch.testing.assert_close(empirical_ntk(model, x, outputs="mean"), wanted)
    cross = empirical_ntk(model, x)[:, :, 0, 1]
    assert cross.abs().max() == 0


def test_many_networks_are_one_program():
    nets = [wide_net((3, 5, 1), generator=generator(s), **NETWORK) for s in range(4)]
    x, (parameters, _) = normal(3, 3), stack_module_state(nets)
    found = vmap(lambda p: empirical_ntk(nets[0], x, parameters=p, workspace=1))(parameters)
    torch.testing.assert_close(found, torch.stack([empirical_ntk(net, x) for net in nets]))


def test_a_seed_means_the_same_network():
    first, second = (wide_net((3, 5, 1), generator=generator(7), **NETWORK) for _ in range(2))
    other = wide_net((3, 5, 1), generator=generator(8), **NETWORK)
    x = normal(2, 3)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))


def test_a_convolution_goes_around_the_circle():
    net = wide_cnn((2, 3, 4, 1), shape=(4, 5), readout="gap", generator=generator(), **NETWORK)
    x = normal(2, 2, 4, 5)
    torch.testing.assert_close(net(x.roll((1, 3), (2, 3))), net(x))


# --- infinite width


def errors(nets: list[nn.Module], x: Tensor, wanted: Tensor) -> Tensor:
    """Of the tangent kernels of networks of one width, relative to the largest entry."""
    parameters, _ = stack_module_state(nets)
    found = vmap(lambda p: empirical_ntk(nets[0], x, parameters=p))(parameters)
    return (found - wanted) / wanted.abs().max()


@pytest.mark.parametrize("kind", ["dense", "flatten", "gap"])
@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_tangent_kernels_converge_at_the_rate_of_one_over_the_root_of_the_width(kind, activation):
    """Widths 16 and 144, thrice the root: the errors are in ratio 3 (a rate 1/width would give 9).

    100 or more networks each; over seeds, ratios spread by about 0.3.
    """
    network, widths = NETWORK | {"activation": activation}, (16, 144)
    seeds = 400 if kind == "dense" else 100
    if kind == "dense":
        x = normal(3, 4)
        wanted = fcn_kernel(x, depth=2, **network).ntk
    else:
        x = normal(3, 2, 5)
        wanted = cnn_kernel(x, depth=2, readout=kind, **network).ntk
    sizes = []
    for width in widths:
        random = generator(width)
        if kind == "dense":
            nets = [
                wide_net((4, width, width, 1), generator=random, **network) for _ in range(seeds)
            ]
        else:
            more = network | {"shape": (5,), "readout": kind, "generator": random}
            nets = [wide_cnn((2, width, width, 1), **more) for _ in range(seeds)]
        error = errors(nets, x, wanted)
        sizes.append(error.square().mean().sqrt())
        # The mean over seeds is within four of its standard errors of the limit, to O(1/width).
        spread = error.std(0) / seeds**0.5
        assert (error.mean(0).abs() < 4 * spread + 1 / width).all()
    assert 2.2 < sizes[0] / sizes[1] < 4.1


@pytest.mark.parametrize("readout", ["flatten", "gap"])
def test_outputs_have_the_covariance_of_the_nngp(readout):
    """10 000 outputs of 10 networks of width 200 with 1000 outputs: 3 % of the largest entry."""
    x, network = normal(3, 2, 3, 4), NETWORK | {"readout": readout}
    wanted = cnn_kernel(x, depth=1, **network).nngp
    outputs = [
        wide_cnn((2, 200, 1000), shape=(3, 4), generator=generator(s), **network)(x)
        for s in range(10)
    ]
    y = torch.cat(outputs, 1).detach()
    assert ((y @ y.T / y.shape[1] - wanted) / wanted.max()).abs().max() < 0.03


# --- refusals


class Pair(nn.Module):
    """Two outputs in a tuple."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.weight, x


UNTRACKED = nn.BatchNorm1d(1, track_running_stats=False).eval()


@pytest.mark.parametrize(
    ("model", "change", "error", "words"),
    [
        (nn.Linear(2, 1), {"outputs": "sum"}, OutOfRange, "mean"),
        (nn.Linear(2, 1), {"workspace": 0}, OutOfRange, "workspace"),
        (nn.Linear(2, 1), {"x2": torch.ones(2, 3)}, ShapeMismatch, "mismatch"),
        (nn.Linear(2, 1), {"x1": torch.ones(0, 2)}, ShapeMismatch, "x1"),
        (nn.Linear(2, 1), {"x1": [1.0, 2.0]}, ShapeMismatch, "x1"),
        (nn.Linear(2, 1), {"x2": torch.full((1, 2), torch.nan)}, NotFinite, "x2"),
        (nn.Linear(2, 1), {"parameters": {"wieght": torch.ones(1, 2)}}, ValueError, "bias, weight"),
        (nn.Linear(2, 1).requires_grad_(False), {}, ValueError, "unfreeze"),
        (nn.ReLU(), {}, ValueError, "requires a gradient"),
        (nn.Sequential(nn.Linear(2, 1), nn.Dropout()), {}, ValueError, "eval"),
        (nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)), {}, ValueError, "eval"),
        (nn.Sequential(nn.Linear(2, 1), UNTRACKED), {}, ValueError, "mixes examples"),
        (Pair(), {}, TypeError, "one tensor"),
    ],
)
def test_networks_without_a_kernel_are_refused(model, change, error, words):
    with pytest.raises(error, match=words):
        empirical_ntk(model, **{"x1": torch.ones(3, 2)} | change)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sigma_w2": -1.0}, OutOfRange, "sigma_w2"),
        ({"activation": "swish"}, UnknownActivation, "swish"),
        ({"widths": (3,)}, OutOfRange, "widths"),
        ({"widths": (3, 0, 1)}, OutOfRange, "widths"),
    ],
)
def test_bad_networks_are_refused(change, error, words):
    call = {"widths": (3, 4, 1), "generator": generator()} | NETWORK | change
    with pytest.raises(error, match=words):
        wide_net(**call)
    with pytest.raises(error, match=words):
        wide_cnn(shape=(5,), **call)


@pytest.mark.parametrize(
    "change", [{"readout": "max"}, {"window": 2}, {"window": 7}, {"shape": (5, 5, 5)}]
)
def test_bad_convolutions_are_refused(change):
    with pytest.raises(OutOfRange, match=next(iter(change))):
        wide_cnn((3, 4, 1), **{"shape": (5,), "generator": generator()} | NETWORK | change)
