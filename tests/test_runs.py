"""Records, plans and the command line, in one process."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from joblib import delayed

import sweeps
from conftest import ROOT
from lib.runs import codehash, locks, provenance, records, settings, store, sweep, verifying, work
from lib.runs.backends import crew
from lib.runs.cli import main
from lib.runs.errors import DamagedRecord, MissingRecord, Trouble
from lib.runs.experiment import Scale
from lib.runs.plan import PREPARE, Plan
from lib.runs.progress import Bar
from sweeps import EXPERIMENTS, Config

QUICK = EXPERIMENTS["quick"]
ARRAYS = {
    "reals": np.array([[0.1, -0.0, 1e-320], [np.inf, -np.inf, np.nan]]),
    "halves": np.array([1 / 3], dtype=np.float32),
    "counts": np.arange(3),
    "flags": np.array([True, False]),
    "number": np.array(2.5),
    "nothing": np.zeros((0, 2)),
}


def cli(*words, folder):
    return main(EXPERIMENTS, [*map(str, words), "--folder", str(folder)])


def run(name, folder, *words):
    return cli("run", name, "--jobs", 1, "--device", "cpu", *words, folder=folder)


def plan(name="quick", folder=Path(), **options):
    return Plan(EXPERIMENTS[name], folder=folder, **options)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    assert run("quick", folder) == 0
    return folder


@pytest.fixture
def copied(recorded, tmp_path):
    """The record in a folder of the test's own."""
    source, target = (plan(folder=folder).record for folder in (recorded, tmp_path))
    target.parent.mkdir(parents=True)
    target.write_bytes(source.read_bytes())
    return tmp_path


