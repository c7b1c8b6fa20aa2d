"""Error against sample size, for the three learners, all sizes and seeds at once (Section 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lib.maxpool.learners import (
    ADAM,
    SOFTNESS,
    Network,
    Optimiser,
    Parameters,
    conv_pool,
    conv_pool_patterns,
    initial,
    max_margin,
    mlp,
    mlp_width,
    train,
    wrong,
)
from lib.maxpool.task import Noise, PatternTask, Sample, noise_ball, noise_radius, rotation

LEARNERS = ("ConvPool", "MLP", "SVM")
NOISES: dict[str, Noise | None] = {"none": None, "radius": noise_radius, "ball": noise_ball}


class Curves(NamedTuple):
    """Errors in [0, 1], float64 on the CPU: ``test`` and ``train`` (learners, sizes, seeds).

    ``hard`` (sizes, seeds): whether the support vector machine had the hard margin; true as well
    where it did not take part.
    """

    test: Tensor
    train: Tensor
    hard: Tensor


@dataclass(frozen=True)
class Comparison:
    """Who is compared: ``channels`` of the max-pooling network, and as many weights in the MLP.

    ``softness`` is the C of the support vector machine (:func:`lib.maxpool.learners.max_margin`),
    ``test`` counts test inputs, and ``learners`` are some of :data:`LEARNERS`.
    """

    channels: int = 500
    test: int = 1000
    optimiser: Optimiser = ADAM
    softness: float = SOFTNESS
    learners: tuple[str, ...] = LEARNERS

    def __post_init__(self) -> None:
        for name in ("channels", "test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")
        if not self.softness > 0:
            raise ValueError(f"softness = {self.softness}: choose a positive number")
        strange = set(self.learners) - set(LEARNERS)
        if strange or not self.learners:
            raise ValueError(f"learners = {self.learners}: choose some of {LEARNERS}")


USUAL = Comparison()


def pattern_curves(
    task: PatternTask,
    sizes: Sequence[int],
    seeds: int,
    generator: torch.Generator,
    *,
    noise: str = "none",
    rotated: bool = True,
    comparison: Comparison = USUAL,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Curves:
    """Errors on the pattern task: Figures 3a, 3b and 5.

    Every size and seed has its own training and test sample, and its own random orthonormal
    patterns; without ``rotated``, patterns are the standard basis, which Adam can tell from others
    since it scales each coordinate by itself.  ``noise`` is a key of :data:`NOISES`: the paper has
    independent noise of norm at most 1 and does not say which.  ``generator`` is on the CPU, so
    that each device draws the same.
    Raises ValueError for a noise that is not there, and sizes or seeds below 1.
    """
    if noise not in NOISES:
        raise ValueError(f"noise = {noise!r}: choose one of {list(NOISES)}")
    copies = checked(sizes, seeds)
    turns = rotation(task.d, generator, copies=copies, dtype=dtype)
    if not rotated:
        turns = torch.eye(task.d, dtype=dtype).expand(copies, -1, -1)
    samples = [
        turned(task.sample(m, generator, NOISES[noise], copies=copies, dtype=dtype), turns)
        for m in (max(sizes), comparison.test)
    ]
    patterns = None if NOISES[noise] else turns[:, : task.l]
    where = {"patterns": patterns, "device": device}
    return compare(*samples, sizes, seeds, generator, comparison, **where)


def compare(
    training: Sample,
    test: Sample,
    sizes: Sequence[int],
    seeds: int,
    generator: torch.Generator,
    comparison: Comparison,
    *,
    patterns: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Curves:
    """Train and test the learners, each copy on as many examples as its size.

    Size i belongs to the copies from i·seeds to (i + 1)·seeds - 1.  Samples have
    len(sizes)·seeds copies, on the CPU.  Where all patches are ``patterns`` (copies, l, d),
    pooling is over these, with the same result.
    """
    counts = torch.tensor(sizes).repeat_interleave(seeds)
    samples = [Sample(*(part.to(device) for part in sample)) for sample in (training, test)]
    patterns = None if patterns is None else patterns.to(device)
    errors, hard = [], torch.ones(len(counts), dtype=torch.bool)
    for learner in comparison.learners:
        if learner == "SVM":
            mistakes, hard = machines(*samples, counts, comparison.softness)
        else:
            parts = network_parts(learner, training, generator, comparison, patterns, device)
            network, parameters, part = parts
            pairs = [(getattr(sample, part), sample.y) for sample in samples]
            train(network, parameters, *pairs[0], counts, comparison.optimiser, generator)
            mistakes = [wrong(network, parameters, *pair) for pair in reversed(pairs)]
        errors.append(shares(*(m.cpu() for m in mistakes), counts))
    shape = (-1, len(sizes), seeds)
    test_error, train_error = (torch.stack(e).view(shape) for e in zip(*errors, strict=True))
    return Curves(test_error, train_error, hard.view(shape[1:]))


def network_parts(
    learner: str,
    sample: Sample,
    generator: torch.Generator,
    comparison: Comparison,
    patterns: Tensor | None,
    device: torch.device | str,
) -> tuple[Network, Parameters, str]:
    """The function, its initial parameters, and which part of a sample it reads."""
    copies, _, n, d = sample.x.shape
    options = {"generator": generator, "dtype": sample.x.dtype, "device": device}
    if learner == "MLP":
        return mlp, initial(copies, mlp_width(comparison.channels, n, d), n * d, **options), "x"
    filters = initial(copies, comparison.channels, d, **options)
    if patterns is None:
        return conv_pool, filters, "x"
    return conv_pool_patterns, [*filters, patterns], "which"


def machines(
    training: Sample, test: Sample, counts: Tensor, softness: float
) -> tuple[list[Tensor], Tensor]:
    """Mistakes of support vector machines on both samples, and whether they have the hard margin.

    On the CPU, one after the other: they take milliseconds.
    """
    pairs = [(sample.x.flatten(2).cpu(), sample.y.cpu()) for sample in (test, training)]
    x, y = pairs[1]
    fits = [
        max_margin(x[s, :m], y[s, :m], softness=softness) for s, m in enumerate(counts.tolist())
    ]
    mistakes = [
        torch.stack([fit.wrong(*copy) for fit, *copy in zip(fits, *pair, strict=True)])
        for pair in pairs
    ]
    return mistakes, torch.tensor([fit.hard for fit in fits])


def shares(test: Tensor, training: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of mistakes, each (copies,); of the training sample only what was trained on."""
    used = torch.arange(training.shape[1]) < counts[:, None]
    return test.double().mean(1), (training & used).sum(1) / counts.double()


def operations(comparison: Comparison, n: int, d: int) -> float:
    """Floating-point operations of the networks of one seed, roughly.

    Three passes' worth for each training example, one for each test input.  A weight of the MLP
    is used once, one of the max-pooling network for each patch.
    """
    optimiser = comparison.optimiser
    examples = 3 * optimiser.steps * optimiser.batch + comparison.test
    uses = {"ConvPool": n, "MLP": 1, "SVM": 0}
    weights = comparison.channels * (d + 1)
    return 2.0 * examples * weights * sum(uses[learner] for learner in comparison.learners)


def turned(sample: Sample, turns: Tensor) -> Sample:
    """The sample with each copy's patches rotated: pattern p becomes row p of its rotation."""
    return sample._replace(x=(sample.x.flatten(1, 2) @ turns).view_as(sample.x))


def checked(sizes: Sequence[int], seeds: int) -> int:
    """How many copies there are.  Raises ValueError for sizes or seeds below 1."""
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes = {sizes}: choose at least one, each at least 1")
    if seeds < 1:
        raise ValueError(f"seeds = {seeds}: choose at least 1")
    return len(sizes) * seeds
