"""Residual networks, one at a time or many at once.

`resnet` builds the ImageNet and CIFAR networks of He et al. (2016) with the layer names of
torchvision, so that its checkpoints load. `small_resnet` is the same design for 8×8 images.

With `copies=S` the result is S independent networks written as *one* grouped network: every
convolution has S groups, every batch normalisation S·c channels, and the classifier is a grouped
1×1 convolution. Each parameter is the concatenation, along its first axis, of the parameters of
the copies; `stack_states` and `split_state` go back and forth. One training loop trains S seeds.

The forward functions use only what `torch.fx` can trace.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv(c_in: int, c_out: int, kernel: int, stride: int, copies: int, groups: int) -> nn.Conv2d:
    """Bias-free convolution that keeps the image size at stride 1; channels per copy."""
    return nn.Conv2d(
        c_in * groups, c_out * copies, kernel, stride, kernel // 2, groups=groups, bias=False
    )


def shortcut(c_in: int, c_out: int, stride: int, copies: int) -> nn.Sequential | None:
    """1×1 convolution and BatchNorm where the shape changes, nothing where the identity will do."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(
        conv(c_in, c_out, 1, stride, copies, copies), nn.BatchNorm2d(c_out * copies)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int, copies: int):
        super().__init__()
        self.conv1 = conv(c_in, width, 3, stride, copies, copies)
        self.bn1 = nn.BatchNorm2d(width * copies)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(width, width, 3, 1, copies, copies)
        self.bn2 = nn.BatchNorm2d(width * copies)
        self.downsample = shortcut(c_in, width, stride, copies)

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + residual)


class Bottleneck(nn.Module):
    """1×1, 3×3 (which carries the stride), 1×1 to four times the width, around a shortcut."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, copies: int):
        super().__init__()
        c_out = self.expansion * width
        self.conv1 = conv(c_in, width, 1, 1, copies, copies)
        self.bn1 = nn.BatchNorm2d(width * copies)
        self.conv2 = conv(width, width, 3, stride, copies, copies)
        self.bn2 = nn.BatchNorm2d(width * copies)
        self.conv3 = conv(width, c_out, 1, 1, copies, copies)
        self.bn3 = nn.BatchNorm2d(c_out * copies)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(c_in, c_out, stride, copies)

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + residual)


class ResNet(nn.Module):
    """Stem, four (or fewer) stages of blocks, global average pooling, one linear classifier."""

    def __init__(self, block, lengths, widths, classes, in_channels, stem, copies, shared_input):
        super().__init__()
        groups = 1 if shared_input else copies  # one dense stem reads an input that all share
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = conv(in_channels, widths[0], kernel, stride, copies, groups)
        self.bn1 = nn.BatchNorm2d(widths[0] * copies)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        c_in = widths[0]
        for i, (length, width) in enumerate(zip(lengths, widths, strict=True)):
            self.add_module(f"layer{i + 1}", stage(block, c_in, width, length, 1 + (i > 0), copies))
            c_in = block.expansion * width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = classifier(c_in, classes, copies)
        self.stages = len(lengths)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        x = self.avgpool(x)
        return self.fc(x.flatten(1) if isinstance(self.fc, nn.Linear) else x)


def stage(block, c_in: int, width: int, length: int, stride: int, copies: int) -> nn.Sequential:
    """`length` blocks of one width; only the first changes the size of the image."""
    first = block(c_in, width, stride, copies)
    rest = (block(block.expansion * width, width, 1, copies) for _ in range(length - 1))
    return nn.Sequential(first, *rest)


def classifier(features: int, classes: int, copies: int) -> nn.Module:
    """Linear for one network; for S networks a grouped convolution, outputs (N, S, classes)."""
    if copies == 1:
        return nn.Linear(features, classes)
    grouped = nn.Conv2d(features * copies, classes * copies, 1, groups=copies)
    return nn.Sequential(grouped, nn.Flatten(1), nn.Unflatten(1, (copies, classes)))


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator, copies: int = 1) -> None:
    """Fill in place: He-normal (fan out) convolutions, identity BatchNorm, uniform classifier.

    Draws are made on the generator's device and copied: a seed is the same network everywhere.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # ones and zeros: no randomness
        elif isinstance(module, nn.Conv2d) and module.bias is None:
            fan_out = module.weight.shape[0] // copies * module.weight[0, 0].numel()
            fill(module.weight, torch.randn, (2 / fan_out) ** 0.5, generator)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = module.weight[0].numel() ** -0.5
            fill(module.weight, symmetric_uniform, bound, generator)
            fill(module.bias, symmetric_uniform, bound, generator)


