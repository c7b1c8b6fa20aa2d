"""The path-metric ‖Φ(θ) − Φ(θ')‖₁ in two or three sweeps, or a refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.paths.checks import refuse_non_finite
from lib.paths.errors import ArchitectureMismatch, SignMismatch
from lib.paths.norms import OVERFLOW, absolute
from lib.paths.sweep import Swept, sweep
from lib.paths.trace import Program, Step, trace


class PathMetric(NamedTuple):
    """value: the path-metric (its logarithm if asked for), or a bound above it when not `exact`."""

    value: float
    exact: bool
    passes: int


@torch.no_grad()
def path_metric(
    model_a: nn.Module, model_b: nn.Module, input_shape: Sequence[int], log: bool = False
) -> PathMetric:
    """‖Φ(θ) − Φ(θ')‖₁ for two networks of one architecture whose parameters agree in sign.

    When one is smaller in every coordinate (pruning, rounding toward zero) it is the difference of
    the two path-norms: two passes, exact (Gonon et al. 2025; identity companion). Otherwise, with
    the meet m = sign·min(|θ|, |θ'|), it is at most ‖Φ(θ)‖₁ + ‖Φ(θ')‖₁ − 2‖Φ(m)‖₁: three passes, an
    upper bound (companion). BatchNorm is compared by its scale γ/√(var+ε) and its shift
    β − scale·mean.

    Differences of nearly equal norms carry the rounding error of the norms.
    Raises ArchitectureMismatch, SignMismatch (naming the first offending entry), OverflowError when
    the value exceeds the largest double and `log` is not set, and what `path_norm` raises.
    """
    a, b = trace(model_a), trace(model_b)
    refuse_non_finite(model_a)
    refuse_non_finite(model_b)
    pairs = matched(a, b)
    below, above = compared(pairs)
    if not (below or above):
        meet = {x.name: lower(x, y) for x, y in pairs}
        norms = [sweep(a, input_shape, absolute), sweep(b, input_shape, absolute)]
        norms += [sweep(a, input_shape, lambda step: meet[step.name])] * 2
        return PathMetric(combine(norms, (1, 1, -1, -1), log), False, 3)
    norms = [sweep(a, input_shape, absolute), sweep(b, input_shape, absolute)]
    return PathMetric(combine(norms, (1, -1) if below else (-1, 1), log), True, 2)


def matched(a: Program, b: Program) -> list[tuple[Step, Step]]:
    """Affine steps of two programs side by side; ArchitectureMismatch unless they are one graph."""
    if (a.dtype, a.device) != (b.dtype, b.device):
        raise ArchitectureMismatch(
            f"{a.dtype} on {a.device} against {b.dtype} on {b.device}; convert one of the models"
        )
    if len(a.steps) != len(b.steps) or a.outputs != b.outputs:
        raise ArchitectureMismatch(
            f"{len(a.steps)} steps against {len(b.steps)} in the traced graphs"
        )
    for x, y in zip(a.steps, b.steps, strict=True):
        if signature(x) != signature(y):
            raise ArchitectureMismatch(
                f"{x.where} is {signature(x)}, {y.where} is {signature(y)}; "
                "a path-metric compares two sets of parameters of one graph"
            )
    return [pair for pair in zip(a.steps, b.steps, strict=True) if pair[0].kind == "affine"]


def signature(step: Step) -> tuple:
    """What must agree: the kind, its settings, its operands and the shapes of its parameters."""
    shapes = [None if t is None else tuple(t.shape) for t in (step.weight, step.bias)]
    return step.kind, *step.meaning.config, step.meaning.coefficients, step.inputs, *shapes


def compared(pairs: list[tuple[Step, Step]]) -> tuple[bool, bool]:
    """(θ' ≤ θ everywhere, θ ≤ θ' everywhere) in absolute value; SignMismatch if signs disagree."""
    tensors = [(x, name, s, t) for x, y in pairs for name, s, t in sides(x, y)]
    rows = [
        torch.stack(
            (
                (s.sign() * t.sign() >= 0).all(),
                (t.abs() <= s.abs()).all(),
                (s.abs() <= t.abs()).all(),
            )
        )
        for _, _, s, t in tensors
    ]
    same, below, above = torch.stack(rows).T.tolist()
    if not all(same):
        step, name, s, t = tensors[same.index(False)]
        index = tuple((s.sign() * t.sign() < 0).nonzero()[0].tolist())
        raise SignMismatch(
            f"the {name} of {step.where} is {s[index]:g} at {index} in one model and {t[index]:g} "
            "in the other; the path-metric bounds a change of parameters only when no sign changes"
        )
    return all(below), all(above)


def sides(x: Step, y: Step) -> list[tuple[str, Tensor, Tensor]]:
    sides = [("weight", x.weight, y.weight), ("bias", x.bias, y.bias)]
    return [side for side in sides if side[1] is not None]


def lower(x: Step, y: Step) -> tuple[Tensor, Tensor | None]:
    """min(|θ|, |θ'|) for the weight and the bias of a step."""
    (a, c), (b, d) = absolute(x), absolute(y)
    return torch.minimum(a, b), None if c is None else torch.minimum(c, d)


def combine(norms: Sequence[Swept], signs: Sequence[int], log: bool) -> float:
    """Σ ± norms, added exactly as far as doubles go, under one exponent."""
    top = max(norm.e for norm in norms)
    value = math.fsum(
        sign * math.ldexp(norm.s, int(norm.e - top))
        for sign, norm in zip(signs, norms, strict=True)
    )
    value = max(0.0, value)  # rounding may leave −1e-16 of two equal norms
    if log:
        return math.log(value) + top * math.log(2) if value else -math.inf
    try:
        return math.ldexp(value, int(top))
    except OverflowError:
        raise OverflowError(OVERFLOW.format("log=True")) from None
