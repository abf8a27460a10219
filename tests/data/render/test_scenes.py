"""Scenes and grounding: what an independent reader finds in the decoded picture is what is said of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.data.render.reading import NAMED, pixels, spots, where

from chiasm.data.render.canvas import COLOURS, GROUNDS, PATTERNS, SHAPES, mask
from chiasm.data.render.drawn import Drawn
from chiasm.evaluation.verify.places import overlap

APART = ("count", "more", "relate", "odd")
"""Plans in which no two things touch."""


def is_plain(picture: Drawn) -> bool:
    """Whether every thing has one shade, and nothing was done to the picture but coding."""
    things = picture.truth["things"]
    return "/clean/" in picture.style and all(t["pattern"] == "plain" for t in things)


def test_the_reader_knows_the_same_colours() -> None:
    assert NAMED == COLOURS


def test_as_many_spots_of_a_colour_as_things(drawn: dict[str, list[Drawn]]) -> None:
    chosen = [d for d in drawn["scenes"] if d.truth["plan"] in APART and is_plain(d)][:45]
    assert {d.truth["plan"] for d in chosen} == set(APART)
    missed = []
    for picture in chosen:
        shown, counts = pixels(picture.data), Counter(t["colour"] for t in picture.truth["things"])
        hidden = GROUNDS[picture.style.split("/")[1].split()[0]][1]
        for colour in set(COLOURS) - set(hidden):
            if len(spots(where(shown, colour))) != counts[colour]:
                missed.append(picture.style)
    # JPEG may tear the thin end off a moon: one of 196 pictures when this was measured.
    assert len(missed) <= 1 and all(style.endswith("jpeg") for style in missed), missed


@pytest.mark.parametrize("kind", ["scenes", "grounding"])
def test_boxes_are_those_of_the_pixels(drawn: dict[str, list[Drawn]], kind: str) -> None:
    plans = {"scenes": ("look", "relate"), "grounding": ("told",)}[kind]
    off: dict[bool, list[int]] = {True: [], False: []}
    for picture in drawn[kind]:
        lossless = picture.style.endswith("png")
        if picture.truth["plan"] not in plans or not is_plain(picture) or len(off[lossless]) > 60:
            continue
        shown, things = pixels(picture.data), picture.truth["things"]
        counts = Counter(thing["colour"] for thing in things)
        for thing in (thing for thing in things if counts[thing["colour"]] == 1):
            found = max(spots(where(shown, thing["colour"])), key=lambda b: b[2] - b[0])
            off[lossless].append(max(abs(a - b) for a, b in zip(found, thing["box"], strict=True)))
    exact, coded = np.array(off[True]), np.array(off[False])
    assert exact.size > 20 and exact.max() <= 2 and (exact <= 1).mean() > 0.95
    # A sharp tip may lose some pixels to JPEG.
    assert coded.size > 50 and coded.max() <= 4 and (coded <= 2).mean() > 0.9


def test_counts_in_answers_are_those_of_the_truth(drawn: dict[str, list[Drawn]]) -> None:
    asked = Counter()
    for picture in drawn["scenes"]:
        things = picture.truth["things"]
        for question in picture.questions:
            asked[question.kind] += 1
            words = question.text.rstrip("?.").split()
            if question.kind == "total":
                assert int(question.answer) == len(things)
            if question.kind == "count":
                colours = [w for w in words if w in COLOURS]
                shapes = [s for s in SHAPES if s in words or f"{s}s" in words or f"{s}es" in words]
                fits = [
                    t
                    for t in things
                    if (not colours or t["colour"] in colours)
                    and (not shapes or t["shape"] in shapes)
                ]
                assert int(question.answer) == len(fits), question
            if question.kind == "exists":
                there = any(t["name"] in question.text for t in things)
                assert (question.answer == "yes") == there
    assert min(asked[kind] for kind in ("count", "total", "exists")) > 40


def test_relations_are_those_of_the_boxes(drawn: dict[str, list[Drawn]]) -> None:
    checked = Counter()
    for picture in drawn["scenes"]:
        centre = {
            t["name"]: ((t["box"][0] + t["box"][2]) / 2, (t["box"][1] + t["box"][3]) / 2)
            for t in picture.truth["things"]
        }
        for question in picture.questions:
            named = sorted((n for n in centre if n in question.text), key=question.text.index)
            if question.kind == "relation":
                (ax, ay), (bx, by) = (centre[name] for name in named)
                sides = {
                    "left of": bx - ax,
                    "right of": ax - bx,
                    "above": by - ay,
                    "below": ay - by,
                }
                [side] = [side for side in sides if side in question.text]
                assert (sides[side] > 0) == (question.answer == "yes")
            elif question.kind == "further":
                way = question.text.rstrip("?").replace(",", "").split()
                axis = 0 if {"left", "right"} & set(way) else 1
                pick = min if {"left", "up"} & set(way) else max
                assert question.answer == pick(named, key=lambda name: centre[name][axis])
            elif question.kind == "quarter" and len(named) == 1:
                x, y = centre[named[0]]
                high, side = question.answer.split()
                assert (high == "top") == (y < picture.truth["size"][1] / 2)
                assert (side == "left") == (x < picture.truth["size"][0] / 2)
            checked[question.kind] += 1
    assert min(checked[kind] for kind in ("relation", "further", "quarter")) > 40


def test_the_one_in_front_is_whole_and_the_other_is_not(drawn: dict[str, list[Drawn]]) -> None:
    chosen = [d for d in drawn["scenes"] if d.truth["plan"] == "cover" and "/clean/" in d.style][
        :25
    ]
    for picture in chosen:
        [question] = [q for q in picture.questions if q.kind == "front"]
        shown = pixels(picture.data)
        areas = {}
        for thing in picture.truth["things"]:
            radius = max(thing["box"][2] - thing["box"][0], thing["box"][3] - thing["box"][1]) / 2
            areas[thing["name"]] = where(shown, thing["colour"]).sum() / radius**2
        behind, front = (thing["name"] for thing in picture.truth["things"])
        assert question.answer == front
        full = {shape: area_of(shape) for shape in SHAPES}
        lost = {name: 1 - area / full[name.split()[1]] for name, area in areas.items()}
        assert lost[behind] > lost[front] - 0.02, (lost, question)
    assert len(chosen) == 25


def area_of(shape: str) -> float:
    """A shape's area over the square of half its longer side."""
    seen = mask(shape, 40).point([0] * 128 + [255] * 128)
    left, top, right, bottom = seen.getbbox() or (0, 0, 1, 1)
    return (seen.histogram()[255]) / (max(right - left, bottom - top) / 2) ** 2


