"""How tight the path-metric is: with depth, and on a trained network pruned or rounded."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.paths import path_magnitude, path_metric, prunable, quantize, score_prune

PATHS_AT_MOST = 2**25  # 256 MiB in float64
LOG2 = math.log(2)


class DepthStudy(NamedTuple):
    """How far outputs move, and three bounds, each weaker than the last: all (depths, seeds).

    ``gap`` is observed: the largest change in the 1-norm over random inputs in [-1, 1]^width.
    ``metric`` is the path-metric, exact; ``three_pass`` bounds it by three path-norms;
    ``norm_bound`` is L W^2 R^(L-1) max|θ - θ'|, with R >= 1 at least the largest absolute row sum
    of every weight matrix.  (It bounds the metric, and need not exceed ``three_pass``.)
    """

    depths: Tensor
    gap: Tensor
    metric: Tensor
    three_pass: Tensor
    norm_bound: Tensor


def depth_study(
    depths: Sequence[int],
    width: int,
    seeds: int,
    generator: torch.Generator,
    *,
    noise: float = 0.1,
    ordered: bool = False,
    log: bool = False,
    inputs: int = 200,
    at_once: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> DepthStudy:
    """Perturb random ReLU networks without biases, all seeds at once, and bound what changes.

    Weights are normal with variance 1/width; each is multiplied by a factor uniform on
    [1 - noise, 1 + noise], so no sign changes.  The metric is enumerated, path by path.  With
    ``ordered`` the factors are on [1 - noise, 1]: no weight grows, so two path-norms give the
    metric (and ``three_pass`` is the same number), at any depth and width.  Source: companion.

    ``log`` asks for natural logarithms, which never overflow (-inf for zero).  ``at_once`` networks
    are in memory together, one layer of each at a time; each has a random stream of its own.

    Raises ValueError when ``noise`` is not in [0, 1), or there are too many paths to enumerate.
    """
    if not 0 <= noise < 1:
        raise ValueError(f"noise = {noise}: choose it in [0, 1), so that signs stay")
    if not ordered and seeds * width ** (max(depths) + 1) > PATHS_AT_MOST:
        raise ValueError(
            f"depth {max(depths)} at width {width} has too many paths: choose less, or ordered=True"
        )
    rows = []
    for depth in depths:
        parts = []
        for streams in _split(_streams(seeds, generator), at_once or seeds):
            x = _stacked(_uniform, (width, inputs), streams, device).to(dtype)
            pairs = _layers(depth, width, streams, noise, ordered, device)
            parts.append(_bounds((pair.to(dtype) for pair in pairs), x, ordered))
        rows.append([torch.cat(part) for part in zip(*parts, strict=True)])
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return DepthStudy(torch.tensor(depths), *(c if log else c.exp() for c in columns))


def _streams(seeds: int, generator: torch.Generator) -> list[torch.Generator]:
    """A generator for each network, so that it is the same one whatever is computed beside it."""
    device = generator.device
    draws = torch.randint(2**62, (seeds,), generator=generator, device=device).tolist()
    return [torch.Generator(device).manual_seed(draw) for draw in draws]


def _split(items: list, size: int) -> Iterator[list]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _layers(
    depth: int,
    width: int,
    streams: list[torch.Generator],
    noise: float,
    ordered: bool,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Layer by layer, from the input on, the matrices of both networks: (2, seeds, W, W)."""
    for _ in range(depth):
        weight = _stacked(_normal, (width, width), streams, device) * width**-0.5
        move = _stacked(_uniform, (width, width), streams, device)
        factor = 1 - noise * (1 - move) / 2 if ordered else 1 + noise * move
        yield torch.stack((weight, weight * factor))


