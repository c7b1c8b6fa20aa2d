"""A sweep on a cluster: a dask scheduler and two workers, as processes on this machine."""

import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT
from test_runs_drills import begun, done, finished, start, wait_for, whole

pytest.importorskip("distributed", reason="dask is not installed")
__all__ = ["start"]  # the fixture

QUIET = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cluster(tmp_path):
    """The scheduler's address, and the two worker processes."""
    log = {"SWEEP_LOG": str(tmp_path / "log"), "PYTHONPATH": str(ROOT / "tests")}
    options = {"env": os.environ | QUIET | log, "cwd": tmp_path, "stderr": subprocess.DEVNULL}
    options["stdout"] = subprocess.DEVNULL
    dask = [sys.executable, "-m", "dask"]
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", file, "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", *words], **options)
    words = ["--scheduler-file", file, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    workers = [
        subprocess.Popen([*dask, "worker", *words, "--local-directory", tmp_path], **options)
        for _ in range(2)
    ]
    try:
        wait_for(lambda: file.exists() and file.read_text().endswith("}"), "scheduler")
        yield address(file), workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def address(file):
    return json.loads(file.read_text())["address"]


def on(where):
    return "--backend", "dask", "--scheduler", where


def test_a_killed_worker_loses_and_doubles_nothing_and_every_bit_is_the_same(
    start, cluster, tmp_path
):
    where, workers = cluster
    runner = start("run", "slow", *on(where))
    wait_for(lambda: done(tmp_path) >= 2, "second cell")
    workers[0].kill()
    code, _, err = finished(runner)
    assert code == 0, err
    whole(tmp_path)  # bit for bit what one process gives
    counts = begun(tmp_path)
    assert set(counts) == {"prepare", *map(str, range(6))}
    assert len(counts) <= 1 + 6 + 2  # what it had in work, and a result nobody had fetched


def test_a_cluster_of_one_core_computes_all_the_cells(start, cluster, tmp_path):
    where, workers = cluster
    workers[0].kill()
    workers[0].wait()
    runner = start("run", "deadly", *on(where))
    wait_for(lambda: workers[1].poll() is not None, "end of the worker that met the deadly cell")
    assert runner.poll() is None  # it computes nothing itself


def test_a_failing_cell_is_named_as_on_one_machine(start, cluster, tmp_path):
    where, _ = cluster
    code, _, err = finished(start("run", "buggy", *on(where)))
    assert code == 1
    assert "row 0, column 2: ZeroDivisionError: a cell with a bug" in err.splitlines()[-1]
    assert "5 of 6 cells are kept" in err


def test_a_task_that_the_cluster_gives_up_is_no_endless_wait(start, tmp_path):
    """A cluster whose scheduler allows no failure: the first death of a worker is final."""
    script = tmp_path / "cluster.py"
    script.write_text(SCRIPT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    env = os.environ | QUIET | {"PYTHONPATH": str(ROOT / "tests")}
    env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
    with subprocess.Popen([sys.executable, script], env=env, cwd=tmp_path, **pipes) as cluster:
        try:
            where = cluster.stdout.readline().strip()
            code, _, err = finished(start("run", "deadly", *on(where)))
        finally:
            cluster.kill()
    assert code == 1
    assert err.splitlines()[-1].startswith("workers keep dying (KilledWorker). ")


SCRIPT = """\
import time
from distributed import LocalCluster

if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(120)
"""
