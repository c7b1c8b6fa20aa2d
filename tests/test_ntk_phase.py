"""Fixed points, phases and trajectories, against 25-digit values and the laws of large depth."""

import json
import math
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from lib.ntk import GELU, critical_line, critical_sigma_w2, fcn_kernel, phase, trajectory
from lib.ntk.activations import get_activation
from lib.ntk.errors import NotConverged, OutOfRange, UnknownActivation
from lib.ntk.precise import precise_kernels

REFERENCE = json.loads((Path(__file__).parent / "ntk_reference.json").read_text())
POINTS = [row for row in REFERENCE["scalars"] if row["kind"] == "erf"]
CRITICAL = [row for row in REFERENCE["scalars"] if row["kind"] == "erf_critical"]
FIELDS = {"qstar": "q", "cstar": "c", "chi1": "chi_1", "chi_c": "chi_c", "xi1": "xi_1"}
FIELDS |= {"xi_c": "xi_c", "p_off_star": "p", "xi_star": "xi_star"}


def grid(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- one point


@pytest.mark.parametrize("row", POINTS, ids=lambda r: r["sigma_w2"])
@pytest.mark.parametrize("activation", ["erf", torch.erf], ids=["closed form", "quadrature"])
def test_fixed_points_agree_with_twenty_five_digits(row, activation):
    found = phase(float(row["sigma_w2"]), float(row["sigma_b2"]), activation)
    for name, field in FIELDS.items():
        if name in row:
            assert getattr(found, field) == pytest.approx(float(row[name]), rel=2e-13), field
    assert found.name == ("ordered" if row["sigma_w2"] == "1.25" else "chaotic")


@pytest.mark.parametrize("row", CRITICAL, ids=lambda r: r["sigma_b2"])
def test_the_critical_line_of_erf(row):
    sigma_b2 = float(row["sigma_b2"])
    found = critical_sigma_w2(sigma_b2)
    assert found == pytest.approx(float(row["sigma_w2"]), rel=1e-15)
    at = phase(found, sigma_b2)
    assert at.name == "critical"
    assert at.q == pytest.approx(float(row["qstar"]), rel=1e-14)
    assert at.curvature == pytest.approx(float(row["Cpp1"]), rel=1e-13)
    assert (at.c, at.xi_1, at.xi_c, at.xi_star, at.p) == (1, *[math.inf] * 4)


def test_critical_lines_meet_the_phase():
    biases = grid(1e-6, 0.01, 0.3, 2.0)
    for activation in ("erf", "tanh", torch.erf):
        found = critical_sigma_w2(biases, activation)
        assert (phase(found, biases, activation).name == "critical").all()
    assert critical_sigma_w2(0.0) == pytest.approx(math.pi / 4, rel=1e-15)
    assert critical_sigma_w2(0.0, "tanh") == pytest.approx(1, rel=1e-12)
    assert critical_sigma_w2(0.3, "relu") == 2


@given(q=st.floats(1e-6, 50))
def test_the_closed_form_of_the_critical_line(q):
    sigma_w2, sigma_b2 = (float(v) for v in critical_line(grid(q)))
    with mp.workdps(40):
        x = mp.mpf(q)
        root = mp.sqrt(1 + 4 * x)
        wanted = mp.pi / 4 * root, x - root / 2 * mp.asin(2 * x / (1 + 2 * x))
    assert sigma_w2 == pytest.approx(float(wanted[0]), rel=1e-15)
    assert sigma_b2 == pytest.approx(float(wanted[1]), rel=1e-13)


def test_without_bias_the_variance_may_die():
    assert phase(0.7, 0.0).q == 0
    assert phase(0.7, 0.0).name == "ordered"
    assert phase(math.pi / 4, 0.0).name == "critical"
    alive = phase(1.0, 0.0)
    assert alive.name == "chaotic"
    assert alive.c == pytest.approx(0, abs=1e-15)
    assert alive.q == pytest.approx(2 / math.pi * math.asin(2 * alive.q / (1 + 2 * alive.q)))


@pytest.mark.parametrize(
    ("sigma_w2", "sigma_b2", "q", "name", "p"),
    [
        (1.5, 0.1, 0.4, "ordered", 1.6),
        (1.5, 0.0, 0.0, "ordered", 0.0),
        (2.0, 0.0, 1.0, "critical", math.inf),
        (2.0, 0.1, math.inf, "critical", math.inf),
        (3.0, 0.1, math.inf, "divergent", math.inf),
        (3.0, 0.0, math.inf, "divergent", math.inf),
    ],
)
def test_relu(sigma_w2, sigma_b2, q, name, p):
    found = phase(sigma_w2, sigma_b2, "relu")
    assert (found.q, found.p) == (pytest.approx(q), pytest.approx(p))
    assert (found.name, found.c, found.chi_1) == (name, 1, sigma_w2 / 2)
    assert found.xi_c == (pytest.approx(-1 / math.log(0.75)) if q == 0.4 else math.inf)
    wanted = math.inf if sigma_w2 == 2 else pytest.approx(-1 / math.log(sigma_w2 / 2))
    assert found.xi_1 == wanted


@pytest.mark.parametrize(
    ("sigma_w2", "sigma_b2", "activation"), [(2.5, 0.05, "gelu"), (1.0, 0.1, lambda z: z)]
)
def test_without_a_fixed_point_a_network_is_divergent(sigma_w2, sigma_b2, activation):
    """The variance grows, and not by less from layer to layer; nothing else is said."""
    path = trajectory(20, sigma_w2=sigma_w2, sigma_b2=sigma_b2, activation=activation, q0=1.0)
    grown = path.q.diff()
    assert (grown > 0.03).all()
    assert (grown[1:] > grown[:-1] - 1e-12).all()
    found = vars(phase(sigma_w2, sigma_b2, activation))
    assert (found.pop("name"), found.pop("q")) == ("divergent", math.inf)
    assert all(math.isnan(value) for value in found.values())


def test_of_two_fixed_points_the_one_that_1_moves_to_counts():
    """GELU at (2.3, 0.05) has a stable one, and an unstable one at 0.73: 1 grows without end."""
    q = grid(0.1, 0.185, 0.186, 0.73, 0.731, 1.0, 4.0, 64.0)
    grows = 2.3 * get_activation("gelu").diagonal(q)[0] + 0.05 > q
    assert grows.tolist() == [True, True, False, False, True, True, True, True]
    assert phase(2.3, 0.05, "gelu").name == "divergent"


def test_a_grid_through_the_end_of_the_fixed_point():
    """With this bias GELU is ordered until its variance, from 1 on, diverges."""
    found = phase(grid(1.5, 2.0, 2.5), 0.05, "gelu")
    assert found.name.tolist() == ["ordered", "ordered", "divergent"]
    assert found.q.isinf().tolist() == found.chi_1.isnan().tolist() == [False, False, True]


def test_gelu_is_chaotic_where_a_larger_bias_holds_its_variance():
    at = phase(1.98, 0.2, "gelu")
    z = np.linspace(-12, 12, 4001)
    weights = np.exp(-(z**2) / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    u = z * math.sqrt(at.q)
    below, density = ndtr(u), np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    assert 1.98 * weights @ (u * below) ** 2 + 0.2 == pytest.approx(at.q, rel=1e-10)
    assert 1.98 * weights @ (below + u * density) ** 2 == pytest.approx(at.chi_1, rel=1e-10)
    assert (at.name, at.chi_1 > 1) == ("chaotic", True)


def test_a_function_that_never_settles_is_refused():
    with pytest.raises(NotConverged):
        phase(1.0, 0.1, lambda x: (400 * x).sin())


def test_a_fast_oscillation_is_chaotic():
    at = phase(1.0, 0.1, lambda x: (20 * x).sin())  # E sin² = (1 − exp(−800 q))/2, E cos² the rest
    assert (at.name, at.q) == ("chaotic", pytest.approx(0.6, rel=1e-12))
    assert at.chi_1 == pytest.approx(200, rel=1e-12)
    assert at.c == pytest.approx(0.1 / 0.6, rel=1e-9)  # sinh(400 q c) exp(−400 q) is nothing


# --- many points


def test_a_grid_is_a_loop_of_points():
    w, b = torch.meshgrid(grid(0.5, 1.3758390073466804, 1.5, 3), grid(0.05, 0.2), indexing="ij")
    for activation in ("erf", "relu", "tanh"):
        found = phase(w, b, activation)
        assert found.name.shape == w.shape
        for i, j in np.ndindex(*w.shape):
            one = phase(float(w[i, j]), float(b[i, j]), activation)
            assert found.name[i, j] == one.name
            for field in FIELDS.values():
                value = getattr(found, field)[i, j].item()
                assert value == pytest.approx(getattr(one, field), rel=1e-9), field


@given(w=st.floats(0.1, 6), b=st.floats(0, 1))
def test_fixed_points_are_fixed_and_stable(w, b):
    at = phase(w, b)
    if at.name == "critical" or at.q == 0:
        return
    after = trajectory(1, sigma_w2=w, sigma_b2=b, c0=at.c, q0=at.q)
    assert float(after.q[1]) == pytest.approx(at.q, rel=1e-12)
    assert float(after.c[1]) == pytest.approx(at.c, abs=1e-12)
    assert float(after.chi[0]) == pytest.approx(at.chi_c, rel=1e-12)
    assert at.chi_c < 1
    assert (at.name == "chaotic") == (at.chi_1 > 1) == (at.c < 1)


# --- trajectories


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_a_trajectory_is_a_kernel(activation):
    c0, q0, w, b = 0.3, 1.7, 1.8, 0.1
    found = trajectory(6, sigma_w2=w, sigma_b2=b, activation=activation, c0=c0, q0=q0)
    size = 2 * (q0 - b) / w
    c = (q0 * c0 - b) / (q0 - b)
    x = torch.tensor([[1, 0], [c, (1 - c * c) ** 0.5]], dtype=torch.float64) * size**0.5
    for depth in (0, 1, 6):
        kind = {"depth": depth, "sigma_w2": w, "sigma_b2": b, "activation": activation}
        nngp, ntk = fcn_kernel(x, **kind)
        values = [nngp[0, 0], nngp[0, 1], ntk[0, 0], ntk[0, 1]]
        mine = [found.q, found.q * found.c, found.p_aa, found.p_ab]
        for wanted, value in zip(values, mine, strict=True):
            assert float(value[depth]) == pytest.approx(float(wanted), rel=1e-13)
    torch.testing.assert_close(found.p_gap, found.p_aa - found.p_ab, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["ordered", "relu_critical"])
def test_trajectories_agree_with_fifty_digits(name):
    (rows,) = (r["rows"] for r in REFERENCE["condition_numbers"] if r["name"] == name)
    (kind,) = (r for r in REFERENCE["condition_numbers"] if r["name"] == name)
    options = {"sigma_w2": float(kind["sigma_w2"]), "sigma_b2": float(kind["sigma_b2"])}
    found = trajectory(rows[-1]["l"], activation=kind["act"], **options)
    for row in rows:
        depth = row["l"]
        assert float(found.p_aa[depth]) == pytest.approx(float(row["Th00"]), rel=1e-12)
        assert float(found.p_ab[depth]) == pytest.approx(float(row["Th01"]), rel=1e-12)
        gap = float(found.q[0]) - float(row["K01"]) if depth < 100 else None
        if gap:
            assert float(found.q[0] * found.gap[depth]) == pytest.approx(gap, rel=1e-9)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_gaps_stay_exact_far_below_rounding(activation):
    options = {"sigma_w2": "1.25", "sigma_b2": "0.25", "activation": activation}
    with mp.workdps(60):
        start = mp.matrix([[1, mp.mpf(1) / 2], [mp.mpf(1) / 2, 1]])
        ((_, wanted),) = precise_kernels(start, depths=[150], **options)
        gap = 1 - wanted.nngp[0, 1] / mp.sqrt(wanted.nngp[0, 0] * wanted.nngp[1, 1])
        p_gap = wanted.ntk[0, 0] - wanted.ntk[0, 1]
    found = trajectory(150, sigma_w2=1.25, sigma_b2=0.25, activation=activation, q0=1.0)
    assert float(gap) < 1e-12
    assert float(found.gap[-1] / float(gap)) == pytest.approx(1, rel=1e-11)
    assert float(found.p_gap[-1] / float(p_gap)) == pytest.approx(1, rel=1e-11)


def test_ordered_resonance():
    """p* − p_ab ≃ l χ_1^l ζ (q* + C''(1) p*/χ_1), with an error of order 1/l."""
    at, depths = phase(1.25, 0.05), torch.arange(2001.0, dtype=torch.float64)
    path = trajectory(2000, sigma_w2=1.25, sigma_b2=0.05)
    decay = at.chi_1**depths
    missing = path.p_gap + at.q * at.chi_1 ** (depths + 1) / (1 - at.chi_1)
    ratio = missing / (depths * decay * (path.gap / decay)[300])
    predicted = at.q + at.curvature * at.p / at.chi_1
    assert predicted == pytest.approx(3.54894, abs=1e-5)
    errors = [float(predicted - ratio[n]) for n in (500, 1000, 2000)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.01)
    assert 2 * errors[2] - errors[1] == pytest.approx(0, abs=1e-4)


def test_chaotic_resonance():
    at, path = phase(3.0, 0.18), trajectory(60, sigma_w2=3.0, sigma_b2=0.18)
    ratio = [float((path.p_ab - at.p)[n] / (path.c - at.c)[n]) for n in (59, 60)]
    predicted = at.q + at.curvature * at.p / at.chi_c
    assert predicted == pytest.approx(4.06695, abs=1e-5)
    assert ratio[1] - ratio[0] == pytest.approx(predicted, rel=1e-4)


def test_critical_log_terms():
    """p_ab/q* is l/3 − (1/3 + 2/(9u)) log l for erf, and l/4 + (3/8) log l for ReLU, up to O(1)."""
    q, half = grid(0.25, 1.0, 4.0), 2500
    w, b = critical_line(q)
    path = trajectory(2 * half, sigma_w2=w, sigma_b2=b, q0=q)
    slope = ((path.p_ab[2 * half] - path.p_ab[half]) / q - half / 3) / math.log(2)
    curvature = 4 * q**2 / (1 + 4 * q)
    torch.testing.assert_close(slope, -(1 / 3 + 2 / (9 * curvature)), rtol=0.02, atol=0)
    relu = trajectory(2 * half, sigma_w2=2.0, sigma_b2=0.0, activation="relu")
    slope = (relu.p_ab[2 * half] - relu.p_ab[half] - half / 4) / math.log(2)
    assert float(slope) == pytest.approx(3 / 8, rel=0.02)


# --- gradients


@pytest.mark.parametrize(("activation", "sigma_w2"), [("erf", 1.5), ("tanh", 3.0), ("gelu", 1.5)])
def test_gradients_are_differences(activation, sigma_w2):
    def numbers(w):
        at = phase(w, 0.05, activation)
        path = trajectory(4, sigma_w2=w, sigma_b2=0.05, activation=activation, q0=1.0)
        return torch.stack([at.q, at.chi_c, at.p, path.p_ab[-1]])

    w, step = torch.tensor(sigma_w2, dtype=torch.float64), 1e-5
    found = torch.autograd.functional.jacobian(numbers, w)
    wanted = (numbers(w + step) - numbers(w - step)) / (2 * step)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


FIELDS_OF_GRIDS = ("q", "chi_1", "chi_c", "xi_1", "xi_c", "xi_star", "p")


@pytest.mark.parametrize(
    ("activation", "w", "b"),
    [
        ("erf", (1.25, critical_sigma_w2(0.05), 3.0), 0.05),
        ("relu", (1.5, 2.0, 3.0), 0.1),
        ("relu", (1.5, 2.0, 3.0), 0.0),
        ("gelu", (2.0, 3.0), 0.05),
    ],
)
def test_one_phase_does_not_spoil_the_gradients_of_another(activation, w, b):
    def total(field, w, b):
        values = getattr(phase(w, b, activation), field)
        return values[torch.isfinite(values)].sum()

    for field in FIELDS_OF_GRIDS:
        w_all = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        b_all = torch.tensor(b, dtype=torch.float64, requires_grad=True)
        if (whole := total(field, w_all, b_all)).requires_grad:
            whole.backward()
            slopes = [w_all.grad] + ([] if b_all.grad is None else [b_all.grad])
            assert all(torch.isfinite(slope).all() for slope in slopes), field


def test_inference_mode_is_a_mode_like_any():
    wanted = phase(3.0, 0.05, "tanh")
    with torch.inference_mode():
        assert phase(3.0, 0.05, "tanh") == wanted


def test_a_variance_that_grows_from_one_diverges_without_biases_too():
    cube = phase(0.5, 0.0, lambda z: z**3)  # T(1) = 15: 1 grows, though 0 attracts small ones
    assert (cube.name, cube.q) == ("divergent", math.inf)
    limit = 1 / float(GELU.diagonal(torch.ones((), dtype=torch.float64))[0])
    names = phase(grid(limit - 1e-3, limit + 1e-3), 0.0, "gelu").name
    assert list(names) == ["ordered", "divergent"]


def test_a_kink_at_the_fixed_point_zero_is_refused():
    for function in (torch.abs, torch.nn.LeakyReLU()):
        with pytest.raises(NotConverged, match="kink"):
            phase(0.5, 0.0, function)
    at = phase(0.5, 0.0, torch.nn.ELU())
    assert (at.q, at.chi_1, at.name) == (0, 0.5, "ordered")


# --- refusals


def test_bad_variances_are_named():
    for call in (phase, lambda w, b: trajectory(2, sigma_w2=w, sigma_b2=b)):
        with pytest.raises(OutOfRange, match="sigma_w2"):
            call(-1.0, 0.1)
        with pytest.raises(OutOfRange, match="sigma_b2"):
            call(grid(1.0, 2.0), grid(0.1, math.nan))
    with pytest.raises(OutOfRange, match="sigma_b2"):
        critical_sigma_w2(-0.1)
    with pytest.raises(UnknownActivation, match="relu"):
        phase(1.0, 0.1, "swish")


def test_impossible_trajectories_are_named():
    kind = {"sigma_w2": 1.5, "sigma_b2": 0.1}
    with pytest.raises(OutOfRange, match="depth"):
        trajectory(-1, **kind)
    with pytest.raises(OutOfRange, match="c0"):
        trajectory(1, c0=1.1, **kind)
    with pytest.raises(OutOfRange, match="q0"):
        trajectory(1, q0=0.0, **kind)
    with pytest.raises(OutOfRange, match="q0"):
        trajectory(1, sigma_w2=3.0, sigma_b2=0.1, activation="relu")


def test_variances_that_are_no_numbers_are_named():
    for call in (lambda w: phase(w, 0.05), critical_sigma_w2):
        with pytest.raises(TypeError, match="number or a tensor, not ndarray"):
            call(np.array([1.0, 2.0]))
    with pytest.raises(OutOfRange, match="q ="):
        critical_line(-1.0)
    with pytest.raises(NotConverged, match=r"Hermite terms miss .* at variances up to 1e\+03"):
        critical_line(1000.0, "gelu")  # 384 terms give σ_b² = 21 for 3.45


def test_a_critical_network_that_loses_its_variance_is_refused():
    w, b = critical_line(0.3, "gelu")
    assert phase(w, b, "gelu").q == torch.inf
    with pytest.raises(OutOfRange, match="does not stay"):
        critical_sigma_w2(b, "gelu")
    assert phase(critical_sigma_w2(0.18, "gelu"), 0.18, "gelu").name == "critical"


def test_a_bias_beyond_every_critical_network():
    with pytest.raises(OutOfRange, match="no critical"):
        critical_sigma_w2(1e9, "tanh")
