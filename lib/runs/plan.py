"""One run of one experiment: what it computes, and where its files lie."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from lib.runs import locks, store
from lib.runs.codehash import ROOT, code_digest
from lib.runs.errors import DamagedRecord, Trouble
from lib.runs.experiment import OFFICIAL, Arrays, Cell, Experiment
from lib.runs.settings import changed, plain

RESULTS = ROOT / "results"
LOCAL = ".local"  # in the results: what git does not see
PREPARE = -1  # the index of the preparation, which comes before all cells


@dataclass(frozen=True)
class Plan:
    """An experiment at a scale, with changes to its config, on a device, in a folder."""

    experiment: Experiment
    scale: str = OFFICIAL
    changes: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    folder: Path = RESULTS

    @cached_property
    def config(self) -> Any:
        """The config of the scale, changed.  Raises Trouble when that makes no sense."""
        if self.scale not in self.experiment.scales:
            known = ", ".join(self.experiment.scales)
            raise Trouble(f"{self.experiment.name} has no scale {self.scale}; choose {known}")
        try:
            return changed(self.experiment.scales[self.scale].config(), self.changes)
        except (ValueError, TypeError) as error:
            raise Trouble(f"{self.experiment.name}: {error}") from error

    @cached_property
    def cells(self) -> list[Cell]:
        """The grid points, in the order of the record."""
        return self.experiment.cells(self.config)

    @cached_property
    def key(self) -> str:
        """Config, code and kind of device: cells with one key belong together."""
        kind = torch.device(self.device).type
        parts = [self.experiment.name, plain(self.config), self.code, kind]
        return sha256(store.canonical(parts).encode()).hexdigest()[:12]

    @property
    def code(self) -> str:
        """The digest of the code that computes the cells."""
        return code_digest(self.experiment.module)

    @property
    def altered(self) -> dict[str, Any]:
        """The changes that count: not where files lie, in fields marked ``local``."""
        local = {f.name for f in fields(self.config) if f.metadata.get("local")}
        return {key: value for key, value in self.changes.items() if key not in local}

    @property
    def official(self) -> bool:
        """Whether this is what the book draws."""
        return self.scale == OFFICIAL and not self.altered

    @property
    def record(self) -> Path:
        """Where the record goes.  Only the book's scale, unchanged, goes where chapters look."""
        name, chapter = self.experiment.name, self.experiment.chapter
        if self.official:
            return self.folder / chapter / f"{name}.json"
        digest = sha256(store.canonical(plain(self.config)).encode()).hexdigest()[:6]
        suffix = f"-{digest}" if self.altered else ""
        return self.folder / LOCAL / chapter / f"{name}-{self.scale}{suffix}.json"

    @property
    def command(self) -> str:
        """What makes this record in a fresh clone."""
        words = ["python -m lib run", self.experiment.name, "--scale", self.scale]
        words += [f"--set {key}={_word(value)}" for key, value in self.altered.items()]
        return " ".join(words + (["--device", self.device] if self.device != "cpu" else []))

    @property
    def workshop(self) -> Path:
        """The folder of the cells on their way into the record."""
        return self.folder / LOCAL / "cells" / f"{self.experiment.name}-{self.scale}-{self.key}"

    def cell_file(self, index: int) -> Path:
        """The file of a finished cell."""
        name = "prepare" if index == PREPARE else f"cell-{index:04d}"
        return self.workshop / f"{name}.npz"

    def lock_file(self, index: int) -> Path:
        """Who works on a cell holds this file."""
        return self.cell_file(index).with_suffix(".lock")

    def done(self, index: int) -> bool:
        """Whether the cell has been computed."""
        return self.cell_file(index).exists()

    def save(self, index: int, info: store.Info, arrays: Arrays) -> None:
        """Keep a computed cell."""
        store.write(self.cell_file(index), info, arrays)

    def load(self, index: int) -> tuple[store.Info, Arrays]:
        """A computed cell."""
        return store.read(self.cell_file(index))

    def discard_damaged(self) -> list[str]:
        """Remove the cells that are not what was written; returns what is wrong with each."""
        found = []
        for index in range(PREPARE, len(self.cells)):
            try:
                if self.done(index):
                    self.load(index)
            except DamagedRecord as error:
                self.cell_file(index).unlink()
                found.append(str(error))
        return found

    @contextmanager
    def open(self) -> Iterator[None]:
        """Work beside other runners; the last to leave a finished workshop clears it."""
        gate = self.workshop.with_suffix(".gate")
        gate.parent.mkdir(parents=True, exist_ok=True)
        with locks.join(gate):
            self.workshop.mkdir(exist_ok=True)
            about = {"experiment": self.experiment.name, "scale": self.scale}
            about |= {"cells": len(self.cells), "command": self.command}
            store.replace(self.workshop / "plan.json", store.canonical(about).encode())
            yield
        if self.current() and (alone := locks.claim(gate)):
            with alone:
                shutil.rmtree(self.workshop, ignore_errors=True)
                gate.unlink(missing_ok=True)

    def current(self) -> bool:
        """Whether the record is there, whole, and made by this code from this config."""
        try:
            info, _ = store.read(self.record)
        except (OSError, DamagedRecord):
            return False
        return info.get("key") == self.key


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
