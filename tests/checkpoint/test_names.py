"""The name engine: both directions, numbers kept, nothing unknown, nothing twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiasm.checkpoint.names import NameTable, Placed
from chiasm.checkpoint.weights import CheckpointError

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
