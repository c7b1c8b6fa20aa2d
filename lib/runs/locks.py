"""Claims among runners that share a folder: the system lets go of them when a runner dies.

They only save double work.  A cell that two runners computed is the same cell, and it is put in
place at once; so a disk on which locks do not work costs time, never a result.
"""

import fcntl
from pathlib import Path
from typing import IO

NOW = fcntl.LOCK_NB


def claim(path: Path) -> IO | None:
    """Take the lock, or None if another has it.  Closing it, or dying, gives it back."""
    return _lock(path, fcntl.LOCK_EX | NOW)


def join(path: Path) -> IO:
    """Take a lock that many may have at once; waits while somebody has claimed it."""
    lock = _lock(path, fcntl.LOCK_SH)
    assert lock is not None  # it waited
    return lock


def held(path: Path) -> bool:
    """Whether anybody has the lock now."""
    if not path.exists():
        return False
    lock = claim(path)
    if lock:
        lock.close()
    return lock is None


def _lock(path: Path, kind: int) -> IO | None:
    file = path.open("a")
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # this disk knows no locks
        pass
    return file
