"""Torch files written by hand: pickles opcode by opcode, zips byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def many(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def storage(key: str = "0", count: int = 6, kind: str = "torch.FloatStorage") -> bytes:
    return many(text("storage"), named(kind), text(key), text("cpu"), number(count)) + b"Q"


def sizes(*values: int) -> bytes:
    return many(*map(number, values))


HOOKS = named("collections.OrderedDict") + b")R"


def tensor(
    stored: bytes | None = None,
    offset: int = 0,
    shape: bytes | None = None,
    stride: bytes | None = None,
    hooks: bytes = HOOKS,
) -> bytes:
    """A call of _rebuild_tensor_v2; sound when nothing is said."""
    parts = (
        storage() if stored is None else stored,
        number(offset),
        sizes(2, 3) if shape is None else shape,
        sizes(3, 1) if stride is None else stride,
        b"\x89",
        hooks,
    )
    return named("torch._utils._rebuild_tensor_v2") + many(*parts) + b"R"


def table(*pairs: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(pairs) + b"u."


def whole(value: bytes) -> bytes:
    """A pickle of a dict with one entry."""
    return table(text("a"), value)


def torch_zip(path: Path, pickled: bytes, data: bytes = bytes(24), **extra: bytes) -> Path:
    """Write what torch.save would: data.pkl, the byte order and one storage."""
    entries = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n", "data/0": data}
    entries |= {name.replace("__", "/"): value for name, value in extra.items()}
    return write_zip(path, {f"toy/{name}": value for name, value in entries.items()})


def write_zip(
    path: Path, entries: Mapping[str, bytes], method: int = 0, flags: int = 0x800
) -> Path:
    body, heads = b"", b""
    for name, data in entries.items():
        common = struct.pack(
            "<5H3L2H", 20, flags, method, 0, 0, zlib.crc32(data), len(data), len(data), len(name), 0
        )
        heads += (
            b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, len(body))
        )
        heads += name.encode()
        body += b"PK\3\4" + common + name.encode() + data
    end = struct.pack("<4H2LH", 0, 0, len(entries), len(entries), len(heads), len(body), 0)
    path.write_bytes(body + heads + b"PK\5\6" + end)
    return path


def shown(value: str) -> str:
    """A text as it can stand in a failure's message."""
    return value.encode("unicode_escape").decode()[:200]
