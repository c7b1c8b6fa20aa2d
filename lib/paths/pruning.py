"""Pruning by any score, SynFlow's score for comparison, and quantization: all on copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from lib.paths.rescaling import clone, refresh

CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)


def prunable(model: nn.Module) -> list[str]:
    """Names of the weights of all linear and convolutional layers: what is usually pruned."""
    return [
        f"{name}.{parameter}" if name else parameter
        for name, module in model.named_modules()
        if isinstance(module, WEIGHTED)
        for parameter, _ in module.named_parameters(recurse=False)
        if parameter in ("weight", "weight_orig")
    ]


def score_prune(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    amount: float,
    names: Iterable[str] | None = None,
) -> nn.Module:
    """A copy of the model, masked by torch.nn.utils.prune where the scores are lowest, globally.

    scores: tensors by parameter name, as `path_magnitude` returns them: real numbers, −inf too.
    amount: the share, in [0, 1], of the named entries to mask; earlier masks count if scored 0.
    names: the parameters to prune, `prunable(model)` if not given. Of equal scores the first go.

    The same scores also serve `prune.global_unstructured(..., importance_scores=...)` directly.
    Raises ValueError for an amount out of range, a missing score, a wrong shape or a NaN.
    """
    names = prunable(model) if names is None else list(names)
    check_scores(model, scores, amount, names)
    flat = torch.cat([scores[name].flatten() for name in names])
    keep = torch.ones_like(flat, dtype=torch.bool)
    keep[torch.argsort(flat, stable=True)[: round(amount * flat.numel())]] = False
    result = clone(model)
    sizes = [scores[name].numel() for name in names]
    for name, mask in zip(names, keep.split(sizes), strict=True):
        owner, _, parameter = name.rpartition(".")
        module, stem = result.get_submodule(owner), parameter.removesuffix("_orig")
        prune.custom_from_mask(module, stem, mask.view(scores[name].shape))
    return result


def check_scores(model: nn.Module, scores: Mapping, amount: float, names: Sequence[str]) -> None:
    if not 0 <= amount <= 1:
        raise ValueError(f"amount = {amount}; give the share to prune, between 0 and 1")
    if not names:
        raise ValueError("there is nothing to prune; name at least one parameter")
    parameters = dict(model.named_parameters())
    for name in names:
        if name not in parameters:
            raise ValueError(f"{name!r} is no parameter of the model")
        if name not in scores:
            raise ValueError(f"no score for {name!r}; scores must cover all names")
        if scores[name].shape != parameters[name].shape or scores[name].isnan().any():
            raise ValueError(f"the score of {name!r} needs the shape of the parameter, without NaN")


def synflow(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Tensor]:
    """One-shot SynFlow score |θ ∂R/∂θ| with R the sum of outputs of the network |θ| on ones.

    (Tanaka et al. 2020.) It runs the model's own forward pass on a copy, so it shares no code with
    `path_magnitude`; the two agree without max-pooling, BatchNorm and negative fixed weights, as in
    x − y (companion).
    """
    twin = clone(model).eval()
    parameters = dict(twin.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.abs_()
    example = next(iter(parameters.values()))
    with torch.enable_grad():
        total = twin(torch.ones(1, *input_shape, dtype=example.dtype, device=example.device)).sum()
        slopes = torch.autograd.grad(total, list(parameters.values()))
    return {
        name: (parameter * slope).detach().abs()
        for (name, parameter), slope in zip(parameters.items(), slopes, strict=True)
    }


@torch.no_grad()
def quantize(model: nn.Module, step: float, mode: str = "truncate") -> nn.Module:
    """A copy whose linear and convolutional weights and biases are multiples of `step`.

    mode: "truncate" rounds toward zero, so the path-metric to the original is exact in two passes;
    "round" goes to the nearest multiple, halves to the even one. BatchNorm stays as it is: smaller
    γ and β need not make its shift β − scale·mean smaller.
    Raises ValueError for a step that is not positive or an unknown mode.
    """
    if not step > 0 or mode not in ("truncate", "round"):
        raise ValueError(f"step={step}, mode={mode!r}; use step > 0 and 'truncate' or 'round'")
    rounded = torch.trunc if mode == "truncate" else torch.round
    result = clone(model)
    for module in result.modules():
        if isinstance(module, WEIGHTED):
            for parameter in module.parameters(recurse=False):
                parameter.copy_(rounded(parameter / step) * step)
    refresh(result)
    return result
