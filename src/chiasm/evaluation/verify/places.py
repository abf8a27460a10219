"""Places in a picture, in normalised coordinates: x to the right, y down, both 0 to 1."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from chiasm.evaluation.verify.normal import NEGATION, Verifier, alike, said

Unit: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Corners: TypeAlias = tuple[Unit, Unit, Unit, Unit]
"""Left, top, right, bottom."""

_NUMBER = r"(?<![\w.])-?(?:\d+\.?\d*|\.\d+)(?![\w.%])"
_GROUP = re.compile(r"[(\[{<]([^()\[\]{}<>]*)[)\]}>]")


class Point(Verifier):
    """{"how": "point", "box": [0.1, 0.2, 0.3, 0.4]}

    Right is a text with one point "(0.2, 0.3)" inside the box, its edge included, or with one box
    whose centre is. Coordinates outside 0 … 1 are wrong.
    """

    how: Literal["point"] = "point"
    box: Corners
    """Left, top, right, bottom of where the point must lie."""

    @field_validator("box")
    @classmethod
    def _has_an_area(cls, box: Corners) -> Corners:
        return _checked(box)

    def right(self, answer: str) -> bool:
        """Return whether the one place of the answer lies inside the box."""
        place = _place(answer)
        if len(place) == 4:
            place = [(place[0] + place[2]) / 2, (place[1] + place[3]) / 2]
        if len(place) != 2 or not all(0 <= value <= 1 for value in place):
            return False
        return self.box[0] <= place[0] <= self.box[2] and self.box[1] <= place[1] <= self.box[3]


class Box(Verifier):
    """{"how": "box", "box": [0.12, 0.30, 0.45, 0.62], "overlap": 0.5}

    Right is a text with one box [left, top, right, bottom] whose intersection with ours is at least
    `overlap` of their union. Coordinates outside 0 … 1 are wrong.
    """

    how: Literal["box"] = "box"
    box: Corners
    """Left, top, right, bottom."""
    overlap: float = Field(0.5, gt=0, le=1)
    """Least intersection over union."""

    @field_validator("box")
    @classmethod
    def _has_an_area(cls, box: Corners) -> Corners:
        return _checked(box)

    def right(self, answer: str) -> bool:
        """Return whether the one box of the answer overlaps ours enough."""
        place = _place(answer)
        if len(place) != 4 or not all(0 <= value <= 1 for value in place):
            return False
        return overlap(self.box, (place[0], place[1], place[2], place[3])) >= self.overlap - 1e-9


def overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Return intersection over union of two boxes (left, top, right, bottom); 0 for an empty one."""
    if any(box[0] >= box[2] or box[1] >= box[3] for box in (one, other)):
        return 0.0
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0.0) * max(high, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)


def _checked(box: Corners) -> Corners:
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError("left must be less than right, and top less than bottom")
    return box


def _place(answer: str) -> list[float]:
    """The one group of two or four numbers that an answer holds; [] where there are several or none."""
    text = alike(said(answer))
    if NEGATION.search(text.casefold()):
        return []
    groups = [re.findall(_NUMBER, group) for group in _GROUP.findall(text)]
    groups = [group for group in groups if group] or [re.findall(_NUMBER, text)]
    places = {tuple(map(float, group)) for group in groups}
    return list(places.pop()) if len(places) == 1 else []
