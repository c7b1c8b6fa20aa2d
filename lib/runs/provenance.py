"""Where and with what something was computed; nothing that names a person or a place."""

import os
import platform
import resource
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lib.runs.codehash import ROOT

PACKAGES = ("torch", "numpy", "scikit-learn")


def machine(device: str, threads: int) -> dict[str, Any]:
    """The hardware that decides the last bits, and how much of it there is."""
    about = {"device": device, "processor": processor(), "threads": threads}
    if torch.device(device).type == "cuda":
        about |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return about | {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def processor() -> str:
    """The name of the CPU, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python and the packages that compute."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def peak_bytes(device: str) -> int:
    """The most memory used so far: of the device, or of this process (resident)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def commit(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the library, and whether its files are exactly those of the commit."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return {"id": head, "clean": not _git(root, "status", "--porcelain", "--", "lib")}
    except (OSError, subprocess.CalledProcessError):
        return {"id": None, "clean": False}  # not a clone, or no git here


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def today() -> str:
    """The date in UTC: 2025-01-31."""
    return datetime.now(timezone.utc).date().isoformat()
