"""How long the sweeps take, in units of the network's own passes.

    python -m lib.paths.benchmark --depth 18 --size 224

Prints medians over interleaved repetitions: a plain forward pass, `path_norm`, a forward and
backward pass for all parameters, and `path_magnitude`. Two rounds warm up, in which the graph is
traced and remembered; all else happens anew in each call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from lib.nets import resnet
from lib.paths import path_magnitude, path_norm


def interleaved(calls: dict[str, Callable], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call, in rounds, so that a slow spell of the machine falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[2:] for name, times in seconds.items()}  # the first two rounds warm up


def calls(depth: int, size: int, device: str, dtype: torch.dtype) -> dict[str, Callable]:
    """The four things to time, for one image of `size`×`size` pixels."""
    generator = torch.Generator().manual_seed(0)
    model = resnet(depth, generator=generator, device=device, dtype=dtype).eval()
    shape = (3, size, size)
    image = torch.ones(1, *shape, device=device, dtype=dtype)

    def forward() -> None:
        with torch.no_grad():
            model(image)

    def backward() -> None:
        torch.autograd.grad(model(image).sum(), list(model.parameters()))

    return {
        "forward": forward,
        "path_norm": lambda: path_norm(model, shape, log=True),
        "forward + backward": backward,
        "path_magnitude": lambda: path_magnitude(model, shape, scale="relative"),
    }


def ratios(seconds: dict[str, list[float]]) -> list[tuple[str, float]]:
    """Median over the rounds of the time of a sweep over the time of its plain counterpart."""
    forward, norm, backward, magnitude = seconds
    return [
        (f"{a} / {b}", median(x / y for x, y in zip(seconds[a], seconds[b], strict=True)))
        for a, b in ((norm, forward), (magnitude, backward))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    given = parser.parse_args()
    todo = calls(given.depth, given.size, given.device, getattr(torch, given.dtype))
    seconds = interleaved(todo, given.repeats, given.device)
    print(f"ResNet-{given.depth}, {given.size} pixels, {given.dtype} on {given.device}")
    for name, times in seconds.items():
        print(f"{name:>20}: {1e3 * median(times):8.1f} ms (fastest {1e3 * min(times):.1f})")
    for name, ratio in ratios(seconds):
        print(f"{name:>35}: {ratio:.2f}")


if __name__ == "__main__":
    main()
