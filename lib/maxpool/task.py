"""The pattern task: one discriminative patch among spurious ones (Brutzkus & Globerson 2021, §3).

An input x = (x[1], …, x[n]) has n patches in R^d.  Each patch is one of l orthonormal patterns.
Code counts patterns from 0: pattern 0 (the paper's o_1) occurs once in every positive input,
pattern 1 (o_2) once in every negative one, and 2, …, l − 1 are spurious.

Patterns are the first l vectors of the standard basis, and nothing is lost by that.  With Q
orthogonal, Qw·Qv = w·v, so a network sees in (Qx, Qw) what it saw in (x, w); gradients rotate
along, and an initialisation uniform on a sphere has the same law after rotation.  Linear
classifiers and networks with rotation-invariant initialisation, too, cannot tell the difference
under plain gradient descent.  (Adam works coordinate by coordinate and can: see :func:`rotated`.)
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product
from math import comb
from typing import NamedTuple

import torch
from torch import Tensor

Noise = Callable[[tuple[int, ...], torch.Generator, torch.dtype], Tensor]
LABELS = (1, -1)  # the label of an input that holds pattern 0, pattern 1
AT_MOST = 2**20  # inputs or pattern sets listed at once


class Sample(NamedTuple):
    """Labelled inputs.  With copies, every shape starts with the number of copies."""

    x: Tensor  # (m, n, d) patches
    y: Tensor  # (m,) labels, +1 or -1, in the dtype of x
    which: Tensor  # (m, n) int64, the pattern in each patch


@dataclass(frozen=True)
class PatternTask:
    """The distribution D: ``l`` patterns in R^``d``, inputs of ``n`` patches.

    A label is +1 or -1 with equal chances.  A uniform position holds the pattern of the label;
    every other one gets a uniform spurious pattern, independently.  Raises TypeError unless all
    three are integers, and ValueError unless 3 <= l <= d and n >= 2.  Source: Brutzkus &
    Globerson 2021, Section 3 (which says "randomly", taken to mean uniformly).
    """

    l: int  # noqa: E741
    d: int
    n: int

    def __post_init__(self) -> None:
        for name in ("l", "d", "n"):
            if type(getattr(self, name)) is not int:
                raise TypeError(f"{name} = {getattr(self, name)!r}: give an integer")
        check_sizes(self.l, self.n)
        if self.l > self.d:
            raise ValueError(
                f"l = {self.l} orthonormal patterns do not fit in d = {self.d} dimensions:"
                " choose l <= d"
            )

    def sample(
        self,
        m: int,
        generator: torch.Generator,
        noise: Noise | None = None,
        *,
        copies: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Sample:
        """``m`` independent inputs with labels, or ``copies`` independent such samples at once.

        ``noise``, such as :func:`noise_ball`, is called with (shape of x, generator, dtype) and
        added to the patches.  The device is the generator's.  Raises ValueError when ``m`` or
        ``copies`` is below 1.
        """
        for name, value in (("m", m), ("copies", 1 if copies is None else copies)):
            if value < 1:
                raise ValueError(f"{name} = {value}: choose at least 1")
        lead, device = (m,) if copies is None else (copies, m), generator.device
        negative = torch.randint(2, (*lead, 1), generator=generator, device=device)
        place = torch.randint(self.n, (*lead, 1), generator=generator, device=device)
        which = torch.randint(2, self.l, (*lead, self.n), generator=generator, device=device)
        which.scatter_(-1, place, negative)
        x = self.patches(which, dtype)
        if noise is not None:
            x = x + noise(tuple(x.shape), generator, dtype)
        return Sample(x, (1 - 2 * negative[..., 0]).to(dtype), which)

    def patches(self, which: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """The patches (…, n, d) that hold the patterns ``which`` (…, n)."""
        return torch.eye(self.l, self.d, dtype=dtype, device=which.device)[which]

    def support(self) -> list[tuple[int, frozenset[int]]]:
        """Every (label, pattern set P(x)) that an input without noise can have, positive first.

        Raises ValueError when there are more than 2^20.
        """
        most = min(self.n - 1, self.l - 2)
        count = 2 * sum(comb(self.l - 2, size) for size in range(1, most + 1))
        _few_enough(count, "pattern sets")
        spurious = [
            chosen for size in range(1, most + 1) for chosen in combinations(range(2, self.l), size)
        ]
        return [(LABELS[p], frozenset((p, *chosen))) for p in (0, 1) for chosen in spurious]

    def probability(self, label: int, patterns: Iterable[int]) -> Fraction:
        """The probability that an input has this label and exactly these patterns.

        Half of (surjections from n − 1 patches onto the spurious ones) / (l − 2)^(n − 1); it is 0
        off the support.  Raises ValueError when ``label`` is not +1 or -1.  Source: companion.
        """
        if label not in LABELS:
            raise ValueError(f"label = {label!r}: give 1 or -1")
        own, chosen = LABELS.index(label), frozenset(patterns)
        spurious = chosen - {own}
        if own not in chosen or not spurious <= frozenset(range(2, self.l)):
            return Fraction(0)
        ways = _surjections(self.n - 1, len(spurious))
        return Fraction(ways, 2 * (self.l - 2) ** (self.n - 1))

    def points(self) -> tuple[Tensor, Tensor]:
        """Every input without noise, all equally likely: patterns (M, n) and int64 labels (M,).

        M = 2n(l − 2)^(n − 1).  Raises ValueError when that is more than 2^20.
        """
        _few_enough(2 * self.n * (self.l - 2) ** (self.n - 1), "inputs")
        rows = torch.tensor(list(self._rows()))
        return rows, 1 - 2 * (rows == 1).any(-1).long()

    def _rows(self) -> Iterator[tuple[int, ...]]:
        rest = list(product(range(2, self.l), repeat=self.n - 1))
        for own, place in product((0, 1), range(self.n)):
            yield from ((*row[:place], own, *row[place:]) for row in rest)


def check_sizes(l: int, n: int) -> None:  # noqa: E741
    """Raise ValueError unless there is a spurious pattern and a patch for it."""
    if l < 3:
        raise ValueError(f"l = {l}: choose at least 3 patterns, so that one is spurious")
    if n < 2:
        raise ValueError(f"n = {n}: choose at least 2 patches, so that one is spurious")


def _few_enough(count: int, what: str) -> None:
    if count > AT_MOST:
        raise ValueError(f"{count} {what} are too many to list: choose l and n smaller")


def _surjections(n: int, s: int) -> int:
    """How many maps from n things hit all of s others, by inclusion and exclusion."""
    return sum((-1) ** i * comb(s, i) * (s - i) ** n for i in range(s + 1))


def noise_ball(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Noise for each patch, uniform in the unit ball of R^d (so of norm close to 1 for large d).

    ``shape`` is (…, n, d).
    """
    radius = torch.rand(*shape[:-1], 1, generator=generator, dtype=dtype, device=generator.device)
    return _directions(shape, generator, dtype) * radius ** (1 / shape[-1])