# --- files


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_every_bit_comes_back(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    store.write(path, {"seed": 1, "words": "a – b"}, ARRAYS)
    info, arrays = store.read(path)
    assert (info["seed"], info["words"]) == (1, "a – b")
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_flipped_bit_anywhere_is_noticed(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    store.write(path, {"seed": 1}, {"values": np.arange(3.0)})
    content = path.read_bytes()
    meaning = store.read(path)
    unnoticed = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            info, arrays = store.read(path)
        except DamagedRecord:
            continue
        unnoticed += 1  # a date inside the zip, say: what is read must still be what was written
        assert info == meaning[0]
        assert np.array_equal(arrays["values"], meaning[1]["values"])
    assert unnoticed < len(content) / 3


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"PK\x03\x04", b"\xff\xfe"])
def test_a_file_that_is_no_record_is_called_damaged(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DamagedRecord, match=r"^x\..* is damaged"):
        store.read(path)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_cut_file_is_called_damaged(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    store.write(path, {}, ARRAYS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedRecord):
        store.read(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt("No time")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "x.json"
    store.write(path, {"seed": 1}, {})

    def full(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(type(error), match="No "):
        store.write(path, {"seed": 2}, {})
    assert store.read(path)[0]["seed"] == 1
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_file_grows_in_the_folder_for_scratch(tmp_path, monkeypatch):
    moves, replace_ = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: moves.append((a, b)) or replace_(a, b))
    path, scratch = tmp_path / "a/x.json", tmp_path / "b/c"
    store.write(path, {"seed": 1}, {}, scratch)
    assert [(a.parent, b) for a, b in moves] == [(scratch, path)]
    assert store.read(path)[0]["seed"] == 1


def test_a_checksum_is_of_what_is_held_and_not_of_its_order():
    arrays = {"a": np.zeros(4), "b": np.zeros(4, dtype=int)}
    first = store.checksum({"x": 1, "y": 2}, arrays)
    assert first == store.checksum({"y": 2, "x": 1}, dict(reversed(arrays.items())))
    for other in (
        {"a": arrays["a"], "c": arrays["b"]},
        {"a": arrays["a"], "b": np.zeros(4)},
        {"a": arrays["a"].reshape(2, 2), "b": arrays["b"]},
        {"a": arrays["a"] + 1, "b": arrays["b"]},
    ):
        assert store.checksum({"x": 1, "y": 2}, other) != first


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_bytes_may_come_in_either_order(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    store.write(path, {}, {"values": np.array([1.5, 2.5], dtype=">f8")})
    assert store.read(path)[1]["values"].tolist() == [1.5, 2.5]


def test_what_json_has_no_number_for_is_refused_outside_arrays(tmp_path):
    for suffix in (".json", ".npz"):
        with pytest.raises(ValueError, match="JSON"):
            store.write(tmp_path / f"x{suffix}", {"loss": float("nan")}, {})
    assert os.listdir(tmp_path) == []


class Pickled:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_is_unpickled(tmp_path):
    array = np.array([Pickled(tmp_path / "made")])
    np.savez(tmp_path / "x.npz", info=np.array("{}"), **{"array/a": array})
    with pytest.raises(DamagedRecord):
        store.read(tmp_path / "x.npz")
    assert os.listdir(tmp_path) == ["x.npz"]


def test_a_record_can_be_read_anywhere(tmp_path):
    """JSON knows no Infinity and no NaN."""
    store.write(tmp_path / "x.json", {}, ARRAYS)
    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert read["arrays"]["reals"]["values"][3:] == ["inf", "-inf", "nan"]


def test_json_keeps_an_array_on_one_line(tmp_path):
    store.write(tmp_path / "x.json", {"a": 1}, {"long": np.arange(500)})
    lines = (tmp_path / "x.json").read_text().splitlines()
    assert sum('"long"' in line for line in lines) == 1
    assert len(lines) < 10


# --- the code's digest


def test_comments_docstrings_and_blank_lines_do_not_age_a_record():
    plain = 'def f(x):\n    return "# no comment" + x\n'
    spoken = (
        '"""Module."""\n\n# why\ndef f(x):  # here\n    """Doc\n    string."""\n\n'
        '    return "# no comment" + x\n'
    )
    assert codehash.bare(plain) == codehash.bare(spoken)
    assert codehash.bare(plain) != codehash.bare(plain.replace("+ x", "+ x + x"))


def test_the_digest_follows_imports_and_ignores_the_rest(tmp_path):
    def digest(**changes):
        files = {"a": "from lib import b\n", "b": "B = 1\n", "c": "C = 1\n"} | changes
        for name, text in files.items():
            (tmp_path / "lib").mkdir(exist_ok=True)
            (tmp_path / "lib" / f"{name}.py").write_text(text)
        codehash.code_digest.cache_clear()
        return codehash.code_digest("lib.a", tmp_path)

    assert digest() == digest(c="C = 2\n") == digest(b="B = 1  # one\n")
    assert digest() != digest(b="B = 2\n")


# --- configs


@dataclass(frozen=True)
class Outer:
    part: Config = field(default_factory=Config)
    place: str | None = field(default=None, metadata={"local": True})


def test_a_config_becomes_plain_data_without_places():
    assert settings.plain(Outer(place="/somewhere")) == {"part": settings.plain(Config())}
    assert settings.plain(Config())["dtype"] == "float64"
    json.dumps(settings.plain(Outer()))


@dataclass(frozen=True)
class Placed(Config):
    place: str | None = field(default=None, metadata={"local": True})


def test_where_the_data_lies_makes_no_other_run():
    placed = replace(QUICK, scales={"paper": Scale(Placed)})
    here, there = Plan(placed), Plan(placed, changes={"place": "/somewhere"})
    assert there.config.place == "/somewhere"
    assert (there.key, there.record, there.command) == (here.key, here.record, here.command)
    other = Plan(placed, changes={"place": "/somewhere", "rows": 1})
    assert other.command.endswith("--scale paper --set rows=1") and other.record != here.record


def test_cells_belong_together_by_config_code_and_kind_of_device(monkeypatch):
    key = plan().key
    assert plan(folder=Path("elsewhere")).key == plan(changes={"rows": 2}).key == key
    assert plan(device="cuda:0").key == plan(device="cuda:1").key != key
    one, other = plan(changes={"rows": 1}), plan(changes={"rows": 1, "columns": 1})
    assert len({one.key, other.key, key}) == len({one.record, other.record, plan().record}) == 3
    monkeypatch.setattr("lib.runs.plan.code_digest", lambda module: "another")
    assert plan().key != key


@dataclass(frozen=True)
class Wide(Config):
    widths: tuple[float, ...] = (0.5, 1.0)

    def __post_init__(self):
        if self.rows > 2:
            raise TypeError("rows: at most 2")


def test_a_command_makes_its_record_again():
    wide = replace(QUICK, scales={"paper": Scale(Wide)})
    made = Plan(wide, changes={"widths": (0.25, 2.0), "dtype": "float32"}, device="cuda:0")
    words = made.command.split()
    assert words[:6] == ["python", "-m", "lib", "run", "quick", "--scale"]
    assert words[-2:] == ["--device", "cuda:0"]
    given = dict(settings.parsed(words[n + 1]) for n, w in enumerate(words) if w == "--set")
    assert Plan(wide, changes=given, device="cuda:0").key == made.key


def test_a_config_that_refuses_its_numbers_is_trouble():
    with pytest.raises(Trouble, match="quick: rows: at most 2"):
        _ = Plan(replace(QUICK, scales={"paper": Scale(Wide)}), changes={"rows": 3}).config


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=0.5", 0.5), ("a=0.1,0.2", (0.1, 0.2)), ("a=float32", "float32"), ("a=", "")],
)
def test_values_are_read_as_python_or_as_words(text, value):
    assert settings.parsed(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_a_setting_without_key_or_value_is_refused(text):
    with pytest.raises(Trouble, match="write key=value"):
        settings.parsed(text)


def test_changes_reach_into_parts_and_keep_types():
    outer = settings.changed(Outer(), {"part.seeds": 7, "wait": 1, "part.dtype": "float32"})
    assert outer.part == Config(seeds=7, wait=1.0, dtype=torch.float32)
    assert isinstance(outer.part.wait, float)


@pytest.mark.parametrize("value", [2, (2,), [2], (1, 2.5)])
def test_a_tuple_keeps_its_types_and_may_be_given_as_its_only_item(value):
    widths = settings.changed(Wide(), {"widths": value}).widths
    assert widths == (tuple(value) if value != 2 else (2,))
    assert {type(width) for width in widths} == {float}
    assert settings.changed(Wide(widths=()), {"widths": (1, "a")}).widths == (1, "a")


@dataclass(frozen=True)
class Rows(Outer):
    rows: int = 9


@dataclass(frozen=True)
class Twin(Outer):
    other: Config = field(default_factory=Config)


def test_a_name_alone_is_the_field_itself_or_that_of_the_only_part_that_has_it():
    assert settings.changed(Rows(), {"rows": 5}) == Rows(rows=5)
    with pytest.raises(Trouble, match="there is no seeds; choose one of part, place, other"):
        settings.changed(Twin(), {"seeds": 5})
    assert settings.changed(Twin(), {"other.seeds": 5}) == Twin(other=Config(seeds=5))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sedes", 1, "there is no sedes; choose one of rows, columns, seeds"),
        ("seeds", "many", "'many' does not fit; now it is 4"),
        ("seeds", 1.5, "does not fit"),
        ("wait", True, "True does not fit; now it is 0.0"),
        ("dtype", "int8", "no dtype here; choose float32 or float64"),
        ("seeds.x", 1, "seeds has no parts"),
    ],
)
def test_a_wrong_setting_is_named(key, value, words):
    with pytest.raises(Trouble, match=words):
        settings.changed(Config(), {key: value})


# --- a run and its record


def test_a_record_stacks_the_cells_along_the_axes(recorded):
    record = records.read(QUICK, recorded)
    assert record.axes == {"row": [0, 1], "column": [0, 1, 2]}
    assert record["values"].shape == (2, 3, 4, 50)
    alone = sweeps.run_cell(Config(), {"row": 1, "column": 2}, "cpu", {"offset": np.array([np.pi])})
    assert np.array_equal(record["values"][1, 2], alone["values"])
    assert np.array_equal(record["offset"], [np.pi])
    assert "unkept" not in record.arrays
    assert np.isneginf(record["log"]).any()


def test_a_record_says_where_it_comes_from(recorded):
    info = records.read(QUICK, recorded).info
    assert info["command"] == "python -m lib run quick --scale paper"
    assert info["config"] == settings.plain(Config())
    assert info["versions"] == [provenance.versions()]
    assert info["machines"] == [provenance.machine("cpu", 1)]
    assert (info["seed"], info["scale"], info["remark"]) == (0, "paper", "A remark.")
    assert info["code"]["module"] == "sweeps"
    assert len(info["checksum"]) == 64
    assert info["seconds"] > 0
    assert info["peak_bytes"] > 1e7
    assert len(info["cell_seconds"]) == 6


def test_a_record_names_no_person_and_no_place(recorded):
    text = plan(folder=recorded).record.read_text()
    for secret in (str(recorded), str(ROOT), os.uname().nodename, str(Path.home())):
        assert secret not in text


def told(**info):
    """A record of which only its info is known."""
    known = {"made": "today", "seconds": 1, "seed": 0, "command": "run", "machines": []}
    known |= {"commit": {"id": None, "clean": False}, "remark": ""}
    known |= {"code": {"module": "lib.glue", "digest": codehash.code_digest("lib.glue")}}
    return records.Record(known | info, {})


def test_flags_in_a_remark_are_code():
    remark = "More are --scale gpu; for less (add --seeds 2 --set steps=80)."
    words = "More are `--scale gpu`; for less (add `--seeds 2` `--set steps=80`)."
    assert told(remark=remark).stamp.endswith(words)


@pytest.mark.parametrize("clean", [True, False])
def test_only_a_clean_commit_is_named(clean):
    stamp = told(commit={"id": "0123456789abcdef", "clean": clean}).stamp
    assert (", at commit 0123456, seed 0" in stamp) is clean
    assert ("commit" in stamp) is clean
    assert "commit" not in told(commit={"id": None, "clean": clean}).stamp


def test_the_hardware_is_each_kind_once_and_a_gpu_by_its_name():
    machines = [{"cores": 2}, {"cores": 2}, {"cores": 16, "gpu": "H100"}]
    assert told(machines=machines).hardware == "H100 and a CPU with 2 cores"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (40, "40 s"),
        (89, "89 s"),
        (90, "2 min"),
        (420, "7 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (9000, "2.5 h"),
    ],
)
def test_a_time_in_words(seconds, words):
    assert records.duration(seconds) == words


