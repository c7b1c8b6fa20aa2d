"""Where cells are computed: here, on the cores of this machine, or on a cluster.

joblib does the work, and its backends are the engines; there is no scheduler of our own.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, parallel_config, register_parallel_backend

from lib.runs.errors import Trouble

BACKENDS = ("loky", "dask", "ray")
INSTALL = "--backend {0} needs {1}: pip install {1}"

Crew = Callable[[Iterable], Iterator[Any]]  # from joblib's delayed calls to their results


@contextmanager
def crew(backend: str, jobs: int, scheduler: str | None = None) -> Iterator[Crew]:
    """Workers for a sweep; results come as they are ready.

    ``jobs`` counts local processes; one means this process itself.  A cluster says itself how much
    it can do at once.  Tasks are taken when there is a worker for them, so that another runner may
    have the rest.

    Raises Trouble when the engine is not installed or does not answer.
    """
    prepare = {"loky": _loky, "dask": _dask, "ray": _ray}[backend]
    options = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "n_jobs"}
    with prepare(jobs, scheduler) as config, parallel_config(**config):
        yield lambda tasks: Parallel(**options)(tasks)


@contextmanager
def _loky(jobs: int, scheduler: str | None) -> Iterator[dict]:
    if scheduler:
        raise Trouble("--scheduler is the address of a cluster: add --backend dask, or ray")
    with warnings.catch_warnings():  # loky renews workers that have grown, and warns of it
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        # Workers that hear nothing end by themselves, also when this process was killed.
        idle = {"idle_worker_timeout": 10}
        yield {"backend": "loky", "n_jobs": jobs} | idle if jobs > 1 else {"backend": "sequential"}


@contextmanager
def _dask(jobs: int, scheduler: str | None) -> Iterator[dict]:
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
    with client:
        yield {"backend": "dask-heard", "n_jobs": -1, "client": client}


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
def _ray(jobs: int, scheduler: str | None) -> Iterator[dict]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise Trouble(INSTALL.format("ray", "ray")) from error
    try:
        ray.init(address=scheduler or "auto", log_to_driver=False, ignore_reinit_error=True)
    except ConnectionError as error:
        raise Trouble(f"no ray cluster answers at {scheduler or 'this machine'}") from error
    register_ray()
    try:
        yield {"backend": "ray", "n_jobs": -1}
    finally:
        ray.shutdown()