def fill(tensor: Tensor, draw, scale: float, generator: torch.Generator) -> None:
    """tensor ← scale · draw, drawn in float64 so that all dtypes round the same numbers."""
    sample = draw(tensor.shape, generator=generator, dtype=torch.float64, device=generator.device)
    tensor.copy_(scale * sample)


def symmetric_uniform(shape, **options) -> Tensor:
    """Uniform on [−1, 1)."""
    return 2 * torch.rand(shape, **options) - 1


def build(block, lengths, widths, shape, generator, device, dtype) -> ResNet:
    """Build on the meta device (the global random state stays as it is), then allocate and fill.

    `shape` holds the remaining arguments of ResNet, `copies` the last but one.
    """
    copies = shape[-2]
    if copies < 1 or not widths:
        raise ValueError(f"{copies=}, {widths=}; give copies=1 for one network and some widths")
    with torch.device("meta"):
        model = ResNet(block, lengths, widths, *shape).to(dtype=dtype)
    if torch.device(device).type != "meta":
        model = model.to_empty(device=device)
        initialise(model, generator, copies)
    return model


BLOCKS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def resnet(
    depth: int,
    *,
    generator: torch.Generator,
    classes: int = 1000,
    in_channels: int = 3,
    width: int = 64,
    stem: str = "imagenet",
    copies: int = 1,
    shared_input: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ResNet:
    """ResNet-18/34/50/101/152 (He et al. 2016; the 3×3 carries the stride, as in torchvision).

    Input (N, in_channels, H, W), or (N, copies·in_channels, H, W) if not `shared_input`;
    output (N, classes), or (N, copies, classes) when copies > 1.
    `stem="cifar"` is a 3×3 convolution without pooling.
    Raises ValueError for an unknown depth or stem.
    """
    if depth not in BLOCKS:
        raise ValueError(f"no ResNet of depth {depth}; choose one of {sorted(BLOCKS)}")
    if stem not in ("imagenet", "cifar"):
        raise ValueError(f"unknown stem {stem!r}; use 'imagenet' or 'cifar'")
    shape = (classes, in_channels, stem, copies, shared_input)
    widths = tuple(width * 2**i for i in range(4))
    return build(*BLOCKS[depth], widths, shape, generator, device, dtype)


def small_resnet(
    *,
    generator: torch.Generator,
    classes: int = 10,
    in_channels: int = 1,
    widths: Sequence[int] = (8, 16),
    copies: int = 1,
    shared_input: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ResNet:
    """ResNet for 8×8 images: a 3×3 stem and one basic block for each width; shapes as `resnet`."""
    shape = (classes, in_channels, "cifar", copies, shared_input)
    lengths = (1,) * len(widths)
    return build(BasicBlock, lengths, tuple(widths), shape, generator, device, dtype)


def stack_states(states: Sequence[dict[str, Tensor]], model: nn.Module) -> dict[str, Tensor]:
    """State that makes the s-th copy in the grouped `model` the single network of `states[s]`."""
    singles = [list(state.values()) for state in states]
    targets = model.state_dict().items()
    return {
        name: torch.cat(parts).reshape(target.shape) if target.dim() else parts[0].clone()
        for (name, target), *parts in zip(targets, *singles, strict=True)
    }


def split_state(model: nn.Module, single: nn.Module, copies: int) -> list[dict[str, Tensor]]:
    """Undo `stack_states`: one state for each copy, with the names and shapes of `single`."""
    targets = single.state_dict().items()
    values = [
        value.chunk(copies) if value.dim() else [value] * copies  # a scalar counts batches
        for value in model.state_dict().values()
    ]
    return [
        {
            name: parts[s].reshape(target.shape).clone()
            for (name, target), parts in zip(targets, values, strict=True)
        }
        for s in range(copies)
    ]
