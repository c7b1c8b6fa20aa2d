"""Two inputs on their way through the layers: variance, correlation, and both entries of the NTK.

All differences are propagated as differences: 1 − c and p_aa − p_ab keep their relative precision
when they are far below rounding, in the ordered phase and on the critical line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.activations import Activation, get_activation
from lib.ntk.errors import OutOfRange
from lib.ntk.kernels import Scale, check_depth, check_variances, together
from lib.ntk.phase import phase


class Trajectory(NamedTuple):
    """Each of shape (depth + 1, *shape): layer 0 is what enters the first activation.

    q: variance of both inputs. gap: 1 − c, for the correlation c. p_aa, p_ab: diagonal and
    off-diagonal entry of the NTK, and p_gap = p_aa − p_ab. chi: χ(c) = σ_w² Ṫ(c).
    """

    q: Tensor
    gap: Tensor
    p_aa: Tensor
    p_ab: Tensor
    p_gap: Tensor
    chi: Tensor

    @property
    def c(self) -> Tensor:
        """The correlation."""
        return 1 - self.gap


def trajectory(
    depth: int,
    *,
    sigma_w2: Scale,
    sigma_b2: Scale,
    activation: str | Callable[[Tensor], Tensor] | Activation = "erf",
    c0: Scale = 0.5,
    q0: Scale | None = None,
) -> Trajectory:
    """Follow two inputs of one variance, K⁰ = Θ⁰ = q0 [[1, c0], [c0, 1]], through `depth` layers.

    Variances, c0 in [−1, 1] and q0 > 0 broadcast, in float64; q0=None is q*, which must be finite
    and positive. Gradients flow to tensors. Raises OutOfRange otherwise.
    """
    check_depth(depth)
    check_variances(sigma_w2, sigma_b2)
    act = get_activation(activation)
    q0 = phase(sigma_w2, sigma_b2, act).q if q0 is None else q0
    w, b, c, q = together(sigma_w2, sigma_b2, c0, q0)
    if not bool((c.abs() <= 1).all()):
        raise OutOfRange(f"c0 = {c0}; a correlation is in [−1, 1]")
    if not bool(((q > 0) & (q < torch.inf)).all()):
        raise OutOfRange(f"q0 = {q0}; the variance must be finite and > 0: choose q0")
    gap = 1 - c
    steps = [(q, gap, q, q * c, q * gap)]
    chis = []
    for _ in range(depth + 1):
        after, chi = following(steps[-1], w, b, act)
        chis.append(chi)
        steps.append(after)
    columns = (torch.stack(column) for column in zip(*steps[:-1], strict=True))
    return Trajectory(*columns, torch.stack(chis))


def following(
    at: tuple[Tensor, ...], w: Tensor, b: Tensor, act: Activation
) -> tuple[tuple[Tensor, ...], Tensor]:
    """One layer more, and the χ of the layer passed."""
    q, gap, p_aa, p_ab, p_gap = at
    t, top = act.diagonal(q)
    drop, less = act.drops(q, gap)
    chi, new = w * (top - less), w * t + b
    return (
        new,
        w * drop / new,
        new + w * top * p_aa,
        new - w * drop + chi * p_ab,
        w * drop + w * top * p_gap + w * less * p_ab,
    ), chi
