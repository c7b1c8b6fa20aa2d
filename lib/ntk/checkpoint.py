"""A kernel that is being computed, entry by entry, and the file from which it can go on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

INTERVAL = 30.0  # seconds between two writes


class OtherConfiguration(ValueError):
    """The file belongs to another kernel."""


def fingerprint(*parts: object) -> str:
    """A digest of numbers, names and tensors, to the last bit."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            part = part.detach().cpu().contiguous().numpy().tobytes()
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def load(path: Path, key: str, blank: Tensor) -> Tensor:
    """The entries in the file, or the blank ones if there is no file."""
    if path.is_dir():
        raise OtherConfiguration(f"{path} is a folder; name a file")
    if not path.exists():
        return blank
    try:
        found = torch.load(path, map_location=blank.device, weights_only=True)
        if found["digest"] != fingerprint(found["entries"]):  # a file may change on its disk
            raise ValueError("the entries are not those that were written")
        found["key"]
    except Exception as error:
        raise OtherConfiguration(
            f"{path} is not a kernel, or damaged: delete it, or name another"
        ) from error
    if found["key"] != key:
        raise OtherConfiguration(
            f"{path} holds a kernel of other inputs or another network: delete it, or name another"
        )
    return found["entries"]


def save(path: Path, key: str, entries: Tensor) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save({"key": key, "entries": entries, "digest": fingerprint(entries)}, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def kept(path: str | os.PathLike | None, key: str, blank: Tensor) -> Iterator[tuple]:
    """``(entries, tick)``: NaN where unknown; call ``tick()`` now and then, and it will be kept."""
    if path is None:
        yield blank, lambda: None
        return
    path, last = Path(path), time.monotonic()
    entries = load(path, key, blank)

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > INTERVAL:
            save(path, key, entries)
            last = time.monotonic()

    try:
        yield entries, tick
    finally:  # at an interrupt too
        save(path, key, entries)
