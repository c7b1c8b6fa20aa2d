"""The vocabulary of the path-lifting: what each layer, function and method means on a path.

A meaning is one of seven kinds.

    affine   weights and maybe biases: each weight is an edge, each bias starts a path
    relu     a gate
    max      a gate over a window
    mean     a window whose edges all weigh 1/size
    sum      edges of fixed weight: x + y, x - y, -x, 3 * x
    move     entries change places and nothing else
    size     a shape, or a number computed from shapes: not a tensor at all

Whatever is not listed here is refused, for there is no telling what it would do to a path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from lib.paths import windows
from lib.paths.errors import UnsupportedModule


class Meaning(NamedTuple):
    """What a layer does.

    `apply` takes (x, weight) when affine, without the bias; (x) for max and mean, summing each
    window; the operands for move and size. `config` is what two layers must share to be the same
    layer.
    """

    kind: str
    apply: Callable = None
    config: tuple = ()
    divisors: Callable | None = None  # mean: (x) -> size of each window
    coefficients: tuple[float, ...] = ()  # sum: one for each operand
    pad: Callable | None = None  # affine: copies of the border to add first
    channels: str = ""  # "keep": channel by channel; "flatten": channels become blocks of features
    inplace: bool = False
    ranks: tuple[int, ...] = ()  # dimensions its operand may have, with the batch; () for any


def linear(m: nn.Linear) -> Meaning:
    return Meaning("affine", F.linear, (nn.Linear,))


def convolution(dims: int) -> Callable:
    conv = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]

    def rule(m) -> Meaning:
        options = {"stride": m.stride, "dilation": m.dilation, "groups": m.groups}
        borrowed = m.padding_mode != "zeros"
        options["padding"] = 0 if borrowed else m.padding
        return Meaning(
            "affine",
            lambda x, weight: conv(x, weight, **options),
            (type(m), *options.values(), m.padding, m.padding_mode),
            ranks=(dims + 2,),
            pad=(lambda x: F.pad(x, border(m), m.padding_mode)) if borrowed else None,
        )

    return rule


def border(m) -> list[int]:
    """Widths for F.pad: last dimension first, left before right; 'same' puts the odd one right."""
    if isinstance(m.padding, str):
        totals = [
            d * (k - 1) if m.padding == "same" else 0
            for d, k in zip(m.dilation, m.kernel_size, strict=True)
        ]
    else:
        totals = [2 * p for p in m.padding]
    return [width for total in reversed(totals) for width in (total // 2, total - total // 2)]


def transposed(dims: int) -> Callable:
    conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]

    def rule(m) -> Meaning:
        options = (m.stride, m.padding, m.output_padding, m.groups, m.dilation)
        apply = lambda x, weight: conv(x, weight, None, *options)  # noqa: E731
        return Meaning("affine", apply, (type(m), *options), ranks=(dims + 2,))

    return rule


def on_channels(v: Tensor, x: Tensor) -> Tensor:
    """One number for each channel of x (dimension 1), shaped to broadcast."""
    return v.view(-1, *[1] * (x.dim() - 2))


def batchnorm(m) -> Meaning:
    if m.training:
        raise Refusal("is in training mode, where the statistics depend on the batch", EVAL)
    ranks = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}[type(m)]
    return Meaning("affine", lambda x, s: x * on_channels(s, x), (type(m),), ranks=ranks)


def relu(m: nn.ReLU) -> Meaning:
    return Meaning("relu", channels="keep", inplace=m.inplace)


def pooling(kind: str, total: Callable, dims: int) -> Callable:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad")

    def rule(m) -> Meaning:
        if getattr(m, "return_indices", False):
            raise Refusal("returns indices", "build it with return_indices=False")
        return Meaning(
            kind,
            lambda x: total(m, dims, x),
            (type(m), *(repr(getattr(m, n, None)) for n in (*names, "output_size"))),
            divisors=(lambda x: windows.divisors(m, dims, x, total)) if kind == "mean" else None,
            channels="keep",
            ranks=(dims + 2,),
        )

    return rule


def same(m) -> Meaning:
    return Meaning("move", lambda x, *args, **kwargs: x, channels="keep")


def dropout(m) -> Meaning:
    if m.training:
        raise Refusal("is in training mode, where the network is random", EVAL)
    return same(m)


def reshaping(m) -> Meaning:
    whole = type(m) is nn.Flatten and (m.start_dim, m.end_dim) == (1, -1)
    return Meaning("move", m.forward, (m.extra_repr(),), channels="flatten" if whole else "")


class Refusal(Exception):
    """Why a layer is refused and what would help; the tracer adds where."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy

    def at(self, where: str) -> UnsupportedModule:
        return UnsupportedModule(f"{where} {self.reason}; {self.remedy}")


EVAL = "call model.eval() first"
RELU = "use ReLU"

MODULES: dict[type, Callable[[nn.Module], Meaning]] = {
    nn.Linear: linear,
    nn.ReLU: relu,
    nn.Identity: same,
    nn.Flatten: reshaping,
    nn.Unflatten: reshaping,
    **{
        getattr(nn, name): dropout
        for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
    },
}
for _d in (1, 2, 3):
    MODULES |= {
        getattr(nn, f"Conv{_d}d"): convolution(_d),
        getattr(nn, f"ConvTranspose{_d}d"): transposed(_d),
        getattr(nn, f"BatchNorm{_d}d"): batchnorm,
        getattr(nn, f"MaxPool{_d}d"): pooling("max", windows.sliding_sum, _d),
        getattr(nn, f"AvgPool{_d}d"): pooling("mean", windows.sliding_sum, _d),
        getattr(nn, f"AdaptiveMaxPool{_d}d"): pooling("max", windows.adaptive_sum, _d),
        getattr(nn, f"AdaptiveAvgPool{_d}d"): pooling("mean", windows.adaptive_sum, _d),
    }
