"""Torch's own files: the values that torch would read, and nothing of what a poisoned one asks for."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.poison import (
    HOOKS,
    many,
    named,
    number,
    sizes,
    storage,
    table,
    tensor,
    text,
    torch_zip,
    whole,
    write_zip,
)
from tests.checkpoint.toys import decoder, equal

from chiasm.base.worker import Worker
from chiasm.checkpoint import pth, pth_index
from chiasm.checkpoint.families.meta import merge_dim
from chiasm.checkpoint.fused import packed_for_meta
from chiasm.checkpoint.pth import MergedShards, open_published, read_consolidated, read_pth
from chiasm.checkpoint.shards import write_shards
from chiasm.checkpoint.weights import CheckpointError, read_tensors, spec_of


def index(path: Path) -> list[list[Any]]:
    """What the child does, here."""
    with open(path, "rb") as file:
        return pth_index.read_index(file.fileno(), os.fstat(file.fileno()).st_size)


# ---- sound files -------------------------------------------------------------------------------


def test_a_state_dict_comes_back_as_torch_saved_it(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    own = {
        **decoder(tied=False).state_dict(),
        "turned": base.t(),
        "row": base[3],
        "parameter": torch.nn.Parameter(torch.randn(3).bfloat16()),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        **{
            str(kind): torch.arange(5).to(kind)
            for kind in (torch.half, torch.double, torch.int8, torch.uint8, torch.bool, torch.int16)
        },
    }
    torch.save(own, tmp_path / "a.pth")
    stored = read_pth(tmp_path / "a.pth")
    assert equal(dict(stored), own)
    for name, value in own.items():
        assert stored[name].dtype == value.dtype and spec_of(stored, name) == spec_of(own, name)
    assert stored.origin("row") == "a.pth:row"
    # ... and goes on, bit for bit, as safetensors.
    write_shards(tmp_path, stored)
    assert equal(dict(read_tensors(tmp_path)), {name: t.detach() for name, t in own.items()})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_and_an_ordered_dict_with_versions(protocol: int, tmp_path: Path) -> None:
    own = torch.nn.Linear(3, 2).state_dict()  # an OrderedDict with an attribute
    torch.save(own, tmp_path / "a.pth", pickle_protocol=protocol)
    assert equal(dict(read_pth(tmp_path / "a.pth")), own)


def test_what_comes_out_may_be_written_to_without_touching_the_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()
    read_pth(tmp_path / "a.pth")["a"].zero_()
    assert (tmp_path / "a.pth").read_bytes() == before


def test_our_hand_written_file_is_one_that_torch_reads(tmp_path: Path) -> None:
    """Else the cases below would be refused for the wrong reason."""
    path = torch_zip(tmp_path / "a.pth", whole(tensor()), data=torch.arange(6.0).numpy().tobytes())
    expected = {"a": torch.arange(6.0).reshape(2, 3)}
    assert equal(torch.load(path, weights_only=True), expected)
    assert equal(dict(read_pth(path)), expected)


# ---- shards ------------------------------------------------------------------------------------


def cut(name: str) -> int | None:
    return {"column": 0, "row": 1, "bias": None}[name]


def shards(folder: Path, count: int = 3, **changes: Any) -> dict[str, torch.Tensor]:
    own = {"column": torch.randn(6, 4), "row": torch.randn(4, 9), "bias": torch.randn(4)}
    for i in range(count):
        part = {"column": own["column"].chunk(count)[i], "row": own["row"].chunk(count, 1)[i]}
        part = {**{n: t.clone() for n, t in part.items()}, "bias": own["bias"]}
        if i == count - 1:
            part |= changes
        torch.save(
            {n: t for n, t in part.items() if t is not None}, folder / f"consolidated.{i:02}.pth"
        )
    return own


@pytest.mark.parametrize("count", [1, 3])
def test_shards_are_put_together(count: int, tmp_path: Path) -> None:
    own = shards(tmp_path, count)
    merged = read_consolidated(tmp_path, cut)
    assert isinstance(merged, MergedShards) == (count > 1)
    assert equal(dict(merged), own)
    for name in own:
        assert merged.spec(name) == spec_of(own, name)
        assert "consolidated.00.pth" in merged.origin(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bias": torch.zeros(4)}, "must be the same in all shards"),
        ({"bias": torch.zeros(5)}, "do not fit together"),
        ({"row": torch.zeros(5, 3)}, "do not fit together"),
        ({"row": torch.zeros(4)}, "do not fit together"),
        ({"column": torch.zeros(2, 4).half()}, "do not fit together"),
        ({"column": None}, 'do not both hold "column"'),
        ({"extra": torch.zeros(1)}, 'do not both hold "extra"'),
    ],
)
def test_shards_that_disagree_are_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    shards(tmp_path, 3, **changes)
    with pytest.raises(CheckpointError, match=words):
        dict(read_consolidated(tmp_path, cut))


def test_a_shard_that_is_missing_or_a_link_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(CheckpointError, match=r"consolidated\.00\.pth.*none"):
        read_consolidated(tmp_path / "model", cut)
    shards(tmp_path / "model")
    (tmp_path / "model" / "consolidated.01.pth").rename(tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match="without a gap"):
        read_consolidated(tmp_path / "model", cut)
    (tmp_path / "model" / "consolidated.01.pth").symlink_to(tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match="link out of its folder"):
        read_consolidated(tmp_path / "model", cut)


@pytest.mark.parametrize("count", [1, 2])
def test_a_language_model_as_meta_publishes_it(count: int, tmp_path: Path) -> None:
    model = decoder(tied=False, heads=4, kv_heads=2)
    params, packed = packed_for_meta(model.config, model.state_dict())
    whole = {name: packed[name].clone() for name in packed}
    for i in range(count):
        cut = {
            n: t if (dim := merge_dim(n)) is None else t.chunk(count, dim)[i].clone()
            for n, t in whole.items()
        }
        torch.save(cut, tmp_path / f"consolidated.{i:02}.pth")
    (tmp_path / "params.json").write_text(json.dumps(params))
    opened = open_published(tmp_path)
    assert opened.config == model.config
    assert equal(dict(opened.tensors), model.state_dict())


# ---- poisoned pickles --------------------------------------------------------------------------

CANARY = "/canary-of-the-test"  # replaced by a path in the test's folder
SYSTEM = named("os.system") + many(text(f"touch {CANARY}")) + b"R"
EVAL = named("builtins.eval") + many(text(f"__import__('os').mkdir({CANARY!r})")) + b"R"
BOMB = b"\x80\x02)" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(99))
POISON = {
    "os.system as an entry": (whole(SYSTEM), "asks for .os.system"),
    "posix.system": (whole(SYSTEM.replace(b"cos\n", b"cposix\n")), "asks for .posix.system"),
    "eval": (whole(EVAL), "asks for .builtins.eval"),
    "exec": (whole(EVAL.replace(b"eval", b"exec")), "asks for .builtins.exec"),
    "before the dict": (b"\x80\x02" + SYSTEM + b"0}.", "asks for"),
    "as a key": (table(SYSTEM, tensor()), "asks for"),
    "as hooks": (whole(tensor(hooks=SYSTEM)), "asks for"),
    "as a storage": (whole(tensor(stored=SYSTEM)), "asks for"),
    "as a size": (whole(tensor(shape=many(SYSTEM, number(3)))), "asks for"),
    "a reduce within a reduce": (
        whole(named("collections.OrderedDict") + many(many(text("b"), SYSTEM)) + b"R"),
        "asks for",
    ),
    "OrderedDict with arguments": (
        whole(named("collections.OrderedDict") + many(many()) + b"R"),
        "calls .collections.OrderedDict. in an unknown way",
    ),
    "a storage class that is called": (
        whole(named("torch.FloatStorage") + many(number(1 << 40)) + b"R"),
        "calls .torch.FloatStorage",
    ),
    "getattr": (whole(named("builtins.getattr")), "asks for .builtins.getattr"),
    "torch.load": (whole(named("torch.serialization.load")), "torch.serialization.load"),
    "a name with dots, protocol 4": (
        b"\x80\x04}(" + text("a") + text("torch") + text("os.system") + b"\x93u.",
        "asks for .torch.os.system",
    ),
    "names that are numbers": (b"\x80\x04}(" + text("a") + number(1) + text("x") + b"\x93u.", "in place"),
    "INST": (b"\x80\x02(" + text("x") + b"ios\nsystem\n.", "instruction INST"),
    "OBJ": (b"\x80\x02(" + named("collections.OrderedDict") + b"o.", "instruction OBJ"),
    "NEWOBJ": (b"\x80\x02" + named("collections.OrderedDict") + b")\x81.", "instruction NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\x04" + HOOKS + b")}\x92.", "instruction NEWOBJ_EX"),
    "EXT1": (b"\x80\x02\x82\x01.", "instruction EXT1"),
    "EXT2": (b"\x80\x02\x83\x01\x00.", "instruction EXT2"),
    "EXT4": (b"\x80\x02\x84\x01\x00\x00\x00.", "instruction EXT4"),
    "PERSID of protocol 0": (b"Pstorage\n.", "instruction PERSID"),
    "BUILD with a state": (whole(HOOKS + b"}" + text("__class__") + b"Nsb"), "sets attributes"),
    "BUILD on a tensor": (whole(tensor() + b"}" + text("_metadata") + b"Nsb"), "in place of a dict"),
    "BUILD with slots": (whole(HOOKS + b"}" + b"}" + b"\x86b"), "in place of a dict"),
    "a list": (b"\x80\x02]" + number(1) + b"a.", "instruction EMPTY_LIST"),
    "bytes of 2^62": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.", "bytes"),
    "text of 4 GB": (b"\x80\x02X\xff\xff\xff\xff" + b"x.", "bytes"),
    "a number of 2^31 digits": (b"\x80\x02\x8b\xff\xff\xff\x7f" + b"x.", "not enough data"),
    "a memo bomb": (BOMB + b".", "dict of tensors"),
    "a memo bomb as a shape": (whole(tensor(shape=BOMB[2:])), "whole number|shape"),
    "a memo place that was never filled": (b"\x80\x02h\x07.", "recalls"),
    "an empty stack": (b"\x80\x02R.", "takes what is not there"),
    "a mark that is missing": (b"\x80\x02t.", "takes what is not there"),
    "below a mark": (b"\x80\x02}(" + b"R.", "takes what is not there"),
    "a dict within itself": (
        b"\x80\x02}q\x00(" + text("a") + b"h\x00u.", "'a' is a dict, not a tensor"),
    "no end": (b"\x80\x02}", "exhausted|no end"),
    "more behind the end": (whole(tensor()) + b"cos\nsystem\n.", "behind its end"),
    "two values": (b"\x80\x02}}.", "behind its end"),
    "protocol 0": (b"(dp0\n.", "instruction DICT"),
    "protocol 99": (b"\x80\x63}.", "protocol 99"),
    "an unknown instruction": (b"\x80\x02\xff.", "opcode"),
    "not a dict": (b"\x80\x02" + tensor() + b".", "dict of tensors"),
    "an empty dict": (b"\x80\x02}.", "dict of tensors"),
    "a key twice": (table(text("a"), tensor(), text("a"), tensor()), "key twice"),
    "a number as a key": (table(number(1), tensor()), "no text"),
    "a number as a value": (whole(number(1)), "'a' is a int, not a tensor"),
    "a name that hides": (table(text("a\x1b[2J"), tensor()), "unprintable"),
    "half a character as a name": (table(b"X\x03\0\0\0\xed\xa0\x80", tensor()), "unprintable"),
    "a persistent id of text": (whole(text("0") + b"Q"), "in place of a tuple"),
    "a persistent id of another kind": (whole(many(text("module"), text("0")) + b"Q"), "no storage"),
    "a storage of a hidden kind": (
        whole(tensor(stored=storage(kind="collections.OrderedDict"))), "no storage"),
    "a storage of 2^70": (whole(tensor(stored=storage(count=1 << 70))), "whole number"),
    "a storage of -1": (whole(tensor(stored=storage(count=-1))), "whole number"),
    "a storage of true": (
        whole(tensor(stored=storage().replace(number(6), b"\x88"))), "whole number"),
    "a storage that lies": (whole(tensor(stored=storage(count=1 << 40))), "another length"),
    "a storage elsewhere": (whole(tensor(stored=storage("../data.pkl"))), "missing"),
    "an absent storage": (whole(tensor(stored=storage("7"))), "missing"),
    "an offset beyond": (whole(tensor(offset=1)), "beyond its numbers"),
    "an offset below": (whole(tensor(offset=-4)), "whole number"),
    "a stride beyond": (whole(tensor(stride=sizes(4, 1))), "beyond its numbers"),
    "a stride below": (whole(tensor(stride=sizes(-3, 1))), "whole number"),
    "a shape of 2^61": (whole(tensor(shape=sizes(1 << 61, 4))), "beyond its numbers"),
    "four bytes as 4 TB": (
        whole(tensor(shape=sizes(1 << 40, 1), stride=sizes(0, 1))), "beyond its numbers"),
    "more strides than sizes": (whole(tensor(stride=sizes(3, 1, 1))), "do not agree"),
    "too many dimensions": (
        whole(tensor(shape=sizes(*[1] * 9), stride=sizes(*[1] * 9))), "do not agree"),
    "hooks": (whole(tensor(hooks=b"}" + text("a") + b"Ns")), "unknown way"),
}  # fmt: skip


def test_the_poison_is_real(tmp_path: Path) -> None:
    """The same bytes run when they are unpickled; else nothing is shown below."""
    canary = str(tmp_path / "ran")
    for name in ("os.system as an entry", "eval", "as hooks"):
        data = POISON[name][0]
        call = SYSTEM if SYSTEM in data else EVAL
        pickle.loads(swapped(b"\x80\x02" + call + b".", canary))
        assert os.path.exists(canary)
        os.unlink(canary) if call is SYSTEM else os.rmdir(canary)


def swapped(data: bytes, canary: str) -> bytes:
    """Put a real path into the calls, with the lengths of their texts."""
    for call in (f"touch {CANARY}", f"__import__('os').mkdir({CANARY!r})"):
        data = data.replace(text(call), text(call.replace(CANARY, canary)))
    return data


@pytest.mark.parametrize("case", POISON)
def test_a_poisoned_pickle_is_one_error_and_runs_nothing(case: str, tmp_path: Path) -> None:
    data, words = POISON[case]
    path = torch_zip(tmp_path / "bad.pth", swapped(data, str(tmp_path / "ran")))
    with pytest.raises(ValueError, match=words):
        index(path)
    assert not (tmp_path / "ran").exists()


def test_the_child_tells_the_same_as_one_sentence(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "bad.pth", swapped(whole(SYSTEM), str(tmp_path / "ran")))
    with pytest.raises(CheckpointError) as caught:
        read_pth(path)
    told = str(caught.value)
    assert str(path) in told and '"os.system"' in told and "nothing was run" in told
    assert not (tmp_path / "ran").exists()


# ---- damaged zips ------------------------------------------------------------------------------

SOUND = {"toy/data.pkl": whole(tensor()), "toy/byteorder": b"little", "toy/data/0": bytes(24)}


def changed(data: bytes, mark: bytes, at: int, value: bytes, which: int = 0) -> bytes:
    """Overwrite bytes of the zip record that begins with `mark`."""
    place = -1
    for _ in range(which + 1):
        place = data.index(mark, place + 1)
    return data[: place + at] + value + data[place + at + len(value) :]


ENTRY, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"
HUGE = struct.pack("<L", 0xFFFFFFF0)
ZIPS = {
    "compressed": lambda d: changed(d, ENTRY, 10, b"\x08"),
    "encrypted": lambda d: changed(d, ENTRY, 8, b"\x01"),
    "a size beyond the file": lambda d: changed(changed(d, ENTRY, 20, HUGE), ENTRY, 24, HUGE),
    "two sizes": lambda d: changed(d, ENTRY, 24, b"\x01"),
    "64-bit sizes that are absent": lambda d: changed(d, ENTRY, 24, b"\xff" * 4),
    "a place beyond the file": lambda d: changed(d, ENTRY, 42, HUGE),
    "a place within another entry": lambda d: changed(d, ENTRY, 42, b"\x05\0\0\0", 1),
    "another name at the place": lambda d: changed(d, LOCAL, 30, b"x"),
    "no head at the place": lambda d: changed(d, LOCAL, 0, b"xx", 1),
    "a long name at the place": lambda d: changed(d, LOCAL, 26, b"\xff\xff", 1),
    "a directory beyond the file": lambda d: changed(d, END, 16, HUGE),
    "a directory of 4 GB": lambda d: changed(d, END, 12, HUGE),
    "65,000 entries": lambda d: changed(d, END, 8, struct.pack("<2H", 65000, 65000)),
    "too few entries": lambda d: changed(d, END, 8, struct.pack("<2H", 1, 1)),
    "a comment": lambda d: d + b"x",
    "cut at the end": lambda d: d[:-1],
    "cut in the middle": lambda d: d[: len(d) // 2],
    "its beginning gone": lambda d: d[10:],
    "a name that is no text": lambda d: changed(d, ENTRY, 46, b"\xff"),
    "empty": lambda d: b"",
    "an old file of torch": lambda d: pickle.dumps(0x1950A86A20F9469CFC6C) + whole(tensor()),
    "a tar": lambda d: b"sys_info" + bytes(600),
    "big-endian": lambda d: d.replace(b"little", b"big   "),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIPS)
def test_a_damaged_zip_is_one_kind_of_error(case: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bad.pth", SOUND)
    assert len(index(path)) == 1
    data = path.read_bytes()
    path.write_bytes(ZIPS[case](data))
    assert path.read_bytes() != data
    with pytest.raises(ValueError):
        index(path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"toy/data/0": bytes(24)}, "one data.pkl"),
        ({**SOUND, "other/data.pkl": b"."}, "one data.pkl"),
        ({**SOUND, "toy/data/0": bytes(23)}, "another length"),
        ({**SOUND, "toy/data/0": bytes(25)}, "another length"),
        ({"toy/data.pkl": SOUND["toy/data.pkl"]}, "missing"),
        ({**SOUND, "toy/data.pkl": b""}, "no end|exhausted"),
    ],
)
def test_a_zip_of_another_content_is_refused(
    entries: dict[str, bytes], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        index(write_zip(tmp_path / "bad.pth", entries))


def test_an_entry_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bad.pth", {**SOUND, "toy/data/1": bytes(24)})
    path.write_bytes(path.read_bytes().replace(b"toy/data/1", b"toy/data/0"))
    with pytest.raises(ValueError, match="stands twice"):
        index(path)


def test_a_deflated_file_is_refused_whatever_it_would_become(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("toy/data.pkl", whole(tensor()))
        opened.writestr("toy/data/0", bytes(50 << 20))
    with pytest.raises(CheckpointError, match="compressed"):
        read_pth(tmp_path / "bomb.pth")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        read_pth(tmp_path / "gone.pth")


def test_two_thousand_mutants_load_or_are_refused(tmp_path: Path) -> None:
    torch.save(decoder(depth=1).state_dict(), tmp_path / "a.pth")
    source = (tmp_path / "a.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth") as opened:
        pickled = opened.getinfo("a/data.pkl")
    ends = (pickled.header_offset, pickled.header_offset + 60 + pickled.file_size)
    draw = random.Random(13)
    refused, path = 0, tmp_path / "mutant.pth"
    for _ in range(2000):
        data = bytearray(source)
        for _ in range(draw.randint(1, 3)):
            at = (
                draw.randrange(*ends)
                if draw.random() < 0.6
                else draw.randrange(len(data) - 2400, len(data))
            )
            data[at : at + draw.randint(1, 4)] = draw.randbytes(draw.choice((1, 2, 4, 4, 0)))
        path.write_bytes(data)
        try:
            for line in index(path):
                pth_index.checked(line, len(data))
        except ValueError:
            refused += 1
    assert refused > 1200, refused


# ---- the child ---------------------------------------------------------------------------------


def test_a_pickle_that_never_ends_costs_the_child_only(tmp_path: Path, monkeypatch: Any) -> None:
    path = torch_zip(tmp_path / "long.pth", b"\x80\x02" + b")" * (20 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(pth, "_SECONDS", 1.0)
    with pytest.raises(CheckpointError, match=r"instructions|longer than|memory|stopped"):
        read_pth(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_pickle_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "long.pth", b"")
    write_zip(path, {**SOUND, "toy/data.pkl": bytes(pth_index.PICKLE_BYTES + 1)})
    with pytest.raises(CheckpointError, match="longer than 32 MB"):
        read_pth(path)


ESCAPES = """
import os, json
from chiasm.checkpoint import pth_index
found = {}
def attempt(name, what):
    try:
        what()
        found[name] = True
    except OSError:
        found[name] = False
