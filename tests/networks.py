"""Small networks for the tests of `lib.paths`, and the recipe that fills them with numbers."""

import math

import torch
from torch import Tensor, nn


def filled(model: nn.Module, a: float = 0.7) -> nn.Module:
    """float64, eval mode; the k-th scalar of the parameters is sin(a k), statistics likewise."""
    k = 0
    model = model.double().eval()
    with torch.no_grad():
        for p in model.parameters():
            steps = torch.arange(k + 1, k + 1 + p.numel(), dtype=torch.float64)
            p.copy_(torch.sin(a * steps).view(p.shape))
            k += p.numel()
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                i = torch.arange(1, 1 + module.num_features, dtype=torch.float64)
                module.running_mean.copy_(0.3 * torch.cos(i))
                module.running_var.copy_(1 + 0.5 * torch.sin(i) ** 2)
    return model


def mlp() -> nn.Module:
    """3-4-3-2 with biases."""
    return filled(
        nn.Sequential(
            *(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        )
    )


def cnn() -> nn.Module:
    """A convolutional network for 1×4×4 images with BatchNorm, max- and average pooling."""
    return filled(
        nn.Sequential(
            *(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.Linear(2, 2)),
        )
    )


def waves(*shape: int, a: float = 0.37) -> Tensor:
    """Inputs sin(0), sin(a), sin(2a), …"""
    return torch.sin(a * torch.arange(math.prod(shape), dtype=torch.float64)).view(shape)


class Forward(nn.Module):
    """Layers by name and a forward function of (layers, x): a model in one line."""

    def __init__(self, function, **layers: nn.Module):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)
