"""Cross-attention: the language model unchanged, pictures seen by whom and from where they should."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiasm.base.vision import Vision
from chiasm.inputs.batch import Batch, pack, pad
from chiasm.inputs.chat import Rendered
from chiasm.models import Crossed, fusion_schedule, see
from chiasm.testing import (
    VOCAB,
    toy_crossed,
    toy_crossed_config,
    toy_decoder_config,
    toy_picture,
    toy_pixels,
    toy_rendered,
    toy_video_config,
)


def samples_of(counts: list[int], seed: int = 0) -> list[Rendered]:
    """Samples with so many pictures each, all pictures different."""
    numbers = iter(range(sum(counts)))
    return [
        toy_rendered(100 * seed + i, [toy_picture(next(numbers)) for _ in range(n)], tokens=5 + i)
        for i, n in enumerate(counts)
    ]


def double(batch: Batch) -> dict:
    inputs = batch.inputs()
    if (vision := inputs["vision"]) is not None:
        inputs["vision"] = Vision(vision.spans, vision.pixels.double())
    return inputs


# ---- where crosses stand -------------------------------------------------------------------------


def places_from_the_end(depth: int, crosses: int) -> list[int]:
    """The rule in words: walk down from the last block by ⌈depth / crosses⌉, as often as asked."""
    chosen, place = [], depth - 1
    while place >= 0 and len(chosen) < crosses:
        chosen.insert(0, place)
        place -= math.ceil(depth / crosses)
    return chosen


def test_the_schedule_is_walked_from_the_end_for_every_size() -> None:
    for depth in range(1, 129):
        for crosses in range(1, depth + 1):
            expected = places_from_the_end(depth, crosses)
            if len(expected) == crosses:
                assert fusion_schedule(depth, crosses) == tuple(expected)
            else:
                with pytest.raises(ValueError, match=f"take {len(expected)} crosses"):
                    fusion_schedule(depth, crosses)


def test_the_schedule_of_the_released_models() -> None:
    # transformers counts inserted layers: [3, 8, 13, …, 38] of 40 and [3, 8, …, 98] of 100
    for depth, crosses, inserted in ((32, 8, range(3, 40, 5)), (80, 20, range(3, 100, 5))):
        ours = fusion_schedule(depth, crosses)
        assert [block + before for before, block in enumerate(ours)] == list(inserted)


# ---- the language model stays as it is -----------------------------------------------------------


def test_the_decoder_and_the_encoder_keep_their_names() -> None:
    model = toy_crossed()
    names = set(model.state_dict())
    for part in ("decoder", "encoder"):
        inner = {f"{part}.{name}" for name in getattr(model, part).state_dict()}
        assert inner == {name for name in names if name.startswith(f"{part}.")}
    kinds = {name.split(".")[0] for name in names}
    assert kinds == {"decoder", "encoder", "projector", "crosses", "extra"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@torch.no_grad()
def test_closed_gates_are_the_language_model_bit_for_bit(dtype: torch.dtype) -> None:
    model = toy_crossed().to(dtype)
    for cross in model.crosses:
        nn.init.zeros_(cross.attn_gate)
        nn.init.zeros_(cross.mlp_gate)
    batch = pack(samples_of([2, 0, 1]), toy_pixels)
    tokens = batch.tokens.masked_fill(batch.tokens >= VOCAB, 5)
    assert batch.vision is not None
    got = model(tokens, positions=batch.positions, segments=batch.segments, vision=batch.vision)
    plain = model.decoder(tokens, positions=batch.positions, segments=batch.segments)
    assert torch.equal(got, plain) and torch.equal(model.head(got), model.decoder.head(plain))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lay", [pack, pad])
@pytest.mark.parametrize("counts", [[0, 2, 0, 1, 0], [0, 0], [1, 4, 0]])
@torch.no_grad()
def test_text_stays_bit_identical_beside_pictures(
    dtype: torch.dtype, lay: object, counts: list[int]
) -> None:
    model = toy_crossed().to(dtype)
    samples = samples_of(counts)
    batch = lay(samples, toy_pixels)
    tokens = batch.tokens.masked_fill(batch.tokens >= VOCAB, 5)  # the plain model has no such row
    plain = model.decoder(tokens, positions=batch.positions, segments=batch.segments)
    got = model(**batch.inputs())
    numbers = batch.segments if batch.segments is not None else torch.arange(len(counts))[:, None]
    numbers = numbers.expand(batch.tokens.shape)
    for i, count in enumerate(counts):
        same = torch.equal(model.head(got)[numbers == i], model.decoder.head(plain)[numbers == i])
        assert same == (count == 0)


@torch.no_grad()
def test_text_alone_is_the_language_model_bit_for_bit() -> None:
    model = toy_crossed()
    tokens = torch.randint(VOCAB, (2, 9))
    blind = Vision(torch.zeros(2, 9, 2, dtype=torch.long), torch.randn(1, 3, 12, 12))
    assert torch.equal(model(tokens), model.decoder(tokens))
    assert torch.equal(model(tokens, vision=blind), model.decoder(tokens))


# ---- who sees what -------------------------------------------------------------------------------


def seen_by(model: Crossed, batch: Batch, picture: int) -> Tensor:
    """[B, T] whether features change when a picture does."""
    inputs = batch.inputs()
    before = model(**inputs)
    pixels = batch.vision.pixels.clone()
    pixels[picture] += torch.randn_like(pixels[picture])
    after = model(**inputs | {"vision": Vision(batch.vision.spans, pixels)})
    return ((after - before) != 0.0).any(-1)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 50), st.booleans())
@torch.no_grad()
def test_a_picture_reaches_its_own_sample_from_its_place_on(
    counts: list[int], seed: int, packed: bool
) -> None:
    if not sum(counts):
        counts = [*counts, 1]
    model = toy_crossed()
    samples = samples_of(counts, seed)
    batch = (pack if packed else pad)(samples, toy_pixels)
    holder = [i for i, n in enumerate(counts) for _ in range(n)]
    for picture in range(sum(counts)):
        changed = seen_by(model, batch, picture)
        rows = list(changed.split([len(s.ids) for s in samples], dim=1)) if packed else changed
        for i, sample in enumerate(samples):
            mine = rows[i].flatten()[: len(sample.ids)]
            if i != holder[picture]:
                assert not mine.any()
                continue
            own = picture - holder.index(i)
            place = [t for t, token in enumerate(sample.ids) if token == VOCAB][own]
            # exactly 0.0 before the place; from there on the picture is felt, directly or through
            # what earlier tokens of the sample saw
            assert not mine[:place].any() and mine[place:].all()


def dense(model: Crossed, tokens: Tensor, spans: Tensor, pixels: Tensor) -> Tensor:
    """One sample, written plainly: a mask over all vectors of all pictures, and both outputs times it."""
    c = model.config.decoder
    taps = model.encoder(pixels, model.config.projector.taps)
    vectors = model.projector(torch.cat(list(taps.values()), -1))
    pool = vectors.flatten(0, 1)
    owner = torch.arange(len(pixels)).repeat_interleave(vectors.shape[1])
    mask = (owner >= spans[:, :1]) & (owner < spans[:, 1:])
    sees = mask.any(1, keepdim=True)
    table = torch.cat((model.decoder.embed.weight, model.extra.weight))
    crosses = dict(zip(fusion_schedule(c.depth, model.config.crosses), model.crosses, strict=True))
    route = model.decoder.route(table[tokens][None], None, None, None)
    x = table[tokens]
    for layer, block in enumerate(model.decoder.blocks):
        if layer in crosses:
            cross, d = crosses[layer], c.head_width
            q = cross.attn.q_norm(cross.attn.q(cross.attn_norm(x)).unflatten(-1, (-1, d)))
            k = cross.attn.k_norm(cross.attn.k(pool).unflatten(-1, (-1, d)))
            v = cross.attn.v(pool).unflatten(-1, (-1, d))
            k, v = (part.repeat_interleave(c.heads // c.kv_heads, dim=1) for part in (k, v))
            scores = torch.einsum("thd,shd->hts", q, k) / math.sqrt(d)
            weights = scores.masked_fill(~mask, -1e30).softmax(-1)
            seen = cross.attn.o(torch.einsum("hts,shd->thd", weights, v).flatten(1)) * sees
            x = x + torch.tanh(cross.attn_gate) * seen
            x = x + torch.tanh(cross.mlp_gate) * (cross.mlp(cross.mlp_norm(x)) * sees)
        x = block(x[None], route, layer)[0]
    return model.decoder.norm(x)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 50))
@torch.no_grad()
def test_packs_against_one_dense_masked_sample_at_a_time(counts: list[int], seed: int) -> None:
    model = toy_crossed().double()
    samples = samples_of(counts, seed)
    batch = pack(samples, toy_pixels)
    got = model(**double(batch))[0].split([len(s.ids) for s in samples])
    for sample, features in zip(samples, got, strict=True):
        pixels = [toy_pixels(p)[0, 0].double() for p in sample.pictures] or [
            torch.zeros(3, 12, 12).double()
        ]
        spans = torch.tensor(sample.seen)
        expected = dense(model, torch.tensor(sample.ids), spans, torch.stack(pixels))
        torch.testing.assert_close(features, expected, atol=1e-12, rtol=0)  # measured: 3.4e-15


def test_the_order_of_pictures_matters_and_renaming_them_does_not() -> None:
    model = toy_crossed().double()
    batch = pack(samples_of([2, 1]), toy_pixels)
    vision = batch.vision
    before = model(**double(batch))
    # pictures of the second sample first: 0, 1, 2 become 1, 2, 0
    spans = torch.where(vision.spans[..., :1] < 2, vision.spans + 1, vision.spans - 2)
    spans = torch.where(
        vision.spans[..., :1] == vision.spans[..., 1:], torch.zeros_like(spans), spans
    )
    renamed = Vision(spans, vision.pixels[[2, 0, 1]].double())
    after = model(**batch.inputs() | {"vision": renamed})
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)
    swapped = Vision(vision.spans, vision.pixels[[1, 0, 2]].double())
    other = model(**batch.inputs() | {"vision": swapped})
    first = batch.segments[0] == 0
    assert torch.equal(other[0, ~first], before[0, ~first])
    assert not torch.isclose(other[0, first], before[0, first]).all()


def test_given_features_are_what_the_encoder_would_give() -> None:
    model = toy_crossed()
    batch = pack(samples_of([1, 2]), toy_pixels)
    features = see(model, batch.vision.pixels)
    ran = []
    model.encoder.register_forward_hook(lambda *_: ran.append(1))
    got = model(**batch.inputs() | {"vision": Vision(batch.vision.spans, features=features)})
    assert not ran and torch.equal(got, model(**batch.inputs()))


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[0, 2, 0], [1], [0, 0]])
def test_gradients_are_finite_when_rows_see_nothing(counts: list[int]) -> None:
    model = toy_crossed()
    batch = pack(samples_of(counts), toy_pixels)
    model(**batch.inputs()).square().sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is None or g.isfinite().all() for g in grads.values())
    reached = {name for name, g in grads.items() if g is not None and g.any()}
    crossed = {name for name in grads if name.startswith(("crosses.", "projector."))}
    # a bias on all keys shifts all scores alike, so none is asked of k; everything else must learn
    assert crossed <= reached if any(counts) else not crossed & reached


# ---- along the cache -----------------------------------------------------------------------------


def cut(vision: Vision, sample: Rendered, start: int, stop: int) -> Vision | None:
    """The pictures whose places stand in tokens start … stop - 1, and spans counted from the first."""
    before = sample.ids[:start].count(VOCAB)
    count = sample.ids[start:stop].count(VOCAB)
    if not count:
        return None
    spans = vision.spans[:, start:stop] - before
    spans = torch.where(spans[..., :1] < 0, torch.zeros_like(spans), spans)
    return Vision(spans, vision.pixels[before : before + count])


@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_along_the_cache_is_the_whole_with_pictures_on_the_way(seed: int) -> None:
    model = toy_crossed().double()
    sample = toy_rendered(seed, [toy_picture(i) for i in range(seed % 5)], tokens=9)
    batch = pad([sample], toy_pixels)
    whole = model(**double(batch))
    length = len(sample.ids)
    # cut everywhere but inside a run of pictures: a run is shown at once
    cuts = [t for t in range(1, length) if not (sample.ids[t - 1] == sample.ids[t] == VOCAB)]
    for chosen in (cuts, cuts[::3], cuts[:1]):
        cache, got = model.cache(1, length), []
        for start, stop in zip([0, *chosen], [*chosen, length], strict=True):
            vision = None if batch.vision is None else cut(batch.vision, sample, start, stop)
            if vision is not None:
                vision = Vision(vision.spans, vision.pixels.double())
            got.append(model(batch.tokens[:, start:stop], vision=vision, cache=cache))
            cache.advance(stop - start)
        torch.testing.assert_close(torch.cat(got, 1), whole, atol=1e-12, rtol=0)


@torch.no_grad()
def test_rows_with_different_pictures_go_on_alone() -> None:
    model = toy_crossed().double()
    samples = samples_of([1, 0, 3, 1], seed=3)
    samples[3] = toy_rendered(9, [toy_picture(0)], tokens=6)  # shares its picture with row 0
    batch = pad(samples, toy_pixels)
    assert batch.vision.pixels.shape[0] == 4
    cache = model.cache(4, 20)
    first = model(**double(batch) | {"positions": None}, cache=cache)
    cache.advance(batch.lengths)
    more = torch.randint(VOCAB, (4, 3))
    steps = [model(more[:, :2], cache=cache)]
    cache.advance(2)
    steps.append(model(more[:, 2:], cache=cache))
    for row, sample in enumerate(samples):
        ids = sample.ids + more[row].tolist()
        longer = Rendered(
            ids, [False] * len(ids), sample.pictures, sample.seen + [sample.seen[-1]] * 3
        )
        expected = model(**double(pad([longer], toy_pixels)))[0]
        got = torch.cat((first[row, : len(sample.ids)], *(step[row] for step in steps)))
        torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


def test_pictures_are_encoded_once_per_conversation() -> None:
    model, ran = toy_crossed(), []
    model.encoder.register_forward_hook(lambda _, inputs, __: ran.append(len(inputs[0])))
    batch = pad(samples_of([2]), toy_pixels)
    cache = model.cache(1, 40)
    model(**batch.inputs(), cache=cache)
    cache.advance(batch.tokens.shape[1])
    for _ in range(3):
        model(torch.tensor([[7]]), cache=cache)
        cache.advance(1)
    assert ran == [2] and all(k.shape[0] == 2 for k, _ in cache.pictures.pairs)


# ---- settings ------------------------------------------------------------------------------------


def test_a_count_of_crosses_that_does_not_fit_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="crosses"):
        toy_crossed_config(decoder=toy_decoder_config(depth=7), crosses=5)
    with pytest.raises(ValueError, match="crosses"):
        toy_crossed_config(crosses=0)


def test_the_video_token_stands_behind_the_image_token() -> None:
    assert toy_crossed_config().video_token is None
    assert toy_crossed_config(video=toy_video_config(), extra_tokens=2).video_token == VOCAB + 1
    with pytest.raises(ValueError, match="videos need extra_tokens of 2 or more"):
        toy_crossed_config(video=toy_video_config(), extra_tokens=1)


def test_the_image_token_stands_behind_the_vocabulary() -> None:
    config = toy_crossed_config()
    assert config.image_token == VOCAB and config.places() == 1
