"""Files that are whole or absent, after any failure at any call."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.base.power_cut import FAULTS, Failing, read_tree, recording, states, write_tree

from chiasm.base import files, locks
from chiasm.base.errors import UserError


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch):
    """The tests below ask which calls are made; only the first one needs them to take effect."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


def test_sync_asks_the_system_for_the_file_itself(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    (tmp_path / "file").write_text("x")
    files.disk.sync(tmp_path / "file")
    files.disk.sync(tmp_path)
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def put(path: Path, *names: str) -> None:
    """Make a folder that holds the words of `names`, each in a file of that name."""
    with files.atomic_directory(path, replace=True) as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            files.write_file(folder / name, [name.encode()])


# ---- after a power cut -------------------------------------------------------------------------


def test_a_written_file_is_the_old_or_the_new_one_after_any_cut(tmp_path):
    for old in (None, "old content"):
        folder = tmp_path / f"{old}"
        folder.mkdir()
        if old:
            (folder / "file").write_text(old)
        before = read_tree(folder)
        with recording(folder) as calls:
            files.write_atomic(folder / "file", "new content")
        seen = {count: set() for count in range(len(calls) + 1)}
        for count, tree in states(before, calls):
            seen[count].add(tree.get("file", b"").decode())
        assert seen[len(calls)] == {"new content"}  # durable when the call returns
        assert set.union(*seen.values()) == {old or "", "new content"}


def test_a_folder_is_whole_or_absent_after_any_cut(tmp_path):
    (tmp_path / "at").mkdir()
    with recording(tmp_path / "at") as calls, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda path, **_: path.exists() or files.disk.make(path))
        put(tmp_path / "at" / "runs" / "new", "a", "deep/b")
    whole = {"runs/new/a": b"a", "runs/new/deep": None, "runs/new/deep/b": b"deep/b"}
    last = None
    for count, tree in states({}, calls):
        inside = {name: data for name, data in tree.items() if name.startswith("runs/new/")}
        assert inside in ({}, whole), count
        last = inside
    assert last == whole


def test_replacing_a_folder_never_loses_both(tmp_path):
    home, again = tmp_path / "at", tmp_path / "again"
    home.mkdir()
    put(home / "x", "old1", "old2")
    before = read_tree(home)
    with recording(home) as calls:
        put(home / "x", "new")
    found = set()
    for count, tree in states(before, calls):
        again.mkdir()
        write_tree(tree, again)
        files.sweep(again)
        left = read_tree(again)
        found.add(tuple(left))
        assert set(left) in ({"x", "x/old1", "x/old2"}, {"x", "x/new"}), count
        files.remove_tree(again)
    assert len(found) == 2


# ---- when the disk says no -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("once", [True, False], ids=["once", "for good"])
def test_a_failure_at_any_call_is_one_sentence_and_nothing_half_written(tmp_path, fault, once):
    (tmp_path / "file").write_text("old")
    put(tmp_path / "folder", "old")
    before = read_tree(tmp_path)
    for at in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(fault, at, once)
            patch.setattr(files, "disk", failing)
            try:
                files.write_atomic(tmp_path / "file", "new")
                put(tmp_path / "folder", "new")
            except UserError as error:
                assert str(error).startswith(f"Cannot write {tmp_path}/")
                assert ".tmp-" not in str(error)
        if not failing.failed:
            break
        files.sweep(tmp_path)
        left = read_tree(tmp_path)
        assert left["file"] in (b"old", b"new")
        assert {name: left[name] for name in left if name != "file"} in (
            {"folder": None, "folder/old": b"old"},
            {"folder": None, "folder/new": b"new"},
        )
        files.remove_tree(tmp_path)
        tmp_path.mkdir()
        write_tree(before, tmp_path)
    assert 15 < at < 99


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free some space and run the command again."),
        (errno.EDQUOT, "your disk quota is used up."),
        (errno.EROFS, "the disk is read-only."),
        (errno.EACCES, "permission denied."),
        (errno.ENAMETOOLONG, "File name too long."),
    ],
)
def test_the_sentence_names_the_file_and_the_reason(tmp_path, monkeypatch, fault, words):
    monkeypatch.setattr(files, "disk", Failing(fault, 1))
    with pytest.raises(UserError) as caught:
        files.write_atomic(tmp_path / "a.json", "{}")
    assert str(caught.value).startswith(f"Cannot write {tmp_path / 'a.json'}: {words}")


