"""The pattern task with real images for patterns: four digits in a grid (Figures 3c and 4).

A 5 somewhere makes an input positive, a 3 negative; the three other places hold any other digits.
Patches with the same digit differ from image to image, and are far from orthogonal.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.data import Images
from lib.maxpool.curves import USUAL, Comparison, Curves, checked, compare
from lib.maxpool.task import Sample

POSITIVE, NEGATIVE = 5, 3  # the digits that decide, as in the paper
SIDE = 2  # places along a side of the grid


def grid_sample(
    images: Tensor,
    digits: Tensor,
    m: int,
    generator: torch.Generator,
    *,
    copies: int | None = None,
    decisive: tuple[int, int] = (POSITIVE, NEGATIVE),
) -> Sample:
    """``m`` labelled grids of ``images`` (N, channels, height, width), or ``copies`` such samples.

    ``digits`` (N,) tells what each image shows, and ``decisive`` the digits of the positive and the
    negative grids.  Each patch is an image as a vector; ``which`` (…, m, 4) numbers the images.
    Labels have equal chances; places, and images of the right kind, are uniform and independent.
    All on the CPU.  Raises ValueError when there is no image of some kind, or ``m`` or ``copies``
    is below 1.
    """
    for name, value in (("m", m), ("copies", 1 if copies is None else copies)):
        if value < 1:
            raise ValueError(f"{name} = {value}: choose at least 1")
    positive, negative, rest = kinds(digits, decisive)
    lead = (m,) if copies is None else (copies, m)
    is_positive = torch.randint(2, lead, generator=generator).bool()
    which = chosen(rest, (*lead, SIDE**2), generator)
    own = torch.where(
        is_positive, chosen(positive, lead, generator), chosen(negative, lead, generator)
    )
    place = torch.randint(SIDE**2, (*lead, 1), generator=generator)
    which.scatter_(-1, place, own[..., None])
    return Sample(images.flatten(1)[which], 2 * is_positive.to(images.dtype) - 1, which)


def kinds(digits: Tensor, decisive: tuple[int, int]) -> list[Tensor]:
    """The numbers of the images that are positive, negative and spurious."""
    masks = [digits == digit for digit in decisive]
    found = [mask.nonzero()[:, 0] for mask in (*masks, ~(masks[0] | masks[1]))]
    names = (f"the digit {decisive[0]}", f"the digit {decisive[1]}", "another digit")
    for name, numbers in zip(names, found, strict=True):
        if not len(numbers):
            raise ValueError(f"no image shows {name}: choose other digits, or hold out fewer")
    return found


def chosen(numbers: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform draws of these numbers."""
    return numbers[torch.randint(len(numbers), shape, generator=generator)]


def picture(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Patches (…, 4, D) as one image (…, channels, 2·height, 2·width); ``shape`` is a patch's."""
    channels, height, width = shape
    grid = x.reshape(*x.shape[:-2], SIDE, SIDE, channels, height, width)
    rows = grid.movedim(-3, -5).movedim(-2, -3)  # channels, row, height, column, width
    return rows.reshape(*x.shape[:-2], channels, SIDE * height, SIDE * width)


def grid_curves(
    images: Images,
    sizes: Sequence[int],
    seeds: int,
    generator: torch.Generator,
    *,
    comparison: Comparison = USUAL,
    device: torch.device | str = "cpu",
) -> Curves:
    """Errors of the learners on grids, as :func:`lib.maxpool.curves.pattern_curves`: Figure 3c.

    Training grids are made of training images, test grids of held-out ones.  ``images`` are on the
    CPU, and so is the generator.
    """
    copies = checked(sizes, seeds)
    options = {"generator": generator, "copies": copies}
    training = grid_sample(images.train_x, images.train_y, max(sizes), **options)
    test = grid_sample(images.test_x, images.test_y, comparison.test, **options)
    return compare(training, test, sizes, seeds, generator, comparison, device=device)
