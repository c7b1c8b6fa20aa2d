"""How fast a cell runs, against what its device can do."""

import numpy as np
import pytest
import torch

import sweeps
from lib.runs import benchmark as bench
from lib.runs import records
from lib.runs.cli import main
from lib.runs.experiment import Experiment, Scale
from lib.runs.plan import Plan


def experiment(flops):
    axes = {"axes": sweeps.axes, "run_cell": sweeps.run_cell, "prepare": sweeps.prepare}
    return Experiment("toy", "none", "", {"small": Scale(sweeps.Config)}, flops=flops, **axes)


def test_the_costliest_cell_is_timed_and_its_rate_is_work_over_time():
    toy = experiment(lambda config, cell: 1e6 * (1 + cell["row"] + cell["column"]) if cell else 0)
    row = bench.benchmark(toy, sweeps.Config(), "cpu")
    assert row.cell == {"row": 1, "column": 2}
    assert row.rate == pytest.approx(4e6 / row.seconds)
    assert row.seconds > 0 and row.ceiling > row.rate
    assert f"{row.rate / row.ceiling:.1%} of the ceiling" in str(row)


def test_waiting_counts_as_time():
    toy = experiment(lambda config, cell: 1.0)
    assert bench.benchmark(toy, sweeps.Config(wait=0.2), "cpu").seconds >= 0.2


def test_the_ceiling_is_that_of_the_number_format(monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "clocked", lambda run, device: seen.append(run().dtype) or 0.5)
    assert bench.ceiling("cpu", torch.float32, size=8, repeats=3) == 2 * 8**3 / 0.5
    assert seen == [torch.float32] * 3


def test_the_command_prints_a_row_for_one_core(capsys):
    assert (
        main({"toy": experiment(lambda config, cell: 1e6)}, ["bench", "toy", "--device", "cpu"])
        == 0
    )
    assert capsys.readouterr().out.startswith("cpu: row 0, column 0: ")


def test_the_fastest_of_a_few_runs_counts_and_slow_ones_are_not_repeated(monkeypatch):
    times = iter([3.0, 1.0, 2.0, 0.5])
    monkeypatch.setattr(bench, "clocked", lambda run, device: next(times))
    assert bench.fastest(print, "cpu", repeats=3) == 1.0
    assert bench.fastest(print, "cpu", repeats=3, patience=0.5) == 0.5


def test_a_kept_row_joins_the_record_and_is_listed(tmp_path, capsys):
    def run(*words):
        return main(sweeps.EXPERIMENTS, [*words, "--folder", str(tmp_path)])

    assert run("bench", "quick", "--device", "cpu", "--keep") == 1  # nothing to keep it in
    assert run("run", "quick", "--scale", "small", "--jobs", "1") == 0
    plan = Plan(sweeps.EXPERIMENTS["quick"], "small", folder=tmp_path)
    before = records.read_plan(plan)
    capsys.readouterr()
    assert run("bench", "quick", "--device", "cpu", "--keep") == 0
    (row,) = capsys.readouterr().out.splitlines()
    after = records.read_plan(plan)
    assert after.info.keys() - before.info.keys() == {"bench"}
    assert all(np.array_equal(after[name], before[name]) for name in before.arrays)
    assert plan.current()
    assert run("list") == 0
    assert f"costliest cell on {row}" in capsys.readouterr().out
