"""Any number of vectors to a fixed number: against the papers' equations, frame by frame and clip by clip."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import IdeficsConfig
from transformers import PerceiverConfig as TheirPerceiverConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.perceiver.modeling_perceiver import PerceiverEncoder

from chiasm.base.config import as_record, from_record
from chiasm.models import (
    Aggregator,
    AggregatorConfig,
    Perceiver,
    PerceiverConfig,
    Resampler,
    ResamplerConfig,
)
from chiasm.nn import GatedCrossBlock
from chiasm.testing import open_gates

WIDTH = 6
SMALL = {"latents": 3, "depth": 2, "heads": 2, "head_width": 4, "frames": 3}


def resampler(seed: int = 0, width: int = WIDTH, **changes: Any) -> Resampler:
    return seeded(Resampler, ResamplerConfig(**(SMALL | changes)), width, seed)


def aggregator(merge: int = 4, seed: int = 0, **changes: Any) -> Aggregator:
    config = AggregatorConfig(**(SMALL | {"hidden": 10, "merge": merge} | changes))
    return seeded(Aggregator, config, WIDTH, seed)


def seeded(kind: Any, config: Any, width: int, seed: int) -> Any:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = open_gates(kind(config, width)).double()
    with torch.no_grad():  # at birth latents and times are small: nothing here shall hide in that
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] in ("latents", "time"):
                parameter.mul_(parameter.shape[-1] ** 0.5)
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- the papers' equations, one number after the other ----------------------------------------------

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    return {name: value.clone() for name, value in model.state_dict().items()}


def normed(x: Tensor, w: Weights, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    y = torch.einsum("ni,oi->no", x, w[f"{name}.weight"])
    return y + w.get(f"{name}.bias", torch.zeros(1, dtype=y.dtype))


def asked(x: Tensor, read: Tensor, w: Weights, name: str, heads: int) -> Tensor:
    query, key, value = (
        linear(of, w, f"{name}.{part}").unflatten(-1, (heads, -1))
        for of, part in ((x, "q"), (read, "k"), (read, "v"))
    )
    out = torch.zeros_like(query)
    for h in range(heads):
        for i in range(len(x)):
            scores = [float(query[i, h] @ k) / math.sqrt(query.shape[-1]) for k in key[:, h]]
            powers = [math.exp(score) for score in scores]
            for power, v in zip(powers, value[:, h], strict=True):
                out[i, h] += power / sum(powers) * v
    return linear(out.flatten(1), w, f"{name}.o")


def thought(x: Tensor, w: Weights, name: str) -> Tensor:
    inner = linear(normed(x, w, f"{name}.mlp_norm"), w, f"{name}.mlp.up")
    return linear(inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))), w, f"{name}.mlp.down")


def time_of(table: Tensor, frame: int, frames: int) -> Tensor:
    """The embedding of one frame: its row, or a mix of two rows where the clip outgrows the table."""
    if frames <= len(table):
        return table[frame]
    place = frame * (len(table) - 1) / (frames - 1)
    low = min(int(place), max(len(table) - 2, 0))
    high = min(low + 1, len(table) - 1)
    return table[low] * (1 - (place - low)) + table[high] * (place - low)


def resampled(model: Resampler, clip: Tensor, span: int = 1) -> Tensor:
    """Alayrac et al. 2022, appendix A.1.1, for one clip [T, V, width]."""
    w, span = weights_of(model), max(span, len(clip))
    vectors = torch.stack(
        [v + time_of(w["time"], t, span) for t, frame in enumerate(clip) for v in frame]
    )
    x = w["latents"]
    for i in range(model.config.depth):
        own, name = normed(x, w, f"blocks.{i}.attn_norm"), f"blocks.{i}"
        read = torch.cat([normed(vectors, w, f"{name}.source_norm"), own])
        x = x + asked(own, read, w, f"{name}.attn", model.config.heads)
        x = x + thought(x, w, name)
    return normed(x, w, "norm")


# ---- the resampler ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, 5]))
def test_a_resampler_is_the_papers_equations(
    frames: int, vectors: int, table: int, hidden: int | None
) -> None:
    model = resampler(frames=table, hidden=hidden)
    clip = noise(frames, vectors, WIDTH, seed=frames)
    got = model(clip, torch.tensor([frames]))
    assert model.blocks[0].mlp.up.weight.shape == (hidden or 4 * WIDTH, WIDTH)
    # measured: 1.3e-15
    torch.testing.assert_close(got[0], resampled(model, clip), atol=1e-12, rtol=0)


IN_IDEFICS = {
    "attn_norm": "0.latents_layer_norm",
    "source_norm": "0.context_layer_norm",
    **{f"attn.{part}": f"0.{part}_proj" for part in "qkv"},
    "attn.o": "0.output_proj",
    "mlp_norm": "1.ln",
    "mlp.up": "1.fc",
    "mlp.down": "1.c_proj",
}


@torch.no_grad()
def test_a_resampler_of_pictures_is_that_of_idefics() -> None:
    """Idefics 1 took over Flamingo's resampler, but for its ReLU and for time, which is zeroed here."""
    model = resampler()
    model.time.zero_()
    config = IdeficsConfig(vision_config={"embed_dim": WIDTH})
    other = IdeficsPerceiverResampler(config, WIDTH, 2, 2, 4, 3).double()
    for _, mlp in other.blocks:
        mlp.act = nn.GELU()
    names = {"latents": "latents", "norm.weight": "layer_norm.weight"}
    names["norm.bias"] = "layer_norm.bias"
    for name in model.state_dict():
        if name.startswith("blocks."):
            stem, kind = name.rsplit(".", 1)
            _, layer, part = stem.split(".", 2)
            names[name] = f"blocks.{layer}.{IN_IDEFICS[part]}.{kind}"
    ours = weights_of(model)
    assert set(ours) - set(names) == {"time"}
    other.load_state_dict({names[name]: ours[name] for name in names}, strict=True)
    pictures = noise(3, 5, WIDTH)
    # measured: 9e-16
    torch.testing.assert_close(model(pictures), other(pictures), atol=1e-12, rtol=0)


