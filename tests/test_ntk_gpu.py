"""The kernel for GPUs: its arithmetic in Triton's interpreter, its machine code, and on a GPU.

The interpreter must be chosen before Triton is imported, so those tests run in a second process.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import mpmath as mp
import pytest
import torch
from torch import Tensor

from conftest import ROOT
from lib.ntk import blocks, cnn
from lib.ntk.cnn import cnn_kernel
from lib.ntk.fused import fused

pytestmark = pytest.mark.skipif(not find_spec("triton"), reason="needs triton: pip install triton")
if find_spec("triton"):
    from lib.ntk import gpu

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in Triton's interpreter, see above")
compiled = pytest.mark.skipif(INTERPRETED, reason="compiles, or runs on a GPU")
DTYPES = {torch.float32: 2e-6, torch.float64: 1e-14}  # and what rounding may do at depth 3


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def network(depth: int = 3, window: int = 3, sigma_b2: float = 0.1) -> blocks.Network:
    return blocks.Network(depth, 1.9, sigma_b2, fused("relu"), "gap", window)


def both(net: blocks.Network, x: Tensor, y: Tensor, offsets: Tensor) -> list[Tensor]:
    """The kernel's block, and the float64 block of the same images, operation by operation."""
    here = gpu.block(net, blocks.side(x, net), blocks.side(y, net), offsets)
    sides = (blocks.side(z.double(), net) for z in (x, y))
    return [here.double(), blocks.block(net, *sides, offsets)]


@compiled
def test_the_interpreter_agrees_with_operations_one_by_one():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@interpreted
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "depth", "window"),
    [((4, 4), 3, 3), ((3, 5), 2, 3), ((6, 5), 2, 5), ((2, 8), 2, 1), ((4, 3), 0, 3)],
)
def test_a_block_of_any_shape_window_and_depth(shape, depth, window, dtype):
    x, y = images(2, 3, *shape, dtype=dtype), images(3, 3, *shape, seed=1, dtype=dtype)
    found, wanted = both(network(depth, window), x, y, torch.tensor([0, 1, shape[1], 7, 11]))
    torch.testing.assert_close(found, wanted, rtol=DTYPES[dtype], atol=0)


@interpreted
def test_a_deep_network_in_float32():
    x, y = (images(1, 2, 8, 8, seed=seed, dtype=torch.float32) for seed in (0, 1))
    found, wanted = both(network(21), x, y, torch.tensor([0, 9]))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


@interpreted
@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
def test_the_gap_of_near_images_keeps_its_digits_in_float32(distance):
    x = images(1, 2, 4, 4, dtype=torch.float32)
    y = x + distance * images(1, 2, 4, 4, seed=1, dtype=torch.float32)
    found, wanted = both(network(21), x, y, torch.tensor([0]))
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=0)


@interpreted
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [-1.5, 0.0, 1.0])
def test_opposite_black_and_equal_images(factor, dtype):
    x = images(1, 2, 4, 4, dtype=dtype)
    found, wanted = both(network(sigma_b2=0.0), x, factor * x, torch.tensor([0, 5]))
    kink = torch.finfo(dtype).eps ** 0.5  # of Ṫ where images are opposite
    rtol = kink if factor < 0 else DTYPES[dtype]
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=10 * DTYPES[dtype])


@interpreted
@pytest.mark.parametrize("readout", cnn.READOUTS)
@pytest.mark.parametrize("other", [None, images(3, 2, 3, 4, seed=1)])
def test_whole_kernels(readout, other, monkeypatch):
    def kernel():
        kind = {"depth": 2, "sigma_w2": 1.8, "sigma_b2": 0.1, "activation": "relu"}
        return torch.stack(cnn_kernel(images(3, 2, 3, 4), other, readout=readout, **kind))

    wanted = kernel()
    monkeypatch.setattr(cnn, "block_for", lambda net, pixels: gpu.block)
    torch.testing.assert_close(kernel(), wanted, rtol=1e-13, atol=0)


