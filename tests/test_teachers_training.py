"""Training, against autograd and optimisers, one run at a time, and down to tiny losses."""

import mpmath
import pytest
import torch
from torch.nn.functional import softplus

from lib.teachers import (
    Descent,
    LeakyNet,
    TeacherTask,
    initial,
    orthogonally_separable,
    signed_preactivations,
    train,
    trajectory,
    visits,
)
from lib.teachers.errors import ShapeMismatch, WrongLabel
from lib.teachers.steps import Runs, fitting


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X, Y, _ = TeacherTask(4, 9).sample(generator())
NET = initial(3, 4, generator(1), alpha=0.2, radius=0.7)


def by_autograd(net, x, y, steps, rate, loss, order=None):
    """The same with PyTorch's optimiser, on a loss of the margins."""
    weights = net.weights.clone().requires_grad_()
    optimiser = torch.optim.SGD([weights], lr=rate)
    for step in range(steps):
        seen = slice(None) if order is None else order[step : step + 1]
        optimiser.zero_grad()
        loss(LeakyNet(weights, net.alpha, net.v).margins(x[seen], y[seen])).backward()
        optimiser.step()
    return weights.detach()


def logistic(z):
    return softplus(-z).mean()


def log_logistic(z):
    return logistic(z).log()


def hinge(z):
    return (1 - z).clamp(min=0).mean()


ORDER = visits(9, 6, generator(2))
RULES = [
    (Descent(0.3), logistic),
    (Descent(0.3, order=ORDER), logistic),
    (Descent(0.3, normalised=True), log_logistic),
    (Descent(0.3, loss="hinge"), hinge),
    (Descent(0.3, loss="hinge", order=ORDER), hinge),
]


@pytest.mark.parametrize(("rule", "loss"), RULES)
def test_every_rule_is_that_of_autograd(rule, loss):
    found = train(NET, X, Y, 50, rule).net().weights
    expected = by_autograd(NET, X, Y, 50, 0.3, loss, rule.order)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    assert (found - NET.weights).abs().max() > 0.1


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("d", [1, 2])
def test_the_smallest_samples_are_trained_as_by_autograd(n, d):
    x, y, _ = TeacherTask(d, n).sample(generator(3))
    net = initial(2, d, generator(1), alpha=0.2, radius=0.7)
    found = train(net, x, y, 10, Descent(0.3)).net().weights
    expected = by_autograd(net, x, y, 10, 0.3, logistic)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_weights_may_lie_in_memory_in_any_order():
    turned = LeakyNet(NET.weights.mT.contiguous().mT, NET.alpha, NET.v)
    for runs in (train, lambda *words: list(trajectory(*words))[-1]):
        expected = runs(NET, X, Y, 5, Descent(0.5)).weights
        assert torch.equal(runs(turned, X, Y, 5, Descent(0.5)).weights, expected)


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("stochastic", [False, True])
def test_many_runs_are_each_what_they_are_alone(chunk, stochastic):
    """Copies of samples, two leaks, three rates, in chunks that fit or do not."""
    x, y, _ = TeacherTask(4, 9).sample(generator(), copies=2)
    alpha, rate = torch.tensor([0.1, 0.6]).double(), torch.tensor([0.1, 1.0, 5.0]).double()
    net = initial(3, 4, generator(1), alpha=alpha[:, None], v=rate, copies=(2, 1, 1))
    order = visits(9, 5, generator(2), copies=(2, 1, 1)) if stochastic else None
    rule = Descent(rate, order=order)
    found = train(net, x[:, None, None], y[:, None, None], 40, rule, chunk=chunk).net()
    for i in range(2):
        for j in range(2):
            for r in range(3):
                alone = Descent(float(rate[r]), order=order[i, 0, 0] if stochastic else None)
                one = train(net[i, j, r], x[i], y[i], 40, alone).net()
                torch.testing.assert_close(
                    found.weights[i, j, r], one.weights, rtol=1e-11, atol=1e-12
                )


