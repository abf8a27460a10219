"""Groups and looks: rectangles of indices that say the same as a mask over all pairs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiasm.nn import causal_bias, group
from chiasm.nn.masks import look

keys = st.lists(st.integers(-2, 5), min_size=1, max_size=24).filter(lambda k: max(k) >= 0)


@given(keys)
def test_groups_hold_each_token_once_in_order(keys: list[int]) -> None:
    groups = group(torch.tensor(keys))
    x = torch.randn(len(keys), 3)
    gathered = groups.gather(x)
    lines = {}
    for line, first in enumerate(groups.firsts.tolist()):
        members = [i for i, key in enumerate(keys) if key == keys[first]]
        assert members[0] == first
        assert groups.index[line, : len(members)].tolist() == members
        assert torch.equal(gathered[line, : len(members)], x[members])
        lines[keys[first]] = len(members)
    assert lines == {key: keys.count(key) for key in set(keys) if key >= 0}
    assert groups.index.shape[1] == max(lines.values())


@given(keys)
def test_scatter_undoes_gather_and_gives_zero_to_the_uncovered(keys: list[int]) -> None:
    x = torch.randn(len(keys), 3)
    groups = group(torch.tensor(keys))
    back = groups.scatter(groups.gather(x))
    for token, key in enumerate(keys):
        assert torch.equal(back[token], x[token] if key >= 0 else torch.zeros(3))


def test_a_group_of_nobody_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token"):
        group(torch.tensor([-1, -1]))


@given(st.integers(1, 9), st.integers(0, 9))
def test_causal_bias_hides_exactly_the_future(queries: int, more: int) -> None:
    bias = causal_bias(queries, queries + more, torch.zeros(1, dtype=torch.float64))
    for i in range(queries):
        for j in range(queries + more):
            assert bias[i, j] == (0 if j <= i + more else float("-inf"))


spans = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=20)


@given(spans)
def test_a_look_says_what_the_spans_say(pairs: list[tuple[int, int]]) -> None:
    spans = torch.tensor([(first, first + count) for first, count in pairs])
    found = look(spans)
    seeing = {i: set(range(a, b)) for i, (a, b) in enumerate(spans.tolist()) if b > a}
    if not seeing:
        assert found is None
        return
    assert found is not None and found.rows.tolist() == sorted(seeing)
    sees: dict[int, set[int]] = {}
    numbers = found.groups.gather(found.rows[:, None]).squeeze(-1)
    ones = found.groups.gather(torch.arange(len(found.rows))[:, None]).squeeze(-1)
    for line, pictures in enumerate(found.units.tolist()):
        hidden = [False] * len(pictures) if found.hidden is None else found.hidden[line].tolist()
        shown = {p for p, away in zip(pictures, hidden, strict=True) if not away}
        for slot in range(ones.shape[1]):
            token = int(ones[line, slot])
            if int(found.groups.slot[token]) == line * ones.shape[1] + slot:
                sees[int(numbers[line, slot])] = shown
    assert sees == seeing


def test_tokens_with_equal_spans_share_one_group() -> None:
    found = look(torch.tensor([[0, 1], [0, 0], [0, 2], [0, 1], [1, 2]]))
    assert found is not None
    assert found.groups.index.shape == (3, 2) and found.hidden is not None


def test_a_picture_of_several_tiles_is_seen_whole() -> None:
    found = look(torch.tensor([[0, 1], [1, 3], [0, 0], [2, 3]]), torch.tensor([0, 4, 5, 7]))
    assert found is not None and found.hidden is not None and found.rows.tolist() == [0, 1, 3]
    shown = [
        [unit for unit, away in zip(units, hidden, strict=True) if not away]
        for units, hidden in zip(found.units.tolist(), found.hidden.tolist(), strict=True)
    ]
    assert shown == [[0, 1, 2, 3], [4, 5, 6], [5, 6]]