def test_a_stamp_for_the_caption(recorded):
    record = records.read(QUICK, recorded)
    assert f"Recorded on {provenance.today()} on a CPU with" in record.stamp
    assert "seed 0, by `python -m lib run quick --scale paper`. A remark." in record.stamp
    assert record.note == ""


def test_a_record_of_other_code_is_old_and_says_so(recorded):
    record = records.read(QUICK, recorded)
    code = record.info["code"] | {"digest": "0"}
    old = replace(record, info=record.info | {"code": code})
    assert old.old
    assert old.stamp.endswith("The code has changed since: run the command again.")


def test_a_missing_record_names_the_command(tmp_path):
    with pytest.raises(MissingRecord, match="python -m lib run quick --scale paper"):
        records.read(QUICK, tmp_path)


def test_a_chapter_refuses_a_damaged_record(copied):
    path = plan(folder=copied).record
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(DamagedRecord, match=r"quick\.json is damaged \(its checksum is wrong\)"):
        records.read(QUICK, copied)


def test_a_damaged_record_is_computed_anew(copied):
    path = plan(folder=copied).record
    path.write_bytes(path.read_bytes()[:1000])
    assert run("quick", copied) == 0
    assert plan(folder=copied).current()


def test_what_is_added_to_a_record_takes_the_place_of_the_same(copied, monkeypatch):
    before, begun, replace_ = records.read(QUICK, copied), [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: begun.append(a) or replace_(a, b))
    for bench in ([1], [2, 3]):
        records.add(plan(folder=copied), bench=bench)
    after = records.read(QUICK, copied)
    assert {**after.info, "checksum": 0} == {**before.info, "bench": [2, 3], "checksum": 0}
    assert np.array_equal(after["values"], before["values"])
    assert {path.parent for path in begun} == {copied / ".local"}


