"""A bar that shows how far a run is."""

import sys

from tqdm import tqdm

from lib.runs.plan import PREPARE, Plan


class Bar:
    """Progress in units of work, so that the time left is one also when cells differ in size."""

    def __init__(self, plan: Plan):
        flops, config = plan.experiment.flops, plan.config
        self.cells = len(plan.cells)
        self.work = dict(enumerate(flops(config, cell) for cell in plan.cells))
        if plan.experiment.prepare:
            self.work[PREPARE] = flops(config, None)
        self.before = {index for index in self.work if plan.done(index)}
        self.done = len(self.before - {PREPARE})

    def __enter__(self) -> "Bar":
        form = "{percentage:3.0f}% |{bar:20}| {desc} [{elapsed}, {remaining} left]"
        slow = {} if sys.stderr.isatty() else {"mininterval": 10}
        total, initial = sum(self.work.values()), sum(map(self.work.get, self.before))
        self.bar = tqdm(total=total, initial=initial, desc=self.count(), bar_format=form, **slow)
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def count(self) -> str:
        """How many cells there are."""
        return f"{self.done} of {self.cells} cells"

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.bar.write(text, file=sys.stderr)

    def tick(self, index: int) -> None:
        """A cell is there."""
        if index not in self.before:
            self.done += index != PREPARE
            self.bar.set_description_str(self.count(), refresh=False)
            self.bar.update(self.work[index])
