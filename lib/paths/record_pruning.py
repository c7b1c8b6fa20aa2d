"""The pruning experiment as a sweep: the dense networks first, then each criterion and sparsity."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from lib import nets
from lib.paths import experiments
from lib.paths.experiments import PruningConfig, Setting, State
from lib.paths.masks import CRITERIA
from lib.runs.experiment import Arrays, Cell, Experiment, Scale
from lib.training import Schedule

SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
IMAGES = {"digits": (1, 8), "mnist": (1, 28), "cifar10": (3, 32)}  # channels and side
TOTAL = {"digits": 1797, "mnist": 70_000, "cifar10": 60_000}


def digits_full() -> PruningConfig:
    """The schedule of the paper's code, 90 epochs and back to the fifth, on the bundled digits."""
    schedule = Schedule(epochs=90, batch=128, rate=0.1, weight_decay=1e-3)
    return PruningConfig(schedule, rewind=5, seeds=5, sparsities=SPARSITIES, at_once=5)


def cifar_full() -> PruningConfig:
    """CIFAR-10 and ResNet-18."""
    return PruningConfig.paper(sparsities=SPARSITIES)


def cifar_small() -> PruningConfig:
    """The same pipeline in minutes: a narrow network, two epochs."""
    schedule = Schedule(epochs=2, batch=128, rate=0.1, weight_decay=5e-4, augment=True)
    sizes = {"depth": 0, "widths": (8, 16, 32), "seeds": 2, "at_once": 2}
    return PruningConfig.paper(schedule=schedule, rewind=1, sparsities=(0.2, 0.6), **sizes)


def axes(config: PruningConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all seeds."""
    return {"criterion": CRITERIA, "sparsity": config.sparsities}


@lru_cache(maxsize=1)
def setting(config: PruningConfig, device: str) -> Setting:
    """Kept from cell to cell: reading CIFAR-10 takes longer than a short cell."""
    return experiments.setting(config, device)


def shared(config: PruningConfig, device: str) -> Setting:
    """The images and their order, which the batch in memory does not change."""
    return setting(replace(config, at_once=1), device)


def prepare(config: PruningConfig, device: str) -> Arrays:
    """Train the dense networks and choose the weights that stay."""
    dense = experiments.train_dense(config, shared(config, device))
    arrays = {"dense": dense.accuracy.numpy(), "overlap": dense.overlap.numpy()}
    arrays["weights"] = np.array(dense.masks.shape[-1])
    arrays["masks"] = np.packbits(dense.masks.cpu().numpy(), axis=-1)
    return arrays | packed("early", dense.early) | packed("trained", dense.trained)


def run_cell(config: PruningConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Prune by one criterion to one sparsity and finish, all seeds at once.

    Returns the accuracy right after pruning, (seeds,), and by epoch, (seeds, epochs).
    """
    place = CRITERIA.index(cell["criterion"]), config.sparsities.index(cell["sparsity"])
    bits = np.unpackbits(before["masks"][place], axis=-1, count=int(before["weights"]))
    masks = torch.tensor(bits, dtype=torch.bool, device=device)
    early, trained = (unpacked(name, before, device) for name in ("early", "trained"))
    one_shot, history = experiments.finish(config, shared(config, device), early, trained, masks)
    return {"one_shot": one_shot.numpy(), "history": history.numpy()}


def packed(name: str, states: list[State]) -> Arrays:
    """The states of all seeds as arrays, the seeds along the first axis."""
    keys = states[0]
    return {f"{name}/{k}": torch.stack([s[k] for s in states]).cpu().numpy() for k in keys}


def unpacked(name: str, arrays: Arrays, device: str) -> list[State]:
    """Undo `packed`."""
    tensors = {
        key.removeprefix(f"{name}/"): torch.tensor(array, device=device)
        for key, array in arrays.items()
        if key.startswith(f"{name}/")
    }
    seeds = len(next(iter(tensors.values())))
    return [{key: tensor[s] for key, tensor in tensors.items()} for s in range(seeds)]


def flops(config: PruningConfig, cell: Cell | None) -> float:
    """Three passes' worth for each image of each epoch: forward once, backward twice."""
    epochs = config.schedule.epochs - (config.rewind if cell else 0)
    images = TOTAL[config.data] - config.test
    return 3.0 * 2 * epochs * images * config.seeds * products(config)


@lru_cache
def products(config: PruningConfig) -> int:
    """Multiplications in one forward pass of one network, counted on a model without numbers."""
    channels, side = IMAGES[config.data]
    options = {"in_channels": channels, "classes": 10, "device": "meta"}
    options["generator"] = torch.Generator()
    if config.depth:
        model = nets.resnet(config.depth, width=config.widths[0], stem="cifar", **options)
    else:
        model = nets.small_resnet(widths=config.widths, **options)
    count = 0

    def add(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal count
        count += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(add)
    model.eval()(torch.empty(1, channels, side, side, device="meta"))
    return count


SHARED = {
    "chapter": "path-metrics",
    "axes": axes,
    "prepare": prepare,
    "run_cell": run_cell,
    "kept": ("dense", "overlap", "weights"),
    "flops": flops,
    "batch": "at_once",
    # Training amplifies the last bits: on another machine a few test images fall otherwise.
    "atol": 0.03,
}

DIGITS = Experiment(
    name="pruning-digits",
    about="Accuracy after pruning residual networks on the bundled digits, by three criteria.",
    scales={
        "small": Scale(PruningConfig.small),
        "paper": Scale(
            digits_full,
            "Two CPU cores allow the full schedule on the bundled digits only; CIFAR-10 waits "
            "for a GPU (pruning-cifar10).",
        ),
    },
    **SHARED,
)
CIFAR10 = Experiment(
    name="pruning-cifar10",
    about="Accuracy after pruning ResNet-18 on CIFAR-10, by three criteria; needs the download.",
    scales={"small": Scale(cifar_small), "paper": Scale(cifar_full)},
    **SHARED,
)
