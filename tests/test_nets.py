"""Residual networks: published sizes, and S copies in one network are S networks."""

import pytest
import torch

from lib.nets import resnet, small_resnet, split_state, stack_states


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_parameter_counts_are_those_of_the_published_networks(depth, parameters):
    assert count(resnet(depth, generator=generator(), device="meta")) == parameters


def test_names_are_those_of_published_checkpoints():
    names = set(resnet(50, generator=generator(), device="meta").state_dict())
    expected = {"conv1.weight", "bn1.running_var", "layer1.0.downsample.1.bias", "fc.weight"}
    assert expected | {"layer4.2.conv3.weight", "layer2.3.bn2.num_batches_tracked"} <= names


def test_imagenet_stem_divides_the_image_by_four_and_cifar_stem_keeps_it():
    x = torch.zeros(1, 3, 32, 32)
    for stem, size in (("imagenet", 8), ("cifar", 32)):
        net = resnet(18, generator=generator(), width=4, stem=stem)
        assert net.maxpool(net.conv1(x)).shape[-1] == size


def test_the_stride_of_a_bottleneck_is_on_its_3x3_convolution():
    block = resnet(50, generator=generator(), device="meta").layer2[0]
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [
        (1, 1),
        (2, 2),
        (1, 1),
    ]


def test_one_seed_is_one_network_and_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    a, b, c = (small_resnet(generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


def test_dtypes_round_the_same_draws():
    single = small_resnet(generator=generator()).state_dict()
    double = small_resnet(generator=generator(), dtype=torch.float64).state_dict()
    assert all(torch.equal(single[name], double[name].to(single[name].dtype)) for name in single)


def test_convolutions_have_the_variance_of_he_and_copies_have_it_too():
    for copies in (1, 4):
        net = resnet(18, generator=generator(), width=64, copies=copies)
        std = net.layer1[0].conv1.weight.std().item()
        assert std == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # 36,864 draws: 3 σ is 1.1 %


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_the_classifier_is_uniform_of_both_signs_up_to_one_over_the_root_of_its_features(name):
    classifier = small_resnet(generator=generator(), widths=(16,), classes=1000).fc
    values = getattr(classifier, name).detach()
    assert values.min().item() == pytest.approx(-(16**-0.5), rel=0.02)
    assert values.max().item() == pytest.approx(16**-0.5, rel=0.02)


@pytest.mark.parametrize("training", [False, True])
def test_copies_in_one_network_compute_what_the_single_networks_compute(training):
    singles = [small_resnet(generator=generator(s), dtype=torch.float64) for s in range(3)]
    joint = small_resnet(generator=generator(9), copies=3, dtype=torch.float64)
    joint.load_state_dict(stack_states([net.state_dict() for net in singles], joint))
    x = torch.randn(6, 1, 8, 8, generator=generator(), dtype=torch.float64)
    expected = torch.stack([net.train(training)(x) for net in singles], dim=1)
    assert joint.train(training)(x).shape == (6, 3, 10)
    torch.testing.assert_close(joint(x), expected, rtol=1e-12, atol=1e-12)


def test_copies_may_have_inputs_of_their_own():
    options = {"copies": 2, "dtype": torch.float64}
    shared = small_resnet(generator=generator(), **options).eval()
    apart = small_resnet(generator=generator(5), shared_input=False, **options).eval()
    apart.load_state_dict(shared.state_dict())
    x, y = torch.randn(2, 4, 1, 8, 8, generator=generator(), dtype=torch.float64)
    both = apart(torch.cat((x, y), dim=1))
    torch.testing.assert_close(both[:, 0], shared(x)[:, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(both[:, 1], shared(y)[:, 1], rtol=1e-12, atol=1e-12)


def test_splitting_undoes_stacking():
    singles = [small_resnet(generator=generator(s)) for s in range(2)]
    joint = small_resnet(generator=generator(), copies=2)
    joint.load_state_dict(stack_states([net.state_dict() for net in singles], joint))
    for state, net in zip(split_state(joint, singles[0], 2), singles, strict=True):
        assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "word"),
    [({"depth": 20}, "152"), ({"depth": 18, "stem": "tall"}, "cifar"), ({"copies": 0}, "copies=1")],
)
def test_what_does_not_exist_is_refused_with_what_does(options, word):
    with pytest.raises(ValueError, match=word):
        resnet(**{"depth": 18, "generator": generator(), **options})
