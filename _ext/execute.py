"""Run the chapters that changed, several at a time, into the cache that the book is built from.

    python _ext/execute.py [-j JOBS] [CHAPTER ...]

A chapter whose code, library, recorded runs and packages are those of its last run is not run
again. A chapter that fails, or writes to stderr, stops the command after the others have
finished, and never reaches the cache.
"""

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

import address
from cache import KERNEL_ENV, cache_path, stamp, usable
from pages import ROOT, chapters

PLAIN_EVERY = 10.0  # seconds between two lines where the output is not a terminal
EXCUSED = "remove-stderr"  # the tag of cells that may write to stderr


class Client(NotebookClient):
    """nbclient without its signal handlers: they swallow Ctrl-C when several chapters run."""

    @asynccontextmanager
    async def async_setup_kernel(self, **kwargs):
        """Start the kernel; end it whatever happens."""
        self.km = self.create_kernel_manager()
        try:
            await self.async_start_new_kernel(**kwargs)
            await self.async_start_new_kernel_client()
            yield
        finally:
            if self.km is not None:
                await self._async_cleanup_kernel()


class Progress:
    """What is running now: one refreshing line on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: IO[str] = sys.stdout):
        self.stream, self.live = stream, stream.isatty()
        self.running: dict[str, tuple[int, int, float]] = {}
        self.shown = time.monotonic()

    def line(self) -> str:
        """Each running chapter with its cell and its seconds."""
        now = time.monotonic()
        return "   ".join(
            f"{name} {f'cell {cell} of {total}' if cell else 'starting'} {now - start:.0f} s"
            for name, (cell, total, start) in self.running.items()
        )

    def at(self, name: str, cell: int, total: int) -> None:
        """`name` starts its code cell number `cell` of `total`."""
        start = self.running.get(name, (0, 0, time.monotonic()))[2]
        self.running[name] = (cell, total, start)
        self.refresh()

    def refresh(self) -> None:
        """Show what is running, if it is time to."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{self.line()[:width]}")
            self.stream.flush()
        elif time.monotonic() - self.shown > PLAIN_EVERY:
            self.say(self.line())

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.shown = time.monotonic()
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()

    async def tick(self) -> None:
        """Refresh until cancelled, so that a long cell is seen to be alive."""
        while True:
            await asyncio.sleep(1)
            self.refresh()


def code_cells(notebook: dict) -> list[dict]:
    """The cells that run. nbclient skips the empty ones, and so do we."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def indented(text: str) -> str:
    """`text` behind a bar, without the colours of a terminal."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()
    return "\n".join(f"    | {line}" for line in plain.splitlines())


def report(chapter: str, number: int, total: int, cell: dict, what: str, details: str) -> str:
    """Everything that is needed to find and understand a failure."""
    where = f"{chapter}: code cell {number} of {total} {what}"
    return f"{where}\n{indented(cell.get('source', ''))}\n\n{indented(details)}\n"


def noise(cell: dict) -> str:
    """What a cell wrote to stderr, unless it may."""
    if EXCUSED in cell.metadata.get("tags", ()):
        return ""
    return "".join(
        output.text
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stderr"
    )


def cause(error: Exception, cell: dict, log: IO[bytes]) -> tuple[str, str]:
    """A failure of the run in words: what happened, and the details."""
    if isinstance(error, CellExecutionError):
        raised = [output for output in cell.outputs if output.output_type == "error"]
        return "failed", "\n".join(line for output in raised for line in output.traceback)
    if isinstance(error, CellTimeoutError):
        return "took too long", str(error)
    log.seek(0)
    said = log.read().decode(errors="replace")
    return "killed its Python process", f"{error}\n{said}"