@pytest.mark.parametrize("stochastic", [True, False])
def test_the_number_of_threads_changes_no_bit(stochastic):
    x, y, _ = TeacherTask(4, 9).sample(generator(), copies=5)
    net = initial(3, 4, generator(1), alpha=0.2, copies=(5,))
    order = visits(9, 3, generator(2), copies=(5,)) if stochastic else None
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(train(net, x, y, 27, Descent(1.0, order=order), chunk=2).weights)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_the_networks_at_chosen_steps_are_kept():
    history = train(NET, X, Y, 20, Descent(0.5), keep=(0, 7))
    assert history.steps == (0, 7, 20)
    assert torch.equal(history.net(0).weights, NET.weights)
    for index, step in enumerate(history.steps):
        alone = train(NET, X, Y, step, Descent(0.5)).net()
        assert torch.equal(history.net(index).weights, alone.weights)
    assert history.net().alpha == NET.alpha and history.net().v == NET.v


def test_training_leaves_the_network_as_it_is():
    before = NET.weights.clone()
    train(NET, X, Y, 5, Descent(1.0))
    list(trajectory(NET, X, Y, 5, Descent(1.0)))
    assert torch.equal(NET.weights, before)


@pytest.mark.parametrize("order", [None, ORDER])
def test_a_trajectory_shows_each_step_before_it_is_made(order):
    rule = Descent(0.3, order=order)
    for count, state in enumerate(trajectory(NET, X, Y, 10, rule)):
        assert state.step == count
        net = train(NET, X, Y, count, rule).net()
        assert torch.equal(state.weights, net.weights)
        if count == 10:
            assert state.margins is None and state.pushes is None
        else:
            seen = slice(None) if order is None else order[count : count + 1]
            torch.testing.assert_close(state.margins, net.margins(X[seen], Y[seen]))
            torch.testing.assert_close(state.pushes, torch.sigmoid(-state.margins))


def test_normalised_steps_are_right_where_the_loss_underflows():
    """One neuron of each kind, d = 1: margins of 500 to 3000, against 50 digits."""
    weights = torch.tensor([[[1000.0]], [[-1000.0]]]).double()
    net = LeakyNet(weights, 0.5, 1.0)
    x, y = (
        torch.tensor([[2.0], [-0.5], [-0.501]]).double(),
        torch.tensor([1.0, -1.0, -1.0]).double(),
    )
    found = train(net, x, y, 1, Descent(0.1, normalised=True)).net().weights - weights
    with mpmath.workdps(50):
        slopes = [(1, mpmath.mpf("0.5")), (mpmath.mpf("0.5"), 1), (mpmath.mpf("0.5"), 1)]
        moves, total = [mpmath.mpf(0), mpmath.mpf(0)], mpmath.mpf(0)
        for (a_w, a_u), one, label in zip(slopes, x[:, 0].tolist(), y.tolist(), strict=True):
            z = label * one * 1000 * (a_w + a_u)
            total += mpmath.log1p(mpmath.exp(-z))
            push = label * one / (1 + mpmath.exp(z))
            moves = [moves[0] + push * a_w, moves[1] - push * a_u]
        expected = [float(move / total / 10) for move in moves]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-10)


def test_normalised_descent_reaches_losses_that_no_float_holds():
    history = train(NET, X, Y, 2000, Descent(15.0, normalised=True), keep=range(0, 2000, 200))
    losses = torch.stack([history.net(i).log_loss(X, Y) for i in range(11)])
    assert losses[-1] < -800 and (losses.diff() < 0).all()
    assert history.weights.isfinite().all()


def test_an_agreeing_cluster_moves_in_lock_step():
    """D4: as long as all neurons of a kind agree on the sample, their differences stay."""
    x, y = orthogonally_separable(10, 6, generator())
    start = train(initial(8, 6, generator(1), alpha=0.3, radius=0.01), x, y, 40, Descent(1.0))
    assert (signed_preactivations(start.net(), x, y) > 0).all()
    for rule in (
        Descent(1.0),
        Descent(1.0, normalised=True),
        Descent(5.0, order=visits(10, 100, generator(2))),
    ):
        after = train(start.net(), x, y, 1000, rule).net().weights
        moved = after - start.net().weights
        assert (moved - moved.mean(-2, keepdim=True)).abs().max() < 1e-12 * after.abs().max() * 10
        assert moved.abs().max() > 0.01 and (start.net().weights.std(-2) > 1e-3).all()


