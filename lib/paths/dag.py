"""Networks of scalar neurons, after Gonon et al. (2024): definitions for exact checks.

A `Dag` is the graph; parameters are a separate sequence `theta`, of floats, `fractions.Fraction`s
or SymPy expressions: the same code evaluates all three. Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from lib.paths.errors import TooManyPaths

LIMIT = 1_000_000


class Edge(NamedTuple):
    """Weight theta[parameter]·constant from an earlier neuron; parameter None is a fixed weight."""

    source: int
    parameter: int | None
    constant: Any = 1


class Neuron(NamedTuple):
    """kind: "input", "id", "relu" or "max", the k-th largest arrival; bias: its index in theta."""

    kind: str
    edges: tuple[Edge, ...] = ()
    bias: int | None = None
    k: int = 1


class Path(NamedTuple):
    """neurons: from start to output; parameters: their indices in theta, a starting bias first."""

    neurons: tuple[int, ...]
    parameters: tuple[int, ...]
    biased: bool  # starts with the bias of neurons[0] rather than at an input


@dataclass(frozen=True)
class Dag:
    """Neurons in topological order, the indices of the outputs, one name for each parameter."""

    neurons: tuple[Neuron, ...]
    outputs: tuple[int, ...]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Dag({len(self.neurons)} neurons, {len(self.names)} parameters)"

    @property
    def inputs(self) -> tuple[int, ...]:
        """Neurons that hold the coordinates of the input."""
        return tuple(v for v, neuron in enumerate(self.neurons) if neuron.kind == "input")

    @property
    def hidden(self) -> tuple[int, ...]:
        """The neurons that are neither inputs nor outputs, which can be rescaled."""
        outside = {*self.inputs, *self.outputs}
        return tuple(v for v in range(len(self.neurons)) if v not in outside)


def array(values: Sequence) -> np.ndarray:
    """float64 if all are floats, else an object array that keeps the numbers as they are."""
    values = list(values)
    if all(isinstance(v, float) for v in values):
        return np.array(values, dtype=np.float64)
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def weight(edge: Edge, theta: Sequence) -> Any:
    return edge.constant if edge.parameter is None else edge.constant * theta[edge.parameter]


# --- the function -----------------------------------------------------------------------------


def evaluate(dag: Dag, theta: Sequence, x: Sequence) -> tuple[list, list[list[int]]]:
    """Values of all neurons at the input x, and the 0/1 gate of each of their incoming edges.

    A gate is 1 for id, 1[v > 0] for ReLU, and for pooling marks the selected antecedent: the k-th
    in decreasing order, ties to the first. A gate for the bias, if there is one, comes last.
    Raises TypeError for symbols whose order cannot be told.
    """
    supply, values, gates = iter(x), [], []
    for neuron in dag.neurons:
        terms = [values[edge.source] * weight(edge, theta) for edge in neuron.edges]
        if neuron.bias is not None:
            terms.append(theta[neuron.bias])
        if neuron.kind == "input":
            values.append(next(supply))
            gates.append([])
        elif neuron.kind == "max":
            chosen = sorted(range(len(terms)), key=lambda i: terms[i], reverse=True)[neuron.k - 1]
            values.append(terms[chosen])
            gates.append([int(i == chosen) for i in range(len(terms))])
        else:
            total = sum(terms)
            gate = int(neuron.kind == "id" or bool(total > 0))
            values.append(total if gate else 0 * total)
            gates.append([gate] * len(terms))
    return values, gates


def forward(dag: Dag, theta: Sequence, x: Sequence) -> list:
    """R_θ(x), one number for each output."""
    values, _ = evaluate(dag, theta, x)
    return [values[v] for v in dag.outputs]


# --- the paths --------------------------------------------------------------------------------


def fold(dag: Dag, start: Callable, through_bias: Callable, through_edge: Callable, join: Callable):
    """Build a list over all paths, neuron by neuron: the order of paths is the same for every list.

    start(v) for an input, through_bias(v) for a bias, through_edge(v, i, list) extends the list of
    the i-th antecedent of v; join glues lists together.
    """
    table: list = []
    for v, neuron in enumerate(dag.neurons):
        parts = [start(v)] if neuron.kind == "input" else []
        parts += [] if neuron.bias is None else [through_bias(v)]
        parts += [through_edge(v, i, table[e.source]) for i, e in enumerate(neuron.edges)]
        table.append(join(parts))
    return join([table[v] for v in dag.outputs])


def count(dag: Dag) -> int:
    """The number of paths, whatever their number."""
    return fold(dag, lambda v: 1, lambda v: 1, lambda v, i, n: n, sum)


def within(dag: Dag, limit: int) -> None:
    if (n := count(dag)) > limit:
        raise TooManyPaths(f"{n} paths exceed the limit of {limit}; path_norm needs no enumeration")


def paths(dag: Dag, limit: int = LIMIT) -> list[Path]:
    """All paths that end at an output and start at an input or at a bias. Raises TooManyPaths."""
    within(dag, limit)

    def extend(v: int, i: int, ps: list[Path]) -> list[Path]:
        p = dag.neurons[v].edges[i].parameter
        own = () if p is None else (p,)
        return [Path((*path.neurons, v), path.parameters + own, path.biased) for path in ps]

    return fold(
        dag,
        lambda v: [Path((v,), (), False)],
        lambda v: [Path((v,), (dag.neurons[v].bias,), True)],
        extend,
        lambda lists: list(chain(*lists)),
    )


def concatenate(parts: list) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=object)


def lifting(dag: Dag, theta: Sequence, limit: int = LIMIT) -> np.ndarray:
    """Φ(θ): for each of `paths(dag)` the product of its parameters. Raises TooManyPaths."""
    within(dag, limit)
    one = 1.0 if array(theta).dtype == np.float64 else 1
    return fold(
        dag,
        lambda v: array([one]),
        lambda v: array([theta[dag.neurons[v].bias]]),
        lambda v, i, phi: phi * weight(dag.neurons[v].edges[i], theta),
        concatenate,
    )


def activations(dag: Dag, theta: Sequence, x: Sequence, limit: int = LIMIT) -> np.ndarray:
    """A(θ, x) ∈ {0,1}^(P × (d_in + 1)): the product of a path's gates in the column of its start.

    The last column belongs to the paths that start at a bias. Then for each output
    R_θ(x) = Σ_p Φ_p(θ) (A(θ, x) (x, 1))_p over the paths p that end there. Raises TooManyPaths.
    """
    within(dag, limit)
    _, gates = evaluate(dag, theta, x)
    columns = np.eye(len(dag.inputs) + 1, dtype=np.int8)
    column = {v: i for i, v in enumerate(dag.inputs)}
    return fold(
        dag,
        lambda v: columns[[column[v]]],
        lambda v: columns[[-1]] * np.int8(gates[v][-1]),
        lambda v, i, rows: rows * np.int8(gates[v][i]),
        lambda parts: np.concatenate(parts) if parts else columns[:0],
    )


def ends(dag: Dag, limit: int = LIMIT) -> np.ndarray:
    """The index, among the outputs, of the end of each path."""
    within(dag, limit)
    sizes = [count(replace(dag, outputs=(v,))) for v in dag.outputs]
    return np.repeat(np.arange(len(dag.outputs)), sizes)


def incidence(dag: Dag, limit: int = LIMIT) -> np.ndarray:
    """B ∈ {0,1}^(P × parameters): which path goes through which parameter. Raises TooManyPaths."""
    found = paths(dag, limit)
    matrix = np.zeros((len(found), len(dag.names)), dtype=np.int8)
    for row, path in zip(matrix, found, strict=True):
        row[list(path.parameters)] = 1
    return matrix


def opened(dag: Dag) -> Dag:
    """The same graph with every gate open: ReLU and pooling become the identity."""
    open_ = tuple(n if n.kind == "input" else n._replace(kind="id") for n in dag.neurons)
    return replace(dag, neurons=open_)