async def run(chapter: str, root: Path, notebook: dict, timeout: int, progress: Progress) -> str:
    """Run a chapter in place; returns the report of its failure, empty if it ran well."""
    cells = code_cells(notebook)
    number = 0

    def started(cell: dict, cell_index: int) -> None:
        nonlocal number
        if cell.cell_type == "code" and cell.source.strip():
            number += 1
            progress.at(chapter, number, len(cells))

    client = Client(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,  # times would land in the cells' metadata, which the cache compares
        resources={"metadata": {"path": str((root / chapter).parent)}},
        on_cell_start=started,
    )
    with tempfile.TemporaryFile() as log:  # what the kernel says, wanted only if it dies
        try:
            await client.async_execute(env=os.environ | KERNEL_ENV, stderr=log)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
            if asyncio.current_task().cancelling():  # the death of a kernel that Ctrl-C has ended
                raise asyncio.CancelledError from error
            cell = cells[max(number - 1, 0)] if cells else {}
            return report(chapter, number, len(cells), cell, *cause(error, cell, log))
    for number, cell in enumerate(cells, 1):
        if text := noise(cell):
            what = "wrote to stderr, which the book counts as a failure"
            return report(chapter, number, len(cells), cell, what, text)
    return ""


def unsettled(notebook: dict, root: Path, chapter: str) -> str:
    """A report if the library or the recorded runs changed since the notebook was stamped: nobody
    knows then which of the two its outputs come from."""
    before = notebook.metadata.kernelspec.digest
    stamp(notebook, root, chapter)
    if notebook.metadata.kernelspec.digest == before:
        return ""
    return f"{chapter}: what it depends on changed while it ran; run it again"


def keep(cache, notebook: dict, path: Path, seconds: float) -> None:
    """Store a run in the cache."""
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


async def refresh(chapter: str, root: Path, gate: asyncio.Semaphore, progress: Progress) -> str:
    """Bring a chapter's outputs in the cache up to date; returns the report of its failure."""
    async with gate:
        path, cache = root / f"{chapter}.ipynb", get_cache(cache_path(root))
        notebook = nbformat.read(path, as_version=4)
        stamp(notebook, root, chapter)
        if usable(cache, notebook):
            progress.say(f"{chapter}: unchanged")
            return ""
        progress.at(chapter, 0, len(code_cells(notebook)))
        start = time.monotonic()
        timeout = address.config(root).get("execute", {}).get("timeout", 600)
        failure = await run(chapter, root, notebook, timeout, progress)
        failure = failure or unsettled(notebook, root, chapter)
        seconds = time.monotonic() - start
        if not failure:
            keep(cache, notebook, path, seconds)
        del progress.running[chapter]
        progress.say(f"\n{failure}" if failure else f"{chapter}: ran in {seconds:.1f} s")
        return failure


async def refresh_all(root: Path, names: list[str], jobs: int) -> list[str]:
    """Bring all chapters up to date, `jobs` at a time; returns the reports of the failures."""
    progress, gate = Progress(), asyncio.Semaphore(jobs)
    ticker = asyncio.create_task(progress.tick())
    try:
        reports = await asyncio.gather(*(refresh(name, root, gate, progress) for name in names))
    finally:
        ticker.cancel()
    return [report for report in reports if report]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="such as chapters/path-metrics; default: all")
    parser.add_argument("-j", "--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    names = options.chapters or chapters(root)
    if lost := [name for name in names if not (root / f"{name}.ipynb").exists()]:
        known = ", ".join(chapters(root))
        print(f"{lost[0]}.ipynb does not exist; the chapters are {known}", file=sys.stderr)
        return 1
    try:
        reports = asyncio.run(refresh_all(root, names, max(1, options.jobs)))
    except KeyboardInterrupt:
        print("\nstopped; the chapters that had finished are kept", file=sys.stderr)
        return 130
    if reports:
        print(f"{len(reports)} of {len(names)} chapters failed:", file=sys.stderr)
        print("\n".join(f"  {r.splitlines()[0]}" for r in reports), file=sys.stderr)
    return int(bool(reports))


if __name__ == "__main__":
    sys.exit(main())
