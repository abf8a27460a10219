"""The name engine: both directions, numbers kept, nothing unknown, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiasm.checkpoint.changes import below, halves, spare_rows
from chiasm.checkpoint.names import NameTable, Placed
from chiasm.checkpoint.shards import write_tensors
from chiasm.checkpoint.weights import CheckpointError, read_tensors

TABLE = NameTable(
    {
        "layers.*.q.weight": "blocks.*.attn.q.weight",
        "a.*.b.*.w": "x.*.y.*.w",
        "embed": "embed.weight",
    },
    twins={"head.weight": "embed.weight"},
    left_out={"layers.*.inv_freq": "is computed"},
)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_there_and_back(first: int, second: int) -> None:
    for name in (f"layers.{first}.q.weight", f"a.{first}.b.{second}.w", "embed"):
        ours = TABLE.ours(name)
        assert ours is not None and TABLE.theirs(ours) == name
    assert TABLE.ours(f"a.{first}.b.{second}.w") == f"x.{first}.y.{second}.w"


@pytest.mark.parametrize(
    "name",
    [
        "layers.*.q.weight",
        "layers.01.q.weight",
        "layers.-1.q.weight",
        "layers.1x.q.weight",
        "embed.0",
    ],
)
def test_only_plain_numbers_stand_for_a_star(name: str) -> None:
    assert TABLE.ours(name) is None


def test_names_are_sorted_into_places_twins_and_left_out() -> None:
    found = TABLE.match(["layers.3.q.weight", "head.weight", "layers.3.inv_freq"], "file")
    assert found.places == {"blocks.3.attn.q.weight": "layers.3.q.weight"}
    assert found.twins == {"head.weight": "embed.weight"}
    assert found.left_out == {"layers.3.inv_freq": "is computed"}


def test_an_unknown_name_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(
        CheckpointError, match=r'file holds tensor "layers.3.k.weight".*layers\.\*\.q\.weight'
    ):
        TABLE.match(["layers.3.k.weight"], "file")
    with pytest.raises(CheckpointError, match='"u" and 1 more'):
        TABLE.match(["embed", "u", "v"], "file")


def test_two_names_for_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="two names to one place"):
        NameTable({"a": "x", "b": "x"})
    with pytest.raises(ValueError, match="twice"):
        NameTable({"a": "x"}, left_out={"a": "why"})
    with pytest.raises(ValueError, match="numbers of"):
        NameTable({"a.*": "x"})
    with pytest.raises(CheckpointError, match="for one place"):
        TABLE.match(["embed", "embed"], "file")


def test_a_prefix_stands_before_every_name() -> None:
    table = TABLE.prefixed("model.")
    assert table.ours("model.embed") == "embed.weight"
    assert table.theirs("embed.weight") == "model.embed"
    assert table.ours("embed") is None
    assert table.match(["model.head.weight"], "file").twins


def test_our_name_without_a_row_is_a_programmers_error() -> None:
    assert TABLE.rename(["blocks.7.attn.q.weight"]) == {
        "blocks.7.attn.q.weight": "layers.7.q.weight"
    }
    with pytest.raises(ValueError, match=r"blocks.7.attn.z"):
        TABLE.rename(["blocks.7.attn.z"])


def test_placed_tensors_are_read_when_asked_for_and_can_be_changed() -> None:
    stored = {"theirs": torch.arange(3.0), "more": torch.zeros(1)}
    placed = Placed(stored, {"ours": "theirs"}, lambda name, tensor: tensor * 2)
    assert list(placed) == ["ours"] and len(placed) == 1
    stored["theirs"] = torch.ones(3)
    assert torch.equal(placed["ours"], torch.full((3,), 2.0))


FUSED = NameTable(
    {
        "layers.*.qkv": "blocks.*.q + blocks.*.k + blocks.*.v",
        "cls_token": "eyes.cls",
        "head": "head",
        "scale": "scale",
    },
    left_out={"buffer": "is computed"},
    ones={"eyes.cls": 2, "scale": 1},
)


@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 5))
def test_a_fused_tensor_is_cut_and_joined(layer: int, height: int, width: int) -> None:
    stored = {f"layers.{layer}.qkv": torch.randn(3 * height, width), "scale": torch.ones(1)}
    stored["cls_token"] = torch.randn(1, 1, width)
    found = FUSED.match(stored, "file")
    ours = Placed(stored, found.places, FUSED.unpack)
    assert set(ours) == {*(f"blocks.{layer}.{part}" for part in "qkv"), "eyes.cls", "scale"}
    assert torch.equal(
        ours[f"blocks.{layer}.k"], stored[f"layers.{layer}.qkv"][height : 2 * height]
    )
    assert torch.equal(ours["eyes.cls"], stored["cls_token"][0, 0]) and ours["scale"].shape == ()
    packed = FUSED.pack(
        {name: ours[name] for name in reversed(list(ours))}
    )  # in whatever order they come
    assert packed.keys() == stored.keys()
    assert all(torch.equal(packed[name], stored[name]) for name in stored)


@pytest.mark.parametrize(
    ("name", "ours", "shape", "words"),
    [
        ("layers.4.qkv", "blocks.4.q", (5, 2), r"\[5, 2\], not 3 parts"),
        ("layers.4.qkv", "blocks.4.q", (), r"\[\], not 3 parts"),
        ("cls_token", "eyes.cls", (1, 2, 3), r"\[1, 2, 3\], which should begin with \[1, 1\]"),
        ("cls_token", "eyes.cls", (1,), r"\[1\], which should begin with \[1, 1\]"),
    ],
)
def test_a_stored_shape_that_cannot_be_ours_is_named(
    name: str, ours: str, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(CheckpointError, match=f'"{name}" has shape {words}'):
        FUSED.unpack(ours, torch.zeros(shape))


def test_a_part_of_a_table_leaves_the_rest_out() -> None:
    part = FUSED.part(
        "eyes.", {"head": "is not looked at", "blocks.": "is another's", "scale": "s"}
    )
    assert part.rows == {"cls_token": "cls"}
    found = part.match(["cls_token", "layers.2.qkv", "buffer", "head"], "file")
    assert found.places == {"cls": "cls_token"}
    assert found.left_out == {
        "layers.2.qkv": "is another's",
        "buffer": "is computed",
        "head": "is not looked at",
    }
    assert torch.equal(part.unpack("cls", torch.ones(1, 1, 2)), torch.ones(2))
    whole = FUSED.part("", {})
    assert whole.rows == FUSED.rows and whole.theirs("blocks.3.v") == "layers.3.qkv"


def test_a_fused_row_is_refused_where_a_plain_one_would_be() -> None:
    with pytest.raises(ValueError, match="two names to one place"):
        NameTable({"a": "x + y", "b": "y"})
    with pytest.raises(ValueError, match="numbers of"):
        NameTable({"a.*": "x.* + y"})
    with pytest.raises(CheckpointError, match="for one place"):
        FUSED.match(["layers.1.qkv", "layers.1.qkv"], "file")


# ---- rows with numbers, rows for several tensors, changes ----------------------------------------

JOINED = NameTable(
    {
        "layers.0.w": "blocks.0.w",
        "layers.2.w": "blocks.1.w",
        "layers.*.w": "others.*.w",
        "embed": "embed + extra",
        "layers.*.kv": "blocks.*.k + blocks.*.v",
    },
    copies={"head": "embed"},
    changes={"embed": below(2), "layers.2.w": halves(2), "head": spare_rows(1)},
)


class Counting(dict[str, torch.Tensor]):
    """Tensors that count how often each is read."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.reads: list[str] = []

    def __getitem__(self, name: str) -> torch.Tensor:
        self.reads.append(name)
        return super().__getitem__(name)


