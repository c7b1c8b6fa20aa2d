"""Which weights to prune: scores of many copies of a network at once, and masks made of them."""

import copy

import torch
from torch import Tensor, nn

from lib.paths import path_magnitude, prunable, rescale

CRITERIA = ("path-magnitude", "magnitude", "magnitude, rescaled")

Masks = list[tuple[nn.Parameter, Tensor]]


def criteria(
    model: nn.Module,
    input_shape: tuple[int, ...],
    copies: int,
    factors: tuple[float, ...],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Score every convolution and linear weight of the ``copies``: each tensor (copies, weights).

    Both criteria score the trained network and the same network after a random rescaling of its
    channels by ``factors``.  Paths never cross copies, so one pass scores them all.
    """
    model = copy.deepcopy(model).double().eval()
    rescaled = rescale(model, generator=generator, choices=factors)
    scores = {}
    for suffix, net in (("", model), (", rescaled", rescaled)):
        costs, names = path_magnitude(net, input_shape), prunable(net)
        weights = [net.get_parameter(name).detach() for name in names]
        scores["path-magnitude" + suffix] = _flat([costs[name] for name in names], copies)
        scores["magnitude" + suffix] = _flat([w.abs() for w in weights], copies)
    return scores


def kept(scores: Tensor, sparsities: tuple[float, ...]) -> Tensor:
    """Mask of the weights that stay: (sparsities, copies, weights) bool, from (copies, weights).

    In each copy exactly ``round(sparsity * weights)`` weights go, those with the lowest scores
    across all layers; of equal scores the first goes first.
    """
    rank = scores.argsort(dim=-1, stable=True).argsort(dim=-1)
    counts = torch.tensor([round(s * scores.shape[-1]) for s in sparsities], device=scores.device)
    return rank >= counts[:, None, None]


def overlap(kept_a: Tensor, kept_b: Tensor) -> Tensor:
    """Share of the weights pruned by mask ``a`` that ``b`` prunes as well, over the last axis."""
    return ((~kept_a & ~kept_b).sum(-1) / (~kept_a).sum(-1)).double().cpu()


def parameter_masks(model: nn.Module, keep: Tensor) -> Masks:
    """Pair each prunable weight of the grouped ``model`` with its part of (copies, weights)."""
    weights = [model.get_parameter(name) for name in prunable(model)]
    parts = keep.split([w.numel() // len(keep) for w in weights], dim=1)
    return [(w, part.reshape(w.shape)) for w, part in zip(weights, parts, strict=True)]


def _flat(tensors: list[Tensor], copies: int) -> Tensor:
    return torch.cat([t.reshape(copies, -1) for t in tensors], dim=1)
