"""Path-norms and path-magnitudes: everything that one sweep of a network with weights |θ| tells.

Put |θ|^q for the parameters, the identity for every ReLU, the sum of the window for every
max-pooling, feed the vector of ones, add up the outputs: that is Σ_p |Φ_p(θ)|^q, the sum over all
paths (Gonon et al. 2024).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from lib.paths.checks import BATCHNORMS, stored
from lib.paths.sweep import Magnitudes, sweep
from lib.paths.trace import Program, Step, trace

OVERFLOW = "the result exceeds the largest floating-point number; ask for it with {}"


def absolute(step: Step) -> tuple[Tensor, Tensor | None]:
    """|weight| and |bias| of an affine step."""
    return step.weight.abs(), None if step.bias is None else step.bias.abs()


@torch.no_grad()
def path_norm(
    model: nn.Module, input_shape: Sequence[int], q: float = 1, log: bool = False
) -> float:
    """‖Φ(θ)‖_q = (Σ_p |Φ_p(θ)|^q)^(1/q) over all paths p of the network (Gonon et al. 2024).

    model: in eval mode; it is read, never changed. float32 or float64, on any one device.
    input_shape: the shape of one input, without the batch: (3, 224, 224).
    q: q ≥ 0; q = 0 counts the paths on which no parameter is zero (computed in float64).
    log: return the natural logarithm, which never overflows (−inf for a norm of zero).

    Raises UnsupportedModule, NotFinite for a NaN or infinity on a path, ValueError for q < 0 or a
    shape that does not fit, and OverflowError when the norm exceeds the largest double and `log` is
    not set. Within one layer, numbers less than about 1e-25 (float32) or 1e-200 (float64) of the
    largest may count as zero.
    """
    check_power(q)
    program = trace(model)
    found = sweep(program, input_shape, reused(program), q)
    return found.log / (q or 1) if log else root(found.s, found.e, q)


def reused(program: Program) -> Magnitudes:
    """`absolute` for one sweep without gradients: all |weight| in turn share one memory."""
    weights = [step.weight for step in program.steps if step.kind == "affine"]
    room = max((w.numel() for w in weights), default=0)
    buffer = torch.empty(room, dtype=program.dtype, device=program.device)

    def magnitudes(step: Step) -> tuple[Tensor, Tensor | None]:
        place = buffer[: step.weight.numel()].view(step.weight.shape)
        return torch.abs(step.weight, out=place), None if step.bias is None else step.bias.abs()

    return magnitudes


def check_power(q: float) -> None:
    if not isinstance(q, numbers.Real) or not 0 <= q < math.inf:
        raise ValueError(f"q = {q!r}; a path-norm needs a finite q ≥ 0 (q = 0 counts paths)")


def root(total: float, exponent: float, q: float) -> float:
    """(total·2^exponent)^(1/q) with one rounding when q is 1, and no root when it is 0."""
    share = exponent / (q or 1)
    whole = math.floor(share)
    try:
        return math.ldexp(total ** (1 / (q or 1)) * 2 ** (share - whole), whole)
    except OverflowError:
        raise OverflowError(OVERFLOW.format("log=True")) from None


def path_magnitude(
    model: nn.Module, input_shape: Sequence[int], scale: str = "absolute"
) -> dict[str, Tensor]:
    """Φ-cost ‖Φ(θ) − Φ(θ with θ_i = 0)‖₁ of every parameter, one backward pass (Gonon et al. 2025).

    Returns one tensor for each of `model.named_parameters()`, of its shape, dtype and device; a
    parameter on no path costs 0. For BatchNorm the parameters are γ and β, whose edges have the
    weight s = γ/√(var+ε) and the bias t = β − s·mean: zeroing γ changes both (companion).
    scale: "absolute"; "relative" to ‖Φ(θ)‖₁, so in [0, 1]; or "log", natural. The last two never
    overflow.

    Raises what `path_norm` raises; OverflowError only for "absolute".
    """
    if scale not in ("absolute", "relative", "log"):
        raise ValueError(f"scale={scale!r}; use 'absolute', 'relative' or 'log'")
    program = trace(model)
    affine = [step for step in program.steps if step.kind == "affine"]
    with torch.inference_mode(False), torch.enable_grad():
        leaves = {step.name: leaf_pair(step) for step in affine}
        found = sweep(program, input_shape, lambda step: leaves[step.name])
        objective = found.outputs.values.sum()
        slopes = gradients(objective, leaves)
    rescaled = {"absolute": in_full, "relative": as_share, "log": as_log}[scale](
        objective.item(), found.s, found.e
    )
    costs = {}
    with torch.no_grad():
        for step in affine:
            for parameter, cost in step_costs(step, leaves[step.name], slopes[step.name]):
                costs[id(parameter)] = rescaled(cost)  # while it is in the cache
        return {
            name: costs[id(p)] if id(p) in costs else rescaled(torch.zeros_like(p))
            for name, p in model.named_parameters()
        }


def leaf_pair(step: Step) -> tuple[Tensor, Tensor | None]:
    weight, bias = absolute(step)
    return weight.requires_grad_(), None if bias is None else bias.requires_grad_()


def gradients(objective: Tensor, leaves: dict) -> dict[str, tuple[Tensor, Tensor | None]]:
    """∂objective, arranged like the leaves; zero where no path passes."""
    flat = [t for pair in leaves.values() for t in pair if t is not None]
    if not objective.requires_grad:
        slopes = iter([torch.zeros_like(t) for t in flat])
    else:
        slopes = iter(torch.autograd.grad(objective, flat, materialize_grads=True))
    return {n: tuple(None if t is None else next(slopes) for t in p) for n, p in leaves.items()}


def step_costs(step: Step, leaves: tuple, slopes: tuple) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """θ_i ∂‖Φ‖₁/∂θ_i for the parameters of one step, in the units of the sweep."""
    weight, bias = stored(step.module, "weight"), stored(step.module, "bias")
    if isinstance(step.module, BATCHNORMS):
        moved = (step.weight * step.module.running_mean).abs() * slopes[1]  # β − shift = s·mean
        costs = leaves[0] * slopes[0] + moved, slopes[1] * (0 if bias is None else bias.abs())
    else:
        costs = (s if s is None else s.mul_(t) for s, t in zip(slopes, leaves, strict=True))
    for parameter, cost in zip((weight, bias), costs, strict=True):
        if parameter is not None:
            yield parameter, cost


# The sweep found `unit` where the norm is s·2^e, so a cost has to be multiplied by s·2^e / unit, a
# power of two. Each of these gives a map to the numbers asked for, which works in place.


def in_full(unit: float, s: float, e: float) -> Callable[[Tensor], Tensor]:
    shift = int(e) - math.frexp(unit)[1]
    half = shift // 2 if abs(shift) > 100 else 0  # 2^shift alone may be out of range

    def rescaled(cost: Tensor) -> Tensor:
        if math.log2(s or 1) + e > math.log2(torch.finfo(cost.dtype).max):
            raise OverflowError(OVERFLOW.format("scale='log' or scale='relative'"))
        cost = cost.mul_(2.0**half) if half else cost
        return cost.mul_(2.0 ** (shift - half))

    return rescaled


def as_share(unit: float, s: float, e: float) -> Callable[[Tensor], Tensor]:
    return lambda cost: cost.mul_(1 / unit if unit else 1.0)


def as_log(unit: float, s: float, e: float) -> Callable[[Tensor], Tensor]:
    return lambda cost: cost.mul_(2.0 ** -math.frexp(unit)[1]).log_().add_(e * math.log(2))
