"""The machines to which networks converge: against scikit-learn, closed forms, and networks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVC

from lib.teachers import (
    Descent,
    TeacherTask,
    angle,
    cluster_radius,
    coupled_svm,
    hard_margin,
    initial,
    kkt_residual,
    margins,
    max_margin,
    nar_features,
    nar_slopes,
    nar_svm,
    orthogonally_separable,
    par_slopes,
    separable,
    signed_preactivations,
    train,
    two_point_direction,
)
from lib.teachers.errors import (
    NoClosedForm,
    NotSeparable,
    ShapeMismatch,
    SlopeOutOfRange,
    ZeroInput,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_scikit_learn(features, y):
    """The hard-margin machine through 0: each point with its mirror image makes the offset 0."""
    x, labels = torch.cat((features, -features)).numpy(), torch.cat((y, -y)).numpy()
    machine = SVC(kernel="linear", C=1e9, tol=1e-10).fit(x, labels)
    assert abs(machine.intercept_[0]) < 1e-6
    return torch.from_numpy(machine.coef_[0].copy())


@pytest.mark.parametrize(("d", "n"), [(2, 40), (5, 30), (20, 15)])
def test_the_machine_is_that_of_scikit_learn(d, n):
    x, y, _ = TeacherTask(d, n).sample(generator())
    w = max_margin(x, y)
    torch.testing.assert_close(w, by_scikit_learn(x, y), rtol=1e-5, atol=1e-5)
    assert margins(x, y, w).min().item() == pytest.approx(1, rel=1e-14)
    assert separable(x, y).item() == pytest.approx(1 / w.norm().item())


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.5])
def test_the_coupled_machine_is_that_of_scikit_learn(alpha):
    x, y, _ = TeacherTask(4, 30).sample(generator())
    features = nar_features(x, *par_slopes(y, alpha))
    expected = by_scikit_learn(features, y)
    torch.testing.assert_close(torch.cat(coupled_svm(x, y, alpha)), expected, rtol=1e-5, atol=1e-5)


def kernel(x, y, alpha):
    """D6: (1 + α²) x·x' within a class, 2α x·x' across."""
    return torch.where(y[:, None] == y, 1 + alpha**2, 2 * alpha) * (x @ x.T)


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_coupled_machine_in_its_own_terms(seed, alpha):
    x, y, _ = TeacherTask(3, 8).sample(generator(seed))
    features = nar_features(x, *par_slopes(y, alpha))
    torch.testing.assert_close(features @ features.T, kernel(x, y, alpha))
    w, u = coupled_svm(x, y, alpha)
    outer = torch.where(y > 0, x @ (w - alpha * u), x @ (u - alpha * w))
    assert outer.min().item() == pytest.approx(1, rel=1e-12)
    dual = hard_margin(features, y)
    p, q = ((dual * (y == c)) @ x for c in (1, -1))
    torch.testing.assert_close(w, p - alpha * q, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(u, q - alpha * p, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(w - u, (1 + alpha) * (p - q), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("margin", [0.1, 1e-3, 1e-5])
def test_the_answer_is_exact_up_to_rounding(margin):
    """By the duality gap, which bounds the squared error."""
    for d, n in ((2, 100), (3, 200), (50, 200)):
        x, y, _ = TeacherTask(d, n, margin=margin).sample(generator())
        for alpha in (0.0, 0.3, 1.0):
            features = nar_features(x, *par_slopes(y, alpha))
            theta = torch.cat(coupled_svm(x, y, alpha))
            assert kkt_residual(features, y, theta) < 1e-10
            dual = hard_margin(features, y)
            slack = margins(features, y, theta) - 1
            assert (dual >= 0).all() and (dual * slack).max() < 1e-8 * dual.max()


def test_the_residual_tells_a_wrong_answer():
    x, y, _ = TeacherTask(3, 20).sample(generator())
    w = max_margin(x, y)
    off = w + 0.01 * w.norm() * inputs_like(w)
    residual = kkt_residual(x, y, off)
    scaled = off / margins(x, y, off).min()
    assert ((scaled - w).norm() / scaled.norm()) ** 2 <= residual < 0.5 and residual > 1e-5
    assert kkt_residual(x, y, 7 * w) < 1e-10


def inputs_like(w):
    v = torch.randn(w.shape, generator=generator(9), dtype=w.dtype)
    return v / v.norm()


def test_many_machines_are_each_what_they_are_alone():
    x, y, _ = TeacherTask(3, 12).sample(generator(), copies=2)
    alpha = torch.tensor([0.0, 0.4, 1.0]).double()
    w, u = coupled_svm(x[:, None], y[:, None], alpha)
    assert w.shape == u.shape == (2, 3, 3)
    for i in range(2):
        for j in range(3):
            one = coupled_svm(x[i], y[i], float(alpha[j]))
            torch.testing.assert_close(w[i, j], one.w)
            torch.testing.assert_close(u[i, j], one.u)


def test_at_alpha_one_it_is_the_ordinary_machine_and_below_it_is_not():
    x, y, _ = TeacherTask(5, 30).sample(generator())
    found = [coupled_svm(x, y, alpha) for alpha in (1.0, 0.05)]
    angles = [float(angle(pair.w - pair.u, max_margin(x, y))) for pair in found]
    assert angles[0] < 1e-5 and angles[1] > 3


def test_on_a_symmetric_sample_it_is_the_ordinary_machine():
    x, y, _ = TeacherTask(5, 15).sample(generator())
    x, y = torch.cat((x, -x)), torch.cat((y, -y))
    pair = coupled_svm(x, y, 0.05)
    assert angle(pair.w - pair.u, max_margin(x, y)) < 1e-5


# --- two points


points = st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(
    lambda v: torch.tensor(v, dtype=torch.float64).view(2, 2)
)


@given(points, st.floats(0, 0.95))
def test_two_points_have_a_closed_form(pair, alpha):
    x1, x2 = pair
    if min(x1.norm(), x2.norm()) < 0.1 or angle(x1, x2) < 5:
        return
    x, y = torch.stack((x1, x2)), torch.tensor([1.0, -1.0]).double()
    dual = hard_margin(nar_features(x, *par_slopes(y, alpha)), y)
    try:
        kappa = two_point_direction(x1, x2, alpha)
    except NoClosedForm:
        assert dual.min() < 1e-9 * dual.max()  # a point is no support vector
        return
    w, u = coupled_svm(x, y, alpha)
    assert angle(w - u, kappa) < 1e-4 and kappa.norm().item() == pytest.approx(1)


def test_the_angles_of_two_points():
    """x1 = (2, 0), x2 = (−0.4, 0.9): how far the coupled machine is from the ordinary one."""
    x = torch.tensor([[2.0, 0.0], [-0.4, 0.9]]).double()
    ordinary = max_margin(x, torch.tensor([1.0, -1.0]).double())
    found = [angle(two_point_direction(*x, a), ordinary).item() for a in (0.05, 0.3, 0.6, 0.9)]
    assert found == pytest.approx([14.15, 8.42, 2.55, 0.13], abs=0.005)


def test_a_point_that_is_no_support_vector_is_named():
    near, far = torch.tensor([1.0, 0.0]).double(), torch.tensor([-9.0, 1.0]).double()
    with pytest.raises(NoClosedForm, match="x2 is no support vector: its weight would be -"):
        two_point_direction(near, far, 0.5)
    with pytest.raises(NoClosedForm, match=r"x1 of \(1,\) is no support"):
        two_point_direction(torch.stack((near, far)), torch.stack((-near, near)), 0.5)
    with pytest.raises(SlopeOutOfRange):
        two_point_direction(near, far, 1.0)


def test_trained_networks_find_the_closed_form():
    """D7 and D8 on two points, all leaks at once, within 0.2°; the ordinary machine is not near."""
    x, y = torch.tensor([[2.0, 0.0], [-0.4, 0.9]]).double(), torch.tensor([1.0, -1.0]).double()
    leaks = torch.tensor([0.05, 0.3, 0.6]).double()
    net = initial(6, 2, generator(), alpha=leaks, radius=0.1)
    kappa = train(net, x, y, 4000, Descent(1.0, normalised=True)).net().kappa
    closed = torch.stack([two_point_direction(*x, float(a)) for a in leaks])
    assert (angle(kappa, closed) < 0.2).all()
    assert (angle(kappa, max_margin(x, y)) > 2).all()


# --- D5 and D6: networks


def test_networks_in_perfect_agreement_find_the_coupled_machine():
    x, y = orthogonally_separable(10, 6, generator(), copies=3)
    net = initial(8, 6, generator(1), alpha=0.2, copies=(3,))
    last = train(net, x, y, 6000, Descent(4.0, normalised=True)).net()
    assert (signed_preactivations(last, x, y) > 0).all()
    means, (w, u) = cluster_radius(last), coupled_svm(x, y, 0.2)
    found, limit = torch.cat((means.w, means.u), -1), torch.cat((w, u), -1)
    assert (angle(found, limit) < 0.5).all()
    assert (angle(found, torch.cat((w, -w), -1)) > 3).all()
    torch.testing.assert_close(torch.cat(nar_svm(x, y, *nar_slopes(last, x)), -1), limit)


def test_other_slopes_give_other_machines():
    """D5: neurons that agree, but not with the labels."""
    x, y = torch.tensor([[1.0, 0.2], [0.3, 1.0]]).double(), torch.tensor([1.0, -1.0]).double()
    slopes = torch.tensor([1.0, 1.0]).double(), torch.tensor([0.3, 1.0]).double()
    theta = torch.cat(nar_svm(x, y, *slopes))
    features = torch.cat((slopes[0][:, None] * x, -slopes[1][:, None] * x), -1)
    torch.testing.assert_close(theta, by_scikit_learn(features, y), rtol=1e-6, atol=1e-6)


# --- what is refused


X = torch.tensor([[1.0, 0.0], [2.0, 0.1], [1.0, 0.05]], dtype=torch.float64)
Y = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)


@given(seed=st.integers(0, 10**6), alpha=st.floats(0.01, 0.99))
def test_both_parts_of_a_machine_lie_on_the_side_of_the_teacher(seed, alpha):
    """w·w* ≥ α Σλ and u·w* ≤ −α Σλ, whatever the slopes: no part is 0."""
    x, y, w_star = TeacherTask(3, 8).sample(generator(seed))
    slopes = 1 - (1 - alpha) * (torch.rand(2, 8, generator=generator(seed)) < 0.5).double()
    least = alpha * hard_margin(nar_features(x, *slopes), y).sum() * (1 - 1e-6)
    w, u = nar_svm(x, y, *slopes)
    assert w @ w_star >= least > 0
    assert u @ w_star <= -least


def test_the_sample_that_no_hyperplane_separates_is_named():
    """0.4 x_0 + 0.4 x_1 = x_2, which has the other label, so it weighs most."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.4, 0.4]]).double()
    for solve in (max_margin, separable, lambda x, y: coupled_svm(x, y, 1.0)):
        with pytest.raises(NotSeparable, match=r"sample \(2,\): no hyperplane through 0"):
            solve(x, Y)
    with pytest.raises(NotSeparable, match=r"sample \(1, 2\)"):
        max_margin(torch.stack((x * torch.tensor([[1.0], [1.0], [-1.0]]), x)), Y.expand(2, 3))


