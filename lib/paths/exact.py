"""Statements in exact arithmetic: fractions to try them on, and the quantities they compare."""

import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from lib.paths.dag import Dag, forward, lifting

Numbers = Sequence[Any]


def fractions(rng: random.Random, n: int) -> list[Fraction]:
    """``n`` random fractions of either sign, with a zero now and then."""
    return [Fraction(rng.randint(-12, 12), rng.randint(1, 4)) for _ in range(n)]


def magnitudes(rng: random.Random, n: int) -> list[Fraction]:
    """``n`` random fractions that are not negative, with a zero now and then."""
    return [Fraction(rng.randint(0, 8), rng.randint(1, 4)) for _ in range(n)]


def draws(dag: Dag, n: int, seed: int) -> Iterator[tuple[list[Fraction], list[Fraction]]]:
    """``n`` times parameters of the graph and an input."""
    rng = random.Random(seed)
    for _ in range(n):
        yield fractions(rng, len(dag.names)), fractions(rng, len(dag.inputs))


def pairs(
    dags: Sequence[Dag], n: int, *, seed: int, same_signs: bool = True, ordered: bool = False
) -> Iterator[tuple[Dag, list, list, list]]:
    """``n`` times a graph (each in its turn), two parameters of it, and an input.

    With ``ordered``, the second parameter lies between the first and zero, entry by entry.
    """
    rng = random.Random(seed)
    for i in range(n):
        dag = dags[i % len(dags)]
        k = len(dag.names)
        signs = [rng.choice((-1, 1)) for _ in range(k)]
        others = signs if same_signs else [rng.choice((-1, 1)) for _ in range(k)]
        theta = [s * m for s, m in zip(signs, magnitudes(rng, k), strict=True)]
        theta_ = [s * m for s, m in zip(others, magnitudes(rng, k), strict=True)]
        if ordered:
            theta_ = [v * Fraction(rng.randint(0, 4), 4) for v in theta]
        yield dag, theta, theta_, fractions(rng, len(dag.inputs))


def rescaled(dag: Dag, theta: Numbers, v: int, factor: Any) -> list:
    """Multiply what enters neuron ``v``, its bias included, and divide what leaves it."""
    theta, neuron = list(theta), dag.neurons[v]
    entering = [e.parameter for e in neuron.edges]
    for i in entering + ([] if neuron.bias is None else [neuron.bias]):
        theta[i] = theta[i] * factor
    for i in (e.parameter for n in dag.neurons for e in n.edges if e.source == v):
        theta[i] = theta[i] / factor
    return theta


def meet(pick: Callable, theta: Numbers, theta_: Numbers) -> list:
    """Entry by entry the one that ``pick`` (min or max) chooses by absolute value."""
    return [pick(v, w, key=abs) for v, w in zip(theta, theta_, strict=True)]


def norm(dag: Dag, theta: Numbers) -> Any:
    """The path-norm ‖Φ(θ)‖₁, summed path by path."""
    return sum(abs(lifting(dag, theta)))


def metric(dag: Dag, theta: Numbers, theta_: Numbers) -> Any:
    """The path-metric ‖Φ(θ) − Φ(θ')‖₁, summed path by path."""
    return sum(abs(lifting(dag, theta) - lifting(dag, theta_)))


def moved(dag: Dag, theta: Numbers, x: Numbers, x_: Numbers) -> Any:
    """How far the output moves with the input: ‖R_θ(x) − R_θ(x')‖₁."""
    outputs = zip(forward(dag, theta, x), forward(dag, theta, x_), strict=True)
    return sum(abs(a - b) for a, b in outputs)


def change(dag: Dag, theta: Numbers, theta_: Numbers, x: Numbers) -> Any:
    """How far the output moves with the parameters: ‖R_θ(x) − R_θ'(x)‖₁."""
    outputs = zip(forward(dag, theta, x), forward(dag, theta_, x), strict=True)
    return sum(abs(a - b) for a, b in outputs)


def matrices(seed: int, widths: Sequence[int]) -> list[np.ndarray]:
    """Random weight matrices of a layered network, with fractions for entries."""
    rng = random.Random(seed)
    return [np.array(fractions(rng, o * i)).reshape(o, i) for i, o in pairwise(widths)]


def output_norms(layers: Sequence[np.ndarray]) -> np.ndarray:
    """|M_D| ⋯ |M_1| 1: the path-norm of each output."""
    value = np.ones(layers[0].shape[1], dtype=object)
    for m in layers:
        value = abs(m) @ value
    return value


def operator_norms(layers: Sequence[np.ndarray]) -> Any:
    """∏ ‖M_k‖_{∞→∞}, the product of the largest ℓ¹ norms of a row."""
    return np.prod([abs(m).sum(1).max() for m in layers])


def normalised(layers: Sequence[np.ndarray], upto: int) -> list[np.ndarray]:
    """Rescale the first ``upto`` hidden layers so that incoming ℓ¹ norms are 1."""
    layers = list(layers)
    for k in range(upto):
        rows = abs(layers[k]).sum(1)
        layers[k] = layers[k] / rows[:, None]
        layers[k + 1] = layers[k + 1] * rows
    return layers
