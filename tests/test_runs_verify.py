"""Computing a record's cells again: as they were computed, compared as strictly as may be."""

import platform
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.runs import provenance, records, settings
from lib.runs.errors import Trouble
from lib.runs.plan import Plan
from lib.runs.verifying import compare, compared, same_setting, verify
from sweeps import EXPERIMENTS, Config

QUICK = EXPERIMENTS["quick"]
NAN, INF = np.nan, np.inf


def place(config, cell, device, before):
    """Which cell it is, how many seeds are at once, and on how many threads."""
    threads = torch.get_num_threads()
    return {"place": np.array([cell["row"], cell["column"], config.at_once, threads])}


BARE = replace(QUICK, run_cell=place, prepare=None, kept=())
INFO = {
    "config": settings.plain(Config()),
    "code": {"module": "lib.glue", "digest": records.code_digest("lib.glue")},
    "machines": [provenance.machine("cpu", 2)],
    "versions": [provenance.versions()],
    "batches": [8, 4, 2, 1, 8, 8],
}


def record(**info):
    """A record of BARE, with a batch of its own for each cell and two threads."""
    cells = ((r, c) for r in range(2) for c in range(3))
    found = [[r, c, INFO["batches"][3 * r + c], 2] for r, c in cells]
    return records.Record(INFO | info, {"place": np.array(found).reshape(2, 3, 4)})


# --- as the record was made


def test_each_cell_is_computed_with_the_batch_and_the_threads_of_the_record():
    found = compare(Plan(BARE), record(), range(6), say=bool)
    assert [comparison.same for comparison in found] == [True] * 6
    assert found[5].part == "row 1, column 2: place"


def test_the_preparation_has_the_first_of_the_batches():
    seen = []

    def prepare(config, device):
        seen.append(config.at_once)
        return {}

    def run_cell(config, cell, device, before):
        seen.append(config.at_once)
        return {}

    prepared = replace(BARE, prepare=prepare, run_cell=run_cell)
    compare(Plan(prepared), record(batches=[7, *INFO["batches"]]), [0, 3], say=bool)
    assert seen == [7, 8, 1]


def test_a_cell_that_fails_is_trouble():
    with pytest.raises(Trouble, match="quick: KeyError: 'offset'"):
        compare(Plan(replace(QUICK, prepare=None)), record(), [0], say=bool)


@pytest.mark.parametrize("sample", [0, -1])
def test_a_sample_of_nothing_verifies_nothing(sample):
    with pytest.raises(Trouble, match=f"{sample} cells to compute again: choose at least 1"):
        verify(Plan(BARE), record(), sample, say=bool)


def test_an_array_that_the_record_lacks_is_named_with_the_remedy():
    more = replace(BARE, run_cell=lambda *arguments: {**place(*arguments), "new": np.zeros(1)})
    with pytest.raises(Trouble, match="quick: the record has no new; python -m lib run quick"):
        compare(Plan(more), record(), [0], say=bool)


# --- what is the same


@pytest.mark.parametrize(
    ("new", "old", "same", "far"),
    [
        ([1.0, 2.0], [1.0, 2.0], True, 0),
        ([1.0, 2.5, 3.25], [1.0, 2.0, 3.0], False, 0.5),
        ([NAN, -INF], [NAN, -INF], True, 0),
        ([NAN, 1.0], [NAN, 1.5], False, 0.5),
        ([NAN], [1.0], False, NAN),
        ([INF], [-INF], False, INF),
        ([1, 2], [1, 4], False, 2),
        ([True], [False], False, 1),
        ([1.0], [1], False, 0),  # of another type
        ([[1.0]], [1.0], False, INF),  # of another shape
        ([1.0], [1.0, 1.0], False, INF),
    ],
)
def test_the_same_is_the_same_to_the_last_bit(new, old, same, far):
    found = compared("x", np.array(new), np.array(old), QUICK, exact=True)
    assert (found.same, found.accepted) == (same, same)
    assert found.difference == pytest.approx(far, nan_ok=True)


@pytest.mark.parametrize(
    ("new", "old", "accepted"),
    [
        ([1.4, NAN, INF], [1.0, NAN, INF], True),  # 0.25 + 0.25 |recorded|
        ([1.6], [1.0], False),
        ([0.2], [0.0], True),
        ([1.0], [1.6], True),
        ([1.0, 1.6], [1.0, 1.0], False),
        ([NAN], [1.0], False),
        ([INF], [-INF], False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_elsewhere_the_tolerance_of_the_experiment_decides(new, old, accepted):
    loose = replace(QUICK, atol=0.25, rtol=0.25)
    assert compared("x", np.array(new), np.array(old), loose, exact=False).accepted == accepted
    assert not compared("x", np.array([1.3]), np.array([1.0]), loose, exact=True).accepted


@pytest.mark.parametrize(("atol", "rtol"), [(0.25, 0.0), (0.0, 0.25)])
def test_each_tolerance_counts_by_itself(atol, rtol):
    loose, recorded = replace(QUICK, atol=atol, rtol=rtol), np.array([2.0])
    assert compared("x", recorded + 0.2, recorded, loose, exact=False).accepted
    assert compared("x", recorded + 0.4, recorded, loose, exact=False).accepted == (rtol > 0)


OTHER = {
    "machines": [provenance.machine("cpu", 2) | {"cores": 1000}],
    "versions": [provenance.versions() | {"numpy": "1.0"}],
    "code": {"module": "lib.glue", "digest": "0"},
}


@pytest.mark.parametrize("change", [{}, *({key: value} for key, value in OTHER.items())])
def test_the_same_bits_are_asked_of_the_same_setting_only(change):
    assert same_setting(Plan(BARE), record(**change)) == (not change)


# --- where it was computed


def test_the_machine_is_told_by_what_decides_the_last_bits(monkeypatch):
    text = "cores\t: 2\nmodel name\t: A: processor \nmodel name\t: another\n"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    machine = provenance.machine("cpu:0", 3)
    assert (machine["processor"], machine["threads"]) == ("A: processor", 3)
    assert (machine["device"], machine["cores"]) == ("cpu:0", provenance.os.cpu_count())
    assert machine["system"] == f"{platform.system()} {platform.machine()}"


def test_a_system_that_does_not_tell_its_processor_has_one_all_the_same(monkeypatch):
    def absent(self, encoding):
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert provenance.processor() == (platform.processor() or platform.machine())


def test_the_versions_are_those_of_what_computes():
    assert provenance.versions() == {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scikit-learn")},
    }


def git(folder, *words):
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", folder, *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_commit_is_clean_while_the_library_is_that_of_the_commit(tmp_path):
    assert provenance.commit(tmp_path) == {"id": None, "clean": False}
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    assert provenance.commit(tmp_path) == {"id": None, "clean": False}  # nothing committed yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    here = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == {"id": here, "clean": True}
    (tmp_path / "notes.md").write_text("not of the library")
    assert provenance.commit(tmp_path)["clean"]
    (tmp_path / "lib/b.py").write_text("b = 1\n")
    assert provenance.commit(tmp_path) == {"id": here, "clean": False}


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == {"id": None, "clean": False}
