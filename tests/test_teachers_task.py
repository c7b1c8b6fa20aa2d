"""Linearly separable data, and what is refused."""

import math

import pytest
import torch
from scipy.stats import kstest

from lib.teachers import (
    TeacherTask,
    check_orthogonally_separable,
    inputs,
    margins,
    orthogonally_separable,
    separated,
)
from lib.teachers.errors import (
    NotOrthogonallySeparable,
    NotSeparable,
    ShapeMismatch,
    WrongLabel,
    ZeroInput,
)
from lib.teachers.task import LAWS, check_sample


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("copies", [None, 3])
def test_the_teacher_separates_with_margin_one(law, copies):
    x, y, w_star = TeacherTask(6, 200, law, margin=0.2).sample(generator(), copies=copies)
    lead = () if copies is None else (3,)
    assert (x.shape, y.shape, w_star.shape) == ((*lead, 200, 6), (*lead, 200), (*lead, 6))
    least = margins(x, y, w_star).amin(-1)
    assert (least >= 1 - 1e-12).all() and (law == "corners" or (least < 1.1).all())
    torch.testing.assert_close(w_star.norm(dim=-1), torch.full(lead, 5.0, dtype=torch.float64))
    assert {-1.0, 1.0} == set(y.flatten().tolist())


@pytest.mark.parametrize("law", LAWS)
def test_inputs_have_mean_zero_and_covariance_one_over_d(law):
    """n = 40 000: each entry of the covariance has a deviation of at most about √2/(4 · 200)."""
    x = inputs((40_000, 4), generator(), law=law)
    assert x.mean(0).abs().max() < 5 / (4 * 40_000) ** 0.5
    assert (x.T @ x / 40_000 - torch.eye(4).to(x) / 4).abs().max() < 5 * 2**0.5 / (4 * 200)


@pytest.mark.parametrize(("law", "what"), [("sphere", 1.0), ("corners", 1.0)])
def test_norms_of_the_laws_on_the_sphere(law, what):
    torch.testing.assert_close(
        inputs((50, 7), generator(), law=law).norm(dim=-1), torch.full((50,), what).double()
    )


def test_gaussian_and_cube_have_their_law():
    x = inputs((4000, 4), generator(), law="cube").flatten()
    assert kstest((x / 3**0.5 * 2).numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    x = inputs((4000, 4), generator(), law="gaussian").flatten()
    assert kstest((2 * x).numpy(), "norm").pvalue > 1e-3


def test_a_test_set_has_the_same_teacher():
    task = TeacherTask(3, 5, margin=0.3)
    first = task.sample(generator(), copies=2)
    more = task.labelled(400, first.w_star, generator(1))
    assert more.x.shape == (2, 400, 3) and torch.equal(more.w_star, first.w_star)
    assert (margins(more.x, more.y, first.w_star) >= 1 - 1e-12).all()


def test_the_generator_decides_the_sample():
    task = TeacherTask(3, 8)
    a, b, c = (task.sample(generator(s)).x for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_dtype_is_an_argument():
    sample = TeacherTask(3, 8).sample(generator(), dtype=torch.float32)
    assert all(t.dtype == torch.float32 for t in sample)


@pytest.mark.parametrize("copies", [None, 4])
def test_orthogonally_separable_data(copies):
    x, y = orthogonally_separable(30, 5, generator(), copies=copies)
    signed = y[..., None] * x
    assert (signed @ signed.mT).min() > 0
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    check_orthogonally_separable(x, y)
    assert (x < 0).any()  # the orthant is rotated


def test_copies_of_orthogonally_separable_data_are_independent():
    """The copies have orthants of their own, and inputs and labels; ‖x‖² is 1 in the mean."""
    x, y = orthogonally_separable(40, 3, generator(), copies=200)
    signed = y[..., None] * x
    centres = torch.nn.functional.normalize(signed.mean(1), dim=-1)
    assert (centres[1:] @ centres[0]).min() < 0  # no two inputs of one orthant are so far apart
    grams = signed @ signed.mT  # no rotation changes them
    assert not torch.isclose(grams[0], grams[1:]).all(-1).all(-1).any()
    assert (y[0] != y[1:]).any(-1).all()
    assert abs((x**2).sum(-1).mean() - 1) < 5 * (2 / (3 * 200 * 40)) ** 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d": 0, "n": 5}, "d = 0: choose at least 1"),
        ({"d": 2, "n": 0}, "n = 0: choose at least 1"),
        ({"d": 2, "n": 5, "margin": 0.0}, r"margin = 0\.0: choose a positive"),
        ({"d": 2, "n": 5, "margin": math.nan}, "margin = nan"),
        ({"d": 2, "n": 5, "law": "cauchy"}, "law = 'cauchy': choose one of gaussian"),
    ],
)
def test_tasks_that_are_none_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TeacherTask(**fields)


