"""The vocabulary of functions and methods: F.relu(x), x + y, x.view(…), torch.cat([…], 1).

A rule takes the arguments of the call, in which a tensor is the placeholder X and a size is N, and
gives its meaning, or raises Refusal or TypeError.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lib.paths.vocabulary import MODULES, Meaning, Refusal, dropout, relu


class _Stand:
    """Stands for an operand while a call is examined."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


X, N = _Stand("tensor"), _Stand("size")


def layer(kind: str, *names: str) -> Callable:
    """The functional form of a layer without parameters: build the layer, take its meaning."""

    def rule(x, *args, **kwargs) -> Meaning:
        if N in (*args, *kwargs.values()):
            raise Refusal("takes its window from the shape of its input", "use an adaptive pooling")
        module = getattr(nn, kind)(**dict(zip(names, args, strict=False)), **kwargs)
        return MODULES[type(module)](module)

    return rule


def functional_dropout(x, p=0.5, training=True, inplace=False) -> Meaning:
    return dropout(nn.Dropout(p).train(training))


def number(c) -> float:
    if isinstance(c, (int, float)) and math.isfinite(c):
        return float(c)
    raise Refusal(f"scales by {c!r}", "scale by a finite Python number only")


def added(sign: int, inplace: bool = False) -> Callable:
    def rule(input, other, *, alpha=1) -> Meaning:
        if input is not X or other is not X:
            raise Refusal(
                "adds a constant, a bias that is no parameter", "put it in a layer's bias"
            )
        return Meaning("sum", coefficients=(1.0, sign * number(alpha)), inplace=inplace)

    return rule


def multiplied(inplace: bool = False) -> Callable:
    def rule(input, other) -> Meaning:
        if input is X and other is X:
            raise Refusal("multiplies two activations", "the lifting covers sums, not products")
        return Meaning(
            "sum", coefficients=(number(other if input is X else input),), inplace=inplace
        )

    return rule


def divided(inplace: bool = False) -> Callable:
    def rule(input, other) -> Meaning:
        if input is not X or other is X:
            raise Refusal("divides by an activation", "divide by a Python number only")
        if number(other) == 0:
            raise Refusal("divides by zero", "divide by another number")
        return Meaning("sum", coefficients=(1 / number(other),), inplace=inplace)

    return rule


def negated(inplace: bool = False) -> Callable:
    return lambda input: Meaning("sum", coefficients=(-1.0,), inplace=inplace)


def averaged(input, dim=None, keepdim=False) -> Meaning:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if not dims or 0 in dims:
        raise Refusal("averages over the batch", "name the dimensions, not including 0")
    return Meaning(
        "mean",
        lambda x: x.sum(dims, keepdim),
        (dims, keepdim),
        divisors=lambda x: math.prod(x.shape[d] for d in dims),
    )


def concatenated(tensors, dim=0) -> Meaning:
    if dim == 0:
        raise Refusal("concatenates along the batch", "concatenate along another dimension")
    return Meaning("move", torch.cat, (dim,))


def moved(apply: Callable, flattening: Callable = lambda *args, **kwargs: False) -> Callable:
    """A rearrangement of one tensor; `flattening(*args)` says if it keeps (batch, everything)."""

    def rule(input, *args, **kwargs) -> Meaning:
        channels = "flatten" if flattening(*args, **kwargs) else ""
        return Meaning("move", apply, (repr(args), repr(kwargs)), channels=channels)

    return rule


def measured(apply: Callable) -> Callable:
    return lambda *args, **kwargs: Meaning("size", apply, (repr(args), repr(kwargs)))


def method(name: str) -> Callable:
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def flattens(start_dim=0, end_dim=-1) -> bool:
    return (start_dim, end_dim) == (1, -1)


def keeps_batch(*shape) -> bool:
    """view(x.size(0), -1), in either way of writing it."""
    return (shape[0] if len(shape) == 1 else shape) in ((N, -1), [N, -1])


METHODS: dict[str, Callable] = {
    "relu": lambda x: relu(nn.ReLU()),
    "relu_": lambda x: relu(nn.ReLU(inplace=True)),
    "flatten": moved(method("flatten"), flattens),
    "view": moved(method("view"), keeps_batch),
    "reshape": moved(method("reshape"), keeps_batch),
    **{n: moved(method(n)) for n in ("permute", "transpose", "unflatten", "contiguous")},
    "mean": averaged,
    "add": added(1),
    "add_": added(1, inplace=True),
    "sub": added(-1),
    "sub_": added(-1, inplace=True),
    "mul": multiplied(),
    "mul_": multiplied(inplace=True),
    "div": divided(),
    "div_": divided(inplace=True),
    "neg": negated(),
    "neg_": negated(inplace=True),
    "size": measured(method("size")),
    "dim": measured(method("dim")),
}

FUNCTIONS: dict[Callable, Callable] = {
    F.relu: lambda x, inplace=False: relu(nn.ReLU(inplace)),
    F.dropout: functional_dropout,
    torch.cat: concatenated,
    torch.concat: concatenated,
    **{
        getattr(torch, n): METHODS[n]
        for n in ("relu", "relu_", "flatten", "reshape", "permute", "transpose", "unflatten")
    },
    **{getattr(torch, n): METHODS[n] for n in ("mean", "add", "sub", "mul", "div", "neg")},
    operator.add: METHODS["add"],
    operator.iadd: METHODS["add_"],
    operator.sub: METHODS["sub"],
    operator.isub: METHODS["sub_"],
    operator.mul: METHODS["mul"],
    operator.imul: METHODS["mul_"],
    operator.truediv: METHODS["div"],
    operator.itruediv: METHODS["div_"],
    operator.neg: METHODS["neg"],
}
SLIDING = ("kernel_size", "stride", "padding")
for _d in (1, 2, 3):
    FUNCTIONS |= {
        getattr(F, f"max_pool{_d}d"): layer(f"MaxPool{_d}d", *SLIDING, "dilation", "ceil_mode"),
        getattr(F, f"avg_pool{_d}d"): layer(
            f"AvgPool{_d}d", *SLIDING, "ceil_mode", "count_include_pad", "divisor_override"
        ),
        getattr(F, f"adaptive_avg_pool{_d}d"): layer(f"AdaptiveAvgPool{_d}d", "output_size"),
        getattr(F, f"adaptive_max_pool{_d}d"): layer(f"AdaptiveMaxPool{_d}d", "output_size"),
    }
