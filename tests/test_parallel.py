"""Pieces of work on all cores."""

import threading
import time

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from lib.parallel import results


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, "blas"):  # NumPy's, which its import loads
        yield
    torch.set_num_threads(before)


def threads_elsewhere() -> int:
    """What PyTorch takes in a thread that is begun now."""
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    return found[0]


def blas_threads() -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_results_come_in_the_order_of_the_items():
    meet = threading.Barrier(2, timeout=20)

    def work(item: int) -> int:
        meet.wait()  # only passes when two items are worked on at the same time
        return -item

    assert list(results(work, range(6), 2)) == [0, -1, -2, -3, -4, -5]


@pytest.mark.parametrize(("items", "threads"), [(range(4), 1), (range(1), 2), ((), 2)])
def test_one_thread_or_one_item_needs_no_pool(items, threads):
    found = list(results(lambda _: threading.current_thread(), items, threads))
    assert set(found) <= {threading.main_thread()} and len(found) == len(items)


def test_meanwhile_each_thread_computes_alone():
    assert blas_threads() == {2} and torch.get_num_threads() == 2
    inside = list(results(lambda _: (torch.get_num_threads(), blas_threads()), range(2), 2))
    assert inside == [(1, {1})] * 2


def test_afterwards_all_is_as_it_was():
    before = torch.get_num_threads(), threads_elsewhere(), blas_threads()

    def work(item: int) -> None:
        raise ArithmeticError(str(item))

    with pytest.raises(ArithmeticError, match="0"):
        list(results(work, range(3), 2))
    assert (torch.get_num_threads(), threads_elsewhere(), blas_threads()) == before


def test_no_more_at_once_than_asked_for():
    busy, most = set(), []

    def work(item: int) -> None:
        busy.add(item)
        most.append(len(busy))
        time.sleep(0.01)
        busy.remove(item)

    list(results(work, range(12), 2))
    assert max(most) == 2


def test_a_consumer_that_stops_early_leaves_no_work_behind():
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)

    some = results(work, range(1000), 2)
    next(some)
    some.close()
    assert len(begun) < 1000
    assert not [t for t in threading.enumerate() if t.name.startswith("lib.parallel")]
