"""Graphs and networks to try statements on: small enough to list all paths."""

from itertools import pairwise

import torch
from torch import nn

from lib.paths.dag import Dag, Edge, Neuron


def graph(layout: list[tuple[str, tuple[int, ...], bool, int]], outputs: tuple[int, ...]) -> Dag:
    """Build a graph in which each edge and each bias has a parameter of its own.

    ``layout`` lists the neurons in topological order: kind, antecedents, whether there is a bias,
    and k for pooling.
    """
    names: list[str] = []
    neurons = []
    for v, (kind, sources, biased, k) in enumerate(layout):
        edges = tuple(Edge(u, len(names) + i) for i, u in enumerate(sources))
        names += [f"{u}→{v}" for u in sources] + [f"bias {v}"] * biased
        neurons.append(Neuron(kind, edges, len(names) - 1 if biased else None, k))
    return Dag(tuple(neurons), outputs, tuple(names))


def example_dag() -> Dag:
    """Two inputs, two outputs, ReLU, identity, max- and 2-max-pooling neurons, skips, biases."""
    layout = [
        ("input", (), False, 1),
        ("input", (), False, 1),
        ("relu", (0, 1), True, 1),
        ("relu", (0, 1), True, 1),
        ("id", (1, 2), True, 1),
        ("max", (2, 3, 4), False, 1),
        ("max", (0, 3, 4), False, 2),
        ("relu", (2, 5, 6), True, 1),
        ("id", (5, 7), True, 1),
        ("id", (1, 6, 7), False, 1),
    ]
    return graph(layout, (8, 9))


def random_dag(generator: torch.Generator, *, inputs: int = 2, hidden: int = 5) -> Dag:
    """A random graph with one output: each neuron reads one to three earlier ones.

    Hidden neurons are identity, ReLU or k-max-pooling; a neuron that nothing reads feeds the
    output, so that every neuron lies on a path.
    """

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    layout: list[tuple[str, tuple[int, ...], bool, int]] = [("input", (), False, 1)] * inputs
    for v in range(inputs, inputs + hidden):
        order = torch.randperm(v, generator=generator)[: draw(1, min(v, 3) + 1)]
        sources = tuple(sorted(order.tolist()))
        kind = ("id", "relu", "max")[draw(0, 3)]
        k = draw(1, len(sources) + 1) if kind == "max" else 1
        layout.append((kind, sources, kind != "max" and bool(draw(0, 2)), k))
    read = {u for _, sources, _, _ in layout for u in sources}
    last = tuple(v for v in range(inputs, inputs + hidden) if v not in read)
    return graph([*layout, ("id", last, bool(draw(0, 2)), 1)], (inputs + hidden,))


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    """Linear layers between the given widths, with ReLU between them and none at the end."""
    pairs = pairwise(widths)
    return nn.Sequential(*[m for i, o in pairs for m in (nn.Linear(i, o, bias), nn.ReLU())][:-1])


def pooled_network() -> nn.Sequential:
    """Convolution, ReLU, max-pooling, linear, for inputs of shape (1, 4, 4)."""
    head = nn.Flatten(), nn.Linear(8, 2)
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2, stride=1), *head)


def normalised_network() -> nn.Sequential:
    """Convolution, batch normalisation, pooling of both kinds, for inputs of shape (1, 4, 4)."""
    stem = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)
    body = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*stem, *body, nn.Flatten(), nn.Linear(2, 2))


@torch.no_grad()
def normal(model: nn.Module, seed: int) -> nn.Module:
    """Fill the parameters with normal draws, in place; float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for p in model.double().parameters():
        p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model.eval()


@torch.no_grad()
def sines(model: nn.Module) -> nn.Module:
    """Fill parameters and statistics without chance, in place: the k-th parameter is sin(0.7 k).

    A recipe that other programs can follow to the last digit; float64 and evaluation mode.
    """
    k = 1
    for p in model.double().parameters():
        p.copy_(torch.sin(0.7 * torch.arange(k, k + p.numel(), dtype=torch.float64)).view_as(p))
        k += p.numel()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            i = torch.arange(1, m.num_features + 1, dtype=torch.float64)
            m.running_mean.copy_(0.3 * torch.cos(i))
            m.running_var.copy_(1 + 0.5 * torch.sin(i) ** 2)
    return model.eval()
