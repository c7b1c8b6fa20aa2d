"""The kernels of ReLU networks, propagated as angles.

For ReLU a block holds d = 1 − c instead of K, c being the correlation, and τ = Θ/√(q q'). The
vectors (√(R + σ_w²/2) √q, σ_b) of two inputs span an angle; let δ be the sine of its half. With
A = σ_w²/2, variances q before the layer and Q after it, u = √(q q'/(Q Q')), w = A u, and the
arc-cosine function C,

    d' = R u d + w (1 − C) + 2δ²,    τ' = 1 − d' + w (1 − θ/π) τ + R u (τ − 1 + d).

Each term of d' is positive, so that nothing cancels when inputs are nearly parallel, and nothing
overflows (companion). Layer normalization puts 1 for q in w and in the vectors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lib.ntk.activations import PI, relu_gap_, sine_less
from lib.ntk.kernels import Scale

if TYPE_CHECKING:
    from lib.ntk.recursion import Block

OPPOSITE = 0.1  # 1 + cos θ below this: C(θ) would lose digits as a difference from 1


class Opposite(NamedTuple):
    """Pairs that are nearly antiparallel: their places, and a small positive number for each."""

    index: tuple[Tensor, ...]
    small: Tensor


class Near(NamedTuple):
    """Pairs that are nearly equal, or with the sign −1 nearly opposite: where, and what for each.

    gap: of |K|.  theta: |Θ|.  sign: of both.
    """

    index: tuple[Tensor, ...]
    gap: Tensor
    theta: Tensor
    sign: Tensor


class State(NamedTuple):
    """A block: K and Θ, or for ReLU d and τ; each is (*grid, rows, columns).

    near: for other activations, pairs which are followed on their own. opposite: for ReLU without
    bias, 1 + cos θ before the first activation, and C after it.
    """

    first: Tensor
    second: Tensor
    near: Near | None = None
    opposite: Opposite | None = None


class Factors(NamedTuple):
    """For one side and each layer, the input layer first: √w, √u, and half the vectors' angle.

    Numbers or (*grid, 1) where all inputs have the same; `turns` is None where all δ are 0, and
    else has the sines and cosines.
    """

    w: list[Scale]
    u: list[Scale]
    turns: list[tuple[Tensor, Tensor]] | None


def factors(
    gain: Scale,
    norms: Tensor,
    variances: list[Tensor],
    sigma_w2: Scale,
    sigma_b2: Scale,
    options: tuple[bool, bool],
) -> Factors:
    """From the gain and norms of the input layer, and the variances after every layer."""
    residual, layer_norm = options
    biased = bool((torch.as_tensor(sigma_b2) > 0).any())
    found = Factors([], [], [] if biased or (residual and layer_norm) else None)
    before = [norms.square(), *variances[:-1]]
    for layer, (q, after) in enumerate(zip(before, variances, strict=True)):
        kept, normed = (residual, layer_norm) if layer else (False, False)
        inside = torch.ones_like(q) if normed else q
        if found.turns is None:  # then the variances cancel, and may be 0
            found.w.append(root(gain / (gain + kept)))
            found.u.append(root(1 / (gain + kept)))
        else:
            found.w.append(shared(root(gain * inside / after)))
            found.u.append(shared(root(q / after)))
            both = normed and kept
            along = (q if kept else 0) + (0 if both else gain * inside)
            across = torch.zeros_like(q) + sigma_b2 + (gain if both else 0)
            turn = torch.atan2(across.sqrt(), along.sqrt()) / 2
            found.turns.append((turn.sin(), turn.cos()))
        gain = sigma_w2 / 2
    return found


def shared(x: Tensor) -> Tensor:
    """One number for all inputs if they agree up to rounding, as for inputs of one norm."""
    low, high = x.aminmax(dim=-1, keepdim=True)
    return low if bool((high - low <= 4 * torch.finfo(x.dtype).eps * high).all()) else x


def root(x: Scale) -> Scale:
    return x.sqrt() if isinstance(x, Tensor) else math.sqrt(x)


def unit_gap(x: Tensor, y: Tensor) -> tuple[Tensor, Opposite | None]:
    """1 − cos of unit vectors, and 1 + cos of the nearly opposite ones.

    Near 0 both come from the difference or the sum of the vectors, not from their product.
    """
    gap = 1 - x @ y.mT
    tiny = torch.finfo(x.dtype).eps ** 0.25
    near = tuple((gap < tiny).nonzero().unbind(-1))
    gap[near] = half_square(x, y, near, -1)
    far = tuple((gap > 2 - OPPOSITE).nonzero().unbind(-1))
    if not len(far[0]):
        return gap, None
    rest = 2 - gap[far]
    close = (rest < tiny).nonzero()[:, 0]
    rest[close] = half_square(x, y, tuple(i[close] for i in far), 1)
    gap[far] = 2 - rest
    return gap, Opposite(far, rest)


def half_square(x: Tensor, y: Tensor, index: tuple[Tensor, ...], sign: Tensor | int) -> Tensor:
    """½‖x + sign·y‖² for pairs (*batch, i, j), a few at a time; sign: one, or one for each."""
    signs = torch.as_tensor(sign, dtype=y.dtype, device=y.device).expand(len(index[0]))[:, None]
    few, parts = max(1, 2**22 // x.shape[-1]), []
    for part, s in zip(torch.stack(index).split(few, 1), signs.split(few), strict=True):
        *batch, i, j = part
        parts.append((x[(*batch, i)] + s * y[(*batch, j)]).square().sum(-1) / 2)
    return torch.cat(parts)


def start(block: Block, gap: Tensor, opposite: Opposite | None, grid: tuple[int, ...]) -> State:
    """After the input layer."""
    d = gap.expand(*grid, *gap.shape[-2:]).clone()
    weight_(block, "w", 0, torch.empty_like(d), d)
    turn_(d, block, 0, torch.empty_like(d))
    unbiased = block.left.factors.turns is None and d.ndim == gap.ndim
    return State(d, 1 - d, opposite=opposite if unbiased else None)


def weight_(block: Block, name: str, layer: int, work: Tensor, *found: Tensor) -> None:
    """Multiply what was found by w or u of a layer, in place. `work` is scratch."""
    a, b = (getattr(s.factors, name)[layer] for s in (block.left, block.right))
    if not isinstance(a, Tensor):
        both = a * b
        if abs(both - 1) < 1e-15:
            return
    elif a.shape[-1] == b.shape[-1] == 1:
        both = (a * b)[..., None]
    else:
        a, b = along(a, block.rows)[..., None], along(b, block.columns)[..., None, :]
        both = torch.mul(a.expand_as(work), b, out=work)
    for m in found:
        m.mul_(both)


def along(x: Tensor, part: slice) -> Tensor:
    return x if x.shape[-1] == 1 else x[..., part]


def turn_(d: Tensor, block: Block, layer: int, work: Tensor) -> None:
    """Add 2δ². `work` is scratch."""
    if block.left.factors.turns is None:
        return
    sine, cosine = (x[..., block.rows, None] for x in block.left.factors.turns[layer])
    sine2, cosine2 = (x[..., None, block.columns] for x in block.right.factors.turns[layer])
    delta = torch.mul(sine, cosine2, out=work).addcmul_(cosine, sine2, value=-1)
    d.addcmul_(delta, delta, value=2)


def step(
    block: Block, state: State, layer: int, residual: bool, spare: tuple[Tensor, Tensor]
) -> State:
    """One more layer, of which `layer` counts the input layer too; in place, with scratch."""
    d, tau, dot, work = state.first, state.second, *spare
    kept = (d.clone(), tau - 1 + d) if residual else None
    opposite = arc_cosine(state, residual) if layer == 1 else None
    relu_gap_(d, dot, work)
    weight_(block, "w", layer, work, d, dot)
    if kept:
        weight_(block, "u", layer, work, *kept)
        d.add_(kept[0])
    turn_(d, block, layer, work)
    torch.sub(torch.ones((), dtype=d.dtype, device=d.device), d, out=work)
    torch.addcmul(work, tau, dot, out=tau)
    if kept:
        tau.add_(kept[1])
    if opposite is not None:
        d[opposite[0].index], tau[opposite[0].index] = 1 - opposite[0].small, opposite[1]
    return State(d, tau, opposite=opposite[0] if opposite else None)


def arc_cosine(state: State, residual: bool) -> tuple[Opposite, Tensor] | None:
    """C = (sin ψ − ψ cos ψ)/π and the next τ of nearly opposite inputs, from ψ = π − θ."""
    if state.opposite is None or residual:
        return None
    index, small = state.opposite
    psi = 2 * torch.asin((small / 2).sqrt())
    c = sine_less(psi) / PI
    return Opposite(index, c), c + psi / PI * state.second[index]


def finish(state: State, layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """K and Θ as new tensors, from the roots of the variances at both ends."""
    k = 1 - state.first
    if layer and state.opposite is not None:
        k[state.opposite.index] = state.opposite.small
    return k.mul_(a).mul_(b), (state.second * a).mul_(b)