def test_a_finished_run_leaves_the_record_and_nothing_else(recorded):
    files = [path.relative_to(recorded).as_posix() for path in recorded.rglob("*.*")]
    assert [name for name in files if not name.endswith(".local")] == ["test/quick.json"]


def test_unfinished_files_are_where_git_does_not_look(tmp_path, monkeypatch):
    begun, replace_ = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: begun.append(a) or replace_(a, b))
    assert run("quick", tmp_path) == 0
    assert len(begun) == 1 + 1 + 6 + 1  # the plan, the preparation, the cells, the record
    assert all(path.is_relative_to(tmp_path / ".local") for path in begun)


def test_a_current_record_is_left_alone_until_asked(copied, capsys):
    before = plan(folder=copied).record.stat().st_mtime_ns
    assert run("quick", copied) == 0
    assert "is current; --again" in capsys.readouterr().out
    assert plan(folder=copied).record.stat().st_mtime_ns == before
    assert run("quick", copied, "--again") == 0
    assert plan(folder=copied).record.stat().st_mtime_ns > before


def test_a_record_of_other_code_or_another_config_is_computed_again(copied):
    path = tampered(copied, key="0" * 12)
    assert not plan(folder=copied).current()
    assert run("quick", copied) == 0
    assert plan(folder=copied).current() and store.read(path)[0]["key"] == plan().key