@interpreted
def test_it_serves_relu_on_small_images_of_two_axes():
    relu, erf = network(), network()._replace(activation=fused("erf"))
    assert gpu.serves(relu, torch.zeros(3, 32, 8, 1))
    assert not gpu.serves(erf, torch.zeros(3, 32, 8, 1))
    assert not gpu.serves(relu, torch.zeros(3, 33, 8, 1))
    assert not gpu.serves(relu, torch.zeros(3, 8, 33, 1))
    assert not gpu.serves(relu, torch.zeros(3, 8, 1))


@interpreted
def test_a_kernel_that_fails_is_left_alone_with_a_warning(monkeypatch):
    gpu.runs.cache_clear()
    monkeypatch.setattr(gpu, "block", lambda *block: 1.001 * blocks.block(*block))
    with pytest.warns(UserWarning, match="Triton fails on cpu"):
        assert not gpu.serves(network(), torch.zeros(3, 4, 4, 1))
    gpu.runs.cache_clear()


@interpreted
def test_each_shape_and_window_is_tried_before_it_is_trusted(monkeypatch):
    gpu.runs.cache_clear()

    def narrow(net, left, right, offsets):
        return blocks.block(net, left, right, offsets) * (1 + 0.001 * (left.pixels.shape[2] > 4))

    monkeypatch.setattr(gpu, "block", narrow)
    assert gpu.serves(network(), torch.zeros(3, 4, 4, 1))
    with pytest.warns(UserWarning, match="Triton fails on cpu"):
        assert not gpu.serves(network(), torch.zeros(3, 4, 5, 1))
    gpu.runs.cache_clear()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-8), (torch.float64, 4e-16)])
def test_the_polynomial_has_the_error_it_claims(dtype, error):
    with mp.workdps(30):
        for k in range(1, 200):
            m = mp.mpf(k) / 398
            wanted = mp.asin(mp.sqrt(m)) - mp.sqrt(m * (1 - m))
            value = mp.polyval(gpu.polynomial(gpu.TERMS[dtype])[::-1], m)
            assert abs(m ** mp.mpf(1.5) * value / wanted - 1) < error


def machine_code(size: int) -> list[str]:
    """What a scheduler of an H100 would issue, for float32 images of this width."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    names = gpu.recursion.arg_names
    constants = (size, size, size, 32 * gpu.WARPS // size, 1, gpu.polynomial(9))
    fixed = dict(zip(names[-6:], constants, strict=True))
    kinds = [*["*fp32"] * 5, *["i32"] * 4, *["constexpr"] * 6]
    kinds[2] = "*i64"
    source = ASTSource(gpu.recursion, dict(zip(names, kinds, strict=True)), fixed)
    options = {"num_warps": gpu.WARPS, "enable_fp_fusion": True}
    code = compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["sass"]
    return [line.rpartition("\t")[2] for line in code.splitlines()[1:]]


@compiled
def test_an_h100_keeps_the_maps_in_registers_and_has_the_instructions_that_the_limit_counts():
    lines = machine_code(32)
    loop = max(loops(lines), key=len)
    assert not [line for line in lines if re.search(r"\b(LDL|STL)\b", line)]
    assert not [line for line in loop if re.search(r"\b(LDS|STS|BAR)\b", line)]
    assert len(loop) / 32 == pytest.approx(gpu.INSTRUCTIONS, abs=1)


def loops(lines: list[str]) -> list[list[str]]:
    """From each label that is jumped back to, to the jump."""
    jumps = [
        (n, lines.index(f"{line.split()[-1][:-1]}:"))
        for n, line in enumerate(lines)
        if "BRA" in line
    ]
    return [lines[start + 1 : n + 1] for n, start in jumps if start < n]


def test_the_limit_for_an_h100():
    assert gpu.issue_limit(1024, 21) == pytest.approx(0.0406e-3, rel=1e-2)


@compiled
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_agrees_at_full_size(dtype):
    x, y = (images(2, 3, 32, 32, seed=seed, dtype=dtype).cuda() for seed in (0, 1))
    found, wanted = both(network(21), x, y, torch.tensor([0, 1, 33, 1023], device="cuda"))
    torch.testing.assert_close(found, wanted, rtol=5 * DTYPES[dtype], atol=0)
    assert cnn.block_for(network(), x.movedim(0, -1)) is gpu.block
