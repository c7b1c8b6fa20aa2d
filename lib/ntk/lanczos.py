"""Functions of a large kernel times labels, without its eigenvectors: Lanczos' method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.spectrum import learned

RANK = 100  # of the Krylov spaces


class Krylov(NamedTuple):
    """What a kernel (*batch, m, m) does to each column of labels (*batch, m, k).

    values (*batch, k, rank): Ritz values, ascending. vectors (*batch, k, rank, m): Ritz vectors.
    inside (*batch, k, rank): the column in these vectors.
    """

    values: Tensor
    vectors: Tensor
    inside: Tensor

    def coefficients(self, t: Tensor, eta: Tensor) -> Tensor:
        """Θ⁻¹ (I − exp(−ηΘt)) y, (*t.shape, *batch, m, k); eta broadcasts like the values."""
        shares = learned(self.values, t, eta, discrete=False) * self.inside
        flat = shares.flatten(0, t.ndim - 1)
        return torch.einsum("...krm,t...kr->t...mk", self.vectors, flat).unflatten(0, t.shape)


def krylov(kernel: Tensor, y: Tensor, rank: int = RANK) -> Krylov:
    """The Krylov space of each column, its basis made orthogonal twice in every step.

    Exponentials of ηΘt need a rank of a few √(ηtλ_max), and inverses of a few √κ (Hochbruck &
    Lubich 1997); each step costs one product of the kernel with all columns.
    """
    rank, tiny = min(rank, y.shape[-2]), torch.finfo(y.dtype).tiny
    size = y.norm(dim=-2).clamp(min=tiny)
    basis = y.new_empty(*size.shape, rank, y.shape[-2])
    band = y.new_zeros(*size.shape, rank, rank)
    basis[..., 0, :] = (y / size[..., None, :]).mT
    for n in range(rank):
        image, known = (kernel @ basis[..., n, :].mT).mT[..., None], basis[..., : n + 1, :]
        for _ in range(2):
            share = known @ image
            image = image - known.mT @ share
            band[..., n, n] += share[..., n, 0]
        if n + 1 < rank:
            length = image.norm(dim=-2).clamp(min=tiny)
            band[..., n, n + 1] = band[..., n + 1, n] = length[..., 0]
            basis[..., n + 1, :] = (image / length[..., None])[..., 0]
    values, inner = torch.linalg.eigh(band)
    return Krylov(values, inner.mT @ basis, size[..., None] * inner[..., 0, :])
