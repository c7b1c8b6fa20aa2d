"""One sweep of a program with nonnegative weights, in numbers that never overflow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from lib.paths.checks import BATCHNORMS, refuse_non_finite
from lib.paths.scaled import Scaled, aligned, balance, balanced, oldest, power
from lib.paths.trace import Program, Step
from lib.paths.vocabulary import on_channels

Magnitudes = Callable[[Step], "tuple[Tensor, Tensor | None]"]


@dataclass(frozen=True)
class Run:
    """One attempt at a sweep: the power q, all precautions or none, and the exponents it met."""

    q: float
    careful: bool
    zero: Tensor  # the exponent of numbers as they are
    met: list[Tensor] = field(default_factory=list)

    def balance(self, x: Scaled) -> tuple[Tensor, Tensor]:
        factor, exponent = balance(x.values)
        self.met.append(exponent)
        return factor, exponent

    def balanced(self, x: Scaled) -> Scaled:
        factor, exponent = self.balance(x)
        return Scaled(x.values * factor, x.exponent + exponent)


class Swept(NamedTuple):
    """What a sweep found: all outputs, and the sum s·2^e of their numbers, ½ ≤ s < 1 or s = 0."""

    outputs: Scaled
    s: float
    e: float

    @property
    def log(self) -> float:
        """Natural logarithm of the sum; −inf if it is zero."""
        return math.log(self.s) + self.e * math.log(2) if self.s else -math.inf


def sweep(
    program: Program, input_shape: Sequence[int], magnitudes: Magnitudes, q: float = 1
) -> Swept:
    """All outputs on the vector of ones, with weights |θ|^q: their sum is Σ_p |Φ_p|^q.

    `magnitudes(step)` gives |weight| and |bias| of an affine step. One synchronisation with the
    device if all goes well. If some numbers were wildly large, small or none at all, the model is
    searched for NaN and infinities and swept again with all precautions.
    Raises ValueError when the shape does not fit the network, and NotFinite.
    """
    if q == 0:
        refuse_non_finite(program.model)  # counting would not notice
        magnitudes = in_double(magnitudes)  # float32 counts only to 2^24
    dtype = torch.float64 if q == 0 else program.dtype
    ones = torch.ones(1, *checked_shape(input_shape), dtype=dtype, device=program.device)
    zero = torch.zeros((), dtype=torch.float64, device=program.device)
    run = Run(q, False, zero)
    outputs = outputs_of(program, ones, magnitudes, run)
    total, exponent, wildest = summary(outputs, run)
    if not (math.isfinite(total) and wildest < math.log2(torch.finfo(program.dtype).max) / 4):
        refuse_non_finite(program.model)
        run = Run(q, True, zero)
        outputs = outputs_of(program, ones, magnitudes, run)
        total, exponent, _ = summary(outputs, run)
    mantissa, more = math.frexp(total)
    return Swept(outputs, mantissa, exponent + more)


def in_double(magnitudes: Magnitudes) -> Magnitudes:
    return lambda step: tuple(None if t is None else t.double() for t in magnitudes(step))


def summary(outputs: Scaled, run: Run) -> tuple[float, float, float]:
    """Sum of the values, their exponent, and the largest power of two met on the way."""
    total = outputs.values.sum(dtype=torch.float64)
    met = torch.stack(run.met).abs().amax().double() if run.met else torch.zeros_like(total)
    return tuple(torch.stack((total, outputs.exponent, met)).tolist())


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(shape, Sequence) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"input_shape = {shape!r}; give positive sizes, no batch: (3, 8, 8)")
    return tuple(shape)


def outputs_of(program: Program, ones: Tensor, magnitudes: Magnitudes, run: Run) -> Scaled:
    """The values of all outputs, in one vector."""
    env = {program.source: Scaled(ones, run.zero)}
    left = Counter(name for step in program.steps for name in step.inputs)
    left.update(program.outputs)
    for step in program.steps:
        operands = [env[name] for name in step.inputs]
        try:
            env[step.name] = evaluate(step, operands, magnitudes, run)
        except (RuntimeError, ValueError, IndexError) as error:
            shapes = [tuple(x.values.shape) for x in operands if isinstance(x, Scaled)]
            raise misfit(program, step, shapes, error) from error
        left.subtract(step.inputs)
        for name in step.inputs:
            if not left[name]:
                env.pop(name, None)  # memory in use again is faster than new memory
    outputs, exponent = aligned([env[name] for name in program.outputs])
    return Scaled(torch.cat([y.flatten() for y in outputs]), exponent)


def evaluate(step: Step, operands: list, magnitudes: Magnitudes, run: Run):
    """The value of one step: Scaled, or a plain number or shape when the step is a size."""
    check_rank(step, operands[0].values if isinstance(operands[0], Scaled) else None)
    if step.kind == "affine":
        return affine(step, *operands, *magnitudes(step), run)
    return KINDS[step.kind](step, operands, run)


def check_rank(step: Step, x: Tensor | None) -> None:
    ranks = step.meaning.ranks
    if ranks and x.dim() not in ranks:
        raise RuntimeError(f"it needs {' or '.join(map(str, ranks))} dimensions")


def misfit(program: Program, step: Step, shapes: list[tuple], error: Exception) -> ValueError:
    """A step's complaint about its operands, with the place and the shapes."""
    source = "the input" if step.inputs == (program.source,) else "its operand"
    return ValueError(
        f"{step.where} does not take {source} of shape {', '.join(map(str, shapes))}, batch of "
        f"one included: {error}; is input_shape right?"
    )


