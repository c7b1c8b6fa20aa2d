"""Spectra and mean predictors, against closed forms, ODE steps and gradient descent."""

import json
import math
from pathlib import Path

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lib.ntk import fcn_kernel, max_learning_rate, mean_predictor, phase, spectrum, trajectory
from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch
from lib.ntk.precise import precise_kernels, precise_spectrum

REFERENCE = json.loads((Path(__file__).parent / "ntk_reference.json").read_text())


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def problem(m: int = 6, n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x, kind = normal(m + n, 4), {"depth": 2, "sigma_w2": 2.0, "sigma_b2": 0.1, "activation": "erf"}
    theta = fcn_kernel(x, **kind).ntk
    return theta[m:, :m], theta[:m, :m], normal(m, 2, seed=1)


# --- spectrum


@given(a=st.floats(0.01, 10), b=st.floats(0, 10), m=st.integers(2, 12))
def test_two_eigenvalues(a, b, m):
    found = spectrum(a * torch.eye(m, dtype=torch.float64) + b)
    assert float(found.lambda_max) == pytest.approx(a + m * b, rel=1e-12)
    assert float(found.lambda_bulk) == pytest.approx(a, rel=1e-9)
    assert float(found.kappa) == pytest.approx(1 + m * b / a, rel=1e-9)


def test_batches_and_rounding():
    batch = torch.stack([torch.eye(3), torch.ones(3, 3)]).double()
    found = spectrum(batch)
    assert found.kappa.tolist() == [1, math.inf]
    assert found.eigenvalues.shape == (2, 3)
    torch.testing.assert_close(found.lambda_max, torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert float(spectrum(torch.ones(1, 1)).kappa) == 1


def test_gradients_flow_to_kernels_without_a_warning():
    test, train, y = problem()
    kernel = train.clone().requires_grad_()
    spectrum(kernel).kappa.backward()
    mean_predictor(test, kernel, y, t=0.3).sum().backward()
    assert torch.isfinite(kernel.grad).all()


@pytest.mark.parametrize("case", REFERENCE["condition_numbers"], ids=lambda c: c["name"])
def test_condition_numbers_agree_with_fifty_digits(case):
    """The Gram matrix is q 2^−|i−j|, so a trajectory for each distance makes the kernel."""
    m, rows = case["m"], [row for row in case["rows"] if float(row["kappa_nngp"]) < 1e6]
    c0 = 0.5 ** torch.arange(m, dtype=torch.float64)
    options = {"sigma_w2": float(case["sigma_w2"]), "sigma_b2": float(case["sigma_b2"])}
    path = trajectory(rows[-1]["l"], activation=case["act"], c0=c0, **options)
    apart = (torch.arange(m)[:, None] - torch.arange(m)).abs()
    for row in rows:
        found = spectrum(path.p_ab[row["l"]][apart])
        assert float(found.lambda_max) == pytest.approx(float(row["lmax"]), rel=1e-11)
        assert float(found.eigenvalues[0]) == pytest.approx(float(row["lmin"]), rel=1e-8)
        assert float(found.kappa) == pytest.approx(float(row["kappa"]), rel=1e-8)
        nngp = spectrum((path.q * path.c)[row["l"]][apart])
        assert float(nngp.kappa) == pytest.approx(float(row["kappa_nngp"]), rel=1e-8)


def test_many_digits_agree_with_fifty_digits():
    (case,) = (c for c in REFERENCE["condition_numbers"] if c["name"] == "relu_critical")
    m = case["m"]
    start = mp.matrix([[mp.mpf(2) ** -abs(i - j) for j in range(m)] for i in range(m)])
    wanted = {row["l"]: row for row in case["rows"] if row["l"] <= 20}
    options = {key: case[key] for key in ("sigma_w2", "sigma_b2")} | {"activation": case["act"]}
    for depth, (nngp, ntk) in precise_kernels(start, depths=wanted, **options):
        row = wanted[depth]
        values, others = precise_spectrum(ntk), precise_spectrum(nngp)
        with mp.workdps(40):
            for value, key in (
                (values[-1], "lmax"),
                (values[0], "lmin"),
                (values[-1] / values[0], "kappa"),
                (others[-1] / others[0], "kappa_nngp"),
            ):
                assert abs(value / mp.mpf(row[key]) - 1) < 1e-23


# --- the mean predictor


def test_the_limit_solves_the_linear_system():
    test, train, y = problem()
    wanted = test @ torch.linalg.solve(train, y)
    torch.testing.assert_close(mean_predictor(test, train, y), wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(mean_predictor(train, train, y), y, rtol=1e-9, atol=1e-12)
    late = mean_predictor(test, train, y, t=1e9)
    torch.testing.assert_close(late, wanted, rtol=1e-9, atol=1e-12)


def test_times_and_rates():
    test, train, y = problem()
    t = torch.tensor([0.0, 0.3, 5.0], dtype=torch.float64)
    found = mean_predictor(test, train, y, t=t, eta=0.7)
    assert found.shape == (3, 3, 2)
    assert float(found[0].abs().max()) == 0
    flow = torch.eye(6, dtype=torch.float64) - torch.linalg.matrix_exp(-0.7 * 5 * train)
    wanted = test @ torch.linalg.solve(train, flow @ y)
    torch.testing.assert_close(found[2], wanted, rtol=1e-9, atol=1e-12)
    single = mean_predictor(test, train, y[:, 0], t=0.3, eta=0.7)
    torch.testing.assert_close(single, found[1, :, 0])


def test_the_flow_solves_its_differential_equation():
    _, train, y = problem()
    h = 1e-5
    f = [mean_predictor(train, train, y, t=1.0 + s * h) for s in (-1, 1)]
    slope = train @ (y - mean_predictor(train, train, y, t=1.0))
    torch.testing.assert_close((f[1] - f[0]) / (2 * h), slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_discrete_steps_are_gradient_descent(share):
    test, train, y = problem()
    eta = share * float(max_learning_rate(train))
    f, g = torch.zeros_like(y), torch.zeros(3, 2, dtype=torch.float64)
    for _ in range(40):
        f, g = f + eta * train @ (y - f), g + eta * test @ (y - f)
    found = [mean_predictor(k, train, y, t=40, eta=eta, discrete=True) for k in (train, test)]
    torch.testing.assert_close(found[0], f, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], g, rtol=1e-9, atol=1e-9)
    assert (float((f - y).abs().max()) > 10) == (share > 1)


def test_batches_of_kernels():
    test, train, y = problem()
    batch = mean_predictor(
        torch.stack([test, 2 * test]),
        torch.stack([train, 2 * train]),
        y,
        t=torch.tensor([1.0, 2.0]),
    )
    assert batch.shape == (2, 2, 3, 2)
    torch.testing.assert_close(batch[0, 1], mean_predictor(2 * test, 2 * train, y, t=1.0))
    torch.testing.assert_close(batch[1, 0], mean_predictor(test, train, y, t=2.0))


def test_directions_without_eigenvalue_are_not_learned():
    train = torch.ones(4, 4, dtype=torch.float64)
    y = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    for t in (None, 1e6):
        found = mean_predictor(train, train, y, t=t)
        torch.testing.assert_close(found, torch.full_like(y, 3.0), rtol=1e-8, atol=0)
    test = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(mean_predictor(test, train, y)) == pytest.approx(3 / 4)
    along, across = 3 / 4 * (1 - math.exp(-2 * 4)), 2 * (1 - 3)  # time 2, eigenvalues 4 and 0
    assert float(mean_predictor(test, train, y, t=2.0)) == pytest.approx(along + across)


def test_the_ordered_limit_is_kriging():
    """In the ordered phase the predictor keeps a limit that depends on the data (m = 2)."""
    at, c0 = phase(1.25, 0.05), torch.tensor([0.2, 0.6, 0.7], dtype=torch.float64)
    path = trajectory(400, sigma_w2=1.25, sigma_b2=0.05, c0=c0)
    decay = at.chi_1**400
    z = (path.gap[-1] / decay).tolist()
    p, gaps = float(path.p_aa[-1, 0]), path.p_gap[-1]
    assert float(gaps.max()) < 1e-3 * p
    train = p - torch.tensor([[0, gaps[0]], [gaps[0], 0]], dtype=torch.float64)
    test = (p - gaps[1:])[None]
    y = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = float(mean_predictor(test, train, y))
    assert found == pytest.approx((z[2] - z[1]) / z[0], rel=0.05)


# --- refusals


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"train": torch.ones(6, 5).double()}, ShapeMismatch, "square"),
        ({"train": torch.ones(6, 6).triu().double()}, ShapeMismatch, "symmetric"),
        ({"train": torch.full((6, 6), math.nan).double()}, NotFinite, "ntk_train"),
        ({"train": torch.eye(6, dtype=torch.long)}, TypeError, "float64 tensor, not torch.int64"),
        ({"train": torch.eye(6).half()}, TypeError, "not torch.float16"),
        ({"test": [[1.0] * 6]}, TypeError, "ntk_test_train must be a tensor"),
        ({"y": [1.0] * 6}, TypeError, "y must be a tensor"),
        ({"test": torch.ones(3, 5).double()}, ShapeMismatch, "ntk_test_train"),
        ({"test": torch.ones(3, 6)}, ShapeMismatch, "float32"),
        ({"y": torch.ones(5).double()}, ShapeMismatch, "6 labels"),
        ({"y": torch.full((6,), math.inf).double()}, NotFinite, "y"),
        ({"t": -1.0}, OutOfRange, "t ="),
        ({"t": math.nan}, OutOfRange, "t ="),
        ({"t": 2.5, "discrete": True}, OutOfRange, "whole numbers"),
        ({"t": 1.0, "eta": -1.0}, OutOfRange, "eta ="),
        ({"t": 1.0, "eta": math.nan}, OutOfRange, "eta ="),
        ({"t": 1.0, "eta": torch.ones(2)}, ShapeMismatch, "eta has shape"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_bad_input_is_named(change, error, word):
    test, train, y = problem()
    names = {"test": "ntk_test_train", "train": "ntk_train"}
    kind = {"test": test, "train": train, "y": y} | change
    with pytest.raises(error, match=word):
        mean_predictor(**{names.get(name, name): value for name, value in kind.items()})


def test_a_bad_kernel_is_named():
    with pytest.raises(NotFinite, match="kernel"):
        spectrum(torch.full((2, 2), math.inf))
    with pytest.raises(ShapeMismatch, match="square"):
        spectrum(torch.ones(3))
