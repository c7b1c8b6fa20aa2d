"""The tangent kernel of any network of finite width, by contracting Jacobians (torch.func)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch

WORKSPACE = 256 << 20  # bytes for the Jacobians held at one time
Jacobian = dict[str, Tensor]  # parameter name → (n, outputs, parameters)


@torch.no_grad()
def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    outputs: str = "all",
    parameters: Mapping[str, Tensor] | None = None,
    workspace: int = WORKSPACE,
) -> Tensor:
    """Inner products of the gradients of a network's outputs with respect to its parameters.

    Args:
        model: maps (N, ...) to (N,) or (N, ...), each example by itself; a module in eval mode if
            it drops units or normalises batches. Only parameters that require gradients count.
        x1, x2: inputs (N1, ...) and (N2, ...); x2 = None means x1.
        outputs: "all", or "mean", the mean of the O diagonal entries of each block, which is the
            estimate of an infinite-width kernel, for there the block is a multiple of 1.
        parameters: used in place of the model's, and only these count; `torch.func.vmap` over
            stacked ones gives the kernels of many networks in one program.
        workspace: bytes of Jacobians at one time, but never fewer than two examples need.

    Returns:
        (N1, N2) if the network has one output or outputs="mean", else (N1, N2, O, O) with the
        model's output axes flattened into O. No gradient flows through it.

    Raises:
        NotFinite, OutOfRange, ShapeMismatch, TypeError, ValueError: the message names the remedy.
    """
    if outputs not in ("all", "mean"):
        raise OutOfRange(f"outputs = {outputs!r}; use 'all' or 'mean'")
    if not workspace >= 1:
        raise OutOfRange(f"workspace = {workspace}; give a positive number of bytes")
    check(model, x1, x2)
    check_names(model, parameters)
    weights = dict(trainable(model) if parameters is None else parameters)
    count = chunk(model, weights, x1, workspace)
    left, right = x1.split(count), (x1 if x2 is None else x2).split(count)
    rows: list[list[Tensor]] = []
    for i, a in enumerate(left):
        first = jacobian(model, weights, a)
        row = [rows[j][i].transpose(0, 1).mT for j in range(i if x2 is None else 0)]
        for j in range(len(row), len(right)):
            same = x2 is None and i == j
            row.append(contract(first, first if same else jacobian(model, weights, right[j])))
        rows.append(row)
    kernel = torch.cat([torch.cat(row, dim=1) for row in rows])
    if outputs == "mean":
        return kernel.diagonal(dim1=-2, dim2=-1).mean(-1)
    return kernel[..., 0, 0] if kernel.shape[-1] == 1 else kernel


def trainable(model: nn.Module) -> Jacobian:
    """The parameters that require gradients, by name, shared ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def single(model: nn.Module, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The outputs (O,) for one input."""
    y = functional_call(model, dict(weights), (x[None],))
    if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != 1:
        raise TypeError(
            "the model must map (N, ...) to one tensor (N, ...); wrap it so that it does"
        )
    return y.flatten()


def jacobian(model: nn.Module, weights: Mapping[str, Tensor], x: Tensor) -> Jacobian:
    """The Jacobian of every example, by backward passes."""
    each = vmap(jacrev(lambda w, one: single(model, w, one)), in_dims=(None, 0))
    return {name: j.flatten(2) for name, j in each(dict(weights), x).items()}


def contract(left: Jacobian, right: Jacobian) -> Tensor:
    """Σ over parameters: (i, j, O, O)."""
    return sum(torch.einsum("iop,jqp->ijoq", left[name], right[name]) for name in left)


def chunk(model: nn.Module, weights: Mapping[str, Tensor], x: Tensor, workspace: int) -> int:
    """How many examples have Jacobians that fit twice in the workspace."""
    outputs = single(model, weights, x[0]).numel()
    bytes_each = outputs * sum(w.numel() * w.element_size() for w in weights.values())
    return max(1, workspace // (2 * bytes_each))


def check_names(model: nn.Module, parameters: Mapping[str, Tensor] | None) -> None:
    """A name that the model does not have would be passed over, and its gradient be 0."""
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in parameters or ():
        if name not in known:
            raise ValueError(f"parameters has {name!r}; the model has {', '.join(sorted(known))}")


def check(model: nn.Module, x1: Tensor, x2: Tensor | None) -> None:
    """Refuse, by name, what has no tangent kernel."""
    for name, x in (("x1", x1), ("x2", x2)):
        if x is None:
            continue
        if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
            raise ShapeMismatch(f"{name} must be a tensor (N, ...) with N ≥ 1")
        if not bool(torch.isfinite(x).all()):
            raise NotFinite(f"{name} has a NaN or an infinity; clean the inputs first")
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        raise ShapeMismatch(f"inputs of {tuple(x1.shape[1:])} and {tuple(x2.shape[1:])} mismatch")
    if not trainable(model):
        raise ValueError("no parameter requires a gradient: unfreeze one")
    for part in model.modules():
        drops = isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0
        if part.training and (drops or isinstance(part, nn.modules.batchnorm._NormBase)):
            raise ValueError(f"{type(part).__name__} is in training mode: call model.eval()")
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ValueError(f"{type(part).__name__} mixes examples: use track_running_stats=True")
