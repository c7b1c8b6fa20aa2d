"""Convolutional kernels: against neural-tangents, a dense recursion, and 60-digit arithmetic."""

import json
import math
from pathlib import Path

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lib.ntk import blocks, checkpoint, cnn
from lib.ntk.activations import get_activation
from lib.ntk.checkpoint import OtherConfiguration
from lib.ntk.cnn import cnn_kernel
from lib.ntk.errors import NotFinite, OutOfRange, ShapeMismatch, UnknownActivation
from lib.ntk.fcn import fcn_kernel

REFERENCE = json.loads((Path(__file__).parent / "ntk_reference.json").read_text())
RELU = {"depth": 2, "sigma_w2": 1.8, "sigma_b2": 0.1, "activation": "relu"}
ERF = {"depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.05, "activation": "erf"}


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def close(found: cnn.Kernels, wanted: cnn.Kernels, rtol: float = 1e-12) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * b.abs().max().item())


# --- an independent implementation: all pairs of positions at once, averages by rolling both


def diagonal_average(m: Tensor, window: int) -> Tensor:
    """(A M)_αα' for m of (N, *shape, N', *shape)."""
    dims = m.ndim // 2 - 1
    for axis in range(1, 1 + dims):
        both = (axis, axis + dims + 1)
        m = sum(m.roll((s, s), both) for s in range(-(window // 2), window // 2 + 1)) / window
    return m


def dense(x1: Tensor, x2: Tensor, *, depth, sigma_w2, sigma_b2, activation, readout, window=3):
    """The recursion in the module's docstring, with nothing left out."""
    dims, x = x1.ndim - 2, torch.cat((x1, x2))
    act, n = get_activation(activation), len(x)
    k = torch.tensordot(x, x, dims=([1], [1])) / x.shape[1]
    k = sigma_w2 * diagonal_average(k, window) + sigma_b2
    theta = k.clone()
    side = (n, *x.shape[2:])
    positions = math.prod(side[1:])
    for layer in range(depth):
        a = k.reshape(n * positions, -1).diagonal().reshape(side)
        here = a.reshape(*side, *[1] * (dims + 1))
        t, dot = act.dual(k, here, a)
        if layer < depth - 1:
            k = diagonal_average(sigma_w2 * t + sigma_b2, window)
            theta = k + sigma_w2 * diagonal_average(dot * theta, window)
    both = torch.stack((t, dot * theta)).reshape(2, n, positions, n, positions)
    pooled = readout == "gap"
    both = both.mean((2, 4)) if pooled else both.diagonal(dim1=2, dim2=4).mean(-1)
    nngp = sigma_w2 * both[0] + sigma_b2
    corner = slice(len(x1)), slice(len(x1), None)
    return cnn.Kernels(nngp[corner], (nngp + sigma_w2 * both[1])[corner])


@pytest.mark.parametrize(
    "row",
    REFERENCE["cnn"],
    ids=lambda r: f"{r['act']}-{r['phase']}-{r['L_conv_layers']}-{r['readout']}",
)
def test_neural_tangents_agrees(row):
    x = torch.tensor(REFERENCE["inputs"]["cnn1d_X_NWC_3x6x2"], dtype=torch.float64).mT
    found = cnn_kernel(
        x,
        depth=row["L_conv_layers"],
        sigma_w2=row["sigma_w2"],
        sigma_b2=row["sigma_b2"],
        activation=row["act"],
        readout=row["readout"],
    )
    for kernel, name in zip(found, ("nngp_nt", "ntk_nt"), strict=True):
        wanted = torch.tensor(row[name], dtype=torch.float64)
        assert ((kernel - wanted) / wanted).abs().max() < 1e-12


@pytest.mark.parametrize("readout", cnn.READOUTS)
@pytest.mark.parametrize(
    "network", [RELU, ERF, ERF | {"activation": "tanh", "depth": 2}], ids=lambda n: n["activation"]
)
@pytest.mark.parametrize(("shape", "window"), [((2, 3, 4), 3), ((1, 5, 3), 1), ((3, 7), 5)])
def test_all_pairs_of_positions_at_once_agree(readout, network, shape, window):
    x1, x2 = images(2, *shape) / 2, images(3, *shape, seed=1) / 2
    found = cnn_kernel(x1, x2, readout=readout, window=window, **network)
    close(found, dense(x1, x2, readout=readout, window=window, **network))


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    counts=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    depth=st.integers(1, 3),
    readout=st.sampled_from(cnn.READOUTS),
    workspace=st.sampled_from([1, 4000, 10**6]),
    data=st.data(),
)
def test_every_shape_agrees_with_all_pairs_at_once(shape, counts, depth, readout, workspace, data):
    window = data.draw(st.sampled_from([w for w in (1, 3, 5) if w <= min(shape[1:])]))
    x1, x2 = (images(n, *shape, seed=n) for n in counts)
    network = ERF | {"depth": depth, "readout": readout, "window": window}
    close(cnn_kernel(x1, x2, workspace=workspace, **network), dense(x1, x2, **network))


# --- structure


@pytest.mark.parametrize("readout", cnn.READOUTS)
@pytest.mark.parametrize("network", [RELU, ERF], ids=["relu", "erf"])
def test_a_kernel_of_one_set_is_that_of_the_set_with_itself(readout, network):
    x = images(7, 2, 4, 3)
    one = cnn_kernel(x, readout=readout, **network)
    close(one, cnn_kernel(x, x.clone(), readout=readout, **network))
    for kernel in one:
        assert torch.equal(kernel, kernel.mT)
        assert torch.linalg.eigvalsh(kernel).min() > 0


@pytest.mark.parametrize("readout", cnn.READOUTS)
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_memory_nor_threads_change_the_kernel(readout, threads):
    x1, x2 = images(6, 2, 4, 3), images(4, 2, 4, 3, seed=1)
    whole = cnn_kernel(x1, x2, readout=readout, **RELU), cnn_kernel(x1, readout=readout, **RELU)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for workspace in (1, 20_000, 10**7):
            close(cnn_kernel(x1, x2, readout=readout, workspace=workspace, **RELU), whole[0])
            close(cnn_kernel(x1, readout=readout, workspace=workspace, **RELU), whole[1])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_pooling_forgets_where_and_flattening_does_not():
    x = images(3, 2, 4, 5)
    moved = x.roll((1, 2), (2, 3))
    pooled, flat = (
        [cnn_kernel(a, x, readout=r, **ERF).ntk for a in (x, moved)] for r in ("gap", "flatten")
    )
    torch.testing.assert_close(pooled[1], pooled[0], rtol=1e-13, atol=0)
    assert (flat[1] - flat[0]).abs().max() > 0.1


@pytest.mark.parametrize("readout", cnn.READOUTS)
@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
def test_images_of_one_colour_have_the_kernel_of_a_dense_network(readout, activation):
    colours = images(4, 6)
    network = RELU | {"activation": activation}
    found = cnn_kernel(colours[:, :, None, None].expand(-1, -1, 3, 4), readout=readout, **network)
    close(found, cnn.Kernels(*fcn_kernel(colours, **network)))


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_equal_images_stay_equal_in_deep_chaos(activation):
    colours = images(3, 6)
    network = {"depth": 100, "sigma_w2": 3.0, "sigma_b2": 0.05, "activation": activation}
    wanted = cnn.Kernels(*fcn_kernel(colours, **network))
    x = colours[:, :, None].expand(-1, -1, 3)
    for other in (None, x.clone()):
        for found, exact in zip(cnn_kernel(x, other, **network), wanted, strict=True):
            torch.testing.assert_close(found, exact, rtol=1e-11, atol=0)


def test_two_sets_of_different_variance_share_a_series():
    dim, bright = images(2, 6) / 100, 2 * images(3, 6, seed=1)
    network = ERF | {"activation": "gelu"}
    pair = (x[:, :, None].expand(-1, -1, 3) for x in (dim, bright))
    found = cnn_kernel(*pair, **network)
    close(found, cnn.Kernels(*fcn_kernel(dim, bright, **network)))


@pytest.mark.parametrize("size", [1e2, 1e5])
def test_bright_images_keep_their_digits_in_single_precision(size):
    x = size * images(4, 2, 5)
    found, exact = (cnn_kernel(y, readout="gap", **ERF) for y in (x.float(), x.float().double()))
    close(cnn.Kernels(*(k.double() for k in found)), exact, rtol=4e-6)


def test_no_gradient_is_tracked():
    weights = torch.tensor(1.5, requires_grad=True)
    found = cnn_kernel(images(2, 2, 4).requires_grad_(), **ERF | {"sigma_w2": weights})
    assert not any(k.requires_grad for k in found)


@pytest.mark.parametrize("readout", cnn.READOUTS)
def test_no_hidden_layer_is_a_linear_network(readout):
    x = images(4, 3, 2, 5)
    h = x.flatten(1) if readout == "flatten" else x.mean((2, 3))
    for network in (RELU, ERF):
        found = cnn_kernel(x, readout=readout, window=1, **network | {"depth": 0})
        linear = network["sigma_w2"] * h @ h.T / h.shape[1] + network["sigma_b2"]
        close(found, cnn.Kernels(linear, linear))


@pytest.mark.parametrize("readout", cnn.READOUTS)
def test_a_dark_image_is_no_exception(readout):
    x = images(3, 2, 4, 4)
    x[0], x[1, :, :2] = 0, 0  # σ_b = 0: variances of 0, in whole or in part
    found = cnn_kernel(x, readout=readout, **RELU | {"sigma_b2": 0.0})
    nearly = cnn_kernel(x + 1e-30, readout=readout, **RELU | {"sigma_b2": 0.0})
    close(found, nearly)
    assert found.ntk[0].abs().max() < 1e-16
    single = cnn_kernel(x.float(), readout=readout, **RELU | {"sigma_b2": 0.0})
    close(cnn.Kernels(*(k.double() for k in single)), found, rtol=2e-6)


def test_single_precision_is_single_precision():
    x = images(6, 3, 4, 4)
    for network in (RELU, ERF, ERF | {"activation": "gelu"}):
        exact = cnn_kernel(x, readout="gap", **network)
        found = cnn_kernel(x.float(), readout="gap", **network)
        assert found.ntk.dtype is torch.float32
        close(cnn.Kernels(*(k.double() for k in found)), exact, rtol=2e-6)


# --- precision


def precise_relu(x: Tensor, depth: int, sigma_w2: float) -> tuple[mp.mpf, mp.mpf]:
    """The NTK's separation (Θ_aa + Θ_bb)/2 − Θ_ab for two inputs, and Θ_aa, at 60 digits."""
    gram = [[mp.fdot(mp.matrix(a.tolist()), mp.matrix(b.tolist())) for b in x] for a in x]
    k = [[sigma_w2 * v / x.shape[1] for v in row] for row in gram]
    theta = [row[:] for row in k]
    for _ in range(depth):
        cos = min(k[0][1] / mp.sqrt(k[0][0] * k[1][1]), mp.mpf(1))
        angle, size = mp.acos(cos), mp.sqrt(k[0][0] * k[1][1])
        t = size * (mp.sin(angle) + (mp.pi - angle) * cos) / (2 * mp.pi)
        dot = (mp.pi - angle) / (2 * mp.pi)
        k = [[sigma_w2 * k[0][0] / 2, sigma_w2 * t], [sigma_w2 * t, sigma_w2 * k[1][1] / 2]]
        theta = [
            [k[i][j] + sigma_w2 * theta[i][j] * (mp.mpf(1) / 2 if i == j else dot) for j in (0, 1)]
            for i in (0, 1)
        ]
    return (theta[0][0] + theta[1][1]) / 2 - theta[0][1], theta[0][0]


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-7])
def test_nearly_equal_images_keep_their_distance(distance):
    """One patch: window 1, one position, so that the network is fully connected."""
    x = images(2, 5)
    x[1] = x[0] + distance * x[1] / x[1].norm()
    with mp.workdps(60):
        wanted, _ = precise_relu(x, depth=4, sigma_w2=2.0)
        network = RELU | {"depth": 4, "sigma_w2": 2.0, "sigma_b2": 0.0, "window": 1}
        ntk = cnn_kernel(x[..., None], **network).ntk
        found = (ntk[0, 0] + ntk[1, 1]) / 2 - ntk[0, 1]
        assert abs(found.item() / wanted - 1) < 1e-6


