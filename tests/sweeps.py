"""Experiments made to be interrupted, and a runner for them: `python tests/sweeps.py run slow`."""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from lib.runs.cli import main
from lib.runs.experiment import Experiment, Scale

LOG = "SWEEP_LOG"  # names a file that gets a line for each cell that is begun


@dataclass(frozen=True)
class Config:
    """A grid of numbers, and a way for each cell to go wrong."""

    rows: int = 2
    columns: int = 3
    seeds: int = 4
    seed: int = 0
    wait: float = 0.0
    at_once: int = 8
    fits: int = 1000
    fail: int = -1
    die: int = -1
    dtype: torch.dtype = torch.float64


def axes(config):
    return {"row": range(config.rows), "column": range(config.columns)}


def prepare(config, device):
    log("prepare")
    return {"offset": np.array([np.pi]), "unkept": np.zeros(3)}


def run_cell(config, cell, device, before):
    number = cell["row"] * config.columns + cell["column"]
    log(str(number))
    time.sleep(config.wait)
    if config.at_once > config.fits:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    if number == config.fail:
        raise ZeroDivisionError("a cell with a bug")
    if number == config.die:
        os._exit(9)
    generator = torch.Generator().manual_seed(1000 * config.seed + number)
    draws = torch.randn(config.seeds, 50, 50, generator=generator, dtype=config.dtype)
    values = torch.linalg.svdvals(draws) + torch.tensor(before["offset"], dtype=config.dtype)
    return {"values": values.numpy(), "log": (values - 4).clamp(min=0).log().numpy()}


def log(line):
    if path := os.environ.get(LOG):
        with open(path, "a") as file:
            file.write(line + "\n")


def flops(config, cell):
    return 1e9


def experiment(name, **changes):
    def scale():
        return Config(**changes)

    return Experiment(
        name=name,
        chapter="test",
        about="Singular values.",
        scales={"small": Scale(scale), "paper": Scale(scale, "A remark.")},
        axes=axes,
        run_cell=run_cell,
        flops=flops,
        prepare=prepare,
        kept=("offset",),
        batch="at_once",
        rtol=1e-9,
    )


EXPERIMENTS = {
    e.name: e
    for e in (
        experiment("quick"),
        experiment("slow", wait=0.4),
        experiment("large", fits=2),
        experiment("huge", fits=0),
        experiment("buggy", fail=2),
        experiment("deadly", die=2),
    )
}

if __name__ == "__main__":
    sys.exit(main(EXPERIMENTS))
