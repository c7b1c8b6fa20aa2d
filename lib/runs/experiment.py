"""What can be recorded: a grid of cells, each a pure function of a small config and a device."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Cell = dict[str, Any]  # one value of each axis
OFFICIAL = "paper"  # the scale whose records the book draws


@dataclass(frozen=True)
class Scale:
    """A config, made when it is asked for, and a remark that goes into the record."""

    config: Callable[[], Any]
    remark: str = ""


@dataclass(frozen=True)
class Experiment:
    """A sweep over a grid.

    ``axes(config)`` names the axes of the grid and their values.  ``run_cell(config, cell, device,
    before)`` computes one grid point, all its seeds as one tensor program; its arrays have the
    same shapes in every cell, for the record stacks them.  ``before`` holds the arrays of
    ``prepare(config, device)``, which runs once, before all cells; those named in ``kept`` go into
    the record.  ``flops(config, cell)`` estimates a cell's work, and with None the preparation's.
    ``batch`` is the config's field that bounds the memory: it is halved where memory runs out.
    On another machine than the record's, numbers may differ by ``atol + rtol·|recorded|``.

    All functions are a module's own, so that they can be sent to other processes.
    """

    name: str
    chapter: str
    about: str
    scales: Mapping[str, Scale]
    axes: Callable[[Any], dict[str, Sequence[Any]]]
    run_cell: Callable[[Any, Cell, str, Arrays], Arrays]
    flops: Callable[[Any, Cell | None], float]
    prepare: Callable[[Any, str], Arrays] | None = None
    kept: tuple[str, ...] = ()
    batch: str = ""
    atol: float = 0.0
    rtol: float = 0.0

    @property
    def module(self) -> str:
        """The module whose code decides what a cell computes."""
        return self.run_cell.__module__

    def cells(self, config: Any) -> list[Cell]:
        """All grid points; the last axis varies fastest."""
        axes = self.axes(config)
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]

    def shape(self, config: Any) -> tuple[int, ...]:
        """How many values each axis has."""
        return tuple(len(values) for values in self.axes(config).values())

    def work(self, config: Any) -> float:
        """Floating-point operations of the whole, roughly."""
        cells = math.fsum(self.flops(config, cell) for cell in self.cells(config))
        return cells + (self.flops(config, None) if self.prepare else 0)


def label(cell: Cell) -> str:
    """A cell in words: ``depth 64, width 512``."""
    return ", ".join(f"{axis} {value}" for axis, value in cell.items()) or "the only cell"
