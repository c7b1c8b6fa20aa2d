"""A chapter's script and notebook, and the address that several files repeat."""

import json
import re
import shutil

import nbformat
import pytest
import yaml

import address
import pairs
from conftest import ROOT

SCRIPT = '''\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Title
#
# Some mathematics, $x^2$, and a fence:
#
# :::{note}
# A note.
# :::

# %% tags=["remove-cell"]
import math

# %%
"""A string with a # and a blank line

inside."""
x = 1


def f():
    return x


# %% [markdown]
# Between.

# %%
# %matplotlib inline
x = 1

# %%
x = 1

# %%
x = 1
'''


@pytest.fixture
def repo(tmp_path):
    """A repository with one chapter, in step."""
    (tmp_path / "chapters").mkdir()
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "chapters/one.py").write_text(SCRIPT)
    assert call(tmp_path) == 0
    return tmp_path


def call(repo, *arguments) -> int:
    """Run the command on a repository."""
    return pairs.main(["--root", str(repo), *map(str, arguments)])


def both(repo) -> tuple[str, str]:
    """The texts of the script and of the notebook."""
    return tuple((repo / f"chapters/one.{kind}").read_text() for kind in ("py", "ipynb"))


def edit_as_jupyter_does(repo, old: str, new: str) -> None:
    """Change a cell, run the notebook, save: outputs, counts, and the editor's notes appear."""
    path = repo / "chapters/one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.language_info.version = "3.13.1"
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.source = cell.source.replace(old, new)
        cell.execution_count = number + 1
        cell.metadata["collapsed"] = False
        cell.outputs = [nbformat.v4.new_output("stream", text="seen\n")]
    nbformat.write(notebook, path)


def test_the_chapters_of_this_repository_are_in_step():
    assert call(ROOT, "--check") == 0


def test_a_script_survives_the_way_to_a_notebook_and_back():
    assert pairs.script(pairs.from_script(SCRIPT)) == SCRIPT
    notebook = pairs.from_notebook(pairs.image(pairs.from_script(SCRIPT)))
    assert pairs.script(notebook) == SCRIPT