def test_the_odd_one_is_alone(drawn: dict[str, list[Drawn]]) -> None:
    for picture in (d for d in drawn["scenes"] if d.truth["plan"] == "odd"):
        odd, *rest = picture.truth["things"]

        def told(t):
            return (t["colour"], t["shape"], t["pattern"])

        assert len({told(t) for t in rest}) == 1
        differs = [n for n in ("colour", "shape", "pattern") if odd[n] != rest[0][n]] or ["size"]
        assert len(differs) == 1
        for question in picture.questions:
            if question.kind == "odd quality":
                assert question.answer == differs[0]
            elif question.kind in ("odd colour", "odd shape"):
                assert question.answer == odd[differs[0]]


def test_marks_are_where_the_things_are(drawn: dict[str, list[Drawn]]) -> None:
    checked = Counter()
    for picture in drawn["grounding"]:
        boxes = {t["name"]: t["box"] for t in picture.truth["things"]}
        for mark in picture.truth["marks"]:
            box = boxes[mark["thing"]]
            if mark["kind"] == "in box":
                assert overlap(tuple(mark["box"]), tuple(box)) > 0.5
            if mark["kind"] == "at arrow":
                x, y = mark["box"][2:]
                assert box[0] - 3 <= x <= box[2] + 3 and box[1] - 3 <= y <= box[3] + 3
            checked[mark["kind"]] += 1
        for question in picture.questions:
            if question.kind in ("in box", "in ring", "at arrow"):
                [mark] = [m for m in picture.truth["marks"] if f" {m['colour']}" in question.text]
                assert question.answer == mark["thing"]
            if question.kind == "labelled":
                [mark] = [m for m in picture.truth["marks"] if str(m["number"]) in question.text]
                assert question.answer == mark["thing"]
            if question.kind in ("box", "point"):
                [name] = [name for name in boxes if name in question.text]
                wide, high = picture.truth["size"]
                sized = [v / s for v, s in zip(boxes[name], (wide, high, wide, high), strict=True)]
                assert question.check["box"] == pytest.approx(sized, abs=1e-4)
    assert min(checked[kind] for kind in ("in box", "in ring", "at arrow", "label")) > 20


def test_a_box_drawn_over_has_its_colour(drawn: dict[str, list[Drawn]]) -> None:
    chosen = [
        d for d in drawn["grounding"] if d.truth["plan"] == "marked" and "/clean/png" in d.style
    ]
    for picture in chosen:
        shown = pixels(picture.data)
        for mark in (m for m in picture.truth["marks"] if m["kind"] == "in box"):
            left, top, right, _ = mark["box"]
            edge = where(shown, mark["colour"])[top, left : right + 1]
            assert edge.mean() > 0.9
    assert chosen


def test_every_look_occurs(drawn: dict[str, list[Drawn]]) -> None:
    things = [thing for picture in drawn["scenes"] for thing in picture.truth["things"]]
    for name, every in (("colour", COLOURS), ("shape", SHAPES), ("pattern", PATTERNS)):
        counts = Counter(thing[name] for thing in things)
        assert set(counts) == set(every)
    codings = {picture.style.split("/")[-1] for picture in drawn["scenes"]}
    assert codings == {"jpeg", "png", "webp"}
