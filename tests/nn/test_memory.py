"""What was shown stays shown: later pictures stand behind earlier ones, tile by tile."""

from __future__ import annotations

import torch
from torch import Tensor

from chiasm.nn.masks import Look
from chiasm.nn.memory import Memory, Pairs


def keys(units: int, value: float) -> Pairs:
    full = torch.full((units, 1, 2, 3), value)
    return [(full, -full), (full + 0.5, -full - 0.5)]


def seen(look: Look | None) -> dict[int, list[int]]:
    """Which units each token sees."""
    assert look is not None
    found = {}
    for line, units in enumerate(look.units.tolist()):
        hidden = [False] * len(units) if look.hidden is None else look.hidden[line].tolist()
        shown = [unit for unit, away in zip(units, hidden, strict=True) if not away]
        for token, slot in zip(look.rows.tolist(), look.groups.slot.tolist(), strict=True):
            if slot // look.groups.index.shape[1] == line:
                found[token] = shown
    return found


def one_each(pictures: int) -> Tensor:
    return torch.arange(pictures + 1)


def test_later_pictures_stand_behind_the_earlier_ones() -> None:
    memory = Memory(2, torch.device("cpu"))
    pairs, look = memory.add(
        keys(2, 1.0), one_each(2), torch.tensor([[[0, 0], [0, 1]], [[1, 2]] * 2])
    )
    assert seen(look) == {1: [0], 2: [1], 3: [1]} and len(pairs[0][0]) == 2
    # row 0 goes on without a new picture, row 1 is shown two at once at its second token
    second = torch.tensor([[[0, 0], [0, 0]], [[0, 0], [0, 2]]])
    pairs, look = memory.add(keys(2, 2.0), one_each(2), second)
    assert seen(look) == {0: [0], 1: [0], 2: [1], 3: [2, 3]}
    assert [float(k[0, 0, 0]) for k in pairs[0][0]] == [1.0, 1.0, 2.0, 2.0]
    assert [float(v[0, 0, 0]) for v in pairs[1][1]] == [-1.5, -1.5, -2.5, -2.5]
    pairs, look = memory.add([], one_each(0), torch.zeros(2, 1, 2, dtype=torch.long))
    assert seen(look) == {0: [0], 1: [2, 3]} and len(pairs[0][0]) == 4


def test_pictures_of_several_tiles_are_counted_in_pictures() -> None:
    memory = Memory(1, torch.device("cpu"))
    memory.add(keys(5, 1.0), torch.tensor([0, 4, 5]), torch.tensor([[[0, 1], [0, 2]]]))
    _, look = memory.add(keys(2, 2.0), torch.tensor([0, 2]), torch.tensor([[[0, 0], [0, 1]]]))
    assert seen(look) == {0: [0, 1, 2, 3, 4], 1: [5, 6]}
    memory.rewind(1, (0, 1))
    assert all(len(k) == len(v) == 4 for k, v in memory.pairs)
    assert memory.starts.tolist() == [0, 4] and memory.spans.tolist() == [[0, 1]]


def test_without_pictures_nothing_is_seen() -> None:
    memory = Memory(2, torch.device("cpu"))
    assert memory.add([], one_each(0), torch.zeros(2, 3, 2, dtype=torch.long)) == ([], None)
    assert memory.standing(1) == ([], None)


def filled(rows: int = 2) -> Memory:
    memory = Memory(rows, torch.device("cpu"))
    memory.add(keys(2, 1.0), one_each(2), torch.tensor([[[0, 1]], [[1, 2]]])[:rows])
    return memory


def test_what_stands_is_laid_out_once_for_a_whole_answer() -> None:
    memory = filled()
    pairs, look = memory.standing(1)
    assert look is not None and memory.standing(1)[1] is look and pairs[0][0] is memory.pairs[0][0]
    assert look.rows.tolist() == [0, 1] and memory.standing(2)[1].rows.tolist() == [0, 1, 2, 3]
    memory.add(keys(1, 2.0), one_each(1), torch.tensor([[[0, 1]], [[0, 0]]]))
    pairs, look = memory.standing(1)  # of three pictures two are seen: they were picked already
    assert look is not None and look.units.tolist() == [[0], [1]]
    assert [float(k[0, 0, 0]) for k in pairs[0][0]] == [1.0, 2.0]


def test_rows_that_stay_see_what_they_saw() -> None:
    memory = filled()
    memory.keep(torch.tensor([1]))
    pairs, look = memory.standing(1)
    assert look is not None and look.units.tolist() == [[0]] and len(pairs[0][0]) == 1


def test_all_pictures_can_be_forgotten() -> None:
    memory = filled(rows=1)
    memory.rewind(0, (0, 0))
    assert memory.pairs == [] and memory.standing(1) == ([], None)


def test_pictures_that_stand_in_the_text_are_counted_but_not_held() -> None:
    """As in a conversation with a unified embedding, which is rewound like every other one."""
    memory = Memory(1, torch.device("cpu"))
    memory.rewind(2, (1, 2))
    assert memory.spans.tolist() == [[1, 2]] and memory.standing(3) == ([], None)
    memory.rewind(0, (0, 0))
    assert not memory.pairs and len(memory.starts) == 1


def test_a_token_can_see_old_pictures_and_new_ones() -> None:
    """Spans count from the first new picture: what stood before is negative."""
    memory = Memory(1, torch.device("cpu"))
    memory.add([keys(3, 1.0)[0]], torch.tensor([0, 1, 3]), torch.tensor([[[0, 1], [0, 2]]]))
    spans = torch.tensor([[[0, 0], [-2, 1], [-1, 1], [0, 1]]])
    _, look = memory.add([keys(2, 2.0)[0]], torch.tensor([0, 2]), spans)
    assert seen(look) == {0: [0, 1, 2], 1: [0, 1, 2, 3, 4], 2: [1, 2, 3, 4], 3: [3, 4]}
    assert memory.spans.tolist() == [[2, 3]]