def test_a_notebook_has_no_outputs_and_an_id_for_each_cell(repo):
    cells = json.loads(both(repo)[1])["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)


def test_ids_follow_the_contents_so_that_an_edit_moves_one(repo):
    def ids(text):
        return [c["id"] for c in json.loads(pairs.image(pairs.from_script(text)))["cells"]]

    before, after = ids(SCRIPT), ids(SCRIPT.replace("Between.", "In between."))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert ids(SCRIPT) == before


def test_an_edited_script_is_noticed_and_mended(repo, capsys):
    path = repo / "chapters/one.py"
    path.write_text(path.read_text().replace("x = 1\n\n\ndef", "x = 2\n\n\ndef"))
    before = both(repo)
    assert call(repo, "--check") == 1
    assert "one.ipynb is out of step; run `make pairs`" in capsys.readouterr().err
    assert both(repo) == before
    assert call(repo) == 0
    assert call(repo, "--check") == 0
    assert "x = 2" in both(repo)[1]


def test_a_file_is_replaced_in_one_step_or_not_at_all(repo, monkeypatch):
    before, path = both(repo), repo / "chapters/one.py"
    path.write_text(before[0].replace("return x", "return 2 * x"))

    def full(source, target):
        raise OSError(28, "No space left")

    monkeypatch.setattr(pairs.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        call(repo)
    assert both(repo)[1] == before[1]


def test_a_missing_notebook_is_noticed_and_made(repo):
    before = both(repo)
    (repo / "chapters/one.ipynb").unlink()
    assert call(repo, "--check") == 1
    assert call(repo) == 0
    assert both(repo) == before


def test_a_notebook_that_was_only_run_is_cleaned(repo):
    before = both(repo)
    edit_as_jupyter_does(repo, "", "")
    assert call(repo, "--check") == 1
    assert call(repo) == 0
    assert both(repo) == before


def test_an_edited_notebook_is_never_overwritten_unasked(repo, capsys):
    edit_as_jupyter_does(repo, "return x", "return x + 1")
    before = both(repo)
    for arguments in ([], ["--check"]):
        assert call(repo, *arguments) == 1
        said = capsys.readouterr().err
        assert "--from-notebook" in said
        assert "--from-script" in said
    assert both(repo) == before


def test_a_cell_deleted_in_the_notebook_counts_as_an_edit(repo):
    path = repo / "chapters/one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.language_info.version = "3.13.1"
    del notebook.cells[-1]
    nbformat.write(notebook, path)
    before = both(repo)
    assert call(repo) == 1
    assert both(repo) == before


def test_edits_in_the_notebook_can_be_taken(repo):
    edit_as_jupyter_does(repo, "return x", "return x + 1")
    assert call(repo, "--from-notebook", repo / "chapters/one.ipynb") == 0
    script, notebook = both(repo)
    assert "return x + 1" in script
    assert "seen" not in notebook
    assert call(repo, "--check") == 0


def test_edits_in_the_notebook_can_be_dropped(repo):
    before = both(repo)
    edit_as_jupyter_does(repo, "return x", "return x + 1")
    assert call(repo, "--from-script", repo / "chapters/one.py") == 0
    assert both(repo) == before


def test_a_notebook_without_a_script_is_refused_and_can_become_one(repo, capsys):
    shutil.copy(repo / "chapters/one.ipynb", repo / "chapters/two.ipynb")
    assert call(repo) == 1
    assert "has no script beside it" in capsys.readouterr().err
    assert call(repo, "--from-notebook", repo / "chapters/two.ipynb") == 0
    assert (repo / "chapters/two.py").read_text() == both(repo)[0]


def test_a_chosen_file_that_does_not_exist_is_named(repo, capsys):
    assert call(repo, "--from-notebook", repo / "chapters/none.ipynb") == 1
    assert "none.ipynb does not exist" in capsys.readouterr().err


# The address


def test_every_chapter_gets_the_cell_that_fetches_the_library(repo):
    script, _ = both(repo)
    assert script.count(address.BEGIN) == 1
    assert script.index("# # Title") < script.index(address.BEGIN) < script.index("import math")
    assert f'["{address.repository(repo)}", "--branch", "main", "book"]' in script


def test_a_page_without_code_gets_no_cell():
    words = "# %% [markdown]\n# Words.\n"
    assert address.with_bootstrap(words, "cell") == words


def test_the_written_cell_names_the_branch_and_an_address_may_end_in_a_slash(repo):
    config, old = repo / "_config.yml", address.repository(repo)
    text = config.read_text().replace(f"url: {old}", f"url: {old}/")
    config.write_text(text.replace("branch: main", "branch: next"))
    assert f'["{old}", "--branch", "next", "book"]' in address.bootstrap(repo)
    assert address.site("https://github.com/a/b") == "https://a.github.io/b/"


def test_the_written_cell_does_nothing_where_the_library_is():
    exec(address.bootstrap(ROOT), {})  # would call pip, and fail on the placeholder


def test_a_new_address_reaches_every_file_and_leaves_no_old_one(repo):
    old = address.repository(repo)
    for name in ("README.md", "chapters/index.md", "chapters/one.yml"):
        (repo / name).write_text(f"git clone {old}\nhttps://mybinder.org/v2/gh{old[18:]}/main\n")
    config = repo / "_config.yml"
    config.write_text(config.read_text().replace(old, "https://github.com/a.person/a-book"))
    before = {path: path.read_text() for path in repo.rglob("*") if path.is_file()}
    assert call(repo, "--check") == 1
    assert before == {path: path.read_text() for path in repo.rglob("*") if path.is_file()}
    assert call(repo) == 0
    assert call(repo, "--check") == 0
    slug = old.removeprefix("https://github.com/")
    files = [path for path in repo.rglob("*") if path.is_file()]
    assert not [path for path in files if slug in path.read_text()]
    assert not [path for path in files if address.site(old) in path.read_text()]
    citation = yaml.safe_load((repo / "CITATION.cff").read_text())
    assert citation["repository-code"] == "https://github.com/a.person/a-book"
    assert citation["url"] == "https://a.person.github.io/a-book/"


WRONG = ["", "github.com/a/b", "https://github.com/a", "https://github.com/a/b/c", "ftp://x/y"]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_address_that_is_none_is_refused(repo, wrong):
    config = repo / "_config.yml"
    config.write_text(re.sub(r"  url: .*", f"  url: {wrong}", config.read_text(), count=1))
    with pytest.raises(ValueError, match=r"repository\.url"):
        address.repository(repo)