def test_other_scales_and_settings_do_not_touch_the_book(copied):
    before = plan(folder=copied).record.read_bytes()
    assert run("quick", copied, "--scale", "small") == 0
    assert run("quick", copied, "--seeds", 2, "--set", "rows=1", "--dtype", "float32") == 0
    assert plan(folder=copied).record.read_bytes() == before
    others = sorted((copied / ".local/test").glob("*.json"))
    assert [path.name.split("-")[1].removesuffix(".json") for path in others] == ["paper", "small"]
    info, arrays = store.read(others[0])
    assert arrays["values"].shape == (1, 3, 2, 50)
    assert arrays["values"].dtype == np.float32
    command = "python -m lib run quick --scale paper --set rows=1 --set seeds=2 --set dtype=float32"
    assert info["command"] == command
    assert info["changes"] == {"rows": 1, "seeds": 2, "dtype": "float32"}


def test_two_processes_give_the_bits_of_one(recorded, tmp_path):
    assert cli("run", "quick", "--jobs", 2, "--device", "cpu", folder=tmp_path) == 0
    one, two = (records.read(QUICK, folder) for folder in (recorded, tmp_path))
    for name in one.arrays:
        assert one[name].tobytes() == two[name].tobytes()


@pytest.mark.parametrize("name", ["prepare", "cell-0001", "cell-0005"])
def test_a_damaged_cell_is_told_and_computed_again(tmp_path, capsys, monkeypatch, name):
    assert run("buggy", tmp_path) == 1
    cell = next(tmp_path.rglob(f"{name}.npz"))
    cell.write_bytes(cell.read_bytes()[:-5])
    monkeypatch.setenv(sweeps.LOG, str(tmp_path / "log"))
    assert run("buggy", tmp_path) == 1
    assert f"{name}.npz is damaged" in capsys.readouterr().err
    again = name.removeprefix("cell-000")
    assert sorted((tmp_path / "log").read_text().split()) == sorted([again, "2"])


def test_what_is_known_of_the_cells_joins_in_the_record(tmp_path):
    """Six cells and the preparation, made elsewhere: two machines, two versions."""
    made = plan(folder=tmp_path)
    arrays = {"values": np.zeros(3)}
    with made.open(), crew("loky", 1) as workers:
        for index in range(PREPARE, 6):
            machine = {"cores": 2 if index else 16}
            info = {"seconds": 2.0 + index, "peak_bytes": 100 + index % 5, "machine": machine}
            info |= {"versions": {"torch": str(index == 5)}, "batch": index}
            made.save(index, info, {"offset": arrays["values"]} if index == PREPARE else arrays)
        sweep.run(made, workers)
    info = records.read(QUICK, tmp_path).info
    assert (info["seconds"], info["prepare_seconds"]) == (1 + 27, 1)
    assert info["cell_seconds"] == [2, 3, 4, 5, 6, 7]
    assert info["peak_bytes"] == 104
    assert info["machines"] == [{"cores": 2}, {"cores": 16}]
    assert info["versions"] == [{"torch": "False"}, {"torch": "True"}]
    assert info["batches"] == [-1, 0, 1, 2, 3, 4, 5]


def test_a_failing_cell_is_named_and_the_others_are_kept(tmp_path, capsys):
    assert run("buggy", tmp_path) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("row 0, column 2: ZeroDivisionError: a cell with a bug (traceback: ")
    assert "5 of 6 cells are kept" in said
    log = tmp_path / said.split("traceback: ")[1].split(")")[0]
    assert "in run_cell\n" in log.read_text() and "ZeroDivisionError" in log.read_text()


def test_status_tells_of_unfinished_runs(tmp_path, capsys):
    run("buggy", tmp_path)
    capsys.readouterr()
    assert cli("status", folder=tmp_path) == 0
    said = capsys.readouterr().out
    assert "5 of 6 cells, 0 in work: python -m lib run buggy --scale paper" in said
    assert "buggy: not recorded" in said


def test_list_tells_cost_and_state(copied, capsys):
    (copied / "test/slow.json").write_text("half a rec")
    assert cli("list", folder=copied) == 0
    said = capsys.readouterr().out
    assert "6 cells, about 1 s on one core, 1 s on a GPU" in said
    assert f"recorded {provenance.today()}" in said
    assert "current" in said
    assert "slow.json is damaged" in said
    assert "not recorded" in said


