"""The command line: `python -m lib list`, `run`, `status`, `verify`, `bench`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from lib.runs import locks, sweep, verifying
from lib.runs.backends import BACKENDS, crew
from lib.runs.benchmark import Row, benchmark
from lib.runs.errors import DamagedRecord, MissingRecord, Trouble
from lib.runs.experiment import OFFICIAL, Experiment
from lib.runs.plan import LOCAL, RESULTS, Plan
from lib.runs.progress import Bar
from lib.runs.records import add, duration, read_plan
from lib.runs.settings import parsed

# For the estimates of `list`, in floating-point operations a second: what small convolutions get
# on one core, and a guess for one data-centre GPU.
CPU_CORE, GPU = 1e10, 1e13
STOPPED = 130  # the exit status after Ctrl-C
UNREAD = 141  # and of a command whose reader has left, as the shell's own commands have it


def main(known: dict[str, Experiment], arguments: Sequence[str] | None = None) -> int:
    """Run one command on these experiments, by name; returns the exit status.

    It is 0, or 1 for trouble, which gets one line, or 130 after Ctrl-C, or 141 where nobody reads
    the output to its end (``... | head -1``).
    """
    options = parser(list(known)).parse_args(arguments)
    try:
        code = options.command(options, known)
        sys.stdout.flush()
        return code
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again
        return UNREAD


def parser(names: list[str]) -> argparse.ArgumentParser:
    """What the command line understands."""
    top = argparse.ArgumentParser(prog="python -m lib", description="Run and record experiments.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(function: Callable, help: str, *name: dict) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__.removesuffix("_"), help=help, description=help)
        sub.set_defaults(command=function)
        sub.add_argument("--folder", type=Path, default=RESULTS, help="of the records")
        return sub

    command(list_, "what can be run, what it costs, and what is recorded")
    command(status, "which cells of unfinished runs are there")
    run_ = command(run, "compute an experiment, or what is missing of it, and record it")
    run_.add_argument("name", choices=names, metavar="NAME")
    run_.add_argument("--scale", default=OFFICIAL, help="small, or paper (the default)")
    auto = {"default": "auto", "help": "auto (a GPU if there is one), cpu or cuda"}
    run_.add_argument("--device", **auto)
    run_.add_argument("--seeds", type=int, help="short for --set seeds=N")
    run_.add_argument("--dtype", choices=("float32", "float64"), help="short for --set dtype=...")
    set_ = {"action": "append", "default": [], "metavar": "KEY=VALUE", "dest": "changes"}
    run_.add_argument("--set", **set_)
    run_.add_argument("--jobs", type=int, help="processes here: one a core, but one on a GPU")
    run_.add_argument("--threads", type=int, default=1, help="of each process; decides last bits")
    run_.add_argument("--backend", choices=BACKENDS, default="loky", help="loky is this machine")
    run_.add_argument("--scheduler", help="address of the cluster, for dask and ray")
    run_.add_argument("--again", action="store_true", help="even if the record is current")
    verify_ = command(verify, "compute a sample of a record again, and compare")
    verify_.add_argument("name", choices=names, metavar="NAME", nargs="?", help="default: all")
    verify_.add_argument("--scale", default=OFFICIAL)
    verify_.add_argument("--device", default="cpu", help="cpu or cuda")
    verify_.add_argument("--cells", type=int, default=2, help="how many; the seed draws them")
    verify_.add_argument("--seed", type=int, default=0)
    verify_.add_argument("--set", **set_, help="where the data is: folder=PATH")
    bench_ = command(bench, "time a cell against the ceiling of the device, and against one core")
    bench_.add_argument("name", choices=names, metavar="NAME")
    bench_.add_argument("--scale", default="small", help="small (the default), or paper")
    bench_.add_argument("--device", **auto)
    bench_.add_argument("--keep", action="store_true", help="in the record, for `list` to show")
    return top


# --- the commands


def list_(options: argparse.Namespace, known: dict[str, Experiment]) -> int:
    """One block for each experiment."""
    print(f"Estimates, rough: {CPU_CORE:.0e} operations a second on a core, {GPU:.0e} on a GPU.")
    for experiment in known.values():
        print(f"\n{experiment.name}  ({experiment.chapter})\n    {experiment.about}")
        for scale in experiment.scales:
            print(f"    {scale:6} {estimate(experiment, scale)}")
            plan = Plan(experiment, scale, folder=options.folder)
            for line in (recorded(plan), *timed(plan)):
                print(f"           {line}")
    return 0


def estimate(experiment: Experiment, scale: str) -> str:
    """Size and cost of a scale."""
    plan = Plan(experiment, scale)
    work = experiment.work(plan.config)
    return (
        f"{len(plan.cells)} cells, about {duration(work / CPU_CORE)} on one core, "
        f"{duration(work / GPU)} on a GPU"
    )


def recorded(plan: Plan) -> str:
    """What there is of a plan, in a line."""
    try:
        record = read_plan(plan)
    except MissingRecord:
        return "not recorded"
    except DamagedRecord as damage:
        return str(damage)
    state = "old: the code has changed since" if record.old else "current"
    made = f"recorded {record.info['made']} in {duration(record.info['seconds'])} of work"
    return f"{made} on {record.hardware}; {state}"


def timed(plan: Plan) -> list[str]:
    """What `bench` has measured and kept, a line for each device."""
    try:
        rows = read_plan(plan).info.get("bench", [])
    except Trouble:
        return []
    return [f"costliest cell on {Row(**row)}" for row in rows]


def status(options: argparse.Namespace, known: dict[str, Experiment]) -> int:
    """A line for each unfinished run, then what `list` says of the records."""
    folders = sorted((options.folder / LOCAL / "cells").glob("*/plan.json"))
    for file in folders:
        print(unfinished(file.parent, json.loads(file.read_text(encoding="utf8"))))
    if not folders:
        print("no unfinished runs")
    for experiment in known.values():
        print(f"{experiment.name}: {recorded(Plan(experiment, folder=options.folder))}")
    return 0


def unfinished(folder: Path, about: dict) -> str:
    """How far a run is, and how many cells are being computed now."""
    done = len(list(folder.glob("cell-*.npz")))
    busy = sum(locks.held(lock) for lock in folder.glob("*.lock"))
    return f"{done} of {about['cells']} cells, {busy} in work: {about['command']}"


def run(options: argparse.Namespace, known: dict[str, Experiment]) -> int:
    """Compute and record."""
    plan = planned(options, known)
    if plan.current() and not options.again:
        print(f"{shown(plan.record)} is current; --again computes it anew")
        return 0
    jobs = options.jobs or (1 if plan.device.startswith("cuda") else os.cpu_count() or 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how a batch system says stop
    try:
        engine = crew(options.backend, jobs, options.scheduler, plan.device)
        with engine as workers, Bar(plan) as bar:
            how = {"threads": options.threads, "again": options.again}
            sweep.run(plan, workers, **how, say=bar.say, tick=bar.tick)
    except KeyboardInterrupt:
        print(f"\nstopped: {sweep.kept(plan)}", file=sys.stderr)
        return STOPPED
    record = read_plan(plan)
    print(f"{shown(plan.record)}: {duration(record.info['seconds'])} of work on {record.hardware}")
    return 0


def planned(options: argparse.Namespace, known: dict[str, Experiment]) -> Plan:
    """The plan that the options of `run` describe."""
    changes = dict(map(parsed, options.changes))
    changes |= {"seeds": options.seeds} if options.seeds is not None else {}
    changes |= {"dtype": options.dtype} if options.dtype else {}
    return Plan(known[options.name], options.scale, changes, device(options.device), options.folder)


def device(name: str) -> str:
    """A device that is there; auto is a GPU if this machine has one."""
    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise Trouble("--device cuda: torch sees no GPU here; use --device cpu")
    try:
        return str(torch.device(name))
    except RuntimeError:
        raise Trouble(f"--device {name}: choose auto, cpu or cuda") from None


def verify(options: argparse.Namespace, known: dict[str, Experiment]) -> int:
    """Compare; 1 if anything differs by more than it may."""
    verdicts = [verified(options, known[name]) for name in names(options, known)]
    return int(not all(verdicts))


def bench(options: argparse.Namespace, known: dict[str, Experiment]) -> int:
    """Print a row for one CPU core and, where there is one, for the GPU, with their ratio."""
    torch.set_num_threads(1)
    experiment, there = known[options.name], device(options.device)
    plan = Plan(experiment, options.scale, folder=options.folder)
    rows = [benchmark(experiment, plan.config, place) for place in dict.fromkeys(("cpu", there))]
    print(*rows, sep="\n")
    if len(rows) > 1:
        print(f"{there} is {rows[0].seconds / rows[1].seconds:.1f} times as fast as one core")
    if options.keep:
        add(plan, bench=[row._asdict() for row in rows])
    return 0


def names(options: argparse.Namespace, known: dict[str, Experiment]) -> Iterable[str]:
    """The one asked for, or all that are recorded.  Raises Trouble when none is."""
    if options.name:
        return [options.name]
    plans = {name: Plan(known[name], options.scale, folder=options.folder) for name in known}
    if found := [name for name, plan in plans.items() if plan.record.exists()]:
        return found
    raise Trouble(f"no record of scale {options.scale} in {options.folder}: see python -m lib list")


def verified(options: argparse.Namespace, experiment: Experiment) -> bool:
    """Whether a sample of one record comes out again."""
    changes = dict(map(parsed, options.changes))
    plan = Plan(experiment, options.scale, changes, device(options.device), options.folder)
    record = read_plan(plan)
    found = verifying.verify(plan, record, options.cells, seed=options.seed)
    for part, same, difference, accepted in found:
        verdict = "identical" if same else f"differs by at most {difference:.2g}"
        print(f"  {verdict}{'' if accepted else ', which is too much'}: {part}")
    good = all(comparison.accepted for comparison in found)
    print(f"{experiment.name}: {'verified' if good else 'NOT what was recorded'}. {record.note}")
    return good


def shown(path: Path) -> str:
    """A path as short as it can be."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
