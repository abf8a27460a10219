"""What must hold for every architecture, whatever the weights: drawn models, drawn scenes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.scenes import KINDS, SIDE, Scene, build, model_of, scenes
from torch import Tensor

from chiasm.base.vision import Clips, Vision
from chiasm.models import Crossed, Prefix

SEEDS = st.integers(0, 3)
CROSSED = [kind for kind in KINDS if not kind.startswith("prefix")]
FEW = settings(max_examples=12)


@torch.no_grad()
def features(model: Crossed | Prefix, scene: Scene) -> Tensor:
    return model(scene.tokens, vision=scene.vision)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=SEEDS)
@FEW
def test_the_future_changes_nothing(kind: str, data: st.DataObject, seed: int) -> None:
    model, scene = model_of(kind, seed), data.draw(scenes(kind))
    row = data.draw(st.integers(0, len(scene.tokens) - 1))
    words = (scene.tokens[row] < 40).nonzero().flatten().tolist()
    if not words:
        return
    at = data.draw(st.sampled_from(words))
    before = features(model, scene)
    tokens = scene.tokens.clone()
    tokens[row, at] = (tokens[row, at] + 1 + data.draw(st.integers(0, 37))) % 40
    after = features(model, replace(scene, tokens=tokens))
    same = torch.ones(scene.tokens.shape, dtype=torch.bool)
    same[row, at:] = False
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[row, at], after[row, at])


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=SEEDS)
@FEW
def test_a_picture_changes_nothing_before_its_place_nor_beside_its_row(
    kind: str, data: st.DataObject, seed: int
) -> None:
    model, scene = model_of(kind, seed), data.draw(scenes(kind))
    if not scene.owners:
        return
    which = data.draw(st.integers(0, len(scene.owners) - 1))
    counts = scene.vision.grids.prod(1)
    first = int(counts[:which].sum())
    pixels = scene.vision.pixels.clone()
    pixels[first : first + int(counts[which])] += 1
    before, after = features(model, scene), features(model, scene.with_pixels(pixels))
    row, place = scene.owners[which], scene.places[which]
    same = torch.ones(scene.tokens.shape, dtype=torch.bool)
    same[row, place:] = False
    assert torch.equal(before[same], after[same])
    assert not torch.equal(before[row, place], after[row, place])


def part(scene: Scene, start: int, stop: int) -> dict[str, object]:
    """What a model is given of tokens start … stop - 1 of a scene of one row, counted from there."""
    vision, tokens = scene.vision, scene.tokens[:, start:stop]
    if vision is None:
        return {"tokens": tokens}
    new = [i for i, place in enumerate(scene.places) if start <= place < stop]
    spans, grids, pixels = vision.spans[:, start:stop], vision.grids, vision.pixels
    if grids is not None:
        low = new[0] if new else 0
        spans = torch.where(spans[..., :1] >= low, spans - low, torch.zeros_like(spans))
        spans = spans if new else torch.zeros_like(spans)
        ends = [0, *grids.prod(1).cumsum(0).tolist()]
        pixels = pixels[ends[low] : ends[low + len(new)]]
        grids = grids[low : low + len(new)]
    clips = vision.clips
    if clips is not None:
        marks = (scene.tokens[0] == 41).nonzero().flatten().tolist()
        shown = [i for i, place in enumerate(marks) if start <= place < stop]
        low = shown[0] if shown else 0
        times = clips.spans[:, start:stop]
        times = torch.where(times[..., :1] >= low, times - low, torch.zeros_like(times))
        times = times if shown else torch.zeros_like(times)
        ends = [0, *clips.frames.cumsum(0).tolist()]
        frames = clips.frames[low : low + len(shown)]
        clips = Clips(times, frames, clips.pixels[ends[low] : ends[low + len(shown)]])
    return {"tokens": tokens, "vision": Vision(spans, pixels, grids, clips=clips)}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=SEEDS)
@FEW
def test_along_the_cache_is_the_whole(kind: str, data: st.DataObject, seed: int) -> None:
    model, scene = model_of(kind, seed), data.draw(scenes(kind, rows=1))
    length = scene.tokens.shape[1]
    tokens, spans = scene.tokens[0].tolist(), None
    if scene.vision is not None:
        spans = scene.vision.spans[0].tolist()
    # A run of pictures is shown at once, and the places of one picture stand together.
    cuts = [t for t in range(1, length) if not (tokens[t] == 40 and tokens[t - 1] == 40)]
    chosen = sorted(data.draw(st.sets(st.sampled_from(cuts)))) if cuts else []
    whole = features(model, scene)
    cache, found, start = model.cache(1, length), [], 0
    assert spans is None or len(spans) == length
    for stop in [*chosen, length]:
        with torch.no_grad():
            found.append(model(**part(scene, start, stop), cache=cache))
        cache.advance(stop - start)
        start = stop
    far = float((torch.cat(found, dim=1) - whole).abs().max())
    assert far <= 1e-11  # measured: 1e-14


@pytest.mark.parametrize("kind", CROSSED)
@given(data=st.data(), seed=SEEDS)
@FEW
def test_closed_gates_are_the_plain_language_model(
    kind: str, data: st.DataObject, seed: int
) -> None:
    model, scene = model_of(kind, seed), data.draw(scenes(kind))
    with torch.no_grad():
        for cross in [*model.crosses, *(model.video_crosses if kind == "video" else [])]:
            cross.attn_gate.zero_()
            cross.mlp_gate.zero_()
        words = model.decoder.embed(scene.tokens.clamp(max=39))
        added = model.extra((scene.tokens - 40).clamp(min=0))
        x = torch.where(scene.tokens[..., None] >= 40, added, words)
        plain = model.decoder.run(x, None, None, None)
    assert torch.equal(features(model, scene), plain)


def test_both_branches_answer_for_themselves() -> None:
    """A picture moves the same tokens with and without a video beside it, and the other way round."""
    model = model_of("video", 0)
    source = torch.Generator().manual_seed(0)
    scene = build("video", [list("wpwvww")], lambda: (1, 2), lambda: 4, source)
    whole = features(model, scene)
    clips = scene.vision.clips
    other = torch.randn(clips.pixels.shape, generator=source, dtype=torch.float64)
    changed = replace(scene, vision=replace(scene.vision, clips=replace(clips, pixels=other)))
    moved = (features(model, changed) - whole).abs().amax(-1)[0]
    assert not moved[:3].any() and bool((moved[3:] > 1e-4).all())
    moved = (features(model, scene.with_pixels(scene.vision.pixels + 1)) - whole).abs().amax(-1)[0]
    assert not moved[:1].any() and bool((moved[1:] > 1e-4).all())
    alone = features(model, replace(scene, vision=replace(scene.vision, clips=None)))
    assert torch.equal(alone[:, :3], whole[:, :3]) and not torch.equal(alone[:, 3:], whole[:, 3:])


@pytest.mark.parametrize(("left", "right"), [(0, 1), (0, 4)])
def test_the_order_of_frames_is_seen_within_a_group_and_between_groups(
    left: int, right: int
) -> None:
    """Groups are of three frames: exchanged within the first, and with one of the second."""
    model = model_of("video", 0)
    scene = build(
        "video", [list("wvw")], lambda: (1, 1), lambda: 6, torch.Generator().manual_seed(0)
    )
    whole, clips = features(model, scene), scene.vision.clips
    order = list(range(6))
    order[left], order[right] = order[right], order[left]
    other = replace(scene.vision, clips=replace(clips, pixels=clips.pixels[order]))
    assert float((features(model, replace(scene, vision=other)) - whole).abs().max()) > 1e-4
    groups = replace(scene.vision, clips=replace(clips, pixels=clips.pixels[[3, 4, 5, 0, 1, 2]]))
    assert float((features(model, replace(scene, vision=groups)) - whole).abs().max()) > 1e-4


def test_frames_are_seen_some_at_a_time_and_never_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("video", 0)
    scene = build(
        "video", [list("wvw")], lambda: (1, 1), lambda: 50, torch.Generator().manual_seed(0)
    )
    ran: list[int] = []
    model.encoder.patches.register_forward_pre_hook(lambda m, args: ran.append(len(args[0])))
    whole = features(model, scene)
    assert sum(ran) == 50 and max(ran) == 3  # groups of `merge` frames
    monkeypatch.setattr("chiasm.models.video.TILES", 1)
    ran.clear()
    one_by_one = features(model, scene)
    assert ran == [1] * 50 and float((one_by_one - whole).abs().max()) < 1e-12


def test_a_model_without_eyes_for_videos_says_so() -> None:
    model = model_of("crossed", 0)
    spans = torch.tensor([[[0, 1]]])
    clips = Clips(spans, torch.tensor([1]), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    with pytest.raises(ValueError, match="no eyes for videos"):
        model(torch.tensor([[1]]), vision=Vision(spans * 0, clips=clips))
