"""Files that are whole or absent: atomic writes, the cache folder, plain words for a full disk."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chiasm.base import locks
from chiasm.base.errors import UserError

Bytes = bytes | bytearray | memoryview

PIECE = 1 << 20
"""Bytes written and hashed at a time: small enough to stay in the processor's cache in between."""

_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space and run the command again.",
    errno.EDQUOT: "your disk quota is used up. Free some space and run the command again.",
    errno.EFBIG: "the file would be larger than this system allows (see ulimit -f). "
    "Raise the limit or write elsewhere.",
    errno.EROFS: "the disk is read-only. Choose a folder that can be written.",
    errno.EACCES: "permission denied. Choose a folder that you may write.",
    errno.EPERM: "permission denied. Choose a folder that you may write.",
    errno.EIO: "the disk reports an input/output error. Check it and run the command again.",
    errno.ENOTDIR: "a folder on the way to it is a file. Choose another place.",
}
# The body of an `atomic_directory` also reads files; these errors can only come from writing.
_ONLY_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_LEFTOVER = re.compile(r"^\.(?P<name>.+)\.(?P<kind>tmp|old)-(?P<pid>\d+)-[0-9a-f]{8}$")


class Disk:
    """The seven calls by which this house changes a disk.

    Everything durable goes through the one object `files.disk`, so a test can put a recorder or a
    failing disk in its place and stop a save at each call.
    """

    def make(self, path: Path) -> None:
        """Create one folder."""
        os.mkdir(path)

    def create(self, path: Path) -> int:
        """Create an empty file that did not exist and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def append(self, descriptor: int, data: Bytes) -> None:
        """Write all of `data` at the end of an open file."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, path: Path) -> None:
        """Return when a file's bytes, or a folder's list of names, would survive a power cut."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # macOS leaves data in the drive's own cache after fsync; only this call empties it.
            full = getattr(fcntl, "F_FULLFSYNC", None)
            os.fsync(descriptor) if full is None else fcntl.fcntl(descriptor, full)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name, in one step."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove one file."""
        os.unlink(path)

    def rmdir(self, path: Path) -> None:
        """Remove one empty folder."""
        os.rmdir(path)


disk = Disk()


# ---- in words ----------------------------------------------------------------------------------


def _errno_of(error: BaseException) -> int | None:
    """Return the system's error number; libraries in Rust put it into the message only."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


@contextmanager
def write_errors(path: Path, inside: Path | None = None) -> Iterator[None]:
    """Turn the system's errors of the body into one UserError that names `path`.

    With `inside`, the body may fail to read, too: then only errors about files in that folder
    count, and those that reading cannot cause (full or read-only disk, limits).
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = _errno_of(error)
        if number is None or (inside is not None and not _is_of_writing(error, number, inside)):
            raise
        reason = _REASONS.get(number, f"{os.strerror(number)}.")
        raise UserError(f"Cannot write {path}: {reason}") from error


def _is_of_writing(error: BaseException, number: int, inside: Path) -> bool:
    named = error.filename if isinstance(error, OSError) else None
    return number in _ONLY_WRITING or (
        number in _REASONS and named is not None and Path(os.fsdecode(named)).is_relative_to(inside)
    )


def cache_dir() -> Path:
    """Return the folder for fetched and converted parts, which may not exist yet.

    The environment decides: CHIASM_CACHE, else XDG_CACHE_HOME/chiasm, else ~/.cache/chiasm.
    """
    if own := os.environ.get("CHIASM_CACHE"):
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "chiasm"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- writing -----------------------------------------------------------------------------------


def make_folders(path: Path) -> None:
    """Create a folder and those above it, each durable before the next is put into it."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            disk.make(folder)
        disk.sync(folder.parent)


def write_file(path: Path, parts: Iterable[Bytes]) -> tuple[int, str]:
    """Write a new file from its parts and return its length in bytes and its SHA-256.

    It is not durable yet: use it inside `atomic_directory`, which sees to that.
    Errors: OSError that names the file, from which `atomic_directory` makes a UserError.
    """
    try:
        descriptor = disk.create(path)
        try:
            return _fill(descriptor, parts)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _fill(descriptor: int, parts: Iterable[Bytes]) -> tuple[int, str]:
    seen, length = hashlib.sha256(), 0
    for part in parts:
        flat = memoryview(part).cast("B")
        for start in range(0, len(flat), PIECE):
            piece = flat[start : start + PIECE]
            disk.append(descriptor, piece)
            seen.update(piece)
        length += len(flat)
    return length, seen.hexdigest()


def write_atomic(path: Path, data: Bytes | str | Iterable[Bytes]) -> None:
    """Write a file that is at every moment, and after any crash, wholly the old or the new one.

    data  the whole, or parts that are made one after another while the file is written
    """
    path = Path(path)
    if isinstance(data, str):
        data = data.encode()
    parts = [data] if isinstance(data, bytes | bytearray | memoryview) else data
    with write_errors(path):
        make_folders(path.parent)
        temporary, held = _temporary(path, disk.create)
        try:
            _fill(held, parts)
            disk.sync(temporary)
            disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                disk.unlink(temporary)
            raise
        finally:
            locks.release(held)
        disk.sync(path.parent)


@contextmanager
def atomic_directory(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` if the body ends well, else vanishes.

    Everything in it is made durable before it gets its name. A `path` that exists is refused, or
    with `replace` set aside until the new one stands. After any crash `path` is whole or absent,
    and `sweep` removes or puts back what was left beside it.
    """
    path = Path(path)
    with write_errors(path):
        _refuse_existing(path, replace)
        make_folders(path.parent)
        temporary, held = _temporary(path, _made_and_open)
    try:
        with write_errors(path, inside=temporary):
            yield temporary
        with write_errors(path):
            _sync_tree(temporary)
            _refuse_existing(path, replace)
            _give_name(temporary, path)
    except BaseException:
        with suppress(OSError):
            remove_tree(temporary)
        raise
    finally:
        locks.release(held)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{secrets.token_hex(4)}")


