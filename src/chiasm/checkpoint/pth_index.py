"""What a torch file says about its tensors, found out without running anything that it asks for.

    zip directory ─┐
    data.pkl ──────┴─ a machine of 25 instructions ──▶ [[name, type, shape, stride, ...], ...] as JSON

A pickle is a program. This machine knows the few instructions and names by which `torch.save` writes
a state dict, makes plain records of them and refuses all others; it calls nothing. It is run in a
child process with little memory that can open no file, all the same (`answer`, called by
base/worker.py). Imports neither torch nor anything that does. Source: torch/serialization.py,
torch/_utils.py and CPython's pickletools.
"""

from __future__ import annotations

import json
import os
import pickletools
import resource
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from chiasm.checkpoint.archive import Place, directory

PICKLE_BYTES = 32 << 20
"""Longest pickle; a state dict takes some 200 bytes a tensor."""
STEPS = 4_000_000
"""Most instructions; a state dict takes some 30 a tensor."""
TENSORS = 200_000
NAME_LENGTH = 1024
DIMENSIONS = 8
CPU_SECONDS = 50

ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1},
}
"""Bytes of one number, by the safetensors format's names."""
_STORAGES = {
    "torch DoubleStorage": "F64",
    "torch FloatStorage": "F32",
    "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16",
    "torch LongStorage": "I64",
    "torch IntStorage": "I32",
    "torch ShortStorage": "I16",
    "torch CharStorage": "I8",
    "torch ByteStorage": "U8",
    "torch BoolStorage": "BOOL",
}
_ORDERED, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_NAMES = {_ORDERED, _TENSOR, _PARAMETER, *_STORAGES}


class _Name(NamedTuple):
    """A name that the pickle asked for; never looked up."""

    text: str


