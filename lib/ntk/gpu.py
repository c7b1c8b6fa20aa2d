"""Blocks of ReLU kernels on a GPU, in one kernel: a map goes through all layers inside a warp.

In the offset layout of `lib.ntk.blocks` every (pair of images, offset) is a recursion of its own on
two maps of H × W numbers, the gap and Θ − K. One operation after another, as in `blocks.block`,
sends both maps through the GPU's memory some twenty times a layer; here they stay in registers.

Layout: a warp of 32 lanes carries one offset, or several of a narrow image. A lane holds one column
of both maps, 2H registers. The window's sum down a column is then between registers, the sum along
a row two shuffles, and per layer and position two numbers are read: the factors ρ at α and at
α + δ. Rows of the second image are stored twice, so that α + δ never wraps around.
The warps of a program, and most programs that run at a time, share a pair of images, whose factors
the nearest cache keeps. Rows are a tuple, unrolled: registers have no index at run time.

The arc-cosine step of `lib.ntk.fused` takes three reciprocal roots and one polynomial q here: with
m = min(E, 1−E), s = √m and p = √(E(1−E)), L = asin s − p is s m q(m), where nothing cancels, and
θ/2 = L + p, or π/2 − L − p if E > ½. Small gaps keep their digits.

Ceiling: compiled for an H100 with H = W = 32, the loop over layers has 53 instructions a position,
128 registers a thread (16 warps on a multiprocessor), and no spills. An entry with average pooling
is positions² × depth × 53/32 warp instructions: 0.041 ms for 21 layers, if every scheduler issues
at every cycle; 45% of that are spent by the reciprocal roots, 50% by shuffles and reads.
"""

# ruff: noqa: N803, RUF005 (Triton's convention for constants; it has no starred tuples)

from __future__ import annotations

import math
import warnings
from functools import cache

import mpmath as mp
import torch
import triton
import triton.language as tl
from torch import Tensor

from lib.ntk import blocks
from lib.ntk.activations import RELU
from lib.ntk.blocks import Network, Side, side
from lib.ntk.fused import fused

WIDEST = 32  # of the images: a column a lane, and a lane's rows in registers
WARPS = 4  # of a program
INSTRUCTIONS = 53  # of a layer for each position, counted in machine code for an H100
TERMS = {torch.float32: 9, torch.float64: 18}  # of the polynomial: errors 6e-9 and 3e-16
TURN, HALF_TURN = tl.constexpr(2 / math.pi), tl.constexpr(math.pi / 2)
TINY = tl.constexpr(1e-30)  # has a reciprocal root


def issue_limit(positions: int, depth: int, schedulers: int = 528, hertz: float = 1.7e9) -> float:
    """Seconds that an entry with average pooling takes if all schedulers, an H100's, issue."""
    return positions**2 * depth * INSTRUCTIONS / 32 / (schedulers * hertz)


@cache
def polynomial(terms: int) -> tuple[float, ...]:
    """Coefficients, lowest power first, of q(m) = (asin √m − √(m(1−m)))/m^{3/2} on [0, ½]."""

    def q(m: mp.mpf) -> mp.mpf:
        root = mp.sqrt(m)
        return (mp.asin(root) - root * mp.sqrt(1 - m)) / (m * root)

    with mp.workdps(40):
        return tuple(float(c) for c in reversed(mp.chebyfit(q, [0, mp.mpf(1) / 2], terms)))


# --- on the GPU: names in capitals are known when it is compiled


@triton.jit
def window_sum(rows, r: tl.constexpr, near, HEIGHT: tl.constexpr, REACH: tl.constexpr):
    """Row r of the sums over the window; ``near`` are the columns beside each column."""
    column = rows[r]
    for o in tl.static_range(1, REACH + 1):
        column = column + rows[(r + o) % HEIGHT] + rows[(r - o) % HEIGHT]
    total = column
    for o in tl.static_range(2 * REACH):
        total = total + tl.gather(column, near[o], 1)
    return total


@triton.jit
def relu_step(gap, rest, here, there, Q: tl.constexpr):
    """The gap of T and Ṫ⊙Θ, both times 2, from the gap and Θ − K; here and there are the ρ."""
    size, spread = 4 * here * there, (here - there) * (here - there)
    gap = gap - spread
    rest = rest + (size / 2 - gap)
    root = tl.math.rsqrt(size)
    e = tl.minimum(tl.maximum(gap * (root * root), 0.0), 1.0)
    small = tl.maximum(tl.minimum(e, 1 - e), TINY)
    large = tl.maximum(e, 1 - e)
    sine = small * tl.math.rsqrt(small)
    product = sine * (large * tl.math.rsqrt(large))
    q = tl.full(e.shape, Q[-1], e.dtype)
    for n in tl.static_range(2, len(Q) + 1):
        q = q * small + Q[len(Q) - n]
    lens = sine * small * q
    half, acute = lens + product, e < 0.5
    slope = tl.where(acute, 1 - TURN * half, TURN * half)  # 1 − θ/π
    lens = tl.where(acute, lens, HALF_TURN - half - product)  # θ/2 − sin(θ)/2
    return (slope * e + lens * (TURN / 2)) * size + spread, rest * slope