def test_equal_patches_of_different_images_are_equal():
    """A cosine would put 1e-8 between them; the gap is 0."""
    x = images(1, 2, 6).expand(2, -1, -1).clone()
    found = cnn_kernel(x[:1], x[1:], readout="gap", **RELU)
    own = cnn_kernel(x[:1], readout="gap", **RELU)
    close(found, own, rtol=1e-15)


# --- memory, files, bars


class Largest(TorchDispatchMode):
    """Remembers the size in bytes of the largest tensor that any operation made."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return made


def test_no_tensor_exceeds_the_workspace():
    x = images(30, 3, 8, 8)  # all pairs of positions would need 29 MB for one covariance
    with Largest() as seen:
        cnn_kernel(x, readout="gap", workspace=1 << 20, **RELU)
    assert (1 << 19) < seen.bytes <= 1 << 20


class Stop(Exception):
    """Stands for an interrupt."""


@pytest.fixture
def few(monkeypatch):
    """Lets so many tiles be computed, then stops; counts them in ``few.done``."""
    whole = cnn.tile

    def allow(count: int) -> list:
        done: list = []

        def tile(*arguments):
            if len(done) == count:
                raise Stop
            done.append(arguments)
            return whole(*arguments)

        monkeypatch.setattr(cnn, "tile", tile)
        return done

    return allow


@pytest.mark.parametrize("other", [None, images(5, 2, 4, 4, seed=1)], ids=["one set", "two sets"])
def test_a_kernel_goes_on_where_it_stopped(tmp_path, few, other):
    x, path = images(6, 2, 4, 4), tmp_path / "folder" / "kernel.pt"
    network = RELU | {"readout": "gap", "workspace": 4 * 16 * 8 * blocks.BUFFERS}  # 2×2 images
    whole = cnn_kernel(x, other, **network)
    few(4)
    with pytest.raises(Stop):
        cnn_kernel(x, other, path=path, **network)
    done = few(100)
    found = cnn_kernel(x, other, path=path, **network)
    assert len(done) == (6 if other is None else 9) - 4
    assert torch.equal(found.ntk, whole.ntk)
    assert torch.equal(found.nngp, whole.nngp)
    assert [p.name for p in path.parent.iterdir()] == ["kernel.pt"]
    few(0)
    close(cnn_kernel(x, other, path=path, **network | {"workspace": 10**6}), whole)


def test_a_kernel_is_written_now_and_then(tmp_path, monkeypatch):
    written = []
    whole = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda *a: (written.append(a[2].isnan().sum()), whole(*a))
    )
    monkeypatch.setattr(checkpoint, "INTERVAL", 0)
    cnn_kernel(images(4, 1, 3), path=tmp_path / "k", workspace=1, **RELU)
    assert len(written) == 10 + 1
    assert written[0] > written[5] > written[-1] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 3},
        {"sigma_w2": 1.81},
        {"sigma_b2": 0.0},
        {"activation": "erf"},
        {"readout": "gap"},
        {"window": 1},
        {"x1": images(3, 2, 4, seed=5)},
        {"x2": images(3, 2, 4)},
        {"x1": images(3, 2, 4).float()},
    ],
    ids=lambda c: next(iter(c)),
)
def test_the_file_of_another_kernel_is_refused(tmp_path, change):
    call = {"x1": images(3, 2, 4), "path": tmp_path / "k"} | RELU
    cnn_kernel(**call)
    with pytest.raises(OtherConfiguration, match="delete it"):
        cnn_kernel(**call | change)


def test_a_file_that_is_no_kernel_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with pytest.raises(OtherConfiguration, match="not a kernel"):
        cnn_kernel(images(3, 2, 4), path=path, **RELU)
    assert path.read_text() == "notes"


def test_a_damaged_file_is_refused_or_right(tmp_path):
    path = tmp_path / "k"
    whole = cnn_kernel(images(3, 2, 4), path=path, **RELU)
    written, refused = path.read_bytes(), 0
    for place in range(0, len(written), 13):
        damaged = bytearray(written)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        try:
            found = cnn_kernel(images(3, 2, 4), path=path, **RELU)
        except OtherConfiguration:
            refused += 1
        else:  # padding, or a name inside the archive
            assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True)), place
    assert refused > 20


def test_a_folder_is_not_to_be_deleted(tmp_path):
    with pytest.raises(OtherConfiguration, match="is a folder; name a file"):
        cnn_kernel(images(3, 2, 4), path=tmp_path, **RELU)


def test_a_failed_write_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "k"
    checkpoint.save(path, "key", torch.ones(1))

    def torn(what, where):
        Path(where).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, "key", torch.zeros(1))
    assert checkpoint.load(path, "key", torch.zeros(1)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_bar_shows_when_asked_for(capsys):
    cnn_kernel(images(3, 2, 4), progress=True, **RELU)
    assert "9/9" in capsys.readouterr().err
    cnn_kernel(images(3, 2, 4), **RELU)
    assert capsys.readouterr().err == ""


# --- refusals


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sigma_w2": 0.0}, OutOfRange, "sigma_w2"),
        ({"sigma_b2": -0.1}, OutOfRange, "sigma_b2"),
        ({"sigma_w2": float("nan")}, OutOfRange, "sigma_w2"),
        ({"sigma_w2": torch.tensor([1.0, 2.0])}, TypeError, "one number"),
        ({"sigma_w2": "2"}, TypeError, "sigma_w2"),
        ({"depth": -1}, OutOfRange, "depth"),
        ({"depth": 1.5}, TypeError, "depth"),
        ({"activation": "swish"}, UnknownActivation, "swish"),
        ({"readout": "max"}, OutOfRange, "flatten, gap"),
        ({"window": 2}, OutOfRange, "odd"),
        ({"window": 5}, ShapeMismatch, "wider"),
        ({"workspace": 0}, OutOfRange, "workspace"),
        ({"x1": images(3, 8)}, ShapeMismatch, r"\(N, C, L\)"),
        ({"x1": images(0, 2, 4)}, ShapeMismatch, "x1"),
        ({"x1": torch.ones(3, 2, 4, dtype=torch.int64)}, TypeError, "float64"),
        ({"x1": images(3, 2, 4).numpy()}, TypeError, "ndarray"),
        ({"x1": images(3, 2, 4) / 0}, NotFinite, "x1"),
        ({"x2": images(3, 2, 4) * math.nan}, NotFinite, "x2"),
        ({"x2": images(3, 1, 4)}, ShapeMismatch, "only N may differ"),
        ({"x2": images(3, 2, 4).float()}, ShapeMismatch, "float32"),
    ],
    ids=str,
)
def test_bad_input_is_refused_by_name(change, error, words):
    with pytest.raises(error, match=words):
        cnn_kernel(**{"x1": images(3, 2, 4)} | RELU | change)
