"""ONNX files: a minimal bounded reader of a graph's nodes and stored tensors."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiasm.checkpoint.weights import CheckpointError

NODES = 1 << 16
"""Most nodes, and most stored tensors, of a graph."""
DIMENSIONS = 8
"""Most dimensions of a stored tensor."""

VARINTS = 1 << 20
"""Most variable-length numbers that are read from a file; this bounds time and memory."""

# ONNX's number for a type -> numpy's name for it, and the field of such values outside raw_data.
_TYPES = {
    1: ("<f4", 4),
    2: ("u1", 5),
    3: ("i1", 5),
    6: ("<i4", 5),
    7: ("<i8", 7),
    10: ("<f2", 0),
    11: ("<f8", 10),
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_RAW, _LOCATION, _EXTERNAL = 9, 14, 1


@dataclass(frozen=True)
class Node:
    """One operation of the graph."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The operations, and the tensors stored with them."""

    nodes: tuple[Node, ...]
    tensors: dict[str, NDArray[Any]]


class _File:
    """The bytes, and how many more numbers may be read from them."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.left = VARINTS

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the variable-length number at a byte, and the byte after it."""
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it holds more than {VARINTS:,} numbers outside its tensors")
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError(f"a number at byte {at} is cut off")
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (1 << 64) - 1, at
        raise ValueError(f"a number at byte {at} is longer than 64 bits")


class _Message:
    """A protobuf message: a range of the file, read field by field."""

    def __init__(self, file: _File, start: int, end: int) -> None:
        self.file, self.start, self.end = file, start, end

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """Yield (field number, value); a value is an integer or a range."""
        at = self.start
        while at < self.end:
            tag, at = self.file.varint(at, self.end)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, at = self.file.varint(at, self.end)
                yield number, value
                continue
            if wire == _BYTES:
                length, at = self.file.varint(at, self.end)
            elif wire in (_FOUR, _EIGHT):
                length = 4 if wire == _FOUR else 8
            else:
                raise ValueError(f"byte {at} is not the beginning of a field")
            if length > self.end - at:
                raise ValueError(f"a field at byte {at} is longer than what holds it")
            yield number, _Message(self.file, at, at + length)
            at += length

    def varints(self) -> list[int]:
        """Return a packed list of signed integers."""
        at, values = self.start, []
        while at < self.end:
            value, at = self.file.varint(at, self.end)
            values.append(_signed(value))
        return values

    def bytes(self) -> bytes:
        return self.file.data[self.start : self.end]

    def text(self) -> str:
        return self.bytes().decode()


def read_onnx(path: Path | str) -> Graph:
    """Read nodes and stored tensors of an ONNX file; any damage is a CheckpointError.

    Tensors kept in other files (external data) are refused.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _graph(_Message(_File(data), 0, len(data)))
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a sound ONNX file: {error}.") from None


def dequantised(graph: Graph, unbiased: str) -> dict[str, NDArray[np.float32]]:
    """Return the float32 weights of a dynamically quantised network; matrices are [out, in].

    A quantised matrix has lost its name; it is found by the bias that its product goes to
    (MatMulInteger -> Cast -> Mul -> Add). The one without a bias is called `unbiased`. The value of
    an integer is (q - zero point) * scale, both per output column (onnxruntime's quantisation).
    """
    after = {name: node for node in graph.nodes for name in node.inputs}
    before = {name: node for node in graph.nodes for name in node.outputs}
    weights: dict[str, NDArray[np.float32]] = {}
    spent: set[str] = set()
    for node in graph.nodes:
        if node.op != "MatMulInteger":
            continue
        try:
            scaled = after[after[node.outputs[0]].outputs[0]]
            (factor,) = set(scaled.inputs) - set(after[node.outputs[0]].outputs)
            (scale,) = graph.tensors.keys() & set(before[factor].inputs)
            added = after.get(scaled.outputs[0])
            biases = graph.tensors.keys() & set(added.inputs if added is not None else ())
            name = f"{biases.pop().removesuffix('.bias')}.weight" if biases else unbiased
            matrix, zero = graph.tensors[node.inputs[1]], graph.tensors[node.inputs[3]]
            floats = (matrix.astype(np.float32) - zero.astype(np.float32)) * graph.tensors[scale]
        except (KeyError, IndexError, ValueError) as error:
            raise CheckpointError(
                f"the graph is not quantised as expected near {node.outputs}: {error}."
            ) from None
        if name in weights:
            raise CheckpointError(f'the graph holds two matrices for "{name}".')
        weights[name] = np.ascontiguousarray(floats.T)
        spent |= {scale, *node.inputs}
    plain = graph.tensors.keys() - spent
    return weights | {
        name: graph.tensors[name]
        for name in sorted(plain)
        if graph.tensors[name].dtype == np.float32
    }


def _graph(model: _Message) -> Graph:
    graphs = [value for number, value in model.fields() if number == 7]
    if len(graphs) != 1:
        raise ValueError(f"it holds {len(graphs)} graphs")
    nodes: list[Node] = []
    tensors: dict[str, NDArray[Any]] = {}
    for number, value in _range(graphs[0]).fields():
        if number == 1:
            nodes.append(_node(_range(value)))
        elif number == 5:
            name, tensor = _tensor(_range(value))
            if name in tensors:
                raise ValueError(f'tensor "{name}" stands twice')
            tensors[name] = tensor
        if max(len(nodes), len(tensors)) > NODES:
            raise ValueError(f"more than {NODES:,} nodes or tensors")
    return Graph(tuple(nodes), tensors)


def _node(message: _Message) -> Node:
    inputs, outputs, op = [], [], ""
    for number, value in message.fields():
        if number == 1:
            inputs.append(_range(value).text())
        elif number == 2:
            outputs.append(_range(value).text())
        elif number == 4:
            op = _range(value).text()
    return Node(op, tuple(inputs), tuple(outputs))


def _tensor(message: _Message) -> tuple[str, NDArray[Any]]:
    shape: list[int] = []
    name, kind, values = "", 0, dict[int, _Message]()
    for number, value in message.fields():
        if number == 1:
            shape += [_signed(value)] if isinstance(value, int) else value.varints()
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = _range(value).text()
        elif number == _LOCATION and value == _EXTERNAL:
            raise ValueError("it keeps tensors in other files")
        elif isinstance(value, _Message):
            values[number] = value
    if kind not in _TYPES:
        raise ValueError(f'tensor "{name}" has type {kind}, which this reader does not know')
    if len(shape) > DIMENSIONS or min(shape, default=1) < 0:
        raise ValueError(f'tensor "{name}" has shape {shape[: DIMENSIONS + 1]}')
    form, field = _TYPES[kind]
    flat = _flat(np.dtype(form), values.get(_RAW), values.get(field))
    if len(flat) != prod(shape):
        raise ValueError(f'tensor "{name}" of shape {shape} has {len(flat)} values')
    return name, flat.reshape(shape)


def _flat(form: np.dtype[Any], raw: _Message | None, typed: _Message | None) -> NDArray[Any]:
    if raw is not None:
        return np.frombuffer(raw.bytes(), form)
    if typed is None:
        return np.empty(0, form)
    if form.kind == "f":
        return np.frombuffer(typed.bytes(), form)
    values = np.array(typed.varints(), np.int64)
    if not np.array_equal(values.astype(form), values):
        raise ValueError("a stored integer is too large for its type")
    return values.astype(form)


def _range(value: int | _Message) -> _Message:
    if isinstance(value, int):
        raise ValueError("a number stands where a message was expected")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
