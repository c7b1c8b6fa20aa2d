"""Many independent tensor computations on the cores of one machine, each on a core of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item, Result = TypeVar("Item"), TypeVar("Result")


def results(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """``work(item)`` for every item, in order; meanwhile PyTorch and NumPy use one thread each.

    Many short operations that share all cores wait for each other at every step; whole pieces of
    work do not, which matters most on a busy machine.  Operations release the interpreter's lock.
    """
    items = list(items)
    if min(threads, len(items)) <= 1:
        yield from map(work, items)
        return
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "lib.parallel", lambda: torch.set_num_threads(1))
    try:
        with threadpool_limits(1, "blas"):
            yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
