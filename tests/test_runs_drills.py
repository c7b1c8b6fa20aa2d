"""Runs that are stopped, killed, doubled, and refused by the disk; each in processes of its own."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

import sweeps
from conftest import ROOT
from lib.runs import records, store
from lib.runs.plan import Plan
from sweeps import EXPERIMENTS

DEADLINE = 90  # seconds that no drill should come near


def command(*words, folder):
    return [sys.executable, ROOT / "tests/sweeps.py", *map(str, words), "--folder", folder]


@pytest.fixture
def start(tmp_path):
    """Start runners in `tmp_path` whose cells are logged; none survives the test."""
    started = []
    env = os.environ | {sweeps.LOG: str(tmp_path / "log"), "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONUNBUFFERED", None)  # who reads the output of a pipe gets it in pieces

    def begin(*words, folder=tmp_path, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command(*words, folder=folder), env=env, **pipes, **options)
        started.append(process)
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


def begun(folder: Path) -> list[str]:
    """The cells that were begun, in order."""
    log = folder / "log"
    return log.read_text().split() if log.exists() else []


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)


def finished(process):
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def whole(folder: Path, name="slow") -> None:
    """The record has every number that an undisturbed run gives."""
    record = records.read(EXPERIMENTS[name], folder)
    config = EXPERIMENTS[name].scales["paper"].config()
    for index, cell in enumerate(EXPERIMENTS[name].cells(config)):
        place = np.unravel_index(index, (config.rows, config.columns))
        quick = EXPERIMENTS["quick"].scales["paper"].config()
        before = {"offset": np.array([np.pi])}
        assert np.array_equal(
            record["values"][place], sweeps.run_cell(quick, cell, "cpu", before)["values"]
        )


def done(folder: Path, name="slow") -> int:
    return len(list(folder.glob(f".local/cells/{name}-*/cell-*.npz")))


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stopped_run_loses_the_cells_in_work_and_resumes(start, tmp_path, stop, jobs):
    first = start("run", "slow", "--jobs", jobs)
    wait_for(lambda: done(tmp_path) >= 2, "second cell")
    first.send_signal(stop)
    code = first.wait(DEADLINE)
    if stop != signal.SIGKILL:
        err = first.stderr.read()
        assert code == 130
        assert "of 6 cells are kept; the same command goes on from there" in err
        assert "Traceback" not in err
    kept = done(tmp_path)
    assert 2 <= kept < 6
    again = finished(start("run", "slow", "--jobs", jobs))
    assert again[0] == 0, again
    whole(tmp_path)
    counts = Counter(begun(tmp_path))
    assert counts.pop("prepare") == 1
    assert sum(counts.values()) - 6 <= jobs  # at most the cells in work were done twice
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_runners_share_one_sweep(start, tmp_path):
    runners = [start("run", "slow", "--jobs", 1) for _ in range(2)]
    ends = [finished(runner) for runner in runners]
    assert [code for code, *_ in ends] == [0, 0], ends
    whole(tmp_path)
    assert Counter(begun(tmp_path)) == Counter(["prepare", *map(str, range(6))])
    assert not (tmp_path / ".local/cells").exists() or not os.listdir(tmp_path / ".local/cells")


def test_the_cell_of_a_killed_runner_is_taken_over_by_the_other(start, tmp_path):
    first = start("run", "slow", "--jobs", 1)
    wait_for(lambda: done(tmp_path) >= 1, "cell")
    second = start("run", "slow", "--jobs", 1)
    wait_for(lambda: len(set(begun(tmp_path))) >= 5, "cell of the second")
    first.kill()
    assert finished(second)[0] == 0
    whole(tmp_path)


def test_status_sees_the_cell_in_work(start, tmp_path):
    runner = start("run", "slow", "--jobs", 1, "--set", "wait=30")
    wait_for(lambda: "0" in begun(tmp_path), "cell")
    _, out, _ = finished(start("status"))
    assert "0 of 6 cells, 1 in work: python -m lib run slow" in out
    runner.kill()
    runner.wait()
    assert "0 of 6 cells, 0 in work" in finished(start("status"))[1]


def test_a_killed_worker_is_replaced(start, tmp_path):
    runner = start("run", "slow", "--jobs", 2)
    wait_for(lambda: done(tmp_path) >= 1, "cell")
    workers = psutil.Process(runner.pid).children(recursive=True)
    for worker in workers:
        if "loky" in " ".join(worker.cmdline()) and "resource_tracker" not in str(worker.cmdline()):
            worker.kill()
            break
    else:
        pytest.fail("no worker to kill")
    code, _, err = finished(runner)
    assert code == 0, err
    whole(tmp_path)


def test_a_cell_that_kills_its_worker_ends_the_run_with_a_line(start, tmp_path):
    code, _, err = finished(start("run", "deadly", "--jobs", 2))
    assert code == 1
    assert err.splitlines()[-1].startswith("workers keep dying (TerminatedWorkerError). ")
    assert "cells are kept" in err


def test_a_full_disk_gets_a_line_and_leaves_what_there_is(start, tmp_path):
    """The system refuses any file of more than 5 kB, as a full disk would."""

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    assert finished(start("run", "quick", "--jobs", 1, "--set", "rows=1"))[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    code, _, err = finished(start("run", "slow", "--jobs", 1, preexec_fn=small_disk))
    assert code == 1
    said = err.splitlines()[-1]
    assert said.startswith("the results cannot be kept (File too large). 0 of 6 cells are kept")
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.tmp"))
    assert {path: path.read_bytes() for path in before} == before
    assert finished(start("run", "slow", "--jobs", 1))[0] == 0
    whole(tmp_path)


def test_a_folder_that_cannot_be_written_gets_a_line(start, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, _, err = finished(start("run", "quick", folder=tmp_path / "file"))
    assert code == 1
    assert err.splitlines()[-1].startswith("the results cannot be kept (Not a directory)")
    assert "Traceback" not in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_gets_a_line(start, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    code, _, err = finished(start("run", "quick", folder=tmp_path / "locked"))
    assert code == 1
    assert "the results cannot be kept (Permission denied)" in err.splitlines()[-1]


def test_a_damaged_record_gets_a_line_and_the_others_none(start, tmp_path):
    for name in ("quick", "large"):
        assert finished(start("run", name, "--jobs", 1))[0] == 0
    path = Plan(EXPERIMENTS["large"], folder=tmp_path).record
    path.write_bytes(path.read_bytes()[:1000])
    code, out, err = finished(start("list"))
    assert code == 0, err
    assert out.count("is damaged") == 1
    assert out.count("current") == 1
    code, out, err = finished(start("verify"))
    assert code == 1
    assert "large.json is damaged" in err
    assert "quick: verified" in out
    assert len(path.read_bytes()) == 1000
    assert finished(start("run", "large", "--jobs", 1))[0] == 0  # it is computed again
    assert store.read(path)[0]["experiment"] == "large"


def test_a_reader_that_leaves_gets_no_traceback(start):
    runner = start("status")
    runner.stdout.close()
    assert (runner.wait(DEADLINE), runner.stderr.read()) == (141, "")
