"""Running chapters, the cache of their outputs, and the site that is built from it."""

import ast
import json
import os
import signal
import time

import nbformat
import psutil
import pytest

import cache
import execute
import pages
from conftest import ROOT
from lib.runs import codehash

COUNT = "from pathlib import Path\nwith Path('runs').open('a') as f:\n    f.write('x')"


def runs(book) -> int:
    """How often the cell COUNT ran."""
    log = book.root / "chapters" / "runs"
    return len(log.read_text()) if log.exists() else 0


def digest_of(book, *cells: str, name: str = "one") -> str:
    """The digest of a chapter with these cells."""
    book.chapter(name, *cells)
    notebook = json.loads((book.root / f"chapters/{name}.ipynb").read_text())
    cache.stamp(notebook, book.root, f"chapters/{name}")
    return notebook["metadata"]["kernelspec"]["digest"]


def outputs(book) -> list:
    """All outputs in the book's cache, whatever order they were stored in."""
    stored = (book.root / "_build/.jupyter_cache/executed").rglob("base.ipynb")
    return sorted(
        json.dumps([cell.outputs for cell in nbformat.read(path, as_version=4).cells])
        for path in stored
    )


# What a chapter depends on


@pytest.mark.parametrize(
    "cell",
    [
        "import lib.a",
        "from lib import a",
        "from lib.a import f",
        "import math, lib.a as other",
        "def late():\n    from lib.a import f\n    return f",
        "%matplotlib inline\nimport lib.a",
        "import lib.through",
        "import lib.pack.inner",
        "from lib.pack import anything",
    ],
)
def test_a_changed_module_changes_the_digest_however_it_is_imported(book, cell):
    book.write("lib/through.py", "def f():\n    from . import a\n    return a\n")
    book.write("lib/pack/__init__.py", "from .inner import x\n")
    book.write("lib/pack/inner.py", "from ..through import f\nx = 1\n")
    book.write("lib/a.py", "f = 1\n")
    before = digest_of(book, cell)
    book.write("lib/a.py", "f = 2\n")
    assert digest_of(book, cell) != before


def test_a_cell_that_does_not_parse_hides_no_other(book):
    book.write("lib/a.py", "f = 1\n")
    before = digest_of(book, "import lib.a", "not python")
    book.write("lib/a.py", "f = 2\n")
    assert digest_of(book, "import lib.a", "not python") != before


def test_a_module_that_is_not_imported_does_not_count(book):
    book.write("lib/a.py", "f = 1\n")
    book.write("lib/b.py", "f = 1\n")
    before = digest_of(book, "import lib.a")
    book.write("lib/b.py", "f = 2\n")
    assert digest_of(book, "import lib.a") == before


def test_modules_that_import_each_other_are_followed_once(book):
    book.write("lib/a.py", "import lib.b\n")
    book.write("lib/b.py", "import lib.a\n")
    names = {path.name for path in cache.library_files(book.root, "import lib.a")}
    assert names == {"a.py", "b.py"}


def test_a_relative_import_is_resolved_from_its_package():
    assert list(codehash.imported("from ..x import y, z", "lib.pack")) == ["lib.x.y", "lib.x.z"]
    assert list(codehash.imported("from . import y", "lib.pack")) == ["lib.pack.y"]


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import lib.pack.a", {"a"}),
        ("from lib.pack import a", {"a"}),
        ("from lib.pack.a import f", {"a"}),
        ("from lib.pack import f", {"__init__", "a", "b"}),
        ("from lib.pack import a, f", {"__init__", "a", "b"}),
        ("from lib.pack import *", {"__init__", "a", "b"}),
        ("from lib import pack", {"__init__", "a", "b"}),
        ("import lib.pack", {"__init__", "a", "b"}),
    ],
)
def test_neighbours_count_where_their_package_hands_out_a_name(book, code, used):
    """`lib/__init__.py` hands out nothing."""
    book.write("lib/pack/__init__.py", '"""Two."""\nfrom lib.pack.a import f\nimport lib.pack.b\n')
    book.write("lib/pack/a.py", "f = 1\n")
    book.write("lib/pack/b.py", "")
    assert {path.stem for path in cache.library_files(book.root, code)} == used


def test_a_package_binds_the_name_of_a_module_only_from_that_module():
    """For `from lib.ntk import phase` the digest looks at lib/ntk/phase.py."""
    for init in codehash.ROOT.glob("lib/*/__init__.py"):
        for node in ast.parse(init.read_text(encoding="utf8")).body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if (init.parent / f"{alias.name}.py").is_file():
                    assert node.module == f"lib.{init.parent.name}.{alias.name}"


def test_a_package_that_does_something_counts_for_all_its_modules(book):
    book.write("lib/pack/__init__.py", "from lib.pack import b\nb.f = 2\n")
    book.write("lib/pack/a.py", "f = 1\n")
    book.write("lib/pack/b.py", "f = 1\n")
    files = cache.library_files(book.root, "import lib.pack.a")
    assert {path.stem for path in files} == {"__init__", "a", "b"}


