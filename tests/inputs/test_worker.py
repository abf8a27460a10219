"""The decoder's process: it may die, hang or be forked from, and one picture pays for it at most."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inputs.toys import RGB, mosaic, png, saved

from chiasm.base import worker
from chiasm.base.errors import UserError
from chiasm.base.worker import Worker, WorkerStopped
from chiasm.inputs import ImageDecoder, Limits, MediaError

PNG = png(mosaic(), 8, RGB)


def pid_of(decoder: ImageDecoder) -> int:
    held = decoder._lanes[os.getpid()].all[0].worker
    assert held is not None
    return held.pid


def started(decoder: ImageDecoder) -> int:
    """Decode until it works: on a busy machine even a small picture may come after a short limit."""
    while True:
        try:
            decoder.decode(PNG)
            return pid_of(decoder)
        except MediaError as error:
            assert error.reason == "too_slow"


def gone(pid: int) -> bool:
    """Whether a process has ended and been collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_the_worker_starts_with_the_first_picture_and_ends_with_close() -> None:
    decoder = ImageDecoder()
    assert not decoder._lanes
    decoder.decode(PNG)
    pid = pid_of(decoder)
    decoder.decode(PNG)
    assert pid_of(decoder) == pid
    decoder.close()
    assert not Path(f"/proc/{pid}").exists()
    decoder.close()
    decoder.decode(PNG)  # it can be used again
    decoder.close()


def test_a_worker_killed_in_mid_decode_costs_one_picture() -> None:
    with ImageDecoder() as decoder, ThreadPoolExecutor(1) as pool:
        decoder.decode(PNG)
        first = pid_of(decoder)
        os.kill(first, signal.SIGSTOP)
        waiting = pool.submit(decoder.decode, PNG, "a.png")
        time.sleep(0.2)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(MediaError, match=r"a\.png made the decoder stop") as caught:
            waiting.result()
        assert caught.value.reason == "decoder_died"
        np.testing.assert_array_equal(decoder.decode(PNG), mosaic())
        assert pid_of(decoder) != first and gone(first)


def test_a_worker_that_died_between_pictures_costs_none() -> None:
    with ImageDecoder() as decoder:
        decoder.decode(PNG)
        first = pid_of(decoder)
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: gone(first))
        np.testing.assert_array_equal(decoder.decode(PNG), mosaic())
        assert pid_of(decoder) != first


def test_a_late_worker_is_killed() -> None:
    with ImageDecoder(Limits(seconds=0.3)) as decoder:
        pid = started(decoder)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(MediaError, match=r"longer than 0\.3 seconds") as caught:
            decoder.decode(PNG)
        assert caught.value.reason == "too_slow" and not Path(f"/proc/{pid}").exists()


def test_a_stopped_worker_does_not_block_a_large_picture_for_ever() -> None:
    """More bytes than the pipe holds: writing has the same time limit as reading."""
    with ImageDecoder(Limits(seconds=0.5)) as decoder:
        os.kill(started(decoder), signal.SIGSTOP)
        with pytest.raises(MediaError) as caught:
            decoder.decode(bytes(5_000_000))
        assert caught.value.reason == "too_slow"


def test_threads_may_share_a_decoder() -> None:
    pictures = [np.full((4, 5, 3), n, np.uint8) for n in range(120)]
    files = [png(picture, 8, RGB) for picture in pictures]
    with ImageDecoder() as decoder, ThreadPoolExecutor(8) as pool:
        for seen, wanted in zip(pool.map(decoder.decode, files), pictures, strict=True):
            np.testing.assert_array_equal(seen, wanted)
        assert len(decoder._lanes) == 1


def test_no_descriptor_is_lost() -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_now()
    for _ in range(3):
        with ImageDecoder() as decoder:
            decoder.decode(PNG)
            os.kill(pid_of(decoder), signal.SIGKILL)
            wait_until(lambda: gone(pid_of(decoder)))
            decoder.decode(PNG)
    assert open_now() == before


