"""Compute the cells that are missing, and put the record together when none is."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from joblib import delayed

from lib.runs import locks, provenance, store
from lib.runs.backends import Crew
from lib.runs.errors import Trouble
from lib.runs.experiment import label
from lib.runs.plan import LOCAL, PREPARE, Plan
from lib.runs.settings import plain
from lib.runs.work import Outcome, attempt

PAUSE = 0.5  # seconds between two looks at what another runner does
PATIENCE = 3  # rounds in which workers died and no cell came back

Say = Callable[[str], object]
Tick = Callable[[int], object]  # hears the index of each cell that is there


def run(
    plan: Plan,
    crew: Crew,
    *,
    threads: int = 1,
    again: bool = False,
    say: Say = print,
    tick: Tick = bool,
) -> None:
    """Leave a whole record at ``plan.record``, computing only what no run has computed before.

    Raises Trouble when a cell fails, workers keep dying, or the disk does not take the results.
    What has been computed until then stays.
    """
    try:
        with plan.open():
            for damage in plan.discard_damaged():
                say(damage)
            if plan.experiment.prepare:
                _complete(plan, [PREPARE], crew, threads, say, tick)
            _complete(plan, range(len(plan.cells)), crew, threads, say, tick)
            if again or not plan.current():  # another runner may have written it
                info, arrays = _assembled(plan)
                store.write(plan.record, info, arrays, plan.folder / LOCAL)
    except OSError as error:
        raise Trouble(
            f"the results cannot be kept ({error.strerror or error}). {kept(plan)}"
        ) from error


def kept(plan: Plan) -> str:
    """How much there is, for one who has to stop."""
    done = sum(map(plan.done, range(len(plan.cells))))
    return f"{done} of {len(plan.cells)} cells are kept; the same command goes on from there"


def _complete(
    plan: Plan, indices: Sequence[int], crew: Crew, threads: int, say: Say, tick: Tick
) -> None:
    """Return when all these cells are there, whoever computed them."""
    seen: set[int] = set()
    failures = 0
    while True:
        for index in filter(plan.done, set(indices) - seen):
            seen.add(index)
            tick(index)
        missing = [index for index in indices if index not in seen]
        if not missing:
            return
        before = plan.load(PREPARE)[1] if PREPARE not in indices and plan.done(PREPARE) else {}
        came, claimed, died = _round(plan, missing, crew, threads, before, tick)
        seen |= came
        if died:
            failures = 0 if came else failures + 1
            say(f"a worker was lost ({died}); its cells are computed again")
        if failures >= PATIENCE:
            raise Trouble(f"workers keep dying ({died}). {kept(plan)}")
        if not claimed:  # the rest is in the hands of other runners
            time.sleep(PAUSE)


def _round(
    plan: Plan, missing: list[int], crew: Crew, threads: int, before: dict, tick: Tick
) -> tuple[set[int], bool, str]:
    """One round: the cells that came back, whether there was anything to do, and what died."""
    came: set[int] = set()
    claims: dict[int, Any] = {}
    failed: list[str] = []
    with ExitStack() as stack:
        todo = _tasks(plan, missing, threads, before, claims, stack)
        results = stack.enter_context(closing(crew(todo)))
        try:
            for outcome in results:
                if outcome.error:
                    failed.append(_failure(plan, outcome))
                else:
                    plan.save(outcome.index, outcome.info, outcome.arrays)
                    came.add(outcome.index)
                    tick(outcome.index)
                claims[outcome.index].close()
        except Exception as error:  # not a cell's, which would be an outcome
            if _of_the_disk(error):
                raise
            return came, True, type(error).__name__  # the engine's
    if failed:
        raise Trouble(f"{failed[0]} {kept(plan)}")
    return came, bool(claims), ""


def _of_the_disk(error: Exception) -> bool:
    """Whether a file was refused.  A lost connection to a cluster is an OSError, too."""
    lost = isinstance(error, ConnectionError) or getattr(error, "errno", None) is None
    return isinstance(error, OSError) and not lost


def _tasks(
    plan: Plan, missing: list[int], threads: int, before: dict, claims: dict, stack: ExitStack
) -> Iterator[Any]:
    """The cells that no other runner has, each claimed when a worker is free for it."""
    experiment, rest = plan.experiment, (plan.device, threads, plan.experiment.batch)
    for index in missing:
        lock = locks.claim(plan.lock_file(index))
        if lock is None:
            continue
        if plan.done(index):
            lock.close()
            continue
        claims[index] = stack.enter_context(lock)
        function, args = experiment.prepare, (plan.device,)
        if index != PREPARE:
            function, args = experiment.run_cell, (plan.cells[index], plan.device, before)
        yield delayed(attempt)(index, function, plan.config, args, *rest)


def _failure(plan: Plan, outcome: Outcome) -> str:
    """Put the traceback beside the cells; returns the error in one line."""
    log = plan.cell_file(outcome.index).with_suffix(".txt")
    log.write_text(outcome.details, encoding="utf8")
    cell = "preparation" if outcome.index == PREPARE else label(plan.cells[outcome.index])
    return f"{cell}: {outcome.error} (traceback: {log.relative_to(plan.folder)})."


def _assembled(plan: Plan) -> tuple[store.Info, dict[str, np.ndarray]]:
    """The record: the cells' arrays along the axes of the grid, and where all of it comes from."""
    loaded = [plan.load(index) for index in range(len(plan.cells))]
    infos, parts = zip(*loaded, strict=True)
    shape = plan.experiment.shape(plan.config)
    arrays = {
        name: np.stack([part[name] for part in parts]).reshape(shape + parts[0][name].shape)
        for name in parts[0]
    }
    if plan.experiment.prepare:
        info, prepared = plan.load(PREPARE)
        infos = (info, *infos)
        arrays |= {name: prepared[name] for name in plan.experiment.kept}
    return _provenance(plan, infos), arrays


def _provenance(plan: Plan, infos: Sequence[store.Info]) -> store.Info:
    """Everything that a reader of the record may ask."""
    experiment, seconds = plan.experiment, [info["seconds"] for info in infos]
    prepared = len(infos) - len(plan.cells)
    return {
        "experiment": experiment.name,
        "chapter": experiment.chapter,
        "about": experiment.about,
        "remark": experiment.scales[plan.scale].remark,
        "command": plan.command,
        "made": provenance.today(),
        "seconds": round(sum(seconds), 3),  # of one worker: workers beside each other are added
        "peak_bytes": max(info["peak_bytes"] for info in infos),
        "scale": plan.scale,
        "changes": plain(plan.altered),
        "config": plain(plan.config),
        "seed": getattr(plan.config, "seed", None),
        "axes": plain(experiment.axes(plan.config)),
        "machines": _distinct(info["machine"] for info in infos),
        "versions": _distinct(info["versions"] for info in infos),
        "commit": provenance.commit(),
        "code": {"module": experiment.module, "digest": plan.code},
        "key": plan.key,
        "prepare_seconds": seconds[0] if prepared else 0,
        "cell_seconds": seconds[prepared:],
        "batches": [info["batch"] for info in infos],
    }


def _distinct(items: Iterator[Any]) -> list[Any]:
    """Each once, in the order in which they come."""
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found
