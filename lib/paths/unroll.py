"""From a PyTorch model to its graph of scalar neurons, and Φ and A by enumeration."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from lib.paths import dag as scalar
from lib.paths.checks import BATCHNORMS, refuse_non_finite
from lib.paths.dag import LIMIT, Dag, Edge, Neuron
from lib.paths.errors import TooManyPaths, UnsupportedModule
from lib.paths.sweep import check_rank, checked_shape, misfit
from lib.paths.trace import Step, trace

ENTRIES = 4096  # of one activation: unrolling is for networks that a person could draw


class Builder:
    """Neurons and parameters so far. A tensor in the making is an array of neuron indices."""

    def __init__(self, model: nn.Module, exact: bool):
        self.modules = {id(m): f"{name}." if name else "" for name, m in model.named_modules()}
        self.neurons: list[Neuron] = []
        self.names: list[str] = []
        self.theta: list = []
        self.number = Fraction if exact else float

    def add(self, neurons: Sequence[Neuron], shape: Sequence[int]) -> Tensor:
        """Append neurons; their indices, arranged in `shape`."""
        start = len(self.neurons)
        self.neurons += neurons
        return torch.arange(start, start + len(neurons)).view(tuple(shape))

    def parameters(self, step: Step, name: str, values: Tensor) -> Tensor:
        """Append one parameter for each entry of `values`; their indices, in the same shape."""
        if isinstance(step.module, BATCHNORMS):
            name = {"weight": "scale", "bias": "shift"}[name]
        start = len(self.theta)
        self.theta += [self.number(v) for v in values.flatten().tolist()]
        stem = self.modules[id(step.module)] + name
        self.names += [f"{stem}{list(map(int, i))}" for i in np.ndindex(*values.shape)]
        return torch.arange(start, start + values.numel()).view(values.shape)


@torch.no_grad()
def unroll(model: nn.Module, input_shape: Sequence[int], exact: bool = False) -> tuple[Dag, list]:
    """The graph of scalar neurons of a small network, and its parameters θ.

    θ holds floats, or with `exact` the same numbers as fractions. BatchNorm contributes its scale
    γ/√(var+ε) and shift β − scale·mean; every ReLU is a neuron of its own behind an affine one,
    which leaves the paths as they are. Raises TooManyPaths for a large network, NotFinite for any
    NaN or infinity, and what `path_norm` raises.
    """
    program = trace(model)
    refuse_non_finite(model)
    shape = (1, *checked_shape(input_shape))
    refuse_large(shape)
    build = Builder(model, exact)
    size = int(np.prod(shape))
    env = {program.source: build.add([Neuron("input")] * size, shape)}
    for step in program.steps:
        operands = [env[name] for name in step.inputs]
        try:
            check_rank(step, operands[0])
            env[step.name] = UNROLLED[step.kind](build, step, operands)
        except (RuntimeError, IndexError) as error:
            shapes = [tuple(x.shape) for x in operands if isinstance(x, Tensor)]
            raise misfit(program, step, shapes, error) from error
        refuse_large(getattr(env[step.name], "shape", ()))
    outputs = [v for name in program.outputs for v in env[name].flatten().tolist()]
    return Dag(tuple(build.neurons), tuple(outputs), tuple(build.names)), build.theta


def refuse_large(shape: Sequence[int]) -> None:
    if int(np.prod(shape)) > ENTRIES:
        raise TooManyPaths(
            f"an activation of shape {tuple(shape)} has more than {ENTRIES} entries; "
            "enumeration is for small networks, path_norm and path_magnitude for large ones"
        )


def response(apply, shape: Sequence[int]) -> Tensor:
    """The matrix of a linear map, a row for each entry of its operand: (n_in, *shape of result)."""
    size = int(np.prod(shape))
    basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
    if shape[0] == 1:  # all rows in one batch
        return apply(basis.squeeze(1)).unsqueeze(1)
    return torch.stack([apply(e) for e in basis])


def affine(build: Builder, step: Step, operands: list[Tensor]) -> Tensor:
    """An id neuron for each entry; numbered weights tell which one is on which edge."""
    (x,) = operands
    weight = build.parameters(step, "weight", step.weight)
    numbered = response(
        lambda e: step.meaning.apply(e, (weight - weight.min() + 1).double()), x.shape
    )
    used = response(lambda e: step.meaning.apply(e, torch.ones_like(weight).double()), x.shape)
    if used.max() > 1:
        raise UnsupportedModule(f"{step.where} puts two parameters on one edge")
    bias = [None] * used[0].numel()
    if step.bias is not None:
        b = build.parameters(step, "bias", step.bias)
        bias = step.on_channels(b, used[0]).expand(used[0].shape).flatten().tolist()
    ids = numbered.long().flatten(1) - 1 + weight.min()
    source = x.flatten().tolist()
    neurons = [
        Neuron("id", tuple(Edge(source[j], int(ids[j, i])) for j in column.nonzero().flatten()), b)
        for i, (column, b) in enumerate(zip(used.flatten(1).T, bias, strict=True))
    ]
    return build.add(neurons, used[0].shape)


def relu(build: Builder, step: Step, operands: list[Tensor]) -> Tensor:
    (x,) = operands
    return build.add([Neuron("relu", (Edge(v, None),)) for v in x.flatten().tolist()], x.shape)


def window(build: Builder, step: Step, operands: list[Tensor]) -> Tensor:
    """A max-pooling neuron for each window, or an id neuron with weights 1/size for its mean."""
    (x,) = operands
    reads = response(step.meaning.apply, x.shape)
    sizes = torch.ones_like(reads[0])
    if step.kind == "mean":
        sizes = sizes * step.meaning.divisors(torch.ones(x.shape, dtype=torch.float64))
    source = x.flatten().tolist()
    neurons = []
    for column, n in zip(reads.flatten(1).T, sizes.flatten().tolist(), strict=True):
        constant = 1 if step.kind == "max" else build.number(1) / int(n)
        edges = tuple(Edge(source[j], None, constant) for j in column.nonzero().flatten())
        neurons.append(Neuron("max" if step.kind == "max" else "id", edges))
    return build.add(neurons, reads[0].shape)


def total(build: Builder, step: Step, operands: list[Tensor]) -> Tensor:
    """An id neuron for each entry, with an edge of fixed weight from each operand."""
    constants = [build.number(c) for c in step.meaning.coefficients]
    xs = torch.broadcast_tensors(*operands)
    rows = torch.stack([x.flatten() for x in xs]).T.tolist()
    edges = (tuple(Edge(v, None, c) for v, c in zip(row, constants, strict=True)) for row in rows)
    return build.add([Neuron("id", e) for e in edges], xs[0].shape)


def moved(build: Builder, step: Step, operands: list) -> Tensor:
    """Indices move as values would; in float64, for borders are copied in floating point only."""
    plain = [x.double() if isinstance(x, Tensor) else x for x in operands]
    return step.meaning.apply(*plain).long()


UNROLLED = {
    "affine": affine,
    "relu": relu,
    "max": window,
    "mean": window,
    "sum": total,
    "move": moved,
    "size": lambda build, step, operands: step.meaning.apply(*operands),
}


def path_lifting(
    model: nn.Module, input_shape: Sequence[int], exact: bool = False, limit: int = LIMIT
) -> np.ndarray:
    """Φ(θ) by enumeration, in the order of `paths(unroll(model, input_shape)[0])`.

    float64, or with `exact` fractions of the stored numbers. Raises TooManyPaths beyond `limit`.
    """
    graph, theta = unroll(model, input_shape, exact)
    return scalar.lifting(graph, theta, limit)


def path_activations(
    model: nn.Module, x: Tensor, exact: bool = False, limit: int = LIMIT
) -> np.ndarray:
    """A(θ, x) ∈ {0,1}^(P × (d_in + 1)) for one input x, without the batch; rows as `path_lifting`.

    Raises TooManyPaths beyond `limit`.
    """
    graph, theta = unroll(model, tuple(x.shape), exact)
    number = Fraction if exact else float
    return scalar.activations(graph, theta, [number(v) for v in x.flatten().tolist()], limit)
