"""Pruning by path-magnitude, at any scale with one code path.

The protocol is that of the code of Gonon et al. (arXiv 2405.15006): train, prune convolution and
linear weights once, rewind what is left to an early epoch, finish training.  All random seeds
train at once as one grouped network, and so do all pruned copies: (criterion, sparsity, seed) are
axes of a tensor, not loops.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import data, nets, training
from lib.data import Images
from lib.paths.masks import CRITERIA, Masks, criteria, kept, overlap, parameter_masks
from lib.training import Schedule

LOADERS = {"digits": data.digits, "mnist": data.mnist, "cifar10": data.cifar10}

State = dict[str, Tensor]


@dataclass(frozen=True)
class PruningConfig:
    """Sizes and seeds of the experiment; :meth:`small` and :meth:`paper` are the two in use.

    ``depth`` 0 is the small residual network with the given ``widths``; otherwise the ResNet of
    that depth with first width ``widths[0]``.  ``rewind`` is the epoch to go back to, ``factors``
    are those of the random rescaling, and ``at_once`` copies finish training together.
    """

    schedule: Schedule
    rewind: int
    data: str = "digits"
    folder: str | None = field(default=None, metadata={"local": True})  # of downloads
    test: int = 360
    depth: int = 0
    widths: tuple[int, ...] = (8, 16)
    seeds: int = 4
    sparsities: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8)
    factors: tuple[float, ...] = (1, 128, 4096)
    at_once: int = 60
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        last = self.schedule.epochs - 1
        if self.data not in LOADERS:
            raise ValueError(f"data = {self.data!r}: choose one of {sorted(LOADERS)}")
        if not 0 <= self.rewind <= last:
            raise ValueError(f"rewind = {self.rewind}: choose an epoch from 0 to {last}")
        for name in ("seeds", "at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least 1")
        if not self.sparsities or not all(0 < s < 1 for s in self.sparsities):
            raise ValueError(f"sparsities = {self.sparsities}: choose shares between 0 and 1")
        if not self.factors or not all(f > 0 for f in self.factors):
            raise ValueError(f"factors = {self.factors}: choose positive numbers, best powers of 2")

    @classmethod
    def small(cls, **changes: object) -> "PruningConfig":
        """Digits and a network of 4,968 weights: seconds on one core."""
        schedule = Schedule(epochs=4, batch=32, rate=0.1, weight_decay=1e-3)
        return cls(**{"schedule": schedule, "rewind": 1} | changes)

    @classmethod
    def paper(cls, **changes: object) -> "PruningConfig":
        """CIFAR-10 and ResNet-18, for a GPU.  (The paper has ImageNet, 90 epochs, rewind 5.)"""
        schedule = Schedule(epochs=90, batch=128, rate=0.1, weight_decay=5e-4, augment=True)
        sizes = {"data": "cifar10", "test": 10_000, "depth": 18, "widths": (64,), "seeds": 3}
        return cls(**{"schedule": schedule, "rewind": 5, "at_once": 5} | sizes | changes)


class PruningResult(NamedTuple):
    """What came out; accuracies are shares of the held-out images, float64 on the CPU.

    ``dense`` (seeds,): the networks before pruning.  ``one_shot`` (criteria, sparsities, seeds):
    right after pruning.  ``history`` (criteria, sparsities, seeds, epochs): after each epoch from
    the rewind on.  ``overlap`` (2, sparsities, seeds): of the weights that path-magnitude, and
    magnitude, prune, the share that the same criterion still prunes after the rescaling.
    ``weights``: how many there are to prune in one network.  ``trained``: the state of each dense
    network, for one without copies.
    """

    criteria: tuple[str, ...]
    sparsities: tuple[float, ...]
    dense: Tensor
    one_shot: Tensor
    history: Tensor
    overlap: Tensor
    weights: int
    trained: tuple[State, ...]

    @property
    def accuracy(self) -> Tensor:
        """Accuracy at the end: (criteria, sparsities, seeds)."""
        return self.history[..., -1]


class Setting(NamedTuple):
    """What all networks share; of the ``generator``, who draws takes a copy."""

    images: Images
    order: Tensor
    generator: torch.Generator


class Dense(NamedTuple):
    """The networks before pruning, and what to prune.

    ``accuracy`` (seeds,) at the end; ``early`` and ``trained`` the states at the rewind and at the
    end, one for each seed; ``masks`` (criteria, sparsities, seeds, weights) bool, true for what
    stays; ``overlap`` as in :class:`PruningResult`.
    """

    accuracy: Tensor
    early: list[State]
    trained: list[State]
    masks: Tensor
    overlap: Tensor


def pruning_experiment(
    config: PruningConfig,
    device: torch.device | str = "cpu",
    progress: Callable[[str], object] = lambda message: None,
) -> PruningResult:
    """Train, prune by each criterion to each sparsity, rewind, finish.

    ``progress`` receives a short message after each epoch.
    """
    shared = setting(config, device)
    dense = train_dense(config, shared, progress)
    copies = dense.masks.flatten(0, 2)
    one_shot, history = finish(config, shared, dense.early, dense.trained, copies, progress)
    return PruningResult(
        criteria=CRITERIA,
        sparsities=config.sparsities,
        dense=dense.accuracy,
        one_shot=one_shot.reshape(dense.masks.shape[:-1]),
        history=history.reshape(*dense.masks.shape[:-1], -1),
        overlap=dense.overlap,
        weights=dense.masks.shape[-1],
        trained=tuple(dense.trained),
    )


def setting(config: PruningConfig, device: torch.device | str) -> Setting:
    """Load the images and draw their order."""
    generator = torch.Generator().manual_seed(config.seed)
    images = _images(config, generator, device)
    order = training.orders(len(images.train_x), config.schedule.epochs, generator).to(device)
    return Setting(images, order, generator)


def train_dense(
    config: PruningConfig,
    shared: Setting,
    progress: Callable[[str], object] = lambda message: None,
) -> Dense:
    """Train all seeds at once, and decide by each criterion which weights stay."""
    generator = torch.Generator()
    generator.set_state(shared.generator.get_state())
    build = partial(network, shared.images, config, generator)
    learn = partial(_learn, shared.images, config, shared.order, progress)

    dense, single = build(config.seeds), build(1)
    learn(dense, range(config.rewind))
    early = nets.split_state(dense, single, config.seeds)
    accuracy = learn(dense, range(config.rewind, config.schedule.epochs))[:, -1]
    trained = nets.split_state(dense, single, config.seeds)

    shape = shared.images.input_shape
    scores = criteria(dense, shape, config.seeds, config.factors, generator)
    keep = {name: kept(score, config.sparsities) for name, score in scores.items()}
    rescaled = [overlap(keep[name], keep[f"{name}, rescaled"]) for name in CRITERIA[:2]]
    masks = torch.stack([keep[name] for name in CRITERIA])
    return Dense(accuracy, early, trained, masks, torch.stack(rescaled))


def finish(
    config: PruningConfig,
    shared: Setting,
    early: list[State],
    trained: list[State],
    masks: Tensor,
    progress: Callable[[str], object] = lambda message: None,
) -> tuple[Tensor, Tensor]:
    """Prune, rewind and finish copies: the accuracy of each right after pruning, and by epoch.

    ``masks`` is (copies, weights), and copy i belongs to seed i modulo their number.
    """
    build = partial(network, shared.images, config, torch.Generator())  # to be overwritten
    epochs = range(config.rewind, config.schedule.epochs)
    test = shared.images.test_x, shared.images.test_y
    one_shot, history = [], []
    for part in torch.arange(len(masks)).split(config.at_once):
        copies = build(len(part))
        held = parameter_masks(copies, masks[part])
        _restore(copies, trained, part)
        training.hold(held)
        one_shot.append(training.accuracy(copies, *test).cpu())
        _restore(copies, early, part)
        history.append(_learn(shared.images, config, shared.order, progress, copies, epochs, held))
    return torch.cat(one_shot), torch.cat(history)


def _images(config: PruningConfig, generator: torch.Generator, device: object) -> Images:
    where = {} if config.data == "digits" else {"folder": config.folder}
    options = {"test": config.test, "dtype": config.dtype, "device": device} | where
    return LOADERS[config.data](generator, **options)


def network(
    images: Images, config: PruningConfig, generator: torch.Generator, copies: int
) -> nn.Module:
    """The config's network, or that many copies of it as one."""
    options = {"classes": images.classes, "in_channels": images.input_shape[0], "copies": copies}
    options |= {"generator": generator, "dtype": config.dtype, "device": images.train_x.device}
    if config.depth:
        return nets.resnet(config.depth, width=config.widths[0], stem="cifar", **options)
    return nets.small_resnet(widths=config.widths, **options)


def _restore(model: nn.Module, states: list[State], part: Tensor) -> None:
    """Load the states of the seeds that the copies in ``part`` belong to; seeds vary fastest."""
    model.load_state_dict(nets.stack_states([states[i % len(states)] for i in part], model))


def _learn(
    images: Images,
    config: PruningConfig,
    order: Tensor,
    progress: Callable[[str], object],
    model: nn.Module,
    epochs: range,
    masks: Masks = (),
) -> Tensor:
    """Train in place over ``epochs``; the accuracy after each: (copies, epochs)."""
    moves = torch.Generator().manual_seed(config.seed)  # the same for all that are compared
    history = []
    x, y = images.train_x, images.train_y
    options = {"epochs": epochs, "masks": masks, "generator": moves}
    for epoch in training.train(model, x, y, config.schedule, order, **options):
        history.append(training.accuracy(model, images.test_x, images.test_y))
        progress(f"{len(history[-1])} copies: epoch {epoch + 1} of {config.schedule.epochs}")
    return torch.stack(history, dim=1).cpu() if history else torch.empty(0)