def answer(header, body):
    import socket, subprocess
    pth_index._give_up()
    attempt("open", lambda: os.open(header["path"], os.O_RDONLY))
    attempt("write", lambda: os.open(header["path"] + "x", os.O_WRONLY | os.O_CREAT))
    attempt("connect", lambda: socket.socket())
    attempt("run", lambda: subprocess.Popen(["true"]))
    return found, b""
"""


def test_the_child_can_open_and_start_nothing(tmp_path: Path) -> None:
    """Code that runs in the child after all, as if the machine had a hole."""
    (tmp_path / "escape.py").write_text(ESCAPES)
    script = (
        "import sys, json; from chiasm.base.worker import Worker\n"
        "import os; os.environ['PYTHONPATH'] = sys.argv[1] + os.pathsep + os.environ.get('PYTHONPATH', '')\n"
        "worker = Worker('escape', 1 << 28)\n"
        "print(json.dumps(worker.ask({'path': sys.argv[2]}, b'', 30.0, 1 << 20)[0])); worker.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "escape.py")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == '{"open": false, "write": false, "connect": false, "run": false}'
    assert not (tmp_path / "escape.pyx").exists()


@pytest.mark.parametrize(
    "line",
    [
        ["a", "F32", [2, 3], [3, 1], 0, 0, 1 << 50],
        ["a", "F32", [2, 3], [3, 1], 0, -4, 6],
        ["a", "F99", [2, 3], [3, 1], 0, 0, 6],
        ["a", "F32", [2, 3], [3], 0, 0, 6],
        ["a", "F32", [2, 3], [3, 1], 0.5, 0, 6],
        ["a", "F32", 6, [1], 0, 0, 6],
        ["a", "F32"],
        7,
        {"a": 1},
    ],
)
def test_a_child_that_lies_is_not_believed(line: Any, tmp_path: Path, monkeypatch: Any) -> None:
    path = write_zip(tmp_path / "a.pth", SOUND)

    def ask(*_: Any) -> Any:
        return {"size": 1}, json.dumps([line]).encode()

    monkeypatch.setattr(Worker, "ask", ask)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pth(path)
