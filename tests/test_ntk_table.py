"""Table 1 at many digits: the recursions it is measured on, and that each prediction can fail."""

import mpmath as mp
import numpy as np
import pytest
import torch

from lib.ntk import deep, table
from lib.ntk.fcn import fcn_kernel
from lib.ntk.phase import phase


@pytest.mark.parametrize("name", deep.DEPTHS)
def test_the_regime_is_the_librarys_phase(name):
    at = deep.regime(name)
    theirs = phase(float(at.sigma_w2), float(at.sigma_b2))
    assert theirs.name == name
    for field in ("q", "c", "chi_1", "chi_c"):
        assert float(getattr(at, field)) == pytest.approx(getattr(theirs, field), rel=1e-9), field
    assert float(at.curvature) == pytest.approx(theirs.curvature, rel=1e-6)


def test_one_position_is_a_fully_connected_network():
    at = deep.regime("chaotic")
    nngp = ntk = start = deep.inputs(at.q, 1)
    for _ in range(3):
        nngp, ntk = deep.layer(nngp, ntk, at, 1)
    train, test = (m for m in deep.read_out(start, 1, False))
    gram = np.array([[float(train[i, j]) for j in range(3)] for i in range(3)])
    w, b = float(at.sigma_w2), float(at.sigma_b2)
    x = torch.linalg.cholesky(torch.tensor((gram - b) / w)) * 3**0.5
    theirs = fcn_kernel(x, depth=3, sigma_w2=w, sigma_b2=b, activation="erf")
    for mine, other in ((nngp, theirs.nngp), (ntk, theirs.ntk)):
        matrix = deep.read_out(mine, 1, False)[0]
        found = [[float(matrix[i, j]) for j in range(3)] for i in range(3)]
        assert np.allclose(found, other, rtol=1e-12)
    assert test.rows == 3


def test_averages_run_along_the_diagonal():
    entries = {(0, i, 1, j): mp.mpf(10 * i + j) for i in range(4) for j in range(4)}
    found = deep.average(entries, 4)
    assert found[0, 1, 1, 2] == mp.mpf(1 + 12 + 23) / 3
    assert found[0, 0, 1, 0] == mp.mpf(33 + 0 + 11) / 3


def test_read_outs():
    entries = {
        (a, i, b, j): mp.mpf(i == j)
        for a in range(4)
        for b in range(a, 4)
        for i in (0, 1)
        for j in (0, 1)
    }
    flat, _ = deep.read_out(entries, 2, False)
    pooled, row = deep.read_out(entries, 2, True)
    assert flat[0, 1] == 1
    assert pooled[0, 1] == row[2] == mp.mpf(1) / 2


@pytest.mark.parametrize(("phase_name", "architecture"), [("chaotic", "CNN-P"), ("ordered", "FCN")])
def test_cells_hold_and_their_neighbours_do_not(phase_name, architecture):
    altered = {"CNN-P": {"pooled": False}, "FCN": {"gain": deep.regime(phase_name).q}}
    for quantity in ("lambda_bulk", "kappa"):
        found, expected = table.cell(phase_name, architecture, quantity)
        assert abs(found / expected - 1) < 3e-3
        found, other = table.cell(phase_name, architecture, quantity, **altered[architecture])
        assert abs(found / other - 1) > 0.1


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match="'RNN' is not in the table"):
        table.cell("ordered", "RNN", "kappa")
    with pytest.raises(ValueError, match="choose one of"):
        table.cell("frozen", "FCN", "kappa")


def test_smallest_ignores_the_ones():
    matrix = mp.matrix([[2, 1, 1], [1, 3, 1], [1, 1, 5]])
    values = np.linalg.eigvalsh(
        (p := np.eye(3) - 1 / 3) @ np.array([[2, 1, 1], [1, 3, 1], [1, 1, 5.0]]) @ p
    )
    assert float(table.smallest(matrix)) == pytest.approx(sorted(values)[1], rel=1e-12)
