"""What is refused before any work, and the weights a layer effectively has."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from lib.paths.errors import NotFinite, UnsupportedModule
from lib.paths.vocabulary import Refusal

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def refuse_hooks(model: nn.Module) -> None:
    """A forward hook may change what a layer computes; only those of torch's pruning are known."""
    for name, module in model.named_modules():
        before = module._forward_pre_hooks.values()
        strange = [h for h in before if not isinstance(h, prune.BasePruningMethod)]
        if strange or module._forward_hooks:
            raise UnsupportedModule(
                f"{name or 'the model'} ({type(module).__name__}) has forward hooks, which may "
                "change what it computes; remove them first"
            )


def common_type(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The one floating dtype (float32 or float64) and device of all parameters and statistics."""
    tensors = dict(model.named_parameters())
    if not tensors:
        raise UnsupportedModule(
            f"{type(model).__name__} has no parameters; there is nothing to lift"
        )
    tensors |= {n: b for n, b in model.named_buffers() if b.is_floating_point() or b.is_complex()}
    (first, example), *_ = tensors.items()
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.device.type == "meta":
            raise UnsupportedModule(
                f"{name} is {tensor.dtype} on {tensor.device}; convert with model.double()"
            )
        if (tensor.dtype, tensor.device) != (example.dtype, example.device):
            raise UnsupportedModule(
                f"{name} is {tensor.dtype} on {tensor.device}, but {first} is {example.dtype} on "
                f"{example.device}; use one dtype and one device"
            )
    return example.dtype, example.device


def stored(module: nn.Module, name: str) -> nn.Parameter | None:
    """The parameter behind module.<name>: <name>_orig when torch's pruning has masked it."""
    own = module._parameters
    parameter = own.get(f"{name}_orig", own.get(name))
    if parameter is None and vars(module).get(name) is not None:
        raise Refusal(f"has a {name} that is no parameter", "make it an nn.Parameter")
    return parameter


def masked(module: nn.Module, name: str) -> Tensor | None:
    """The value of module.<name> in the next forward pass, detached."""
    parameter, mask = stored(module, name), module._buffers.get(f"{name}_mask")
    value = None if parameter is None else parameter.detach()
    return value if value is None or mask is None else value * mask


def effective(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Edge weights and biases of an affine layer, detached; of BatchNorm its scale and shift."""
    weight, bias = masked(module, "weight"), masked(module, "bias")
    if not isinstance(module, BATCHNORMS):
        return weight, bias
    if module.running_mean is None:
        raise Refusal("has no running statistics, so it never is a fixed map", "set them")
    scale = (module.running_var + module.eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -scale * module.running_mean
    return scale, shift if bias is None else shift + bias


def refuse_ties(steps) -> None:
    """A parameter met twice makes Φ a polynomial that is no longer linear in each parameter."""
    seen: dict[int, str] = {}
    for step in (s for s in steps if s.kind == "affine"):
        for parameter in step.module.parameters(recurse=False):
            other = seen.setdefault(parameter.data_ptr(), step.name)
            if other != step.name and parameter.numel():
                raise UnsupportedModule(
                    f"{step.where} uses a parameter that {other!r} uses too; tied weights and "
                    "layers called twice are not covered: give each call its own layer"
                )


def refuse_overwriting(steps, source: str, outputs: tuple[str, ...]) -> None:
    """What an in-place step overwrote must not be read again: the graph would be wrong."""
    root, stale = {source: source}, {}
    for step in steps:
        for name in step.inputs:
            if name in stale:
                raise overwritten(stale[name])
        view = step.meaning.inplace or (step.kind == "move" and len(step.inputs) == 1)
        own = root.get(step.inputs[0], step.inputs[0]) if view and step.inputs else step.name
        if step.meaning.inplace:
            stale |= {name: step.where for name, r in root.items() if r == own}
        root[step.name] = own
    for name in outputs:
        if name in stale:
            raise overwritten(stale[name])


def overwritten(where: str) -> UnsupportedModule:
    return UnsupportedModule(
        f"{where} works in place on a tensor that is used again; drop the inplace"
    )


def refuse_non_finite(model: nn.Module) -> None:
    """NotFinite if a number of the model is NaN or infinite, or a variance negative, with its name.

    One synchronisation with the device.
    """
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors = {n: t.detach() for n, t in named.items() if t.is_floating_point() and t.numel()}
    extremes = torch.stack([torch.stack(t.aminmax()) for t in tensors.values()]).tolist()
    for name, (low, high) in zip(tensors, extremes, strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise NotFinite(f"{name} contains NaN or an infinity; a path-lifting needs numbers")
        if name.endswith("running_var") and low < 0:
            raise NotFinite(f"{name} contains {low}, which is no variance")
