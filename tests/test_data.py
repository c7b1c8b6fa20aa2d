from functools import partial
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from lib import data
from lib.data import Images, Source, cifar10, digits, mnist


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- digits


def test_digits_have_the_documented_shape_range_and_classes():
    images = digits(seeded(), standardise=False, dtype=torch.float64)
    assert images.train_x.shape == (1437, 1, 8, 8)
    assert images.test_x.shape == (360, 1, 8, 8)
    assert (images.input_shape, images.classes) == ((1, 8, 8), 10)
    assert (images.train_x.dtype, images.train_y.dtype) == (torch.float64, torch.int64)
    assert (images.train_x.min(), images.train_x.max()) == (0, 1)


def test_the_split_is_a_partition_of_the_bundled_images():
    from sklearn.datasets import load_digits

    images = digits(seeded(), standardise=False, dtype=torch.float64)
    ours = torch.cat([images.train_x, images.test_x]).flatten(1).mul(16).numpy()
    ours = np.column_stack([ours, torch.cat([images.train_y, images.test_y])])
    theirs = np.column_stack([load_digits().data, load_digits().target])
    np.testing.assert_array_equal(*(a[np.lexsort(a.T)] for a in (ours, theirs)))


def test_standardised_by_the_training_pixels_alone():
    plain, scaled = (digits(seeded(), standardise=s, dtype=torch.float64) for s in (False, True))
    assert abs(float(scaled.train_x.mean())) < 1e-12
    assert abs(float(scaled.train_x.std()) - 1) < 1e-12
    mean, std = plain.train_x.mean(), plain.train_x.std()
    torch.testing.assert_close(scaled.test_x, (plain.test_x - mean) / std)


@pytest.fixture(params=["digits", "downloaded"])
def load(request, monkeypatch):
    """Each loader, of a few images."""
    serve(monkeypatch, bunch())
    return partial(digits, test=1790) if request.param == "digits" else partial(mnist, test=3)


def test_the_generator_decides_the_split(load):
    a, b, c = load(seeded(1)), load(seeded(1)), load(seeded(2))
    assert torch.equal(a.test_x, b.test_x)
    assert not torch.equal(a.test_x, c.test_x)


def test_pixels_are_standardised_unless_told(load):
    images, plain = load(seeded(), dtype=torch.float64), load(seeded(), standardise=False)
    assert abs(float(images.train_x.mean())) < 1e-12
    assert abs(float(images.train_x.std()) - 1) < 1e-12
    assert plain.train_x.min() >= 0
    assert plain.train_x.max() <= 1


def test_all_parts_are_on_the_device(load):
    assert {part.device.type for part in load(seeded(), device="meta")} == {"meta"}


@pytest.mark.parametrize("test", [0, -1, 1797])
def test_a_split_must_leave_both_parts_non_empty(test):
    with pytest.raises(ValueError, match="hold out"):
        digits(seeded(), test=test)


@pytest.mark.parametrize("test", [1, 1796])
def test_one_image_is_a_part(test):
    images = digits(seeded(), test=test, standardise=False)
    assert (len(images.train_x), len(images.test_x)) == (1797 - test, test)


def test_a_class_may_be_in_one_part_only():
    x, low, high = torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]), torch.tensor([2, 1])
    assert Images(x, low, x, high).classes == Images(x, high, x, low).classes == 3


# --- downloads, from a small local copy in the same format


TINY = Source("tiny", 1, (3, 2, 2), (4, 6))


def bunch(source=TINY):
    """What fetch_openml(as_frame=False) returns: float pixels, and classes as strings."""
    shape = sum(source.counts), int(np.prod(source.shape))
    pixels = np.arange(np.prod(shape), dtype=float).reshape(shape) % 256
    pixels[-1, -1] = 255  # the whole range
    target = np.repeat([str(k) for k in range(len(source.counts))], source.counts).astype(object)
    return SimpleNamespace(data=pixels, target=target)


