"""Spectrum and predictor of an erf network on real data, layer by layer, beside the theory.

The theory takes what it must know of the data from the covariance alone: the numbers ζ_ab or s_ab
that survive the depth, read off at one layer.  Formulas: the chapter's Table 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.fcn import fcn_kernels
from lib.ntk.phase import Phase, phase
from lib.ntk.spectrum import mean_predictor, spectrum


class Curves(NamedTuple):
    """Each (depths,): eigenvalues, the mean of all but the largest, κ, and P(Θ)Y at one input."""

    top: Tensor
    bulk: Tensor
    kappa: Tensor
    predictor: Tensor


class Study(NamedTuple):
    """One network on one data set; ``theory`` has the leading terms."""

    phase: Phase
    found: Curves
    theory: Curves


def study(
    train: Tensor,
    test: Tensor,
    labels: Tensor,
    depths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float,
    read_at: int = 100,
) -> Study:
    """``train`` (m, features) and ``test`` (1, features) have mean square 1, ``labels`` sum to 0.

    ``read_at`` is the depth at which the data's numbers are read off the covariance.
    """
    at, m = phase(sigma_w2, sigma_b2, "erf"), len(train)
    x = torch.cat([train, test]) * ((at.q - sigma_b2) / sigma_w2) ** 0.5
    wanted = sorted({*depths, read_at})
    network = {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "activation": "erf"}
    kernels = dict(fcn_kernels(x, depths=wanted, **network))
    tangents = torch.stack([kernels[depth].ntk for depth in depths])
    top, bulk, kappa, _ = spectrum(tangents[:, :m, :m])
    columns = labels[:, None].expand(len(top), m, 1)
    predicted = mean_predictor(tangents[:, m:, :m], tangents[:, :m, :m], columns)
    found = Curves(top, bulk, kappa, predicted[:, 0, 0])
    rules = {"ordered": ordered, "critical": critical, "chaotic": chaotic}
    layers = torch.tensor(depths, dtype=x.dtype)
    return Study(
        at, found, rules[at.name](at, kernels[read_at].nngp / at.q, read_at, labels, layers)
    )


def ordered(at: Phase, c: Tensor, read_at: int, labels: Tensor, layers: Tensor) -> Curves:
    """p* − Θ_ab ≃ l χ_1^l g ζ_ab; the predictor tends to ordinary kriging."""
    m = len(labels)
    size = layers * at.chi_1**layers * (at.q + at.curvature * at.p / at.chi_1)
    zeta = hollow((1 - c) * at.chi_1**-read_at)
    whole = zeta[:m, :m].sum() / m
    weights = kriging_weights(zeta[:m, :m], zeta[m, :m])
    return Curves(
        m * at.p - size * whole,
        size * whole / (m - 1),
        m * at.p / (size * least(-zeta[:m, :m])),
        (weights @ labels).expand(len(layers)),
    )


def critical(at: Phase, c: Tensor, read_at: int, labels: Tensor, layers: Tensor) -> Curves:
    """Θ_ab ≃ q*(l + s_ab)/3."""
    m = len(labels)
    shift = hollow(2 / at.curvature / (1 - c).clamp(min=1e-300))
    weights = shift[m, :m] - shift[:m, :m].sum(0) / (m + 2)
    return Curves(
        (m + 2) / 3 * layers * at.q,
        2 / 3 * layers * at.q,
        torch.full_like(layers, (m + 2) / 2),
        weights @ labels / (2 * layers),
    )


def chaotic(at: Phase, c: Tensor, read_at: int, labels: Tensor, layers: Tensor) -> Curves:
    """Θ_aa ≃ q* χ_1^(l+1)/(χ_1 − 1), and Θ_ab − p* ≃ l χ_c^l g ζ_ab."""
    m = len(labels)
    a = at.q * at.chi_1 ** (layers + 1) / (at.chi_1 - 1)
    zeta = (c[m, :m] - at.c) * at.chi_c**-read_at
    gain = at.q + at.curvature * at.p / at.chi_c
    return Curves(a, a, 1 + m * at.p / a, layers * at.chi_c**layers * gain * (zeta @ labels) / a)


def hollow(matrix: Tensor) -> Tensor:
    """The matrix with a diagonal of zeros."""
    return matrix - torch.diag(matrix.diagonal())


def least(matrix: Tensor) -> Tensor:
    """The smallest eigenvalue on the vectors whose entries add up to 0."""
    m = len(matrix)
    project = torch.eye(m, dtype=matrix.dtype) - 1 / m
    values = torch.linalg.eigvalsh(project @ matrix @ project)
    return values[values.abs().argsort()[1:]].min()


def kriging_weights(variogram: Tensor, test: Tensor) -> Tensor:
    """The weights (m,) of ordinary kriging with a ``variogram`` (m, m) and ``test`` (m,).

    They are the limit of those of the kernel p*·11ᵀ − ε·variogram as ε tends to 0.
    """
    simple = torch.linalg.solve(variogram, test)
    spread = torch.linalg.solve(variogram, torch.ones_like(test))
    return simple + spread * (1 - simple.sum()) / spread.sum()
