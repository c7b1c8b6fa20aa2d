"""What batching and pattern sets save, as ratios of times in one run.

    python -m lib.maxpool.benchmark --seeds 64 --dimension 8

The first layer of Algorithm 1 at the theorem's own hyper-parameters, for all seeds at once, against
two loops over the seeds: by the same code, and by automatic differentiation of the network on its
patches.  Then one forward pass over patches against one over pattern sets, and the time of the
live Figure 3a.  Fastest of the repetitions, in rounds, so that a slow spell falls on all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lib.maxpool.curves import pattern_curves
from lib.maxpool.dynamics import (
    Halves,
    Hyperparameters,
    first_layer,
    halves,
    hyperparameters,
    initial_network,
)
from lib.maxpool.network import MaxPoolNet
from lib.maxpool.subsets import codes, outputs, ranking
from lib.maxpool.task import PatternTask, Sample

FIGURE = PatternTask(20, 20, 10), (10, 50, 100, 200), 5  # task, sizes and repeats of Figure 3a


def plain_descent(x: Tensor, y: Tensor, filters: Tensor, outer: Tensor, hyper: Hyperparameters):
    """The filters after the first layer, as one would write it: autograd on all patches."""
    for _ in range(hyper.steps):
        filters = filters.detach().requires_grad_()
        loss = softplus(-y * MaxPoolNet(filters, outer)(x)).mean(-1).sum()
        filters = filters - hyper.rate * torch.autograd.grad(loss, filters)[0]
    return filters.detach()


def last_filters(task: PatternTask, half: Halves, network: tuple, hyper: Hyperparameters) -> Tensor:
    """The same by pattern sets."""
    *_, state = first_layer(task, half, *network, hyper)
    return state.filters


def first_layers(dimension: int, seeds: int, device: str) -> dict[str, Callable]:
    """The first layer for all seeds: at once, and one by one in two ways."""
    task, generator = PatternTask(dimension, dimension, 10), torch.Generator().manual_seed(0)
    hyper = hyperparameters(task)
    sample = Sample(*(p.to(device) for p in task.sample(100, generator, copies=seeds)))
    drawn = initial_network(task, hyper, generator, copies=seeds)
    network, half = [part.to(device) for part in drawn], halves(sample)

    def one(seed: int) -> tuple[Halves, list[Tensor]]:
        return Halves(*(part[seed] for part in half)), [part[seed] for part in network]

    def looped() -> list[Tensor]:
        pairs = map(one, range(seeds))
        return [last_filters(task, h, n, hyper) for h, n in pairs]

    def plain() -> list[Tensor]:
        cut = half.first_y.shape[-1]
        pairs = [(sample.x[s, :cut], half.first_y[s], *one(s)[1]) for s in range(seeds)]
        return [plain_descent(*pair, hyper) for pair in pairs]

    names = ("seeds at once", "loop", "loop with autograd")
    batched = lambda: last_filters(task, half, network, hyper)  # noqa: E731
    return dict(zip(names, (batched, looped, plain), strict=True))


def forward_passes(dimension: int, device: str) -> dict[str, Callable]:
    """N on 200 inputs, over their pattern sets and over all patches."""
    task, generator = PatternTask(dimension, dimension, 10), torch.Generator().manual_seed(0)
    sample = Sample(*(part.to(device) for part in task.sample(200, generator)))
    drawn = initial_network(task, hyperparameters(task), generator)
    filters, outer = (part.to(device) for part in drawn)

    def sets() -> Tensor:
        table = outputs(ranking(filters, task.l), outer)
        return table.gather(-1, codes(sample.which))

    return {"pattern sets": sets, "patches": lambda: MaxPoolNet(filters, outer)(sample.x)}


def figure(device: str) -> dict[str, Callable]:
    """Figure 3a, live: three learners, four sizes, five repeats."""
    task, sizes, repeats = FIGURE
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    return {"Figure 3a": lambda: pattern_curves(task, sizes, repeats, draw(), device=device)}


def fastest(calls: dict[str, Callable], repeats: int, device: str) -> dict[str, float]:
    """Seconds of the fastest of each call, in rounds; with several rounds one more warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + (repeats > 1)):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(times[repeats > 1 :]) for name, times in seconds.items()}


def rows(seconds: dict[str, float]) -> list[str]:
    """Each time, and its ratio to the first."""
    base = next(iter(seconds.values()))
    return [f"{n:>20}: {1e3 * s:10.2f} ms, {s / base:7.2f} times" for n, s in seconds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-figure", action="store_true")
    given = parser.parse_args()
    device, d = given.device, given.dimension
    print(f"float64 on {device}, {torch.get_num_threads()} threads")
    print(f"First layer, {given.seeds} seeds, d = {d}:")
    layers = fastest(first_layers(d, given.seeds, device), given.repeats, device)
    print(*rows(layers), f"Forward pass, d = {d}:", sep="\n")
    print(*rows(fastest(forward_passes(d, device), given.repeats, device)), sep="\n")
    if not given.no_figure:
        print("All of Figure 3a, float32:", *rows(fastest(figure(device), 1, device)), sep="\n")


if __name__ == "__main__":
    main()
