"""Kernels of infinitely wide fully connected networks: NNGP and NTK, at one depth or at many.

The pairs of inputs are cut into blocks that stay in the cache, of which a symmetric kernel needs
half; each block goes through all its layers in place, one block for each thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.activations import Activation, get_activation
from lib.ntk.angles import State
from lib.ntk.errors import OutOfRange
from lib.ntk.kernels import (
    Kernels,
    Scale,
    check_depth,
    check_fraction,
    check_inputs,
    check_variances,
)
from lib.ntk.recursion import Block, Network, Side, finish, side, start, step, tangent_diagonal
from lib.parallel import results

BLOCK = {"cpu": 2**17, "cuda": 2**24}  # entries: near the cache's size; what fills a GPU


class Problem(NamedTuple):
    """A checked call: the network, both sets of inputs, and whether they are the same."""

    net: Network
    left: Side
    right: Side
    symmetric: bool
    keep_prob: float

    @property
    def shape(self) -> torch.Size:
        """Of the kernels: (*grid, N1, N2)."""
        grid = self.left.variances[0].shape[:-1]
        return torch.Size([*grid, self.left.x.shape[-2], self.right.x.shape[-2]])


@torch.no_grad()
def fcn_kernel(
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    depth: int,
    sigma_w2: Scale,
    sigma_b2: Scale,
    activation: str | Callable[[Tensor], Tensor] | Activation,
    keep_prob: float = 1.0,
    residual: bool = False,
    layer_norm: bool = False,
) -> Kernels:
    """NNGP and NTK of Dense, (activation, Dense) × depth, in the NTK parameterization.

    Args:
        x1: inputs (N1, features), float32 or float64, on any device; leading batch dimensions are
            kept, and broadcast against those of the variances.
        x2: inputs (N2, features) of the same dtype and device; None means x1, and costs half.
        depth: number of nonlinear layers, ≥ 0.
        sigma_w2, sigma_b2: variances of weights (> 0) and biases (≥ 0); tensors give one pair of
            kernels for each of their entries.
        activation: "relu", "erf", "tanh", "gelu", a smooth function of tensors, or a record made
            by `lib.ntk.hermite.quadrature`.
        keep_prob: probability in (0, 1] that dropout keeps a unit of the last layer before the
            read-out (1 minus the `p` of `torch.nn.Dropout`). Masks of different inputs are
            independent: only the diagonal of a symmetric kernel changes.
        residual: blocks z + Dense(activation(z)), after the first Dense.
        layer_norm: layer normalization before each activation, of infinite width and without ε.

    Returns:
        Kernels(nngp, ntk), each (*grid, N1, N2). With x2=None they are exactly symmetric. For ReLU
        nearly parallel inputs keep their distance: angles are propagated, not covariances. No
        gradient flows through them. Where a variance overflows they are inf or NaN.

    Raises:
        ValueError, TypeError: before any work; the message names the argument and the remedy.
    """
    check_depth(depth)
    problem = prepare(
        x1, x2, depth, sigma_w2, sigma_b2, activation, keep_prob, residual, layer_norm
    )
    out = empty(problem)

    def work(block: Block) -> None:
        state = start(problem.net, block)
        spare = torch.empty_like(state.first), torch.empty_like(state.first)
        for layer in range(depth):
            state = step(problem.net, block, state, layer, spare)
        write(problem, out, block, state, depth)

    spread(work, blocks(problem), x1.device)
    return completed(problem, out, depth)


@torch.no_grad()
def fcn_kernels(
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    depths: Iterable[int],
    sigma_w2: Scale,
    sigma_b2: Scale,
    activation: str | Callable[[Tensor], Tensor] | Activation,
    keep_prob: float = 1.0,
    residual: bool = False,
    layer_norm: bool = False,
) -> Iterator[tuple[int, Kernels]]:
    """`fcn_kernel` at several depths, in ascending order, for the price of the deepest.

    Yields (depth, kernels) with new tensors each time; memory is that of two pairs of kernels.
    """
    wanted = sorted(set(depths))
    for depth in wanted:
        check_depth(depth)
    if not wanted:
        raise OutOfRange("depths is empty; name at least one depth")
    problem = prepare(
        x1, x2, wanted[-1], sigma_w2, sigma_b2, activation, keep_prob, residual, layer_norm
    )
    return layers(problem, wanted)


def layers(problem: Problem, wanted: list[int]) -> Iterator[tuple[int, Kernels]]:
    """All blocks together, one layer after the other."""
    with torch.no_grad():
        states = [(block, start(problem.net, block)) for block in blocks(problem)]
    for depth in range(wanted[-1] + 1):
        with torch.no_grad():
            if depth in wanted:
                out = empty(problem)
                for block, state in states:
                    write(problem, out, block, state, depth)
                done = completed(problem, out, depth)
        if depth in wanted:
            yield depth, done
        if depth == wanted[-1]:
            return

        def work(i: int, layer: int = depth) -> None:
            block, state = states[i]
            states[i] = block, step(problem.net, block, state, layer)

        spread(work, list(range(len(states))), problem.left.x.device)


@contextmanager
def one_thread() -> Iterator[None]:
    """For short operations, whose threads would wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def prepare(
    x1: Tensor,
    x2: Tensor | None,
    depth: int,
    sigma_w2: Scale,
    sigma_b2: Scale,
    activation: str | Callable[[Tensor], Tensor] | Activation,
    keep_prob: float,
    residual: bool,
    layer_norm: bool,
) -> Problem:
    """Check everything, and follow the variances through all layers."""
    check_inputs(x1, x2)
    check_variances(sigma_w2, sigma_b2, x1.shape[:-2])
    check_fraction("keep_prob", keep_prob)
    if residual and keep_prob < 1:
        raise OutOfRange("keep_prob with residual=True is not defined here; use one of them")
    scales = [column(s, x1) for s in (sigma_w2, sigma_b2)]
    net = Network(*scales, get_activation(activation), bool(residual), bool(layer_norm))
    left = side(net, x1.detach(), depth)
    right = left if x2 is None else side(net, x2.detach(), depth)
    if layer_norm and any(bool((s.variances[0] == 0).any()) for s in (left, right)):
        raise OutOfRange(
            "layer_norm of an input 0 without bias; drop the input or use sigma_b2 > 0"
        )
    return Problem(net, left, right, x2 is None, keep_prob)


