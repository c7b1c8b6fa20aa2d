"""A remembered graph is never an old one: whatever the graph depends on is noticed."""

import gc
import os
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.nets import small_resnet
from lib.paths import UnsupportedModule, path_norm
from lib.paths.memory import signature
from lib.paths.trace import REMEMBERED
from networks import Forward, cnn, filled, mlp

SWITCH = True


def halve(x):
    return x / 2


class Switched(nn.Module):
    """x or x + relu(x) after a layer, as one of many kinds of switches says."""

    flag = True

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def on(self) -> bool:
        raise NotImplementedError

    def forward(self, x):
        y = self.layer(x)
        return y + F.relu(y) if self.on() else y


class ByAttribute(Switched):
    def on(self):
        return self.flag


class ByGlobal(Switched):
    def on(self):
        return SWITCH


class ByClosure(Switched):
    pass


def closure():
    box = [True]

    def on(self):
        return box[0]

    ByClosure.on = on
    return box


class ByEnvironment(Switched):
    def on(self):
        return os.environ.get("SWITCH", "1") == "1"


class ByImport(Switched):
    def on(self):
        import os

        return os.environ.get("SWITCH", "1") == "1"


class ByGradMode(Switched):
    def on(self):
        return not torch.is_inference_mode_enabled()


class ByBuffer(Switched):
    def __init__(self):
        super().__init__()
        self.register_buffer("gate", torch.tensor(1.0))

    def on(self):
        return bool(self.gate)


class Box:
    on = True


class ByObject(Switched):
    def __init__(self):
        super().__init__()
        self.box = Box()

    def on(self):
        return self.box.on


class ByHelper(Switched):
    def forward(self, x):
        return halve(self.layer(x))


class ByProperty(Switched):
    @property
    def _on(self):
        return SWITCH

    def on(self):
        return self._on


def ones(model: nn.Module) -> nn.Module:
    for p in model.parameters():
        nn.init.ones_(p)
    return model.eval()


def norms(model: nn.Module, turn_off) -> tuple[float, float]:
    first = path_norm(model, (2,))
    assert path_norm(model, (2,)) == first  # now it would be remembered
    turn_off()
    return first, path_norm(model, (2,))


CASES = {
    "attribute": (ByAttribute, lambda m, patch: setattr(m, "flag", False)),
    "class attribute": (ByAttribute, lambda m, patch: patch.setattr(ByAttribute, "flag", False)),
    "global": (ByGlobal, lambda m, patch: patch.setitem(globals(), "SWITCH", False)),
    "environment": (ByEnvironment, lambda m, patch: patch.setenv("SWITCH", "0")),
    "import": (ByImport, lambda m, patch: patch.setenv("SWITCH", "0")),
    "buffer": (ByBuffer, lambda m, patch: m.gate.zero_()),
    "object": (ByObject, lambda m, patch: setattr(m.box, "on", False)),
    "property": (ByProperty, lambda m, patch: patch.setitem(globals(), "SWITCH", False)),
    "method": (ByAttribute, lambda m, patch: patch.setattr(ByAttribute, "on", lambda self: False)),
    "instance": (ByAttribute, lambda m, patch: setattr(m, "forward", lambda x: m.layer(x))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_switch_is_noticed(name, monkeypatch):
    kind, turn_off = CASES[name]
    model = ones(kind())
    assert norms(model, lambda: turn_off(model, monkeypatch)) == (12.0, 6.0)


def test_a_switch_in_a_closure_is_noticed():
    box = closure()
    assert norms(ones(ByClosure()), lambda: box.__setitem__(0, False)) == (12.0, 6.0)


def test_a_helper_replaced_is_noticed(monkeypatch):
    model = ones(ByHelper())
    after = norms(model, lambda: monkeypatch.setitem(globals(), "halve", lambda x: x / 4))
    assert after == (3.0, 1.5)


def test_the_state_of_torch_is_not_trusted():
    assert signature(ByGradMode()) is None


def test_layers_may_change_their_settings():
    model = filled(nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU(), nn.MaxPool2d(2)))
    before = path_norm(model, (1, 5, 5))
    model[2].stride = 1
    assert path_norm(model, (1, 5, 5)) > before
    model[0].padding = (1, 1)
    assert path_norm(model, (1, 5, 5), q=0) == path_norm(
        filled(nn.Sequential(nn.Conv2d(1, 1, 2, padding=1), nn.ReLU(), nn.MaxPool2d(2, 1))),
        (1, 5, 5),
        q=0,
    )


def test_layers_may_be_replaced_added_and_removed():
    model = mlp()
    before = path_norm(model, (3,))
    model[1] = nn.Identity()
    assert path_norm(model, (3,)) == before  # a gate costs nothing
    model[1] = nn.GELU()
    with pytest.raises(UnsupportedModule):
        path_norm(model, (3,))
    model[1] = nn.ReLU()
    model.append(nn.BatchNorm1d(2).double().eval())
    assert path_norm(model, (3,)) != before
    del model[5]
    assert path_norm(model, (3,)) == before


def test_modes_and_parameters_may_change():
    model = cnn()
    before = path_norm(model, (1, 4, 4))
    with pytest.raises(UnsupportedModule, match="training"):
        path_norm(model.train(), (1, 4, 4))
    model.eval()
    with torch.no_grad():
        model[8].weight *= 2
        model[8].bias *= 2
    assert path_norm(model, (1, 4, 4)) == 2 * before
    model[1].running_var *= 4
    assert path_norm(model, (1, 4, 4)) < 2 * before
    assert path_norm(model.float(), (1, 4, 4)) < 2 * before


def test_ones_and_trues_are_told_apart():
    model = mlp()
    model.flag = 1
    before = signature(model)
    model.flag = True
    assert signature(model) != before


def small(copies: int = 1) -> nn.Module:
    return small_resnet(generator=torch.Generator(), copies=copies).eval()


@pytest.mark.parametrize(
    ("model", "shape"),
    [(mlp(), (3,)), (cnn(), (1, 4, 4)), (small(), (1, 8, 8)), (small(copies=2), (1, 8, 8))],
)
def test_ordinary_networks_are_remembered(model, shape):
    path_norm(model, shape)
    then, structure = REMEMBERED[model]
    assert signature(model) == then
    path_norm(model, shape)
    assert REMEMBERED[model][1] is structure


def test_what_is_remembered_dies_with_its_model():
    for make, shape in ((small, (1, 8, 8)), (mlp, (3,)), (lambda: filled(nn.Linear(2, 2)), (2,))):
        model = make()
        path_norm(model, shape)
        alive = weakref.ref(model)
        del model
        gc.collect()
        assert alive() is None


def test_functions_kept_on_a_model_are_not_trusted():
    assert signature(Forward(lambda m, x: m.a(x), a=nn.Linear(2, 2))) is None
