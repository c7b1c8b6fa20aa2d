"""Both inequalities of the perceptron proof at every step, the bounds, and what they are worth."""

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.teachers import (
    PRICE,
    Descent,
    LeakyNet,
    TeacherTask,
    epoch_loss_bound,
    flow_bound,
    gd_loss_bound,
    hinge_bound,
    initial,
    potentials,
    separated,
    setting,
    sgd_bound,
    train,
    visits,
)
from lib.teachers.errors import NotSeparable


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X, Y, TEACHER = TeacherTask(10, 40).sample(generator())
NET = initial(10, 10, generator(1), alpha=0.3)


def gaps(found):
    """The least gap of (i) and of (ii), with rounding of F and of the squared norm forgiven."""
    (rise, floor), (growth, ceiling) = found.rise(), found.growth()
    return (
        (rise - floor + 1e-14 * found.inner.abs().amax(0)).min(),
        (ceiling - growth + 1e-14 * found.square.amax(0)).min(),
    )


@pytest.mark.parametrize("how", ["shuffled", "cyclic", "random", "one"])
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_both_inequalities_hold_at_every_stochastic_step(how, loss):
    """For three rates, and any order, even one that sees a single sample."""
    net = LeakyNet(NET.weights.expand(3, 2, 10, 10), NET.alpha)
    rate = torch.tensor([0.1, 1.0, 10.0]).double()
    order = torch.zeros(800).long() if how == "one" else visits(40, 20, generator(2), how=how)
    found = potentials(net, X, Y, TEACHER, 800, Descent(rate, order=order, loss=loss))
    assert min(gaps(found)) >= 0
    bound = sgd_bound(800, found.setting) if loss == "logistic" else hinge_bound(found.setting)
    assert (found.total()[-1] <= bound).all() and found.total()[-1].min() >= 1
    assert (found.mistakes.cumsum(0) <= 2 * found.total()).all()


@pytest.mark.parametrize("rate", [0.1, 10.0, 1000.0])
def test_both_inequalities_hold_at_every_full_step(rate):
    found = potentials(NET, X, Y, TEACHER, 500, Descent(rate))
    assert min(gaps(found)) >= 0
    steps = torch.arange(1, 501)
    assert (found.total() <= sgd_bound(steps, found.setting)).all()
    assert (found.mistakes.cumsum(0) <= 2 * found.total()).all()


def test_the_inequalities_are_tight_somewhere():
    """Equality in (i): one neuron of each kind, x = w*; in (ii): all slopes 1 and |x| = R."""
    weights = torch.tensor([[[1.0]], [[1.0]]]).double()
    x, y, teacher = torch.ones(1, 1).double(), torch.ones(1).double(), torch.ones(1).double()
    (_, (growth, ceiling)) = (
        None,
        potentials(LeakyNet(weights, 0.5), x, y, teacher, 1, Descent(1.0)).growth(),
    )
    torch.testing.assert_close(growth, ceiling)
    (rise, floor) = potentials(LeakyNet(-weights, 0.5), x, y, teacher, 1, Descent(1.0)).rise()
    torch.testing.assert_close(rise, floor)


def test_with_a_relu_the_first_inequality_says_nothing_and_bounds_are_infinite():
    dead = LeakyNet(-torch.ones(2, 2, 1).double(), 0.0)
    x, y, teacher = torch.ones(1, 1).double(), torch.ones(1).double(), torch.ones(1).double()
    found = potentials(dead, x, y, teacher, 50, Descent(1.0))
    assert (found.push == 0.5).all() and (found.rise()[0] == 0).all()
    leaky = found.setting._replace(alpha=0.1)
    assert (found.rise()[0] < 2 * 2 * 0.1 * dead.v * found.push).all()
    for bound in (
        sgd_bound(50, found.setting),
        hinge_bound(found.setting),
        flow_bound(1.0, found.setting),
    ):
        assert bound == math.inf
    assert sgd_bound(50, leaky) < math.inf
    assert sgd_bound(50, found.setting._replace(start=0 * found.setting.start)) == math.inf


def test_potentials_are_what_they_say():
    found = potentials(NET, X, Y, TEACHER, 3, Descent(0.7))
    history = train(NET, X, Y, 3, Descent(0.7), keep=range(3))
    star = torch.stack((TEACHER, -TEACHER))[:, None].expand(2, 10, 10)
    for t in range(4):
        weights = history.weights[t]
        torch.testing.assert_close(found.inner[t], (weights * star).sum())
        torch.testing.assert_close(found.square[t], weights.norm() ** 2)
        if t < 3:
            z = history.net(t).margins(X, Y)
            torch.testing.assert_close(found.push[t], torch.sigmoid(-z).mean())
            torch.testing.assert_close(found.product[t], (z * torch.sigmoid(-z)).mean())
            assert found.mistakes[t] == (z <= 0).double().mean()


def test_many_runs_have_potentials_at_once():
    x, y, teacher = TeacherTask(4, 12).sample(generator(), copies=3)
    rate = torch.tensor([0.1, 10.0]).double()
    net = initial(5, 4, generator(1), alpha=0.2, copies=(3, 2))
    found = potentials(net, x[:, None], y[:, None], teacher[:, None], 200, Descent(rate))
    assert min(gaps(found)) >= 0 and found.push.shape == (200, 3, 2)
    one = potentials(net[2, 1], x[2], y[2], teacher[2], 200, Descent(10.0))
    torch.testing.assert_close(found.inner[:, 2, 1], one.inner)
    torch.testing.assert_close(sgd_bound(200, found.setting)[2, 1], sgd_bound(200, one.setting))


