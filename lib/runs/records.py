"""Read what was recorded: for chapters, which draw it, and for who wants to compute it again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.runs import store
from lib.runs.codehash import code_digest
from lib.runs.errors import MissingRecord
from lib.runs.experiment import Experiment
from lib.runs.plan import LOCAL, RESULTS, Plan

OLD = "The code has changed since: run the command again."


@dataclass(frozen=True)
class Record:
    """Arrays along the axes of a grid, and all that is known of how they came about.

    ``record["accuracy"]`` is an array whose first axes are those of ``record.axes``, in order.
    """

    info: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """The names and the values of the grid's axes."""
        return self.info["axes"]

    @property
    def old(self) -> bool:
        """Whether the code has changed since the record was made, comments apart."""
        code = self.info["code"]
        return code_digest(code["module"]) != code["digest"]

    @property
    def note(self) -> str:
        """A sentence for figure and caption when the record is old; else empty."""
        return OLD if self.old else ""

    @property
    def hardware(self) -> str:
        """What it ran on, in a few words such as ``2 cores of a Xeon``."""
        machines = {
            (m.get("gpu") or f"a CPU with {m['cores']} cores") for m in self.info["machines"]
        }
        return " and ".join(sorted(machines))

    @property
    def stamp(self) -> str:
        """Where, when and by which command it was made, for a caption, in Markdown."""
        info, commit = self.info, self.info["commit"]
        made = (
            f"Recorded on {info['made']} on {self.hardware}, in {duration(info['seconds'])} of work"
        )
        version = f", at commit {commit['id'][:7]}" if commit["id"] and commit["clean"] else ""
        remark = re.sub(r"--[a-z]+( [\w=.]*\w)?", r"`\g<0>`", info["remark"])  # a dash is no flag
        words = [f"{made}{version}, seed {info['seed']}, by `{info['command']}`.", remark]
        return " ".join(filter(None, [*words, self.note]))


def read(experiment: Experiment, folder: Path = RESULTS) -> Record:
    """The record that the book draws.

    Raises MissingRecord, naming the command that makes it, or DamagedRecord.
    """
    return read_plan(Plan(experiment, folder=folder))


def read_plan(plan: Plan) -> Record:
    """The record of any run.  Raises as `read`."""
    try:
        return Record(*store.read(plan.record))
    except FileNotFoundError as error:
        raise MissingRecord(
            f"{plan.experiment.name} is not recorded yet: {plan.command}"
        ) from error


def add(plan: Plan, **info: Any) -> None:
    """Write more about a record into it.  Raises as `read`."""
    record = read_plan(plan)
    store.write(plan.record, record.info | info, record.arrays, plan.folder / LOCAL)


def duration(seconds: float) -> str:
    """A time in words: ``40 s``, ``7 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
