"""A child process that does dangerous work under limits: a bad input costs one answer, not the run.

    parent ── sizes │ JSON header │ raw bytes ──▶ child: limited memory, no files to write
           ◀─ sizes │ JSON header │ raw bytes ──  killed when it is late
                                    up to 16 MB in memory that both share, either way

No pickle: a child that an attacker has taken over can only answer wrong numbers.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from chiasm.base.errors import UserError

_SIZES = struct.Struct("<IQ")
_MAX_HEADER = 4 << 20
_START_SECONDS = 60.0
_PIPE_BYTES = 1 << 20
_SHARED_BYTES = 16 << 20
"""Bodies up to this size do not go through the pipe, which would copy them twice more."""

# Not `-m`: that would put the current folder first on the path, and a stray numpy.py there would be run.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import chiasm; del sys.path[0]; "
    "from chiasm.base.worker import serve; serve(sys.argv[2], *map(int, sys.argv[3:]))"
)
"""The child takes this very package; its folder may not shadow the standard library for longer."""


_SURROUNDINGS = {
    # One thread: the pool of a BLAS would take a gigabyte of the child's address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc would give the pages of each answer back, and get them anew, cleared, for the next one:
    # that takes longer than to decode a photograph. Other C libraries do not know these names.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


Body: TypeAlias = bytes | memoryview


class WorkerStopped(Exception):
    """The child ended, or answered nonsense, before it gave an answer."""


class WorkerLate(Exception):
    """The child did not answer in time, and was killed."""


class Worker:
    """One child process that answers requests with `module.answer(header, body)`.

    `memory` is how many bytes of address space the work may take beyond what the idle child has.
    Not thread-safe. After WorkerStopped or WorkerLate the process is gone.
    """

    def __init__(self, module: str, memory: int) -> None:
        package_parent = str(Path(__file__).resolve().parents[2])
        with _memory_of_both() as shared:
            self._shared = None if shared is None else mmap.mmap(shared, _SHARED_BYTES)
            self._process = self._started(package_parent, module, memory, shared)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipes = (self._process.stdin, self._process.stdout)
        self._to, self._from = (pipe.fileno() for pipe in self._pipes)
        for fd in (self._to, self._from):
            os.set_blocking(fd, False)
            _widen(fd)
        _ALIVE.add(self)
        try:
            self._receive(0, time.monotonic() + _START_SECONDS)
        except BaseException as error:
            self.close()
            if not isinstance(error, WorkerStopped | WorkerLate):
                raise
            raise UserError(
                "Chiasm could not start its worker process; see the lines above, and try again "
                "when the machine has memory to spare."
            ) from None

    @staticmethod
    def _started(
        parent: str, module: str, memory: int, shared: int | None
    ) -> subprocess.Popen[bytes]:
        told = "-1" if shared is None else str(shared)
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _START, parent, module, str(memory), told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **_SURROUNDINGS},
            # Ctrl-C is for the parent, which may want one more picture while it saves.
            process_group=0,
            pass_fds=() if shared is None else (shared,),
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def ask(
        self, header: dict[str, Any], body: bytes, seconds: float, largest: int
    ) -> tuple[dict[str, Any], memoryview]:
        """Send a request and return the answer's header and body (at most `largest` bytes)."""
        deadline = time.monotonic() + seconds
        # The child has an alarm of its own, in case the parent dies while a decoder spins.
        head = json.dumps({**header, "alarm": int(seconds) + 5}).encode()
        try:
            frame = (_SIZES.pack(len(head), len(body)), head)
            self._send(frame if self._shares(body) else (*frame, body), deadline)
            return self._receive(largest, deadline)
        except BaseException:
            self.close()
            raise

    def _shares(self, body: bytes) -> bool:
        """Lay a body where the child finds it, if there is such a place and it is large enough."""
        if self._shared is None or len(body) > _SHARED_BYTES:
            return False
        self._shared[: len(body)] = body
        return True

    def close(self) -> None:
        """End the child and collect it; closing twice is harmless."""
        _ALIVE.discard(self)
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def abandon(self) -> None:
        """Let go of a child that belongs to the process we were forked from."""
        self._process.returncode = 0  # not ours to wait for
        self._let_go()

    def _let_go(self) -> None:
        if self._shared is not None:
            self._shared.close()
        for pipe in self._pipes:
            pipe.close()

    def _send(self, frame: Sequence[bytes], deadline: float) -> None:
        left = [memoryview(part) for part in frame]
        while left:
            try:
                left = _behind(left, os.writev(self._to, left))
            except BlockingIOError:
                self._wait(self._to, select.POLLOUT, deadline)
            except OSError:
                raise WorkerStopped from None

    def _receive(self, largest: int, deadline: float) -> tuple[dict[str, Any], memoryview]:
        sizes = self._read(_SIZES.size, deadline)
        head, body = _SIZES.unpack(sizes)
        if head > _MAX_HEADER or body > largest:
            raise WorkerStopped
        frame = self._read(head, deadline)
        try:
            header = json.loads(bytes(frame))
        except ValueError:
            raise WorkerStopped from None
        if not isinstance(header, dict):
            raise WorkerStopped
        if self._shared is None or body > _SHARED_BYTES:
            return header, self._read(body, deadline)
        with memoryview(self._shared) as shared:
            return header, memoryview(bytearray(shared[:body]))

    def _read(self, size: int, deadline: float) -> memoryview:
        whole = memoryview(bytearray(size))
        left = whole
        while left:
            self._wait(self._from, select.POLLIN, deadline)
            try:
                got = os.readv(self._from, [left])
            except BlockingIOError:
                continue
            except OSError:
                raise WorkerStopped from None
            if not got:
                raise WorkerStopped
            left = left[got:]
        return whole

    def _wait(self, fd: int, event: int, deadline: float) -> None:
        ready = select.poll()
        ready.register(fd, event)
        left = deadline - time.monotonic()
        if left <= 0 or not ready.poll(left * 1000):
            raise WorkerLate


