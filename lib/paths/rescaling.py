"""Rescaling of hidden neurons: what no output, no path and no path-magnitude can see.

A hidden channel is produced by one affine layer (the last before the gate), passes through layers
that treat channels one by one and commute with positive factors, and is consumed by one Linear or
convolution. Multiply what comes in by λ > 0 and what goes out by 1/λ. Linear layers are taken to
act on (batch, features).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.paths.checks import BATCHNORMS, stored
from lib.paths.trace import Program, Step, trace

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Hidden(NamedTuple):
    """Channels between two layers: names of the layers, and how many channels there are."""

    producer: str
    consumer: str
    channels: int


def clone(model: nn.Module) -> nn.Module:
    """A deep copy, also of a model masked by torch's pruning, whose weights refuse to be copied."""
    computed = (
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    )
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})


def hidden_channels(model: nn.Module) -> list[Hidden]:
    """All groups of hidden channels that `rescale` can reach, in the order of the network."""
    program = trace(model)
    names = {id(module): name for name, module in model.named_modules()}
    return [
        Hidden(names[id(a.module)], names[id(b.module)], out_channels(a)) for a, b in links(program)
    ]


def links(program: Program) -> Iterator[tuple[Step, Step]]:
    """Pairs (producer, consumer) joined by a chain of channelwise steps that nothing else reads."""
    readers: dict[str, list[Step]] = {}
    for step in program.steps:
        for name in set(step.inputs):
            readers.setdefault(name, []).append(step)
    for producer in (s for s in program.steps if s.kind == "affine"):
        if stored(producer.module, "weight") is None:
            continue  # BatchNorm without parameters has nothing to scale
        step, flat = producer, on_features(program, producer)
        while step.name not in program.outputs and len(readers.get(step.name, ())) == 1:
            (step,) = readers[step.name]
            if step.kind == "affine":
                if consumes(step, producer, flat):
                    yield producer, step
                break
            if not step.meaning.channels or (flat and step.meaning.ranks):
                break
            flat |= step.meaning.channels == "flatten"


def on_features(program: Program, step: Step) -> bool:
    """Does the step act on (batch, features)? So do Linear layers here, and what follows them."""
    by_name = {s.name: s for s in program.steps}
    while isinstance(step.module, nn.BatchNorm1d) or step.kind == "relu":
        if step.inputs[0] not in by_name:
            return False
        step = by_name[step.inputs[0]]
    return isinstance(step.module, nn.Linear) or step.meaning.channels == "flatten"


def out_channels(step: Step) -> int:
    weight = step.weight
    return step.module.out_channels if isinstance(step.module, TRANSPOSED) else weight.shape[0]


def consumes(consumer: Step, producer: Step, flat: bool) -> bool:
    """Does the consumer read the producer's channels, or blocks of features of each of them?"""
    channels = out_channels(producer)
    if isinstance(consumer.module, BATCHNORMS):
        return False
    if isinstance(consumer.module, nn.Linear):
        features = consumer.module.in_features
        whole = isinstance(producer.module, nn.Linear)
        return flat and (features == channels if whole else features % channels == 0)
    return not flat and consumer.module.in_channels == channels


@torch.no_grad()
def rescale(
    model: nn.Module,
    factors: Mapping[str, Tensor] | None = None,
    *,
    generator: torch.Generator | None = None,
    choices: Sequence[float] = (1, 128, 4096),
) -> nn.Module:
    """A copy of the model that computes the same function with other parameters.

    factors: for the name of each producer (see `hidden_channels`) one positive factor λ for each
    channel; or `generator`, to draw each λ from `choices`. With powers of two, the function, Φ and
    the path-magnitudes are bit for bit the same, as long as nothing over- or underflows.

    Raises ValueError unless exactly one of the two is given, for an unknown producer, a wrong
    number of factors, a factor that is not positive, or a model without hidden channels; and what
    `trace` raises.
    """
    if (factors is None) == (generator is None):
        raise ValueError("give either factors or a generator")
    hidden = hidden_channels(model)
    if not hidden:
        raise ValueError("the model has no hidden channels that can be rescaled")
    factors = drawn(hidden, choices, generator) if factors is None else factors
    check_factors(factors, hidden)
    result = clone(model)
    program = trace(result)
    names = {id(module): name for name, module in result.named_modules()}
    for producer, consumer in links(program):
        λ = factors.get(names[id(producer.module)])
        if λ is not None:
            λ = torch.as_tensor(λ).to(producer.weight)
            scale_outgoing(producer, λ)
            scale_incoming(consumer, 1 / λ)
    refresh(result)
    return result


def drawn(hidden: list[Hidden], choices: Sequence[float], generator: torch.Generator) -> dict:
    """One choice for each channel, drawn on the generator's device."""
    if not choices or not all(0 < c < math.inf for c in choices):
        raise ValueError(f"choices = {choices!r}; give at least one, all positive and finite")
    table = torch.tensor(choices, dtype=torch.float64, device=generator.device)

    def draw(n: int) -> Tensor:
        return table[
            torch.randint(len(choices), (n,), generator=generator, device=generator.device)
        ]

    return {h.producer: draw(h.channels) for h in hidden}


def check_factors(factors: Mapping[str, Tensor], hidden: list[Hidden]) -> None:
    known = {h.producer: h.channels for h in hidden}
    for name, λ in factors.items():
        if name not in known:
            raise ValueError(f"{name!r} produces no hidden channels; choose from {sorted(known)}")
        λ = torch.as_tensor(λ)
        if λ.shape != (known[name],) or not bool(((λ > 0) & λ.isfinite()).all()):
            raise ValueError(f"factors[{name!r}] must be {known[name]} positive finite numbers")


def scale_outgoing(step: Step, λ: Tensor) -> None:
    """Multiply output channel c of a layer, weight and bias, by λ[c], in place."""
    weight, bias = stored(step.module, "weight"), stored(step.module, "bias")
    if bias is not None:
        bias.mul_(λ)
    if isinstance(
        step.module, TRANSPOSED
    ):  # (in, out/groups, …): group by rows, channel by columns
        groups = step.module.groups
        blocks = weight.view(groups, -1, *weight.shape[1:])
        blocks.mul_(λ.view(groups, 1, -1, *[1] * (weight.dim() - 2)))
    else:
        weight.mul_(λ.view(-1, *[1] * (weight.dim() - 1)))


def scale_incoming(step: Step, λ: Tensor) -> None:
    """Multiply what a layer does with input channel c by λ[c], in place."""
    weight = stored(step.module, "weight")
    if isinstance(step.module, nn.Linear):
        weight.mul_(λ.repeat_interleave(weight.shape[1] // len(λ)))
    elif isinstance(step.module, TRANSPOSED):
        weight.mul_(λ.view(-1, *[1] * (weight.dim() - 1)))
    else:  # (out, in/groups, …)
        groups = step.module.groups
        blocks = weight.view(groups, -1, *weight.shape[1:])
        blocks.mul_(λ.view(groups, 1, -1, *[1] * (weight.dim() - 2)))


def refresh(model: nn.Module) -> None:
    """Recompute the masked weights that torch's pruning keeps beside the parameters."""
    for module in model.modules():
        for name, mask in list(module.named_buffers(recurse=False)):
            if name.endswith("_mask"):
                stem = name.removesuffix("_mask")
                setattr(module, stem, getattr(module, f"{stem}_orig") * mask)