def test_recorded_runs_of_the_chapter_count_and_others_do_not(book):
    before = digest_of(book, "1")
    book.write("results/two/run.csv", "1\n")
    assert digest_of(book, "1") == before
    book.write("results/one/deep/run.csv", "1\n")
    assert digest_of(book, "1") != before


def test_another_version_of_a_package_changes_the_digest(book, monkeypatch):
    before = digest_of(book, "1")
    known = cache.version
    monkeypatch.setattr(cache, "version", lambda p: "0" if p == "torch" else known(p))
    assert digest_of(book, "1") != before


def test_another_python_changes_the_digest(book, monkeypatch):
    before = digest_of(book, "1")
    monkeypatch.setattr(cache.platform, "python_version", lambda: "3.99.0")
    assert digest_of(book, "1") != before


def test_a_renamed_file_changes_the_digest(book):
    file = book.write("results/one/a.csv", "1\n")
    before = digest_of(book, "1")
    file.rename(file.with_name("b.csv"))
    assert digest_of(book, "1") != before


def test_the_digest_stays_out_of_the_file(book):
    book.chapter("one", "1")
    before = (book.root / "chapters/one.ipynb").read_bytes()
    assert book.run()[0] == 0
    assert (book.root / "chapters/one.ipynb").read_bytes() == before


def test_the_library_imports_nothing_that_the_digest_cannot_see():
    sources = [path.read_text(encoding="utf8") for path in (ROOT / "lib").rglob("*.py")]
    assert not [s for s in sources if "import_module" in s or "__import__" in s]
    others = [p for p in (ROOT / "lib").rglob("*") if p.is_file() and p.suffix != ".py"]
    assert [p for p in others if "__pycache__" not in p.parts] == []


# Running


def test_chapters_run_once_and_new_prose_does_not_run_them_again(book):
    book.chapter("one", COUNT)
    status, said = book.run()
    assert (status, runs(book)) == (0, 1)
    assert "chapters/one: ran in" in said
    book.chapter("one", COUNT, prose="Other words.")
    status, said = book.run()
    assert (status, runs(book)) == (0, 1)
    assert "chapters/one: unchanged" in said


def test_only_the_chapters_of_a_changed_module_run_again(book):
    book.write("lib/a.py", "x = 1\n")
    book.chapter("one", "import lib.a")
    book.chapter("two", "1")
    book.run()
    book.write("lib/a.py", "x = 2\n")
    _, said = book.run()
    assert "chapters/one: ran in" in said
    assert "chapters/two: unchanged" in said


def test_side_by_side_and_one_by_one_give_the_same_outputs(new_book):
    serial, parallel = new_book("serial"), new_book("parallel")
    for book in (serial, parallel):
        for name in ("one", "two", "three"):
            cell = f"import os\nprint({name!r}, os.environ['OMP_NUM_THREADS'])\nhash('a')"
            book.chapter(name, cell)
    assert serial.run("-j", "1")[0] == 0
    assert parallel.run("-j", "3")[0] == 0
    assert len(outputs(serial)) == 3
    assert outputs(serial) == outputs(parallel)


def test_a_failing_cell_is_named_and_the_other_chapters_run(book):
    book.chapter("bad", "1", "numerator = 1\nnumerator / 0", "2")
    book.chapter("good", "1")
    book.chapter("worse", "raise KeyError('nowhere')")
    status, said = book.run("-j", "2")
    assert status == 1
    assert "chapters/bad: code cell 2 of 3 failed" in said
    assert "    | numerator / 0" in said
    assert said.count("ZeroDivisionError: division by zero") == 1
    assert "chapters/good: ran in" in said
    end = said[said.index("2 of 3 chapters failed") :]
    assert "chapters/bad: code cell 2" in end
    assert "chapters/worse: code cell 1" in end


def test_a_failure_is_not_kept(book):
    book.chapter("bad", "1 / 0")
    assert book.run()[0] == 1
    assert book.run()[0] == 1


def test_a_warning_in_a_cell_is_a_failure(book):
    book.chapter("noisy", "1", "import warnings\nwarnings.warn('old spelling')")
    status, said = book.run()
    assert status == 1
    assert "chapters/noisy: code cell 2 of 2 wrote to stderr" in said
    assert "old spelling" in said


def test_a_chapter_runs_alone_and_an_excused_cell_may_write_to_stderr(book):
    book.chapter("other", "1 / 0")
    book.chapter("loud", '1\n\n# %% tags=["remove-stderr"]\nimport sys\nsys.stderr.write("oh")')
    status, said = book.run("chapters/loud")
    assert (status, "other" in said) == (0, False), said


def test_a_chapter_that_does_not_exist_is_named(book, capsys):
    book.chapter("one", "1")
    assert execute.main(["--root", str(book.root), "chapters/none"]) == 1
    said = "chapters/none.ipynb does not exist; the chapters are chapters/one\n"
    assert capsys.readouterr().err == said


