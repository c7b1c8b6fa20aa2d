"""Many convolutional networks of finite width in one tensor program: a grouped convolution.

NTK parameterization, circular padding and windows of three by three; the copies share no parameter,
as in :mod:`lib.ntk.copies`, which trains these networks, too.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.ntk import copies
from lib.ntk.copies import Activation, Scales

WINDOW = 3


class Convolutional(NamedTuple):
    """As :class:`lib.ntk.copies.Networks`, where all layers but the last are convolutions.

    ``weights[l]`` (copies, channels out, channels in · window²) and ``biases[l]`` (copies, 1,
    channels out); the read-out's are (copies, outputs, fan_in) and (copies, 1, outputs).
    ``shape``: (channels, height, width) of the images.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    scales: Scales
    activation: Activation
    shape: tuple[int, int, int]
    pooled: bool

    @property
    def parameters(self) -> list[Tensor]:
        """All of them, weights first."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (copies, N, outputs) of flat images (N, features) or (copies, N, features)."""
        count = len(self.weights[0])
        h = x.expand(count, *x.shape[-2:]).unflatten(-1, self.shape).movedim(0, 1).flatten(1, 2)
        *hidden, (weight, bias) = zip(*self.scaled(), strict=True)
        for one, other in hidden:
            h = self.activation(convolved(h, one, other))
        h = h.unflatten(1, (count, -1)).flatten(3).movedim(1, 0)
        h = h.mean(-1) if self.pooled else h.flatten(2)
        return torch.baddbmm(bias, h, weight.mT)

    def scaled(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases, each times its standard deviation."""
        sides = (self.scales.weight / math.sqrt(w.shape[-1]) for w in self.weights)
        weights = [side * w for side, w in zip(sides, self.weights, strict=True)]
        return weights, [self.scales.bias * b for b in self.biases]


def convolved(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each copy's own convolution, around the circle, of (N, copies · channels, height, width)."""
    filters = weight.flatten(0, 1).unflatten(1, (-1, WINDOW, WINDOW))
    h = F.pad(h, [WINDOW // 2] * 4, mode="circular")
    return F.conv2d(h, filters, bias.flatten(), groups=len(weight))


def networks(
    shape: tuple[int, int, int],
    channels: Sequence[int],
    classes: int,
    generators: Sequence[torch.Generator],
    *,
    pooled: bool,
    **kind: object,
) -> Convolutional:
    """Draw one network for each generator, with a convolution to each of ``channels``.

    ``pooled``: the read-out sees the mean over all positions, otherwise all positions.  ``kind``
    and what is refused are those of :func:`lib.ntk.copies.networks`.  Raises ValueError for images
    smaller than the window.
    """
    if min(shape[1:]) < WINDOW:
        raise ValueError(f"shape = {tuple(shape)}: choose images of {WINDOW} by {WINDOW} or more")
    pairs = fans(shape, channels, classes, pooled=pooled)
    layers = [copies.networks(pair, generators, **kind) for pair in pairs]
    return Convolutional(
        [layer.weights[0] for layer in layers],
        [layer.biases[0] for layer in layers],
        layers[0].scales,
        layers[0].activation,
        tuple(shape),
        pooled,
    )


def fans(
    shape: tuple[int, int, int], channels: Sequence[int], classes: int, *, pooled: bool
) -> list[tuple[int, int]]:
    """Of each layer, how many numbers a neuron sees, and how many channels or outputs there are."""
    hidden = [(WINDOW**2 * c, out) for c, out in pairwise((shape[0], *channels))]
    return [*hidden, ((1 if pooled else math.prod(shape[1:])) * channels[-1], classes)]