def test_a_leak_separates_what_no_line_does():
    """D5 is about networks: in R^{2d} even these labels can be separated for α < 1."""
    w, u = coupled_svm(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).double(), Y, 0.0)
    assert w.norm() > 0 and u.norm() > 0


def test_slopes_and_samples_are_checked():
    with pytest.raises(SlopeOutOfRange, match=r"choose a leak in \[0, 1\]"):
        coupled_svm(X, Y, 1.1)
    with pytest.raises(SlopeOutOfRange, match=r"sample \(1,\): slope 2 "):
        nar_svm(X, Y, torch.tensor([1.0, 2.0, 1.0]), torch.ones(3))
    with pytest.raises(ShapeMismatch, match=r"slopes \(2,\) for x \(3, 2\)"):
        nar_svm(X, Y, torch.ones(2), torch.ones(3))
    with pytest.raises(ZeroInput, match=r"sample \(0,\)"):
        coupled_svm(0 * X, Y, 0.5)


def test_small_angles_are_exact():
    a, b = torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 1e-9]).double()
    assert angle(a, b).item() == pytest.approx(1e-9 * 180 / torch.pi, rel=1e-6)
    assert angle(a, -3 * a).item() == pytest.approx(180) and angle(
        a, a.flip(0)
    ).item() == pytest.approx(90)
