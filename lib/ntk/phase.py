"""Fixed points, phases and depth scales of infinitely wide networks, for one or many variances.

The variance map is Q(q) = σ_w² T(q, q, q) + σ_b², the correlation map C(c) = K'/q* at K = q* c, and
χ(c) = C'(c) = σ_w² Ṫ. Ordered: χ(1) < 1 and c* = 1. Critical: χ(1) = 1. Chaotic: χ(1) > 1, c* < 1
and χ(c*) < 1 (Xiao, Pennington & Schoenholz 2020). Divergent, a fourth name that is ours: the
variance grows from 1 on without end. GELU at (2.3, 0.05) is such a network, though smaller
variances stay at a fixed point of 0.19.

Mehler's formula (`lib.ntk.hermite`) makes C a power series with coefficients ≥ 0, so convex on
[0, 1]: a chaotic network whose φ is not affine has exactly one fixed point c* in [0, 1), and
Newton's method reaches it from c = 0 without overshooting (companion).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.ntk.activations import PI, RELU, Activation, get_activation
from lib.ntk.errors import NotConverged, OutOfRange
from lib.ntk.kernels import Scale, check_variances, together

NAMES = np.array(["ordered", "critical", "chaotic", "divergent"])
DIVERGENT = 3  # among them
CRITICAL = 1e-12  # |χ_1 − 1| that still counts as critical
SMALLEST, LARGEST = 1e-13, 2.0**20  # a variance that leaves this range has no fixed point
PART = 2**12  # points at a time


@dataclass(frozen=True)
class Phase:
    """Where (σ_w², σ_b²) stands; floats, or float64 tensors of the shape of the variances.

    q: fixed point q* of the variance, next to 1 on the side to which 1 moves; 0 or inf where
        there is none, and inf beyond 2²⁰. ReLU with σ_w² = 2 and σ_b² = 0 keeps every variance:
        q = 1 stands for all.
    c: stable fixed point c* of the correlation.
    chi_1, chi_c: χ(1) and χ(c*).
    xi_c, xi_1: −1/log χ(c*), −1/log χ(1), in layers; inf where χ = 1. xi_1 < 0 in the chaotic
        phase, where the diagonal of the NTK grows. For ReLU, xi_c is inf unless the phase is
        ordered and σ_b² > 0: the correlation then converges as a power of the depth.
    xi_star: −1/(log χ(c*) − log χ(1)) in the chaotic phase, else inf.
    p: limit q*c*/(1 − χ(c*)) of the off-diagonal NTK; inf at criticality. In the ordered phase
        also the limit of the diagonal.
    curvature: C''(c*).
    name: "divergent" where q = inf, else "ordered", "critical" or "chaotic" by χ(1); an array of
        names for tensors. In a divergent network everything else is NaN; only for ReLU, whose c*
        and χ do not depend on q, all fields keep their meaning, p = inf, and χ(1) = 1 is critical.
    """

    q: Scale
    c: Scale
    chi_1: Scale
    chi_c: Scale
    xi_c: Scale
    xi_1: Scale
    xi_star: Scale
    p: Scale
    curvature: Scale
    name: str | np.ndarray


def phase(
    sigma_w2: Scale,
    sigma_b2: Scale,
    activation: str | Callable[[Tensor], Tensor] | Activation = "erf",
) -> Phase:
    """The phase of a network, or of each network of a grid: tensors of variances broadcast.

    Gradients flow to tensors of variances. Raises OutOfRange for σ_w² ≤ 0 or σ_b² < 0,
    UnknownActivation, and NotConverged where Newton's method does not settle or quadrature does not
    resolve the activation.
    """
    check_variances(sigma_w2, sigma_b2)
    act = get_activation(activation)
    single = not (isinstance(sigma_w2, Tensor) or isinstance(sigma_b2, Tensor))
    w, b = together(sigma_w2, sigma_b2)
    found = relu_phase(w, b) if act is RELU else in_parts(w, b, act)
    names = found.pop("name").cpu().numpy()
    if single:
        return Phase(**{k: v.item() for k, v in found.items()}, name=str(NAMES[names]))
    return Phase(**found, name=NAMES[names])


def in_parts(w: Tensor, b: Tensor, act: Activation) -> dict[str, Tensor]:
    """`smooth_phase` of a few points at a time: quadrature keeps many numbers for each."""
    pairs = zip(w.flatten().split(PART), b.flatten().split(PART), strict=True)
    parts = [smooth_phase(*pair, act) for pair in pairs]
    return {name: torch.cat([part[name] for part in parts]).view(w.shape) for name in parts[0]}


def smooth_phase(w: Tensor, b: Tensor, act: Activation) -> dict[str, Tensor]:
    q = fixed_variance(w, b, act)
    lost = ~torch.isfinite(q)
    at = torch.where(lost, torch.ones_like(q), q)
    chi_1 = torch.where(lost, torch.nan, w * act.diagonal(at)[1])
    d = fixed_gap(w, at, chi_1, act)
    slope = act.diagonal(at)[1] - act.drops(at, d)[1]
    bend = act.bend(at.clamp(min=SMALLEST), d)  # at 0 no quadrature sees a kink
    chi_c = torch.where(d > 0, w * slope, chi_1)
    name = named(q, chi_1)
    p = torch.where(name == 1, torch.inf, q * (1 - d) / torch.where(name == 1, 1, 1 - chi_c))
    curvature = w * at * torch.where(at > 0, bend, 0)
    found = scales(q, 1 - d, chi_1, chi_c, p, curvature, name)
    return {k: torch.where(lost, torch.nan, v) for k, v in found.items()} | {"q": q, "name": name}


def named(q: Tensor, chi_1: Tensor) -> Tensor:
    """Indices into `NAMES`."""
    above, below = chi_1 > 1 + CRITICAL, chi_1 < 1 - CRITICAL
    lost = q.isinf() & (above | chi_1.isnan())
    return torch.where(lost, DIVERGENT, 1 + above.long() - below.long())


def relu_phase(w: Tensor, b: Tensor) -> dict[str, Tensor]:
    """χ_1 = σ_w²/2, c* = 1, and q* = σ_b²/(1 − σ_w²/2) if that is a limit at all."""
    chi = w / 2
    keeps = (b == 0) & ((chi - 1).abs() <= CRITICAL)
    steady = chi < 1 - CRITICAL
    room = torch.where(steady, 1 - chi, 1)
    q = torch.where(keeps, 1.0, torch.where(steady, b / room, torch.inf))
    name = named(q, chi)
    p = torch.where(steady, q / room, torch.inf)
    curvature = torch.full_like(q, torch.inf)
    found = scales(q, torch.ones_like(q), chi, chi, p, curvature, name)
    found["xi_c"] = torch.where((name == 0) & (b > 0), found["xi_c"], torch.inf)
    return found


def scales(
    q: Tensor, c: Tensor, chi_1: Tensor, chi_c: Tensor, p: Tensor, curvature: Tensor, name: Tensor
) -> dict[str, Tensor]:
    flat = (chi_1 - 1).abs() <= CRITICAL
    slow = ~((name == 2) & (c < 1))
    xi_1, xi_c = (layers(x.log(), flat) for x in (chi_1, chi_c))
    xi_star = layers(chi_c.log() - chi_1.log(), slow)
    return {
        "q": q,
        "c": c,
        "chi_1": chi_1,
        "chi_c": chi_c,
        "xi_c": xi_c,
        "xi_1": xi_1,
        "xi_star": xi_star,
        "p": p,
        "curvature": curvature,
        "name": name,
    }


def layers(rate: Tensor, never: Tensor) -> Tensor:
    """−1/rate, or inf where `never`, from where no gradient flows."""
    return torch.where(never, torch.inf, -1 / torch.where(never, -1, rate))


def fixed_variance(w: Tensor, b: Tensor, act: Activation) -> Tensor:
    """q* by Newton's method, kept between a variance that grows and one that shrinks.

    inf where every variance from 1 to `LARGEST` grows, 0 where 1 and the smallest shrink.
    """

    def excess(q: Tensor) -> Tensor:
        return w * act.diagonal(q)[0] + b - q

    low, high = torch.full_like(w, SMALLEST), torch.ones_like(w)
    dies = (excess(low) <= 0) & (excess(torch.zeros_like(w)) <= 0) & (excess(high) <= 0)
    while bool((grows := (excess(high) > 0) & (high < LARGEST)).any()):
        low, high = torch.where(grows, high, low), torch.where(grows, 2 * high, high)
    low = torch.where(excess(low) <= 0, torch.zeros_like(low), low)
    escapes, q = high >= LARGEST, high.clone()
    for _ in range(200):
        value = excess(q)
        low, high = torch.where(value > 0, q, low), torch.where(value > 0, high, q)
        new = q - value / (w * act.growth(q) - 1)
        new = torch.where((new > low) & (new < high) & torch.isfinite(new), new, (low + high) / 2)
        settled = (new - q).abs() <= 4e-16 * q.abs() + 1e-30
        q = torch.where(value == 0, q, new)
        if bool((settled | (value == 0) | dies | escapes).all()):
            break
    else:
        raise NotConverged("no fixed point of the variance found; is the activation smooth?")
    return torch.where(dies, 0.0, torch.where(escapes, torch.inf, q))


def fixed_gap(w: Tensor, q: Tensor, chi_1: Tensor, act: Activation) -> Tensor:
    """1 − c*: 0 unless χ_1 > 1. The gap's map is concave, so Newton descends to it from 1."""
    chaotic = (chi_1 > 1 + CRITICAL) & (q > 0)
    result = torch.zeros_like(q)
    w, q = w[chaotic], q[chaotic]
    top, d = act.diagonal(q)[1], torch.ones_like(q)
    for _ in range(200):
        drop, less = act.drops(q, d)
        value, slope = w * drop / q - d, w * (top - less) - 1
        new = torch.where(slope < 0, d - value / slope, d / 2)
        new = torch.where(new > 0, torch.minimum(new, d), d / 2)
        if bool((d - new <= 4e-16 * d).all()):
            result[chaotic] = d
            return result
        d = new
    raise NotConverged("no fixed point of the correlation found; is the activation smooth?")


