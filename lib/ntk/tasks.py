"""Classification of images as regression, as the kernel's theory wants it: unit inputs, centred
labels, and several random training sets at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lib import data

LOADERS = {"digits": data.digits, "cifar10": data.cifar10}
TOTAL = {"digits": 1797, "cifar10": 60_000}
SHAPE = {"digits": (1, 8, 8), "cifar10": (3, 32, 32)}


class Task(NamedTuple):
    """``seeds`` training sets and one test set.

    ``train_x`` (seeds, images, features) and ``test_x`` (test, features): every image is scaled to
    mean square 1.  ``train_y`` (seeds, images, classes): one-hot minus 1 / classes.  ``train`` and
    ``test``: the classes themselves, int64.
    """

    train_x: Tensor
    train_y: Tensor
    train: Tensor
    test_x: Tensor
    test: Tensor

    @property
    def both_x(self) -> Tensor:
        """Training and test images, (seeds, images + test, features)."""
        test = self.test_x.expand(len(self.train_x), *self.test_x.shape)
        return torch.cat([self.train_x, test], 1)


def task(
    name: str,
    images: int,
    test: int,
    seeds: int,
    *,
    seed: int = 0,
    classes: int = 10,
    folder: str | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Task:
    """Draw training sets of ``images`` images of the data set ``name``, and ``test`` others.

    ``classes`` keeps the first so many classes.  The labels of a training set are not balanced:
    their mean is not zero.  The draws do not depend on ``device``.

    Raises ValueError for an unknown data set or more images than it has.
    """
    if name not in LOADERS:
        raise ValueError(f"data = {name!r}: choose one of {sorted(LOADERS)}")
    if images < 1 or seeds < 1 or not 0 < test < TOTAL[name]:
        raise ValueError(f"images = {images}, test = {test}, seeds = {seeds}: choose at least 1")
    generator = torch.Generator().manual_seed(seed)
    options = {"folder": folder} if name != "digits" else {}
    pixels, labels, held_x, held = LOADERS[name](generator, test=test, dtype=dtype, **options)
    few, held_few = labels < classes, held < classes
    pixels, labels, held_x, held = pixels[few], labels[few], held_x[held_few], held[held_few]
    if images > len(labels):
        raise ValueError(f"images = {images}: {name} leaves {len(labels)} to train on")
    chosen = [torch.randperm(len(labels), generator=generator)[:images] for _ in range(seeds)]
    kept = torch.stack(chosen)
    parts = unit(pixels)[kept], centred(labels[kept], classes, dtype), labels[kept]
    return Task(*(part.to(device) for part in (*parts, unit(held_x), held)))


def unit(x: Tensor) -> Tensor:
    """Flatten each image and scale it to mean square 1."""
    x = x.flatten(1)
    return x / x.square().mean(1, keepdim=True).sqrt()


def centred(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """One-hot labels minus 1 / classes, one more axis at the end."""
    return torch.nn.functional.one_hot(labels, classes).to(dtype) - 1 / classes


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of the images, the axis before the last of ``outputs``, whose class is largest."""
    return (outputs.argmax(-1) == labels).to(torch.float64).mean(-1)
