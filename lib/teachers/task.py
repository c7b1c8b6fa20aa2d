"""Linearly separable data: inputs of several laws, and a linear teacher with a gap.

The teacher w* has y w*·x ≥ 1 for every input, so the margin of its hyperplane is 1/‖w*‖.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lib.teachers.errors import (
    NotOrthogonallySeparable,
    NotSeparable,
    ShapeMismatch,
    WrongLabel,
    ZeroInput,
)


class Sample(NamedTuple):
    """Labelled inputs and their teacher.  With copies, every shape starts with their number."""

    x: Tensor  # (n, d)
    y: Tensor  # (n,) labels, +1 or -1, in the dtype of x
    w_star: Tensor  # (d,) with y w*·x ≥ 1


def _gaussian(shape: tuple[int, ...], **options) -> Tensor:
    return torch.randn(shape, **options) / shape[-1] ** 0.5


def _sphere(shape: tuple[int, ...], **options) -> Tensor:
    v = torch.randn(shape, **options)
    return v / v.norm(dim=-1, keepdim=True)


def _cube(shape: tuple[int, ...], **options) -> Tensor:
    return (2 * torch.rand(shape, **options) - 1) * (3 / shape[-1]) ** 0.5


def _corners(shape: tuple[int, ...], **options) -> Tensor:
    return (2 * (torch.rand(shape, **options) < 0.5).to(options["dtype"]) - 1) / shape[-1] ** 0.5


LAWS: dict[str, Callable[..., Tensor]] = {
    "gaussian": _gaussian,
    "sphere": _sphere,
    "cube": _cube,
    "corners": _corners,
}


def inputs(
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    law: str = "gaussian",
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Independent inputs of ``shape`` (…, d), mean 0 and covariance I/d under every law.

    ``gaussian`` and ``sphere`` (norm 1) are rotation-invariant; ``cube`` is uniform in a cube,
    and ``corners`` on its corners (norm 1).  The device is the generator's.  Raises ValueError
    for an unknown law.
    """
    _check_law(law)
    return LAWS[law](shape, generator=generator, device=generator.device, dtype=dtype)


@dataclass(frozen=True)
class TeacherTask:
    """``n`` inputs in R^``d`` labelled by a random teacher, none within ``margin`` of its plane.

    An input is drawn from ``law`` (see :func:`inputs`), labelled by its side of the plane, and
    moved away from the plane by ``margin``.  Then w* is the unit normal over ``margin``.
    Raises ValueError when d or n is below 1, ``margin`` is not positive, or the law is unknown.
    Source: companion, for the setting of Sarussi, Brutzkus & Globerson 2021.
    """

    d: int
    n: int
    law: str = "gaussian"
    margin: float = 0.1

    def __post_init__(self) -> None:
        for name in ("d", "n"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")
        if not self.margin > 0:
            raise ValueError(f"margin = {self.margin}: choose a positive number")
        _check_law(self.law)

    def sample(
        self,
        generator: torch.Generator,
        *,
        copies: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Sample:
        """Draw a teacher and ``n`` inputs, or ``copies`` independent such samples at once.

        The device is the generator's.
        """
        if copies is not None and copies < 1:
            raise ValueError(f"copies = {copies}: choose at least 1")
        lead = () if copies is None else (copies,)
        normal = inputs((*lead, self.d), generator, law="sphere", dtype=dtype)
        return self.labelled(self.n, normal / self.margin, generator)

    def labelled(self, m: int, w_star: Tensor, generator: torch.Generator) -> Sample:
        """``m`` fresh inputs of a teacher (…, d) that :meth:`sample` returned, for a test set."""
        normal = w_star * self.margin
        shape = (*w_star.shape[:-1], m, self.d)
        x = inputs(shape, generator, law=self.law, dtype=w_star.dtype)
        y = 1 - 2 * ((x @ normal[..., None])[..., 0] < 0).to(x)
        return Sample(x + self.margin * y[..., None] * normal[..., None, :], y, w_star)


def orthogonally_separable(
    n: int,
    d: int,
    generator: torch.Generator,
    *,
    copies: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Inputs (n, d) and labels (n,) with y_i y_j x_i·x_j > 0 for all i and j; or copies of such.

    The y_i x_i are absolute values of Gaussian vectors of covariance I/d, in a random rotation.
    The labels are random.  The device is the generator's.  Raises ValueError when n or d is
    below 1.  Source: companion.
    """
    if min(n, d) < 1:
        raise ValueError(f"n = {n}, d = {d}: choose at least 1")
    lead, device = (() if copies is None else (copies,)), generator.device
    v = inputs((*lead, n, d), generator, dtype=dtype).abs()
    q = torch.linalg.qr(inputs((*lead, d, d), generator, dtype=dtype)).Q
    y = 1 - 2 * torch.randint(2, (*lead, n), generator=generator, device=device).to(dtype)
    return y[..., None] * v @ q, y


# --- what is refused


def check_sample(x: Tensor, y: Tensor) -> None:
    """Raise unless inputs (…, n, d) and labels (…, n) fit, labels are ±1, and no input is 0.

    Raises :class:`ShapeMismatch`, :class:`WrongLabel`, :class:`ZeroInput`, or ValueError for an
    input that is not finite.
    """
    if x.ndim < 2 or x.shape[:-1] != y.shape:
        raise ShapeMismatch(f"x {tuple(x.shape)} and y {tuple(y.shape)}: give (…, n, d) and (…, n)")
    if (found := first(y.abs() != 1)) is not None:
        raise WrongLabel(f"sample {found}: the label is {y[found]:g}; every label is 1 or -1")
    if (found := first(~x.isfinite().all(-1))) is not None:
        raise ValueError(f"sample {found}: the input is not finite; leave it out")
    if (found := first((x == 0).all(-1))) is not None:
        raise ZeroInput(
            f"sample {found}: the input is zero, so no network can fit it; leave it out"
        )


def margins(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """y w·x for each sample: (…, n)."""
    return y * (x @ w[..., None])[..., 0]


def separated(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The least margin y w·x of a hyperplane ``w`` (…, d), if it is positive: (…).

    Raises :class:`NotSeparable` with the sample that is on the wrong side, and what
    :func:`lib.teachers.task.check_sample` raises.
    """
    check_sample(x, y)
    values = margins(x, y, w)
    if (found := first(values <= 0)) is not None:
        raise NotSeparable(
            f"sample {found}: y w·x = {values[found]:.3g} is not positive; give a w that separates"
        )
    return values.amin(-1)


def check_orthogonally_separable(x: Tensor, y: Tensor) -> None:
    """Raise :class:`NotOrthogonallySeparable` unless y_i y_j x_i·x_j ≥ 0 for all i and j.

    Raises also what :func:`lib.teachers.task.check_sample` raises.
    """
    check_sample(x, y)
    signed = y[..., None] * x
    products = signed @ signed.mT
    if (found := first(products < 0)) is not None:
        *lead, i, j = found
        raise NotOrthogonallySeparable(
            f"samples {i} and {j}{f' of copy {tuple(lead)}' if lead else ''}: y_i y_j x_i·x_j ="
            f" {products[found]:.3g} is negative; see lib.teachers.orthogonally_separable"
        )


def first(bad: Tensor) -> tuple[int, ...] | None:
    """The index of the first true entry, or None."""
    found = bad.nonzero()
    return tuple(found[0].tolist()) if len(found) else None


def _check_law(law: str) -> None:
    if law not in LAWS:
        raise ValueError(f"law = {law!r}: choose one of {', '.join(LAWS)}")