clips = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@settings(max_examples=40)
@given(clips, st.integers(1, 4))
def test_clips_of_any_lengths_are_read_as_each_alone(counts: list[int], vectors: int) -> None:
    model = resampler()
    frames = noise(sum(counts), vectors, WIDTH)
    got = model(frames, torch.tensor(counts))
    assert got.shape == (len(counts), 3, WIDTH)
    for clip, one in zip(frames.split(counts), got, strict=True):
        alone = model(clip, torch.tensor([len(clip)]))[0]
        # measured: 1.6e-15
        torch.testing.assert_close(one, alone, atol=1e-12, rtol=0)


def test_a_picture_is_a_clip_of_one_frame() -> None:
    model, pictures = resampler(), noise(4, 5, WIDTH)
    assert torch.equal(model(pictures), model(pictures, torch.ones(4, dtype=torch.long)))


@settings(max_examples=40)
@given(st.integers(2, 4), st.integers(2, 5), st.randoms(use_true_random=False))
def test_vectors_of_a_frame_may_trade_places_but_frames_may_not(
    frames: int, vectors: int, random: Any
) -> None:
    model, clip = resampler(), noise(frames, vectors, WIDTH)
    counts = torch.tensor([frames])
    before = model(clip, counts)
    order = random.sample(range(vectors), vectors)
    # measured: 9.4e-16
    torch.testing.assert_close(model(clip[:, order], counts), before, atol=1e-12, rtol=0)
    assert (model(clip.flip(0), counts) - before).abs().max() > 1e-4


def test_time_stretches_over_clips_longer_than_those_of_training() -> None:
    model = resampler(width=2, frames=3)
    with torch.no_grad():
        model.time.copy_(torch.tensor([[0.0, 8.0], [4.0, 8.0], [0.0, 0.0]]))
    assert model.times(2).tolist() == [[0, 8], [4, 8]]
    assert model.times(3).tolist() == [[0, 8], [4, 8], [0, 0]]
    assert model.times(5).tolist() == [[0, 8], [2, 8], [4, 8], [2, 4], [0, 0]]
    one = resampler(width=2, frames=1)
    assert torch.equal(one.times(4), one.time.expand(4, 2))
    assert model.bfloat16().times(5).dtype == torch.bfloat16