@triton.jit
def recursion(
    left, right, offsets, scale, out, count, many, channels, depth,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, LANES: tl.constexpr, GROUP: tl.constexpr,
    REACH: tl.constexpr, Q: tl.constexpr,
):  # fmt: skip
    """A program: GROUP of the `count` offsets of a pair of images, of which `many` are right."""
    groups = tl.cdiv(count, GROUP)
    pair = (tl.program_id(0) // groups).to(tl.int64)
    ids = tl.program_id(0) % groups * GROUP + tl.arange(0, GROUP)
    offset = tl.load(offsets + ids, ids < count, 0)[:, None]
    lane = tl.broadcast_to(tl.arange(0, LANES)[None, :], (GROUP, LANES))
    inside, weight = lane < WIDTH, tl.load(scale)
    near = ()
    for o in tl.static_range(1, REACH + 1):
        near = near + ((lane + o) % WIDTH, (lane + WIDTH - o) % WIDTH)
    x = left + pair // many * (channels + depth) * (HEIGHT * WIDTH) + lane
    y = right + pair % many * (channels + depth) * (2 * HEIGHT * WIDTH)
    y += (lane + offset % WIDTH) % WIDTH + offset // WIDTH * WIDTH

    rest = ()
    for _ in tl.static_range(HEIGHT):
        rest = rest + (tl.zeros((GROUP, LANES), left.dtype.element_ty),)
    gap = rest
    for _ in range(channels):
        sums = ()
        for r in tl.static_range(HEIGHT):
            d = tl.load(x + r * WIDTH, inside, 0.0) - tl.load(y + r * WIDTH, inside, 0.0)
            sums = sums + (gap[r] + d * d / channels,)
        gap = sums
        x, y = x + HEIGHT * WIDTH, y + 2 * HEIGHT * WIDTH

    for _ in range(depth):
        gaps, rests = (), ()
        for r in tl.static_range(HEIGHT):
            g = weight * window_sum(gap, r, near, HEIGHT, REACH)
            t = weight * window_sum(rest, r, near, HEIGHT, REACH)
            here = tl.load(x + r * WIDTH, inside, 1.0)
            g, t = relu_step(g, t, here, tl.load(y + r * WIDTH, inside, 1.0), Q)
            gaps, rests = gaps + (g,), rests + (t,)
        gap, rest = gaps, rests
        x, y = x + HEIGHT * WIDTH, y + 2 * HEIGHT * WIDTH

    g, t = gap[0], rest[0]
    for r in tl.static_range(1, HEIGHT):
        g, t = g + gap[r], t + rest[r]
    out += 2 * (pair * count + ids)
    tl.store(out, tl.sum(tl.where(inside, g, 0.0), 1), ids < count)
    tl.store(out + 1, tl.sum(tl.where(inside, t, 0.0), 1), ids < count)


# --- from the host


def rows(side: Side) -> Tensor:
    """Pixels and factors of each image, (n, C + depth, H, W)."""
    return torch.cat((side.pixels, *side.factors)).movedim(-1, 0).contiguous()


def block(net: Network, left: Side, right: Side, offsets: Tensor) -> Tensor:
    """`lib.ntk.blocks.block`, (2, offsets, i, j), in no memory but the result and a copy or two."""
    (channels, height, width, many), count = right.pixels.shape, len(offsets)
    x, y, scale = rows(left), rows(right), float(net.sigma_w2) / 2
    group = 32 * WARPS // (lanes := triton.next_power_of_2(width))
    out = x.new_empty(len(x), many, count, 2)
    # Triton would round a number to single precision; it does not round a tensor of one.
    weight = x.new_tensor([scale / net.window**2])
    with torch.cuda.device_of(x):
        recursion[(len(x) * many * triton.cdiv(count, group),)](
            *(x, torch.cat((y, y), 2), offsets, weight, out),
            *(count, many, channels, net.depth),
            *(height, width, lanes, group, net.window // 2, polynomial(TERMS[x.dtype])),
            num_warps=WARPS,
            enable_fp_fusion=True,
        )
    return out.mul_(scale).permute(3, 2, 0, 1)


def serves(net: Network, pixels: Tensor) -> bool:
    """Whether `block` is for this network and these pixels (C, *shape, n), and runs here."""
    if net.activation.record is not RELU or pixels.ndim != 4:
        return False
    shape = tuple(pixels.shape[1:3])
    return max(shape) <= WIDEST and runs(pixels.device, pixels.dtype, shape, net.window)


@cache
def runs(device: torch.device, dtype: torch.dtype, shape: tuple[int, int], window: int) -> bool:
    """Whether Triton compiles this here, which takes a C compiler, and gives what PyTorch gives."""
    net = Network(2, 2.0, 0.1, fused("relu"), "gap", window)
    numbers = torch.arange(6 * math.prod(shape), dtype=dtype, device=device)
    images = side(numbers.sin().view(2, 3, *shape), net)
    offsets = torch.arange(min(4, math.prod(shape)), device=device)
    wanted, near = blocks.block(net, images, images, offsets), 1e3 * torch.finfo(dtype).eps
    try:
        found = block(net, images, images, offsets)
        torch.testing.assert_close(found, wanted, rtol=near, atol=near)
    except Exception as problem:  # whatever fails, PyTorch does the same, more slowly
        warnings.warn(f"Triton fails on {device}, so kernels take longer: {problem}", stacklevel=2)
        return False
    return True
