"""Both kernel recursions of a fully connected network, on one block of pairs of inputs.

K⁰ = Θ⁰ = σ_w² x·x'/n + σ_b², and with T and Ṫ of `lib.ntk.activations`

    K^{l+1} = R K^l + σ_w² T(K̂^l) + σ_b²
    Θ^{l+1} = R Θ^l + σ_w² T(K̂^l) + σ_b² + σ_w² Ṫ(K̂^l) ⊙ Θ̂^l

where R is 1 for residual blocks z + Dense(φ(z)) and else 0; layer normalization before φ divides
K̂ and Θ̂ by the root of the variances at both ends, and else K̂ = K, Θ̂ = Θ (Xiao, Pennington &
Schoenholz 2020 for the plain network; R and normalization: companion).

A chaotic network magnifies the distance of nearly equal inputs, and with it the rounding of K. For
such pairs the gap (q + q')/2 − K of the variances q, q' at both ends is propagated instead. A
network that is an odd function does the same to nearly opposite inputs: there x' = −x″ gives
K(x, x') = −K(x, x″), and both kernels of the pair (x, x″) are followed. ReLU, whose tangent kernel
has a kink there, always goes by angles (`lib.ntk.angles`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk import angles
from lib.ntk.activations import RELU, Activation
from lib.ntk.angles import Factors, Near, State, half_square, unit_gap
from lib.ntk.kernels import Scale

NEAR = 0.01  # of the variance: a smaller gap is propagated as a gap


class Network(NamedTuple):
    """What the recursion needs to know; variances are floats, or tensors (*grid, 1)."""

    sigma_w2: Scale
    sigma_b2: Scale
    activation: Activation
    residual: bool
    layer_norm: bool


class Side(NamedTuple):
    """One set of inputs x (*batch, N, n), its norms, and what each layer makes of the variances.

    variances: q^l before each activation, (*grid, N). factors: what `lib.ntk.angles` needs.
    """

    x: Tensor
    norms: Tensor
    variances: list[Tensor]
    factors: Factors | None


class Block(NamedTuple):
    """A rectangle of pairs."""

    left: Side
    right: Side
    rows: slice
    columns: slice
    symmetric: bool

    def ends(self, layer: int) -> tuple[Tensor, Tensor]:
        """The variances of a layer, (*grid, rows, 1) and (*grid, 1, columns)."""
        a, b = self.left.variances[layer], self.right.variances[layer]
        return a[..., self.rows, None], b[..., None, self.columns]


def side(net: Network, x: Tensor, depth: int) -> Side:
    """The inputs with the variances of `depth` + 1 layers."""
    norms = torch.linalg.vector_norm(x, dim=-1)
    variances = [net.sigma_w2 * norms.square() / x.shape[-1] + net.sigma_b2]
    for _ in range(depth):
        variances.append(variance_map(net, variances[-1]))
    if net.activation is not RELU:
        return Side(x, norms, variances, None)
    factors = angles.factors(
        net.sigma_w2 / x.shape[-1], norms, variances, net.sigma_w2, net.sigma_b2, net[3:]
    )
    return Side(x, norms, variances, factors)


def variance_map(net: Network, q: Tensor) -> Tensor:
    """The variance after one more layer."""
    t = net.activation.diagonal(torch.ones_like(q) if net.layer_norm else q)[0]
    return net.sigma_w2 * t + net.sigma_b2 + (q if net.residual else 0)


def tangent_diagonal(net: Network, variances: list[Tensor]) -> Tensor:
    """Θ(x, x), by its own recursion."""
    p = variances[0]
    for q, after in pairwise(variances):
        slope = net.activation.diagonal(torch.ones_like(q) if net.layer_norm else q)[1]
        slope = net.sigma_w2 * slope / (q if net.layer_norm else 1)
        p = after + slope * p + (p - q if net.residual else 0)
    return p


def over_pairs(value: Scale) -> Scale:
    """A variance, ready for (*grid, rows, columns)."""
    return value[..., None] if isinstance(value, Tensor) else value


def start(net: Network, block: Block) -> State:
    """The block after the input layer."""
    grid = block.left.variances[0].shape[:-1]
    x, y = block.left.x[..., block.rows, :], block.right.x[..., block.columns, :]
    if net.activation is RELU:
        norms = block.left.norms[..., block.rows], block.right.norms[..., block.columns]
        return angles.start(block, *unit_gap(*map(unit, (x, y), norms)), grid)
    a, b = block.ends(0)
    product = x @ y.mT / x.shape[-1]
    k = over_pairs(net.sigma_w2) * product.expand(*grid, *product.shape[-2:])
    k = k + over_pairs(net.sigma_b2)
    size = k.abs() if is_odd(net, k) else k
    near = size > (1 - NEAR) / 2 * (a + b)
    if block.symmetric and block.rows.start == block.columns.start:
        for m, known in ((near, False), (k, 0)):  # the diagonal has a recursion of its own
            m.diagonal(dim1=-2, dim2=-1).fill_(known)
    index = tuple(near.nonzero().unbind(-1))
    if not len(index[0]):
        return State(k, k.clone())
    x, y = (z.expand(*grid, *z.shape[-2:]) for z in (x, y))
    theta, sign = k[index].abs(), k[index].sign()
    gap = picked(over_pairs(net.sigma_w2), k, index) / x.shape[-1] * half_square(x, y, index, -sign)
    found = Near(index, gap, theta, sign)
    k[index] = 0  # there rounding would drive it out of the domain of the arc sine
    return State(k, k.clone(), found)


def is_odd(net: Network, like: Tensor) -> bool:
    """Whether f(−x) = −f(x) for all networks: no biases, and an odd activation."""
    if bool((torch.as_tensor(net.sigma_b2) > 0).any()):
        return False
    z = torch.linspace(0.125, 4, 32, dtype=like.dtype, device=like.device)
    there, here = net.activation.function(z), net.activation.function(-z)
    return torch.allclose(there, -here, rtol=4 * torch.finfo(like.dtype).eps, atol=0)


def unit(x: Tensor, norms: Tensor) -> Tensor:
    return x / norms.clamp(min=torch.finfo(x.dtype).tiny)[..., None]


def picked(value: Scale, like: Tensor, index: tuple[Tensor, ...]) -> Scale:
    """The values at some pairs of the shape of `like`."""
    return value.expand_as(like)[index] if isinstance(value, Tensor) else value


def step(
    net: Network, block: Block, state: State, layer: int, spare: tuple[Tensor, Tensor] | None = None
) -> State:
    """One more layer, after `layer` of them, in place.

    spare: scratch of the size of K; new memory for each layer costs as much as some of the work.
    """
    spare = spare or (torch.empty_like(state.first), torch.empty_like(state.first))
    if net.activation is RELU:
        return angles.step(block, state, layer + 1, net.residual, spare)
    setting = (*block.ends(layer), over_pairs(net.sigma_w2), over_pairs(net.sigma_b2))
    near = state.near
    if near is not None:
        some = (picked(value, state.first, near.index) for value in setting)
        dot = torch.empty_like(near.gap)
        found = passed(net, near.gap, near.theta, *some, dot, gap=True)
        near = Near(near.index, *found, near.sign)
    return State(*passed(net, state.first, state.second, *setting, spare[0]), near)


def passed(
    net: Network,
    k: Tensor,
    t: Tensor,
    a: Tensor,
    b: Tensor,
    w: Scale,
    beta: Scale,
    dot: Tensor,
    gap: bool = False,
) -> tuple[Tensor, Tensor]:
    """K or its gap, and Θ, through one layer; a and b are the variances, `dot` is scratch."""
    act = net.activation
    if act.layer_ and not (gap or net.residual or net.layer_norm or isinstance(w, Tensor)):
        act.layer_(k, t, a, b, w, beta, dot)
        return k, t
    kept = (k.clone(), t.clone()) if net.residual else (0, 0)
    if net.layer_norm:
        a, b = normalized_(k, t, a, b, gap)
    (act.gap_ if gap else act.dual_)(k, a, b, dot)
    k.mul_(w)
    t.mul_(dot).mul_(w)
    if gap:
        both = act.diagonal(a)[0] + act.diagonal(b)[0]
        t.add_(w / 2 * both + beta).sub_(k)
    else:
        t.add_(k.add_(beta))
    return k.add_(kept[0]), t.add_(kept[1])


def normalized_(k: Tensor, t: Tensor, a: Tensor, b: Tensor, gap: bool) -> tuple[Tensor, Tensor]:
    """Divide both kernels by the root of the variances; the variances are 1 then."""
    if gap:
        k.sub_((a.sqrt() - b.sqrt()).square() / 2)
    for m in (k, t):
        m.mul_(a.rsqrt()).mul_(b.rsqrt())
    return torch.ones_like(a), torch.ones_like(b)


def finish(net: Network, block: Block, state: State, layer: int) -> tuple[Tensor, Tensor]:
    """K and Θ of a block."""
    a, b = block.ends(layer)
    if net.activation is RELU:
        return angles.finish(state, layer, a.sqrt(), b.sqrt())
    if state.near is not None:
        index, gap, theta, sign = state.near
        both = picked(a, state.first, index) + picked(b, state.first, index)
        state.first[index] = sign * (both / 2 - gap)
        state.second[index] = sign * theta
    return state.first, state.second
