"""Kernels of fully connected networks, against 60-digit values and Monte Carlo."""

import itertools
import json
import re
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib.ntk import (
    ERF,
    GELU,
    RELU,
    TANH,
    fcn,
    fcn_kernel,
    fcn_kernels,
    get_activation,
    phase,
    quadrature,
    quadrature_error,
    spectrum,
)
from lib.ntk.errors import NotConverged, NotFinite, OutOfRange, ShapeMismatch, UnknownActivation
from lib.ntk.precise import DUALS, precise_input, precise_kernels

REFERENCE = json.loads((Path(__file__).parent / "ntk_reference.json").read_text())
X = torch.tensor(REFERENCE["inputs"]["fcn_X_5x4"], dtype=torch.float64)
PLAIN = {"depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.1, "activation": "relu"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def double(matrix: mp.matrix) -> Tensor:
    return torch.tensor([[float(v) for v in row] for row in matrix.tolist()], dtype=torch.float64)


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest error of an entry, over that entry."""
    return float(((found - wanted) / wanted).abs().max())


def separation(kernel: Tensor) -> Tensor:
    size = kernel.diagonal()
    return (size[:, None] + size) / 2 - kernel


# --- against many digits


@pytest.mark.parametrize("row", REFERENCE["fcn"], ids=lambda r: f"{r['act']}-{r['phase']}")
@pytest.mark.parametrize("second", [None, X.clone()], ids=["one set", "two sets"])
def test_entries_agree_with_sixty_digits(row, second):
    found = fcn_kernel(
        X,
        second,
        depth=row["L_nonlinear_layers"],
        sigma_w2=row["sigma_w2"],
        sigma_b2=row["sigma_b2"],
        activation=row["act"],
    )
    for kernel, name in zip(found, ("nngp_mp", "ntk_mp"), strict=True):
        assert relative(kernel, torch.tensor(row[name], dtype=torch.float64)) < 1e-13


@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(2.0, 0.0), (1.5, 0.1), (3.0, 0.18)])
@pytest.mark.parametrize(("residual", "layer_norm"), [*itertools.product((False, True), repeat=2)])
@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_residual_and_normalized_networks(activation, sigma_w2, sigma_b2, residual, layer_norm):
    options = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "activation": activation}
    options |= {"residual": residual, "layer_norm": layer_norm}
    x = normal(4, 3)
    x = torch.cat([x, -2 * x[:1] + 1e-3, 1.5 * x[1:2], x[2:3] + 1e-5])
    depths = (0, 1, 4, 12)
    start = precise_input(x.tolist(), sigma_w2, sigma_b2)
    for depth, wanted in precise_kernels(start, depths=depths, **options):
        for second in (None, x.clone()):
            found = fcn_kernel(x, second, depth=depth, **options)
            for kernel, matrix in zip(found, wanted, strict=True):
                size = double(matrix).diagonal().max()
                assert float((kernel - double(matrix)).abs().max() / size) < 2e-13


@pytest.mark.parametrize(("distance", "tolerance"), [(1e-6, 1e-7), (1e-7, 2e-7), (1e-8, 2e-6)])
@pytest.mark.parametrize("sigma_b2", [0.0, 0.1])
@pytest.mark.parametrize("longer", [1.0, 2.5])
def test_nearly_parallel_inputs_keep_their_separation_with_relu(
    distance, tolerance, sigma_b2, longer
):
    x = normal(1, 10)
    x = torch.cat([x, longer * x + distance * normal(1, 10, seed=1)])
    start = precise_input(x.tolist(), 2, sigma_b2)
    options = {"sigma_w2": 2.0, "sigma_b2": sigma_b2, "activation": "relu"}
    for depth, wanted in precise_kernels(start, depths=(1, 10), **options):
        p = wanted.ntk
        with mp.workdps(60):
            exact = float((p[0, 0] + p[1, 1]) / 2 - p[0, 1])
        found = separation(fcn_kernel(x, depth=depth, **options).ntk)[0, 1]
        assert float(abs(found - exact)) / exact < tolerance


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.1, 0.4])
def test_nearly_opposite_inputs_with_relu(angle):
    x = torch.tensor([[1.0, 0.0], [-3.0, 3 * angle]], dtype=torch.float64)
    options = {"sigma_w2": 2.0, "sigma_b2": 0.0, "activation": "relu"}
    start = precise_input(x.tolist(), 2, 0)
    for depth, wanted in precise_kernels(start, depths=(0, 1, 2), **options):
        for found, exact in zip(fcn_kernel(x, depth=depth, **options), wanted, strict=True):
            assert abs(found[0, 1] - float(exact[0, 1])) <= 4e-14 * abs(float(exact[0, 1]))


def test_equal_inputs_in_two_sets_survive_deep_chaos():
    options = {"depth": 40, "sigma_w2": 3.0, "sigma_b2": 0.18}
    for activation in ("erf", "tanh"):
        once = fcn_kernel(X, activation=activation, **options).ntk
        twice = fcn_kernel(X, X.clone(), activation=activation, **options).ntk
        assert relative(twice.diagonal(), once.diagonal()) < 1e-12


@pytest.mark.parametrize("activation", ["erf", "tanh"])
@pytest.mark.parametrize("extra", [{}, {"layer_norm": True}, {"residual": True}], ids=str)
def test_an_odd_network_treats_opposite_inputs_as_equal_ones(activation, extra):
    depth = 5 if extra.get("residual") else 100  # there variances grow
    kind = {"depth": depth, "sigma_w2": 3.0, "sigma_b2": 0.0, "activation": activation} | extra
    moved = torch.cat([X, X + 1e-9 * normal(*X.shape, seed=1)])
    for near, opposite in zip(
        fcn_kernel(X, moved, **kind), fcn_kernel(X, -moved, **kind), strict=True
    ):
        assert relative(-opposite, near) < 1e-10


def test_an_even_network_does_not_see_the_sign():
    kind = {"depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.0, "activation": torch.cos}
    for found, wanted in zip(fcn_kernel(X, -X, **kind), fcn_kernel(X, X, **kind), strict=True):
        assert relative(found, wanted) < 1e-12


def test_rounding_does_not_leave_the_domain_of_the_arc_sine():
    x = torch.cat([X, X[:1]])
    found = fcn_kernel(x, depth=300, sigma_w2=3.0, sigma_b2=0.05, activation="erf").ntk
    assert float(found[0, 5]) == pytest.approx(float(found[0, 0]), rel=1e-11)


def test_one_norm_against_many():
    x = torch.nn.functional.normalize(X)
    whole = fcn_kernel(torch.cat([x, X]), **PLAIN)
    for found, wanted in zip(fcn_kernel(x, X, **PLAIN), whole, strict=True):
        torch.testing.assert_close(found, wanted[:5, 5:], rtol=1e-13, atol=0)


# --- activations


@pytest.mark.parametrize("record", [RELU, ERF, TANH, GELU], ids=lambda r: r.name)
def test_dual_maps_are_gaussian_expectations(record):
    """Monte Carlo, n = 400 000, at five standard errors."""
    a, b, k = (torch.tensor(v, dtype=torch.float64) for v in (1.3, 0.6, -0.4))
    z = normal(2, 400_000)
    u, v = a.sqrt() * z[0], k / a.sqrt() * z[0] + (b - k * k / a).sqrt() * z[1]
    u, v = (w.requires_grad_() for w in (u.detach(), v.detach()))
    f, g = record.function(u), record.function(v)
    slopes = (torch.autograd.grad(y.sum(), w)[0] for y, w in ((f, u), (g, v)))
    for found, draws in zip(
        record.dual(k, a, b), ((f * g).detach(), torch.mul(*slopes)), strict=True
    ):
        assert abs(found - draws.mean()) < 5 * draws.std() / len(draws) ** 0.5


RECORDS = [RELU, ERF, quadrature(torch.erf), TANH, GELU]
NAMES = ["relu", "erf", "erf by quadrature", "tanh", "gelu"]
variances = st.floats(0.05, 3.0)
correlations = st.floats(-0.999, 0.999)


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
@settings(max_examples=25)
@given(a=variances, b=variances, c=correlations)
def test_gaps_and_drops_are_differences_of_the_dual_maps(record, a, b, c):
    a, b, c = (torch.tensor([v], dtype=torch.float64) for v in (a, b, c))
    k = c * (a * b).sqrt()
    t, slope = record.dual(k, a, b)
    gap, dot = (a + b) / 2 - k, torch.empty_like(k)
    record.gap_(gap, a, b, dot)
    ends = (record.diagonal(a)[0] + record.diagonal(b)[0]) / 2
    torch.testing.assert_close(gap, ends - t, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(dot, slope, rtol=1e-11, atol=0)
    for drop, end, at in zip(
        record.drops(a, 1 - c), record.diagonal(a), record.dual(c * a, a, a), strict=True
    ):
        torch.testing.assert_close(drop, end - at, rtol=1e-11, atol=2e-14)


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
def test_growth_and_bend_are_derivatives(record):
    q, d, h = (torch.tensor(v, dtype=torch.float64) for v in (0.9, 0.4, 1e-5))
    growth = (record.diagonal(q + h)[0] - record.diagonal(q - h)[0]) / (2 * h)
    assert abs(record.growth(q) - growth) < 1e-9
    slopes = [record.dual(q * (1 - d) + s * h, q, q)[1] for s in (1, -1)]
    assert abs(record.bend(q, d) - (slopes[0] - slopes[1]) / (2 * h)) < 1e-9


@pytest.mark.parametrize("record", [RELU, ERF], ids=lambda r: r.name)
@pytest.mark.parametrize("d", [1e-14, 1e-6, 0.03, 1.0, 1.9])
def test_drops_of_close_inputs_are_relatively_exact(record, d):
    q = torch.tensor([1.7], dtype=torch.float64)
    found = record.drops(q, torch.tensor([d], dtype=torch.float64))
    with mp.workdps(60):
        a, gap = mp.mpf(1.7), mp.mpf(d)
        ends, at = (DUALS[record.name](a, a, a * s) for s in (mp.mpf(1), 1 - gap))
        wanted = [float(x - y) for x, y in zip(ends, at, strict=True)]
    for value, exact in zip(found, wanted, strict=True):
        assert abs(float(value) / exact - 1) < 1e-13


def test_the_error_of_quadrature_is_stated():
    q = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64)
    assert float(quadrature_error(torch.tanh, q).max()) < 1e-14
    assert float(quadrature_error(torch.tanh, q, order=24)[2]) > 1e-6
    exact = ERF.dual(0.5 * q, q, q)
    for found, wanted in zip(quadrature(torch.erf).dual(0.5 * q, q, q), exact, strict=True):
        assert relative(found, wanted) < 1e-14


def test_quadrature_refuses_a_kink():
    leaky = torch.nn.functional.leaky_relu
    with pytest.raises(NotConverged, match="larger tolerance") as refusal:
        fcn_kernel(X, **PLAIN | {"activation": leaky})
    worst = float(re.search(r"miss (\S+) of", str(refusal.value))[1])  # of φ', not of φ
    wide_enough = quadrature(leaky, tolerance=1.1 * worst)
    assert torch.isfinite(fcn_kernel(X, **PLAIN | {"activation": wide_enough}).ntk).all()
    with pytest.raises(NotConverged, match="larger order"):
        fcn_kernel(X, **PLAIN | {"activation": quadrature(torch.tanh, order=24)})
    rough = quadrature(torch.relu, order=96, tolerance=0.1)
    found = fcn_kernel(X, **PLAIN | {"activation": rough}).nngp
    assert 1e-9 < relative(found, fcn_kernel(X, **PLAIN).nngp) < 1e-2


def sine_dual(k: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """E sin u sin v and E cos u cos v, by the sum and the difference of u and v."""
    near, far = (k - (a + b) / 2).exp() / 2, (-k - (a + b) / 2).exp() / 2
    return near - far, near + far


@pytest.mark.parametrize("frequency", [1.0, 8.0, 18.6, 20.0, 21.5, 26.3, 48.0])
def test_fast_oscillations_are_not_taken_for_slow_ones(frequency):
    q = torch.tensor([0.2, 1.0], dtype=torch.float64)
    c = torch.tensor([[1.0], [0.999], [0.5], [-0.3], [-1.0]], dtype=torch.float64)
    a, b = frequency**2 * q[0], frequency**2 * q
    wanted, wanted_slope = sine_dual(c * (a * b).sqrt(), a.expand_as(b), b)
    wave = quadrature(lambda z: torch.sin(frequency * z))
    found, slope = wave.dual(c * (q[0] * q).sqrt(), q[0].expand_as(q), q)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope / frequency**2, wanted_slope, rtol=0, atol=1e-12)


def test_oscillations_too_fast_for_all_terms_are_refused():
    for order in (24, 96, 384):
        for frequency in (18.6, 26.3, 80.0, 300.0):
            wave = quadrature(lambda z, w=frequency: torch.sin(w * z), order=order)
            with pytest.raises(NotConverged):
                wave.dual(*torch.ones(3, 1, dtype=torch.float64))
    ripple = quadrature(lambda z: torch.tanh(z) + 1e-4 * torch.sin(100 * z), order=384)
    with pytest.raises(NotConverged, match="larger order"):
        ripple.dual(*torch.ones(3, 1, dtype=torch.float64))


def test_functions_of_no_tensor_are_refused_by_name():
    for function in (np.tanh, torch.heaviside, torch.nn.PReLU(), lambda z: z.numpy()):
        with pytest.raises(UnknownActivation, match="elementwise"):
            fcn_kernel(X, **PLAIN | {"activation": function})


def test_two_sets_of_different_variance_share_a_quadrature():
    big, small = 6 * X, 0.1 * X
    both = fcn_kernel(torch.cat([big, small]), **PLAIN | {"activation": "tanh"})
    apart = fcn_kernel(big, small, **PLAIN | {"activation": "tanh"})
    for whole, part in zip(both, apart, strict=True):
        torch.testing.assert_close(whole[:5, 5:], part, rtol=1e-11, atol=1e-14)


# --- shapes, blocks, structure


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_blocks_do_not_change_the_result(activation, monkeypatch):
    x, y = normal(23, 6), normal(9, 6, seed=1)
    x[7], y[3] = x[2] + 1e-9, x[4]
    options = PLAIN | {"activation": activation}
    for second in (None, y):
        whole = fcn_kernel(x, second, **options)
        for entries in (1, 7, 64) if activation != "tanh" else (64,):
            monkeypatch.setitem(fcn.BLOCK, "cpu", entries)
            for a, b in zip(whole, fcn_kernel(x, second, **options), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)
        monkeypatch.undo()


def test_threads_do_not_change_the_result(monkeypatch):
    monkeypatch.setitem(fcn.BLOCK, "cpu", 16)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(fcn_kernel(X, **PLAIN))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *found))


def test_threads_share_the_inference_mode(monkeypatch):
    monkeypatch.setitem(fcn.BLOCK, "cpu", 16)
    wanted, before = fcn_kernel(X, **PLAIN), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.inference_mode():
            one, many = fcn_kernel(X, **PLAIN), dict(fcn_kernels(X, depths=[3], **TAIL))[3]
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, one, wanted))
    assert all(map(torch.equal, many, fcn_kernel(X, depth=3, **TAIL)))


@given(seed=st.integers(0, 10**6), activation=st.sampled_from(["relu", "erf"]))
def test_kernels_are_symmetric_and_positive(seed, activation):
    x = normal(8, 3, seed=seed)
    found = fcn_kernel(x, depth=5, sigma_w2=2.0, sigma_b2=0.05, activation=activation)
    for kernel in found:
        assert torch.equal(kernel, kernel.mT)
        values = torch.linalg.eigvalsh(kernel)
        assert values[0] > -1e-14 * values[-1]


def test_all_depths_at_once():
    for options in ({"activation": "relu"}, {"activation": "erf", "keep_prob": 0.8}):
        kind = PLAIN | options
        del kind["depth"]
        found = dict(fcn_kernels(X, depths=(4, 0, 1), **kind))
        assert list(found) == [0, 1, 4]
        for depth, kernels in found.items():
            for a, b in zip(kernels, fcn_kernel(X, depth=depth, **kind), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-15, atol=0)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_a_grid_of_variances_is_a_loop(activation, layer_norm, residual):
    w = torch.tensor([[0.7], [2.0], [3.0]], dtype=torch.float64)
    b = torch.tensor([0.0, 0.2], dtype=torch.float64)
    options = {"depth": 3, "activation": activation, "layer_norm": layer_norm}
    options |= {"residual": residual}
    y = torch.cat([X[:2], -X[:1], X[1:2] + 1e-6])
    for second in (None, y):
        grid = fcn_kernel(X, second, sigma_w2=w, sigma_b2=b, **options)
        for i, j in itertools.product(range(3), range(2)):
            one = fcn_kernel(X, second, sigma_w2=float(w[i]), sigma_b2=float(b[j]), **options)
            for a, c in zip(grid, one, strict=True):
                torch.testing.assert_close(a[i, j], c, rtol=1e-12, atol=1e-14)


def test_batches_of_inputs_are_a_loop():
    x, y = normal(3, 6, 4), normal(3, 2, 4, seed=1)
    y[1, 0] = x[1, 2] + 1e-8
    for activation in ("relu", "erf"):
        kind = PLAIN | {"activation": activation}
        for i, second in itertools.product(range(3), (None, y)):
            batch = fcn_kernel(x, second, **kind)
            one = fcn_kernel(x[i], None if second is None else y[i], **kind)
            for a, b in zip(batch, one, strict=True):
                torch.testing.assert_close(a[i], b, rtol=1e-13, atol=1e-14)


def test_single_precision_stays_single():
    for activation in ("relu", "erf", "gelu"):
        single = fcn_kernel(X.float(), **PLAIN | {"activation": activation})
        for a, b in zip(single, fcn_kernel(X, **PLAIN | {"activation": activation}), strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=1e-5)


def test_no_gradient_is_tracked():
    x = X.clone().requires_grad_()
    assert not any(k.requires_grad for k in fcn_kernel(x, **PLAIN))
    assert not any(k.requires_grad for k in dict(fcn_kernels(x, depths=[1], **TAIL))[1])


TAIL = {"sigma_w2": 1.5, "sigma_b2": 0.1, "activation": "erf"}


def test_an_input_of_zero_has_a_kernel():
    x = torch.cat([X, torch.zeros(1, 4, dtype=X.dtype)])
    for activation in ("relu", "erf", "tanh"):
        for bias in (0.0, 0.1):
            kind = {"depth": 2, "sigma_w2": 2.0, "sigma_b2": bias, "activation": activation}
            found = fcn_kernel(x, **kind)
            assert all(torch.isfinite(k).all() for k in found)
            if not bias:
                assert float(found.ntk[5].abs().max()) == 0


def test_deep_relu_networks_do_not_overflow_early():
    small = fcn_kernel(X, depth=1500, sigma_w2=2.0, sigma_b2=0.0, activation="relu").ntk
    large = fcn_kernel(X, depth=1500, sigma_w2=3.0, sigma_b2=0.0, activation="relu").ntk
    ratio = 1.5**1501
    torch.testing.assert_close(large / ratio, small, rtol=1e-11, atol=0)


# --- dropout


def test_dropout_changes_the_diagonal_alone():
    kept = 0.5
    full, thin = (fcn_kernel(X, keep_prob=p, **PLAIN | {"activation": "erf"}) for p in (1.0, kept))
    for a, b in zip(full, thin, strict=True):
        wanted = a + torch.diag((1 / kept - 1) * (a.diagonal() - 0.1))
        torch.testing.assert_close(b, wanted, rtol=1e-15, atol=0)
    apart = fcn_kernel(X, X[:2], keep_prob=kept, **PLAIN)
    assert all(map(torch.equal, apart, fcn_kernel(X, X[:2], **PLAIN)))


def test_dropout_bounds_the_condition_number_of_the_ordered_phase():
    p = phase(1.25, 0.05).p
    x = normal(4, 3)
    x *= (phase(1.25, 0.05).q - 0.05) ** 0.5 * 3**0.5 / 1.25**0.5 / x.norm(dim=1, keepdim=True)
    for kept in (0.99, 0.8, 0.5):
        kind = {"sigma_w2": 1.25, "sigma_b2": 0.05, "activation": "erf", "keep_prob": kept}
        wanted = 1 + len(x) * kept * p / ((1 - kept) * (p - 0.05))
        assert float(spectrum(fcn_kernel(x, depth=900, **kind).ntk).kappa) == pytest.approx(
            wanted, rel=1e-6
        )


# --- refusals


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"depth": -1}, OutOfRange, "depth"),
        ({"depth": 1.5}, TypeError, "depth"),
        ({"depth": True}, TypeError, "depth"),
        ({"sigma_w2": 0.0}, OutOfRange, "sigma_w2"),
        ({"sigma_w2": float("nan")}, OutOfRange, "sigma_w2"),
        ({"sigma_w2": float("inf")}, OutOfRange, "sigma_w2"),
        ({"sigma_b2": -0.1}, OutOfRange, "sigma_b2"),
        ({"sigma_b2": torch.tensor([0.1, -0.1])}, OutOfRange, "sigma_b2"),
        ({"sigma_w2": [1.0, 2.0]}, TypeError, "sigma_w2 must be a number or a tensor, not list"),
        ({"sigma_w2": torch.ones(2), "sigma_b2": torch.ones(3)}, ShapeMismatch, "broadcast"),
        ({"x1": X.expand(2, 5, 4), "sigma_w2": torch.ones(3)}, ShapeMismatch, r"\(3,\) and \(2,\)"),
        ({"activation": "sigmoid"}, UnknownActivation, "relu, erf, tanh, gelu"),
        ({"activation": 3}, UnknownActivation, "3"),
        ({"activation": lambda x: x.sum()}, UnknownActivation, "elementwise"),
        ({"activation": torch.nn.Softmax(-1)}, UnknownActivation, "elementwise"),
        ({"activation": torch.nn.Softmax(0)}, UnknownActivation, "elementwise"),
        ({"keep_prob": 0.0}, OutOfRange, "keep_prob"),
        ({"keep_prob": 1.1}, OutOfRange, "keep_prob"),
        ({"keep_prob": 0.5, "residual": True}, OutOfRange, "residual"),
        ({"x1": X.long()}, TypeError, "int64"),
        ({"x1": None}, TypeError, "x1 must be"),
        ({"x1": X[:0]}, ShapeMismatch, "none of them 0"),
        ({"x1": X.half()}, TypeError, "float16"),
        ({"x1": X[0]}, ShapeMismatch, "features"),
        ({"x1": X[:0]}, ShapeMismatch, "features"),
        ({"x1": X.log()}, NotFinite, "x1"),
        ({"x2": X / 0}, NotFinite, "x2"),
        ({"x2": X[:, :3]}, ShapeMismatch, "x2"),
        ({"x2": X.float()}, ShapeMismatch, "float32"),
        ({"x1": 0 * X, "sigma_b2": 0.0, "layer_norm": True}, OutOfRange, "layer_norm"),
    ],
    ids=lambda v: str(v) if isinstance(v, str) else None,
)
def test_bad_input_is_named(change, error, word):
    kind = {"x1": X, **PLAIN, **change}
    with pytest.raises(error, match=word):
        fcn_kernel(kind.pop("x1"), kind.pop("x2", None), **kind)


def test_no_depths_are_refused():
    with pytest.raises(OutOfRange, match="depths"):
        fcn_kernels(X, depths=[], **TAIL)
    with pytest.raises(OutOfRange, match="depth"):
        fcn_kernels(X, depths=[1, -2], **TAIL)


def test_records_and_names_are_one():
    assert get_activation("erf") is ERF
    assert get_activation(TANH) is TANH
    for function in (torch.relu, torch.nn.functional.relu, torch.nn.ReLU()):
        assert get_activation(function) is RELU
    assert get_activation(torch.erf) is ERF
