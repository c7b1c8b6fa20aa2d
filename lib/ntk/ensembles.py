"""Both kernels of many random networks of finite width at once, of any kind that `finite` makes.

All parameters of such a network are standard normal numbers, so one network serves as the form,
and the others are drawn as tensors with a first axis of networks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lib.ntk.errors import OutOfRange
from lib.ntk.finite import Skip
from lib.ntk.kernels import Kernels, check_fraction

AT_ONCE = 250  # networks: their gradients stay near the cache


def random_kernels(
    net: nn.Sequential,
    x: Tensor,
    networks: int,
    generator: torch.Generator,
    *,
    keep_prob: float = 1.0,
    at_once: int = AT_ONCE,
) -> Kernels:
    """Kernels of the first output of random networks of one form, each (networks, N, N).

    Args:
        net: from `wide_net` or `wide_cnn`; its form counts, its parameters do not.
        x: inputs (N, ...) of the dtype and on the device of the network.
        networks: how many; they are independent.
        generator: on the CPU, for every device.
        keep_prob: probability in (0, 1] that dropout keeps a unit before the read-out, by a mask
            drawn for each network and each input.
        at_once: networks in one tensor program.

    Returns:
        Kernels(nngp, ntk). The first is the mean of products of outputs, given all layers but the
        last; a residual network's last block adds to a neuron, and the mean is over that, too.

    Raises:
        OutOfRange: for no probability, dropout of a residual network, or no network.
    """
    check_fraction("keep_prob", keep_prob)
    if keep_prob < 1 and isinstance(net[-1], Skip):
        raise OutOfRange("keep_prob with residual=True is not defined here; use one of them")
    for name, value in (("networks", networks), ("at_once", at_once)):
        if value < 1:
            raise OutOfRange(f"{name} = {value}; choose at least 1")
    counts = [min(at_once, networks - done) for done in range(0, networks, at_once)]
    parts = [some_kernels(net, x, count, generator, keep_prob) for count in counts]
    return Kernels(*map(torch.cat, zip(*parts, strict=True)))


@torch.no_grad()
def some_kernels(
    net: nn.Sequential, x: Tensor, count: int, generator: torch.Generator, keep_prob: float
) -> Kernels:
    """`random_kernels` in one tensor program."""
    body, last = net[:-1], net[-1]

    def output(weights: tuple[dict, dict], one: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        h = functional_call(body, weights[0], (one[None],))
        return functional_call(last, weights[1], (mask * h,))[0, 0], h[0]

    weights = tuple(redrawn(part, count, generator) for part in (body, last))
    chance = torch.rand(count, *body(x).shape, generator=generator, dtype=x.dtype)
    masks = (chance < keep_prob).to(x) / keep_prob
    each_input = vmap(grad(output, has_aux=True), in_dims=(None, 0, 0))
    (inner, outer), h = vmap(each_input, in_dims=(0, None, 0))(weights, x, masks)
    # What the last layer's own gradients contribute is the covariance that its weights give.
    nngp = products(outer)
    ntk = nngp + products(inner)
    return Kernels(nngp + h @ h.mT / h.shape[-1] if isinstance(last, Skip) else nngp, ntk)


def redrawn(part: nn.Module, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Standard normal parameters of so many copies of a module, by name."""

    def draw(p: Tensor) -> Tensor:
        return torch.randn(count, *p.shape, generator=generator, dtype=p.dtype).to(p.device)

    return {name: draw(p) for name, p in part.named_parameters()}


def products(gradients: dict[str, Tensor]) -> Tensor:
    """Inner products of the gradients at each pair of inputs, (networks, N, N)."""
    flat = [g.flatten(2) for g in gradients.values()]
    return sum(g @ g.mT for g in flat)
