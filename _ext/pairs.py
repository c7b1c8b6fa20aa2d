"""Keep each chapter's two files in step: the script that we read and the notebook that is run.

    python _ext/pairs.py                            bring the notebooks up to date (`make pairs`)
    python _ext/pairs.py --check                    only say what is out of step, and exit with 1
    python _ext/pairs.py --from-notebook x.ipynb    the notebook was edited: rewrite its script
    python _ext/pairs.py --from-script x.py         the script is right: drop the notebook's edits

chapters/*.py (py:percent) is the source. chapters/*.ipynb is its exact image without outputs: the
same script gives the same bytes on every machine. Cell ids come from the cells' contents, and no
clock is consulted. A notebook that somebody edited is never overwritten unasked.
"""

import argparse
import difflib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat

import address

ROOT = Path(__file__).resolve().parents[1]
PERCENT = "py:percent"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": KERNEL,
    "language_info": {"name": "python"},
}
# What a script keeps of a notebook: its kernel, and the tags and options of its cells.
FILTERS = {
    "notebook_metadata_filter": "kernelspec,-all",
    "cell_metadata_filter": "tags,mystnb,-all",
}
KEPT = ("tags", "mystnb")


def content(cell: dict) -> tuple:
    """What makes a cell the cell it is: not its outputs, not its id, not an editor's notes."""
    options = {key: cell.metadata[key] for key in KEPT if key in cell.metadata}
    return cell.cell_type, cell.source, options


def contents(notebook: dict) -> list[tuple]:
    """The content of every cell."""
    return [content(cell) for cell in notebook.cells]


def cell_ids(cells: list[tuple]) -> Iterator[str]:
    """An id for each cell, made of what it says; repeats are numbered."""
    seen: dict[str, int] = {}
    for kind, source, _ in cells:
        name = hashlib.sha256(f"{kind}\0{source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def image(notebook: dict) -> str:
    """The text of the .ipynb file with these cells, without outputs."""
    cells = contents(notebook)
    plain = []
    for (kind, source, options), name in zip(cells, cell_ids(cells), strict=True):
        code = {"execution_count": None, "outputs": []} if kind == "code" else {}
        cell = {"cell_type": kind, "id": name, "metadata": options, "source": source, **code}
        plain.append(cell)
    whole = {"cells": plain, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return nbformat.writes(nbformat.from_dict(whole), version=4).rstrip("\n") + "\n"


def script(notebook: dict) -> str:
    """The text of the .py file with these cells."""
    whole = nbformat.reads(image(notebook), as_version=4)
    whole.metadata = nbformat.from_dict({"kernelspec": KERNEL, "jupytext": FILTERS})
    return jupytext.writes(whole, fmt=PERCENT)


def from_script(text: str) -> dict:
    """The notebook that a .py file describes."""
    return jupytext.reads(text, fmt=PERCENT)


def from_notebook(text: str) -> dict:
    """The notebook in an .ipynb file."""
    return nbformat.reads(text, as_version=4)


def edited(script_text: str, notebook_text: str) -> bool:
    """Whether the notebook holds work that its script does not.

    It does when its cells differ from the script's and it is not as `image` writes: an untouched
    image of an older script is only old, while every editor leaves its marks in the file.
    """
    notebook = from_notebook(notebook_text)
    same = contents(notebook) == contents(from_script(script_text))
    return not same and image(notebook) != notebook_text


def read(path: Path) -> str:
    """The text of a file, empty if there is none."""
    return path.read_text(encoding="utf8") if path.exists() else ""


def write(path: Path, text: str) -> None:
    """Replace a file in one step, so that it is never seen half written."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(text, encoding="utf8")
    os.replace(aside, path)


def problem(py: Path) -> str:
    """Why `make pairs` must not touch this pair; empty when it may."""
    notebook = py.with_suffix(".ipynb")
    if not py.exists():
        return (
            f"{notebook} has no script beside it. "
            f"To make one, run: python _ext/pairs.py --from-notebook {notebook}"
        )
    if notebook.exists() and edited(read(py), read(notebook)):
        return (
            f"{notebook} was edited and {py} does not have the edits. To keep them, run: "
            f"python _ext/pairs.py --from-notebook {notebook}  "
            f"To drop them: python _ext/pairs.py --from-script {py}"
        )
    return ""


def wanted(py: Path) -> dict[Path, str]:
    """Both files of a pair as the script wants them."""
    notebook = from_script(read(py))
    return {py: script(notebook), py.with_suffix(".ipynb"): image(notebook)}


def drift(path: Path, text: str) -> str:
    """The first lines of what differs between a file and the text it should have."""
    lines = difflib.unified_diff(
        read(path).splitlines(), text.splitlines(), str(path), "what it should be", lineterm=""
    )
    return "\n".join(list(lines)[:30])


def check(py: Path) -> list[str]:
    """What is wrong with a pair: one message for each file out of step."""
    if trouble := problem(py):
        return [trouble]
    return [
        f"{path} is out of step; run `make pairs`\n{drift(path, text)}"
        for path, text in wanted(py).items()
        if read(path) != text
    ]


def mend(py: Path) -> list[str]:
    """Bring the notebook up to date with its script; returns what could not be done."""
    if trouble := problem(py):
        return [trouble]
    for path, text in wanted(py).items():
        if read(path) != text:
            write(path, text)
            print(f"wrote {path}")
    return []


def pairs(root: Path) -> list[Path]:
    """The scripts of all chapters, and of notebooks that have none yet."""
    folder = root / "chapters"
    files = [*folder.glob("*.py"), *folder.glob("*.ipynb")]
    return sorted({path.with_suffix(".py") for path in files})


def take(path: Path) -> list[str]:
    """Make `path`, a script or a notebook, the one that is right, and rewrite the other."""
    if not path.exists():
        return [f"{path} does not exist"]
    py = path.with_suffix(".py")
    if path.suffix == ".ipynb":
        write(py, script(from_notebook(read(path))))
        print(f"wrote {py}")
    for target, text in wanted(py).items():
        write(target, text)
    return []


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(os.path.relpath(ROOT)))
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--from-notebook", type=Path, action="append", default=[], dest="chosen")
    parser.add_argument("--from-script", type=Path, action="append", dest="chosen")
    options = parser.parse_args(arguments)
    where = ["--root", str(options.root)]
    troubles = [trouble for path in options.chosen for trouble in take(path)]
    stale = address.main([*where, "--check"] if options.check else where)
    act = check if options.check else mend
    troubles += [trouble for py in pairs(options.root) for trouble in act(py)]
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return int(bool(troubles or stale))


if __name__ == "__main__":
    sys.exit(main())