_ALIVE: weakref.WeakSet[Worker] = weakref.WeakSet()


def _abandon_all() -> None:
    for worker in list(_ALIVE):
        worker.abandon()
    _ALIVE.clear()


# A forked process (a data loader's) must not hold the pipes of its parent's child: that child
# would not notice the parent's end.
os.register_at_fork(after_in_child=_abandon_all)


@contextlib.contextmanager
def _memory_of_both() -> Iterator[int | None]:
    """A file without a name, which parent and child take into their memory; None where it cannot be had.

    A limit on the size of files (ulimit -f) counts here, too: answers then go through the pipe.
    """
    linux = sys.platform == "linux"
    with open(os.memfd_create("chiasm"), "w+b") if linux else tempfile.TemporaryFile() as file:
        try:
            file.truncate(_SHARED_BYTES)
        except OSError:
            yield None
            return
        yield file.fileno()


_room = memoryview(b"")


def room(size: int) -> memoryview:
    """Return memory for the body of an answer of so many bytes; in the child, what both share.

    An answer whose body is what this returned is not copied on its way out of the child.
    """
    return _room[:size] if size <= len(_room) else memoryview(bytearray(size))


def serve(module: str, memory: int, shared: int) -> None:
    """Run in the child: answer requests from standard input until it ends."""
    global _room
    answer: Callable[[dict[str, Any], memoryview], tuple[dict[str, Any], Body]]
    answer = import_module(module).answer
    warnings.simplefilter("ignore")  # an environment that turns them into errors is not about us
    if shared >= 0:
        _room = memoryview(mmap.mmap(shared, _SHARED_BYTES))
        os.close(shared)
    # Whatever a library prints must not mix with the frames.
    into, out = os.dup(0), os.dup(1)
    _limit(memory)
    _write(out, _SIZES.pack(2, 0) + b"{}")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for fd in (0, 1, 2):
            os.dup2(nothing.fileno(), fd)
    while (sizes := _read_exactly(into, _SIZES.size)) is not None:
        head_size, body_size = _SIZES.unpack(sizes)
        # A body that both share is copied at once: the answer is written over it.
        shared_body = bytes(_room[:body_size]) if body_size <= len(_room) else None
        frame = _read_exactly(into, head_size + (body_size if shared_body is None else 0))
        if frame is None:
            return
        header = json.loads(bytes(frame[:head_size]))
        signal.alarm(header["alarm"])
        asked = frame[head_size:] if shared_body is None else memoryview(shared_body)
        reply, body = answer(header, asked)
        del frame, asked, shared_body
        signal.alarm(0)
        head = json.dumps(reply).encode()
        if len(body) <= len(_room):
            if not (isinstance(body, memoryview) and body.obj is _room.obj):
                _room[: len(body)] = body
            _write(out, _SIZES.pack(len(head), len(body)), head)
        else:
            _write(out, _SIZES.pack(len(head), len(body)), head, body)
        del body


def _limit(memory: int) -> None:
    """Bound the address space; forbid core dumps, and any byte written to a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole small picture: a matter of speed only."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _read_exactly(fd: int, size: int) -> memoryview | None:
    whole = memoryview(bytearray(size))
    left = whole
    while left:
        got = os.readv(fd, [left])
        if not got:
            return None
        left = left[got:]
    return whole


def _write(fd: int, *frame: bytes | memoryview) -> None:
    left = [memoryview(part) for part in frame]
    while left:
        left = _behind(left, os.writev(fd, left))


def _behind(left: list[memoryview], written: int) -> list[memoryview]:
    """What is still to be written; large parts are never joined, which would copy them."""
    while left and written >= len(left[0]):
        written -= len(left.pop(0))
    return [left[0][written:], *left[1:]] if left else []
