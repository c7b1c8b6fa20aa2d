"""Classification of images as regression, as the kernel's theory wants it: unit inputs, centred
labels, and several random training sets at once.
"""

from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from lib import data

TILE, SIDE, APART = 64, 32, 3  # pixels


def photographs(generator: torch.Generator, *, test: int, dtype: torch.dtype) -> data.Images:
    """Colour squares of 32 by 32 pixels, cut from two photographs, of a temple and of a flower.

    They come with scikit-learn, so that images of CIFAR-10's size need no network.  The class of a
    square is its photograph.  A photograph is cut into 60 tiles of 64 by 64 pixels, and a tile into
    121 squares, 3 pixels apart, which overlap.  A sixth of the tiles is held out whole, so that no
    test square shares a pixel with a training square; ``test`` squares of them are drawn.  Training
    pixels have mean 0 and deviation 1.

    Raises ValueError for more test squares than are held out.
    """
    whole = torch.stack([torch.tensor(image, dtype=dtype) for image in load_sample_images().images])
    tiles = pieces(whole.movedim(-1, 1), TILE, TILE)
    squares = pieces(tiles.flatten(0, 1), SIDE, APART)
    labels = torch.arange(len(whole)).repeat_interleave(len(squares) // len(whole))
    labels = labels[:, None].expand(squares.shape[:2])
    order = torch.randperm(len(squares), generator=generator)
    held, kept = order.tensor_split([len(order) // 6])
    drawn = torch.randperm(len(held) * squares.shape[1], generator=generator)[:test]
    if len(drawn) < test:
        raise ValueError(f"test = {test}: choose at most the {len(drawn)} squares held out")
    parts = squares[kept], labels[kept], squares[held], labels[held]
    x, y, held_x, held_y = (part.flatten(0, 1) for part in parts)
    mean, size = x.mean(), x.std()
    return data.Images((x - mean) / size, y, (held_x[drawn] - mean) / size, held_y[drawn])


def pieces(x: Tensor, side: int, apart: int) -> Tensor:
    """Squares of images (N, channels, height, width): (N, squares, channels, side, side)."""
    grid = x.unfold(2, side, apart).unfold(3, side, apart)
    return grid.movedim(1, 3).flatten(1, 2)


LOADERS = {"digits": data.digits, "cifar10": data.cifar10, "photographs": photographs}
TOTAL = {"digits": 1797, "cifar10": 60_000, "photographs": 14_520}
SHAPE = {"digits": (1, 8, 8), "cifar10": (3, 32, 32), "photographs": (3, 32, 32)}
CLASSES = {"digits": 10, "cifar10": 10, "photographs": 2}


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


@dataclass(frozen=True)
class Settings:
    """What the studies of accuracy share: the networks, and the images they see.

    Every seed has its own training set of ``images`` images.
    """

    sigma_w2: tuple[float, ...]
    depths: tuple[int, ...]
    _: KW_ONLY
    data: str = "digits"
    images: int = 256
    test: int = 360
    seeds: int = 1
    sigma_b2: float = 0.18
    activation: str = "erf"
    seed: int = 0
    dtype: torch.dtype = torch.float64
    folder: str | None = field(default=None, metadata={"local": True})  # of the data

    def __post_init__(self) -> None:
        if not self.sigma_w2 or not min(self.sigma_w2) > 0:
            raise ValueError(f"sigma_w2 = {self.sigma_w2}: choose positive variances")
        for name in ("images", "test", "seeds"):
            if not (value := getattr(self, name)) or np.min(value) < 1:
                raise ValueError(f"{name} = {value}: choose at least 1")
        if self.data not in LOADERS:
            raise ValueError(f"data = {self.data!r}: choose one of {sorted(LOADERS)}")

    def task(self, device: torch.device | str = "cpu", images: int | None = None) -> Task:
        """The training sets and the test set; kept from cell to cell."""
        return _kept(
            self.data,
            self.images if images is None else images,
            self.test,
            self.seeds,
            seed=self.seed,
            folder=self.folder,
            dtype=self.dtype,
            device=device,
        )


def task(
    name: str,
    images: int,
    test: int,
    seeds: int,
    *,
    seed: int = 0,
    classes: int | None = None,
    folder: str | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Task:
    """Draw training sets of ``images`` images of the data set ``name``, and ``test`` others.

    ``classes`` keeps the first so many classes, by default all.  The labels of a training set are
    not balanced: their mean is not zero.  The draws do not depend on ``device``.

    Raises ValueError for an unknown data set or more images than it has.
    """
    if name not in LOADERS:
        raise ValueError(f"data = {name!r}: choose one of {sorted(LOADERS)}")
    if images < 1 or seeds < 1:
        raise ValueError(f"images = {images}, seeds = {seeds}: choose at least 1")
    if not 0 < test < TOTAL[name]:
        raise ValueError(f"test = {test}: choose at least 1 of the {TOTAL[name]} images, not all")
    generator = torch.Generator().manual_seed(seed)
    options = {"folder": folder} if name == "cifar10" else {}
    classes = classes or CLASSES[name]
    pixels, labels, held_x, held = LOADERS[name](generator, test=test, dtype=dtype, **options)
    few, held_few = labels < classes, held < classes
    pixels, labels, held_x, held = pixels[few], labels[few], held_x[held_few], held[held_few]
    if images > len(labels):
        raise ValueError(f"images = {images}: choose at most the {len(labels)} of {name}")
    chosen = [torch.randperm(len(labels), generator=generator)[:images] for _ in range(seeds)]
    kept = torch.stack(chosen)
    train_x = torch.stack([unit(pixels[some]) for some in chosen])
    parts = train_x, centred(labels[kept], classes, dtype), labels[kept]
    return Task(*(part.to(device) for part in (*parts, unit(held_x), held)))


_kept = lru_cache(maxsize=2)(task)


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
