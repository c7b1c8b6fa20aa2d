"""Stochastic gradient descent, for one network or for many copies of it in one tensor program.

A model returns (N, classes), or (N, copies, classes) for independent copies that share no
parameter (:mod:`lib.nets`).  The loss is the sum over copies, so each copy gets exactly the
gradient it would get alone.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

REACH = 4  # pixels by which the augmentation shifts an image at most


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent with momentum; the rate falls along a cosine to zero.

    ``batch`` counts images; an incomplete last batch of an epoch is dropped.  ``augment`` flips
    and shifts the images at random (by up to 4 pixels).
    """

    epochs: int
    batch: int
    rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    augment: bool = False

    def __post_init__(self) -> None:
        for field, low in (("epochs", 1), ("batch", 2), ("rate", 0), ("weight_decay", 0)):
            if not getattr(self, field) >= low:
                raise ValueError(f"{field} = {getattr(self, field)}: choose at least {low}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum = {self.momentum}: choose a number in [0, 1)")

    def rate_at(self, epoch: float) -> float:
        """Learning rate after ``epoch`` epochs, a real number from 0 to ``epochs``."""
        return self.rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


def orders(images: int, epochs: int, generator: torch.Generator) -> Tensor:
    """Draw one order of the images for each epoch: (epochs, images) int64.

    Drawn once and passed around, it lets a run that resumes, or a pruned copy, see the same
    batches as the run it is compared with.
    """
    draws = [torch.randperm(images, generator=generator) for _ in range(epochs)]
    return torch.stack(draws)


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    order: Tensor,
    *,
    epochs: range | None = None,
    masks: Iterable[tuple[nn.Parameter, Tensor]] = (),
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Train ``model`` in place, and yield each epoch's number when it is done.

    ``epochs`` is the part of the schedule to run (all of it by default); the momentum starts at
    zero.  Each parameter in ``masks`` is multiplied by its mask after every step, so that pruned
    weights stay exactly zero.  ``generator`` draws the augmentation, an epoch at a time: within an
    epoch nothing waits for a GPU.

    Raises ValueError when a batch is larger than the data, or the augmentation has no generator.
    """
    if schedule.batch > len(x):
        raise ValueError(f"batch = {schedule.batch} of {len(x)} images: choose at most {len(x)}")
    if schedule.augment and generator is None:
        raise ValueError("the schedule augments the images: pass generator=torch.Generator()")
    masks, order = list(masks), order.to(x.device)
    hold(masks)
    options = {"momentum": schedule.momentum, "weight_decay": schedule.weight_decay}
    optimiser = torch.optim.SGD(model.parameters(), lr=schedule.rate, **options)
    steps = len(x) // schedule.batch
    for epoch in range(schedule.epochs) if epochs is None else epochs:
        model.train()
        drawn = moves(len(x), generator, device=x.device) if schedule.augment else None
        for step, batch in enumerate(order[epoch].split(schedule.batch)[:steps]):
            optimiser.param_groups[0]["lr"] = schedule.rate_at(epoch + step / steps)
            seen = x[batch] if drawn is None else moved(x[batch], drawn[:, batch])
            optimiser.zero_grad()
            loss(model(seen), y[batch]).backward()
            optimiser.step()
            hold(masks)
        yield epoch


def loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats, averaged over the images and summed over the copies."""
    logits = logits if logits.dim() == 3 else logits[:, None]
    labels = y[:, None].expand(logits.shape[:2])
    return cross_entropy(logits.movedim(1, 2), labels, reduction="sum") / len(y)


@torch.no_grad()
def hold(masks: Iterable[tuple[nn.Parameter, Tensor]]) -> None:
    """Set the masked weights to zero, in place."""
    for parameter, mask in masks:
        parameter.mul_(mask)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch: int = 1000) -> Tensor:
    """Share of the images that each copy classifies rightly, in [0, 1]: shape (copies,)."""
    model.eval()
    guesses = torch.cat([model(some).argmax(-1) for some in x.split(batch)])
    return (guesses.reshape(len(y), -1) == y[:, None]).to(torch.float64).mean(0)


def moves(
    images: int,
    generator: torch.Generator,
    *,
    reach: int = REACH,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw how each image moves: pixels down and right, from -reach to reach, and 1 to mirror it.

    Shape (3, images), int64.  Drawn on the generator's device and sent on in one piece, which
    nothing waits for.
    """
    where = {"generator": generator, "device": generator.device}
    shifts = torch.randint(-reach, reach + 1, (2, images), **where)
    mirror = torch.randint(2, (1, images), **where)
    return torch.cat((shifts, mirror)).to(device, non_blocking=True)


def moved(x: Tensor, moves: Tensor, *, reach: int = REACH) -> Tensor:
    """Shift the images (N, C, H, W) as :func:`moves` says, bringing in zeros, and mirror them."""
    n, _, h, w = x.shape
    down, right, mirror = moves[..., None]
    rows, columns = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    rows = rows + reach - down
    columns = torch.where(mirror.bool(), columns.flip(0), columns) + reach - right
    image = torch.arange(n, device=x.device)[:, None, None]
    channels_last = pad(x, (reach,) * 4).movedim(1, -1)
    return channels_last[image, rows[:, :, None], columns[:, None]].movedim(-1, 1)