def own() -> Counting:
    tensors = {
        "blocks.0.w": torch.randn(3, 2),
        "blocks.1.w": torch.randn(8, 2),
        "embed": torch.randn(5, 2),
        "extra": torch.randn(2, 2),
        "blocks.0.k": torch.randn(2, 2),
        "blocks.0.v": torch.randn(2, 2),
    }
    return Counting(tensors)


def test_a_row_with_its_numbers_comes_first() -> None:
    assert [JOINED.ours(f"layers.{i}.w") for i in range(3)] == [
        "blocks.0.w",
        "others.1.w",
        "blocks.1.w",
    ]
    assert (
        JOINED.theirs("blocks.1.w") == "layers.2.w" and JOINED.theirs("others.1.w") == "layers.1.w"
    )
    assert JOINED.theirs("blocks.2.w") is None


def test_what_is_packed_is_unpacked_bit_for_bit() -> None:
    ours = own()
    packed = JOINED.pack(ours)
    assert set(packed) == {"layers.0.w", "layers.2.w", "embed", "layers.0.kv", "head"}
    assert not torch.equal(packed["layers.2.w"], ours["blocks.1.w"])
    assert torch.equal(packed["embed"], torch.cat((ours["embed"], ours["extra"])))
    assert torch.equal(packed["head"], torch.cat((ours["embed"], torch.zeros(1, 2))))
    found = JOINED.match(packed, "file")
    assert found.twins == {"head": "embed"}
    back = Placed(packed, found.places, JOINED.unpack)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)


def test_packing_reads_a_tensor_when_it_is_asked_for() -> None:
    ours = own()
    lazy = Placed(ours, {name: name for name in ours})
    packed = JOINED.pack(lazy)
    ours.reads.clear()
    assert list(packed) and len(packed) == 5
    assert torch.equal(packed["layers.0.w"], dict.__getitem__(ours, "blocks.0.w"))
    assert ours.reads == ["blocks.0.w"]


def test_shapes_are_told_without_reading(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", dict(own()))
    stored = read_tensors(tmp_path / "x.safetensors")
    packed = JOINED.pack(stored)
    assert {name: packed.spec(name).shape for name in packed} == {
        name: tuple(tensor.shape) for name, tensor in packed.items()
    }
    back = Placed(packed, JOINED.match(packed, "file").places, JOINED.unpack)
    assert {name: back.spec(name) for name in back} == {name: stored.spec(name) for name in stored}


def test_a_shape_that_cannot_be_changed_names_its_tensor() -> None:
    with pytest.raises(CheckpointError, match=r'"layers.2.w" has shape \[7, 2\]'):
        JOINED.unpack("blocks.1.w", torch.zeros(7, 2))
    with pytest.raises(CheckpointError, match='"embed" has shape'):
        JOINED.unpack("extra", torch.zeros(1, 2))
    with pytest.raises(CheckpointError, match=r'"layers.0.kv".*equal height'):
        JOINED.unpack("blocks.0.k", torch.zeros(3, 2))


def test_another_spelling_keeps_everything() -> None:
    loud = JOINED.respelled(str.upper)
    assert set(loud.pack(own())) == {name.upper() for name in JOINED.pack(own())}
    assert loud.theirs("extra") == "EMBED"
