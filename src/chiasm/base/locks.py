"""Locks that end with their process: the ground under `files.locked` and `files.sweep`."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_held: set[int] = set()
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


def _let_go_in_child() -> None:
    """Close them in a forked worker, which else keeps them alive when its parent was killed."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def hold(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file or folder in order to lock it; forked children do not inherit the descriptor."""
    return keep(os.open(path, flags, 0o666))


def keep(descriptor: int) -> int:
    """Count an open descriptor among those that `release` closes and forked children drop."""
    _held.add(descriptor)
    return descriptor


def release(descriptor: int) -> None:
    """Close a descriptor of `hold`, which also ends its lock; twice does no harm."""
    if descriptor in _held:
        _held.discard(descriptor)
        os.close(descriptor)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file without waiting; True when it is ours now, False when held elsewhere.

    None where locks do not exist (some network disks): callers then work unlocked, because
    refusing would help nobody.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return None
    return True


def alive(pid: int) -> bool:
    """Say whether a process of this number runs here (it may be another one than was meant)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
