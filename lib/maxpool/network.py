"""The max-pooling network N(x) = Σ_i a_i max_j ρ(w_i·x[j]), on tensors or in exact numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = Any  # a Tensor, or a numpy array of Python integers and fractions


@dataclass(frozen=True, eq=False)
class MaxPoolNet:
    """A network of ``k`` channels, all without bias; or ``copies`` of it, in a leading axis.

    ``filters`` (k, d) and ``outer`` (k,) are both tensors, or both numbers in lists or arrays,
    which are then kept as they are (integers, fractions): such a network computes exactly.
    Raises ValueError when shapes do not fit, and TypeError when only one is a tensor.
    Source: Brutzkus & Globerson 2021, Equation 1.
    """

    filters: Array
    outer: Array

    def __post_init__(self) -> None:
        if isinstance(self.filters, Tensor) != isinstance(self.outer, Tensor):
            raise TypeError("filters and outer: give two tensors, or numbers for both")
        for name in ("filters", "outer"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))
        shape, outer = tuple(self.filters.shape), tuple(self.outer.shape)
        if len(shape) not in (2, 3) or shape[:-1] != outer:
            raise ValueError(
                f"filters {shape} and outer {outer}: give (k, d) and (k,), or (copies, k, d) and"
                " (copies, k)"
            )

    def __call__(self, x: Array) -> Array:
        """The output (…, m) for inputs ``x`` (…, m, n, d)."""
        return (pooled(self.filters, x) @ self.outer[..., None])[..., 0]

    def tensors(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> "MaxPoolNet":
        """The same network in floating point."""
        if isinstance(self.filters, Tensor):
            parts = self.filters.to(device, dtype), self.outer.to(device, dtype)
        else:
            parts = (
                torch.as_tensor(part.astype(float), dtype=dtype, device=device)
                for part in (self.filters, self.outer)
            )
        return MaxPoolNet(*parts)


def pooled(filters: Array, x: Array) -> Array:
    """Each channel's max_j ρ(w_i·x[j]): (…, m, k) from filters (…, k, d) and x (…, m, n, d).

    Raises TypeError for exact filters with a tensor or the other way round.
    """
    filters = _numbers(filters)
    if isinstance(filters, Tensor) != isinstance(x, Tensor):
        raise TypeError(
            "x and the network must both be tensors or both exact: use net.tensors(), or"
            " exact_patches(which, d)"
        )
    x = _numbers(x)
    *lead, m, n, d = x.shape
    flat = x.reshape(*lead, m * n, d) @ filters.swapaxes(-1, -2)
    overlaps = flat.reshape(*flat.shape[:-2], m, n, flat.shape[-1])
    if isinstance(overlaps, Tensor):
        return overlaps.amax(-2).relu()
    return np.maximum(overlaps.max(-2), 0)


def exact_patches(which: Any, d: int) -> np.ndarray:
    """The patches (…, n, d) that hold the patterns ``which`` (…, n), in Python integers."""
    index = which.cpu().numpy() if isinstance(which, Tensor) else np.asarray(which)
    return np.eye(d, dtype=int).astype(object)[index]


def _numbers(values: Any) -> Array:
    return values if isinstance(values, Tensor) else np.asarray(values, dtype=object)