def test_samples_are_not_empty():
    with pytest.raises(ValueError, match="copies = 0"):
        TeacherTask(2, 3).sample(generator(), copies=0)
    with pytest.raises(ValueError, match="n = 0, d = 3"):
        orthogonally_separable(0, 3, generator())
    with pytest.raises(ValueError, match="n = 3, d = 0"):
        orthogonally_separable(3, 0, generator())


X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
Y = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)


def test_the_offending_sample_is_named():
    zero, unknown, endless = X.clone(), Y.clone(), X.clone()
    zero[1], unknown[2], endless[0, 1] = 0, 0.5, math.nan
    with pytest.raises(ZeroInput, match=r"sample \(1,\): the input is zero"):
        check_sample(zero, Y)
    with pytest.raises(WrongLabel, match=r"sample \(2,\): the label is 0\.5"):
        check_sample(X, unknown)
    with pytest.raises(ValueError, match=r"sample \(0,\): the input is not finite"):
        check_sample(endless, Y)
    with pytest.raises(WrongLabel, match=r"sample \(0, 2\)"):
        check_sample(X[None], unknown[None])
    with pytest.raises(ShapeMismatch, match=r"x \(3, 2\) and y \(2,\)"):
        check_sample(X, Y[:2])
    with pytest.raises(ShapeMismatch, match=r"x \(2,\) and y \(\)"):
        check_sample(X[0], Y[0])


@pytest.mark.parametrize(
    "check", [check_orthogonally_separable, lambda x, y: separated(x, y, torch.ones(2).double())]
)
def test_checks_of_a_sample_refuse_what_is_none(check):
    with pytest.raises(WrongLabel, match=r"sample \(0,\)"):
        check(X, 0 * Y)


def test_separated_gives_the_least_margin():
    w = torch.tensor([1.0, -1.0]).double()
    assert separated(X, Y, w) == 1
    assert separated(torch.stack((X, 3 * X)), Y.expand(2, 3), w).tolist() == [1, 3]
    with pytest.raises(NotSeparable, match=r"sample \(1,\): y w·x = -1 "):
        separated(X, Y, torch.tensor([1.0, 1.0]).double())
    with pytest.raises(NotSeparable, match=r"sample \(1,\): y w·x = (-)?0 "):
        separated(X, Y, torch.tensor([1.0, 0.0]).double())


def test_samples_that_are_not_orthogonally_separable_are_named():
    check_orthogonally_separable(X[[0, 2]], Y[[0, 2]])
    check_orthogonally_separable(X[:2], Y[:2])  # at a right angle: the product 0 is allowed
    bad = torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.0, 2.0]], dtype=torch.float64)
    with pytest.raises(NotOrthogonallySeparable, match=r"samples 0 and 1: .* -0\.5 is negative"):
        check_orthogonally_separable(bad, Y)
    with pytest.raises(NotOrthogonallySeparable, match=r"samples 0 and 1 of copy \(1,\)"):
        check_orthogonally_separable(
            torch.stack((X[[0, 2]], bad[:2])), Y[None, [0, 2]].expand(2, 2)
        )
