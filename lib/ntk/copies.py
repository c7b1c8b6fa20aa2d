"""Many fully connected networks of finite width in one tensor program: seeds and grid points.

NTK parameterization: a layer is ``sigma_w / sqrt(fan_in) * W h + sigma_b * b`` with standard
normal ``W`` and ``b``.  A network has ``depth`` nonlinear layers of equal ``width`` and a linear
read-out; the copies may differ in their variances, and they share no parameter.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.ntk.activations import get_activation

Activation = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """A linear map of each copy, (copies, N, fan_in) to (copies, N, fan_out), and its transpose.

    The weights alone: scale and bias are the network's.
    """

    fan_in: int
    forward: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


class Scales(NamedTuple):
    """The standard deviations of the copies' weights and biases, each (copies, 1, 1)."""

    weight: Tensor
    bias: Tensor


class Networks(NamedTuple):
    """``weights[l]`` (copies, fan_out, fan_in), ``biases[l]`` (copies, 1, fan_out)."""

    weights: list[Tensor]
    biases: list[Tensor]
    scales: Scales
    activation: Activation

    @property
    def parameters(self) -> list[Tensor]:
        """All of them, weights first."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (copies, N, outputs) of inputs (N, features) or (copies, N, features)."""
        h = x.expand(len(self.weights[0]), *x.shape[-2:])
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = self.activation(h) if layer else h
            scale = self.scales.weight / math.sqrt(weight.shape[-1])
            h = torch.baddbmm(self.scales.bias * bias, scale * h, weight.mT)
        return h


def scales(sigma_w2: Tensor | float, sigma_b2: float, copies: int, like: Tensor) -> Scales:
    """Standard deviations from variances: one for all copies, or (copies,)."""
    variances = (
        torch.as_tensor(s, dtype=like.dtype, device=like.device) for s in (sigma_w2, sigma_b2)
    )
    return Scales(*(v.expand(copies)[:, None, None].sqrt() for v in variances))


