"""Odd and even parts, agreement, clusters, and how often a network is not linear."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.teachers import (
    Descent,
    LeakyNet,
    TeacherTask,
    agreement,
    cluster_radius,
    disagreement_bound,
    initial,
    inputs,
    nar_slopes,
    odd_even,
    orthogonally_separable,
    signed_preactivations,
    surely_linear,
    trajectory,
    visits,
)
from lib.teachers.errors import NotInAgreement, WrongLabel


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clustered(d: int, radius: float, seed: int, *, k: int = 6, alpha: float = 0.1) -> LeakyNet:
    """Neurons at most ``radius`` from two unit vectors."""
    centre = inputs((2, 1, d), generator(seed), law="sphere")
    around = initial(k, d, generator(seed + 1), alpha=alpha, radius=radius)
    return LeakyNet(centre + around.weights, alpha)


# --- D0


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.7])
def test_a_network_is_its_odd_and_its_even_part(alpha):
    net = initial(5, 3, generator(), alpha=alpha, copies=(4,))
    x = torch.randn(4, 30, 3, generator=generator(1), dtype=torch.float64)
    (odd, even), (back, same) = odd_even(net, x), odd_even(net, -x)
    torch.testing.assert_close(odd + even, net(x))
    assert torch.equal(back, -odd) and torch.equal(same, even)
    torch.testing.assert_close(odd, (net(x) - net(-x)) / 2)


def test_the_odd_part_is_linear_and_decides_at_least_one_of_two_sides():
    net = initial(5, 3, generator(), alpha=0.1, radius=3.0)
    x, other = torch.randn(2, 200, 3, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(
        odd_even(net, x + 2 * other)[0], odd_even(net, x)[0] + 2 * odd_even(net, other)[0]
    )
    linear = (x @ net.kappa).sign()
    here, there = net(x).sign() == linear, net(-x).sign() == -linear
    assert (here | there).all() and not (here & there).all()
    odd, even = odd_even(net, x)
    assert here[even.abs() < odd.abs()].all() and (even.abs() > odd.abs()).any()


# --- agreement


def test_agreement_worked_out_by_hand():
    """Three samples: both clusters right; the w_j of two signs; the u_j of one sign, but wrong."""
    weights = torch.tensor([[[1.0, 1.0], [1.0, -1.0]], [[-1.0, 1.0], [-2.0, 1.0]]]).double()
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 3.0]]).double(), torch.ones(3).double()
    found = agreement(LeakyNet(weights, 0.1), x, y)
    assert [round(float(t), 9) for t in found] == [round(t, 9) for t in (1 / 3, 1, 1 / 3, 1 / 3)]
    alone = agreement(LeakyNet(weights[:, :1], 0.1), x, y)
    assert (alone.nar, round(float(alone.par), 9)) == (1, round(1 / 3, 9))


def test_a_preactivation_of_zero_agrees_with_none():
    weights = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]]).double()
    x, y = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), torch.ones(2).double()
    assert [float(t) for t in agreement(LeakyNet(weights, 0.1), x, y)] == [0.5] * 4


def test_agreement_of_many_networks_is_that_of_each():
    x, y, _ = TeacherTask(3, 9).sample(generator(), copies=4)
    weights = torch.stack([clustered(3, r, s).weights for s, r in enumerate((0, 0.3, 1, 5))])
    found = agreement(LeakyNet(weights, 0.1), x, y)
    for i in range(4):
        one = agreement(LeakyNet(weights[i], 0.1), x[i], y[i])
        assert [float(t[i]) for t in found] == pytest.approx([float(t) for t in one])
    assert found.nar[0] == 1 and found.w[0] == 1 and found.nar[3] < 1


def test_labels_are_checked():
    x, y, _ = TeacherTask(3, 9).sample(generator())
    with pytest.raises(WrongLabel):
        agreement(initial(2, 3, generator(), alpha=0.1), x, 2 * y)


def test_signed_preactivations_are_positive_where_a_cluster_is_right():
    weights = torch.tensor([[[2.0], [3.0]], [[-1.0], [1.0]]]).double()
    x, y = torch.tensor([[1.0], [-2.0]]).double(), torch.tensor([1.0, -1.0]).double()
    found = signed_preactivations(LeakyNet(weights, 0.1), x, y)
    assert found.tolist() == [[[2, 4], [3, 6]], [[1, 2], [-1, -2]]]


@pytest.mark.parametrize(
    "rule",
    [
        Descent(0.5),
        Descent(20.0, order=visits(10, 60, generator(2))),
        Descent(1.0, normalised=True),
    ],
)
def test_on_orthogonally_separable_data_agreement_only_grows(rule):
    """D8, from any start; on other data it does not."""
    x, y = orthogonally_separable(10, 6, generator())
    least = {}
    for name, labels in (("separable", y), ("other", y.roll(1))):
        values = [
            signed_preactivations(LeakyNet(state.weights.clone(), 0.1), x, labels)
            for state in trajectory(initial(8, 6, generator(1), alpha=0.1), x, labels, 600, rule)
        ]
        least[name] = torch.stack(values).diff(dim=0).min()
    assert least["separable"] > -1e-12 and least["other"] < -1e-3


def test_slopes_in_agreement():
    net = clustered(3, 0.0, 0, alpha=0.2)
    x = inputs((20, 3), generator(5))
    slopes = nar_slopes(net, x)
    for found, part in zip(slopes, (net.w, net.u), strict=True):
        expected = torch.where(x @ part[0] > 0, 1.0, torch.tensor(0.2, dtype=x.dtype))
        torch.testing.assert_close(found, expected)
    assert set(torch.cat(slopes).tolist()) == {1.0, 0.2}


def test_the_sample_without_agreement_is_named():
    weights = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [-1.0, 1.0]]]).double()
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double()
    with pytest.raises(NotInAgreement, match=r"sample \(1,\): the u-neurons have two signs"):
        nar_slopes(LeakyNet(weights, 0.1), x)
    with pytest.raises(NotInAgreement, match=r"sample \(0, 1\): the w-neurons"):
        nar_slopes(LeakyNet(weights.flip(0)[None], 0.1), x)


# --- clusters


def test_clusters_worked_out_by_hand():
    weights = torch.tensor([[[3.0, 4.0], [3.0, 6.0]], [[0.0, 1.0], [0.0, 1.0]]]).double()
    found = cluster_radius(LeakyNet(weights, 0.1))
    assert (found.w.tolist(), found.u.tolist()) == ([3, 5], [0, 1])
    assert (float(found.r_w), float(found.r_u)) == (1, 0)
    assert float(found.rho_w) == pytest.approx(34**-0.5) and found.rho_u == 0


@given(st.integers(0, 10_000), st.floats(0, 2), st.sampled_from([2, 3, 10]))
def test_where_both_clusters_have_a_sign_a_network_is_linear(seed, radius, d):
    net = clustered(d, radius, seed)
    x = torch.randn(200, d, generator=generator(seed + 2), dtype=torch.float64)
    sure = surely_linear(net, x)
    assert torch.equal(net(x).sign()[sure], (x @ net.kappa).sign()[sure])
    for part in (net.w, net.u):
        signs = (x @ part.T).sign()[sure]
        assert torch.equal(signs, signs[:, :1].expand_as(signs))
    if radius == 0:
        assert sure.all()


@pytest.mark.parametrize(("d", "radius"), [(2, 0.3), (3, 0.5), (10, 0.3), (50, 0.1)])
def test_the_bound_on_disagreement_holds_and_is_the_mass_of_two_bands(d, radius):
    """n = 200 000 directions; each mass has a deviation of at most 0.5/√n = 0.0011."""
    net = clustered(d, radius, 3)
    c = cluster_radius(net)
    x = inputs((200_000, d), generator(7), law="sphere")
    out = ~surely_linear(net, x)
    bound = float(disagreement_bound(c.rho_w, c.rho_u, d))
    assert 0.5 * bound < out.double().mean() < bound + 0.005
    wrong = net(x).sign() != (x @ net.kappa).sign()
    assert not (wrong & ~out).any() and (d == 2 or wrong.any())
    band = ((x @ c.w).abs() <= c.r_w).double().mean()
    assert band.item() == pytest.approx(disagreement_bound(c.rho_w, 0.0, d).item(), abs=0.005)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_bound_in_two_and_three_dimensions(rho_w, rho_u):
    arcs = 2 / math.pi * (math.asin(rho_w) + math.asin(rho_u))
    assert disagreement_bound(rho_w, rho_u, 2).item() == pytest.approx(min(1, arcs), abs=1e-7)
    assert disagreement_bound(rho_w, rho_u, 3).item() == pytest.approx(min(1, rho_w + rho_u))


def test_the_bound_takes_tensors_and_radii_above_one():
    found = disagreement_bound(torch.tensor([0.0, 0.3, 2.0]), torch.zeros(3), 3)
    assert found.tolist() == pytest.approx([0, 0.3, 1], abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"), [((0.1, 0.1, 1), "d = 1"), ((0.1, -0.1, 3), "is negative")]
)
def test_what_has_no_bound_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        disagreement_bound(*arguments)
