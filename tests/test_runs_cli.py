"""What each command does with its options; the records that it finds were made by another test."""

import os
import re
import runpy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ROOT
from lib.runs import cli, provenance, records, store
from lib.runs.benchmark import Row
from lib.runs.errors import Trouble
from lib.runs.experiment import Scale
from lib.runs.plan import RESULTS, Plan
from sweeps import EXPERIMENTS, Config

QUICK = EXPERIMENTS["quick"]


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, as far as torch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of the record of `quick`."""
    folder = tmp_path_factory.mktemp("results")
    words = ["run", "quick", "--jobs", "1", "--device", "cpu", "--folder", str(folder)]
    assert cli.main(EXPERIMENTS, words) == 0
    return Plan(QUICK, folder=folder).record.read_bytes()


@pytest.fixture
def recorded(content, tmp_path):
    """Puts that record into the test's folder, as one of any experiment at any scale."""

    def put(experiment=QUICK, scale="paper", **changes):
        path = Plan(experiment, scale, folder=tmp_path).record
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        info, arrays = store.read(path)
        arrays["values"][...] *= changes.pop("factor", 1)
        store.write(path, info | changes, arrays)
        return path

    return put


def call(folder, *words, known=EXPERIMENTS):
    return cli.main(known, [*map(str, words), "--folder", str(folder)])


# --- run


def wanted_crew(monkeypatch, folder, *words):
    """What `run` asks an engine for."""
    asked = []

    def engine(*arguments):
        asked.append(arguments)
        raise Trouble("enough")

    monkeypatch.setattr(cli, "crew", engine)
    assert call(folder, "run", "quick", *words) == 1
    return asked[0]


CORES = os.cpu_count()


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", ("loky", CORES, None, "cpu")),
        ("--jobs 3", ("loky", 3, None, "cpu")),
        ("--backend ray --scheduler ray://a:1", ("ray", CORES, "ray://a:1", "cpu")),
    ],
)
def test_a_run_takes_all_cores_unless_told(monkeypatch, tmp_path, no_gpu, words, asked):
    assert wanted_crew(monkeypatch, tmp_path, *words.split()) == asked


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("", ("loky", 1, None, "cuda")),
        ("--device cuda:1 --jobs 2", ("loky", 2, None, "cuda:1")),
        ("--device cpu", ("loky", CORES, None, "cpu")),
    ],
)
def test_a_run_takes_a_gpu_that_is_there_in_one_process(monkeypatch, tmp_path, gpu, words, asked):
    assert wanted_crew(monkeypatch, tmp_path, *words.split()) == asked


@pytest.mark.parametrize("command", ["run", "verify", "bench"])
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys, no_gpu, recorded, command, device):
    recorded()
    assert call(tmp_path, command, "quick", "--device", device) == 1
    assert capsys.readouterr().err.startswith("--device cuda: torch sees no GPU here")


@dataclass(frozen=True)
class Some(Config):
    """A config that needs a seed."""

    def __post_init__(self):
        if self.seeds < 1:
            raise ValueError(f"seeds = {self.seeds}: choose at least 1")


def test_no_seeds_is_a_number_of_seeds(tmp_path, capsys):
    known = {"quick": replace(QUICK, scales={"paper": Scale(Some)})}
    assert call(tmp_path, "run", "quick", "--seeds", 0, known=known) == 1
    assert capsys.readouterr().err == "quick: seeds = 0: choose at least 1\n"


def threads(config, cell, device, before):
    return {"threads": np.array(torch.get_num_threads())}


def test_threads_reach_the_cells_and_the_record_is_told_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"quick": replace(QUICK, run_cell=threads)}
    words = ["run", "quick", "--jobs", 1, "--device", "cpu", "--threads", 2]
    assert call(tmp_path, *words, known=known) == 0
    record = records.read(known["quick"], tmp_path)
    assert record.info["machines"] == [provenance.machine("cpu", 2)]
    assert (record["threads"] == 2).all()
    (said,) = capsys.readouterr().out.splitlines()
    assert said == f"{Path('test/quick.json')}: 1 s of work on {record.hardware}"


# --- verify


def named(*names):
    return {name: replace(QUICK, name=name) for name in names}


def test_verify_tells_of_every_record_and_fails_if_one_does(tmp_path, capsys, recorded):
    known = named("bad", "good")
    recorded(known["bad"], factor=2)
    recorded(known["good"])
    assert call(tmp_path, "verify", known=known) == 1
    said = capsys.readouterr().out
    assert "bad: NOT what was recorded" in said
    assert "good: verified" in said


