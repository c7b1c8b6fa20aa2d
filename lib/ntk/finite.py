"""Networks of finite width in the NTK parameterization, as modules, dense and convolutional.

A layer is σ_w/√(fan-in) W h + σ_b b with standard normal W and b. `wide_net` and `wide_cnn` are the
finite versions of `fcn_kernel` and `cnn_kernel`. Many seeds at once: build one model a seed, and
map over ``torch.func.stack_module_state(models)``, as `lib.ntk.empirical` shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.ntk.activations import get_activation
from lib.ntk.errors import OutOfRange
from lib.ntk.kernels import check_variances

READOUTS = ("flatten", "gap")


class Draw(NamedTuple):
    """How parameters are drawn."""

    sigma_w2: float
    sigma_b2: float
    generator: torch.Generator
    dtype: torch.dtype
    device: torch.device | str

    def __call__(self, *shape: int) -> nn.Parameter:
        """Standard normal numbers; the generator is on the CPU, so a seed means the same on all."""
        drawn = torch.randn(*shape, generator=self.generator, dtype=self.dtype)
        return nn.Parameter(drawn.to(self.device))


class Dense(nn.Module):
    """(N, fan_in) to (N, fan_out)."""

    def __init__(self, fan_in: int, fan_out: int, draw: Draw):
        super().__init__()
        self.weight, self.bias = draw(fan_out, fan_in), draw(fan_out)
        self.weight_scale = math.sqrt(draw.sigma_w2 / fan_in)
        self.bias_scale = math.sqrt(draw.sigma_b2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.weight_scale * x, self.weight, self.bias_scale * self.bias)


class Conv(nn.Module):
    """(N, channels_in, *shape) to (N, channels_out, *shape), around the circle."""

    def __init__(self, c_in: int, c_out: int, window: int, dims: int, draw: Draw):
        super().__init__()
        self.weight, self.bias = draw(c_out, c_in, *[window] * dims), draw(c_out)
        self.weight_scale = math.sqrt(draw.sigma_w2 / (c_in * window**dims))
        self.bias_scale = math.sqrt(draw.sigma_b2)
        self.padding = [window // 2] * (2 * dims)

    def forward(self, x: Tensor) -> Tensor:
        convolve = {1: F.conv1d, 2: F.conv2d}[self.weight.ndim - 2]
        x = F.pad(x, self.padding, mode="circular")
        return convolve(x, self.weight_scale * self.weight, self.bias_scale * self.bias)


class Pointwise(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Skip(nn.Module):
    """z + layer(z), for the first neurons if the layer gives fewer than it takes."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        new = self.layer(z)
        return z[..., : new.shape[-1]] + new


def wide_net(
    widths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float,
    activation: str | Callable[[Tensor], Tensor],
    generator: torch.Generator,
    residual: bool = False,
    layer_norm: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """Dense, (activation, Dense) × depth, of ``widths`` = (features, *hidden, outputs).

    residual: blocks z + Dense(activation(z)) after the first Dense; an output is a neuron of the
    last block. layer_norm: layer normalization before each activation, without ε and parameters.
    Raises OutOfRange, UnknownActivation. The generator is on the CPU, for every device.
    """
    check_widths(widths)
    check_blocks(widths[1:], residual, layer_norm)
    draw = drawing(sigma_w2, sigma_b2, generator, dtype, device)
    phi = get_activation(activation).function
    parts: list[nn.Module] = [Dense(*widths[:2], draw)]
    for fan_in, fan_out in pairwise(widths[1:]):
        norm = [nn.LayerNorm(fan_in, eps=0, elementwise_affine=False)] if layer_norm else []
        layer = [*norm, Pointwise(phi), Dense(fan_in, fan_out, draw)]
        parts += [Skip(nn.Sequential(*layer))] if residual else layer
    return nn.Sequential(*parts)


def wide_cnn(
    widths: Sequence[int],
    *,
    shape: Sequence[int],
    sigma_w2: float,
    sigma_b2: float,
    activation: str | Callable[[Tensor], Tensor],
    generator: torch.Generator,
    readout: str = "flatten",
    window: int = 3,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> nn.Sequential:
    """(Conv circular, activation) × depth, a read-out, and Dense.

    ``widths`` = (channels, *hidden channels, outputs) and ``shape`` is (L,) or (H, W).
    Raises OutOfRange, UnknownActivation. The generator is on the CPU, for every device.
    """
    check_widths(widths)
    if readout not in READOUTS:
        raise OutOfRange(f"readout = {readout!r}; use one of {', '.join(READOUTS)}")
    if len(shape) not in (1, 2) or not 1 <= window <= min(shape) or window % 2 == 0:
        raise OutOfRange(f"window = {window}, shape = {tuple(shape)}; use an odd width that fits")
    draw = drawing(sigma_w2, sigma_b2, generator, dtype, device)
    phi = get_activation(activation).function
    parts: list[nn.Module] = []
    for c_in, c_out in pairwise(widths[:-1]):
        parts += [Conv(c_in, c_out, window, len(shape), draw), Pointwise(phi)]
    pooled = readout == "gap"
    parts += [Pointwise(global_mean) if pooled else nn.Flatten()]
    fan_in = widths[-2] * (1 if pooled else math.prod(shape))
    return nn.Sequential(*parts, Dense(fan_in, widths[-1], draw))


def global_mean(x: Tensor) -> Tensor:
    """The mean over all positions, (N, C)."""
    return x.flatten(2).mean(-1)


def check_widths(widths: Sequence[int]) -> None:
    """At least an input and an output."""
    if len(widths) < 2 or min(widths) < 1:
        raise OutOfRange(
            f"widths = {tuple(widths)}; give inputs, hidden widths and outputs, all ≥ 1"
        )


def check_blocks(widths: Sequence[int], residual: bool, layer_norm: bool) -> None:
    """Widths after the input that skip connections and layer normalization can have."""
    *hidden, outputs = widths
    if residual and hidden and (len(set(hidden)) > 1 or outputs > hidden[-1]):
        raise OutOfRange(
            f"widths = {tuple(widths)} after the input; with residual=True all hidden widths are "
            "equal, and there are no more outputs than that"
        )
    if layer_norm and min(hidden, default=2) < 2:
        raise OutOfRange(f"widths = {tuple(widths)} after the input; layer_norm needs 2 neurons")


def drawing(
    sigma_w2: float,
    sigma_b2: float,
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Draw:
    """A checked `Draw`."""
    check_variances(sigma_w2, sigma_b2)
    return Draw(float(sigma_w2), float(sigma_b2), generator, dtype, device)