def test_clips_that_do_not_fit_their_counts_are_an_error() -> None:
    model, frames = resampler(), noise(5, 2, WIDTH)
    for counts in ([2, 2], [5, 1], [5, 0], []):
        with pytest.raises(ValueError, match="cannot be cut out of 5 frames"):
            model(frames, torch.tensor(counts, dtype=torch.long))


def test_gradient_reaches_every_parameter_of_a_resampler() -> None:
    model = resampler()
    frames = noise(5, 4, WIDTH).requires_grad_()
    model(frames, torch.tensor([4, 1])).mul(noise(2, 3, WIDTH)).sum().backward()
    assert not [name for name, p in model.named_parameters() if not p.grad.any(-1).all()]
    assert frames.grad.any(-1).all()


def test_weights_in_fp32_leave_bf16_as_bf16() -> None:
    frames = noise(5, 4, WIDTH).bfloat16()
    assert resampler().float()(frames, torch.tensor([4, 1])).dtype == torch.bfloat16
    merged, _ = aggregator().float()(frames, torch.tensor([5]))
    assert merged.dtype == torch.bfloat16


# ---- the aggregator --------------------------------------------------------------------------------


@settings(max_examples=30)
@given(clips, st.integers(1, 4), st.integers(1, 5))
def test_an_aggregator_reads_group_after_group(counts: list[int], merge: int, table: int) -> None:
    model = aggregator(merge, frames=table)
    frames = noise(sum(counts), 2, WIDTH)
    got, merged = model(frames, torch.tensor(counts))
    assert merged.tolist() == [math.ceil(count / merge) for count in counts]
    groups = [group for clip in frames.split(counts) for group in clip.split(merge)]
    assert [len(group) for group in groups] == model.config.groups(torch.tensor(counts))
    assert got.shape == (len(groups), 3, WIDTH)
    # A short last group is timed by the places of a whole one. Measured: 1.1e-15
    expected = torch.stack([resampled(model.resampler, group, merge) for group in groups])
    expected = expected + in_order(model, merged.tolist())[:, None]
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


def in_order(model: Aggregator, counts: list[int]) -> Tensor:
    """Each effective frame's place in its clip, from a table of two rows that long clips stretch."""
    first, last = model.order.detach()
    rows = []
    for count in counts:
        steps = torch.linspace(0, 1, max(2, count), dtype=torch.float64)[:count, None]
        rows.append(first + steps * (last - first))
    return torch.cat(rows)


@settings(max_examples=20)
@given(clips)
def test_groups_given_one_by_one_are_the_whole(counts: list[int]) -> None:
    model = aggregator(2)
    frames, counted = noise(sum(counts), 3, WIDTH), torch.tensor(counts)
    whole, _ = model(frames, counted)
    groups = model.config.groups(counted)
    merged = torch.cat([model.merge(group) for group in frames.split(groups)])
    effective = (counted + 1) // 2
    assert torch.equal(model.in_order(merged, effective), whole)
    # Read side by side instead, they say the same. Measured: 4.4e-16
    together = model.in_order(model.resampler(frames, torch.tensor(groups), 2), effective)
    torch.testing.assert_close(together, whole, atol=1e-12, rtol=0)


def test_a_longer_merge_takes_the_weights_of_a_shorter() -> None:
    """Llama 3 trains with 16 frames in a group and goes on with 32: only a number changes."""
    early, late = aggregator(4, seed=1, frames=4), aggregator(8, frames=4)
    late.load_state_dict(early.state_dict(), strict=True)
    got, merged = late(noise(8, 2, WIDTH), torch.tensor([8]))
    assert merged.tolist() == [1]
    expected = resampled(early.resampler, noise(8, 2, WIDTH)) + early.order[0]
    torch.testing.assert_close(got[0], expected, atol=1e-12, rtol=0)