def test_a_cell_that_takes_too_long_is_named(book):
    config = book.root / "_config.yml"
    config.write_text(config.read_text().replace("timeout: 20", "timeout: 1"))
    book.chapter("slow", "import time\ntime.sleep(60)")
    status, said = book.run()
    assert status == 1
    assert "chapters/slow: code cell 1 of 1 took too long" in said


def test_a_cell_that_kills_python_is_named(book):
    book.chapter("dead", "import os\nos._exit(3)")
    status, said = book.run()
    assert status == 1
    assert "chapters/dead: code cell 1 of 1 killed its Python process" in said


def test_a_library_that_changes_while_a_chapter_runs_spoils_the_run(book):
    path = book.write("lib/a.py", "x = 1\n")
    book.chapter("one", f"import lib.a\nwith open({str(path)!r}, 'w') as f:\n    f.write('x = 2')")
    status, said = book.run()
    assert status == 1
    assert "changed while it ran" in said


def wait_for(book, process) -> list[psutil.Process]:
    """Wait until COUNT has run; the processes that `process` has started."""
    deadline = time.monotonic() + 30
    while runs(book) == 0:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return psutil.Process(process.pid).children(recursive=True)


def test_ctrl_c_stops_at_once_and_leaves_no_kernel(book):
    for name in ("one", "two"):
        book.chapter(name, f"{COUNT}\nimport time\ntime.sleep(60)")
    process = book.popen("-j", "2")
    children = wait_for(book, process)
    assert children
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_killed_run_keeps_what_had_finished(book):
    book.chapter("first", "1")
    book.chapter("second", f"{COUNT}\nimport time\ntime.sleep(60)")
    process = book.popen("-j", "1")
    children = wait_for(book, process)
    process.kill()
    process.communicate()
    psutil.wait_procs(children, timeout=10)
    book.chapter("second", "1")
    status, said = book.run()
    assert status == 0
    assert "chapters/first: unchanged" in said


@pytest.mark.parametrize("wreck", ["cut", "gone"])
def test_a_run_killed_while_storing_runs_again(book, wreck):
    book.chapter("one", COUNT)
    book.run()
    (stored,) = (book.root / "_build/.jupyter_cache/executed").rglob("base.ipynb")
    if wreck == "cut":
        stored.write_text(stored.read_text()[:100])
    else:
        stored.unlink()
    assert book.run()[0] == 0
    assert runs(book) == 2


def test_progress_fits_a_terminal_and_says_cell_and_chapter(capsys):
    progress = execute.Progress()
    progress.at("chapters/one", 3, 12)
    assert "chapters/one cell 3 of 12 0 s" in progress.line()
    assert capsys.readouterr().out == ""  # not a terminal, and not yet time for a line


# The site


def test_the_site_takes_outputs_from_the_cache(book):
    book.chapter("one", f"{COUNT}\nprint('value', 6 * 7)")
    book.run()
    status, said = book.build()
    assert status == 0, said
    assert "value 42" in book.html("one")
    assert runs(book) == 1
    assert pages.missing(book.root) == []


def test_stale_outputs_cannot_ship(book):
    book.write("lib/a.py", "x = 'old value'\n")
    book.chapter("one", "from lib.a import x\nprint(x.upper())")
    assert book.build()[0] == 0
    assert "OLD VALUE" in book.html("one")
    book.write("lib/a.py", "x = 'new value'\n")
    assert book.build()[0] == 0
    assert "NEW VALUE" in book.html("one")
    assert "OLD VALUE" not in book.html("one")


def test_a_broken_reference_fails_the_second_build_too(book):
    book.write("chapters/index.md", "# Start\n\nSee {ref}`nowhere`.\n")
    book.chapter("one", "1")
    for _ in range(2):
        status, said = book.build()
        assert status != 0
        assert "nowhere" in said


def test_a_wreck_in_the_cache_does_not_break_the_site(book):
    book.chapter("one", "print('value', 6 * 7)")
    book.run()
    (stored,) = (book.root / "_build/.jupyter_cache/executed").rglob("base.ipynb")
    stored.unlink()
    status, said = book.build()
    assert status == 0, said
    assert "value 42" in book.html("one")


def test_formulas_and_addresses_come_from_the_book_itself(book):
    book.write("chapters/index.md", "# Start\n\n$$x^2$$\n")
    book.chapter("one", "1")
    assert book.build()[0] == 0
    page = book.html("index")
    assert "_static/mathjax/tex-chtml.js" in page
    assert (book.root / "_build/html/_static/mathjax/tex-chtml.js").is_file()
    assert "jsdelivr" not in page
    assert 'rel="canonical" href="https://OWNER.github.io/small-book/' in page


def test_a_page_that_was_not_built_is_named(book, capsys):
    book.chapter("one", "1")
    book.write("_build/html/index.html", "")
    book.write("_build/html/chapters/index.html", "")
    assert pages.main(book.root) == 1
    assert "chapters/one.html" in capsys.readouterr().err
    book.write("_build/html/chapters/one.html", "")
    assert pages.main(book.root) == 0
