"""Elementary functions in place, by the fastest vector library at hand.

On the CPU NumPy's AVX-512 loops take a third of the time of torch's for the arc sine of doubles,
and two thirds for the root, at the same accuracy; they work on the tensor's own memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def asin_(x: Tensor) -> Tensor:
    """asin x, in place."""
    return through(np.arcsin, x) if x.device.type == "cpu" else x.asin_()


def atan_(x: Tensor) -> Tensor:
    """atan x, in place."""
    return through(np.arctan, x) if x.device.type == "cpu" else x.atan_()


def atan2(y: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """The angle of (x, y), into `out`, which may be x or y."""
    if y.device.type != "cpu":
        return torch.atan2(y, x, out=out)
    np.arctan2(y.numpy(), x.numpy(), out=out.numpy())
    return out


def sqrt_(x: Tensor) -> Tensor:
    """√x, in place."""
    return through(np.sqrt, x) if x.device.type == "cpu" else x.sqrt_()


def through(function: np.ufunc, x: Tensor) -> Tensor:
    array = x.numpy()
    function(array, out=array)
    return x
