"""Tables of linear layers: which row decides, and how a table is told briefly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.base.errors import UserError
from chiasm.base.layers import chosen, folded, is_adapter, starred

NAMES = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1", "2"]), min_size=1, max_size=4).map(".".join),
    unique=True,
    max_size=12,
)


@given(names=NAMES, data=st.data())
def test_a_folded_table_says_what_was_done(names: list[str], data: st.DataObject) -> None:
    done = {n: w for n in names if (w := data.draw(st.sampled_from([None, "one", "two"])))}
    assert chosen(names, folded(names, done), "lora") == done


def test_the_first_row_decides_none_leaves_out_and_others_are_not_asked() -> None:
    names = ["a.0.q", "a.1.q", "a.1.k", "b"]
    assert chosen(names, (("a.0.*", None), ("*.q", 1), ("a.*", 2)), "lora") == {
        "a.1.q": 1,
        "a.1.k": 2,
    }


@pytest.mark.parametrize("table", [(("c", 1),), (("*", 1), ("a.0.q", 2)), (("a.0.x", None),)])
def test_a_row_that_decides_nothing_is_told(table: tuple[tuple[str, int | None], ...]) -> None:
    with pytest.raises(UserError, match=rf"{table[-1][0]}.* of `lora` matches no linear layer"):
        chosen(["a.0.q"], table, "lora")


def test_one_row_stands_for_a_whole_stack_and_single_names_for_the_rest() -> None:
    names = [f"blocks.{i}.{part}" for i in range(3) for part in "qk"]
    assert folded(names, dict.fromkeys(names, 1)) == (("blocks.*.q", 1), ("blocks.*.k", 1))
    assert folded(names, {"blocks.1.q": 1}) == (("blocks.1.q", 1),)
    assert starred("decoder.blocks.12.attn.q") == "decoder.blocks.*.attn.q"


def test_adapters_are_known_by_their_names() -> None:
    assert is_adapter("decoder.blocks.0.attn.q.lora_a") and is_adapter("lora_b")
    assert not is_adapter("decoder.lora_a.weight") and not is_adapter("decoder.xlora_a")