def test_the_bound_is_the_formula():
    s = setting(NET, X, TEACHER, 0.7)
    norm, radius = TEACHER.norm().item(), X.norm(dim=1).max().item()
    assert (s.norm.item(), s.radius.item()) == (norm, radius)
    assert s.start.item() == pytest.approx(1.0) and s.k == 10
    v = NET.v
    expected = norm**2 / 0.09 * (math.log(1000) / (10 * v**2 * 0.7) + radius**2)
    expected += 2 * norm / (0.3 * v * 0.7)
    assert sgd_bound(1000, s).item() == pytest.approx(expected, rel=1e-12)


@given(st.floats(1, 1e6), st.floats(0.001, 1e4), st.floats(0.01, 0.99), st.floats(0, 100))
def test_the_bound_follows_from_the_two_potentials(steps, norm, alpha, start):
    """The largest A ≥ 1 with mA ≤ b + √(b² + gA) is below it: Cauchy–Schwarz, (i) and (ii)."""
    k, v, rate, radius = 3, 0.4, 0.7, 1.3
    tensors = (torch.tensor(t, dtype=torch.float64) for t in (norm, radius, start))
    norm_, radius_, start_ = tensors
    s = setting(NET, X, TEACHER, rate)._replace(
        k=k, v=v, alpha=alpha, norm=norm_, radius=radius_, start=start_
    )
    bound = sgd_bound(steps, s).item()
    for larger in (1.0001, 2.0, 100.0):
        a = bound * larger
        b, g = (2 * k) ** 0.5 * start, 2 * rate * math.log(steps) + 2 * k * (rate * v * radius) ** 2
        m = (2 * k) ** 0.5 * alpha * v * rate / norm
        assert m * a > b + math.sqrt(b**2 + g * a)


def test_the_price_is_the_largest_product():
    with mpmath.workdps(30):
        top = mpmath.findroot(lambda z: mpmath.diff(lambda t: t / (1 + mpmath.exp(t)), z), 1.3)
        assert float(top / (1 + mpmath.exp(top))) == pytest.approx(PRICE, rel=1e-15)
        assert float(top) == pytest.approx(1 + PRICE, rel=1e-12)
    z = torch.linspace(-50, 50, 100_001).double()
    assert (z * torch.sigmoid(-z)).max() <= PRICE


def test_corollary_b_bounds_the_loss_after_an_epoch():
    s, epochs = setting(NET, X, TEACHER, 10.0), 60
    rule = Descent(10.0, order=visits(40, epochs, generator(2)))
    found = potentials(NET, X, Y, TEACHER, 40 * epochs, rule)
    totals = found.push.view(epochs, 40).sum(1)
    history = train(NET, X, Y, 40 * epochs, rule, keep=range(0, 40 * epochs, 40))
    losses = torch.stack([history.net(e).loss(X, Y) for e in range(1, epochs + 1)])
    bounds = epoch_loss_bound(totals, 40, s)
    assert (losses <= bounds).all() and (bounds < math.inf).sum() > 10
    assert epoch_loss_bound(torch.tensor(1.0), 40, s) == math.inf
    half = 0.5 * (1 / 20 + 2 * 10 * 10.0 * NET.v**2 * s.radius.item() ** 2)
    assert epoch_loss_bound(torch.tensor(0.5), 40, s).item() == pytest.approx(half)


def test_corollary_c_bounds_the_loss_of_full_descent():
    found = potentials(NET, X, Y, TEACHER, 300, Descent(1000.0))
    history = train(NET, X, Y, 300, Descent(1000.0), keep=range(300))
    losses = torch.stack([history.net(t).loss(X, Y) for t in range(300)])
    bounds = gd_loss_bound(found.push, 40)
    assert (losses <= bounds).all() and bounds[-1] < 1e-3
    assert gd_loss_bound(torch.tensor(1 / 40), 40) == math.inf


def test_corollary_e_bounds_gradient_flow():
    """Descent of rate 1e-3 stands for the flow."""
    found = potentials(NET, X, Y, TEACHER, 3000, Descent(1e-3))
    time = 1e-3 * torch.arange(1, 3001)
    assert (1e-3 * found.total() <= flow_bound(time, found.setting)).all()
    quadrupled = flow_bound(4e6, found.setting) / flow_bound(1e6, found.setting)
    assert quadrupled.item() == pytest.approx(2, rel=0.02)


def test_a_teacher_of_smaller_margin_is_refused():
    with pytest.raises(NotSeparable, match=r"y w\*·x = .* is below 1; divide w\*"):
        potentials(NET, X, Y, TEACHER / 3, 5, Descent(1.0))
    scaled = TEACHER / 3 / separated(X, Y, TEACHER / 3)
    assert potentials(NET, X, Y, scaled, 5, Descent(1.0)).push.shape == (5,)


def test_what_the_theorem_does_not_cover_is_refused():
    with pytest.raises(ValueError, match="not normalised"):
        potentials(NET, X, Y, TEACHER, 5, Descent(1.0, normalised=True))
    with pytest.raises(ValueError, match="steps = 0"):
        potentials(NET, X, Y, TEACHER, 0, Descent(1.0))
    with pytest.raises(ValueError, match="at least 1"):
        sgd_bound(0.5, setting(NET, X, TEACHER, 1.0))