def column(scale: Scale, like: Tensor) -> Scale:
    """A float, or a tensor (*grid, 1) on the device of the inputs."""
    if not isinstance(scale, Tensor):
        return float(scale)
    return scale.detach().to(like)[..., None] if scale.ndim else float(scale)


def blocks(problem: Problem) -> list[Block]:
    """Blocks of at most `BLOCK` entries; of a symmetric kernel, those that meet its upper half."""
    *grid, n1, n2 = problem.shape
    entries = BLOCK["cuda" if problem.left.x.is_cuda else "cpu"]
    room = max(1, entries // max(1, torch.Size(grid).numel()))
    found, row = [], 0
    while row < n1:
        first = row if problem.symmetric else 0
        width = min(room, n2 - first)
        height = min(n1 - row, max(1, room // max(1, width)))
        for column in range(first, n2, width):
            place = slice(row, row + height), slice(column, min(n2, column + width))
            found.append(Block(problem.left, problem.right, *place, problem.symmetric))
        row += height
    return found


def spread(work: Callable, items: list, device: torch.device) -> None:
    """Do the work, in as many threads as torch may use; each has modes of its own to set."""
    threads = min(torch.get_num_threads(), len(items)) if device.type == "cpu" else 1
    inference = torch.inference_mode(torch.is_inference_mode_enabled())
    for _ in results(inference(torch.no_grad()(work)), items, max(threads, 1)):
        pass


def empty(problem: Problem) -> Kernels:
    x = problem.left.x
    return Kernels(*(torch.empty(problem.shape, dtype=x.dtype, device=x.device) for _ in "kt"))


def write(problem: Problem, out: Kernels, block: Block, state: State, depth: int) -> None:
    """Put a block where it belongs, and its mirror image."""
    rows, columns = block.rows, block.columns
    for whole, part in zip(out, finish(problem.net, block, state, depth), strict=True):
        whole[..., rows, columns] = part
        if problem.symmetric:
            whole[..., columns, rows] = part.mT
            square = whole[..., rows, rows]
            square.copy_(square.triu() + square.triu(1).mT)


def completed(problem: Problem, out: Kernels, depth: int) -> Kernels:
    """Set the diagonal of a symmetric kernel, which has a recursion of its own, and the dropout."""
    if not problem.symmetric:
        return out
    variances = problem.left.variances[: depth + 1]
    share, bias = 1 / problem.keep_prob - 1, problem.net.sigma_b2
    for whole, q in zip(
        out, (variances[-1], tangent_diagonal(problem.net, variances)), strict=True
    ):
        whole.diagonal(dim1=-2, dim2=-1).copy_(q + share * (q - bias))
    return out
