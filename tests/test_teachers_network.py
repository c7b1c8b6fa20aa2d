"""The leaky network: outputs, gradients and losses against autograd, exact numbers, and by hand."""

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import leaky_relu, softplus

from lib.teachers import LeakyNet, TeacherTask, initial, log_losses
from lib.teachers.errors import ShapeMismatch, SlopeOutOfRange


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_definition(weights, alpha, v, x):
    """N(x) of one network with PyTorch's leaky ReLU."""
    h = [leaky_relu(x @ part.T, alpha).sum(-1) for part in weights]
    return v * (h[0] - h[1])


def test_a_network_worked_out_by_hand():
    """σ(2) + σ(−3) − σ(1) = 2 − 0.3 − 1, and v = 1/2 as k = 2."""
    weights = torch.tensor([[[2.0, 0.0], [0.0, -3.0]], [[1.0, 0.0], [0.0, 0.0]]]).double()
    net = LeakyNet(weights, 0.1)
    assert net(torch.ones(1, 2).double()).item() == pytest.approx(0.35, rel=1e-15)
    assert net.v == 0.5 and net.k == 2
    assert net.kappa.tolist() == [0.5, -1.5]
    assert net.w.tolist() == weights[0].tolist() and net.u.tolist() == weights[1].tolist()


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("v", [None, 0.3])
def test_outputs_are_those_of_the_definition(alpha, v):
    net = initial(5, 3, generator(), alpha=alpha, radius=2.0, v=v)
    x = torch.randn(20, 3, generator=generator(1), dtype=torch.float64)
    expected = by_definition(net.weights, alpha, v or 10**-0.5, x)
    torch.testing.assert_close(net(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_gradient_is_that_of_autograd(alpha):
    x, y, _ = TeacherTask(3, 9).sample(generator())
    net = initial(4, 3, generator(1), alpha=alpha)
    weights = net.weights.clone().requires_grad_()
    softplus(-y * by_definition(weights, alpha, net.v, x)).mean().backward()
    c = -torch.sigmoid(-net.margins(x, y)) * y / 9
    torch.testing.assert_close(net.gradient(x, c), weights.grad, rtol=1e-13, atol=1e-16)


def test_the_slope_at_a_kink_is_alpha_as_in_pytorch():
    weights = torch.zeros(2, 1, 2).double().requires_grad_()
    x = torch.tensor([[1.0, 2.0]]).double()
    by_definition(weights, 0.2, 1.0, x).sum().backward()
    net = LeakyNet(weights.detach(), 0.2, 1.0)
    assert torch.equal(net.gradient(x, torch.ones(1).double()), weights.grad)
    assert weights.grad.tolist() == [[[0.2, 0.4]], [[-0.2, -0.4]]]


def test_many_networks_are_each_what_they_are_alone():
    alpha, v = torch.tensor([0.1, 0.6]), torch.tensor([[0.5], [1.0], [2.0]])
    net = initial(4, 5, generator(), alpha=alpha, v=v, copies=(3, 1))
    x = torch.randn(3, 1, 7, 5, generator=generator(1), dtype=torch.float64)
    c = torch.randn(3, 2, 7, generator=generator(2), dtype=torch.float64)
    assert net.weights.shape == (3, 2, 2, 4, 5)
    out, gradient = net(x), net.gradient(x, c)
    for i in range(3):
        for j in range(2):
            one = net[i, j]
            assert (float(one.alpha), float(one.v)) == (float(alpha[j].double()), float(v[i]))
            torch.testing.assert_close(out[i, j], one(x[i, 0]))
            torch.testing.assert_close(gradient[i, j], one.gradient(x[i, 0], c[i, j]))


def test_radii_share_their_directions():
    radii = torch.tensor([1e-4, 3.0], dtype=torch.float64)
    net = initial(4, 5, generator(), alpha=0.1, radius=radii, copies=(3, 1))
    torch.testing.assert_close(
        net.weights.norm(dim=-1), radii[:, None, None].expand(3, 2, 2, 4), rtol=1e-13, atol=0
    )
    torch.testing.assert_close(net.weights[:, 0] * 3e4, net.weights[:, 1])
    assert not torch.equal(net.weights[0], net.weights[1])


@pytest.mark.parametrize("z", [-800, -40, -1.5, 0, 3, 16, 22, 39.9, 40.1, 80, 575, 740, 1e5])
def test_log_losses_are_right_at_any_margin(z):
    """Against 60 digits; at 575 the loss is 1e-250, and at 1e5 it is no float64."""
    with mpmath.workdps(60):
        expected = float(mpmath.log(mpmath.log1p(mpmath.exp(-mpmath.mpf(z)))))
    found = log_losses(torch.tensor(z, dtype=torch.float64)).item()
    assert found == pytest.approx(expected, rel=1e-14, abs=1e-16)


def test_the_loss_is_the_mean_cross_entropy():
    x, y, _ = TeacherTask(3, 9).sample(generator())
    net = initial(4, 3, generator(), alpha=0.3, copies=(2,))
    expected = softplus(-y * net(x)).mean(-1)
    torch.testing.assert_close(net.loss(x, y), expected, rtol=1e-13, atol=0)
    grown = LeakyNet(
        1e6 * torch.ones(2, 1, 1).double() * torch.tensor([1.0, -1.0]).double()[:, None, None], 0.5
    )
    one, label = torch.ones(1, 1).double(), torch.ones(1).double()
    assert grown.loss(one, label) == 0
    assert grown.log_loss(one, label).item() == pytest.approx(-(2**-0.5) * 1.5e6, rel=1e-13)


@given(st.integers(0, 99), st.floats(0, 0.99))
def test_euler_identity(seed, alpha):
    """⟨W, ∇_W N(x)⟩ = N(x), also at a kink."""
    net = initial(3, 2, generator(seed), alpha=alpha)
    x = torch.randn(1, 2, generator=generator(seed + 1), dtype=torch.float64)
    gradient = net.gradient(x, torch.ones(1).double())
    torch.testing.assert_close((net.weights * gradient).sum(), net(x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [-0.1, 1.0, float("nan"), torch.tensor([0.5, 1.5])])
def test_leaks_are_in_the_unit_interval(alpha):
    with pytest.raises(SlopeOutOfRange, match=r"choose a leak in \[0, 1\)"):
        LeakyNet(torch.zeros(2, 2, 3, 3), alpha)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2, 4), (2, 1, 3, 3)])
def test_weights_have_two_kinds_of_neurons(shape):
    with pytest.raises(ShapeMismatch, match=r"give \(…, 2, k, d\)"):
        LeakyNet(torch.zeros(shape), 0.1)


def test_what_makes_no_network_is_refused():
    with pytest.raises(ValueError, match="v = 0: choose a positive"):
        LeakyNet(torch.zeros(2, 3, 3), 0.1, 0)
    with pytest.raises(ShapeMismatch, match=r"alpha \(3,\) does not broadcast to \(2,\) networks"):
        LeakyNet(torch.zeros(2, 2, 3, 3), torch.zeros(3))
    with pytest.raises(ShapeMismatch, match="no leading axis"):
        LeakyNet(torch.zeros(2, 3, 3), 0.1)[0]
    with pytest.raises(ValueError, match="radius = -1"):
        initial(3, 3, generator(), alpha=0.1, radius=-1)
    with pytest.raises(ValueError, match="k = 0"):
        initial(0, 3, generator(), alpha=0.1)
