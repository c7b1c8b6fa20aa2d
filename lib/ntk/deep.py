"""Kernels of deep erf networks at 50 digits, for a few images: what Table 1 is measured on.

A convolutional network keeps a covariance for each pair of positions, of each pair of images.
:func:`deep` iterates both recursions on all of them; a fully connected network has one position.
"""

from dataclasses import dataclass
from functools import cache

import mpmath as mp

DIGITS = 50
LABELS = (2, -3, 1)  # of mean zero; one for each training image; one more image is for the test
POSITIONS = 4  # on a circle, with windows of three
DEPTHS = {"ordered": (100, 200), "critical": (100, 200, 400), "chaotic": (100,)}

Key = tuple[int, int, int, int]  # image, position, image, position
Entries = dict[Key, mp.mpf]


@dataclass(frozen=True)
class Regime:
    """A point of the phase diagram of erf networks, with the C-map C at its stable fixed point."""

    name: str
    sigma_w2: mp.mpf
    sigma_b2: mp.mpf
    q: mp.mpf  # fixed point of the variance
    c: mp.mpf  # stable fixed point of the correlation
    chi_1: mp.mpf  # C'(1)
    chi_c: mp.mpf  # C'(c)
    curvature: mp.mpf  # C''(c)

    @property
    def p(self) -> mp.mpf:
        """The limit of the off-diagonal of the NTK, away from criticality."""
        return self.q * self.c / (1 - self.chi_c)

    @property
    def gain(self) -> mp.mpf:
        """What a correlation's distance from c adds to the NTK with each layer, over chi_c^l."""
        return self.q + self.curvature * self.p / self.chi_c


@cache
def regime(name: str) -> Regime:
    """``ordered`` is (σ_w², σ_b²) = (1, 0.05), ``chaotic`` (3, 0.18), ``critical`` has q* = 1."""
    with mp.workdps(DIGITS + 10):
        if name == "critical":
            w, b = mp.pi / 4 * mp.sqrt(5), 1 - mp.sqrt(5) / 2 * mp.asin(mp.mpf(2) / 3)
        else:
            w, b = {"ordered": (1, mp.mpf(1) / 20), "chaotic": (3, mp.mpf(9) / 50)}[name]
        q = mp.findroot(lambda q: w * 2 / mp.pi * mp.asin(2 * q / (1 + 2 * q)) + b - q, 1)
        r = 2 * q / (1 + 2 * q)
        steep = w * 2 / mp.pi * r / q
        c = mp.mpf(1)
        if name == "chaotic":
            c = mp.findroot(lambda c: (w * 2 / mp.pi * mp.asin(r * c) + b) / q - c, 0.5)
        rest = 1 - (r * c) ** 2
        return Regime(
            name,
            mp.mpf(w),
            b,
            q,
            c,
            steep / mp.sqrt(1 - r * r),
            steep / mp.sqrt(rest),
            steep * r * r * c / rest ** mp.mpf("1.5"),
        )


def inputs(q: mp.mpf, positions: int) -> Entries:
    """Covariances q·2^(−|s − t|) at scattered points s, t: one image more than there are labels."""
    images = len(LABELS) + 1
    point = [mp.mpf(7 * i % 16) / 2 for i in range(images * positions)]
    return {
        (a, i, b, j): q * mp.mpf(2) ** -abs(point[a * positions + i] - point[b * positions + j])
        for a in range(images)
        for b in range(a, images)
        if a < images - 1 or b < images - 1
        for i in range(positions)
        for j in range(i if a == b else 0, positions)
    }


def layer(nngp: Entries, ntk: Entries, at: Regime, positions: int) -> tuple[Entries, Entries]:
    """Both recursions, once; with more than one position, averages over circular windows of 3."""
    scale = 1 + 2 * at.q
    slope = at.sigma_w2 * 4 / mp.pi / scale
    covariance, passed_on = {}, {}
    for key, k in nngp.items():
        sine = 2 * k / scale
        cosine = mp.sqrt(1 - sine * sine)
        angle = mp.atan2(sine, cosine)
        covariance[key] = at.sigma_w2 * 2 / mp.pi * angle + at.sigma_b2
        passed_on[key] = slope / cosine * ntk[key]
    if positions > 1:
        covariance, passed_on = (average(some, positions) for some in (covariance, passed_on))
    return covariance, {key: k + passed_on[key] for key, k in covariance.items()}


def average(entries: Entries, positions: int) -> Entries:
    """The mean of three neighbours along the diagonal, around the circle."""
    return {
        (a, i, b, j): sum(
            _at(entries, a, (i + o) % positions, b, (j + o) % positions) for o in (-1, 0, 1)
        )
        / 3
        for a, i, b, j in entries
    }


def _at(entries: Entries, a: int, i: int, b: int, j: int) -> mp.mpf:
    return entries[a, i, b, j] if (a, i, b, j) in entries else entries[b, j, a, i]


@cache
def deep(name: str, positions: int) -> dict[int, tuple[Entries, Entries]]:
    """The pair (K, Θ) at the depths of a phase, and one layer below each; starts at Θ = K."""
    with mp.workdps(DIGITS):
        at, depths = regime(name), DEPTHS[name]
        nngp = ntk = inputs(at.q, positions)
        kept = {}
        for depth in range(1, depths[-1] + 2):
            nngp, ntk = layer(nngp, ntk, at, positions)
            if depth in depths or depth - 1 in depths:
                kept[depth] = nngp, ntk
        return kept


def read_out(entries: Entries, positions: int, pooled: bool) -> tuple[mp.matrix, mp.matrix]:
    """The matrix of the training images and the column of the test image.

    A flat read-out keeps equal positions only; a pooled one takes the mean over all pairs.
    """
    every = range(positions)
    pairs = [(i, j) for i in every for j in every if pooled or i == j]

    def mean(a: int, b: int) -> mp.mpf:
        return sum(_at(entries, a, i, b, j) for i, j in pairs) / len(pairs)

    m = len(LABELS)
    train = mp.matrix([[mean(min(a, b), max(a, b)) for b in range(m)] for a in range(m)])
    return train, mp.matrix([mean(b, m) for b in range(m)])
