"""No GPU is needed to see what would wait for one: fake tensors have shapes and devices only.

An operation on two devices raises, and so does a value that Python asks for. ``lazy`` stands for
the accelerator: it is a device that every build of torch can pretend to have.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lib.paths import studies
from lib.paths.masks import kept
from lib.training import Schedule, accuracy, orders, train

DEVICE = "lazy:0"


class Transfers(TorchDispatchMode):
    """Counts the operations that carry numbers from one device to another."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        self.count += len({t.device.type for t in tensors}) > 1
        return result


class Copies(nn.Module):
    """Three linear networks at once."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(64, 30, device=DEVICE))

    def forward(self, x):
        return (x.flatten(1) @ self.weight).unflatten(1, (3, 10))


@pytest.mark.parametrize("augment", [False, True])
def test_training_waits_for_nothing_and_moves_data_once_an_epoch(augment):
    schedule = Schedule(epochs=3, batch=8, rate=0.1, augment=augment)
    with FakeTensorMode(), Transfers() as transfers:
        model, generator = Copies(), torch.Generator()
        x = torch.zeros(40, 1, 8, 8, device=DEVICE)
        y = torch.zeros(40, dtype=torch.int64, device=DEVICE)
        masks = [(p, torch.ones_like(p, dtype=torch.bool)) for p in model.parameters()]
        order = orders(40, 3, generator)
        seen = []
        for _ in train(model, x, y, schedule, order, masks=masks, generator=generator):
            seen.append(transfers.count)
            assert accuracy(model, x, y).device == torch.device(DEVICE)
    assert seen == ([2, 3, 4] if augment else [1, 1, 1])  # the order first


@pytest.mark.parametrize("ordered", [False, True])
def test_the_depth_study_sends_each_layer_once_and_fetches_nothing(monkeypatch, ordered):
    with FakeTensorMode(), Transfers() as transfers:
        streams = [torch.Generator() for _ in range(5)]
        layers = studies._layers(3, 4, streams, 0.1, ordered, DEVICE)
        x = torch.zeros(5, 4, 7, dtype=torch.float64, device=DEVICE)
        bounds = studies._bounds(layers, x, ordered)
    assert [(str(b.device), b.shape) for b in bounds] == [(DEVICE, (5,))] * 4
    assert transfers.count == 3 * 2  # weights, and what changes them


def test_masks_are_made_where_the_scores_are():
    with FakeTensorMode(), Transfers() as transfers:
        keep = kept(torch.zeros(2, 9, device=DEVICE), (0.1, 0.5))
    assert keep.device == torch.device(DEVICE)
    assert transfers.count <= 1  # the counts


def test_the_spy_sees_a_value_that_is_asked_for_and_a_second_device():
    with FakeTensorMode(), Transfers() as transfers:
        there = torch.zeros(3, device=DEVICE)
        with pytest.raises(DataDependentOutputException):
            float(there.sum())
        with pytest.raises(RuntimeError, match="at least two devices"):
            there + torch.zeros(3)
        torch.zeros(3).to(DEVICE)
    assert transfers.count == 1
