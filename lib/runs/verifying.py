"""Compute a sample of a record's cells again, and compare."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lib.runs import provenance
from lib.runs.errors import Trouble
from lib.runs.experiment import Arrays, Experiment, label
from lib.runs.plan import Plan
from lib.runs.records import Record
from lib.runs.settings import changed, plain
from lib.runs.work import Outcome, attempt


class Comparison(NamedTuple):
    """One part of a record, computed again: ``same`` bit by bit, or else how far off at most."""

    part: str
    same: bool
    difference: float
    accepted: bool


def verify(
    plan: Plan, record: Record, sample: int, *, seed: int = 0, say: Callable[[str], object] = print
) -> list[Comparison]:
    """Compare the preparation and ``sample`` cells drawn at random.

    On the machine of the record the same code must give the same bits.  Elsewhere, or after a
    change of the code, numbers may differ by the experiment's tolerance.
    Raises Trouble when the sample is empty, when the record's config or arrays are not the
    experiment's, or when a cell fails.
    """
    experiment, config = plan.experiment, plan.config
    if sample < 1:
        raise Trouble(f"{sample} cells to compute again: choose at least 1")
    if plain(config) != record.info["config"]:
        raise Trouble(f"{experiment.name}: its config has changed since; {plan.command}")
    chosen = np.random.default_rng(seed).permutation(len(plan.cells))[:sample]
    return compare(plan, record, sorted(chosen.tolist()), say=say)


def compare(
    plan: Plan, record: Record, indices: Sequence[int], say: Callable[[str], object] = print
) -> list[Comparison]:
    """Compute these cells again, with the threads and the batch of the record."""
    experiment, found = plan.experiment, []
    before: Arrays = {}
    if experiment.prepare:
        say("computing again: the preparation")
        before = again(plan, record, -1, experiment.prepare, (plan.device,)).arrays
        found += differences(plan, record, "preparation", before, experiment.kept, ())
    for index in indices:
        cell = plan.cells[index]
        say(f"computing again: {label(cell)}")
        args = (cell, plan.device, before)
        arrays = again(plan, record, index, experiment.run_cell, args).arrays
        place = np.unravel_index(index, experiment.shape(plan.config))
        found += differences(plan, record, label(cell), arrays, tuple(arrays), place)
    return found


def again(plan: Plan, record: Record, index: int, function: Callable, args: tuple) -> Outcome:
    """A cell as it was computed for the record."""
    batch, config = plan.experiment.batch, plan.config
    if batch:
        sizes = record.info["batches"]
        first = len(sizes) - len(plan.cells)  # the preparation stands before the cells
        config = changed(config, {batch: sizes[first + index]})
    threads = record.info["machines"][0]["threads"]
    outcome = attempt(index, function, config, args, plan.device, threads, batch)
    if outcome.error:
        raise Trouble(f"{plan.experiment.name}: {outcome.error}")
    return outcome


def differences(
    plan: Plan, record: Record, part: str, arrays: Arrays, names: Sequence[str], place: tuple
) -> list[Comparison]:
    """The named arrays against the record's at this place of the grid."""
    if missing := sorted(set(names) - record.arrays.keys()):
        raise Trouble(f"{plan.experiment.name}: the record has no {missing[0]}; {plan.command}")
    exact = same_setting(plan, record)
    pairs = [(f"{part}: {name}", arrays[name], record[name][place]) for name in names]
    return [compared(*pair, plan.experiment, exact) for pair in pairs]


def compared(
    part: str, new: np.ndarray, old: np.ndarray, experiment: Experiment, exact: bool
) -> Comparison:
    """Bit by bit, or within the experiment's tolerance where the machine is another."""
    if new.shape != old.shape:
        return Comparison(part, False, np.inf, False)
    same = new.dtype == old.dtype and np.array_equal(new, old, equal_nan=new.dtype.kind == "f")
    options = {"rtol": experiment.rtol, "atol": experiment.atol, "equal_nan": True}
    close = bool(np.allclose(new, old, **options))
    moved = (new != old) & ~((new != new) & (old != old))  # nan stays nan
    far = float(np.abs(new[moved].astype(float) - old[moved]).max()) if moved.any() else 0.0
    return Comparison(part, same, far, same or (close and not exact))


def same_setting(plan: Plan, record: Record) -> bool:
    """Whether nothing that decides the bits is different from when the record was made."""
    info, threads = record.info, record.info["machines"][0]["threads"]
    here = [provenance.machine(plan.device, threads)], [provenance.versions()]
    return (info["machines"], info["versions"]) == here and not record.old
