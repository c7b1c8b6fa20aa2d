"""How the neurons of a leaky network lie: agreement on the sample, clusters, and linearity."""

from typing import NamedTuple

import torch
from scipy.special import betainc
from torch import Tensor

from lib.teachers.errors import NotInAgreement
from lib.teachers.network import LeakyNet, Number, at
from lib.teachers.task import check_sample, first


def odd_even(net: LeakyNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """The odd and the even part of N at inputs (…, m, d), both (…, m); N is their sum.

    The odd part is linear, vk(1 + α)/2 κ·x.  Source: companion.
    """
    alpha, v = at(net.alpha, 1), at(net.v, 1)
    sizes = net.preactivations(x).abs().sum(-2)
    odd = v * net.k * (1 + alpha) / 2 * (x @ net.kappa[..., None])[..., 0]
    return odd, v * (1 - alpha) / 2 * (sizes[..., 0, :] - sizes[..., 1, :])


# --- agreement on the sample


class Agreement(NamedTuple):
    """Shares of the sample in [0, 1], each (…).

    ``w`` and ``u`` are the means of |mean sign over the cluster|.  ``nar`` is the share of the
    samples on which all w_j have one sign and all u_j have one; ``par`` asks that these signs be
    y and −y.  A preactivation that is 0 agrees with none.
    """

    w: Tensor
    u: Tensor
    nar: Tensor
    par: Tensor


def agreement(net: LeakyNet, x: Tensor, y: Tensor) -> Agreement:
    """How far the networks are in agreement on samples (…, n, d), (…, n).

    1 for ``nar`` is the neural agreement regime, and 1 for ``par`` the perfect one.  Raises as
    :func:`lib.teachers.task.check_sample` does.
    """
    check_sample(x, y)
    h = net.preactivations(x)
    size = h.sign().mean(-2).abs()
    one_sign = ((h > 0).all(-2) | (h < 0).all(-2)).all(-2)
    right = (signed_preactivations(net, x, y) > 0).all(-2).all(-2)
    both = [t.to(x).mean(-1) for t in (one_sign, right)]
    return Agreement(size[..., 0, :].mean(-1), size[..., 1, :].mean(-1), *both)


def signed_preactivations(net: LeakyNet, x: Tensor, y: Tensor) -> Tensor:
    """y_i w_j·x_i and −y_i u_j·x_i, (…, 2, k, n): perfect agreement is when all are positive.

    On orthogonally separable data no step lets one of them fall.  Source: companion.
    """
    h = net.preactivations(x)
    return torch.stack((h[..., 0, :, :], -h[..., 1, :, :]), -3) * y[..., None, None, :]


def nar_slopes(net: LeakyNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes a_i of all w_j, and of all u_j, at each sample: 1 or α, both (…, n).

    Raises :class:`NotInAgreement` with the sample on which neurons of one cluster differ.
    """
    active = net.preactivations(x) > 0
    every, some = active.all(-2), active.any(-2)
    if (found := first(every != some)) is not None:
        *lead, cluster, i = found
        raise NotInAgreement(
            f"sample {(*lead, i)}: the {'wu'[cluster]}-neurons have two signs; train for longer,"
            " or from a smaller start"
        )
    leak = torch.as_tensor(at(net.alpha, 2), dtype=x.dtype, device=x.device)
    slopes = torch.where(every, 1.0, leak)
    return slopes[..., 0, :], slopes[..., 1, :]


# --- clusters


class Clusters(NamedTuple):
    """The means of the w_j and of the u_j (…, d), and the largest distance to each (…)."""

    w: Tensor
    u: Tensor
    r_w: Tensor
    r_u: Tensor

    @property
    def rho_w(self) -> Tensor:
        """The relative radius r_w/‖w̄‖."""
        return self.r_w / self.w.norm(dim=-1)

    @property
    def rho_u(self) -> Tensor:
        """The relative radius r_u/‖ū‖."""
        return self.r_u / self.u.norm(dim=-1)


def cluster_radius(net: LeakyNet) -> Clusters:
    """The two clusters of every network."""
    means = net.weights.mean(-2)
    radii = (net.weights - means[..., None, :]).norm(dim=-1).amax(-1)
    return Clusters(means[..., 0, :], means[..., 1, :], radii[..., 0], radii[..., 1])


def surely_linear(net: LeakyNet, x: Tensor) -> Tensor:
    """Where the radii ensure that sign N(x) = sign κ·x: bool (…, m) for inputs (…, m, d).

    Where |w̄·x| > r_w ‖x‖ and |ū·x| > r_u ‖x‖, so that each cluster has one sign (companion).
    """
    c, size = cluster_radius(net), x.norm(dim=-1)
    far = [
        (x @ mean[..., None])[..., 0].abs() > r[..., None] * size
        for mean, r in ((c.w, c.r_w), (c.u, c.r_u))
    ]
    return far[0] & far[1]


def disagreement_bound(rho_w: Number, rho_u: Number, d: int) -> Tensor:
    """At most this is P(sign N(x) ≠ sign κ·x), for any rotation-invariant x in R^d.

    I_{ρ_w²}(1/2, (d − 1)/2) + I_{ρ_u²}(1/2, (d − 1)/2), and at most 1: the regularised incomplete
    beta function is the probability of |cos| < ρ.  Raises ValueError when d < 2 or a radius is
    negative.  Source: companion.
    """
    if d < 2:
        raise ValueError(f"d = {d}: choose at least 2 dimensions")
    rhos = [torch.as_tensor(rho, dtype=torch.float64) for rho in (rho_w, rho_u)]
    if any(bool((rho < 0).any()) for rho in rhos):
        raise ValueError("a relative radius is negative: give r/‖mean‖")
    masses = (betainc(0.5, (d - 1) / 2, rho.clamp(max=1).cpu().square().numpy()) for rho in rhos)
    return torch.as_tensor(sum(masses), dtype=torch.float64).clamp(max=1).to(rhos[0].device)
