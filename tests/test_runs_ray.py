"""A sweep on a ray cluster of one node; ray is an option that the book does not install."""

import os
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec

import psutil
import pytest

from conftest import ROOT
from test_runs_drills import begun, done, finished, start, wait_for, whole

pytestmark = pytest.mark.skipif(not find_spec("ray"), reason="needs ray: pip install ray")
__all__ = ["start"]  # the fixture

HEAD = ("--head", "--node-ip-address", "127.0.0.1", "--num-cpus", "2", "--block")
SPARE = ("--include-dashboard", "false", "--object-store-memory", "100000000")


@pytest.fixture
def cluster(tmp_path):
    """Its address, and its process; cells log as the fixture `start` has them log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"SWEEP_LOG": str(tmp_path / "log"), "PYTHONPATH": str(ROOT / "tests")}
    env |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    options = {"env": os.environ | env, "cwd": tmp_path, "stderr": subprocess.STDOUT}
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *HEAD, *SPARE]
    # Its sockets lie in a folder whose name must be short.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as short:
        words = ["--port", str(port), "--temp-dir", short]
        with open(tmp_path / "ray.txt", "w") as said:
            head = subprocess.Popen([*ray, *words], stdout=said, **options)
        try:
            wait_for(lambda: "Ray runtime started" in (tmp_path / "ray.txt").read_text(), "cluster")
            yield f"127.0.0.1:{port}", psutil.Process(head.pid)
        finally:
            head.terminate()
            head.wait(30)


def on(where):
    return "--backend", "ray", "--scheduler", where


def test_every_bit_is_the_same_and_a_killed_worker_loses_nothing(start, cluster, tmp_path):
    where, head = cluster
    runner = start("run", "slow", *on(where))
    wait_for(lambda: done(tmp_path) >= 2, "second cell")
    next(p for p in head.children(recursive=True) if "ray::_called" in p.cmdline()[:1]).kill()
    code, _, err = finished(runner)
    assert code == 0, err
    whole(tmp_path)  # bit for bit what one process gives
    counts = begun(tmp_path)
    assert set(counts) == {"prepare", *map(str, range(6))}
    assert len(counts) <= 1 + 6 + 2  # what was in work


def test_a_failing_cell_is_named_as_on_one_machine(start, cluster, tmp_path):
    code, _, err = finished(start("run", "buggy", *on(cluster[0])))
    assert code == 1
    assert "row 0, column 2: ZeroDivisionError: a cell with a bug" in err.splitlines()[-1]
    assert "5 of 6 cells are kept" in err


def test_a_stopped_run_leaves_no_cell_in_work(start, cluster, tmp_path):
    where, head = cluster
    runner = start("run", "slow", *on(where), "--set", "wait=60")
    wait_for(lambda: len(begun(tmp_path)) == 3, "cells in work")
    runner.terminate()
    code, _, err = finished(runner)
    assert code == 130, err
    assert "0 of 6 cells are kept" in err

    def idle():
        return not any("ray::_called" in p.cmdline()[:1] for p in head.children(recursive=True))

    wait_for(idle, "rest")


def test_no_cluster_gets_a_line(start):
    code, _, err = finished(start("run", "quick", *on("127.0.0.1:1")))
    assert code == 1
    assert err.startswith("no ray cluster answers at 127.0.0.1:1: ")
