"""How many pattern sets a max-pooling network can tell apart: all of them, exactly.

Without noise the network sees of an input only its pattern set P.  A filter that adds up the
patterns in A pools to 1[P ∩ A ≠ ∅], and these functions span all functions of non-empty P.  So
there are networks for every labelling of the support, among them some that fit a sample and are
wrong wherever they can be.  Everything here is in integers and fractions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import torch
from torch import Tensor

from lib.maxpool.network import MaxPoolNet, exact_patches
from lib.maxpool.task import LABELS, PatternTask, Sample, check_sizes

PATTERNS_AT_MOST = 20  # a function of pattern sets is a table of 2^l numbers


def shattering_points(n: int, *, last: int = 0) -> Tensor:
    """The 2^(n−1) inputs x_I that Theorem 4.2 shatters: patterns (2^(n−1), n), with l = d = 2n.

    Patch j of x_I is one of two patterns, which no other patch may have: 2j if I_j = 1, 2j + 1
    if I_j = 0, for j = 1, …, n − 1.  The last patch holds pattern ``last``, 0 or 1.  I counts
    up in binary, so that the complement of the i-th I is the i-th from the end.  Raises
    ValueError when n < 2, or ``last`` is a spurious pattern.
    Source: Brutzkus & Globerson 2021, proof of Theorem 4.2.
    """
    check_sizes(3, n)
    if last not in (0, 1):
        raise ValueError(f"last = {last}: the last patch holds pattern 0 or 1")
    rows = [
        [*(2 * j + 1 - bit for j, bit in enumerate(bits, 1)), last]
        for bits in product((0, 1), repeat=n - 1)
    ]
    return torch.tensor(rows)


def shattering_weights(labels: Sequence[int]) -> list[Fraction]:
    """The solution α of Σ_{I' ≠ I} α_{I'} = y_{I^c}: (Σ y)/(N − 1) − y_{I^c}, N = len(labels).

    ``labels`` are the y_I in the order of :func:`shattering_points`.  Raises ValueError when they
    are not ±1, or N is not 2, 4, 8, ….  Source: companion; the paper inverts the matrix.
    """
    size = len(labels)
    if size < 2 or size & (size - 1):
        raise ValueError(f"{size} labels: give 2^(n−1) of them, with n at least 2")
    if wrong := [y for y in labels if y not in (1, -1)]:
        raise ValueError(f"label {wrong[0]!r}: every label is 1 or -1")
    signs = [int(y) for y in labels]
    mean = Fraction(sum(signs), size - 1)
    return [mean - y for y in reversed(signs)]


def weighted_network(weights: Sequence[Fraction]) -> MaxPoolNet:
    """Theorem 4.2's network of 2N channels for any weights α_I on the N shattering points.

    Channel I has the filter max(α_I, 0) Σ_j x_I[j] and the outer weight +1; channel N + I has
    max(−α_I, 0) Σ_j x_I[j] and −1.  The sums run over the patches before the last one: with it,
    every filter would overlap with every point.  On x_I the network is the sum of α over all
    points but the complement of I.
    """
    n = len(weights).bit_length()
    sums = exact_patches(shattering_points(n)[:, :-1], 2 * n).sum(-2)
    up = [max(alpha, Fraction(0)) for alpha in weights]
    down = [max(-alpha, Fraction(0)) for alpha in weights]
    scale = np.array(up + down, dtype=object)[:, None]
    signs = [1] * len(weights) + [-1] * len(weights)
    return MaxPoolNet(scale * np.concatenate([sums, sums]), signs)


def shattering_network(labels: Sequence[int]) -> MaxPoolNet:
    """An exact network with N(x_I) = y_I on every shattering point.

    ``labels`` as in :func:`shattering_weights`.  Source: Brutzkus & Globerson 2021, Theorem 4.2.
    """
    return weighted_network(shattering_weights(labels))


def vc_dimension(l: int, n: int) -> int:  # noqa: E741
    """The VC dimension of sign N on the support of D, with as many channels as one likes.

    It is the number of pattern sets, 2 Σ_{s=1}^{min(n−1, l−2)} C(l − 2, s), whatever d >= l.
    Raises ValueError when l < 3 or n < 2.  Source: companion.
    """
    check_sizes(l, n)
    return 2 * sum(comb(l - 2, size) for size in range(1, min(n - 1, l - 2) + 1))


def pattern_sets(l: int) -> list[frozenset[int]]:  # noqa: E741
    """The 2^l − 1 non-empty sets of patterns, small ones first."""
    _check_patterns(l)
    sizes = range(1, l + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(range(l), size)]


def meets(rows: Iterable[Collection[int]], columns: Sequence[Collection[int]]) -> np.ndarray:
    """The integer matrix 1[P ∩ A ≠ ∅], P in ``rows``, A in ``columns``: filters pool to it."""
    return np.array([[int(not set(p).isdisjoint(a)) for a in columns] for p in rows])


def set_weights(l: int, values: Mapping[frozenset[int], int]) -> dict[frozenset[int], int]:  # noqa: E741
    """The c_A with f(P) = Σ_A c_A 1[P ∩ A ≠ ∅] for every set P of the ``l`` patterns.

    f is ``values``, and 0 where they say nothing.  The weights are unique, and are
    c_A = −Σ_{B ⊆ A} (−1)^{|A∖B|} f(complement of B); zeros are left out.  Integers give integers.
    Raises ValueError when l > 20, or a set is empty or has another pattern.  Source: companion.
    """
    table = _table(l, values)
    for axis in range(l):  # the Möbius transform, one pattern at a time
        without, with_it = np.moveaxis(table, axis, 0)
        with_it -= without
    return {
        frozenset(map(int, index)): -table[tuple(bits)]
        for bits in np.argwhere(table)
        if len(index := np.flatnonzero(bits))
    }


def _table(l: int, values: Mapping[frozenset[int], int]) -> np.ndarray:  # noqa: E741
    """f(complement of B) at the corner of {0, 1}^l that says what B holds."""
    _check_patterns(l)
    table = np.zeros((2,) * l, dtype=object)
    for patterns, value in values.items():
        if not patterns or not set(patterns) <= set(range(l)):
            raise ValueError(
                f"pattern set {sorted(patterns)}: give one or more of 0, …, {l - 1};"
                " every network is 0 on the empty set"
            )
        table[tuple(int(p not in patterns) for p in range(l))] = value
    return table


def interpolating_network(
    l: int,  # noqa: E741
    values: Mapping[frozenset[int], int],
    *,
    d: int | None = None,
) -> MaxPoolNet:
    """An exact network with N(x) = values[P(x)], and 0 at every other pattern set.

    It has one channel for each of the :func:`set_weights`, with the filter Σ_{p ∈ A} o_p in
    ``d`` (by default ``l``) dimensions.  Raises what :func:`set_weights` does.  Source: companion.
    """
    weights = set_weights(l, values)
    filters = np.zeros((len(weights), d or l), dtype=object)
    for row, patterns in zip(filters, weights, strict=True):
        row[list(patterns)] = 1
    return MaxPoolNet(filters, list(weights.values()))


def malicious_erm(task: PatternTask, sample: Sample) -> MaxPoolNet:
    """A network that is right on the sample, and wrong on every pattern set that is not in it.

    So its training error is zero, and its test error the probability of a new pattern set.  It
    goes by ``sample.which``; noise is not looked at.  Raises ValueError when the sample has
    copies, or is not one of this task.  Source: companion.
    """
    met, values = seen(sample), {patterns: label for label, patterns in task.support()}
    for row, label in zip(sample.which.tolist(), sample.y.tolist(), strict=True):
        if values.get(frozenset(row)) != label:
            raise ValueError(
                f"{task} has no input with the patterns {row} and the label {label}:"
                " give a sample of the task"
            )
    values = {p: label if p in met else -label for p, label in values.items()}
    return interpolating_network(task.l, values, d=task.d)


def seen(sample: Sample) -> set[frozenset[int]]:
    """The pattern sets of a sample.  Raises ValueError when the sample has copies."""
    if sample.which.ndim != 2:
        raise ValueError("the sample has copies: give one of them")
    return {frozenset(row) for row in sample.which.tolist()}


def unseen_probability(task: PatternTask, sample: Sample) -> Fraction:
    """The probability that the next input has a pattern set that the sample has not.

    It is the test error of :func:`malicious_erm`.  Raises ValueError when the sample has copies.
    """
    met = seen(sample)
    return 1 - sum(task.probability(label, patterns) for label in LABELS for patterns in met)


def malicious_error(task: PatternTask, m: int) -> float:
    """The expected test error of :func:`malicious_erm` after ``m`` inputs: Σ_P p_P (1 − p_P)^m.

    It needs no network and no listing: pattern sets of one size have one probability.  Raises
    ValueError when ``m`` is negative.  Source: companion.
    """
    if m < 0:
        raise ValueError(f"m = {m}: choose at least 0")
    sizes = range(1, task.l - 1)
    chances = [float(task.probability(1, (0, *range(2, 2 + s)))) for s in sizes]
    counts = [2 * comb(task.l - 2, s) for s in sizes]
    return sum(c * p * (1 - p) ** m for c, p in zip(counts, chances, strict=True))


def _check_patterns(l: int) -> None:  # noqa: E741
    if not 1 <= l <= PATTERNS_AT_MOST:
        raise ValueError(f"l = {l}: choose 1 to {PATTERNS_AT_MOST} patterns, for 2^l sets of them")