def critical_line(
    q: Scale, activation: str | Callable[[Tensor], Tensor] | Activation = "erf"
) -> tuple[Tensor, Tensor]:
    """(σ_w², σ_b²), float64, of the critical network whose fixed point is q ≥ 0 (companion).

    σ_w² = 1/Ṫ and σ_b² = q − T/Ṫ. For erf σ_w² = (π/4)r and σ_b² = (r/2)(y − atan y), with
    r = √(1 + 4q) and y = 2q/r. The fixed point may be unstable, as for GELU and small q. Raises
    OutOfRange for q < 0, and NotConverged for one at which quadrature does not resolve φ.
    """
    (q,), act = together(q), get_activation(activation)
    if not bool((q >= 0).all()):
        raise OutOfRange(f"q = {q.tolist()}; a variance is ≥ 0")
    act.drops(q, torch.zeros_like(q))  # the diagonal alone does not see which terms it lacks
    return at_slope_one(q, act)


def at_slope_one(q: Tensor, act: Activation) -> tuple[Tensor, Tensor]:
    """As `critical_line`, of variances that may be too large for a quadrature."""
    t, slope = act.diagonal(q)
    if act.name != "erf":
        return 1 / slope, q - t / slope
    r = (1 + 4 * q).sqrt()
    y = 2 * q / r
    series = sum((-1) ** n * y ** (2 * n + 3) / (2 * n + 3) for n in range(12))
    return PI / 4 * r, r / 2 * torch.where(y < 0.2, series, y - torch.atan(y))