def held(model: Aggregator, counts: list[int]) -> int:
    """Bytes that a forward pass keeps for the way back, beside the frames."""
    frames, kept = noise(sum(counts), 8, WIDTH), {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() != frames.untyped_storage().data_ptr():
            kept[storage.data_ptr()] = (storage, storage.nbytes())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(frames, torch.tensor(counts))
    return sum(size for _, size in kept.values())


def test_no_more_than_one_group_is_worked_on_at_a_time() -> None:
    model, seen = aggregator(2), []
    model.resampler.blocks[0].register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[1].shape[:2]))
    )
    # A group's length, and nothing of what it computes.
    assert (held(model, [2]), held(model, [5, 4])) == (8, 5 * 8)
    assert seen == [(1, 16), (1, 16), (1, 16), (1, 8), (1, 16), (1, 16)]
    whole = sum(w.nbytes for w in model.parameters())
    frames = noise(4, 8, WIDTH)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.append(x.nbytes), lambda x: x):
        model.resampler(frames, torch.tensor([4]))
    assert (
        sum(x for x in seen if isinstance(x, int)) > whole
    )  # what is counted there is not nothing


def test_gradient_through_groups_is_the_gradient_of_the_whole() -> None:
    model, counts = aggregator(2), torch.tensor([3, 2])
    answer = noise(3, 3, WIDTH, seed=1)
    grads = []
    for read in (
        lambda frames: model(frames, counts)[0],
        lambda frames: model.in_order(
            model.resampler(frames, torch.tensor([2, 1, 2]), 2), torch.tensor([2, 1])
        ),
    ):
        model.zero_grad()
        frames = noise(5, 4, WIDTH).requires_grad_()
        (read(frames) * answer).sum().backward()
        named = {name: p.grad.clone() for name, p in model.named_parameters()}
        grads.append(named | {"frames": frames.grad})
    # The table has three rows and groups of two read two of them.
    idle = {name for name, grad in grads[0].items() if not grad.any(-1).all()}
    assert (
        idle == {"resampler.time"} and grads[0]["resampler.time"].any(-1).tolist()[:2] == [True] * 2
    )
    for name, grad in grads[0].items():
        # measured: 8.9e-16
        torch.testing.assert_close(grad, grads[1][name], atol=1e-12, rtol=0)


def test_frames_that_do_not_fit_their_counts_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"clips of \[4, 2\] frames cannot be cut out of 5 frames"):
        aggregator()(noise(5, 2, WIDTH), torch.tensor([4, 2]))


@pytest.mark.parametrize(
    ("width", "heads", "hidden", "crosses", "paper", "exact"),
    [(4096, 32, 14336, 2, "0.6", 587_637_252), (8192, 64, 28672, 5, "4.6", 4_581_098_762)],
)
def test_the_video_adapter_costs_what_the_paper_says(
    width: int, heads: int, hidden: int, crosses: int, paper: str, exact: int
) -> None:
    """Llama 3 herd of models, 7.2: "0.6B and 4.6B parameters" beside the language models of 8B and 70B."""
    with torch.device("meta"):
        cross = GatedCrossBlock(width, heads, 8, 128, hidden, 1e-5)
        parts = [Aggregator(AggregatorConfig(), width), *[cross] * crosses]
    total = sum(p.numel() for part in parts for p in part.parameters())
    assert total == exact and f"{total / 1e9:.1f}" == paper


def test_settings_come_back_from_their_record() -> None:
    config = AggregatorConfig(merge=16, hidden=None)
    assert from_record(AggregatorConfig, as_record(config)) == config
    defaults = AggregatorConfig()
    assert (defaults.merge, defaults.frames, defaults.norm_eps) == (32, 16, 1e-5)


# ---- the Perceiver ---------------------------------------------------------------------------------

SIZES = {"latents": 4, "width": 6, "repeats": 3, "depth": 2, "heads": 3, "hidden": 12}