# --- memory


def test_where_memory_runs_out_the_batch_is_halved(tmp_path):
    assert run("large", tmp_path) == 0
    info = records.read(EXPERIMENTS["large"], tmp_path).info
    assert info["batches"] == [8, 2, 2, 2, 2, 2, 2]  # the preparation fitted
    assert info["config"]["at_once"] == 8


def test_what_does_not_fit_at_all_is_said(tmp_path, capsys):
    assert run("huge", tmp_path) == 1
    assert "row 0, column 0: OutOfMemoryError: CUDA out of memory" in capsys.readouterr().err


def test_the_cpu_runs_out_of_memory_too():
    assert work.out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you"))
    assert work.out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    assert work.out_of_memory(MemoryError())
    assert not work.out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(
    ("batch", "error", "sizes", "words"),
    [
        ("at_once", None, [8, 4, 2], ""),
        ("at_once", MemoryError("at all"), [8, 4, 2, 1], "MemoryError: at all"),
        ("at_once", RuntimeError("shapes\n  differ"), [8], "RuntimeError: shapes differ"),
        ("", MemoryError("here"), [8], "MemoryError: here"),
    ],
)
def test_only_for_memory_and_with_a_batch_is_a_cell_tried_again(batch, error, sizes, words):
    seen = []

    def cell(config):
        seen.append(config.at_once)
        if error or config.at_once > 2:
            raise error or MemoryError
        return {"threads": np.array(torch.get_num_threads())}

    outcome = work.attempt(7, cell, Config(), (), "cpu:0", torch.get_num_threads() + 1, batch)
    assert (outcome.index, seen, outcome.error) == (7, sizes, words)
    if not error:
        assert outcome.arrays["threads"] == torch.get_num_threads() + 1
        assert outcome.info["machine"] == provenance.machine("cpu:0", torch.get_num_threads() + 1)