def test_a_dead_relu_layer_stays_dead():
    """D2: with α = 0 and all preactivations negative, nothing moves: not by one bit."""
    x, y = (
        torch.rand(5, 3, generator=generator(), dtype=torch.float64) + 0.1,
        torch.ones(5).double(),
    )
    weights = -torch.rand(2, 4, 3, generator=generator(1), dtype=torch.float64) - 0.1
    for alpha, still in ((0.0, True), (0.01, False)):
        after = train(LeakyNet(weights, alpha), x, y, 100, Descent(1.0)).net()
        assert torch.equal(after.weights, weights) is still
        assert bool((after(x) == 0).all()) is still


@pytest.mark.parametrize("how", ["shuffled", "cyclic", "random"])
def test_orders_of_visits(how):
    order = visits(7, 5, generator(), copies=(3,), how=how)
    assert order.shape == (3, 35) and order.dtype == torch.int64
    epochs = order.view(3, 5, 7)
    every = torch.equal(epochs.sort(-1).values, torch.arange(7).expand(3, 5, 7))
    assert every is (how != "random") and order.min() == 0 and order.max() == 6
    assert torch.equal(epochs[0, 0], epochs[0, 1]) is (how == "cyclic")


def test_float32_stays_float32():
    net = initial(3, 4, generator(), alpha=0.2, dtype=torch.float32)
    history = train(net, X.float(), Y.float(), 10, Descent(0.5))
    assert history.weights.dtype == torch.float32
    mixed = train(net, X, Y, 10, Descent(torch.tensor(0.5, dtype=torch.float64)))
    assert torch.equal(mixed.weights, history.weights)  # the network decides, not the data
    for state in trajectory(net, X, Y, 2, Descent(torch.tensor(0.5, dtype=torch.float64))):
        assert state.margins is None or state.margins.dtype == torch.float32
    torch.testing.assert_close(
        history.weights[0].double(),
        train(LeakyNet(net.weights.double(), 0.2), X, Y, 10, Descent(0.5)).weights[-1],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 0}, "rate = 0: choose a positive"),
        ({"rate": torch.tensor([1.0, -1.0])}, "choose a positive"),
        ({"rate": torch.tensor([1.0, 0.0])}, "choose a positive"),
        ({"rate": 1.0, "loss": "square"}, "loss = 'square': choose one of logistic, hinge"),
        ({"rate": 1.0, "loss": "hinge", "normalised": True}, "hinge loss can be 0"),
    ],
)
def test_rules_that_are_none_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Descent(**fields)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps = -1"),
        ({"x": X[:, :3]}, ShapeMismatch, r"inputs in R\^3 and neurons in R\^4"),
        ({"y": Y[:3]}, ShapeMismatch, r"y \(3,\)"),
        ({"y": 0 * Y}, WrongLabel, r"sample \(0,\)"),
        ({"x": X[None].expand(2, 9, 4), "y": Y.expand(2, 9)}, ShapeMismatch, "do not broadcast"),
        ({"rule": Descent(1.0, order=ORDER[:4])}, ShapeMismatch, "order of 4 samples for 5 steps"),
        ({"rule": Descent(1.0, order=ORDER + 1)}, ValueError, "samples that do not exist"),
        ({"rule": Descent(1.0, order=ORDER - 1)}, ValueError, "samples that do not exist"),
    ],
)
def test_training_refuses_what_does_not_fit(change, error, message):
    good = {"net": NET, "x": X, "y": Y, "steps": 5, "rule": Descent(1.0)} | change
    for train_or_show in (train, trajectory):
        with pytest.raises(error, match=message):
            train_or_show(**good)


def test_a_chunk_holds_a_run_however_large_it_is():
    net = LeakyNet(torch.zeros(1, 1, 1, 1, dtype=torch.float64).expand(3, 2, 1000, 1000), 0.5)
    runs = Runs(net.weights, torch.zeros(3, 1, 1000), torch.ones(3, 1), 0.5, 1.0, 1.0, None)
    assert fitting(runs) == 1  # of 16 MB
    assert fitting(runs._replace(weights=net.weights[..., :10, :10], x=runs.x[..., :10])) > 3


@pytest.mark.parametrize("more", [{"keep": (6,)}, {"keep": (-1,)}, {"chunk": 0}])
def test_steps_to_keep_are_taken(more):
    with pytest.raises(ValueError, match="choose"):
        train(NET, X, Y, 5, Descent(1.0), **more)


def test_orders_have_a_name():
    with pytest.raises(ValueError, match="how = 'sorted': choose one of shuffled"):
        visits(3, 2, generator(), how="sorted")
