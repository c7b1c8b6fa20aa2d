"""Bounds to compare path-norms and path-metrics with, and the constant of generalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def operator_norm_product(weights: Sequence[Tensor]) -> Tensor:
    """∏ ‖M_k‖_{∞→∞} of x ↦ M_D ReLU(… ReLU(M_1 x)); weights in the order M_1, …, M_D.

    Leading dimensions are batched. ‖M‖_{∞→∞} is the largest ℓ1 norm of a row.
    """
    check_chain(weights)
    return torch.stack([m.abs().sum(-1).amax(-1) for m in weights]).prod(0)


def per_output_path_norm(weights: Sequence[Tensor]) -> Tensor:
    """ℓ1 path-norm of each output, |M_D| ⋯ |M_1| 1, shape (…, d_out); never above the product of
    the operator norms, and equal to their least product over all rescalings at its largest entry
    (companion)."""
    check_chain(weights)
    norms = torch.ones_like(weights[0][..., 0, :])
    for m in weights:
        norms = (m.abs() @ norms.unsqueeze(-1)).squeeze(-1)
    return norms


def normalized(weights: Sequence[Tensor]) -> list[Tensor]:
    """The rescaling of hidden neurons whose rows have ℓ1 norm 1: it minimises the product of
    operator norms (companion).

    A neuron that receives only zeros is cut off (its outgoing weights become 0), the limit of
    rescalings by λ → ∞.
    """
    check_chain(weights)
    scaled, incoming = [], None
    for k, m in enumerate(weights):
        m = m if incoming is None else m * incoming.unsqueeze(-2)
        if k < len(weights) - 1:
            incoming = m.abs().sum(-1)
            m = m / torch.where(incoming > 0, incoming, torch.ones_like(incoming)).unsqueeze(-1)
        scaled.append(m)
    return scaled


def check_chain(weights: Sequence[Tensor]) -> None:
    if not weights:
        raise ValueError("no matrices; give at least one weight")
    for k, (a, b) in enumerate(pairwise(weights)):
        if a.shape[-2] != b.shape[-1]:
            raise ValueError(
                f"matrix {k} has {a.shape[-2]} rows but matrix {k + 1} has {b.shape[-1]} columns; "
                "order them from the input to the output"
            )


def norm_bound(W: float, L: int, R: float, distance: float) -> float:  # noqa: N803
    """L W² R^(L−1) ‖θ − θ'‖_∞, above the path-metric of bias-free layered networks (companion).

    W: the largest width, input and output included. L: the number of matrices.
    R: a number ≥ 1 that no ∞→∞ operator norm of theirs exceeds.
    distance: the largest change of a parameter. Signs may differ.
    """
    check_positive(W=W, L=L)
    if not R >= 1 or not distance >= 0:
        raise ValueError(f"R = {R}, distance = {distance}; the bound needs R ≥ 1 and distance ≥ 0")
    return L * W**2 * R ** (L - 1) * distance


def generalization_factor(
    n: int,
    B: float,  # noqa: N803
    depth: int,
    kernel: int,
    pool_types: int,
    d_in: int,
    d_out: int,
    G: float = 1,  # noqa: N803
    r: float = 1,
) -> float:
    """(4B/√n) G r C, C² = D ln((3+2P)K) + ln((3+2P)/(1+P) (d_in+1) d_out) (authors' code).

    A bound on the expected generalization gap of n samples in [−B, B]^d_in, B ≥ 1, for a
    G-Lipschitz loss and ‖Φ‖₁ ≤ r.

    depth: D. kernel: K, the largest pooling window. pool_types: P, the kinds of pooling.
    """
    check_positive(n=n, B=B, depth=depth, kernel=kernel, d_in=d_in, d_out=d_out)
    check_positive(**{"pool_types + 1": pool_types + 1})
    spread = 3 + 2 * pool_types
    c2 = depth * math.log(spread * kernel)
    c2 += math.log(spread / (1 + pool_types) * (d_in + 1) * d_out)
    return 4 * B / math.sqrt(n) * G * r * math.sqrt(c2)


def sharpened_generalization_factor(
    n: int,
    B: float,  # noqa: N803
    depth: int,
    kernel: int,
    pool_layers: int,
    d_in: int,
    d_out: int,
    G: float = 1,  # noqa: N803
    r: float = 1,
) -> float:
    """(4B/√n) G r C, C² = D ln 3 + M ln K + ln((d_in+1) d_out), M pooling layers.

    Otherwise as `generalization_factor` (authors' code).
    """
    check_positive(n=n, B=B, depth=depth, kernel=kernel, d_in=d_in, d_out=d_out)
    c2 = depth * math.log(3) + pool_layers * math.log(kernel) + math.log((d_in + 1) * d_out)
    return 4 * B / math.sqrt(n) * G * r * math.sqrt(c2)


def check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} = {value}; it must be positive")
