"""One cell on one worker: as large as memory allows, and with nothing left behind."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.runs import provenance

FULL = ("can't allocate memory", "not enough memory")  # what torch says on the CPU


class Outcome(NamedTuple):
    """What came of a cell: its arrays and how they were made, or an error and its traceback."""

    index: int
    arrays: dict[str, np.ndarray]
    info: dict[str, Any]
    error: str = ""
    details: str = ""


def attempt(
    index: int, function: Callable, config: Any, args: tuple, device: str, threads: int, batch: str
) -> Outcome:
    """Compute ``function(config, *args)``.  An error is returned, not raised: others go on."""
    start = time.perf_counter()
    try:
        with limited(threads):
            reset_peak(device)
            arrays, size = fitted(function, config, args, batch)
    except Exception as error:
        return Outcome(index, {}, {}, reason(error), traceback.format_exc())
    info = {
        "seconds": round(time.perf_counter() - start, 3),
        "peak_bytes": provenance.peak_bytes(device),
        "machine": provenance.machine(device, threads),
        "versions": provenance.versions(),
    }
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return Outcome(index, arrays, info | {"batch": size})


def reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """The last bits of a matrix product depend on the number of threads, so it is fixed."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reset_peak(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def fitted(function: Callable, config: Any, args: tuple, batch: str) -> tuple[dict, int | None]:
    """The result, and the batch with which it fitted: halved each time memory ran out."""
    while True:
        size = getattr(config, batch) if batch else None
        try:
            return function(config, *args), size
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or size in (None, 1):
                raise
        config = replace(config, **{batch: size // 2})  # here the failed call has let go of its own
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on whatever device."""
    full = any(words in str(error) for words in FULL)
    return full or isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
