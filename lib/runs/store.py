"""Files that are either whole or not there: arrays, and what is known about them.

A record is JSON, so that it can be read and compared anywhere; a finished cell on its way into a
record is NumPy's npz.  Both carry the same checksum over everything they hold.
"""

import hashlib
import io
import json
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.runs.errors import DamagedRecord

Arrays = Mapping[str, np.ndarray]
Info = dict[str, Any]


def canonical(value: Any) -> str:
    """The one way to write a JSON value, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def checksum(info: Info, arrays: Arrays) -> str:
    """SHA-256 of all there is, but for the checksum itself."""
    digest = hashlib.sha256(canonical({k: v for k, v in info.items() if k != "checksum"}).encode())
    for name, array in sorted(arrays.items()):
        digest.update(canonical([name, array.dtype.name, list(array.shape)]).encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def write(path: Path, info: Info, arrays: Arrays, scratch: Path | None = None) -> None:
    """Write ``path`` (.json or .npz) at once: who reads it sees the old file or the new one.

    The new file grows in the folder ``scratch``, on the same disk, and is then given its name.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    info = info | {"checksum": checksum(info, arrays)}
    replace(path, {".json": to_json, ".npz": to_npz}[path.suffix](info, arrays), scratch)


def replace(path: Path, content: bytes, scratch: Path | None = None) -> None:
    """Put ``content`` in place of the file, or leave everything as it was."""
    scratch = scratch or path.parent
    for folder in (scratch, path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    growing = scratch / f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        with growing.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(growing, path)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[Info, dict[str, np.ndarray]]:
    """What `write` wrote.  Raises DamagedRecord, or OSError when there is no such file."""
    content = path.read_bytes()
    try:
        info, arrays = {".json": from_json, ".npz": from_npz}[path.suffix](content)
        whole = info["checksum"] == checksum(info, arrays)
        why = "" if whole else "its checksum is wrong"
    except Exception as error:  # damaged bytes can make a decoder raise anything
        why = f"it cannot be read, {type(error).__name__}"
    if why:
        raise DamagedRecord(f"{path.name} is damaged ({why}): restore it, or run it again")
    return info, arrays


def to_npz(info: Info, arrays: Arrays) -> bytes:
    """As NumPy's archive, with ``info`` as one more entry."""
    buffer = io.BytesIO()
    np.savez(buffer, info=np.array(canonical(info)), **{f"array/{k}": v for k, v in arrays.items()})
    return buffer.getvalue()


def from_npz(content: bytes) -> tuple[Info, dict[str, np.ndarray]]:
    """Undo `to_npz`; nothing is unpickled."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        named = {name.removeprefix("array/"): archive[name] for name in archive.files}
    return json.loads(named.pop("info").item()), named


def to_json(info: Info, arrays: Arrays) -> bytes:
    """As text: the provenance first, indented, then each array on a line of its own."""
    head = json.dumps(info, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lines = [f"  {json.dumps(name)}: {json.dumps(encode(a))}" for name, a in arrays.items()]
    return (head + ',\n "arrays": {\n' + ",\n".join(lines) + "\n }\n}\n").encode()


def from_json(content: bytes) -> tuple[Info, dict[str, np.ndarray]]:
    """Undo `to_json`: every double comes back as it was."""
    info = json.loads(content)
    return info, {name: decode(array) for name, array in info.pop("arrays").items()}


def encode(array: np.ndarray) -> dict[str, Any]:
    """An array in JSON; what JSON has no number for is written as a word: "inf", "-inf", "nan"."""
    values = [
        str(v) if isinstance(v, float) and not math.isfinite(v) else v
        for v in array.ravel().tolist()
    ]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": values}


def decode(item: dict[str, Any]) -> np.ndarray:
    """Undo `encode`."""
    values = [float(v) if isinstance(v, str) else v for v in item["values"]]
    return np.array(values, dtype=item["dtype"]).reshape(item["shape"])