def test_the_number_of_threads_is_fixed_and_given_back():
    before = torch.get_num_threads()
    with work.limited(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


# --- other runners


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "x.lock"
    with locks.claim(path):
        assert locks.claim(path) is None
        assert locks.held(path)
    assert not locks.held(path)
    assert not locks.held(tmp_path / "never.lock")
    assert os.listdir(tmp_path) == ["x.lock"]


def test_a_lock_for_many_waits_for_the_one_who_has_it(tmp_path):
    path = tmp_path / "x.lock"
    with ThreadPoolExecutor() as pool, locks.claim(path):
        joining = pool.submit(locks.join, path)
        with pytest.raises(TimeoutError):
            joining.result(0.1)
    with joining.result(), locks.join(path):
        assert locks.claim(path) is None


def test_a_disk_without_locks_costs_no_result(tmp_path, monkeypatch):
    def flock(file, kind):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    assert run("quick", tmp_path) == 0
    assert plan(folder=tmp_path).current()


def test_a_cell_in_the_hands_of_another_is_waited_for(tmp_path, monkeypatch):
    waited = []
    other = plan(folder=tmp_path)
    with other.open(), crew("loky", 1) as workers:
        lock = locks.claim(other.lock_file(3))

        def finish(seconds):  # the other runner does its cell meanwhile
            waited.append(seconds)
            args = Config(), other.cells[3], "cpu", {"offset": np.array([np.pi])}
            outcome = work.attempt(3, sweeps.run_cell, args[0], args[1:], "cpu", 1, "")
            other.save(3, outcome.info, outcome.arrays)
            lock.close()

        monkeypatch.setattr(sweep, "time", SimpleNamespace(sleep=finish))
        sweep.run(plan(folder=tmp_path), workers)
    assert waited == [sweep.PAUSE]
    assert plan(folder=tmp_path).current()


def place(config, cell, device, before):
    return {"place": np.array([cell["row"], cell["column"]])}


def test_a_sweep_may_need_no_preparation(tmp_path):
    bare = replace(QUICK, run_cell=place, prepare=None, kept=(), batch="")
    with crew("loky", 1) as workers:
        sweep.run(Plan(bare, folder=tmp_path), workers)
    record = records.read(bare, tmp_path)
    assert record["place"].tolist() == [[[r, c] for c in range(3)] for r in range(2)]
    assert (record.info["prepare_seconds"], len(record.info["cell_seconds"])) == (0, 6)


def test_a_cell_that_another_finished_meanwhile_is_not_computed(tmp_path, monkeypatch):
    """And a cell that came back is nobody's any more, while the others are computed."""
    monkeypatch.setenv(sweeps.LOG, str(tmp_path / "log"))
    made, ticked = plan(folder=tmp_path), []

    def tick(index):
        assert not any(locks.held(made.lock_file(other)) for other in ticked)
        ticked.append(index)
        if index == 1:  # the other runner does the last cell
            info, arrays = made.load(1)
            made.save(5, info, arrays)

    with crew("loky", 1) as workers:
        sweep.run(made, workers, tick=tick)
    assert sorted(ticked) == [PREPARE, *range(6)]
    assert (tmp_path / "log").read_text().split() == ["prepare", *"01234"]
    found = records.read(QUICK, tmp_path)["values"]
    assert np.array_equal(found[1, 2], found[0, 1])


def dying(deaths):
    """A crew whose worker dies in each round after so many cells, and the list of its rounds."""
    rounds = []

    def workers(tasks):
        rounds.append(1)
        for count, (function, args, options) in enumerate(tasks):
            if count == deaths[len(rounds) - 1]:
                raise EOFError
            yield function(*args, **options)

    return workers, rounds


def test_rounds_that_brought_something_cost_no_patience(tmp_path):
    workers, rounds = dying([9, 0, 0, 1, 0, 0, 9])  # the preparation has a round of its own
    said = []
    sweep.run(plan(folder=tmp_path), workers, say=said.append)
    assert plan(folder=tmp_path).current()
    assert (len(rounds), len(said)) == (7, 5)
    assert said[0] == "a worker was lost (EOFError); its cells are computed again"


def test_three_rounds_that_brought_nothing_are_enough(tmp_path):
    workers, rounds = dying([9, 1, 0, 0, 0, 9])
    with pytest.raises(Trouble, match=r"keep dying \(EOFError\)\. 1 of 6 cells"):
        sweep.run(plan(folder=tmp_path), workers, say=bool)
    assert len(rounds) == 5


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), OSError("stream closed")])
def test_a_lost_connection_to_a_cluster_is_not_blamed_on_the_disk(tmp_path, error):
    def workers(tasks):
        raise error
        yield

    with pytest.raises(Trouble, match=f"^workers keep dying .{type(error).__name__}.. 0 of 6"):
        sweep.run(plan(folder=tmp_path), workers, say=bool)


def test_a_disk_that_is_full_after_two_cells_keeps_them(tmp_path, monkeypatch):
    files, fsync = iter(range(99)), os.fsync

    def filling(descriptor):
        if next(files) == 4:  # after the plan, the preparation and two cells
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", filling)
    with crew("loky", 1) as workers, pytest.raises(Trouble, match=r"kept \(No space .*\)\. 2 of"):
        sweep.run(plan(folder=tmp_path), workers, say=bool)


def test_a_tick_tells_of_every_cell_also_of_those_that_were_there(tmp_path):
    assert run("buggy", tmp_path) == 1
    ticked = []
    with crew("loky", 1) as workers, pytest.raises(Trouble, match="5 of 6 cells"):
        sweep.run(plan("buggy", tmp_path), workers, tick=ticked.append)
    assert sorted(ticked) == [PREPARE, 0, 1, 3, 4, 5]


def test_tasks_are_taken_when_there_is_a_worker_for_them(tmp_path):
    """So that another runner may have the rest; and a result comes before all are there."""
    wait, taken = f"until [ -e {tmp_path}/seen ]; do sleep 0.05; done", []

    def tasks():
        for number in range(12):
            taken.append(number)
            yield delayed(subprocess.call)(["sh", "-c", wait if number > 1 else "true"])

    with crew("loky", 2) as workers, closing(workers(tasks())) as results:
        first, at_once = next(results), len(taken)
        (tmp_path / "seen").touch()
        assert [first, *results] == [0] * 12
        assert at_once < 8
        assert os.getpid() not in workers(delayed(os.getpid)() for _ in "ab")
    with crew("loky", 1) as workers:
        assert list(workers([delayed(os.getpid)()])) == [os.getpid()]


# --- how far it is


