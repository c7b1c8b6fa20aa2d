"""How long kernels take, and how long the same kernels take in neural-tangents.

    python -m lib.ntk.benchmark [--only fcn] [--repeats 15] [--peer python]

Every row is timed in interleaved rounds, so that a slow spell of the machine falls on both sides,
and its ratio is the median over the rounds. `--peer` names a Python in whose environment
neural-tangents 0.6.5 can be imported (python 3.11, jax = jaxlib = 0.4.25, tf2jax 0.3.6,
numpy 1.26.4, scipy 1.12.0): it runs as a second process, compiles first, and is left out without.
Both use the cores this process may use; `taskset -c 0 python -m ...` gives one to each in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import torch

from lib.ntk.cnn import cnn_kernel
from lib.ntk.fcn import fcn_kernel

SIGMA_W2 = 2.0


class Row(NamedTuple):
    """One kernel to time: `inputs` is the shape of x, channels before positions."""

    name: str
    inputs: tuple[int, ...]
    depth: int
    activation: str
    dtype: str
    sigma_b2: float = 0.0
    readout: str | None = None  # of a convolutional network


def fcn_rows(count: int = 1000, features: int = 64, depth: int = 10) -> list[Row]:
    """Fully connected networks, with the depth and number of inputs of the peer's README."""
    cases = [("relu", 0.0), ("relu", 0.05), ("erf", 0.05)]
    return [
        Row("fcn", (count, features), depth, activation, dtype, bias)
        for dtype in ("float64", "float32")
        for activation, bias in cases
    ]


def cnn_rows(count: int = 50, size: int = 8) -> list[Row]:
    """Convolutional networks on small images of three channels, with either read-out."""
    cases = [("gap", 3), ("gap", 10), ("flatten", 10)]
    return [
        Row("cnn", (count, 3, size, size), depth, "relu", dtype, 0.1, readout)
        for dtype in ("float64", "float32")
        for readout, depth in cases
    ]


def gpu_rows(count: int = 128) -> list[Row]:
    """The network of the peer's README: 21 layers, pooled, on images of CIFAR-10's size."""
    return [Row("cnn", (count, 3, 32, 32), 21, "relu", "float32", 0.1, "gap")]


GPU = "cnn-gpu"  # hours on a CPU: only if asked for
ROWS: dict[str, Callable[[], list[Row]]] = {"fcn": fcn_rows, "cnn": cnn_rows, GPU: gpu_rows}


def call(row: Row, device: str) -> Callable[[], object]:
    """What to time on our side."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(row.inputs, generator=generator, dtype=torch.float64)
    x = x.to(device, getattr(torch, row.dtype))
    kind = {"depth": row.depth, "sigma_w2": SIGMA_W2, "sigma_b2": row.sigma_b2}
    kind |= {"activation": row.activation}
    if row.readout is None:
        return lambda: fcn_kernel(x, **kind)
    return lambda: cnn_kernel(x, readout=row.readout, **kind)


PEER = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import jax, numpy
jax.config.update("jax_enable_x64", True)
from neural_tangents import stax
row, sigma_w2 = json.loads(sys.argv[1]), float(sys.argv[2])
act = {"relu": stax.Relu, "erf": stax.Erf}[row["activation"]]
scale = dict(W_std=sigma_w2**0.5, b_std=row["sigma_b2"] ** 0.5 or None)
if row["readout"] is None:
    layers = [stax.Dense(1, **scale)]
    for _ in range(row["depth"]):
        layers += [act(), stax.Dense(1, **scale)]
else:
    window = (3,) * (len(row["inputs"]) - 2)
    layers = []
    for _ in range(row["depth"]):
        layers += [stax.Conv(1, window, padding="CIRCULAR", **scale), act()]
    pool = {"gap": stax.GlobalAvgPool, "flatten": stax.Flatten}[row["readout"]]
    layers += [pool(), stax.Dense(1, **scale)]
kernel = jax.jit(lambda x, f=stax.serial(*layers)[2]: f(x, None, ("nngp", "ntk")))
x = numpy.random.RandomState(0).randn(*row["inputs"])
x = jax.numpy.asarray(numpy.moveaxis(x, 1, -1), dtype=row["dtype"])
jax.block_until_ready(tuple(kernel(x)[:2]))
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    result = kernel(x)
    result.ntk.block_until_ready()
    result.nngp.block_until_ready()
    print(time.perf_counter() - start, flush=True)
"""


@contextlib.contextmanager
def peer(python: str, row: Row) -> Iterator[Callable[[], float]]:
    """A compiled kernel of neural-tangents in a process of its own; calling it gives seconds."""
    command = [python, "-c", PEER, json.dumps(row._asdict()), str(SIGMA_W2)]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True) as process:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{python} cannot run neural-tangents; see the versions above")

        def ask() -> float:
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield ask
        process.stdin.close()


def clocked(run: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def timed(row: Row, device: str, repeats: int, python: str | None) -> tuple[list, list]:
    """Seconds in each round, ours and the peer's; two rounds warm up."""
    run, ours, theirs = call(row, device), [], []
    with peer(python, row) if python else contextlib.nullcontext() as ask:
        for _ in range(repeats + 2):
            ours.append(clocked(run, device))
            if ask:
                theirs.append(ask())
    return ours[2:], theirs[2:]


def described(row: Row, ours: list[float], theirs: list[float]) -> str:
    """One line: the fastest and the median time, and the ratio to the peer."""
    shape = "×".join(map(str, row.inputs))
    kind = f"{row.name} {row.readout or ''}".strip()
    text = f"{kind} {row.activation} σ_b²={row.sigma_b2:g} {shape} depth {row.depth} {row.dtype}"
    text += f": {1e3 * min(ours):.1f} ms (median {1e3 * median(ours):.1f})"
    if not theirs:
        return text
    ratio = median(t / o for t, o in zip(theirs, ours, strict=True))
    return f"{text}; peer {1e3 * min(theirs):.1f} ms, {ratio:.1f} times as long"


def an_entry(row: Row, seconds: float) -> str:
    """The time of an entry on this GPU, and the share of the rate at which it issues."""
    from lib.ntk.gpu import issue_limit  # imports Triton

    found = torch.cuda.get_device_properties(0)
    entries, positions = row.inputs[0] * (row.inputs[0] + 1) / 2, math.prod(row.inputs[2:])
    limit = issue_limit(positions, row.depth, 4 * found.multi_processor_count)
    share = limit * entries / seconds
    return (
        f"    {1e3 * seconds / entries:.3f} ms an entry, {share:.0%} of the issue rate at 1.7 GHz"
    )


def cores() -> int | str:
    """How many this process, and so the peer, may use."""
    own = getattr(os, "sched_getaffinity", None)  # on Linux
    return len(own(0)) if own else f"at most {os.cpu_count()}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(ROWS), action="append")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", help="a Python that can import neural_tangents")
    given = parser.parse_args(arguments)
    print(f"{cores()} cores for each side, {torch.get_num_threads()} threads, {given.device}")
    on_gpu = given.device.startswith("cuda")
    for name in given.only or [name for name in ROWS if on_gpu or name != GPU]:
        for row in ROWS[name]():
            ours, theirs = timed(row, given.device, given.repeats, given.peer)
            print(described(row, ours, theirs), flush=True)
            if name == GPU and on_gpu:
                print(an_entry(row, min(ours)), flush=True)


if __name__ == "__main__":
    main()
