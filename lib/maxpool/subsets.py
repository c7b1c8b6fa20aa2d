"""Max-pooling networks as functions on the 2^l pattern sets, all of them at once.

Without noise a channel pools to max_{p ∈ P} w·o_p, P the pattern set of the input.  Sort the
positive overlaps, w_1 ≥ w_2 ≥ …, and call the r best patterns T_r.  As in a layer cake,

    max_{p ∈ P} ρ(w·o_p) = Σ_r (w_r − w_{r+1}) 1[P ∩ T_r ≠ ∅].

So a network is a sum of indicators 1[P ∩ A ≠ ∅], and a gradient is a difference of such sums over
the sample; both come from one transform of a table with an entry for each subset.  One step of
gradient descent costs O(k l log l + l 2^l), whatever the sizes of sample and input.

A set is coded by an integer, bit p of which tells whether pattern p is in.  Source: companion.
"""

from typing import NamedTuple

import torch
from torch import Tensor

PATTERNS_AT_MOST = 24  # a table of 128 MiB in float64


class Ranking(NamedTuple):
    """The patterns of each filter, best first, each (…, k, l)."""

    order: Tensor  # int64, the pattern of each rank
    weights: Tensor  # its overlap w·o_p, or 0 where that is negative
    tops: Tensor  # int64, the code of the set T_r of all patterns down to this rank


def codes(which: Tensor) -> Tensor:
    """The code (…) of each input's pattern set, int64, from its patterns ``which`` (…, n)."""
    bits = 1 << which
    code = bits[..., 0]
    for patch in range(1, which.shape[-1]):
        code = code | bits[..., patch]
    return code


def disjoint_sums(table: Tensor) -> Tensor:
    """F(A) = Σ_{B ∩ A = ∅} f(B), for tables (…, 2^l) of f and F over all subsets."""
    sums = table.clone()
    for bit in range(table.shape[-1].bit_length() - 1):
        halves = sums.view(*sums.shape[:-1], -1, 2, 2**bit)
        halves[..., 1, :] += halves[..., 0, :]  # now a sum over subsets, for this pattern
    return sums.flip(-1)  # the subsets of the complement


def ranking(filters: Tensor, l: int) -> Ranking:  # noqa: E741
    """Sort the first ``l`` coordinates of each filter (…, k, d).

    Raises ValueError when ``l`` is above 24, for tables have 2^l entries.
    """
    if not 1 <= l <= PATTERNS_AT_MOST:
        raise ValueError(f"l = {l}: tables of 2^l entries need l from 1 to {PATTERNS_AT_MOST}")
    overlaps, order = filters[..., :l].sort(-1, descending=True)
    return Ranking(order, overlaps.clamp(min=0), (1 << order).cumsum(-1))


def scattered(code: Tensor, amounts: Tensor, l: int) -> Tensor:  # noqa: E741
    """A table (…, 2^l) with the ``amounts`` (…, m) added up at their codes (…, m)."""
    table = amounts.new_zeros(*amounts.shape[:-1], 2**l)
    return table.scatter_add_(-1, code, amounts)


def outputs(rank: Ranking, outer: Tensor, *, power: int = 1) -> Tensor:
    """N(P) = Σ_i a_i (max_{p ∈ P} ρ(w_i·o_p))^power for every set P: a table (…, 2^l).

    ``outer`` is (…, k).
    """
    weights = rank.weights**power
    drops = -weights.diff(append=torch.zeros_like(weights[..., :1]))
    layers = (outer[..., None] * drops).flatten(-2)
    cake = scattered(rank.tops.flatten(-2), layers, rank.tops.shape[-1])
    return cake.sum(-1, keepdim=True) - disjoint_sums(cake)


def pooled_sums(rank: Ranking, code: Tensor, amounts: Tensor) -> Tensor:
    """Σ_x c_x z_i(x) for each filter i, (…, k): z is pooled, c the ``amounts`` (…, m)."""
    missed = _missed(rank, code, amounts)
    drops = -rank.weights.diff(append=torch.zeros_like(rank.weights[..., :1]))
    return (drops * (amounts.sum(-1)[..., None, None] - missed)).sum(-1)


def pooled_gradients(rank: Ranking, code: Tensor, amounts: Tensor) -> Tensor:
    """Σ_x c_x p_i(x) for each filter i, (…, k, l): p_i(x) the pattern that wins, or 0 if none.

    ``code`` and ``amounts`` c are (…, m).  Of patterns with equal overlaps one wins.
    """
    missed = _missed(rank, code, amounts)
    whole = amounts.sum(-1)[..., None, None].expand_as(missed[..., :1])
    won = -missed.diff(prepend=whole) * (rank.weights > 0)
    return torch.empty_like(won).scatter_(-1, rank.order, won)


def _missed(rank: Ranking, code: Tensor, amounts: Tensor) -> Tensor:
    """Σ of c_x over the inputs that hold none of the best r patterns, for each filter and r."""
    table = disjoint_sums(scattered(code, amounts, rank.tops.shape[-1]))
    return table.gather(-1, rank.tops.flatten(-2)).view_as(rank.weights)