class _Storage(NamedTuple):
    kind: str
    key: str
    numbers: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Machine:
    """A stack, its marks and a memo. Values are only ever asked for their exact type."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        steps = 0
        for code, argument, at in pickletools.genops(data):
            if (steps := steps + 1) > STEPS:
                raise ValueError(f"its pickle has more than {STEPS:,} instructions")
            if code.name == "STOP":
                if at != len(data) - 1 or len(self.stack) != 1 or self.marks:
                    raise ValueError("its pickle goes on behind its end")
                return self.stack.pop()
            if (step := _STEPS.get(code.name)) is None:
                raise ValueError(
                    f"its pickle uses the instruction {code.name}, which no tensor needs"
                )
            step(self, argument)
        raise ValueError("its pickle has no end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, kind: type | None = None) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle takes what is not there")
        value = self.stack.pop()
        if kind is not None and type(value) is not kind:
            raise ValueError(
                f"its pickle has a {type(value).__name__} in place of a {kind.__name__}"
            )
        return value

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("its pickle takes what is not there")
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def put(self, place: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[place] = value

    def get(self, place: int) -> None:
        if place not in self.memo:
            raise ValueError("its pickle recalls what it never kept")
        self.push(self.memo[place])

    def set_items(self, pairs: list[Any]) -> None:
        table = self.pop(dict)
        if len(pairs) % 2:
            raise ValueError("its pickle has a key without a value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) is not str or key in table:
                raise ValueError("its pickle has a key twice, or one that is no text")
            table[key] = value
        self.push(table)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def name(self, text: str) -> None:
        if text not in _NAMES:
            raise ValueError(
                f'its pickle asks for "{text.replace(" ", ".")[:120]}", which no tensor needs; '
                "nothing was run"
            )
        self.push(_Name(text))

    def name_on_stack(self) -> None:
        last, module = self.pop(str), self.pop(str)
        self.name(f"{module} {last}")

    def persistent(self) -> None:
        match self.pop(tuple):
            case ("storage", _Name(kind), str(key), str(), int(count)) if kind in _STORAGES:
                self.push(_Storage(_STORAGES[kind], key, _whole(count)))
            case _:
                raise ValueError("its pickle refers to something that is no storage")

    def call(self) -> None:
        arguments, called = self.pop(tuple), self.pop(_Name)
        match called.text, arguments:
            case "collections OrderedDict", ():
                self.push({})
            case "torch._utils _rebuild_tensor_v2", (
                _Storage() as storage,
                offset,
                tuple(shape),
                tuple(stride),
                bool(),
                hooks,
                *more,
            ) if _is_empty(hooks) and more in ([], [None]):
                self.push(_tensor(storage, offset, shape, stride))
            case "torch._utils _rebuild_parameter", (_Tensor() as tensor, bool(), hooks) if (
                _is_empty(hooks)
            ):
                self.push(tensor)
            case _:
                raise ValueError(
                    f'its pickle calls "{called.text.replace(" ", ".")}" in an unknown way'
                )

    def build(self) -> None:
        """`state_dict()` notes versions of modules; they say nothing about tensors."""
        state = self.pop(dict)
        if list(state) != ["_metadata"]:
            raise ValueError("its pickle sets attributes of an object")
        self.push(self.pop(dict))


def _is_empty(hooks: Any) -> bool:
    return type(hooks) is dict and not hooks


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError("its pickle has a size or a place that is no whole number")
    return value


def _tensor(storage: _Storage, offset: Any, shape: Any, stride: Any) -> _Tensor:
    if len(shape) != len(stride) or len(shape) > DIMENSIONS:
        raise ValueError("its pickle has a tensor whose shape and strides do not agree")
    return _Tensor(storage, _whole(offset), tuple(map(_whole, shape)), tuple(map(_whole, stride)))


_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, version: _protocol(version),
    "FRAME": lambda m, _: None,
    "MARK": _Machine.mark,
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"),
        lambda m, value: m.push(value),
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda m, _: m.name_on_stack(),
    "BINPERSID": lambda m, _: m.persistent(),
    "REDUCE": lambda m, _: m.call(),
    "BUILD": lambda m, _: m.build(),
    "SETITEM": lambda m, _: m.set_item(),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
}


def _protocol(version: int) -> None:
    if not 2 <= version <= 5:
        raise ValueError(f"its pickle is of protocol {version}")


# ---- from the pickle's records to places in the file ---------------------------------------------


def read_index(fd: int, size: int) -> list[list[Any]]:
    """Return [name, type, shape, stride, offset, start, count] of a torch file's tensors.

    `start` is the byte at which the storage of `count` numbers begins, `offset` the tensor's first
    number in it, strides count numbers, too. Raises ValueError with the reason.
    """
    places = directory(fd, size)
    pickles = [name for name in places if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError("it does not hold one data.pkl, as torch's files do")
    home = pickles[0].removesuffix("data.pkl")
    if places[pickles[0]].length > PICKLE_BYTES:
        raise ValueError(f"its pickle is longer than {PICKLE_BYTES >> 20} MB")
    order = places.get(f"{home}byteorder")
    if order is not None and (order.length != 6 or os.pread(fd, 6, order.start) != b"little"):
        raise ValueError("its numbers are not little-endian")
    content = _Machine().run(os.pread(fd, places[pickles[0]].length, places[pickles[0]].start))
    if type(content) is not dict or not content or len(content) > TENSORS:
        raise ValueError("it does not hold a dict of tensors")
    return [_line(name, value, places, home) for name, value in content.items()]


def _line(name: str, value: Any, places: Mapping[str, Place], home: str) -> list[Any]:
    if type(value) is not _Tensor:
        raise ValueError(f"its {name[:120]!r} is a {type(value).__name__}, not a tensor")
    storage = value.storage
    place = places.get(f"{home}data/{storage.key}")
    if place is None or place.length != storage.numbers * ITEM_BYTES[storage.kind]:
        raise ValueError(f"the numbers of its {name[:120]!r} are missing or of another length")
    line = [
        name,
        storage.kind,
        value.shape,
        value.stride,
        value.offset,
        place.start,
        storage.numbers,
    ]
    return checked(line, place.start + place.length)


def checked(line: list[Any], size: int) -> list[Any]:
    """Return a tensor's line if it is sound in a file of `size` bytes, else raise ValueError.

    The parent asks again, because what it gets comes from a process that read a hostile file.
    """
    name, kind, shape, stride, offset, start, count = line
    if type(name) is not str or not name.isprintable() or not 0 < len(name) <= NAME_LENGTH:
        raise ValueError("it has a tensor with an unprintable or too long name")
    if type(kind) is not str or kind not in ITEM_BYTES:
        raise ValueError(f"its {name!r} is of no known type")
    for number in (*shape, *stride, offset, start, count):
        _whole(number)
    if len(shape) != len(stride) or len(shape) > DIMENSIONS:
        raise ValueError(f"the shape of its {name!r} is odd")
    # Not more values than the storage holds: an expanded tensor of a few bytes could be of any size.
    reach = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) + 1
    if prod(shape) > count or (prod(shape) and reach > count):
        raise ValueError(f"its {name!r} of shape {list(shape)} reaches beyond its numbers")
    if start + count * ITEM_BYTES[kind] > size:
        raise ValueError(f"its {name!r} lies outside the file")
    return line


def answer(header: dict[str, Any], body: memoryview) -> tuple[dict[str, Any], bytes]:
    """Run in the child: give up what is not needed, then read the index of header["path"]."""
    try:
        fd = os.open(header["path"], os.O_RDONLY)
        size = os.fstat(fd).st_size
        _give_up()
        lines = read_index(fd, size)
    except (ValueError, OSError) as error:
        return {"reason": str(error)}, b""
    except (MemoryError, RecursionError):
        return {"reason": "its index takes too much memory"}, b""
    return {"size": size}, json.dumps(lines).encode()


def _give_up() -> None:
    """No further file or connection, no further process, little time."""
    for what, most in (
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CPU, CPU_SECONDS),
    ):
        resource.setrlimit(what, (most, most))
