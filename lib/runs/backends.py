"""Where cells are computed: here, on the cores of this machine, or on a cluster.

joblib and ray are the engines; there is no scheduler of our own.
"""

import signal
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from joblib import Parallel, parallel_config, register_parallel_backend

from lib.runs.errors import Trouble

BACKENDS = ("loky", "dask", "ray")
INSTALL = "--backend {0} needs {1}: pip install {1}"

Crew = Callable[[Iterable], Iterator[Any]]  # from joblib's delayed calls to their results


def crew(
    backend: str, jobs: int, scheduler: str | None = None, device: str = "cpu"
) -> AbstractContextManager[Crew]:
    """Workers for a sweep on this device; results come as they are ready.

    ``jobs`` counts local processes; one means this process itself.  A cluster says itself how much
    it can do at once.  Tasks are taken when there is a worker for them, so that another runner may
    have the rest.

    Raises Trouble when the engine is not installed or does not answer.
    """
    if backend == "ray":
        return _ray(scheduler, device)
    return _dask(scheduler) if backend == "dask" else _loky(jobs, scheduler)


def _through_joblib(tasks: Iterable) -> Iterator[Any]:
    options = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "n_jobs"}
    return Parallel(**options)(tasks)


@contextmanager
def _loky(jobs: int, scheduler: str | None) -> Iterator[Crew]:
    if scheduler:
        raise Trouble("--scheduler is the address of a cluster: add --backend dask, or ray")
    # Workers that hear nothing end by themselves, also when this process was killed.
    many = {"backend": "loky", "n_jobs": jobs, "idle_worker_timeout": 10}
    with warnings.catch_warnings():  # loky renews workers that have grown, and warns of it
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        with parallel_config(**(many if jobs > 1 else {"backend": "sequential"})):
            yield _through_joblib


@contextmanager
def _dask(scheduler: str | None) -> Iterator[Crew]:
    try:
        from distributed import Client
    except ImportError as error:
        raise Trouble(INSTALL.format("dask", "distributed")) from error
    if not scheduler:
        raise Trouble("--backend dask needs the cluster: --scheduler tcp://ADDRESS:8786")
    register_parallel_backend("dask-heard", _heard())
    try:
        client = Client(scheduler, set_as_default=False, timeout=10)
    except (OSError, TimeoutError) as error:
        raise Trouble(f"no dask scheduler answers at {scheduler}") from error
    with client, parallel_config("dask-heard", n_jobs=-1, client=client):
        yield _through_joblib


def _heard() -> type:
    """joblib's dask backend, with two repairs.  It waited for ever for a task that dask had given
    up, for it was told of results only; and where the cluster had one core, it computed here."""
    from joblib._dask import DaskDistributedBackend

    class Heard(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs):
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func, callback=None):
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: done.exception() and callback(done))
            return future

        def retrieve_result_callback(self, out):
            if isinstance(out, Future):
                raise out.exception()
            return super().retrieve_result_callback(out)

    return Heard


@contextmanager
def _ray(scheduler: str | None, device: str) -> Iterator[Crew]:
    """Ray without joblib: its backend for joblib gives no result before all are there."""
    try:
        import ray
    except ImportError as error:
        raise Trouble(INSTALL.format("ray", "ray")) from error
    stop = signal.getsignal(signal.SIGTERM)
    try:
        _knock(scheduler)
        ray.init(address=scheduler or "auto", log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).split("\n")[0]
        where = f"at {scheduler}" if scheduler else "on this machine"
        raise Trouble(f"no ray cluster answers {where}: {said}") from error
    signal.signal(signal.SIGTERM, stop)  # ray has taken it
    try:
        yield lambda tasks: _through_ray(ray, iter(tasks), device)
    finally:
        ray.shutdown()


def _knock(scheduler: str | None) -> None:
    """Raise OSError or ValueError unless somebody listens there: ray would try for minutes."""
    if scheduler:
        host, _, port = scheduler.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()


def _through_ray(ray: Any, tasks: Iterator, device: str) -> Iterator[Any]:
    """A task for each core, or GPU, that the cluster has now; a dead worker's raises."""
    kind = "GPU" if device.startswith("cuda") else "CPU"
    run = ray.remote(max_retries=0, num_gpus=int(kind == "GPU"))(_called)
    busy: list = []
    try:
        while True:
            while len(busy) < max(1, ray.cluster_resources().get(kind, 0)):
                if not (task := next(tasks, None)):
                    break
                busy.append(run.remote(task))
            if not busy:
                return
            (ready, *_), busy = ray.wait(busy)
            yield ray.get(ready)
    finally:
        for task in busy:
            ray.cancel(task, force=True)


def _called(task: tuple) -> Any:
    """The result of one of joblib's delayed calls."""
    function, arguments, options = task
    return function(*arguments, **options)