def critical_sigma_w2(
    sigma_b2: Scale, activation: str | Callable[[Tensor], Tensor] | Activation = "erf"
) -> Scale:
    """σ_w² at which χ_1 = 1; a float for a float, a tensor for a tensor.

    For ReLU it is 2 for every bias, though with σ_b² > 0 the variance then has no fixed point.
    No gradient flows through it. Raises OutOfRange for σ_b² < 0, or if no critical network has so
    large a bias, or none whose variance stays at its fixed point: GELU with a small bias.
    """
    check_variances(1.0, sigma_b2)
    act = get_activation(activation)
    (b,) = together(sigma_b2)
    w = torch.full_like(b, 2.0) if act is RELU else on_critical_line(b, act)
    return w if isinstance(sigma_b2, Tensor) else w.item()


def on_critical_line(b: Tensor, act: Activation) -> Tensor:
    """Bisection for the fixed point whose critical bias is b."""
    low, high = torch.zeros_like(b), torch.ones_like(b)
    while bool((short := at_slope_one(high, act)[1] < b).any()):
        if float(high.max()) > 1e6:
            raise OutOfRange(f"no critical {act.name} network has σ_b² = {float(b.max())}")
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
    for _ in range(100):
        middle = (low + high) / 2
        short = at_slope_one(middle, act)[1] < b
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    q = torch.where(b > 0, high, 0.0)
    w = critical_line(q, act)[0]
    lost = ~((fixed_variance(w, b, act) - q).abs() <= 1e-3 * (1 + q))
    if bool(lost.any()):
        raise OutOfRange(
            f"σ_b² = {b[lost].tolist()}: the variance of the {act.name} network with χ(1) = 1 does "
            "not stay at its fixed point; a larger bias may hold it"
        )
    return w