def _temporary(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a file or folder beside `path` and lock it, which tells `sweep` that we live.

    A process number would not do: a container gives the restarted program the same one.
    """
    while True:
        temporary = _beside(path, "tmp")
        with suppress(FileNotFoundError):  # swept before we locked it: take another name
            held = locks.keep(make(temporary))
            if locks.try_lock(held) is not False and temporary.exists():
                return temporary, held
            locks.release(held)


def _made_and_open(path: Path) -> int:
    disk.make(path)
    return os.open(path, os.O_RDONLY)


def _refuse_existing(path: Path, replace: bool) -> None:
    if not replace and os.path.lexists(path):
        raise UserError(f"{path} exists already. Choose another name, or delete it first.")


def _sync_tree(folder: Path) -> None:
    for inside, _, names in os.walk(folder, topdown=False):
        for name in sorted(names):
            if not (file := Path(inside, name)).is_symlink():
                disk.sync(file)
        disk.sync(Path(inside))


def _give_name(temporary: Path, path: Path) -> None:
    if not os.path.lexists(path):
        disk.rename(temporary, path)
        disk.sync(path.parent)
        return
    old, held = _beside(path, "old"), locks.hold(path)
    try:
        locks.try_lock(held)  # so that no `sweep` puts the old one back between the two renames
        disk.rename(path, old)
        try:
            disk.rename(temporary, path)
        except BaseException:
            disk.rename(old, path)
            raise
        discard(old)  # which first makes both new names durable
    finally:
        locks.release(held)


# ---- removing ----------------------------------------------------------------------------------


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds; links are removed, not followed."""
    if path.is_symlink() or not path.is_dir():
        disk.unlink(path)
        return
    for inside in sorted(path.iterdir()):
        remove_tree(inside)
    disk.rmdir(path)


def discard(path: Path) -> None:
    """Remove a folder by way of a temporary name, so that a crash cannot leave half of it."""
    aside = _beside(path, "tmp")
    disk.rename(path, aside)
    disk.sync(path.parent)
    remove_tree(aside)


def sweep(parent: Path) -> list[Path]:
    """Clear a folder of what dead processes left unfinished and return what was found.

    Half-written things are removed; what had been set aside to be replaced is put back.
    """
    found: list[Path] = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        match = _LEFTOVER.match(path.name)
        if match is None or (held := _hold_abandoned(path, int(match["pid"]))) is None:
            continue
        try:
            with write_errors(path):
                home = path.with_name(match["name"])
                if match["kind"] == "old" and not os.path.lexists(home):
                    disk.rename(path, home)
                    disk.sync(parent)
                else:
                    remove_tree(path)
        finally:
            locks.release(held)
        found.append(path)
    return found


def _hold_abandoned(path: Path, pid: int) -> int | None:
    """Return a lock on a dead process's leftover, or None when somebody still works on it."""
    try:
        held = locks.hold(path)
    except OSError:  # gone meanwhile, or not ours to open
        return None
    free = locks.try_lock(held)
    if path.exists() and (free or (free is None and not locks.alive(pid))):
        return held
    locks.release(held)
    return None


# ---- one at a time -----------------------------------------------------------------------------


@contextmanager
def sole_holder(lock: Path) -> Iterator[int | None]:
    """Hold the lock file `lock` in the body and yield None, else yield its holder's process number.

    The lock ends with the process, however it dies. The file stays: removing it would let two in.
    The number is 0 when the holder has not written it yet.
    """
    with write_errors(lock):
        make_folders(lock.parent)
        held = locks.hold(lock, os.O_RDWR | os.O_CREAT)
    try:
        if locks.try_lock(held) is False:
            told = os.pread(held, 20, 0)
            yield int(told) if told.isdigit() else 0
            return
        with write_errors(lock):
            os.ftruncate(held, 0)
            os.pwrite(held, str(os.getpid()).encode(), 0)
        yield None
    finally:
        locks.release(held)


@contextmanager
def locked(path: Path, say: Callable[[str], object] = print) -> Iterator[None]:
    """Run the body while no other process runs one for the same `path`; waits for its turn.

    After two seconds it says for whom. The lock is the file `.NAME.lock` beside `path`, which
    itself need not exist.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    started, told = time.monotonic(), False
    while True:
        with sole_holder(lock) as holder:
            if holder is None:
                yield
                return
        if not told and time.monotonic() - started > 2.0:
            say(f"Waiting for process {holder}, which is working on {path}.")
            told = True
        time.sleep(0.05)