def _bounds(layers: Iterable[Tensor], x: Tensor, ordered: bool) -> tuple[Tensor, ...]:
    """Logarithms of gap, path-metric, three-pass and norm bound, each (seeds,).

    ``layers`` are (2, seeds, W, W), one after the other, and x is (seeds, W, N).  Values that grow
    with the depth are kept as v·2^e, so that neither v overflows nor the sign of a difference is
    lost; nothing waits for the device.
    """
    seeds, width = x.shape[:2]
    outputs, outputs_e = x.expand(2, *x.shape), x.new_zeros(seeds)
    norms, norms_e = x.new_ones(3, seeds, width, 1), x.new_zeros(3, seeds)  # of a, b, their meet
    lifting = None
    rows, distance, depth = x.new_ones(seeds), x.new_zeros(seeds), 0
    for depth, pair in enumerate(layers, start=1):
        outputs, e = _balanced(pair @ (outputs.relu() if depth > 1 else outputs), (0, 2, 3))
        outputs_e = outputs_e + e
        size = pair.abs()
        # With the common signs, the meet is the network of the smaller weights.
        pushed = size @ norms[:2], size.amin(0, keepdim=True) @ norms[2:]
        norms, e = _balanced(torch.cat(pushed), (2, 3))
        norms_e = norms_e + e
        lifting = None if ordered else _longer(lifting, pair)
        rows = torch.maximum(rows, size.sum(-1).amax((0, 2)))
        distance = torch.maximum(distance, (pair[0] - pair[1]).abs().amax((1, 2)))
    gap = (outputs[0] - outputs[1]).abs().sum(1).amax(1).log() + outputs_e * LOG2
    a, b, meet = norms.sum((2, 3)) * torch.exp2(norms_e - norms_e[0])
    top = norms_e[0] * LOG2
    three_pass = (a + b - 2 * meet).clamp(min=0).log() + top
    metric = (a - b).clamp(min=0).log() + top if ordered else _distance(lifting)
    norm_bound = math.log(depth * width**2) + (depth - 1) * rows.log() + distance.log()
    return gap, metric, three_pass, norm_bound


def _balanced(values: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(v, e) with values = v·2^e exactly, and the largest |v| over the axes in [1/2, 1)."""
    largest = values.abs().amax(axes, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    mantissa, exponent = torch.frexp(largest)
    return values * (mantissa / largest), exponent.squeeze(axes).to(values.dtype)


def _longer(lifting: Tensor | None, pair: Tensor) -> Tensor:
    """Products along all paths, by brute force: (2, seeds, W^L, W), the last axis the output."""
    layer = pair.mT
    return layer if lifting is None else (lifting[..., None] * layer[:, :, None]).flatten(2, 3)


def _distance(lifting: Tensor) -> Tensor:
    return (lifting[0] - lifting[1]).abs().sum((1, 2)).log()


def _stacked(
    draw: Callable,
    shape: tuple[int, ...],
    streams: list[torch.Generator],
    device: torch.device | str = "cpu",
) -> Tensor:
    """A draw from each stream, on the device; the host goes on drawing and does not wait."""
    where = {"dtype": torch.float64, "device": streams[0].device}
    draws = torch.empty(len(streams), *shape, **where)
    for one, stream in zip(draws, streams, strict=True):
        draw(one, generator=stream)
    return draws.to(device, non_blocking=True)


_normal = Tensor.normal_


def _uniform(into: Tensor, generator: torch.Generator) -> Tensor:
    return into.uniform_(-1, 1, generator=generator)


class OutputChange(NamedTuple):
    """What a change of the weights does, level by level: three tensors (levels,), float64.

    ``certified`` bounds the change of the output, in the 1-norm, for every input whose entries
    lie in the range of the inputs given: path-metric times that range, or 1 if that is larger.
    ``observed`` is the largest change over the inputs given.
    """

    levels: Tensor
    certified: Tensor
    observed: Tensor


def output_change_study(
    model: nn.Module, inputs: Tensor, *, sparsities: Sequence[float], steps: Sequence[float]
) -> dict[str, OutputChange]:
    """Prune ``model`` by path-magnitude and by magnitude, and truncate it to multiples of a step.

    ``inputs`` is a batch (N, ...); ``sparsities`` are shares in (0, 1) of the convolution and
    linear weights, ``steps`` positive numbers in units of the weights.  The model is left alone,
    and all is computed in float64.
    """
    model, inputs = copy.deepcopy(model).double().eval(), inputs.double()
    scores = {
        "path-magnitude": path_magnitude(model, tuple(inputs.shape[1:])),
        "magnitude": {name: model.get_parameter(name).detach().abs() for name in prunable(model)},
    }
    changed = {
        name: [score_prune(model, score, sparsity) for sparsity in sparsities]
        for name, score in scores.items()
    }
    truncated = [quantize(model, step, mode="truncate") for step in steps]
    changes = {name: _change(model, nets, inputs, sparsities) for name, nets in changed.items()}
    return changes | {"truncation": _change(model, truncated, inputs, steps)}


@torch.no_grad()
def _change(
    model: nn.Module, changed: Sequence[nn.Module], inputs: Tensor, levels: Sequence[float]
) -> OutputChange:
    shape, size = tuple(inputs.shape[1:]), max(1.0, float(inputs.abs().max()))
    certified = [size * path_metric(model, other, shape).value for other in changed]
    clean = model(inputs)
    observed = [(other(inputs) - clean).abs().flatten(1).sum(1).max() for other in changed]
    columns = levels, certified, [float(gap) for gap in observed]
    return OutputChange(*(torch.tensor(column, dtype=torch.float64) for column in columns))
