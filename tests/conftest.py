"""What several test files share: where the repository is, and a book small enough to build."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
from hypothesis import settings

import pairs

# A busy machine is no bug: no test fails for being slow, and each run draws the same examples.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
CONFIG = f"""\
title: A small book
author: nobody
only_build_toc_files: true
repository: {{url: https://github.com/OWNER/small-book, branch: main}}
execute: {{execute_notebooks: cache, raise_on_error: true, stderr_output: warn, timeout: 20}}
sphinx:
  local_extensions: {{address: {ROOT}/_ext, cache: {ROOT}/_ext, offline: {ROOT}/_ext}}
  config: {{html_theme: basic, html_theme_options: {{}}}}
"""


class Book:
    """A book in a folder of its own, with a library named `lib` like the real one."""

    def __init__(self, root: Path):
        self.root = root
        self.write("_config.yml", CONFIG)
        self.write("lib/__init__.py", "")
        self.write("chapters/index.md", "# Start\n")

    def write(self, name: str, text: str) -> Path:
        """Write one file of the book."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")
        return path

    def chapter(self, name: str, *cells: str, prose: str = "Words.") -> None:
        """Write a chapter with these code cells, and make the table of contents follow."""
        text = f"# %% [markdown]\n# # {name}\n#\n# {prose}\n"
        text += "".join(f"\n# %%\n{cell}\n" for cell in cells)
        notebook = jupytext.reads(text, fmt="py:percent")
        self.write(f"chapters/{name}.ipynb", pairs.image(notebook))
        names = sorted(path.stem for path in (self.root / "chapters").glob("*.ipynb"))
        listed = "".join(f"  - file: chapters/{other}\n" for other in names)
        self.write("_toc.yml", f"format: jb-book\nroot: chapters/index\nchapters:\n{listed}")

    def environment(self) -> dict[str, str]:
        """The book's own `lib` comes before the repository's."""
        return os.environ | {"PYTHONPATH": str(self.root), "PYTHONWARNINGS": "default"}

    def popen(self, *arguments: str) -> subprocess.Popen:
        """Start running the chapters."""
        command = [sys.executable, ROOT / "_ext/execute.py", "--root", self.root, *arguments]
        pipe, merge = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(
            command, stdout=pipe, stderr=merge, text=True, env=self.environment()
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the chapters; the exit status and everything that was printed."""
        process = self.popen(*arguments)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def build(self) -> tuple[int, str]:
        """Build the site as the Makefile does; the exit status and what was printed."""
        command = [Path(sys.executable).with_name("jupyter-book"), "build", self.root]
        command += ["--all", "-q", "-W", "-n", "--keep-going"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment())
        return done.returncode, done.stdout + done.stderr

    def html(self, name: str) -> str:
        """The text of a built page."""
        return (self.root / "_build/html/chapters" / f"{name}.html").read_text(encoding="utf8")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty small book."""
    return Book(tmp_path)


@pytest.fixture
def new_book(tmp_path: Path) -> Callable[[str], Book]:
    """Makes small books that stand side by side."""
    return lambda name: Book(tmp_path / name)
