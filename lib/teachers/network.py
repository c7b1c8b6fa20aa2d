"""Two-layer leaky-ReLU networks with a fixed second layer.

    N(x) = v Σ_j σ(w_j·x) − v Σ_j σ(u_j·x),   σ(z) = max(z, αz),

with k neurons w_j and k neurons u_j in R^d, which learn, and v > 0, which does not.
Gradients are in closed form; at a kink the slope is α, as in PyTorch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lib.teachers.errors import ShapeMismatch, SlopeOutOfRange
from lib.teachers.task import inputs

Number = float | Tensor  # one for all networks, or a tensor that broadcasts to one for each


@dataclass(frozen=True, eq=False)
class LeakyNet:
    """One network, or any number of them in leading axes.

    ``weights`` is (…, 2, k, d): the w_j, then the u_j.  ``alpha`` in [0, 1) and ``v`` > 0 are
    numbers, or tensors that broadcast to the leading axes; v is 1/√(2k) by default.
    Raises :class:`ShapeMismatch`, :class:`SlopeOutOfRange`, or ValueError when v is not positive.
    Source: Sarussi, Brutzkus & Globerson 2021 (architecture).
    """

    weights: Tensor
    alpha: Number
    v: Number | None = None

    def __post_init__(self) -> None:
        if self.weights.ndim < 3 or self.weights.shape[-3] != 2:
            raise ShapeMismatch(f"weights {tuple(self.weights.shape)}: give (…, 2, k, d)")
        if self.v is None:
            object.__setattr__(self, "v", (2 * self.k) ** -0.5)
        for name in ("alpha", "v"):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                self._check_axes(name, value)
                object.__setattr__(self, name, value.to(self.weights))
        check_alpha(self.alpha)
        if not _all(self.v, lambda v: v > 0):
            raise ValueError(f"v = {self.v}: choose a positive number")

    def _check_axes(self, name: str, value: Tensor) -> None:
        lead, shape = self.weights.shape[:-3], value.shape
        if len(shape) > len(lead) or any(
            s not in (1, size) for s, size in zip(reversed(shape), reversed(lead), strict=False)
        ):
            raise ShapeMismatch(
                f"{name} {tuple(shape)} does not broadcast to {tuple(lead)} networks"
            )

    @property
    def w(self) -> Tensor:
        """The neurons that count positively, (…, k, d)."""
        return self.weights[..., 0, :, :]

    @property
    def u(self) -> Tensor:
        """The neurons that count negatively, (…, k, d)."""
        return self.weights[..., 1, :, :]

    @property
    def k(self) -> int:
        """The number of neurons of either kind."""
        return self.weights.shape[-2]

    @property
    def kappa(self) -> Tensor:
        """The difference κ of the means of the w_j and of the u_j, (…, d)."""
        return self.w.mean(-2) - self.u.mean(-2)

    def __call__(self, x: Tensor) -> Tensor:
        """N(x), (…, m), for inputs (…, m, d); the leading axes broadcast."""
        rectified = self.preactivations(x).clamp(min=0).sum(-2)
        bent = rectified[..., 0, :] - rectified[..., 1, :]
        straight = self.k * (x @ self.kappa[..., None])[..., 0]
        alpha = at(self.alpha, 1)
        return at(self.v, 1) * (alpha * straight + (1 - alpha) * bent)

    def preactivations(self, x: Tensor) -> Tensor:
        """w_j·x and u_j·x, (…, 2, k, m), for inputs (…, m, d)."""
        h = self.weights.flatten(-3, -2) @ x.mT
        return h.unflatten(-2, self.weights.shape[-3:-1])

    def margins(self, x: Tensor, y: Tensor) -> Tensor:
        """z = y N(x), (…, n)."""
        return y * self(x)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy, in nats: (…)."""
        return self.log_loss(x, y).exp()

    def log_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The logarithm of the mean cross-entropy (…), right where the loss itself underflows."""
        return mean_log_loss(self.margins(x, y))

    def gradient(self, x: Tensor, c: Tensor) -> Tensor:
        """Σ_i c_i ∂N(x_i)/∂weights, (…, 2, k, d), for inputs (…, m, d) and numbers c (…, m).

        The gradient of the loss has c_i = −s(z_i) y_i/n, where s(z) = 1/(1 + e^z).
        """
        weighted = c[..., None] * x
        active = (self.preactivations(x) > 0).to(x)
        bent = active @ weighted[..., None, :, :]
        straight = weighted.sum(-2)[..., None, None, :]
        alpha = at(self.alpha, 3)
        return at(self.v, 3) * signs(x) * (alpha * straight + (1 - alpha) * bent)

    def detached(self) -> "LeakyNet":
        """The same network with weights of its own, which later training will not change."""
        return LeakyNet(self.weights.clone(), self.alpha, self.v)

    def __getitem__(self, index) -> "LeakyNet":
        """Some of the networks, by their leading axes; what broadcast before is spelled out."""
        lead = self.weights.shape[:-3]
        if not lead:
            raise ShapeMismatch("one network has no leading axis to index")
        picked = [
            value.expand(lead)[index] if isinstance(value, Tensor) else value
            for value in (self.alpha, self.v)
        ]
        flat = self.weights.flatten(-3)[index]
        return LeakyNet(flat.unflatten(-1, self.weights.shape[-3:]), *picked)


def initial(
    k: int,
    d: int,
    generator: torch.Generator,
    *,
    alpha: Number,
    radius: Number = 1.0,
    v: Number | None = None,
    copies: tuple[int, ...] = (),
    dtype: torch.dtype = torch.float64,
) -> LeakyNet:
    """Neurons uniform on the sphere of the ``radius`` R_0; ``copies`` are axes of draws.

    A tensor ``radius``, ``alpha`` or ``v`` broadcasts against ``copies``: (16, 1) copies and 8
    radii give 16 × 8 networks, in which the radii share their directions.  The device is the
    generator's.  Raises what :class:`LeakyNet` does, or ValueError when k or R_0 is too small.
    """
    if k < 1 or not _all(radius, lambda r: r >= 0):
        raise ValueError(f"k = {k}, radius = {radius}: choose k at least 1 and a radius at least 0")
    weights = inputs((*copies, 2, k, d), generator, law="sphere", dtype=dtype)
    shapes = [value.shape for value in (alpha, radius, v) if isinstance(value, Tensor)]
    weights = weights.expand(*torch.broadcast_shapes(copies, *shapes), 2, k, d)
    scale = radius.to(weights) if isinstance(radius, Tensor) else radius
    return LeakyNet(weights * at(scale, 3), alpha, v)


def log_losses(z: Tensor) -> Tensor:
    """ln ln(1 + e^{−z}), elementwise, for margins of any size."""
    return torch.where(z > 40, -z, (-logsigmoid(z)).log())  # the next term, e^{−z}/2, is lost


def mean_log_loss(z: Tensor) -> Tensor:
    """The logarithm of the mean of ln(1 + e^{−z}) over the last axis."""
    return log_losses(z).logsumexp(-1) - math.log(z.shape[-1])


def check_alpha(alpha: Number, *, closed: bool = False) -> None:
    """Raise :class:`SlopeOutOfRange` unless every leak is in [0, 1), or [0, 1] if ``closed``."""
    if not _all(alpha, lambda a: (a >= 0) & ((a <= 1) if closed else (a < 1))):
        interval = "[0, 1]" if closed else "[0, 1)"
        raise SlopeOutOfRange(f"alpha = {alpha}: choose a leak in {interval}")


def at(value: Number, axes: int) -> Number:
    """A tensor with that many axes of size 1 at its end, so that it broadcasts; a number as is."""
    return value[(..., *[None] * axes)] if isinstance(value, Tensor) else value


def signs(like: Tensor) -> Tensor:
    """+1 for the w_j and −1 for the u_j, (2, 1, 1)."""
    return torch.tensor([1.0, -1.0], dtype=like.dtype, device=like.device)[:, None, None]


def _all(value: Number, test) -> bool:
    return bool(test(value).all()) if isinstance(value, Tensor) else bool(test(value))
