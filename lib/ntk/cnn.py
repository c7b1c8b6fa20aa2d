"""Kernels of infinitely wide convolutional networks with circular padding, streamed over pairs.

The network is (convolution, activation) × depth, a read-out, and one dense layer, in the NTK
parameterization. With A the average over the window along the diagonal,
(A M)_αα' = mean_β M_{α+β,α'+β}, the recursion on pairs of positions is

    K^1 = σ_w² A[x xᵀ/C] + σ_b² = Θ^1
    K^{l+1} = A[σ_w² T(K^l) + σ_b²],  Θ^{l+1} = K^{l+1} + σ_w² A[Ṫ(K^l) ⊙ Θ^l]

(companion; setting of Xiao, Pennington & Schoenholz 2020). Flattening reads the mean over α = α',
global average pooling the mean over all pairs of positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import combinations_with_replacement, pairwise, product
from os import PathLike

import torch
from torch import Tensor
from tqdm import tqdm

from lib.ntk.blocks import BUFFERS, Network, block, halved, side
from lib.ntk.checkpoint import fingerprint, kept
from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch
from lib.ntk.fused import fused
from lib.ntk.kernels import Kernels, check_depth, check_variances
from lib.parallel import results

READOUTS = ("flatten", "gap")
WORKSPACE = {"cpu": 16 << 20, "cuda": 2 << 30}  # bytes: near the cache's size; what fills a GPU
WORTH = 1 << 16  # elements of a tile, from which on operations take longer than calling them
PATIENCE = 5.0  # seconds before a bar shows on a terminal


@torch.no_grad()
def cnn_kernel(
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    activation: str | Callable[[Tensor], Tensor],
    readout: str = "flatten",
    window: int = 3,
    path: str | PathLike | None = None,
    progress: bool | None = None,
    workspace: int | None = None,
) -> Kernels:
    """NNGP and NTK of (Conv, activation) × depth, flatten or global average pooling, Dense.

    Args:
        x1: images (N1, C, L) or (N1, C, H, W), float32 or float64, on any device.
        x2: images (N2, C, ...) of the same kind; None means x1, and costs half.
        depth: number of nonlinear layers, ≥ 0.
        sigma_w2, sigma_b2: variances of weights (> 0) and biases (≥ 0).
        activation: "relu", "erf", "tanh", "gelu", or a function, by quadrature.
        readout: "flatten", which costs P positions a pair, or "gap", which costs P².
        window: odd width of the convolution along every axis, at most the image's.
        path: a file for what is computed so far, written every half minute and at an interrupt;
            the same call resumes there. The file of another kernel is refused.
        progress: show a bar; None shows one on a terminal after a few seconds.
        workspace: bytes of scratch memory; besides the images and the result there is little else.

    Returns:
        ``Kernels(nngp, ntk)``, each (N1, N2), of the dtype and on the device of the images. Equal
        and nearly equal patches keep their distance at every depth: gaps are propagated, not
        covariances. No gradient flows through them. Where a variance overflows they are inf or NaN.

    Raises:
        ValueError, TypeError: the message names the argument and the remedy.
    """
    net = Network(depth, sigma_w2, sigma_b2, fused(activation), readout, window)
    check(net, x1, x2)
    size = WORKSPACE["cuda" if x1.is_cuda else "cpu"] if workspace is None else workspace
    if not size >= 1:
        raise OutOfRange(f"workspace = {workspace}; give a positive number of bytes")
    blank = x1.new_full((2, len(x1), len(x1 if x2 is None else x2)), math.nan)
    probe = net.activation.record.function(torch.linspace(-3, 3, 61, dtype=torch.float64))
    key = fingerprint(depth, float(sigma_w2), float(sigma_b2), probe, readout, window, x1, x2)
    bar = tqdm(
        total=blank[0].numel(),
        desc="cnn_kernel",
        unit="entry",
        disable=None if progress is None else not progress,
        delay=PATIENCE if progress is None else 0,
    )
    with bar, kept(path, key, blank) as (entries, tick):
        bar.update(int((~entries.isnan().any(0)).sum()))
        for found in stream(net, x1, x2, entries, size):
            bar.update(found)
            tick()
    return Kernels(*entries)


def stream(
    net: Network, x1: Tensor, x2: Tensor | None, entries: Tensor, workspace: int
) -> Iterator[int]:
    """Fill in the entries that are NaN, tile by tile; yields how many they were."""
    threads = 1 if x1.is_cuda else torch.get_num_threads()
    elements = workspace // (threads * BUFFERS * x1.element_size())  # of a block

    def work(item: tuple[slice, slice]) -> tuple[slice, slice, Tensor]:
        rows, columns = item
        other = None if x2 is None and rows == columns else (x1 if x2 is None else x2)[columns]
        return rows, columns, tile(net, x1[rows], other, elements)

    width = tile_width(net, x1, elements, threads)
    todo = missing(entries, spans(len(x1), width), None if x2 is None else spans(len(x2), width))
    for rows, columns, values in results(work, todo, threads):
        entries[:, rows, columns] = values
        if x2 is None:
            entries[:, columns, rows] = values.mT
        yield values[0].numel() * (1 if x2 is not None or rows == columns else 2)


def tile_width(net: Network, x: Tensor, elements: int, threads: int) -> int:
    """Images on a side: few enough for the memory and for all threads, but worth the overhead."""
    positions = math.prod(x.shape[2:])
    fits = math.isqrt(elements // positions)
    worth = math.isqrt(WORTH // positions ** (1 if net.readout == "flatten" else 2))
    return max(1, min(fits, max(worth, len(x) // math.isqrt(8 * threads))))


def missing(
    entries: Tensor, rows: list[slice], columns: list[slice] | None
) -> list[tuple[slice, slice]]:
    """The tiles with an entry that is NaN; of a symmetric kernel one of each mirrored two."""
    pairs = product(rows, columns) if columns else combinations_with_replacement(rows, 2)
    return [(a, b) for a, b in pairs if bool(entries[:, a, b].isnan().any())]


def spans(total: int, width: int) -> list[slice]:
    """Slices of equal length, or nearly, and at most ``width``."""
    pieces = -(-total // width)
    edges = [total * k // pieces for k in range(pieces + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


@torch.no_grad()
def tile(net: Network, x1: Tensor, x2: Tensor | None, elements: int) -> Tensor:
    """NNGP and NTK, (2, i, j), in blocks of about so many elements; x2 = None means x1."""
    left = side(x1, net)
    right = left if x2 is None else side(x2, net)
    offsets, weights = chosen(net.readout, left.pixels, x2 is None)
    sums_of, count = block_for(net, left.pixels), len(offsets)
    if sums_of is block:
        count = max(1, elements // (left.pixels[0].numel() * right.pixels.shape[-1]))
    sums = sum(
        torch.einsum("sdij,d->sij", sums_of(net, left, right, some), weight)
        for some, weight in zip(offsets.split(count), weights.split(count), strict=True)
    )
    sums = sums + sums.mT if x2 is None else sums
    return read_out(net, sums, left.mean[:, None], right.mean)


def block_for(net: Network, pixels: Tensor) -> Callable[..., Tensor]:
    """`block`, or on a GPU with Triton the one kernel that does the same where it can."""
    if pixels.is_cuda and find_spec("triton"):
        from lib.ntk import gpu

        if gpu.serves(net, pixels):
            return gpu.block
    return block


def chosen(readout: str, pixels: Tensor, mirror: bool) -> tuple[Tensor, Tensor]:
    """The offsets to sum over, and weights that make the sum a mean over positions.

    With ``mirror``, images meet themselves: an offset then stands for its opposite, transposed.
    """
    shape = pixels.shape[1:-1]
    positions = math.prod(shape)
    if mirror:
        offsets, weights = halved(shape, pixels.device)
    else:
        offsets = torch.arange(positions, device=pixels.device)
        weights = torch.ones_like(offsets)
    kept = 1 if readout == "flatten" else positions
    return offsets[:kept], weights[:kept].to(pixels.dtype) / (kept * positions)


def read_out(net: Network, mean: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The dense layer: from the means of the gap of σ_w²T and of σ_w²Ṫ⊙Θ."""
    gap, rest = mean
    nngp = net.sigma_w2 * (left + right) / 2 - gap + net.sigma_b2
    return torch.stack((nngp, nngp + rest))


