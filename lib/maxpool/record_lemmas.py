"""The proof of Theorem 5.1 as a sweep: every inequality at the theorem's own hyper-parameters."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.maxpool.dynamics import (
    Halves,
    Hyperparameters,
    first_layer,
    halves,
    hyperparameters,
    initial_network,
    max_margin_outer,
)
from lib.maxpool.lemmas import class_fractions, count_slacks, lemma_slacks, lottery
from lib.maxpool.margin import (
    exact_risk,
    margin_vector,
    real_complexity,
    support_margin,
    widest,
)
from lib.maxpool.task import PatternTask
from lib.runs.experiment import Arrays, Cell, Experiment, Scale


@dataclass(frozen=True)
class LemmaConfig:
    """Which tasks: l = d patterns for every d of ``dimensions``, ``n`` patches, sizes of sample.

    ``at_once`` bounds the numbers in one tensor, and so the seeds that are in memory together.
    """

    dimensions: tuple[int, ...]
    samples: tuple[int, ...]
    seeds: int
    n: int = 10
    steps: int = 5
    at_once: int = 2**21
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        least = {"dimensions": 3, "samples": 2, "seeds": 1, "n": 2, "steps": 1, "at_once": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if not value or not np.all(np.array(value) >= bound):
                raise ValueError(f"{name} = {value}: choose at least {bound}")


class Drawn(NamedTuple):
    """What is random: samples in halves, filters (copies, k, d), and signs (copies, k)."""

    half: Halves
    start: Tensor
    signs: Tensor


def small() -> LemmaConfig:
    """Seconds."""
    return LemmaConfig(dimensions=(4, 6, 8, 10), samples=(6, 20, 200), seeds=8)


def large() -> LemmaConfig:
    """Up to 64 001 channels, and the dimension of the paper's experiments."""
    dimensions = (4, 6, 8, 10, 12, 14, 16, 18, 20)
    return LemmaConfig(dimensions, samples=(6, 10, 20, 50, 200), seeds=32)


def axes(config: LemmaConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"dimension": config.dimensions, "m": config.samples}


def settings(config: LemmaConfig, cell: Cell) -> tuple[PatternTask, Hyperparameters]:
    """The task of a cell, and the hyper-parameters of the theorem for it."""
    task = PatternTask(cell["dimension"], cell["dimension"], config.n)
    return task, hyperparameters(task, steps=config.steps)


def drawn(config: LemmaConfig, cell: Cell, seeds: range, device: str) -> Drawn:
    """Samples and initial networks; each seed has a random stream of its own, on the CPU."""
    task, hyper = settings(config, cell)
    runs = []
    for seed in seeds:
        entropy = [config.seed, cell["dimension"], cell["m"], seed]
        state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        generator = torch.Generator().manual_seed(state)
        sample = task.sample(cell["m"], generator, dtype=config.dtype)
        network = initial_network(task, hyper, generator, dtype=config.dtype)
        runs.append([*halves(sample), *network])
    *half, start, signs = (torch.stack(part).to(device) for part in zip(*runs, strict=True))
    return Drawn(Halves(*half), start, signs)


def measured(config: LemmaConfig, cell: Cell, seeds: range, device: str) -> dict[str, Tensor]:
    """Slacks (steps + 1, copies), and of the result (copies,) or (copies, 2).

    Those called untrained are of a second layer on the initial filters: random features.
    """
    (task, hyper), runs = settings(config, cell), drawn(config, cell, seeds, device)
    slacks, fixed = [], (task, *runs)
    for state in first_layer(task, runs.half, runs.start, runs.signs, hyper):
        slacks.append(lemma_slacks(*fixed, state, hyper))
    tickets = lottery(task, runs.start, runs.signs)
    vector = margin_vector(tickets, hyper, task.l).to(config.dtype)
    result = {
        "lucky": torch.stack([side.sum(-1) for side in tickets], -1),
        "count_slack": count_slacks(task, tickets),
        "fractions": class_fractions(runs.half),
        "proof_margin": support_margin(task, state.filters, vector),
        "proof_complexity": vector.square().sum(-1) * widest(task, state.filters),
    }
    for suffix, filters in (("", state.filters), ("_untrained", runs.start)):
        outer = max_margin_outer(task, filters, runs.half)
        result[f"risk{suffix}"] = exact_risk(task, filters, outer)
        result[f"complexity{suffix}"] = real_complexity(task, filters, outer)
    return {f"slack_{n}": torch.stack([s[n] for s in slacks]) for n in slacks[0]} | result


def run_cell(config: LemmaConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Per seed what :func:`measured` says of results; slacks (steps + 1,) as minima over seeds.

    Only those seeds count for slacks, except for that of the class fractions, where each class is
    at least 1/3 of S_1: Lemma 5.3 supposes it.  ``supposed`` (seeds,) says which.
    """
    task, hyper = settings(config, cell)
    group = max(1, config.at_once // max(2**task.l, hyper.k * task.l))
    starts = range(0, config.seeds, group)
    parts = [measured(config, cell, range(s, min(s + group, config.seeds)), device) for s in starts]
    merged = {
        name: torch.cat([p[name] for p in parts], dim=1 if name.startswith("slack_") else 0)
        for name in parts[0]
    }
    supposed = merged["slack_fractions"][0] >= 0
    for name, slack in merged.items():
        if name.startswith("slack_"):
            counted = torch.ones_like(supposed) if name == "slack_fractions" else supposed
            merged[name] = torch.where(counted, slack, torch.inf).amin(-1)
    return {name: part.cpu().numpy() for name, part in (merged | {"supposed": supposed}).items()}


def flops(config: LemmaConfig, cell: Cell | None) -> float:
    """Sorting (some 300 operations a number), tables, and the inner products of the features."""
    d, m = (cell["dimension"], cell["m"]) if cell else (0, 0)
    k = 8 * d**3 + 1
    step = 300.0 * k * d + 4 * d * 2**d
    return config.seeds * ((config.steps + 7) * step + k * m * (m + 2 * d))


LEMMAS = Experiment(
    name="lemmas",
    chapter="max-pooling",
    about="Every inequality of the proof, and the true margin and error, by dimension and sample.",
    scales={
        "small": Scale(small),
        "paper": Scale(large, "All at the hyper-parameters of Theorem 5.1, with l = d."),
    },
    axes=axes,
    run_cell=run_cell,
    flops=flops,
    batch="at_once",
    rtol=1e-6,
    atol=1e-9,
)