def test_the_bar_counts_cells_and_moves_by_work(tmp_path):
    uneven = replace(QUICK, flops=lambda config, cell: 10.0 if cell is None else cell["row"] + 1)
    made = Plan(uneven, folder=tmp_path)
    for index in (PREPARE, 1):
        made.save(index, {}, {})
    with Bar(made) as bar:
        assert (bar.bar.total, bar.bar.n, bar.count()) == (10 + 9, 10 + 1, "1 of 6 cells")
        for index in (PREPARE, 1, 4):
            bar.tick(index)
        assert (bar.bar.n, bar.count()) == (10 + 1 + 2, "2 of 6 cells")
    with Bar(Plan(uneven, folder=tmp_path / "new")) as bar:
        bar.tick(PREPARE)
        assert (bar.bar.n, bar.count()) == (10, "0 of 6 cells")


# --- verification


def test_verify_accepts_what_was_recorded(copied, capsys):
    assert cli("verify", "quick", "--cells", 3, folder=copied) == 0
    said = capsys.readouterr().out
    assert said.count("identical") == 1 + 3 * 2
    assert "quick: verified." in said


def test_verify_is_told_where_the_data_lies(copied, capsys):
    known = {"quick": replace(QUICK, scales={"paper": Scale(Placed)})}
    words = ["verify", "quick", "--cells", "1", "--folder", str(copied), "--set"]
    assert main(known, [*words, "place=/somewhere"]) == 0
    assert main(known, [*words, "rows=1"]) != 0
    assert "not recorded yet" in capsys.readouterr().err


def test_verify_without_a_name_takes_all_that_is_recorded(copied, capsys):
    assert cli("verify", folder=copied) == 0
    assert "quick: verified" in capsys.readouterr().out


def tampered(folder, **changes):
    """A whole record, with another content."""
    path = plan(folder=folder).record
    info, arrays = store.read(path)
    arrays["values"][1, 2, 0, 0] *= changes.pop("factor", 1)
    store.write(path, info | changes, arrays)
    return path


def test_verify_refuses_another_number(copied, capsys):
    tampered(copied, factor=1 + 1e-12)
    assert cli("verify", "quick", "--cells", 6, folder=copied) == 1
    said = capsys.readouterr().out
    assert "which is too much: row 1, column 2: values" in said
    assert "NOT what was recorded" in said


@pytest.mark.parametrize(("factor", "status"), [(1 + 1e-12, 0), (1 + 1e-6, 1)])
def test_on_another_machine_the_tolerance_decides(copied, factor, status):
    tampered(copied, factor=factor, machines=[provenance.machine("cpu", 1) | {"processor": "Z80"}])
    assert cli("verify", "quick", "--cells", 6, folder=copied) == status


def test_verify_refuses_a_config_that_is_no_longer_the_experiments(copied, capsys):
    tampered(copied, config=settings.plain(Config(seeds=3)))
    assert cli("verify", "quick", folder=copied) == 1
    assert "its config has changed since" in capsys.readouterr().err


def test_verify_takes_the_batch_of_the_record(tmp_path):
    assert run("large", tmp_path) == 0
    record = records.read(EXPERIMENTS["large"], tmp_path)
    seen = []
    original = EXPERIMENTS["large"]

    def spied(config, cell, device, before):
        seen.append(config.at_once)
        return sweeps.run_cell(config, cell, device, before)

    spy = replace(original, run_cell=spied)
    verifying.compare(replace(plan("large", tmp_path), experiment=spy), record, [0], say=bool)
    assert seen == [2]


# --- what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scale", "huge"), "quick has no scale huge; choose small, paper"),
        (("--device", "cuda"), "torch sees no GPU here; use --device cpu"),
        (("--device", "tpu9"), "choose auto, cpu or cuda"),
        (("--set", "seeds"), "write key=value"),
        (("--scheduler", "tcp://127.0.0.1:1"), "add --backend dask, or ray"),
        (("--backend", "dask"), "needs the cluster: --scheduler"),
        (("--backend", "dask", "--scheduler", "tcp://127.0.0.1:1"), "no dask scheduler answers"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, capsys, words, message):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert run("quick", tmp_path, *words) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "test").exists()


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_named(tmp_path, capsys, monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert run("quick", tmp_path, "--backend", backend, "--scheduler", "tcp://127.0.0.1:1") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"--backend {backend} needs {package}: pip install {package}"


def test_the_preparation_comes_before_all_cells():
    assert plan().cell_file(PREPARE).name == "prepare.npz"
    assert plan().cell_file(0).name == "cell-0000.npz"
