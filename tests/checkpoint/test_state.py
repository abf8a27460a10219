"""The run's checkpoint survives kills, power cuts, full disks and damage, or says what is wrong."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tests.base.power_cut import FAULTS, Failing, read_tree, write_tree
from tests.checkpoint.trial import bits, every_cut, same, save, shown, steps

from chiasm.base import files
from chiasm.base.errors import UserError
from chiasm.checkpoint import state
from chiasm.checkpoint.state import latest_state, load_state, run_lock, save_state, verify_state
from chiasm.checkpoint.weights import CheckpointError


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch):
    """What a sync does is the model's matter here (power_cut), and syncing takes the time."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


# ---- there and back ----------------------------------------------------------------------------


def test_every_format_and_shape_comes_back_bit_for_bit(tmp_path):
    made = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (4096,), dtype=torch.uint8, generator=made)
    tensors = {
        "formats": {
            name: (noise[:64] % 2).bool() if name == "BOOL" else noise[: 8 * 48].view(dtype)
            for name, dtype in state.DTYPES.items()
        },
        "shapes": {
            "scalar": torch.tensor(3.5),
            "empty": torch.empty(0),
            "empty row": torch.empty(0, 7, dtype=torch.bfloat16),
            "turned": torch.arange(12.0).reshape(3, 4).T,
            "spread": torch.ones(1).expand(3, 2),
            "a/b é\n": torch.arange(3),
            "learned": torch.nn.Parameter(torch.ones(2)),
            "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        },
        "nothing": {},
    }
    path = save_state(tmp_path, 7, tensors, {})
    loaded, record = load_state(path)
    assert record == {}
    assert same(loaded, tensors)
    assert all(tensor.is_contiguous() for named in loaded.values() for tensor in named.values())
    loaded["shapes"]["scalar"].add_(1)  # its own memory, ready to be trained on


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 3), max_size=3), max_size=5))
def test_other_programs_read_our_files(tmp_path_factory, shapes):
    root = tmp_path_factory.getbasetemp()
    kinds = list(state.DTYPES.values())
    named = {
        name: torch.ones(shape, dtype=kinds[len(name) * 5 % len(kinds)])
        for name, shape in shapes.items()
        if name.encode("utf-8", "ignore").decode() == name
    }
    path = save_state(root, 1, {"model": named}, {})
    with safe_open(path / "model.safetensors", "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert found.keys() == named.keys()
    assert all(torch.equal(bits(found[name]), bits(named[name])) for name in named)


def test_every_tensor_starts_at_a_multiple_of_its_width(tmp_path):
    """Readers that map the file need it."""
    named = {
        f"{10 + n}": torch.ones(n % 3 + 1, dtype=dtype)
        for n, dtype in enumerate([*state.DTYPES.values()] * 2)
    }
    data = (save_state(tmp_path, 1, {"model": named}, {}) / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            assert entry["data_offsets"][0] % named[name].itemsize == 0, name


def test_the_manifest_says_what_the_checkpoint_holds(tmp_path):
    path = save(tmp_path, 12)
    told = json.loads((path / "manifest.json").read_text())
    assert (told["format"], told["version"], told["step"]) == ("chiasm run", 1, 12)
    assert set(told["files"]) == {"model.safetensors", "random.safetensors", "record.json"}
    for name, entry in told["files"].items():
        data = (path / name).read_bytes()
        assert entry["length"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["files"]["model.safetensors"]["tensors"]["w"] == {"dtype": "F32", "shape": [2, 3]}


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    for bad in (
        torch.ones(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        torch.ones(2, device="meta"),
    ):
        with pytest.raises(ValueError, match="cannot be written"):
            save_state(tmp_path, 1, {"model": {"w": bad}}, {})
    with pytest.raises(ValueError, match="group"):
        save_state(tmp_path, 1, {"../model": {}}, {})
    with pytest.raises(ValueError, match="__metadata__"):
        save_state(tmp_path, 1, {"model": {"__metadata__": torch.ones(1)}}, {})
    with pytest.raises(ValueError, match="keep"):
        save_state(tmp_path, 1, {}, {}, keep=0)
    assert steps(tmp_path) == []


# ---- which one is the latest, and which ones stay ------------------------------------------------


def test_the_latest_is_the_highest_step_whatever_the_clock_says(tmp_path):
    assert latest_state(tmp_path / "none") is None
    for step in (999_999, 1_000_001, 7):
        os.utime(save(tmp_path, step, keep=9), (step, 2_000_000_000 - step))
    (tmp_path / "step-9999999999").write_text("a file")
    (tmp_path / "step-00000000008").mkdir()
    (tmp_path / "best").mkdir()
    assert latest_state(tmp_path) == tmp_path / "step-1000001"


def test_rotation_keeps_the_newest_that_verify(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step, keep=3)
    assert steps(tmp_path) == ["step-000003", "step-000004", "step-000005"]
    (tmp_path / "step-000005" / "record.json").write_text("{}")
    (tmp_path / "step-000003" / "manifest.json").unlink()
    save(tmp_path, 6, keep=2)  # 5 is damaged and does not count; nothing older than 4 is needed
    assert steps(tmp_path) == ["step-000004", "step-000005", "step-000006"]
    save(tmp_path, 7, keep=1)
    assert steps(tmp_path) == ["step-000007"]


def test_a_run_that_fell_back_replaces_the_damaged_step_and_keeps_what_it_wrote(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    (tmp_path / "step-000003" / "model.safetensors").write_bytes(b"")
    told: list[str] = []
    assert latest_state(tmp_path, told.append) == tmp_path / "step-000002"
    assert len(told) == 1
    save(tmp_path, 3, keep=1)
    assert steps(tmp_path) == ["step-000003"]
    assert shown(tmp_path / "step-000003") == 3
    save(tmp_path, 2, keep=1)  # somebody went back by hand: neither line of the run is removed
    assert steps(tmp_path) == ["step-000002", "step-000003"]


def test_what_was_not_read_back_whole_removes_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1, keep=1)
    plain = files.Disk.append

    def lies(disk, descriptor, data):
        plain(disk, descriptor, bytes(len(data)) if len(data) == 24 else data)

    monkeypatch.setattr(files.Disk, "append", lies)
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed"):
        save(tmp_path, 2, keep=1)
    assert latest_state(tmp_path, [].append) == tmp_path / "step-000001"


# ---- power cuts ----------------------------------------------------------------------------------


def test_a_cut_at_any_call_of_a_save_leaves_the_last_step_or_the_new_one(tmp_path):
    root = tmp_path / "root"
    for step in (1, 2):
        save(root, step)
    cuts = list(every_cut(root, lambda: save(root, 3)))
    for cut in cuts:
        assert cut.found in (2, 3), cut
        assert cut.whole >= 2, f"rotation left fewer than `keep` that verify: {cut}"
        assert cut.damaged == 0, f"half a checkpoint under a full name: {cut}"
        assert cut.found == 3 or not cut.saved, f"saved, and gone: {cut}"
    assert {cut.found for cut in cuts} == {2, 3}
    assert max(cut.calls for cut in cuts) > 25 and len(cuts) > 150


def test_a_cut_in_the_first_save_leaves_nothing_or_the_step(tmp_path):
    (tmp_path / "root").mkdir()
    cuts = list(every_cut(tmp_path / "root", lambda: save(tmp_path / "root", 1, keep=1)))
    assert {cut.found for cut in cuts} == {None, 1}
    assert {cut.found for cut in cuts if cut.saved} == {1}


def test_a_cut_while_a_step_is_replaced_leaves_one_of_the_two(tmp_path):
    root = tmp_path / "root"
    save(root, 3, shows=30, keep=1)
    cuts = list(every_cut(root, lambda: save(root, 3, shows=31, keep=1)))
    assert {cut.found for cut in cuts} == {30, 31}
    assert {cut.found for cut in cuts if cut.saved} == {31}


# ---- the disk says no ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=errno.errorcode.get)
def test_a_disk_that_refuses_at_any_call_costs_nothing_saved(tmp_path, fault):
    for step in (1, 2):
        save(tmp_path, step)
    before = read_tree(tmp_path)
    for at in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(fault, at)
            patch.setattr(files, "disk", failing)
            try:
                save(tmp_path, 3)
            except UserError as error:
                assert str(error).startswith(f"Cannot write {tmp_path}/step-00000")
        if not failing.failed:
            break
        files.sweep(tmp_path)
        assert shown(latest_state(tmp_path)) in (2, 3)
        assert len([name for name in steps(tmp_path) if name.startswith("step")]) >= 2
        assert save(tmp_path, 3) and shown(tmp_path / "step-000003") == 3
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        write_tree(before, tmp_path)
    assert 25 < at < 99


def test_a_real_limit_of_the_system_leaves_the_last_step(tmp_path):
    save(tmp_path, 1)
    code = f"""
import resource, sys, torch
from pathlib import Path
from chiasm.base.errors import UserError
from chiasm.checkpoint.state import save_state
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    save_state(Path({str(tmp_path)!r}), 2, {{"model": {{"w": torch.ones(100_000)}}}}, {{}})
except UserError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot write {tmp_path}/step-000002: the file would be larger")
    assert steps(tmp_path) == ["step-000001"]


# ---- damage at rest ------------------------------------------------------------------------------

PARTS = ("model.safetensors", "random.safetensors", "record.json", "manifest.json")


def damages(root: Path) -> Iterator[tuple[str, callable]]:
    """Ways to damage step 3 of three, each with its name."""
    chance, step = random.Random(0), root / "step-000003"
    for part in PARTS:
        data = (step / part).read_bytes()
        cuts = {0, 1, len(data) - 1, len(data) // 2, *chance.sample(range(len(data)), 12)}
        for length in sorted(cuts):
            yield f"{part} cut to {length}", lambda p=part, d=data[:length]: write(step / p, d)
        for place in chance.sample(range(len(data)), min(len(data), 120)):
            flipped = bytearray(data)
            flipped[place] ^= 1 << chance.randrange(8)
            yield f"{part} bit at {place}", lambda p=part, d=flipped: write(step / p, d)
        zeros = bytes(len(data))
        yield f"{part} all zeros", lambda p=part, d=zeros: write(step / p, d)
        yield f"{part} longer", lambda p=part, d=data: write(step / p, d + b"\0")
        yield f"{part} twice", lambda p=part, d=data: write(step / p, d + d)
        yield f"{part} gone", lambda p=part: (step / p).unlink()
        yield f"{part} a folder", lambda p=part: ((step / p).unlink(), (step / p).mkdir())
        yield f"{part} a dead link", lambda p=part: link(step / p, "nowhere")
        for other in (1, 2):
            old = (root / f"step-{other:06d}" / part).read_bytes()
            yield f"{part} of step {other}", lambda p=part, d=old: write(step / p, d)
        for name in PARTS:
            if name != part:
                wrong = (step / name).read_bytes()
                yield f"{name} as {part}", lambda p=part, d=wrong: write(step / p, d)
    yield (
        "all of step 2",
        lambda: (shutil.rmtree(step), shutil.copytree(step.parent / "step-000002", step)),
    )
    yield "empty", lambda: (shutil.rmtree(step), step.mkdir())


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def test_all_damage_is_noticed_and_the_step_before_is_used(tmp_path):
    root = tmp_path / "root"
    for step in (1, 2, 3):
        save(root, step, keep=3)
    whole, number = read_tree(root / "step-000003"), 0
    for name, damage in damages(root):
        damage()
        told: list[str] = []
        found = latest_state(root, told.append)
        assert found == root / "step-000002", name
        assert len(told) == 1 and "step-000003" in told[0], name
        with pytest.raises(CheckpointError, match="step-000003"):
            load_state(root / "step-000003")
        shutil.rmtree(root / "step-000003")
        (root / "step-000003").mkdir()
        write_tree(whole, root / "step-000003")
        number += 1
    assert number > 500
    assert shown(latest_state(root)) == 3


def test_loading_alone_notices_every_bit(tmp_path):
    """`load_state` reads into tensors and hashes on the way, by other code than `verify_state`."""
    path = save(tmp_path, 3)
    for part in ("model.safetensors", "record.json"):
        data = (path / part).read_bytes()
        for place in range(len(data)):
            (path / part).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            with pytest.raises(CheckpointError, match=f"{part} was changed"):
                load_state(path)
        (path / part).write_bytes(data)
    assert shown(path) == 3


def test_a_copy_under_another_step_is_not_that_step(tmp_path):
    save(tmp_path, 2)
    shutil.copytree(tmp_path / "step-000002", tmp_path / "step-000009")
    told: list[str] = []
    assert latest_state(tmp_path, told.append) == tmp_path / "step-000002"
    assert "belongs to step 2" in told[0]
    shutil.copytree(tmp_path / "step-000002", tmp_path / "backup")
    assert shown(tmp_path / "backup") == 2  # a name that claims nothing is fine


def test_files_beside_the_checkpoints_own_do_not_matter(tmp_path):
    path = save(tmp_path, 2)
    (path / "notes.txt").write_text("the good one")
    (path / "model copy.safetensors").write_bytes(b"")
    assert shown(latest_state(tmp_path)) == 2


def test_when_all_are_damaged_there_is_none_and_each_is_told(tmp_path):
    for step in (1, 2):
        (save(tmp_path, step) / "manifest.json").unlink()
    told: list[str] = []
    assert latest_state(tmp_path, told.append) is None
    assert len(told) == 2


def forged(path: Path, change) -> None:
    """Change the manifest as somebody would who knows how it is sealed."""
    told = json.loads((path / "manifest.json").read_bytes())
    told.pop("sha256")
    change(told)
    seal = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    sealed = json.dumps({**told, "sha256": seal}, sort_keys=True, indent=1)
    (path / "manifest.json").write_text(sealed)


def huge(told) -> None:
    told["files"]["model.safetensors"]["tensors"]["w"]["shape"] = [2**20, 2**20, 2**20]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (huge, "another length than its tensors"),
        (
            lambda told: told["files"].update({"../x.json": {"length": 0, "sha256": ""}}),
            "understood",
        ),
        (lambda told: told["files"].pop("record.json"), r"names no record\.json"),
        (lambda told: told.update(step=-1), "understood"),
        (lambda told: told.update(step="3"), "understood"),
        (lambda told: told.update(more=1), "understood"),
        (lambda told: told.update(files=[]), "understood"),
        (lambda told: told["files"]["model.safetensors"].update(length=-1), "understood"),
        (
            lambda told: told["files"]["model.safetensors"]["tensors"]["w"].update(dtype="X"),
            "understood",
        ),
        (lambda told: told.update(version=2), "newer Chiasm"),
    ],
)
def test_a_forged_manifest_is_refused_before_anything_is_allocated(tmp_path, change, words):
    path = save(tmp_path, 3)
    forged(path, lambda told: None)
    assert shown(path) == 3  # the forger knows the seal
    forged(path, change)
    with pytest.raises(CheckpointError, match=words):
        load_state(path)


def test_no_checkpoint_at_all_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(CheckpointError, match="There is no checkpoint at"):
            load_state(path)
        with pytest.raises(CheckpointError):
            verify_state(path)


# ---- one trainer a folder, and kills -------------------------------------------------------------

HOLD = """
import os, sys, time
from pathlib import Path
from chiasm.checkpoint.state import run_lock
with run_lock(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(60)  # a worker that outlives its parent
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_second_trainer_is_refused_until_the_first_one_is_dead(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        pid = int(first.stdout.readline())
        with pytest.raises(UserError, match=f"Process {pid} is already training in"):
            run_lock(tmp_path).__enter__()
        os.kill(pid, signal.SIGKILL)
        first.wait()
        with run_lock(tmp_path):  # although its worker still runs
            pass
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.stdout.close()


def test_the_lock_clears_what_an_interrupted_run_left(tmp_path):
    (tmp_path / "checkpoints" / ".step-000003.tmp-1-00000000").mkdir(parents=True)
    (tmp_path / ".run.json.tmp-1-00000000").write_text("{")
    with run_lock(tmp_path):
        assert read_tree(tmp_path).keys() == {".lock", "checkpoints"}


def test_a_save_loop_killed_at_ten_moments_always_resumes(tmp_path):
    """Kill -9 keeps what the system was given; power cuts, which do not, are enumerated above."""
    script = Path(__file__).with_name("kill_loop.py")
    rounds = 10
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run"), str(rounds)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == rounds
    before = 0
    for result in found:
        assert result["whole"] and result["told"] == [] and result["litter"] == [], result
        assert result["finished"] > before
        assert result["step"] in (result["finished"], result["finished"] + 1), result
        before = result["step"]
