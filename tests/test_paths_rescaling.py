"""Rescaling hidden neurons: nothing but the parameters changes, bit for bit."""

import pytest
import torch
from torch import nn

from lib.nets import resnet, small_resnet
from lib.paths import hidden_channels, path_magnitude, path_norm, rescale, score_prune
from networks import Forward, cnn, filled, mlp, waves


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seq(*layers: nn.Module) -> nn.Module:
    return filled(nn.Sequential(*layers))


MODELS = {
    "mlp": (mlp(), (3,)),
    "cnn": (cnn(), (1, 4, 4)),
    "residual": (resnet(18, generator=generator(), width=8).eval(), (3, 32, 32)),
    "bottleneck": (
        resnet(50, generator=generator(), width=4, dtype=torch.float64).eval(),
        (3, 32, 32),
    ),
    "copies": (small_resnet(generator=generator(), copies=3).eval(), (1, 8, 8)),
    "groups": (
        seq(
            nn.Conv2d(2, 4, 2),
            nn.ReLU(),
            nn.Conv2d(4, 6, 2, groups=2),
            nn.ReLU(),
            nn.Conv2d(6, 3, 1, groups=3),
        ),
        (2, 4, 4),
    ),
    "transposed": (
        seq(
            *(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU()),
            *(nn.ConvTranspose2d(6, 4, 2), nn.ReLU(), nn.Conv2d(4, 1, 1)),
        ),
        (1, 3, 3),
    ),
    "flatten in blocks": (
        seq(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)),
        (1, 5, 5),
    ),
    "borders": (
        seq(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
        (1, 4, 4),
    ),
    "batchnorm of features": (
        seq(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
        (3,),
    ),
    "view": (
        filled(
            Forward(
                lambda m, x: m.b(m.a(x).relu().view(x.size(0), -1)),
                a=nn.Conv1d(1, 2, 2),
                b=nn.Linear(6, 2),
            )
        ),
        (1, 4),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_function_norm_and_magnitudes_stay_bit_for_bit(name):
    model, shape = MODELS[name]
    other = rescale(model, generator=generator(1))
    x = waves(2, *shape).to(next(model.parameters()))
    assert not all(map(torch.equal, model.parameters(), other.parameters()))
    assert torch.equal(model(x), other(x))
    for q in (0, 1, 2):
        assert path_norm(model, shape, q, log=True) == path_norm(other, shape, q, log=True)
    for scale in ("absolute", "relative", "log"):
        costs, after = (path_magnitude(m, shape, scale) for m in (model, other))
        assert all(torch.equal(costs[n], after[n]) for n in costs)


def test_every_gate_of_a_residual_network_inside_a_block_is_reached():
    hidden = hidden_channels(resnet(18, generator=generator(), device="cpu", width=2).eval())
    blocks = [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert [h.producer for h in hidden] == [f"{b}.bn1" for b in blocks]
    assert [h.consumer for h in hidden] == [f"{b}.conv2" for b in blocks]
    assert [h.channels for h in hidden] == [2, 2, 4, 4, 8, 8, 16, 16]


def test_given_factors_multiply_what_comes_in_and_divide_what_goes_out():
    model, λ = mlp(), torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    other = rescale(model, {"0": λ})
    assert torch.equal(other[0].weight, model[0].weight * λ[:, None])
    assert torch.equal(other[0].bias, model[0].bias * λ)
    assert torch.equal(other[2].weight, model[2].weight / λ)
    assert torch.equal(other[2].bias, model[2].bias)


def test_factors_that_are_no_powers_of_two_round():
    model = mlp()
    other = rescale(model, {"2": torch.tensor([3.0, 0.1, 7.0])})
    x = waves(5, 3)
    torch.testing.assert_close(model(x), other(x), rtol=1e-13, atol=1e-13)
    assert path_norm(other, (3,)) == pytest.approx(path_norm(model, (3,)), rel=1e-14)


def test_draws_come_from_the_choices_and_from_the_generator():
    model = mlp()
    a, b, c = (rescale(model, generator=generator(s), choices=(2, 16)) for s in (1, 1, 2))
    ratio = (a[0].bias / model[0].bias).tolist()
    assert set(ratio) <= {2.0, 16.0}
    assert torch.equal(a[0].weight, b[0].weight)
    assert not all(map(torch.equal, a.parameters(), c.parameters()))


def test_the_model_itself_is_left_alone():
    model = cnn()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rescale(model, generator=generator())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_masks_stay_where_they_are():
    model = score_prune(cnn(), path_magnitude(cnn(), (1, 4, 4)), 0.4)
    other = rescale(model, generator=generator())
    x = waves(3, 1, 4, 4)
    assert torch.equal(model[4].weight_mask, other[4].weight_mask)
    assert torch.equal(model(x), other(x))
    assert torch.equal(other[4].weight, other[4].weight_orig * other[4].weight_mask)


def test_channels_that_two_layers_read_are_not_touched():
    model = filled(
        Forward(lambda m, x: m.b(y := m.a(x).relu()) + y, a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    )
    assert hidden_channels(model) == []


def test_channels_that_a_linear_layer_reads_across_are_not_touched():
    assert hidden_channels(seq(nn.Conv1d(1, 4, 1), nn.ReLU(), nn.Linear(4, 2))) == []
    permuted = Forward(
        lambda m, x: m.b(m.a(x).permute(0, 2, 1)), a=nn.Conv1d(1, 2, 1), b=nn.Linear(2, 2)
    )
    assert hidden_channels(filled(permuted)) == []


def test_features_flattened_between_two_linear_layers_are_not_touched():
    model = seq(nn.Linear(2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))  # for inputs (4, 2)
    assert hidden_channels(model) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either factors or a generator"),
        ({"factors": {}, "generator": generator()}, "either factors or a generator"),
        ({"factors": {"1": torch.ones(4)}}, r"choose from \['0', '2'\]"),
        ({"factors": {"0": torch.ones(3)}}, "4 positive finite numbers"),
        ({"factors": {"0": torch.tensor([1.0, 1, 1, 0])}}, "4 positive finite numbers"),
        ({"factors": {"0": torch.tensor([1.0, 1, 1, -2])}}, "4 positive finite numbers"),
        ({"factors": {"0": torch.tensor([1.0, 1, 1, torch.inf])}}, "4 positive finite numbers"),
        ({"generator": generator(), "choices": (0, 1)}, "choices"),
        ({"generator": generator(), "choices": ()}, "choices"),
    ],
)
def test_arguments_that_make_no_rescaling(arguments, words):
    with pytest.raises(ValueError, match=words):
        rescale(mlp(), **arguments)


def test_nothing_to_rescale():
    with pytest.raises(ValueError, match="no hidden channels"):
        rescale(seq(nn.Linear(2, 2)), generator=generator())
