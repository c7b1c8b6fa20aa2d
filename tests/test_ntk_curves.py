"""Curves beside their theory, single trained networks, and the figure with a slider."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib import frames
from lib.ntk import curves, members
from lib.ntk.fcn import fcn_kernel
from lib.ntk.phase import critical_sigma_w2
from lib.ntk.tasks import task


@pytest.fixture(scope="module")
def digits():
    return task("digits", images=12, test=5, seeds=1)


@pytest.mark.parametrize("sigma_w2", [1.0, critical_sigma_w2(0.18), 2.0])
def test_theory_and_kernel_meet_deep_down(digits, sigma_w2):
    parity = (digits.train[0] % 2).double()
    labels = parity - parity.mean()
    found = curves.study(
        digits.train_x[0],
        digits.test_x[:1],
        labels,
        (40, 80),
        sigma_w2=sigma_w2,
        sigma_b2=0.18,
        read_at=60,
    )
    for name in curves.Curves._fields:
        ratio = (getattr(found.found, name) / getattr(found.theory, name))[-1]
        assert 1 / 2 < float(ratio) < 2, (found.phase.name, name)


def test_kriging_weights_add_up_to_one_and_are_exact_at_a_site():
    places = torch.tensor([0.0, 1.0, 2.5, 4.0], dtype=torch.float64)
    variogram = (places[:, None] - places).abs()
    weights = curves.kriging_weights(variogram, variogram[2])
    assert torch.allclose(weights, torch.tensor([0.0, 0, 1, 0], dtype=torch.float64), atol=1e-12)
    between = curves.kriging_weights(variogram, (places - 1.75).abs())
    assert torch.allclose(between, torch.tensor([0, 0.5, 0.5, 0]).double(), atol=1e-12)


def test_kriging_is_the_limit_of_flat_kernels():
    g = torch.Generator().manual_seed(0)
    places = torch.rand(5, 2, generator=g, dtype=torch.float64)
    variogram, test = torch.cdist(places, places), torch.cdist(places, torch.zeros(1, 2).double())
    found, p = curves.kriging_weights(variogram, test[:, 0]), 2.0
    for eps in (1e-3, 1e-5):
        weights = torch.linalg.solve(p - eps * variogram, p - eps * test[:, 0])
        assert torch.allclose(found, weights, atol=eps / p)


def kernels(digits):
    return fcn_kernel(digits.both_x[0], depth=3, sigma_w2=1.5, sigma_b2=0.05, activation="erf")


def test_the_mean_network_interpolates_its_labels(digits):
    found = members.trained(
        *kernels(digits), digits.train_y[0], copies=0, generator=torch.Generator()
    )
    assert found.shape == (1, 17, 10)
    assert torch.allclose(found[0, :12], digits.train_y[0], atol=1e-9)


def test_networks_start_with_the_covariance():
    nngp = torch.tensor([[2.0, 1.0], [1.0, 1.5]], dtype=torch.float64)
    draws = members.starts(nngp, 4000, 5, torch.Generator().manual_seed(0))
    assert torch.allclose(draws @ draws.T / 20_000, nngp, atol=0.06)


def test_single_networks_spread_around_the_mean_by_the_posterior(digits):
    nngp, ntk = kernels(digits)
    mean = members.trained(nngp, ntk, digits.train_y[0], copies=0, generator=torch.Generator())
    some = members.trained(
        nngp, ntk, digits.train_y[0], copies=2000, generator=torch.Generator().manual_seed(1)
    )
    assert torch.allclose(some.mean(0), mean[0], atol=0.05)
    w = torch.linalg.solve(ntk[:12, :12], ntk[:12, 12:])
    both = torch.cat([-w, torch.eye(5, dtype=w.dtype)])
    expected = (both.T @ nngp @ both).diagonal()
    assert torch.allclose(some[:, 12:].var(0).mean(-1), expected, rtol=0.05)


def test_no_steps_leave_the_start(digits):
    found = members.trained(
        *kernels(digits), digits.train_y[0], copies=0, generator=torch.Generator(), steps=0
    )
    assert float(found.abs().max()) == 0


def test_a_negative_number_of_networks_is_refused(digits):
    with pytest.raises(ValueError, match="copies = -1"):
        members.trained(*kernels(digits), digits.train_y[0], copies=-1, generator=torch.Generator())


# --- the slider


def page_of(monkeypatch, heights, words):
    filed = {}
    monkeypatch.setattr(frames, "emit", lambda name, bundle: filed.update({name: bundle}))
    fig, ax = plt.subplots()
    (line,) = ax.plot([0, 1, 2], heights[0])
    ax.set_ylim(0, 10)
    frames.slider("s", fig, [(line, heights)], words, label="a < b", alt='what "it" shows')
    return filed["s"]["text/html"]


def test_the_page_holds_every_frame_and_shows_the_middle_one(monkeypatch):
    page = page_of(monkeypatch, [[1, 2, 3], [3, 4, 5], [5, 6, 7]], ["low", "middle", "high"])
    assert 'max="2" value="1"' in page
    assert "a &lt; b" in page
    assert 'aria-label="what &quot;it&quot; shows"' in page
    paths = json.loads(re.search(r"frames = (\[\[.*?\]\]), words", page)[1])
    assert len(paths) == 1
    assert len(paths[0]) == 3
    drawn = re.search(r'<g id="s-line-0">\s*<path d="([^"]*)"', page)[1]
    numbers, expected = (
        [float(n) for n in re.findall(r"-?\d+\.?\d*", d)] for d in (drawn, paths[0][1])
    )
    assert np.allclose(numbers, expected, atol=0.06)


def test_gaps_stay_gaps(monkeypatch):
    page = page_of(monkeypatch, [[1, np.nan, 3]], ["only"])
    path = json.loads(re.search(r"frames = (\[\[.*?\]\]), words", page)[1])[0][0]
    assert path.count("M") == 2
    assert "L" not in path


def test_the_page_asks_nothing_of_the_network(monkeypatch):
    page = page_of(monkeypatch, [[1, 2, 3]], ["only"])
    assert not re.search(r'(src|href)="http', page)


def test_unequal_numbers_of_frames_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"\[1, 2\] frames"):
        page_of(monkeypatch, [[1, 2, 3], [1, 2, 3]], ["only"])