def script(text: str, **options: object) -> subprocess.CompletedProcess[str]:
    head = "import os, signal, sys, time\nfrom chiasm.inputs import ImageDecoder\n"
    head += f"PNG = {PNG!r}\n"
    command = [sys.executable, "-P", "-W", "error", "-X", "dev", "-c", head + textwrap.dedent(text)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


def test_a_decoder_that_nobody_closes_leaves_nothing_behind() -> None:
    """No warning about a running child or an open file, no zombie, no worker that stays."""
    done = script(
        """
        import gc
        one, two = ImageDecoder(), ImageDecoder()
        for decoder in (one, two):
            decoder.decode(PNG)
            print(decoder._lanes[os.getpid()].all[0].worker.pid)
        del one, decoder
        gc.collect()
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(gone(int(pid)) for pid in done.stdout.split())


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    done = script(
        """
        decoder = ImageDecoder()
        decoder.decode(PNG)
        if os.fork() == 0:  # a data loader's process, which lives longer
            time.sleep(3)
            os._exit(0)
        print(decoder._lanes[os.getpid()].all[0].worker.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert done.returncode == -signal.SIGKILL
    assert wait_until(lambda: gone(int(done.stdout)))


def test_a_forked_process_gets_a_worker_of_its_own() -> None:
    done = script(
        """
        decoder = ImageDecoder()
        decoder.decode(PNG)
        mine = decoder._lanes[os.getpid()].all[0].worker.pid
        held = decoder._lanes[os.getpid()]._free.get()  # another thread was decoding when we forked
        child = os.fork()
        if child == 0:
            assert decoder.decode(PNG).shape == (32, 48, 3)
            assert decoder._lanes[os.getpid()].all[0].worker.pid != mine
            decoder.close()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        decoder._lanes[os.getpid()]._free.put(held)
        assert decoder.decode(PNG).shape == (32, 48, 3)
        assert decoder._lanes[os.getpid()].all[0].worker.pid == mine
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_is_for_the_parent() -> None:
    """The terminal sends it to the whole group; the trainer still wants pictures while it saves."""
    done = script(
        """
        signal.signal(signal.SIGINT, lambda *_: None)
        decoder = ImageDecoder()
        decoder.decode(PNG)
        before = decoder._lanes[os.getpid()].all[0].worker.pid
        os.killpg(os.getpgrp(), signal.SIGINT)
        time.sleep(0.3)
        decoder.decode(PNG)
        assert decoder._lanes[os.getpid()].all[0].worker.pid == before
        """,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_files_in_the_current_folder_are_not_run(tmp_path: Path) -> None:
    for name in ("numpy", "PIL", "json", "chiasm", "struct", "select"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('somebody ran me')\n")
    done = script("ImageDecoder().decode(PNG)", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_worker_imports_neither_torch_nor_a_tokenizer() -> None:
    with ImageDecoder() as decoder:
        decoder.decode(PNG)
        maps = Path(f"/proc/{pid_of(decoder)}/maps").read_text()
    assert "PIL" in maps and "numpy" in maps
    assert "libtorch" not in maps and "tokenizers" not in maps


def test_the_worker_may_write_no_file() -> None:
    with ImageDecoder() as decoder:
        decoder.decode(PNG)
        limits = Path(f"/proc/{pid_of(decoder)}/limits").read_text()
    rows = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert rows["Max file size"] == rows["Max core file size"] == "0"
    assert int(rows["Max address space"]) < 3 << 30


def test_pictures_larger_than_a_pipe_come_through() -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    with ImageDecoder() as decoder:
        data = saved(Image.fromarray(wanted), "PNG", compress_level=0)
        np.testing.assert_array_equal(decoder.decode(data), wanted)


def test_an_answer_larger_than_agreed_ends_the_worker() -> None:
    held = Worker("chiasm.inputs.decoding", 1 << 30)
    request = {"pixels": 10**9, "decoded_bytes": 10**9, "background": (0, 0, 0)}
    request |= {"want": "frames", "chosen": [0]}
    with pytest.raises(WorkerStopped):
        held.ask(request, PNG, 60, largest=10)
    assert not held.alive()


def test_a_child_that_cannot_start_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    before, alive = threading.active_count(), set(worker._ALIVE)  # other tests may keep some
    with pytest.raises(UserError, match="could not start its worker"):
        Worker("chiasm.inputs.no_such_module", 1 << 30)
    assert "no_such_module" in capfd.readouterr().err
    assert threading.active_count() == before and set(worker._ALIVE) <= alive


def test_where_files_may_not_grow_answers_come_through_the_pipe() -> None:
    with ImageDecoder() as usual:
        wanted = usual.decode(PNG)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        decoder = ImageDecoder()
        pixels = decoder.decode(PNG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (pixels == wanted).all()
    decoder.close()
