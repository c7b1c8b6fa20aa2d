"""Graphs of scalar neurons: the definitions, in fractions, floats and symbols."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch
from torch import nn

from lib.paths import (
    Dag,
    Edge,
    Neuron,
    Path,
    TooManyPaths,
    activations,
    ends,
    forward,
    incidence,
    lifting,
    opened,
    path_activations,
    path_lifting,
    paths,
    unroll,
)
from lib.paths.dag import count, evaluate
from lib.paths.examples import example_dag, random_dag
from networks import cnn, mlp


def chain() -> Dag:
    """x → relu with bias → output with bias; θ = (v, b, u, c)."""
    return Dag(
        (
            Neuron("input"),
            Neuron("relu", (Edge(0, 0),), bias=1),
            Neuron("id", (Edge(1, 2),), bias=3),
        ),
        (2,),
        ("v", "b", "u", "c"),
    )


def pool(k: int) -> Dag:
    """The k-th largest of three inputs."""
    edges = tuple(Edge(v, None) for v in range(3))
    return Dag((*[Neuron("input")] * 3, Neuron("max", edges, k=k)), (3,), ())


def test_the_paths_of_a_chain_in_order():
    assert paths(chain()) == [
        Path((2,), (3,), True),
        Path((1, 2), (1, 2), True),
        Path((0, 1, 2), (0, 2), False),
    ]


def test_the_lifting_of_a_chain():
    assert lifting(chain(), (2, 3, 5, 7)).tolist() == [7, 15, 10]


def test_the_activations_of_a_chain():
    awake = [[0, 1], [0, 1], [1, 0]]
    asleep = [[0, 1], [0, 0], [0, 0]]
    assert activations(chain(), (2, 3, 5, 7), [1]).tolist() == awake
    assert activations(chain(), (2, 3, 5, 7), [-2]).tolist() == asleep


def test_a_relu_at_zero_is_asleep():
    assert activations(chain(), (1, 0, 1, 0), [0]).tolist() == [[0, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(("k", "value", "chosen"), [(1, 5, 1), (2, 3, 0), (3, 3, 2)])
def test_pooling_takes_the_kth_largest_and_the_first_of_equals(k, value, chosen):
    x = [3, 5, 3]
    assert forward(pool(k), (), x) == [value]
    assert activations(pool(k), (), x)[:, :3].tolist() == [
        [int(i == j == chosen) for i in range(3)] for j in range(3)
    ]


def test_symbols_give_polynomials():
    v, b, u, c, x = sp.symbols("v b u c x", positive=True)
    (value,) = forward(chain(), (v, b, u, c), (x,))
    assert sp.expand(value - (u * (v * x + b) + c)) == 0
    assert list(lifting(chain(), (v, b, u, c))) == [c, b * u, v * u]


def test_symbols_without_a_sign_are_not_guessed():
    v, b, u, c, x = sp.symbols("v b u c x", real=True)
    with pytest.raises(TypeError):
        forward(chain(), (v, b, u, c), (x,))


def test_parallel_edges_are_different_paths():
    double = Dag((Neuron("input"), Neuron("id", (Edge(0, 0), Edge(0, 1, -1)))), (1,), ("a", "b"))
    assert lifting(double, (5, 2)).tolist() == [5, -2]
    assert forward(double, (5, 2), [1]) == [3]


def test_incidence_is_the_support_of_the_derivative():
    dag = example_dag()
    symbols = sp.symbols(f"t:{len(dag.names)}", positive=True)
    phi = lifting(dag, symbols)
    support = [[int(sp.diff(p, t) != 0) for t in symbols] for p in phi]
    assert np.array_equal(incidence(dag), support)


@pytest.mark.parametrize("seed", range(30))
def test_the_network_is_the_lifting_weighed_by_the_activations(seed):
    dag = random_dag(torch.Generator().manual_seed(seed), hidden=6)
    rng = np.random.default_rng(seed)
    for _ in range(20):  # small whole numbers: ties and zeros are common
        theta = [Fraction(int(n), 2) for n in rng.integers(-4, 5, len(dag.names))]
        x = [Fraction(int(n)) for n in rng.integers(-2, 3, len(dag.inputs))]
        terms = lifting(dag, theta) * (activations(dag, theta, x) @ np.array([*x, 1], dtype=object))
        sums = [sum(terms[ends(dag) == o]) for o in range(len(dag.outputs))]
        assert sums == forward(dag, theta, x)


@pytest.mark.parametrize("seed", range(30))
def test_open_gates_on_ones_sum_up_the_lifting(seed):
    dag = random_dag(torch.Generator().manual_seed(seed), hidden=6)
    theta = [Fraction(i + 1, 3) for i in range(len(dag.names))]
    ones = [1] * len(dag.inputs)
    assert sum(forward(opened(dag), theta, ones)) == sum(lifting(dag, theta))


def test_lists_over_paths_have_one_order():
    dag = example_dag()
    theta = [Fraction(i + 2) for i in range(len(dag.names))]
    found, phi = paths(dag), lifting(dag, theta)
    assert len(found) == len(phi) == count(dag) == len(ends(dag)) == len(incidence(dag))
    for path, value, row, end in zip(found, phi, incidence(dag), ends(dag), strict=True):
        assert value == np.prod([theta[i] for i in path.parameters])
        assert set(np.flatnonzero(row)) == set(path.parameters)
        assert path.neurons[-1] == dag.outputs[end]


def test_starts_are_in_their_columns():
    dag = example_dag()
    theta, x = [1.0] * len(dag.names), [1.0] * len(dag.inputs)
    rows = activations(opened(dag), theta, x)  # all gates open: each row is the start of its path
    for path, row in zip(paths(dag), rows, strict=True):
        column = len(dag.inputs) if path.biased else dag.inputs.index(path.neurons[0])
        assert row.tolist() == np.eye(len(dag.inputs) + 1, dtype=int)[column].tolist()


@pytest.mark.parametrize("function", [paths, incidence, ends])
def test_enumeration_has_a_limit(function):
    with pytest.raises(TooManyPaths, match=r"3 paths.*limit of 2"):
        function(chain(), limit=2)


def test_large_networks_are_not_unrolled():
    with pytest.raises(TooManyPaths, match="path_norm"):
        unroll(nn.Sequential(nn.Conv2d(3, 64, 3)), (3, 64, 64))
    with pytest.raises(TooManyPaths, match="limit"):
        path_lifting(cnn(), (1, 4, 4), limit=4225)


# --- from models ------------------------------------------------------------------------------


def test_an_unrolled_model_names_its_parameters():
    graph, theta = unroll(mlp(), (3,))
    model = dict(mlp().named_parameters())
    assert graph.names[:3] == ("0.weight[0, 0]", "0.weight[0, 1]", "0.weight[0, 2]")
    assert theta[graph.names.index("2.bias[1]")] == model["2.bias"][1].item()
    assert [n for n in unroll(cnn(), (1, 4, 4))[0].names if n.startswith("1.")] == [
        *("1.scale[0]", "1.scale[1]", "1.shift[0]", "1.shift[1]"),
    ]


def test_values_on_the_way_are_those_of_the_model():
    model, x = cnn(), torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 4, 4)
    graph, theta = unroll(model, (1, 4, 4))
    values, _ = evaluate(graph, theta, x.flatten().tolist())
    start = 16
    for layer in list(model)[:4]:
        x = layer(x if x.dim() == 4 else x[None])
        stop = start + x.numel()
        assert values[start:stop] == pytest.approx(x.flatten().tolist(), rel=1e-12, abs=1e-12)
        start = stop


def test_ties_in_a_max_pooling_go_to_the_same_entry_as_in_torch():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.MaxPool2d(2)).double().eval()
    nn.init.ones_(model[0].weight)
    x = torch.tensor([[[1.0, 2.0], [2.0, 2.0]]], dtype=torch.float64)
    _, index = nn.functional.max_pool2d(x, 2, return_indices=True)
    (row,) = np.flatnonzero(path_activations(model, x).sum(1))
    assert path_activations(model, x)[row].argmax() == index.item() == 1


def test_unused_parameters_are_in_no_path():
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x):
            return self.a(x)

    graph, _ = unroll(Skips().double(), (2,))
    assert not any(name.startswith("b.") for name in graph.names)
    assert count(graph) == 3
