"""What a kernel says about training: its spectrum, and the mean of the networks it trains.

Gradient flow on ½‖f − y‖² from f_0 = 0 gives f_t(x) = Θ(x, X) Θ⁻¹ (I − exp(−ηΘt)) y
(Jacot et al. 2018; Xiao, Pennington & Schoenholz 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch
from lib.ntk.kernels import kind


class Spectrum(NamedTuple):
    """Eigenvalues (*batch, m), ascending, and three numbers (*batch) about them.

    lambda_bulk is the mean of all but the largest; kappa = λ_max/λ_min, inf where λ_min is not
    above the rounding of λ_max.
    """

    lambda_max: Tensor
    lambda_bulk: Tensor
    kappa: Tensor
    eigenvalues: Tensor


def spectrum(kernel: Tensor) -> Spectrum:
    """Of one symmetric matrix (m, m), or of a batch (*batch, m, m).

    Raises ShapeMismatch if it is not square or not symmetric up to rounding, NotFinite for a NaN.
    """
    check_symmetric("kernel", kernel)
    values = torch.linalg.eigvalsh(kernel)
    largest, smallest, m = values[..., -1], values[..., 0], values.shape[-1]
    bulk = values[..., :-1].mean(-1) if m > 1 else largest
    safe = smallest > floor(values)[..., 0]
    kappa = torch.where(safe, largest / torch.where(safe, smallest, 1), torch.inf)
    return Spectrum(largest, bulk, kappa, values)


def floor(values: Tensor) -> Tensor:
    """Below this, an eigenvalue is rounding."""
    return values.shape[-1] * torch.finfo(values.dtype).eps * values[..., -1:].abs()


def max_learning_rate(ntk_train: Tensor) -> Tensor:
    """2/λ_max, beyond which gradient descent on ½‖f − y‖² diverges; shape (*batch)."""
    return 2 / spectrum(ntk_train).lambda_max


def mean_predictor(
    ntk_test_train: Tensor,
    ntk_train: Tensor,
    y: Tensor,
    t: float | Tensor | None = None,
    eta: float | Tensor = 1.0,
    *,
    discrete: bool = False,
) -> Tensor:
    """Mean output of infinitely wide networks trained on y for a time t, from f_0 = 0.

    Args:
        ntk_test_train: (*batch, N, m); the training kernel itself gives the training outputs.
        ntk_train: (*batch, m, m), symmetric and positive semi-definite.
        y: labels (m,) or (*batch, m, k), centred as f_0 is.
        t: time of the flow with rate eta, ≥ 0: a number, or a tensor of times; None means the
            limit, in which directions of eigenvalues below rounding are not learned.
        eta: learning rate for the loss ½ Σ (f − y)², ≥ 0: a number, or a tensor that broadcasts
            against the eigenvalues, (*batch, m).
        discrete: t counts steps of gradient descent with step eta, instead of time.

    Returns:
        (*t.shape, *batch, N) or (*t.shape, *batch, N, k).

    Raises TypeError, ShapeMismatch, NotFinite, and OutOfRange for t < 0, eta < 0 or a part of a
    step.
    """
    check_symmetric("ntk_train", ntk_train)
    check_fit(ntk_test_train, ntk_train, y)
    values, vectors = torch.linalg.eigh(ntk_train)
    labels = y[:, None] if y.ndim == 1 else y
    inside = vectors.mT @ labels
    shares = learned(values, t, eta, discrete)[..., None]
    out = (ntk_test_train @ vectors) @ (shares * inside)
    return out[..., 0] if y.ndim == 1 else out


def learned(
    values: Tensor, t: float | Tensor | None, eta: float | Tensor, discrete: bool
) -> Tensor:
    """(1 − exp(−ηλt))/λ or (1 − (1 − ηλ)^t)/λ, of shape (*t.shape, *batch, m)."""
    safe = torch.where(values > floor(values), values, 1)
    zero = values <= floor(values)
    if t is None:
        return torch.where(zero, 0, 1 / safe)
    t = torch.as_tensor(t, dtype=values.dtype, device=values.device)
    if not bool((t >= 0).all()):
        raise OutOfRange(f"t = {t.tolist()}; times are ≥ 0")
    if discrete and not bool((t == t.round()).all()):
        raise OutOfRange(f"t = {t.tolist()} with discrete=True; steps are whole numbers")
    check_eta(eta, values)
    t = t.reshape(*t.shape, *[1] * values.ndim)
    grown = 1 - (1 - eta * safe) ** t if discrete else -torch.expm1(-eta * safe * t)
    return torch.where(zero, eta * t, grown / safe)


def check_eta(eta: float | Tensor, values: Tensor) -> None:
    rates = torch.as_tensor(eta)
    if not bool((rates >= 0).all()):
        raise OutOfRange(f"eta = {eta}; a learning rate is ≥ 0")
    try:
        torch.broadcast_shapes(rates.shape, values.shape)
    except RuntimeError:
        shapes = f"{tuple(rates.shape)}, the eigenvalues have {tuple(values.shape)}"
        raise ShapeMismatch(f"eta has shape {shapes}; they must broadcast") from None


def check_symmetric(name: str, kernel: Tensor) -> None:
    if not isinstance(kernel, Tensor) or kernel.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be a float32 or float64 tensor, not {kind(kernel)}")
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2] or 0 in kernel.shape:
        raise ShapeMismatch(f"{name} has shape {tuple(kernel.shape)}; it must be square")
    if not bool(torch.isfinite(kernel).all()):
        raise NotFinite(f"{name} has a NaN or an infinity; a shallower network may help")
    kernel = kernel.detach()
    skew, size = (kernel - kernel.mT).abs().amax(), kernel.abs().amax()
    if float(skew) > 1e4 * torch.finfo(kernel.dtype).eps * float(size):
        raise ShapeMismatch(f"{name} is not symmetric: entries differ by {float(skew):.1e}")


def check_fit(test: Tensor, train: Tensor, y: Tensor) -> None:
    m = train.shape[-1]
    for name, x in (("ntk_test_train", test), ("y", y)):
        if not isinstance(x, Tensor) or x.ndim == 0:
            raise TypeError(f"{name} must be a tensor with axes, not {kind(x)}")
    if test.ndim < 2 or test.shape[-1] != m:
        raise ShapeMismatch(f"ntk_test_train has shape {tuple(test.shape)}; its last must be {m}")
    if y.shape[0 if y.ndim == 1 else -2] != m:
        raise ShapeMismatch(f"y has shape {tuple(y.shape)}; it needs {m} labels")
    for name, x in (("ntk_test_train", test), ("y", y)):
        if not bool(torch.isfinite(x).all()):
            raise NotFinite(f"{name} has a NaN or an infinity")
        if (x.dtype, x.device) != (train.dtype, train.device):
            raise ShapeMismatch(f"{name} is {x.dtype} on {x.device}, not like ntk_train")
