"""Many independent tensor computations on the cores of one machine, each on a core of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def results(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """``work(item)`` for every item, as each is done; torch itself uses one thread meanwhile.

    Many short operations that share all cores wait for each other at every step; whole tiles do
    not, which matters most on a busy machine. PyTorch releases the interpreter lock in operations.
    """
    if threads == 1:
        yield from map(work, items)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # new threads inherit it
    pool = ThreadPoolExecutor(threads, "lib.ntk")
    try:
        for future in as_completed([pool.submit(work, item) for item in items]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
