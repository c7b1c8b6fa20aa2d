"""The depth study as a sweep: how loose the bounds are, up to deep and wide networks."""

from dataclasses import dataclass

import numpy as np
import torch

from lib.paths.studies import depth_study
from lib.runs.experiment import Arrays, Cell, Experiment, Scale


@dataclass(frozen=True)
class DepthConfig:
    """Which networks; ``ordered`` as in :func:`lib.paths.studies.depth_study`."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    seeds: int
    ordered: bool
    noise: float = 0.1
    inputs: int = 200
    at_once: int = 64
    seed: int = 0
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        for name in ("depths", "widths", "seeds", "inputs", "at_once"):
            value = getattr(self, name)
            if not value or not np.all(np.array(value) >= 1):
                raise ValueError(f"{name} = {value}: choose at least 1")


def small() -> DepthConfig:
    """Both signs of the change, every path enumerated: seconds."""
    return DepthConfig(depths=(2, 3, 4, 5, 6), widths=(4,), seeds=100, ordered=False)


def deep() -> DepthConfig:
    """Depth 64 and width 512, where only the ordered case has an exact metric to compare with."""
    depths, widths = (2, 4, 8, 16, 32, 64), (8, 32, 128, 512)
    return DepthConfig(depths, widths, seeds=20, ordered=True, at_once=10)


def axes(config: DepthConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"depth": config.depths, "width": config.widths}


def run_cell(config: DepthConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Natural logarithms of the observed change and of its bounds, each (seeds,)."""
    entropy = [config.seed, cell["depth"], cell["width"]]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    study = depth_study(
        (cell["depth"],),
        cell["width"],
        config.seeds,
        torch.Generator().manual_seed(seed),
        noise=config.noise,
        ordered=config.ordered,
        log=True,
        inputs=config.inputs,
        at_once=config.at_once,
        dtype=config.dtype,
        device=device,
    )
    names = ("gap", "metric", "three_pass", "norm_bound")
    return {f"log_{name}": getattr(study, name)[0].cpu().numpy() for name in names}


def flops(config: DepthConfig, cell: Cell | None) -> float:
    """Matrix products, the drawing of the weights (some 100 operations each), and the paths."""
    depth, width = (cell["depth"], cell["width"]) if cell else (0, 0)
    layers = depth * width**2 * (4 * config.inputs + 200)
    return float(config.seeds * (layers + (0 if config.ordered else 4 * width ** (depth + 1))))


DEPTH = Experiment(
    name="depth",
    chapter="path-metrics",
    about="Observed change, path-metric and norm bound of random networks, by depth and width.",
    scales={
        "small": Scale(small),
        "paper": Scale(
            deep,
            "Weights only shrink, so that two passes give the path-metric exactly at every depth.",
        ),
    },
    axes=axes,
    run_cell=run_cell,
    flops=flops,
    batch="at_once",
    rtol=1e-8,
)
