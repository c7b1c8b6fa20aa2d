"""How fast a cell runs: against the arithmetic ceiling of its device, and against one CPU core."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from lib.runs.experiment import Cell, Experiment, label


class Row(NamedTuple):
    """One cell on one device: seconds, and operations a second, its own and the ceiling."""

    cell: Cell
    device: str
    seconds: float
    rate: float
    ceiling: float

    def __str__(self) -> str:
        return (
            f"{self.device}: {label(self.cell)}: {self.seconds:.3g} s, {self.rate:.2g} operations "
            f"a second, {self.rate / self.ceiling:.1%} of the ceiling of {self.ceiling:.2g}"
        )


def benchmark(experiment: Experiment, config: Any, device: str) -> Row:
    """Time the costliest cell, warm; the number of operations is the experiment's estimate."""
    before = experiment.prepare(config, device) if experiment.prepare else {}
    cell = max(experiment.cells(config), key=lambda c: experiment.flops(config, c))

    def run() -> None:
        experiment.run_cell(config, cell, device, before)

    run()
    seconds = fastest(run, device)
    dtype = getattr(config, "dtype", torch.float32)
    rate = experiment.flops(config, cell) / seconds
    return Row(cell, device, seconds, rate, ceiling(device, dtype))


def ceiling(device: str, dtype: torch.dtype, size: int = 2048, repeats: int = 5) -> float:
    """Operations a second of a large matrix product, the best of a few: what the device can do."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(size, size, generator=generator, dtype=torch.float64).to(device, dtype)
    return 2 * size**3 / min(clocked(lambda: a @ a, device) for _ in range(repeats))


def fastest(run: Callable[[], object], device: str, repeats: int = 5, patience: float = 5) -> float:
    """Seconds of the fastest of some runs, no more of them when ``patience`` seconds are over."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < patience:
        times.append(clocked(run, device))
    return min(times)


def clocked(run: Callable[[], object], device: str) -> float:
    """Seconds that ``run`` takes, with all work of the device done before and after."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: str) -> None:
    """Wait for a GPU; a CPU has nothing to wait for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