def networks(
    sizes: Sequence[int],
    generators: Sequence[torch.Generator],
    *,
    sigma_w2: Tensor | float,
    sigma_b2: float,
    activation: str | Activation,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Networks:
    """Draw one network for each generator; ``sizes`` are features, widths and outputs.

    Copies whose generators are in the same state are equal but for their variances.
    Raises ValueError for sizes below 1, sigma_w2 <= 0, sigma_b2 < 0 or an unknown activation.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes = {tuple(sizes)}: choose at least two numbers, each at least 1")
    if not (torch.as_tensor(sigma_w2) > 0).all() or not sigma_b2 >= 0:
        raise ValueError(f"sigma_w2 = {sigma_w2}, sigma_b2 = {sigma_b2}: choose positive variances")

    def draw(*shape: int) -> Tensor:
        drawn = [torch.randn(*shape, generator=g, dtype=dtype) for g in generators]
        return torch.stack(drawn).to(device)

    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [draw(*pair) for pair in pairs]
    biases = [draw(1, out) for out, _ in pairs]
    both = scales(sigma_w2, sigma_b2, len(generators), weights[0])
    return Networks(weights, biases, both, function(activation))


def function(activation: str | Activation) -> Activation:
    """The activation of that name, or the function itself.  Raises UnknownActivation."""
    return activation if callable(activation) else get_activation(activation).function


# --- training


def descend(
    nets: Networks,
    x: Tensor,
    y: Tensor,
    rates: Tensor,
    batches: Iterable[Tensor | slice],
    *,
    start: Tensor | float = 0.0,
) -> Iterator[Tensor]:
    """Train all copies in place by gradient descent on half the sum of squares.

    ``x`` (N, features), ``y`` (N, outputs), each also with a first axis of copies; ``rates``
    (copies,) multiply the gradient of the sum over a batch.  The function that is fitted is the
    network's minus ``start``.  Yields the residual of each batch, (copies, batch, outputs), before
    its step.
    """
    parameters = [p.requires_grad_() for p in nets.parameters]
    start = torch.as_tensor(start, dtype=y.dtype, device=y.device).expand(len(rates), *y.shape[-2:])
    for batch in batches:
        residual = nets(x[..., batch, :]) - start[:, batch] - y[..., batch, :]
        loss = (residual.square().sum((1, 2)) * rates).sum() / 2
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients)
        yield residual.detach()


def batches(images: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of one batch after the other, for ever; every epoch has its own order."""
    while True:
        yield from torch.randperm(images, generator=generator).split(batch)


def sharpness(
    nets: Networks, x: Tensor, generator: torch.Generator, iterations: int = 20
) -> Tensor:
    """The largest eigenvalue of each copy's tangent kernel, of all outputs together: (copies,).

    By power iteration on the product of the Jacobian and its transpose, so from below: it is
    reached to some per cent.  With several outputs it is larger than that of one.
    """
    fresh = nets._replace(
        weights=[w.detach().requires_grad_() for w in nets.weights],
        biases=[b.detach().requires_grad_() for b in nets.biases],
    )
    parameters, out = fresh.parameters, fresh(x)
    # The gradient is linear in what is sent back, so that differentiating it by that pushes.
    sent = torch.zeros_like(out, requires_grad=True)
    pulled = torch.autograd.grad(out, parameters, sent, create_graph=True)
    vector = torch.randn(out.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
    vector = vector.expand(out.shape)
    for _ in range(iterations):
        vector = vector / vector.norm(dim=(1, 2), keepdim=True)
        up = torch.autograd.grad(out, parameters, vector, retain_graph=True)
        (vector,) = torch.autograd.grad(pulled, sent, up, retain_graph=True)
    return vector.norm(dim=(1, 2))


# --- kernels


class Empirical(NamedTuple):
    """Kernels of networks as they are, each (copies, N, N).

    ``nngp``: the covariance of the outputs given all layers before the read-out.  ``ntk``: the
    inner products of the gradients of one output.
    """

    nngp: Tensor
    ntk: Tensor


def layers(nets: Networks) -> list[Layer]:
    """The linear maps of networks that are held in memory."""
    return [Layer(w.shape[-1], lambda h, w=w: h @ w.mT, lambda g, w=w: g @ w) for w in nets.weights]


def kernels(nets: Networks, x: Tensor) -> Empirical:
    """Empirical kernels of the networks' first output on ``x``, (N, features).  Exact."""
    maps = layers(nets)
    read_out = nets.weights[-1][:, :1]
    maps[-1] = Layer(read_out.shape[-1], lambda h: h @ read_out.mT, lambda g: g @ read_out)
    biases = [*nets.biases[:-1], nets.biases[-1][..., :1]]
    return empirical(maps, biases, x, nets.scales, nets.activation)


def empirical(
    maps: Sequence[Layer], biases: Sequence[Tensor], x: Tensor, both: Scales, activation: Activation
) -> Empirical:
    """Empirical kernels of networks with one output, by one pass forward and one back.

    A weight's gradient is the product of what enters its layer and what is sent back to it, so the
    tangent kernel is a sum over layers of products of two Gram matrices.
    """
    sides = [both.weight / math.sqrt(layer.fan_in) for layer in maps]
    h = x.expand(len(biases[0]), *x.shape[-2:])
    grams, slopes = [], []
    for layer, bias, side in zip(maps, biases, sides, strict=True):
        if grams:
            h, slope = with_slope(activation, h)
            slopes.append(slope)
        grams.append(side**2 * h @ h.mT + both.bias**2)
        h = layer.forward(h) * side + both.bias * bias
    sent, ntk = torch.ones_like(h), torch.zeros_like(grams[0])
    for i in reversed(range(len(maps))):
        ntk += grams[i] * (sent @ sent.mT)
        if i:
            sent = maps[i].back(sent) * sides[i] * slopes[i - 1]
    return Empirical(grams[-1], ntk)


def with_slope(activation: Activation, z: Tensor) -> tuple[Tensor, Tensor]:
    """An activation's values and its derivative, by differentiating it."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = activation(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope
