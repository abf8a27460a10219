"""Attention against loops that nobody can misread."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiasm.nn import (
    CrossAttention,
    Groups,
    LatentAttention,
    Look,
    RMSNorm,
    Rope,
    SelfAttention,
    attend,
    causal_bias,
    group,
)
from chiasm.nn.attention import Route, _attend_by_products, reach
from chiasm.nn.masks import look
from chiasm.nn.rope import inverse_frequencies


def brute(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """One head, one query, one number at a time; query head h reads key head h // share."""
    query, key, value = query.detach(), key.detach(), value.detach()
    groups, heads, queries, width = query.shape
    share = heads // key.shape[1]
    out = torch.empty_like(query)
    full = torch.zeros(groups, 1, queries, key.shape[2], dtype=query.dtype)
    full = full if bias is None else full + bias
    for g in range(groups):
        for h in range(heads):
            for i in range(queries):
                k, v = key[g, h // share], value[g, h // share]
                scores = [float(query[g, h, i] @ k[j]) / math.sqrt(width) for j in range(len(k))]
                scores = [s + float(b) for s, b in zip(scores, full[g, 0, i], strict=True)]
                weights = [math.exp(s - max(scores)) for s in scores]
                total = sum(weights)
                out[g, h, i] = sum(w / total * v[j] for j, w in enumerate(weights))
    return out


ratios = st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 2), (6, 3), (3, 1), (9, 3)])
lengths = st.tuples(st.integers(1, 5), st.integers(0, 4))


@given(ratios, lengths, st.booleans())
def test_grouped_queries_against_the_loop(
    ratio: tuple[int, int], length: tuple[int, int], masked: bool
) -> None:
    (heads, kv_heads), (queries, more) = ratio, length
    new = {"dtype": torch.float64}
    query = torch.randn(2, heads, queries, 3, **new)
    key, value = torch.randn(2, 2, kv_heads, queries + more, 3, **new)
    bias = causal_bias(queries, queries + more, query) if masked else None
    expected = brute(query, key, value, bias)
    # measured: 9e-16 for both
    torch.testing.assert_close(attend(query, key, value, bias), expected, atol=1e-12, rtol=0)
    products = _attend_by_products(query, key, value, bias)
    torch.testing.assert_close(products, expected, atol=1e-12, rtol=0)


def test_two_products_take_a_bias_per_group() -> None:
    query, key, value = torch.randn(3, 3, 2, 4, 5, dtype=torch.float64)
    bias = torch.zeros(3, 1, 1, 4, dtype=torch.float64)
    bias[1, ..., 2:] = float("-inf")
    got = _attend_by_products(query, key, value, bias)
    torch.testing.assert_close(got, brute(query, key, value, bias), atol=1e-12, rtol=0)


def test_bf16_on_a_cpu_is_within_its_rounding_of_fp64() -> None:
    parts = [torch.randn(2, heads, 40, 16).bfloat16() for heads in (6, 2, 2)]
    bias = causal_bias(40, 40, parts[0])
    exact = attend(*(p.double() for p in parts), bias.double())
    # bf16 keeps 8 bits: scores up to 4 are off by 0.008, weights by 0.8 %; measured: 1.7e-2
    torch.testing.assert_close(attend(*parts, bias).double(), exact, atol=4e-2, rtol=0)


def route(tokens: int, groups: Groups | None = None) -> Route:
    x = torch.zeros(1, dtype=torch.float64)
    rope = Rope(torch.arange(tokens)[None], inverse_frequencies(4, 100.0), x.dtype)
    lines = tokens if groups is None else groups.index.shape[1]
    return Route(rope, groups, bias=causal_bias(lines, lines, x))


def test_the_future_never_changes_the_past() -> None:
    attention = SelfAttention(6, 4, 2, 4).double()
    x = torch.randn(1, 7, 6, dtype=torch.float64)
    before = attention.along(x, route(7), 0)
    for place in range(7):
        changed = x.clone()
        changed[:, place:] += torch.randn(1, 7 - place, 6)
        after = attention.along(changed, route(7), 0)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place:], before[:, place:]).any(-1).all()


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12).filter(lambda k: max(k) >= 0))
def test_grouped_rows_are_the_masked_row(keys: list[int]) -> None:
    attention = SelfAttention(6, 4, 2, 4).double()
    x = torch.randn(1, len(keys), 6, dtype=torch.float64)
    segments = torch.tensor(keys)
    got = attention.along(x, route(len(keys), group(segments)), 0)
    same = segments[:, None] == segments
    bias = torch.zeros(len(keys), len(keys), dtype=torch.float64)
    bias = bias.masked_fill(
        ~same | (torch.arange(len(keys)) > torch.arange(len(keys))[:, None]), float("-inf")
    )
    whole = route(len(keys))
    expected = attention.along(x, Route(whole.rope, bias=bias), 0)
    real = segments >= 0
    torch.testing.assert_close(got[:, real], expected[:, real], atol=1e-12, rtol=0)
    assert not got[:, ~real].any()


def test_an_encoder_attends_both_ways_with_biases() -> None:
    attention = SelfAttention(6, 2, 2, 3, bias=True).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    heads = [part.transpose(1, 2) for part in attention.heads(x)]
    expected = (
        brute(*heads, None).transpose(1, 2).flatten(2) @ attention.o.weight.T + attention.o.bias
    )
    torch.testing.assert_close(attention(x), expected, atol=1e-12, rtol=0)


def dense_cross(
    attention: CrossAttention, x: Tensor, features: Tensor, spans: list[tuple[int, int]]
) -> Tensor:
    """Every token against every vector of every picture, with a mask; zero where nothing is seen."""

    def normed(heads: Tensor, norm: torch.nn.Module) -> Tensor:
        if isinstance(norm, torch.nn.Identity):
            return heads
        return heads / (heads.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight

    d = attention.head_width
    query = normed((x @ attention.q.weight.T).unflatten(-1, (-1, d)), attention.q_norm)
    pool = features.flatten(0, 1)  # all vectors of all pictures, end to end
    key = normed((pool @ attention.k.weight.T).unflatten(-1, (-1, d)), attention.k_norm)
    value = (pool @ attention.v.weight.T).unflatten(-1, (-1, d))
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
    scores = torch.einsum("thd,shd->hts", query, key) / math.sqrt(d)
    owner = torch.arange(len(features)).repeat_interleave(features.shape[1])
    first, last = torch.tensor(spans).unbind(-1)
    seen = (owner >= first[:, None]) & (owner < last[:, None])
    weights = scores.masked_fill(~seen, -1e30).softmax(-1) * seen
    out = torch.einsum("hts,shd->thd", weights, value).flatten(1)
    return out @ attention.o.weight.T


picture_spans = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda s: (s[0], min(4, s[0] + s[1]))),
    min_size=1,
    max_size=9,
)


@given(picture_spans, st.sampled_from([(4, 4), (4, 2), (3, 1)]), st.sampled_from([1e-5, None]))
def test_cross_attention_against_a_dense_mask(
    spans: list[tuple[int, int]], ratio: tuple[int, int], eps: float | None
) -> None:
    attention = CrossAttention(6, *ratio, 4, eps).double()
    norms = [n for n in (attention.q_norm, attention.k_norm) if isinstance(n, RMSNorm)]
    assert len(norms) == (0 if eps is None else 2)
    for norm in norms:
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(len(spans), 6, dtype=torch.float64)
    features = torch.randn(4, 5, 6, dtype=torch.float64)
    found = look(torch.tensor(spans))
    expected = dense_cross(attention, x, features, spans)
    if found is None:
        assert not expected.any()
        return
    got = attention(x[found.rows], attention.memory(features), found)
    torch.testing.assert_close(got, expected[found.rows], atol=1e-12, rtol=0)  # measured: 2.3e-16


def test_a_picture_that_nobody_sees_gets_no_gradient() -> None:
    attention = CrossAttention(6, 2, 1, 4, 1e-5).double()
    features = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    found = look(torch.tensor([[1, 2], [0, 0], [1, 2]]))
    assert isinstance(found, Look)
    attention(
        torch.randn(2, 6, dtype=torch.float64), attention.memory(features), found
    ).sum().backward()
    assert not features.grad[0].any() and not features.grad[2].any() and features.grad[1].any()


@pytest.mark.parametrize("bias", [True, False])
def test_latents_attend_to_all_sources_together(bias: bool) -> None:
    attention = LatentAttention(6, 2, 4, 5, bias=bias).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    sources = [torch.randn(2, length, 5, dtype=torch.float64) for length in (4, 1)]
    joined = torch.cat(sources, dim=1)
    heads = (
        part(of).unflatten(-1, (2, 4)).transpose(1, 2)
        for part, of in ((attention.q, x), (attention.k, joined), (attention.v, joined))
    )
    expected = brute(*heads, None).transpose(1, 2).flatten(2) @ attention.o.weight.T
    expected = expected + attention.o.bias if bias else expected
    # measured: 1.1e-16
    torch.testing.assert_close(attention(x, *sources), expected, atol=1e-12, rtol=0)


def test_reach_hides_what_lies_behind_each_token() -> None:
    bias = reach(torch.tensor([[0, 1], [3, 4]]), 5, torch.zeros(1))
    assert bias is not None and bias.shape == (2, 1, 2, 5)
    assert (bias == 0).sum(-1).flatten().tolist() == [1, 2, 4, 5]
    assert reach(torch.tensor([[4], [4]]), 5, torch.zeros(1)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_of_a_row_is_the_same_whatever_its_neighbours_hold(dtype: torch.dtype) -> None:
    parts = [torch.randn(4, heads, 9, 8).to(dtype) for heads in (4, 2, 2)]
    bias = causal_bias(9, 9, parts[0])
    before = attend(*parts, bias)
    for part in parts:
        part[2:] = torch.randn_like(part[2:])
    assert torch.equal(attend(*parts, bias)[:2], before[:2])


@pytest.mark.parametrize("biased", [None, "keys", "pairs"])
def test_many_queries_are_taken_some_at_a_time(
    biased: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 on a processor; the same numbers, whatever the size of what is kept at a time."""
    from chiasm.nn import attention

    query, key, value = (torch.randn(2, 4, 200, 8).bfloat16() for _ in range(3))
    shape = {"keys": (1, 1, 1, 200), "pairs": (200, 200)}
    bias = None if biased is None else torch.randn(shape[biased]).bfloat16()
    whole = attend(query, key, value, bias)
    monkeypatch.setattr(attention, "_SCORES", 1000)
    assert attention._rows_at_once(query, key, value) == 64
    assert torch.equal(attend(query, key, value, bias), whole)
    query.requires_grad_()
    assert attention._rows_at_once(query, key, value) == 200