def serve(monkeypatch, answer, source=TINY):
    asked = []

    def fetch(name, **options):
        asked.append((name, options))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(data, "fetch_openml", fetch)
    monkeypatch.setattr(data, "MNIST", source)
    monkeypatch.setattr(data, "CIFAR10", source)
    return asked


@pytest.mark.parametrize(("load", "name"), [(mnist, "mnist_784"), (cifar10, "CIFAR_10")])
def test_each_loader_asks_for_its_own_data(monkeypatch, load, name):
    asked = []
    monkeypatch.setattr(data, "fetch_openml", lambda name, **_: asked.append(name) or bunch())
    with pytest.raises(ValueError, match=f"{name} is another data set or damaged: its shape"):
        load(seeded())
    assert asked == [name]


def test_ten_thousand_downloaded_images_are_held_out_unless_told(monkeypatch):
    serve(monkeypatch, bunch())
    with pytest.raises(ValueError, match="test = 10000 images to hold out of 10: choose 1 to 9"):
        mnist(seeded())


@pytest.mark.parametrize("load", [mnist, cifar10])
def test_a_download_becomes_images(monkeypatch, tmp_path, load):
    asked = serve(monkeypatch, bunch())
    images = load(seeded(), folder=tmp_path, test=3, standardise=False)
    assert images.train_x.shape == (7, 3, 2, 2)
    assert images.test_x.shape == (3, 3, 2, 2)
    assert images.train_x.dtype == torch.float32
    ((name, options),) = asked
    assert (name, options["version"], options["data_home"]) == ("tiny", 1, tmp_path)


def test_colour_planes_come_one_after_the_other(monkeypatch):
    serve(monkeypatch, bunch())
    images = cifar10(seeded(), test=1, standardise=False, dtype=torch.float64)
    k = int(torch.argmin(images.train_x[:, 0, 0, 0]))  # the first image holds 0, 1, ..., 11
    expected = torch.arange(12, dtype=torch.float64).reshape(3, 2, 2) / 255
    torch.testing.assert_close(images.train_x[k], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("error", [URLError, TimeoutError, ConnectionRefusedError])
def test_without_a_network_the_error_says_what_to_do(monkeypatch, error):
    serve(monkeypatch, error("name resolution failed"))
    with pytest.raises(ConnectionError, match=r"tiny .*name resolution.*digits\(\)"):
        mnist(seeded())


@pytest.mark.parametrize(("pandas", "parser"), [(True, "pandas"), (None, "liac-arff")])
def test_the_file_is_read_with_what_is_there(monkeypatch, pandas, parser):
    asked = serve(monkeypatch, bunch())
    monkeypatch.setattr(data, "find_spec", lambda name: pandas)
    mnist(seeded(), test=3)
    assert asked[0][1]["parser"] == parser


def damaged(**change):
    good = bunch()
    return SimpleNamespace(**({"data": good.data, "target": good.target} | change))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (damaged(data=bunch().data[:, :-1]), "shape"),
        (damaged(data=bunch().data[:-1]), "shape"),
        (damaged(data=bunch().data / 255), "whole numbers"),
        (damaged(data=bunch().data - 1), "whole numbers"),
        (damaged(data=bunch().data + 1), "whole numbers"),
        (damaged(target=np.append(bunch().target[:-1], "0")), "classes count"),
    ],
)
def test_a_wrong_or_damaged_file_is_refused(monkeypatch, answer, why):
    serve(monkeypatch, answer)
    with pytest.raises(ValueError, match=f"tiny.*{why}.*delete it"):
        mnist(seeded(), test=3)


def test_the_named_sources_add_up():
    assert sum(data.MNIST.counts) == 70_000
    assert sum(data.CIFAR10.counts) == 60_000
    train = 5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    test = 980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    assert data.MNIST.counts == tuple(map(sum, zip(train, test, strict=True)))
