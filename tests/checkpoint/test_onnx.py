"""ONNX: nodes and tensors from a hand-made file, quantised layers undone, damage told."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
from tests.checkpoint.toys import (
    field,
    onnx_model,
    onnx_node,
    onnx_tensor,
    quantised_linear,
    varint,
)

from chiasm.checkpoint import onnx
from chiasm.checkpoint.onnx import Graph, Node, dequantised, read_onnx
from chiasm.checkpoint.weights import CheckpointError


def written(folder: Path, data: bytes) -> Path:
    path = folder / "toy.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("typed", [True, False])
def test_nodes_and_tensors_come_out_as_they_went_in(typed: bool, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    tensors = {
        "f": draw.standard_normal((2, 3)).astype(np.float32),
        "i": np.array([-128, -1, 0, 127], np.int8),
        "u": np.array([0, 255], np.uint8),
        "none": np.empty((0, 4), np.float32),
        "one": np.array(3.5, np.float32),
    }
    model = onnx_model(
        [onnx_node("Add", ["f", "x"], ["y"])],
        [onnx_tensor(name, value, typed) for name, value in tensors.items()],
    )
    graph = read_onnx(written(tmp_path, model))
    assert graph.nodes == (Node("Add", ("f", "x"), ("y",)),)
    assert graph.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert graph.tensors[name].dtype == value.dtype
        assert (
            np.array_equal(graph.tensors[name], value) and graph.tensors[name].shape == value.shape
        )


@pytest.mark.parametrize("typed", [True, False])
def test_a_quantised_layer_gets_its_values_and_its_name_back(typed: bool, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    first, second = (draw.standard_normal((4, 6)).astype(np.float32) for _ in range(2))
    bias = draw.standard_normal(4).astype(np.float32)
    one, stored_one, value_one = quantised_linear("layer.0.fc", first, bias=True, typed=typed)
    two, stored_two, value_two = quantised_linear("last", second, bias=False, typed=typed)
    stored = [onnx_tensor("layer.0.fc.bias", bias), *stored_one, *stored_two]
    found = dequantised(
        read_onnx(written(tmp_path, onnx_model(one + two, stored))), "projection.weight"
    )
    assert found.keys() == {"layer.0.fc.weight", "layer.0.fc.bias", "projection.weight"}
    assert np.array_equal(found["layer.0.fc.weight"], value_one)
    assert np.array_equal(found["projection.weight"], value_two)
    assert np.abs(found["layer.0.fc.weight"] - first).max() < 0.02
    assert np.array_equal(found["layer.0.fc.bias"], bias)


def test_zero_points_are_taken_off() -> None:
    tensors = {
        "q": np.array([[1, 2], [3, 4]], np.int8),
        "zero": np.array([1, -2], np.int8),
        "scale": np.array([0.5, 2.0], np.float32),
    }
    nodes = (
        Node("Mul", ("x_scale", "scale"), ("scales",)),
        Node("MatMulInteger", ("x", "q", "x_zero", "zero"), ("i",)),
        Node("Cast", ("i",), ("c",)),
        Node("Mul", ("c", "scales"), ("y",)),
    )
    found = dequantised(Graph(nodes, tensors), "w")
    assert found["w"].tolist() == [[0.0, 1.0], [8.0, 12.0]]


def test_an_unexpected_graph_is_told() -> None:
    node = Node("MatMulInteger", ("x", "q", "x_zero", "zero"), ("i",))
    with pytest.raises(CheckpointError, match="not quantised as expected"):
        dequantised(Graph((node,), {}), "w")


TENSOR = onnx_tensor("t", np.zeros(3, np.float32))
LIES = {
    "no graph": (field(1, 7), "0 graphs"),
    "cut": (onnx_model([], [TENSOR])[:-5], "longer than what holds it"),
    "wire type 3": (bytes([7 << 3 | 3, 0]), "not the beginning of a field"),
    "endless number": (b"\xff" * 20, "longer than 64 bits"),
    "tensor twice": (onnx_model([], [TENSOR, TENSOR]), "twice"),
    "unknown type": (onnx_model([], [field(2, 16) + field(8, "t")]), "type 16"),
    "shape lies": (onnx_model([], [field(1, 4) + TENSOR]), "has 3 values"),
    "negative shape": (onnx_model([], [field(1, -3) + field(2, 1) + field(8, "t")]), "shape"),
    "huge shape": (onnx_model([], [field(1, 1 << 62) * 2 + field(2, 1) + field(8, "t")]), "values"),
    "nine dimensions": (onnx_model([], [field(1, 1) * 9 + field(2, 1)]), "shape"),
    "int8 of 300": (
        onnx_model([], [field(1, 1) + field(2, 3) + field(5, varint(300))]),
        "too large for its type",
    ),
    "external": (onnx_model([], [field(2, 1) + field(14, 1)]), "in other files"),
    "number for a message": (field(7, 5), "expected"),
    "name that is no text": (onnx_model([], [field(2, 1) + field(8, b"\xff\xfe")]), "utf-8"),
    "not whole numbers": (onnx_model([], [field(2, 1) + field(9, b"abc")]), "buffer size"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_lie_is_told(case: str, tmp_path: Path) -> None:
    data, words = LIES[case]
    with pytest.raises(CheckpointError, match=words):
        read_onnx(written(tmp_path, data))


def test_too_many_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "VARINTS", 100)
    data = onnx_model([], [field(1, 200) + field(2, 3) + field(5, bytes(200))])
    with pytest.raises(CheckpointError, match="more than 100 numbers"):
        read_onnx(written(tmp_path, data))


def test_damage_gives_one_kind_of_error(tmp_path: Path) -> None:
    nodes, stored, _ = quantised_linear("fc", np.ones((4, 6), np.float32), bias=True)
    source = onnx_model(nodes, [onnx_tensor("fc.bias", np.ones(4, np.float32)), *stored])
    draw, refused = random.Random(3), 0
    for _ in range(1500):
        data = bytearray(source)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(1, 4)] = draw.randbytes(draw.randint(0, 4))
        began = time.monotonic()
        try:
            dequantised(read_onnx(written(tmp_path, bytes(data))), "w")
        except CheckpointError:
            refused += 1
        assert time.monotonic() - began < 2
    assert refused > 500