def noise_radius(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Noise for each patch, in a uniform direction, of norm uniform in [0, 1]: milder."""
    radius = torch.rand(*shape[:-1], 1, generator=generator, dtype=dtype, device=generator.device)
    return _directions(shape, generator, dtype) * radius


def _directions(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    v = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    return v / v.norm(dim=-1, keepdim=True)


def rotation(
    d: int,
    generator: torch.Generator,
    *,
    copies: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """An orthogonal matrix (d, d), uniform (Haar); with ``copies``, independent ones."""
    shape = (d, d) if copies is None else (copies, d, d)
    gaussian = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    # QR alone fixes the signs of r, and its q is not uniform: Mezzadri 2007.
    return q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(dtype).unsqueeze(-2)


def rotated(sample: Sample, generator: torch.Generator) -> Sample:
    """The same inputs with random orthonormal patterns: the first l rows of a :func:`rotation`.

    This is the set-up of the paper's experiments.  Each copy gets a rotation of its own.
    """
    x = sample.x
    copies = x.shape[0] if x.ndim == 4 else None
    q = rotation(x.shape[-1], generator, copies=copies, dtype=x.dtype)
    turned = x.flatten(-3, -2) @ q
    return sample._replace(x=turned.view_as(x))


def present(which: Tensor, l: int) -> Tensor:  # noqa: E741
    """Which of the ``l`` patterns each input holds: bool (…, m, l) from ``which`` (…, m, n).

    Without noise, max-pooling sees nothing else of an input.
    """
    empty = torch.zeros(*which.shape[:-1], l, dtype=torch.bool, device=which.device)
    return empty.scatter(-1, which, True)
