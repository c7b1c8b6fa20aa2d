"""What an executed chapter depends on, and where its outputs are kept.

jupyter-cache knows a notebook by its code cells and its kernelspec, and nothing else: a changed
library would leave stale numbers in the book without a word. So both who fill the cache
(_ext/execute.py) and who read it (Sphinx, through `setup` below) first put a digest of everything
else the chapter depends on into the kernelspec of the notebook in memory. Files on disk keep
theirs.
"""

import ast
import hashlib
import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_cache import get_cache
from jupyter_cache.cache.db import NbCacheRecord

from lib.runs.codehash import library_files

PACKAGES = (
    "ipykernel",
    "matplotlib",
    "mpmath",
    "networkx",
    "numpy",
    "scikit-learn",
    "scipy",
    "sympy",
    "torch",
    "z3-solver",
)
# One thread a kernel: chapters run side by side, and the last bits of a matrix product depend on
# the number of threads. A fixed hash seed: sets of strings keep their order from run to run.
KERNEL_ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


def cache_path(root: Path) -> Path:
    """The folder of the cache: the one that myst-nb takes when it is told nothing."""
    return root / "_build" / ".jupyter_cache"


def code_of(notebook: dict) -> str:
    """The code cells as one Python source, magics included; a cell that does not parse is left
    out here, because it will fail when it runs."""
    plain = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = TransformerManager().transform_cell("".join(cell["source"]))
            try:
                ast.parse(source)
            except SyntaxError:
                continue
            plain.append(source)
    return "\n".join(plain)


def dependencies(root: Path, docname: str, notebook: dict) -> list[Path]:
    """The files, beside its own, that decide what the chapter `docname` prints: the part of the
    library that it imports and the recorded runs under results/<chapter>/."""
    recorded = (root / "results" / Path(docname).name).rglob("*")
    files = library_files(root, code_of(notebook)) | set(filter(Path.is_file, recorded))
    return sorted(files)


def digest(root: Path, files: list[Path]) -> str:
    """One short name for the contents of `files` and the versions of what computes with them."""
    versions = [f"python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]
    contents = [
        f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
    ]
    return hashlib.sha256("\n".join([*versions, *contents]).encode()).hexdigest()[:16]


def stamp(notebook: dict, root: Path, docname: str) -> list[Path]:
    """Put the digest into the notebook in memory; return the files it was made of."""
    files = dependencies(root, docname, notebook)
    notebook["metadata"].setdefault("kernelspec", {})["digest"] = digest(root, files)
    return files


def usable(cache, notebook: nbformat.NotebookNode) -> bool:
    """Whether the cache holds a whole run of `notebook`. The wreck of a run that was killed while
    it was being stored is removed, so that the chapter runs again instead of breaking the build.
    """
    try:
        record = cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    try:
        cache.get_cache_bundle(record.pk)
    except (KeyError, nbformat.reader.NotJSONError):
        shutil.rmtree(cache.path / "executed" / record.hashkey, ignore_errors=True)
        NbCacheRecord.remove_record(record.pk, cache.db)
        return False
    return True


def on_source_read(app, docname: str, source: list[str]) -> None:
    """Sphinx is about to parse a page: stamp it if it is a chapter."""
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    for path in stamp(notebook, Path(app.srcdir), docname):
        app.env.note_dependency(str(path))
    source[0] = json.dumps(notebook)
    usable(get_cache(cache_path(Path(app.srcdir))), nbformat.reads(source[0], as_version=4))


def setup(app) -> dict:
    """Sphinx's entry point. The environment is for the kernels that Sphinx starts itself, when
    somebody builds the book without running the chapters first."""
    os.environ.update(KERNEL_ENV)
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
