"""The plain language model: against transformers, in packs, along a cache, and its own laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from chiasm.base.vision import Vision
from chiasm.models import Decoder
from chiasm.nn import RopeScaling
from chiasm.testing import VOCAB, toy_decoder

SCALING = RopeScaling(factor=4.0, low=1.0, high=4.0, original=32)
IN_TRANSFORMERS = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "unembed.weight": "lm_head.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    **{f"attn.{p}.weight": f"self_attn.{p}_proj.weight" for p in "qkvo"},
    **{f"mlp.{p}.weight": f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")},
}


def in_transformers(name: str) -> str:
    if not name.startswith("blocks."):
        return IN_TRANSFORMERS[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{IN_TRANSFORMERS[rest]}"


def twin(model: Decoder) -> LlamaForCausalLM:
    """The same model in transformers."""
    c = model.config
    rope: dict[str, object] = {"rope_type": "default", "rope_theta": c.rope_theta}
    if (s := c.rope_scaling) is not None:
        rope |= {"rope_type": "llama3", "factor": s.factor, "low_freq_factor": s.low}
        rope |= {"high_freq_factor": s.high, "original_max_position_embeddings": s.original}
    other = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=c.vocab,
            hidden_size=c.width,
            num_hidden_layers=c.depth,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_width,
            intermediate_size=c.hidden,
            max_position_embeddings=c.context,
            rms_norm_eps=c.norm_eps,
            tie_word_embeddings=c.tied,
            rope_parameters=rope,
        )
    )
    weights = {in_transformers(name): value for name, value in model.state_dict().items()}
    left = other.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys and left.missing_keys == (["lm_head.weight"] if c.tied else [])
    return other


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaling", [None, SCALING])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"heads": 3, "kv_heads": 3, "head_width": 4, "width": 15, "hidden": 9, "depth": 1},
        {"heads": 9, "kv_heads": 3, "head_width": 8, "width": 72, "vocab": 101, "norm_eps": 1e-3},
        {"heads": 5, "kv_heads": 1, "head_width": 10, "width": 35, "rope_theta": 5e5},
    ],
)
@torch.no_grad()
def test_logits_are_those_of_transformers(
    tied: bool, scaling: RopeScaling | None, sizes: dict
) -> None:
    model = toy_decoder(tied=tied, rope_scaling=scaling, **sizes)
    tokens = torch.randint(model.config.vocab, (2, 70))
    expected = twin(model)(tokens).logits
    # measured over these cases: 2.4e-6
    torch.testing.assert_close(model.head(model(tokens)), expected, atol=1e-5, rtol=0)


def test_a_tied_head_is_the_embedding_table() -> None:
    tied, untied = toy_decoder(tied=True), toy_decoder(tied=False)
    features = torch.randn(3, tied.config.width)
    assert torch.equal(tied.head(features), features @ tied.embed.weight.T)
    assert "unembed.weight" not in tied.state_dict()
    assert torch.equal(untied.head(features), features @ untied.unembed.weight.T)
    assert not torch.equal(untied.unembed.weight, untied.embed.weight)


def test_the_future_never_changes_the_past() -> None:
    model = toy_decoder()
    tokens = torch.randint(VOCAB, (1, 12))
    before = model(tokens)
    for place in range(1, 12):
        changed = tokens.clone()
        changed[:, place:] = (changed[:, place:] + 1) % VOCAB
        after = model(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


def alone(model: Decoder, tokens: Tensor) -> Tensor:
    return model(tokens[None])[0]


@given(
    st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=7), min_size=1, max_size=5)
)
def test_packed_samples_are_the_samples(samples: list[list[int]]) -> None:
    model = toy_decoder().double()
    sizes = torch.tensor([len(sample) for sample in samples])
    tokens = torch.tensor([[token for sample in samples for token in sample]])
    positions = torch.cat([torch.arange(int(n)) for n in sizes])[None]
    segments = torch.arange(len(samples)).repeat_interleave(sizes)[None]
    got = model(tokens, positions=positions, segments=segments)[0].split(sizes.tolist())
    for sample, features in zip(samples, got, strict=True):
        # measured: 2.3e-15
        torch.testing.assert_close(features, alone(model, torch.tensor(sample)), atol=1e-12, rtol=0)


def test_segments_may_interleave_and_differ_between_rows() -> None:
    model = toy_decoder().double()
    tokens = torch.randint(VOCAB, (2, 6))
    segments = torch.tensor([[0, 1, 0, 1, 2, 0], [3, 3, 3, 3, 0, 0]])
    positions = torch.tensor([[0, 0, 1, 1, 0, 2], [0, 1, 2, 3, 0, 1]])
    got = model(tokens, positions=positions, segments=segments)
    for row in range(2):
        for segment in segments[row].unique():
            mine = segments[row] == segment
            expected = alone(model, tokens[row, mine])
            torch.testing.assert_close(got[row, mine], expected, atol=1e-12, rtol=0)


def test_padding_is_inert() -> None:
    model = toy_decoder().double()
    tokens = torch.randint(VOCAB, (2, 9))
    segments = torch.tensor([[-1, 0, 0, 0, -1, 1, 1, -1, -1], [2, 2, 2, 2, 2, 2, 2, 2, -1]])
    positions = torch.tensor([[0, 0, 1, 2, 0, 0, 1, 0, 0], [*range(8), 0]])
    before = model(tokens, positions=positions, segments=segments)
    changed = torch.where(segments < 0, (tokens + 7) % VOCAB, tokens)
    moved = torch.where(segments < 0, positions + 100, positions)
    after = model(changed, positions=moved, segments=segments)
    real = segments >= 0
    assert torch.equal(after[real], before[real])
    torch.testing.assert_close(before[0, 1:4], alone(model, tokens[0, 1:4]), atol=1e-12, rtol=0)
    before[real].sum().backward()
    assert all(
        p.grad.isfinite().all() for name, p in model.named_parameters() if p.grad is not None
    )


def along_the_cache(model: Decoder, tokens: Tensor, cuts: list[int]) -> Tensor:
    cache = model.cache(len(tokens), tokens.shape[1])
    parts = []
    for part in tokens.tensor_split(cuts, dim=1):
        parts.append(model(part, cache=cache))
        cache.advance(part.shape[1])
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize(
    "cuts",
    [list(range(1, 11)), [4], [1], [10], [3, 4, 8]],
    ids=lambda cuts: "-".join(map(str, cuts)),
)
def test_along_the_cache_is_the_whole(cuts: list[int]) -> None:
    model = toy_decoder(rope_scaling=SCALING).double()
    tokens = torch.randint(VOCAB, (3, 11))
    got = along_the_cache(model, tokens, cuts)
    torch.testing.assert_close(got, model(tokens), atol=1e-12, rtol=0)  # measured: 4e-15


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
)
def test_rows_of_different_lengths_go_on_alone(lengths: list[int], chunks: list[int]) -> None:
    model = toy_decoder().double()
    more = sum(chunks)
    whole = torch.randint(VOCAB, (len(lengths), max(lengths) + more))
    cache = model.cache(len(lengths), max(lengths) + more)
    model(
        whole[:, : max(lengths)], cache=cache
    )  # padded at the right: what stands there is overwritten
    held = torch.tensor(lengths)
    cache.advance(held)
    for chunk in chunks:
        places = held[:, None] + torch.arange(chunk)
        got = model(whole.gather(1, places), cache=cache)
        cache.advance(chunk)
        held = held + chunk
        for row, n in enumerate(held.tolist()):
            expected = alone(model, whole[row, :n])[-chunk:]
            torch.testing.assert_close(got[row], expected, atol=1e-12, rtol=0)


def test_a_cache_holds_no_pack() -> None:
    model = toy_decoder()
    tokens = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="one document per row"):
        model(tokens, segments=tokens, cache=model.cache(1, 8))


def test_a_decoder_has_no_eyes() -> None:
    vision = Vision(spans=torch.zeros(1, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="no eyes"):
        toy_decoder()(torch.zeros(1, 2, dtype=torch.long), vision=vision)


def test_names_are_those_of_the_contract() -> None:
    names = {
        name.replace("blocks.0", "blocks.N")
        for name in toy_decoder(depth=1, tied=False).state_dict()
    }
    ours = {name for name in IN_TRANSFORMERS if not name.startswith(("attn", "mlp"))}
    assert names == ours | {f"blocks.N.{name}" for name in set(IN_TRANSFORMERS) - ours}
