"""Clips: what an independent reader sees over the frames is what the answers say."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from tests.data.render.reading import frames, middle, where

from chiasm.data.render.drawn import Drawn
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.message import Picture, Video
from chiasm.inputs.video import FrameRule


def of_plan(drawn: dict[str, list[Drawn]], plan: str) -> list[tuple[Drawn, Any]]:
    """Clips of a plan without GIF's changed colours, each with its first question."""
    found = [d for d in drawn["clips"] if d.truth["plan"] == plan and not d.style.endswith("gif")]
    assert len(found) > 20
    return [(clip, clip.questions[0]) for clip in found]


def colour_of(clip: Drawn, name: str) -> str:
    [thing] = [thing for thing in clip.truth["things"] if thing["name"] == name]
    return thing["colours"][0]


def alone(clip: Drawn, colour: str) -> bool:
    """Whether no other thing has the colour."""
    return sum(colour in thing["colours"] for thing in clip.truth["things"]) == 1


def named(clip: Drawn, text: str) -> str:
    [name] = [thing["name"] for thing in clip.truth["things"] if thing["name"] in text]
    return name


OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


def way_of(seen: list[Any]) -> str:
    """Where the centres of successive frames lead."""
    across, down = np.subtract(seen[-1], seen[0])
    way = ("left", "right") if abs(across) > abs(down) else ("up", "down")
    return way[int((across if way[0] == "left" else down) > 0)]


def test_the_centre_of_what_moves_goes_the_told_way_and_back_when_played_backwards(
    drawn: dict[str, list[Drawn]],
) -> None:
    checked = 0
    for clip, question in of_plan(drawn, "direction"):
        colour = colour_of(clip, named(clip, question.text))
        if not alone(clip, colour):
            continue
        seen = [middle(where(frame, colour)) for frame in frames(clip.data)]
        if None in seen:
            continue  # another thing stands in front
        across, down = np.subtract(seen[-1], seen[0])
        assert question.answer == way_of(seen)
        backwards = [middle(where(frame, colour)) for frame in reversed(frames(clip.data))]
        assert way_of(backwards) == OPPOSITE[question.answer]
        assert max(abs(across), abs(down)) > 50 > 3 * min(abs(across), abs(down))
        checked += 1
    assert checked > 12


def test_the_faster_one_covers_more_ground(drawn: dict[str, list[Drawn]]) -> None:
    checked = 0
    for clip, question in of_plan(drawn, "speed"):
        ways = {}
        for thing in clip.truth["things"]:
            colour = thing["colours"][0]
            seen = [middle(where(frame, colour)) for frame in frames(clip.data)]
            if alone(clip, colour) and None not in seen:
                ways[thing["name"]] = np.abs(np.subtract(seen[-1], seen[0])).max()
        if len(ways) == 2:
            assert question.answer == max(ways, key=lambda name: ways[name])
            checked += 1
    assert checked > 12


def test_blinks_are_gaps_in_what_is_seen(drawn: dict[str, list[Drawn]]) -> None:
    counts = Counter()
    for clip, question in of_plan(drawn, "blinks"):
        colour = colour_of(clip, named(clip, question.text))
        if not alone(clip, colour):
            continue
        there = [bool(where(frame, colour).sum() > 40) for frame in frames(clip.data)]
        assert there[0] and there[-1]
        assert sum(a and not b for a, b in pairwise(there)) == int(question.answer)
        counts[question.answer] += 1
    assert len(counts) == 5


def test_bounces_are_lowest_points(drawn: dict[str, list[Drawn]]) -> None:
    counts = Counter()
    for clip, question in of_plan(drawn, "bounces"):
        [thing] = clip.truth["things"]
        colour = thing["colours"][0]
        low = [middle(where(frame, colour))[1] for frame in frames(clip.data)]
        touches = sum(b > max(a, c) + 3 for a, b, c in zip(low, low[1:], low[2:], strict=False))
        assert touches == int(question.answer), low
        counts[question.answer] += 1
    assert len(counts) == 4


def test_things_come_and_go_in_the_told_order(drawn: dict[str, list[Drawn]]) -> None:
    checked = Counter()
    for clip, question in of_plan(drawn, "order"):
        colours = [thing["colours"][0] for thing in clip.truth["things"]]
        if len(set(colours)) < len(colours):
            continue
        going = question.kind in ("goes first", "goes last", "order of going")
        moments = {}
        for thing, colour in zip(clip.truth["things"], colours, strict=True):
            there = [where(frame, colour).sum() > 40 for frame in frames(clip.data)]
            moments[thing["name"]] = there.index(not going)
        order = sorted(moments, key=lambda name: moments[name])
        assert len(set(moments.values())) == len(order)
        wanted = {"first": order[0], "last": order[-1]}.get(
            question.kind.split()[-1], ", ".join(order)
        )
        assert question.answer == wanted
        checked[question.kind] += 1
    assert len(checked) == 6


def test_colours_and_sizes_change_as_told(drawn: dict[str, list[Drawn]]) -> None:
    for clip, question in of_plan(drawn, "colours"):
        shown, thing = frames(clip.data), clip.truth["things"][1]
        order = list(dict.fromkeys(thing["colours"]))
        left, top, right, bottom = thing["boxes"][0]
        here = slice(top, bottom), slice(left, right)
        assert where(shown[0][here], order[0]).sum() > 40
        assert where(shown[-1][here], order[-1]).sum() > 40
        wanted = {"colour before": order[0], "colour after": order[-1]}
        assert question.answer == wanted.get(question.kind, ", ".join(order))
    for clip, question in of_plan(drawn, "growth"):
        [thing] = clip.truth["things"]
        first, last = (where(frames(clip.data)[i], thing["colours"][0]).sum() for i in (0, -1))
        assert question.answer == ("grow" if last > 1.5 * first else "shrink")
        assert max(first, last) > 1.5 * min(first, last)


def test_a_gif_keeps_every_colour(drawn: dict[str, list[Drawn]]) -> None:
    chosen = [d for d in drawn["clips"] if d.style.endswith("gif") and d.truth["plan"] == "order"]
    for clip in chosen:
        whole = max(frames(clip.data), key=lambda frame: float(frame.std()))
        shown = frames(clip.data)
        for thing in clip.truth["things"]:
            seen = max(int(where(frame, thing["colours"][0]).sum()) for frame in (whole, *shown))
            assert seen > 40, (thing["name"], clip.style)
    assert chosen


def test_our_own_decoder_reads_them_all(drawn: dict[str, list[Drawn]]) -> None:
    with ImageDecoder() as decoder:
        for clip in drawn["clips"][:25]:
            video = Video(Picture(data=clip.data))
            durations = decoder.durations(video.source.read())
            assert sum(durations) == clip.truth["frames"] * clip.truth["duration"]
            read = decoder.frames(clip.data, FrameRule(most=16).chosen(durations))
            assert list(read.shape[1:3]) == clip.truth["size"]
            assert 1 < len(read) <= clip.truth["frames"] <= 16
