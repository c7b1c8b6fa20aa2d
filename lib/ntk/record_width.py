"""Finite networks against infinite width, as sweeps: kernels, training, the largest step."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib.ntk import flow, steps
from lib.ntk.fcn import fcn_kernel
from lib.ntk.flow import FlowConfig
from lib.ntk.steps import StepConfig
from lib.ntk.tasks import task
from lib.ntk.width import finite_kernels, stream
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

CHAPTER = "ntk-trainability"


# --- kernels


@dataclass(frozen=True)
class WidthConfig:
    """Random networks with ``depth`` nonlinear layers, whose kernels are taken on a few digits.

    ``at_once`` networks are drawn together.  Single precision: its rounding is far below the
    deviations of random networks, and it draws three times as fast.
    """

    widths: tuple[int, ...]
    seeds: int
    activations: tuple[str, ...] = ("erf", "relu")
    depth: int = 3
    sigma_w2: float = 1.5
    sigma_b2: float = 0.05
    images: int = 4
    at_once: int = 8
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for name in ("widths", "seeds", "depth", "images", "at_once"):
            value = getattr(self, name)
            if not value or not np.all(np.array(value) >= 1):
                raise ValueError(f"{name} = {value}: choose at least 1")


def widths_small() -> WidthConfig:
    """To width 2^11: seconds."""
    return WidthConfig(tuple(2**k for k in range(4, 12)), seeds=8)


def widths_full() -> WidthConfig:
    """To width 2^14, a matrix of 268 million weights between two layers."""
    return WidthConfig(tuple(2**k for k in range(4, 15)), seeds=8)


def width_axes(config: WidthConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"activation": config.activations, "width": config.widths}


def width_inputs(config: WidthConfig, device: str) -> Tensor:
    """The images, (images, 64)."""
    options = {"seed": config.seed, "dtype": config.dtype, "device": device}
    return task("digits", config.images, 1, 1, **options).train_x[0]


def width_prepare(config: WidthConfig, device: str) -> Arrays:
    """The kernels of infinite width, (activations, images, images), in float64."""
    x = width_inputs(config, device).double()
    kind = {"sigma_w2": config.sigma_w2, "sigma_b2": config.sigma_b2, "depth": config.depth}
    both = [fcn_kernel(x, activation=name, **kind) for name in config.activations]
    return {
        "nngp_limit": np.stack([pair.nngp.cpu().numpy() for pair in both]),
        "ntk_limit": np.stack([pair.ntk.cpu().numpy() for pair in both]),
    }


def width_cell(config: WidthConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Empirical kernels, each (seeds, images, images)."""
    x = width_inputs(config, device)
    seeds = [stream(config.seed, cell["width"], s) for s in range(config.seeds)]
    kind = {"sigma_w2": config.sigma_w2, "sigma_b2": config.sigma_b2, "depth": config.depth}
    kind["activation"] = cell["activation"]
    groups = [seeds[i : i + config.at_once] for i in range(0, len(seeds), config.at_once)]
    found = [finite_kernels(x, cell["width"], some, **kind) for some in groups]
    return {
        "nngp": torch.cat([pair.nngp for pair in found]).cpu().numpy(),
        "ntk": torch.cat([pair.ntk for pair in found]).cpu().numpy(),
    }


def width_flops(config: WidthConfig, cell: Cell | None) -> float:
    """Drawing each weight twice, some hundred operations, and the products."""
    width = cell["width"] if cell else 0
    return float(config.seeds * config.depth * width**2 * (200 + 4 * config.images))


# --- training


def flows_full() -> FlowConfig:
    """To width 2048 and 512 steps."""
    widths = tuple(2**k for k in range(5, 12))
    return FlowConfig(widths, tuple(2**k for k in range(10)))


def flow_axes(config: FlowConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"width": config.widths}


@lru_cache(maxsize=1)
def flow_setting(config: FlowConfig, device: str) -> flow.Setting:
    """Kept from cell to cell."""
    return flow.setting(config, device)


def flow_prepare(config: FlowConfig, device: str) -> Arrays:
    """The closed form at infinite width: outputs (times, images + test) by steps and by flow."""
    known = flow_setting(config, device)
    arrays = {}
    for kind in ("steps", "flow"):
        outputs = flow.closed_form(known.limit, known, config.times, flow=kind == "flow")
        arrays[f"by_{kind}"] = outputs[..., 0].cpu().numpy()
    return arrays | {"labels": known.y[:, 0].cpu().numpy(), "eta": np.array(known.eta)}


def flow_cell(config: FlowConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The arrays of :class:`lib.ntk.flow.FlowStudy`."""
    found = flow.flow_study(config, cell["width"], flow_setting(config, device))
    return {name: array.cpu().numpy() for name, array in vars(found).items()}


def flow_flops(config: FlowConfig, cell: Cell | None) -> float:
    """The training."""
    width = cell["width"] if cell else 0
    weights = (config.depth - 1) * width**2 + 65 * width
    return 6.0 * weights * config.images * max(config.times) * config.seeds


# --- the largest step


def steps_full() -> StepConfig:
    """Three phases to depth 8."""
    return StepConfig(depths=(1, 2, 4, 8), sigma_w2=(1.0, 1.3758390073466804, 2.0))


def step_axes(config: StepConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all ratios and seeds."""
    return {"sigma_w2": config.sigma_w2, "depth": config.depths}


def step_cell(config: StepConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The arrays of :class:`lib.ntk.steps.StepStudy`."""
    found = steps.step_study(config, cell["depth"], cell["sigma_w2"], device)
    return {name: array.cpu().numpy() for name, array in vars(found).items()}


def step_flops(config: StepConfig, cell: Cell | None) -> float:
    """The training."""
    weights = ((cell["depth"] - 1) if cell else 0) * config.width**2 + 65 * config.width
    networks = len(steps.SCALES) * len(config.ratios) * config.seeds
    return 6.0 * weights * config.images * config.steps * networks


EXPERIMENTS = (
    Experiment(
        name="kernel-width",
        chapter=CHAPTER,
        about="Kernels of random finite networks against those of infinite width, by width.",
        scales={
            "small": Scale(widths_small),
            "paper": Scale(widths_full, "The weights are single precision, drawn block by block."),
        },
        axes=width_axes,
        prepare=width_prepare,
        kept=("nngp_limit", "ntk_limit"),
        run_cell=width_cell,
        flops=width_flops,
        batch="at_once",
        rtol=1e-4,
    ),
    Experiment(
        name="gradient-flow",
        chapter=CHAPTER,
        about="Trained networks of growing width against the closed form of kernel training.",
        scales={"small": Scale(FlowConfig.small), "paper": Scale(flows_full)},
        axes=flow_axes,
        prepare=flow_prepare,
        kept=("by_steps", "by_flow", "labels", "eta"),
        run_cell=flow_cell,
        flops=flow_flops,
        rtol=1e-6,
        atol=1e-9,
    ),
    Experiment(
        name="largest-step",
        chapter=CHAPTER,
        about="Growth of the residual at steps around 2 / lambda_max, by phase and depth.",
        scales={"small": Scale(StepConfig.small), "paper": Scale(steps_full)},
        axes=step_axes,
        run_cell=step_cell,
        flops=step_flops,
        rtol=1e-3,
        atol=1e-6,
    ),
)