def test_a_full_disk_told_by_a_library_in_rust_is_understood(tmp_path):
    with (
        pytest.raises(UserError, match="x: the disk is full"),
        files.atomic_directory(tmp_path / "x"),
    ):
        raise RuntimeError('Error while serializing: I/O error: "No space left" (os error 28)')


def test_a_body_that_fails_to_read_is_not_called_a_failure_to_write(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_directory(tmp_path / "x"):
        (tmp_path / "none").read_bytes()
    with pytest.raises(PermissionError), files.atomic_directory(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "not yours", "input")
    with pytest.raises(FileNotFoundError), files.atomic_directory(tmp_path / "x") as folder:
        (folder / "never written").read_bytes()
    with pytest.raises(KeyboardInterrupt), files.atomic_directory(tmp_path / "x") as folder:
        files.write_file(folder / "a", [b"half"])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_real_limit_of_the_system(tmp_path):
    code = f"""
import resource
from pathlib import Path
from chiasm.base import files
files.write_atomic(Path({str(tmp_path)!r}, "file"), "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for write in (files.write_atomic, lambda path, data: files.write_file(path, [data])):
    try:
        with files.write_errors(Path("it")):
            write(Path({str(tmp_path)!r}, "file"), bytes(100_000))
    except files.UserError as error:
        print(error)
"""
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "larger than this system allows" in done.stdout.splitlines()[0]
    assert read_tree(tmp_path) == {"file": b"old"}


def test_a_folder_on_the_way_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("a file")
    for write in (
        lambda path: files.write_atomic(path, "x"),
        lambda path: put(path, "x"),
        lambda path: files.locked(path).__enter__(),
    ):
        with pytest.raises(UserError, match="a folder on the way to it is a file"):
            write(tmp_path / "runs" / "a" / "b")


# ---- plain use -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["", "é", b"", bytearray(b"ab"), memoryview(b"abc")])
def test_write_atomic_takes_text_and_bytes(tmp_path, data):
    files.write_atomic(tmp_path / "deep" / "down" / "file", data)
    wanted = data.encode() if isinstance(data, str) else bytes(data)
    assert (tmp_path / "deep" / "down" / "file").read_bytes() == wanted
    assert files.sha256_file(tmp_path / "deep/down/file") == hashlib.sha256(wanted).hexdigest()


def test_write_file_tells_length_and_hash(tmp_path):
    parts = [b"", os.urandom(files.PIECE + 5), memoryview(os.urandom(64)).cast("d"), bytearray(3)]
    length, digest = files.write_file(tmp_path / "x", parts)
    assert length == (tmp_path / "x").stat().st_size == files.PIECE + 72
    assert digest == files.sha256_file(tmp_path / "x")
    with pytest.raises(FileExistsError):
        files.write_file(tmp_path / "x", [])


def test_a_name_that_exists_is_refused(tmp_path):
    put(tmp_path / "x", "old")
    with pytest.raises(UserError, match="exists already"), files.atomic_directory(tmp_path / "x"):
        raise AssertionError("the body must not run")
    with pytest.raises(UserError, match="exists already"), files.atomic_directory(tmp_path / "y"):
        put(tmp_path / "y", "another was faster")
    assert set(read_tree(tmp_path)) == {"x", "x/old", "y", "y/another was faster"}


def test_files_get_the_users_usual_rights(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_atomic(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_removing_follows_no_links(tmp_path):
    put(tmp_path / "keep", "a")
    put(tmp_path / "go", "b")
    (tmp_path / "go" / "link").symlink_to(tmp_path / "keep")
    files.discard(tmp_path / "go")
    assert set(read_tree(tmp_path)) == {"keep", "keep/a"}


@pytest.mark.parametrize(
    ("own", "xdg", "wanted"),
    [
        ("/a/b", "/x", "/a/b"),
        ("~/b", None, "/house/b"),
        ("", "/x", "/x/chiasm"),
        (None, None, "/house/.cache/chiasm"),
        (None, "", "/house/.cache/chiasm"),
    ],
)
def test_the_cache_folder(monkeypatch, own, xdg, wanted):
    monkeypatch.setenv("HOME", "/house")
    for name, value in {"CHIASM_CACHE": own, "XDG_CACHE_HOME": xdg}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert files.cache_dir() == Path(wanted)


# ---- leftovers -----------------------------------------------------------------------------------


def test_sweep_takes_the_dead_and_leaves_the_living(tmp_path):
    me = os.getpid()  # in a container the restarted program has the number of the dead one
    (tmp_path / f".a.tmp-{me}-00000000").mkdir()
    (tmp_path / f".a.tmp-{me}-00000000" / "half").write_text("x")
    (tmp_path / ".b.json.tmp-1-00000001").write_text("half")
    put(tmp_path / "c", "new")
    put(tmp_path / ".c.old-1-00000002", "old")
    put(tmp_path / ".d.old-1-00000003", "put back")
    for name in (".hidden", ".x.tmp-1", "x.tmp-1-00000000", ".x.new-1-00000000"):
        (tmp_path / name).write_text("a person's file")
    with files.atomic_directory(tmp_path / "live") as folder:
        files.write_file(folder / "a", [b"a"])
        assert len(files.sweep(tmp_path)) == 4
        assert files.sweep(tmp_path) == []
    assert set(read_tree(tmp_path)) == {
        *("c", "c/new", "d", "d/put back", "live", "live/a"),
        *(".hidden", ".x.tmp-1", "x.tmp-1-00000000", ".x.new-1-00000000"),
    }
    assert files.sweep(tmp_path / "none") == []


def test_without_locks_sweep_goes_by_the_process_number(tmp_path, monkeypatch):
    def flock(descriptor, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".a.tmp-{os.getpid()}-00000000").mkdir()
    (tmp_path / f".a.tmp-{ended.pid}-00000000").mkdir()
    files.sweep(tmp_path)
    assert list(read_tree(tmp_path)) == [f".a.tmp-{os.getpid()}-00000000"]
    put(tmp_path / "works", "too")
    with files.locked(tmp_path / "works"):
        pass


def test_a_killed_writer_leaves_nothing_after_the_next_sweep(tmp_path):
    code = f"""
import time
from pathlib import Path
from chiasm.base import files
with files.atomic_directory(Path({str(tmp_path)!r}, "x")) as folder:
    files.write_file(folder / "half", [b"half"])
    print("there", flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"there\n"
    assert files.sweep(tmp_path) == []
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert len(files.sweep(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


# ---- locks ---------------------------------------------------------------------------------------


def test_locked_lets_one_in_and_says_whom_it_waits_for(tmp_path):
    said, order, inside = [], [], threading.Event()

    def second() -> None:
        with files.locked(tmp_path / "model", said.append):
            order.append("second")

    with files.locked(tmp_path / "model", said.append):
        thread = threading.Thread(target=second)
        thread.start()
        inside.wait(0.3)
        assert said == []
        deadline = time.monotonic() + 20
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == [f"Waiting for process {os.getpid()}, which is working on {tmp_path / 'model'}."]
    assert not (tmp_path / "model").exists()


def test_a_lock_ends_with_the_body_that_fails(tmp_path):
    with pytest.raises(RuntimeError), files.locked(tmp_path / "x"):
        raise RuntimeError
    with files.sole_holder(tmp_path / ".x.lock") as holder:
        assert holder is None


def test_many_processes_count_without_losing_one(tmp_path):
    (tmp_path / "count").write_text("0")
    code = f"""
from pathlib import Path
from chiasm.base import files
path = Path({str(tmp_path)!r}, "count")
for _ in range(8):
    with files.locked(path):
        path.write_text(str(int(path.read_text()) + 1))
"""
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "24"
