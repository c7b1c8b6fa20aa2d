"""The benchmark runs and divides what it should; how fast things are is no matter for a test."""

import sys

import pytest

from lib.ntk import benchmark
from lib.ntk.benchmark import Row, described, fcn_rows, main, timed

SMALL = Row("fcn", (5, 3), 2, "relu", "float32")


def test_rounds_are_counted_and_warmed_up(monkeypatch):
    calls = []
    monkeypatch.setattr(benchmark, "call", lambda row, device: lambda: calls.append(row))
    ours, theirs = timed(SMALL, "cpu", 3, None)
    assert (len(ours), theirs, len(calls)) == (3, [], 5)


def test_ratios_are_medians_over_rounds():
    text = described(SMALL, [0.001, 0.002, 0.004], [0.004, 0.009, 0.018])
    assert text == (
        "fcn relu σ_b²=0 5×3 depth 2 float32: 1.0 ms (median 2.0); peer 4.0 ms, 4.5 times as long"
    )


def test_it_prints_a_line_for_each_row(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "ROWS", {"fcn": lambda: fcn_rows(6, 3, 2)})
    main(["--repeats", "1", "--only", "fcn"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(fcn_rows())
    assert lines[1].startswith("fcn relu σ_b²=0 6×3 depth 2 float64: ")


def test_a_python_without_the_peer_is_named():
    with pytest.raises(RuntimeError, match="cannot run neural-tangents"):
        timed(SMALL, "cpu", 1, sys.executable)
