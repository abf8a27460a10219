"""The memory of a conversation: what is written can be read, and rows come and go."""

from __future__ import annotations

import pytest
import torch

from chiasm.nn import Cache


def small(capacity: int = 6) -> Cache:
    return Cache(rows=2, capacity=capacity, layers=1, kv_heads=2, head_width=3, like=torch.zeros(1))


def test_rows_write_at_their_own_places() -> None:
    cache = small()
    cache.advance(torch.tensor([1, 3]))
    places = cache.positions(2)
    assert places.tolist() == [[1, 2], [3, 4]]
    key, value = torch.randn(2, 2, 2, 2, 3)
    cache.write(0, cache.slots(places), torch.cat((key, value), dim=2))
    keys, values = cache.keys(0, 6), cache.values(0, 6)
    for row, place in ((0, 1), (1, 3)):
        assert torch.equal(keys[row, :, place : place + 2], key[row].transpose(0, 1))
        assert torch.equal(values[row, :, place : place + 2], value[row].transpose(0, 1))
    assert not keys[0, :, 3:].any() and not keys[1, :, :3].any()
    assert not values[0, :, 3:].any() and not values[1, :, :3].any()


def test_a_row_that_outgrows_its_capacity_is_an_error() -> None:
    cache = small(capacity=4)
    assert cache.check(cache.positions(4)) == 4
    with pytest.raises(ValueError, match="5 tokens do not fit a cache of 4"):
        cache.check(cache.positions(5))


def filled(rows: int = 2) -> Cache:
    cache = Cache(rows, 4, layers=2, kv_heads=1, head_width=3, like=torch.zeros(1))
    for layer in range(2):
        cache.write(layer, cache.slots(cache.positions(3)), torch.randn(rows, 3, 2, 3))
    cache.pictures.spans = torch.tensor([[0, 1], [1, 2]])[:rows]
    cache.advance(3)
    return cache


def test_rows_that_stay_keep_all_that_is_theirs() -> None:
    cache, before = filled(), filled()
    before.store = [store.clone() for store in cache.store]
    cache.keep(torch.tensor([1]))
    assert all(torch.equal(a[0], b[1]) for a, b in zip(cache.store, before.store, strict=True))
    assert cache.lengths.tolist() == [3] and cache.pictures.spans.tolist() == [[1, 2]]


def test_a_row_goes_back_to_an_earlier_token() -> None:
    cache = filled(rows=1)
    cache.rewind(1)
    assert cache.positions(1).tolist() == [[1]]
    with pytest.raises(ValueError, match=r"\[1\] tokens cannot be rewound to 2"):
        cache.rewind(2)


def test_a_cache_grows_and_never_shrinks() -> None:
    cache = filled()
    before = [store.clone() for store in cache.store]
    cache.grow(7)
    cache.grow(2)
    assert cache.check(torch.tensor([[6]])) == 7
    for new, old in zip(cache.store, before, strict=True):
        assert torch.equal(new[:, :, :4], old) and not new[:, :, 4:].any()
