"""What lies outside the vocabulary is refused, by name and with a remedy, before any work."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

from lib.paths import NotFinite, UnsupportedModule, path_magnitude, path_metric, path_norm, unroll
from networks import Forward, cnn, mlp


def seq(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval()


def between(layer: nn.Module) -> nn.Module:
    return seq(nn.Linear(4, 4), layer, nn.Linear(4, 2))


def calling(function, **layers: nn.Module) -> nn.Module:
    return Forward(function, a=nn.Linear(4, 4), b=nn.Linear(4, 4), **layers).eval()


LAYERS = [
    *(nn.LeakyReLU(), nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.PReLU(), nn.ELU()),
    *(nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid(), nn.Hardtanh(), nn.Threshold(0, 1)),
    *(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4), nn.Bilinear(4, 4, 4)),
    *(nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.Embedding(4, 4), nn.Upsample(8)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_outside_the_vocabulary(layer):
    with pytest.raises(UnsupportedModule, match=rf"1 \({type(layer).__name__}\)"):
        path_norm(between(layer), (4,))


def test_a_layer_deep_inside_is_named_by_its_path():
    model = seq(nn.Linear(4, 4), seq(nn.Identity(), between(nn.GELU())))
    with pytest.raises(UnsupportedModule, match=r"1\.1\.1 \(GELU\).*ReLU"):
        path_norm(model, (4,))


CALLS = {
    "leaky_relu": lambda m, x: F.leaky_relu(m.a(x)),
    "relu6": lambda m, x: F.relu6(m.a(x)),
    "gelu": lambda m, x: F.gelu(m.a(x)),
    "softmax": lambda m, x: m.a(x).softmax(1),
    "sigmoid": lambda m, x: torch.sigmoid(m.a(x)),
    "multiplies two activations": lambda m, x: m.a(x) * m.b(x),
    "'matmul'": lambda m, x: m.a(x) @ m.b(x),
    "divides by an activation": lambda m, x: 1 / m.a(x),
    "'pow'": lambda m, x: m.a(x) ** 2,
    "'abs'": lambda m, x: abs(m.a(x)),
    "adds a constant": lambda m, x: m.a(x) + 1,
    "adds a constant ": lambda m, x: 1 - m.a(x),
    "finite Python number": lambda m, x: m.a(x) * float("inf"),
    "divides by zero": lambda m, x: m.a(x) / 0,
    "over the batch": lambda m, x: m.a(x).mean(),
    "over the batch ": lambda m, x: m.a(x).mean(0),
    "along the batch": lambda m, x: torch.cat([m.a(x), m.b(x)]),
    "training mode": lambda m, x: F.dropout(m.a(x)),
    "'max'": lambda m, x: m.a(x).max(1),
    "uses a parameter directly": lambda m, x: F.linear(x, m.a.weight),
    "uses a parameter directly ": lambda m, x: x + m.a.bias,
    "tied": lambda m, x: m.a(m.a(x)),
    "cannot be traced": lambda m, x: m.a(x) if x.sum() > 0 else m.b(x),
    "cannot be traced ": lambda m, x: m.a(x)[: int(x[0, 0])],
    "returns something other": lambda m, x: m.a(x).shape,
    "more than its input": lambda m, x: m.c(m.a(x), output_size=(8,)),
    "unknown way": lambda m, x: torch.mean(m.a(x), 1, dtype=torch.float64),
    "shape of its input": lambda m, x: F.avg_pool1d(m.a(x), x.size(1)),
    "max_pool1d_with_indices": lambda m, x: F.max_pool1d(m.a(x), 2, return_indices=True),
}


@pytest.mark.parametrize("reason", CALLS)
def test_calls_outside_the_vocabulary(reason):
    extra = {"c": nn.ConvTranspose1d(1, 1, 2)} if "more than" in reason else {}
    with pytest.raises(UnsupportedModule, match=reason.strip()):
        path_norm(calling(CALLS[reason], **extra), (4,))


def double_use(m, x):
    y = m.a(x)
    return F.relu(y, inplace=True) + y


def double_use_through_a_view(m, x):
    y = m.a(x)
    z = y.view(-1, 4)
    z += m.b(x)
    return y


@pytest.mark.parametrize("function", [double_use, double_use_through_a_view])
def test_what_was_overwritten_in_place_is_not_used_again(function):
    with pytest.raises(UnsupportedModule, match="in place"):
        path_norm(calling(function), (4,))


def test_working_in_place_is_fine_when_nobody_looks_back():
    def forward(m, x):
        y = m.a(x)
        y += m.b(x)
        return F.relu(y, inplace=True)

    assert path_norm(calling(forward), (4,)) > 0


MODES = [nn.BatchNorm1d(4), nn.Dropout()]


@pytest.mark.parametrize("layer", MODES, ids=lambda layer: type(layer).__name__)
def test_training_mode_matters_where_it_changes_the_function(layer):
    model = between(layer)
    assert path_norm(model, (4,)) > 0
    with pytest.raises(UnsupportedModule, match=r"training mode.*model\.eval\(\)"):
        path_norm(model.train(), (4,))


def test_training_mode_does_not_matter_where_it_changes_nothing():
    assert path_norm(between(nn.ReLU()).train(), (4,)) > 0


def test_batchnorm_without_statistics():
    with pytest.raises(UnsupportedModule, match="running statistics"):
        path_norm(between(nn.BatchNorm1d(4, track_running_stats=False)), (4,))


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.AdaptiveMaxPool2d])
def test_pooling_that_returns_indices(kind):
    with pytest.raises(UnsupportedModule, match="return_indices=False"):
        path_norm(seq(nn.Conv2d(1, 1, 1), kind(2, return_indices=True)), (1, 4, 4))


def test_tied_weights_in_two_layers():
    model = between(nn.ReLU())
    model.append(nn.Linear(4, 4))
    model[3] = nn.Linear(2, 4)
    model[3].weight = nn.Parameter(model[2].weight.data.view(4, 2))  # another name, one memory
    with pytest.raises(UnsupportedModule, match="tied"):
        path_norm(model, (4,))


@pytest.mark.parametrize(
    "wrap", [weight_norm, parametrizations.weight_norm, parametrizations.orthogonal]
)
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_weights_computed_from_others(wrap):
    model = between(nn.ReLU())
    wrap(model[0])
    with pytest.raises(UnsupportedModule, match=r"remove"):
        path_norm(model, (4,))
    assert parametrize.is_parametrized(model[0]) or model[0]._forward_pre_hooks


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_that_might_change_the_function(register):
    model = between(nn.ReLU())
    getattr(model[1], register)(lambda *args: None)
    with pytest.raises(UnsupportedModule, match=r"1 \(ReLU\) has forward hooks"):
        path_norm(model, (4,))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_mean", "8.bias"])
def test_numbers_that_are_none(name, value):
    model = cnn()
    model.state_dict()[name].view(-1)[-1] = value
    with pytest.raises(NotFinite, match=name.replace(".", r"\.")):
        path_norm(model, (1, 4, 4))


def test_counting_paths_does_not_take_a_nan_for_a_weight():
    model = mlp()
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with pytest.raises(NotFinite, match=r"0\.weight"):
        path_norm(model, (3,), q=0)


def test_a_variance_of_zero_is_accepted():
    model = cnn()
    model[1].running_var[0] = 0
    assert path_norm(model, (1, 4, 4), q=0) == path_norm(cnn(), (1, 4, 4), q=0)


def test_a_negative_variance():
    model = cnn()
    model[1].running_var[0] = -1
    with pytest.raises(NotFinite, match=r"1\.running_var.*-1"):
        path_norm(model, (1, 4, 4))


@pytest.mark.parametrize("model", [nn.Sequential(), nn.Identity(), seq(nn.ReLU(), nn.MaxPool2d(2))])
def test_nothing_to_lift(model):
    with pytest.raises(UnsupportedModule, match="no parameters"):
        path_norm(model, (4,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_other_dtypes(dtype):
    with pytest.raises(UnsupportedModule, match=rf"0\.weight is {dtype}.*model\.double\(\)"):
        path_norm(seq(nn.Linear(4, 2, dtype=dtype)), (4,))


def test_mixed_dtypes():
    with pytest.raises(UnsupportedModule, match="one dtype"):
        path_norm(seq(nn.Linear(4, 4), nn.Linear(4, 2).double()), (4,))


def test_a_model_without_numbers():
    with pytest.raises(UnsupportedModule, match="meta"):
        path_norm(nn.Linear(4, 2, device="meta"), (4,))


def test_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, y):
            return self.layer(x) + y

    with pytest.raises(UnsupportedModule, match="2 inputs"):
        path_norm(Two(), (4,))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5,), r"0 \(Linear\).*\(1, 5\)"),
        ((), r"input_shape"),
        ((0,), r"input_shape"),
        ((3.0,), r"input_shape"),
        (3, r"input_shape"),
    ],
)
def test_shapes_that_do_not_fit_a_linear_network(shape, words):
    with pytest.raises(ValueError, match=words):
        path_norm(mlp(), shape)


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 4, 4), (2, 4, 4), (1, 1, 1)])
@pytest.mark.parametrize("function", [path_norm, path_magnitude, unroll])
def test_shapes_that_do_not_fit_a_convolutional_network(shape, function):
    with pytest.raises(ValueError, match="input_shape"):
        function(cnn(), shape)


@pytest.mark.parametrize("q", [-1, -0.5, float("inf"), float("nan"), "1", 1j, None])
def test_powers_that_make_no_norm(q):
    with pytest.raises(ValueError, match="q ≥ 0"):
        path_norm(mlp(), (3,), q)


def test_unknown_scales_and_keywords():
    with pytest.raises(ValueError, match="'relative'"):
        path_magnitude(mlp(), (3,), scale="linear")
    with pytest.raises(TypeError):
        path_norm(mlp(), (3,), p=1)


@pytest.mark.parametrize("thing", [None, nn.Linear, "model", nn.Parameter(torch.ones(2))])
def test_things_that_are_no_models(thing):
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        path_norm(thing, (3,))


def test_every_function_refuses_alike():
    bad = between(nn.GELU())
    for function in (path_norm, path_magnitude, unroll):
        with pytest.raises(UnsupportedModule):
            function(bad, (4,))
    with pytest.raises(UnsupportedModule):
        path_metric(bad, bad, (4,))


def test_a_refused_model_is_left_as_it_was():
    model = between(nn.GELU())
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(UnsupportedModule):
        path_magnitude(model, (4,))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