def check(net: Network, x1: Tensor, x2: Tensor | None) -> None:
    """Refuse, by name, what the recursion has no meaning for."""
    check_depth(net.depth)
    check_variances(net.sigma_w2, net.sigma_b2)
    for name in ("sigma_w2", "sigma_b2"):
        if isinstance(value := getattr(net, name), Tensor) and value.ndim:
            raise TypeError(f"{name} has shape {tuple(value.shape)}; cnn_kernel takes one number")
    check_images(x1, x2)
    if net.readout not in READOUTS:
        raise OutOfRange(f"readout = {net.readout!r}; use one of {', '.join(READOUTS)}")
    if not isinstance(net.window, int) or net.window < 1 or net.window % 2 == 0:
        raise OutOfRange(f"window = {net.window!r}; the width of a convolution is odd, and ≥ 1")
    if net.window > min(x1.shape[2:]):
        raise ShapeMismatch(
            f"window = {net.window} is wider than images of {tuple(x1.shape[2:])}; narrow it"
        )


def check_images(x1: Tensor, x2: Tensor | None) -> None:
    """Finite images of one kind, (N, C, L) or (N, C, H, W)."""
    for name, x in (("x1", x1), ("x2", x1 if x2 is None else x2)):
        if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name} must be a float32 or float64 tensor, not {kind}")
        if x.ndim not in (3, 4) or 0 in x.shape:
            shape = tuple(x.shape)
            raise ShapeMismatch(f"{name} has shape {shape}; it needs (N, C, L) or (N, C, H, W)")
        if not bool(torch.isfinite(x).all()):
            raise NotFinite(f"{name} has a NaN or an infinity; clean the images first")
        if (x.shape[1:], x.dtype, x.device) != (x1.shape[1:], x1.dtype, x1.device):
            kinds = [f"{tuple(y.shape)}, {y.dtype} on {y.device}" for y in (x1, x)]
            raise ShapeMismatch(f"x1 is {kinds[0]}, but x2 is {kinds[1]}; only N may differ")
