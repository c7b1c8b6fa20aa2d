"""What one tensor program saves against a loop over single runs, as ratios of times.

    python -m lib.teachers.benchmark --seeds 16 --scales 8 --steps 100

All runs together, one by one through the same code, and one by one as one would write a single run
with automatic differentiation; by stochastic descent, by full-batch descent, and by that divided by
the loss, which the chapter's sweeps use.  Fastest of the repetitions, in rounds, so that a slow
spell falls on all.  A loop takes the time of some of its runs, and that of the rest in proportion;
ratios hardly depend on the number of steps.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, softplus

from lib.teachers.network import LeakyNet, initial
from lib.teachers.steps import Descent
from lib.teachers.task import TeacherTask
from lib.teachers.training import train, visits

ALPHA, RATE = 0.1, 1.0
RULES = {
    "Stochastic descent": {"stochastic": True, "normalised": False},
    "Full-batch descent": {"stochastic": False, "normalised": False},
    "Full-batch descent, divided by the loss": {"stochastic": False, "normalised": True},
}
Calls = dict[str, tuple[Callable[[], Tensor], int]]  # with how many runs each one does


def plain_descent(net: LeakyNet, x: Tensor, y: Tensor, steps: int, rule: Descent) -> Tensor:
    """One run, as one would write it: the weights (2, k, d) after training."""
    weights = net.weights.clone().requires_grad_()
    for step in range(steps):
        seen = slice(None) if rule.order is None else rule.order[step : step + 1]
        w, u = leaky_relu(weights @ x[seen].mT, ALPHA).sum(-2)
        loss = softplus(-y[seen] * net.v * (w - u)).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            weights -= rule.rate * (gradient / loss if rule.normalised else gradient)
    return weights.detach()


def calls(
    sizes: Sequence[int],
    steps: int,
    *,
    stochastic: bool,
    normalised: bool,
    some: int,
    device: str = "cpu",
) -> Calls:
    """The three ways, for (seeds, scales, n, d, k); a loop does only ``some`` of the runs."""
    seeds, scales, n, d, k = sizes
    generator = torch.Generator(device).manual_seed(0)
    x, y, _ = TeacherTask(d, n).sample(generator, copies=seeds)
    radii = torch.logspace(-4, 1, scales, dtype=x.dtype, device=device)
    start = initial(k, d, generator, alpha=ALPHA, radius=radii, copies=(seeds, 1))
    order = visits(n, -(-steps // n), generator, copies=(seeds, 1)) if stochastic else None

    def rule(order: Tensor | None) -> Descent:
        return Descent(RATE, normalised=normalised, order=order)

    def at_once() -> Tensor:
        return train(start, x[:, None], y[:, None], steps, rule(order)).weights[-1]

    def one(run: int) -> tuple[LeakyNet, Tensor, Tensor, int, Descent]:
        seed, scale = divmod(run, scales)
        visited = None if order is None else order[seed, 0]
        return LeakyNet(start.weights[seed, scale], ALPHA), x[seed], y[seed], steps, rule(visited)

    def single(run: int) -> Tensor:
        return train(*one(run)).weights[-1]

    def plain(run: int) -> Tensor:
        return plain_descent(*one(run))

    def looped(way: Callable[[int], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.stack([way(run) for run in range(some)])

    return {
        "all runs at once": (at_once, seeds * scales),
        "loop": (looped(single), some),
        "loop with autograd": (looped(plain), some),
    }


def fastest(found: Calls, repeats: int, device: str) -> dict[str, float]:
    """Seconds a run of the fastest of each call, in rounds; one more round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats + 1):
        for name, (call, runs) in found.items():
            start = time.perf_counter()
            call()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - start) / runs)
    return {name: min(times[1:]) for name, times in seconds.items()}


def rows(seconds: dict[str, float], steps: int) -> list[str]:
    """The time of a step of one run, and its ratio to the first."""
    base = next(iter(seconds.values()))
    return [
        f"{name:>20}: {1e6 * s / steps:8.1f} µs a step of a run, {s / base:6.1f} times"
        for name, s in seconds.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    defaults = {"seeds": 16, "scales": 8, "n": 100, "d": 20, "k": 50}
    for name, value in (defaults | {"steps": 100, "some": 16, "repeats": 3}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    sizes = [getattr(given, name) for name in defaults]
    some = min(given.some, given.seeds * given.scales)
    print(f"float64 on {given.device}, {torch.get_num_threads()} threads; {sizes=}")
    for name, rule in RULES.items():
        found = calls(sizes, given.steps, **rule, some=some, device=given.device)
        seconds = fastest(found, given.repeats, given.device)
        print(f"{name}:")
        print(*rows(seconds, given.steps), sep="\n")


if __name__ == "__main__":
    main()
