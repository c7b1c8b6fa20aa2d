"""How fast the kernels of finite networks approach those of infinite width.

The networks are real ones, each weight drawn; but a matrix of 2^14 by 2^14 weights exists only a
block of rows at a time, and is drawn twice: on the way forward and on the way back.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lib.ntk.copies import Activation, Empirical, Layer, empirical, function, scales

BLOCK = 2**25  # numbers in the block of a matrix that is in memory


def finite_kernels(
    x: Tensor,
    width: int,
    seeds: Sequence[int],
    *,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    activation: str | Activation,
) -> Empirical:
    """Empirical kernels on ``x`` (N, features) of one random network for each seed.

    ``depth`` nonlinear layers of ``width`` neurons, one output, NTK parameterization.  Seeds are
    whole numbers: the same give the same networks, on every device.  Returns kernels of shape
    (seeds, N, N), in the dtype and on the device of ``x``.

    Raises ValueError for depth < 1, width < 1, or an unknown activation.
    """
    if depth < 1 or width < 1:
        raise ValueError(f"depth = {depth}, width = {width}: choose at least 1")
    sizes = [x.shape[-1], *[width] * depth, 1]
    maps = [streamed(x, seeds, place, sizes) for place in range(depth + 1)]
    biases = [
        next(drawn(x, [(s, 2 * place + 1) for s in seeds], [1], size))
        for place, size in enumerate(sizes[1:])
    ]
    both = scales(sigma_w2, sigma_b2, len(seeds), x)
    return empirical(maps, biases, x, both, function(activation))


def streamed(like: Tensor, seeds: Sequence[int], place: int, sizes: Sequence[int]) -> Layer:
    """The random matrix of a layer, drawn again when it is applied again, unless it is small."""
    fan_in, fan_out = sizes[place], sizes[place + 1]
    rows = max(1, BLOCK // (fan_in * len(seeds)))
    heights = [min(rows, fan_out - start) for start in range(0, fan_out, rows)]
    names = [(seed, 2 * place) for seed in seeds]
    held: list[Tensor] = []

    def blocks() -> Iterable[Tensor]:
        if len(heights) > 1:
            return drawn(like, names, heights, fan_in)
        held.extend(() if held else drawn(like, names, heights, fan_in))
        return held

    def forward(h: Tensor) -> Tensor:
        return torch.cat([h @ block.mT for block in blocks()], -1)

    def back(sent: Tensor) -> Tensor:
        parts = zip(sent.split(heights, -1), blocks(), strict=True)
        return sum(part @ block for part, block in parts)

    return Layer(fan_in, forward, back)


def drawn(
    like: Tensor, names: Sequence[tuple[int, int]], heights: Sequence[int], columns: int
) -> Iterator[Tensor]:
    """Standard normal blocks (names, height, columns), each name with its own stream."""
    generators = [torch.Generator().manual_seed(stream(*name)) for name in names]
    for height in heights:
        block = [torch.randn(height, columns, generator=g, dtype=like.dtype) for g in generators]
        yield torch.stack(block).to(like.device)


def stream(*entropy: int) -> int:
    """A seed for the stream of that name: streams of different names are independent."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def deviation(found: Tensor, limit: Tensor) -> Tensor:
    """Root-mean-square over seeds of the relative Frobenius distance between kernels."""
    far = (found - limit).square().sum((-2, -1)) / limit.square().sum((-2, -1))
    return far.mean(-1).sqrt()


def rate(widths: Sequence[int], deviations: Tensor) -> float:
    """The exponent of ``deviations ~ width ** exponent``: a least-squares line in logarithms."""
    x = torch.tensor(widths, dtype=torch.float64).log()
    y = torch.as_tensor(deviations, dtype=torch.float64).log()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())