# --- the kinds of steps -----------------------------------------------------------------------


def affine(step: Step, x: Scaled, weight: Tensor, bias: Tensor | None, run: Run) -> Scaled:
    """|weight|^q x + |bias|^q."""
    w = Scaled(weight, run.zero)
    w = power(balanced(w) if run.careful else w, run.q)
    b = None if bias is None else power(balanced(Scaled(bias, run.zero)), run.q)
    diagonal = isinstance(step.module, BATCHNORMS)
    if run.careful or (x.age > 1 and not diagonal):
        x = run.balanced(x)
    if diagonal:
        return batchnorm(x, w, b, run)
    y = Scaled(step.meaning.apply(x.values, w.values), x.exponent, x.age + 1)
    if w.exponent is not run.zero:
        y = y._replace(exponent=x.exponent + w.exponent)
    if b is None:
        return y
    (u, v), exponent = aligned([y, b])
    return Scaled(u + step.on_channels(v, u), exponent, y.age)


def batchnorm(x: Scaled, w: Scaled, b: Scaled, run: Run) -> Scaled:
    """One number for each channel, into which balancing x goes at no cost."""
    factor, exponent = run.balance(x)
    w = Scaled(w.values * factor, x.exponent + exponent + w.exponent)
    (s, t), exponent = aligned([w, b])
    y = torch.addcmul(on_channels(t, x.values), x.values, on_channels(s, x.values))
    return Scaled(y, exponent, age=1)


def unchanged(step: Step, operands: list, run: Run) -> Scaled:
    return operands[0]


def window(step: Step, operands: list, run: Run) -> Scaled:
    return operands[0]._replace(values=step.meaning.apply(operands[0].values))


def mean(step: Step, operands: list, run: Run) -> Scaled:
    """Each edge of the window weighs 1/size, so its q-th power stands inside the sum."""
    x = operands[0].values
    sizes = torch.as_tensor(step.meaning.divisors(x), dtype=x.dtype, device=x.device)
    return operands[0]._replace(values=step.meaning.apply(x) * sizes**-run.q)


def total(step: Step, operands: list, run: Run) -> Scaled:
    values, exponent = aligned(operands)
    weights = [abs(c) ** run.q if c else 0 for c in step.meaning.coefficients]
    terms = [v if w == 1 else w * v for v, w in zip(values, weights, strict=True)]
    y = Scaled(sum(terms[1:], terms[0]), exponent, oldest(operands))
    return y if set(weights) == {1} else run.balanced(y)


def moved(step: Step, operands: list, run: Run) -> Scaled:
    """Tensors share one exponent; sizes pass through."""
    tensors = [x for x in operands if isinstance(x, Scaled)]
    values, exponent = aligned(tensors)
    supply = iter(values)
    plain = [next(supply) if isinstance(x, Scaled) else x for x in operands]
    return Scaled(step.meaning.apply(*plain), exponent, oldest(tensors))


def size(step: Step, operands: list, run: Run):
    return step.meaning.apply(*(x.values if isinstance(x, Scaled) else x for x in operands))


KINDS = {
    "relu": unchanged,
    "max": window,
    "mean": mean,
    "sum": total,
    "move": moved,
    "size": size,
}