def perceiver(**changes: Any) -> Perceiver:
    return seeded(Perceiver, PerceiverConfig(**(SIZES | changes)), 5, 0)


def perceived(model: Perceiver, x: Tensor, shared: bool) -> Tensor:
    """Jaegle et al. 2021, figure 1, for one input [K, source]."""
    w, c = weights_of(model), model.config
    latents = w["latents"]
    for turn in range(c.repeats):
        read = f"reads.{min(turn, 1) if shared else turn}"
        own, inputs = normed(latents, w, f"{read}.attn_norm"), normed(x, w, f"{read}.source_norm")
        latents = latents + asked(own, inputs, w, f"{read}.attn", c.cross_heads)
        latents = latents + thought(latents, w, read)
        for i in range(c.depth):
            block = f"thoughts.{0 if shared else turn}.{i}"
            own = normed(latents, w, f"{block}.attn_norm")
            latents = latents + asked(own, own, w, f"{block}.attn", c.heads)
            latents = latents + thought(latents, w, block)
    return latents


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("cross_heads", [1, 5])
def test_a_perceiver_is_the_papers_equations(shared: bool, repeats: int, cross_heads: int) -> None:
    model = perceiver(share=shared, repeats=repeats, cross_heads=cross_heads)
    assert len(model.reads) == (min(2, repeats) if shared else repeats)
    for inputs in (1, 7):
        x = noise(2, inputs, 5)
        expected = torch.stack([perceived(model, one, shared) for one in x])
        # measured: 1.8e-15
        torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)


IN_TRANSFORMERS = {
    "attn_norm": "attention.self.layernorm1",
    "source_norm": "attention.self.layernorm2",
    "attn.q": "attention.self.query",
    "attn.k": "attention.self.key",
    "attn.v": "attention.self.value",
    "attn.o": "attention.output.dense",
    "mlp_norm": "layernorm",
    "mlp.up": "mlp.dense1",
    "mlp.down": "mlp.dense2",
}


@torch.no_grad()
def test_one_reading_is_the_encoder_of_transformers() -> None:
    """Perceiver IO reads once; its encoder there is a Perceiver of one repeat."""
    model = perceiver(repeats=1)
    config = TheirPerceiverConfig(
        d_latents=6,
        num_latents=4,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=3,
        num_cross_attention_heads=1,
        cross_attention_shape_for_attention="kv",
        self_attention_widening_factor=2,
        cross_attention_widening_factor=2,
    )
    other = PerceiverEncoder(config, kv_dim=5).double().eval()
    weights = {}
    for name, value in weights_of(model).items():
        stem, _, kind = name.rpartition(".")
        if stem.startswith("reads.0."):
            weights[f"cross_attention.{IN_TRANSFORMERS[stem.split('.', 2)[2]]}.{kind}"] = value
        elif stem:
            _, _, layer, part = stem.split(".", 3)
            weights[f"self_attends.{layer}.{IN_TRANSFORMERS[part]}.{kind}"] = value
    other.load_state_dict(weights, strict=True)
    x = noise(2, 7, 5)
    expected = other(model.latents.expand(2, -1, -1), inputs=x).last_hidden_state
    # measured: 4.4e-16
    torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)


def test_gradient_reaches_every_parameter_of_a_perceiver() -> None:
    """But for biases of keys: what is added to every score of a query alike does nothing."""
    model = perceiver(share=False)
    (model(noise(2, 7, 5)) * noise(2, 4, 6)).sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad.abs().max() < 1e-12}
    assert still == {name for name in model.state_dict() if name.endswith("attn.k.bias")}


def test_the_default_is_the_papers_model_of_imagenet() -> None:
    """44.9 M parameters shared, 326.2 M not, with 261 channels and a head of 1,000 classes."""
    head = 1024 * 1000 + 1000
    with torch.device("meta"):
        for share, paper in ((True, "44.9"), (False, "326.2")):
            model = Perceiver(PerceiverConfig(share=share), 261)
            total = sum(p.numel() for p in model.parameters()) + head
            assert f"{total / 1e6:.1f}" == paper
