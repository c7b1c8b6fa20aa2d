"""Which line: the hard-margin support vector machines to which networks in agreement converge.

Solved by SciPy's non-negative least squares, an active-set method, which ends at the exact
solution up to rounding.  :func:`kkt_residual` tells how exact an answer is.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from lib.teachers.errors import NoClosedForm, NotSeparable, ShapeMismatch, SlopeOutOfRange
from lib.teachers.network import Number, at, check_alpha
from lib.teachers.task import check_sample, first

FLAT = 1e-6  # a margin below this share of the largest feature counts as none


class Pair(NamedTuple):
    """The directions of the two clusters, (…, d) each; the boundary is that of w − u."""

    w: Tensor
    u: Tensor


def hard_margin(features: Tensor, y: Tensor) -> Tensor:
    """Dual weights λ ≥ 0 (…, n) of min ‖θ‖² such that y_i θ·φ_i ≥ 1; then θ = Σ λ_i y_i φ_i.

    ``features`` φ are (…, n, D).  By least-distance programming (Lawson & Hanson 1974, ch. 23).
    Raises :class:`NotSeparable` with the sample that weighs most in a proof that there is no θ.
    """
    signed = y[..., None] * features
    lead, (n, size) = signed.shape[:-2], signed.shape[-2:]
    found = [_dual(one) for one in signed.reshape(-1, n, size).cpu().double().numpy()]
    for run, (weights, separated) in enumerate(found):
        if not separated:
            copy = tuple(map(int, np.unravel_index(run, lead))) if lead else ()
            raise NotSeparable(
                f"sample {(*copy, int(weights.argmax()))}: no hyperplane through 0 separates the"
                " labels, and it weighs most in the proof; take other data"
            )
    return torch.as_tensor(np.stack([w for w, _ in found]), dtype=y.dtype, device=y.device).view(
        *lead, n
    )


def _dual(signed: np.ndarray) -> tuple[np.ndarray, bool]:
    """The dual weights and True; or False and convex weights with Σ λ_i y_i φ_i = 0."""
    scale = np.linalg.norm(signed, axis=1).max()
    weights, residual = _least_distance(signed / scale)
    if residual < FLAT:
        return weights, False
    scale *= residual  # about the margin: in its units the answer is more accurate
    weights, residual = _least_distance(signed / scale)
    return weights / (residual * scale) ** 2, True


def _least_distance(rows: np.ndarray) -> tuple[np.ndarray, float]:
    system = np.vstack([rows.T, np.ones(len(rows))])
    return nnls(system, np.eye(len(system))[-1], maxiter=100 * len(rows))


def normal(features: Tensor, y: Tensor) -> Tensor:
    """The hard-margin θ (…, D), scaled so that the least margin y θ·φ is 1."""
    signed = y[..., None] * features
    theta = (hard_margin(features, y)[..., None] * signed).sum(-2)
    return theta / (signed @ theta[..., None])[..., 0].amin(-1, keepdim=True)


def kkt_residual(features: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """How far θ (…, D) is from the hard-margin solution: a relative duality gap, ≥ 0, (…).

    With θ scaled to margin 1, the best dual value is ‖θ°‖²/2 ≤ ‖θ‖²/2; the residual is
    1 − (dual value of :func:`hard_margin`)/(‖θ‖²/2), so ‖θ − θ°‖²/‖θ‖² is at most that.
    """
    signed = y[..., None] * features
    theta = theta / (signed @ theta[..., None])[..., 0].amin(-1, keepdim=True)
    dual = hard_margin(features, y)
    best = (dual[..., None] * signed).sum(-2).square().sum(-1) / 2
    return 1 - (dual.sum(-1) - best) / (theta.square().sum(-1) / 2)


# --- the data themselves


def max_margin(x: Tensor, y: Tensor) -> Tensor:
    """The ordinary hard-margin w (…, d) through 0, with least margin 1, of (…, n, d) and (…, n).

    Raises :class:`NotSeparable`, and what :func:`lib.teachers.task.check_sample` raises.
    """
    check_sample(x, y)
    return normal(x, y)


def separable(x: Tensor, y: Tensor) -> Tensor:
    """The largest margin min_i y_i w·x_i of a unit w, (…).  Raises as :func:`max_margin` does."""
    return 1 / max_margin(x, y).norm(dim=-1)


# --- the limits of networks


def nar_features(x: Tensor, slopes_w: Tensor, slopes_u: Tensor) -> Tensor:
    """φ_i = (a^w_i x_i, −a^u_i x_i), (…, n, 2d), for slopes (…, n).  Source: companion.

    Raises :class:`SlopeOutOfRange` with the sample whose slope is outside [0, 1].
    """
    for slopes in (slopes_w, slopes_u):
        if slopes.shape[-1:] != x.shape[-2:-1]:
            raise ShapeMismatch(f"slopes {tuple(slopes.shape)} for x {tuple(x.shape)}: give (…, n)")
        if (found := first(~((slopes >= 0) & (slopes <= 1)))) is not None:
            raise SlopeOutOfRange(f"sample {found}: slope {slopes[found]:g} is outside [0, 1]")
    return torch.cat((slopes_w[..., None] * x, -slopes_u[..., None] * x), -1)


def nar_svm(x: Tensor, y: Tensor, slopes_w: Tensor, slopes_u: Tensor) -> Pair:
    """Where gradient descent in the neural agreement regime leads: (w, u), of least margin 1.

    The slopes (…, n), those of :func:`lib.teachers.clusters.nar_slopes`, must not change any more.
    Raises :class:`NotSeparable`, and what :func:`nar_features` raises.  Source: companion.
    """
    check_sample(x, y)
    theta = normal(nar_features(x, slopes_w, slopes_u), y)
    return Pair(*theta.chunk(2, -1))


def par_slopes(y: Tensor, alpha: Number) -> tuple[Tensor, Tensor]:
    """The slopes of the w_j and of the u_j in perfect agreement, (…, n): 1 or ``alpha``.

    ``alpha`` is in [0, 1], or a tensor of such that broadcasts to the leading axes.
    """
    check_alpha(alpha, closed=True)
    leak = torch.as_tensor(at(alpha, 1), dtype=y.dtype, device=y.device)
    return torch.where(y > 0, 1.0, leak), torch.where(y > 0, leak, 1.0)


def coupled_svm(x: Tensor, y: Tensor, alpha: Number) -> Pair:
    """The (w, u) of least norm with w·x − αu·x ≥ 1 if y = 1, and u·x − αw·x ≥ 1 if y = −1.

    The limit in perfect agreement.  ``alpha`` is in [0, 1], where 1 gives the ordinary machine,
    and may be a tensor as in :func:`par_slopes`.  Raises :class:`SlopeOutOfRange`, and as
    :func:`nar_svm` does.  Source: companion.
    """
    check_sample(x, y)
    return nar_svm(x, y, *par_slopes(y, alpha))


def two_point_direction(x1: Tensor, x2: Tensor, alpha: Number) -> Tensor:
    """The direction κ (…, d), of norm 1, of the coupled SVM on x1 with label 1 and x2 with −1.

    κ ∝ λ_1 x1 − λ_2 x2 with λ ∝ ((1 + α²)B − 2αc, (1 + α²)A − 2αc), where A = ‖x1‖², B = ‖x2‖²
    and c = −x1·x2.  Raises :class:`NoClosedForm` unless both are positive.  (Networks are known
    to get there when also c ≥ 0.)  Source: companion.
    """
    check_alpha(alpha)
    a, b, c = x1.square().sum(-1), x2.square().sum(-1), -(x1 * x2).sum(-1)
    lambda1 = (1 + alpha**2) * b - 2 * alpha * c
    lambda2 = (1 + alpha**2) * a - 2 * alpha * c
    for name, value in (("x1", lambda1), ("x2", lambda2)):
        if (found := first(value <= 0)) is not None:
            raise NoClosedForm(
                f"{name}{f' of {found}' if found else ''} is no support vector: its weight would be"
                f" {value[found]:.3g}; move the longer point closer, or take coupled_svm"
            )
    kappa = lambda1[..., None] * x1 - lambda2[..., None] * x2
    return kappa / kappa.norm(dim=-1, keepdim=True)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between vectors (…, d), in degrees from 0 to 180, exact also when it is tiny."""
    a, b = (v / v.norm(dim=-1, keepdim=True) for v in (a, b))
    half = torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    return torch.rad2deg(2 * half)