def test_verify_takes_the_records_of_a_scale(tmp_path, capsys, recorded):
    known = named("a", "b")
    recorded(known["a"])
    recorded(known["a"], "small", factor=2)
    recorded(known["b"], "small")
    for name, at_paper, at_small in (("a", 0, 1), ("b", 1, 0)):
        assert call(tmp_path, "verify", name, known=known) == at_paper
        assert call(tmp_path, "verify", name, "--scale", "small", known=known) == at_small
    capsys.readouterr()
    assert call(tmp_path, "verify", known=known) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a: verified. "
    assert call(tmp_path, "verify", "--scale", "small", known=known) == 1
    said = capsys.readouterr().out
    assert "a: NOT what was recorded" in said and "b: verified" in said


def test_verify_without_a_record_is_trouble(tmp_path, capsys):
    assert call(tmp_path, "verify") == 1
    said = f"no record of scale paper in {tmp_path}: see python -m lib list\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("command", ["verify", "bench", "list"])
def test_ctrl_c_stops_any_command_in_a_line(tmp_path, capsys, monkeypatch, recorded, command):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    recorded()
    monkeypatch.setattr(cli.verifying, "verify", stopped)
    monkeypatch.setattr(cli, "benchmark", stopped)
    monkeypatch.setattr(cli, "estimate", stopped)
    assert call(tmp_path, command, *([] if command == "list" else ["quick"])) == 130
    assert capsys.readouterr().err == "\nstopped\n"


def test_the_seed_draws_the_cells_to_verify(tmp_path, capsys, recorded):
    recorded()
    for seed in range(4):
        assert call(tmp_path, "verify", "quick", "--cells", 1, "--seed", seed) == 0
    said = capsys.readouterr().out.splitlines()
    assert len({line for line in said if line.endswith(": values")}) > 1


# --- bench


def two_sizes():
    """An experiment whose paper scale has six cells, of 100 s on a core each, and small has two."""
    scales = {"small": Scale(partial(Config, rows=1, columns=2)), "paper": Scale(Config)}
    return {"quick": replace(QUICK, scales=scales, flops=lambda config, cell: 1e12)}


@pytest.mark.parametrize(("words", "rows"), [("", 1), ("--scale paper", 2)])
def test_bench_compares_one_core_with_the_gpu(
    tmp_path, capsys, monkeypatch, gpu, recorded, words, rows
):
    def timed(experiment, config, device):
        assert (torch.get_num_threads(), config.rows) == (1, rows)
        return Row({"row": 0}, device, 6.0 if device == "cpu" else 1.5, 1e9, 1e10)

    monkeypatch.setattr(cli, "benchmark", timed)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert call(tmp_path, "bench", "quick", *words.split(), known=two_sizes()) == 0
    torch.set_num_threads(threads)
    first, second, ratio = capsys.readouterr().out.splitlines()
    assert first.startswith("cpu: row 0: 6 s") and second.startswith("cuda: row 0: 1.5 s")
    assert ratio == "cuda is 4.0 times as fast as one core"


# --- list and status


def test_list_tells_the_cost_and_the_record_of_each_scale(tmp_path, capsys, recorded):
    known = two_sizes()
    path = recorded(known["quick"], "small")
    assert call(tmp_path, "list", known=known) == 0
    _, _, head, about, *scales = capsys.readouterr().out.splitlines()
    assert (head, about) == ("quick  (test)", "    Singular values.")
    made = store.read(path)[0]["made"]
    assert scales[0] == "    small  2 cells, about 5 min on one core, 1 s on a GPU"
    assert scales[1].startswith(f"           recorded {made} in 1 s of work on a CPU with ")
    assert scales[2:] == [
        "    paper  6 cells, about 12 min on one core, 1 s on a GPU",
        "           not recorded",
    ]


def test_list_and_status_say_when_the_code_has_changed(tmp_path, capsys, recorded):
    recorded(code={"module": "sweeps", "digest": "0"})
    for command in ("list", "status"):
        assert call(tmp_path, command, known={"quick": QUICK}) == 0
        said = capsys.readouterr().out
        assert said.count("; old: the code has changed since") == 1
        assert "current" not in said
    assert "no unfinished runs" in said


# --- python -m lib


def as_a_program(monkeypatch, *words):
    """The exit status of `python -m lib`, which knows the experiments of all chapters."""
    monkeypatch.setattr("sys.argv", ["lib", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "lib/__main__.py"), run_name="__main__")
    return end.value.code


def test_python_m_lib_knows_every_chapter_that_has_records(monkeypatch, capsys, tmp_path):
    assert as_a_program(monkeypatch, "list", "--folder", tmp_path) == 0
    said = re.findall(r"^\S+  \((\S+)\)$", capsys.readouterr().out, re.MULTILINE)
    assert set(said) == {path.name for path in RESULTS.glob("[!.]*") if path.is_dir()}
    assert as_a_program(monkeypatch, "verify", "--folder", tmp_path) == 1
