"""The text that stands in a picture, put behind its caption; and a reader that ships with a library.

    frames ─► Tools.read_text ─► lines ─► new to the caption? ─► "{caption}\\nText in the picture: {text}"

The Llama 3 paper (section 7.1.1) concatenates the text that OCR finds with the caption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, field_validator

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.curation.step import Fact, Item, Pixels, Share, Tools, Verdict
from chiasm.data.curation.words import words_of


class ReadingSettings(Settings):
    """Add the text that stands in a picture to its caption."""

    kind: Literal["reading"] = "reading"
    """Text in the picture (OCR)."""
    format: str = "{caption}\nText in the picture: {text}"
    """The new caption, with {caption} and {text} in it."""
    least: NonNegativeInt = 3
    """Fewest letters and digits that are worth adding; single marks are often misread."""
    most: PositiveInt = 1000
    """Most characters of text; longer text is cut between words, with "..." behind it."""
    known: Share = 0.8
    """Nothing is added when the caption already holds this share of the words."""

    @field_validator("format")
    @classmethod
    def _has_places(cls, value: str) -> str:
        if value.count("{caption}") != 1 or value.count("{text}") != 1:
            raise ValueError("should hold {caption} and {text}, once each")
        return value

    def step(self, tools: Tools) -> Reading:
        """Return the step; UserError without a reader."""
        if tools.read_text is None:
            raise UserError(
                "Nothing reads the text in pictures: pass a function as Tools.read_text (rapid_reader() is "
                "one: pip install 'chiasm[ocr]'), or leave out the step \"reading\"."
            )
        return Reading(self, tools.read_text)


@dataclass(frozen=True)
class Reading:
    """Changes captions and drops nothing; writes the fact `text`, whole, where there is any."""

    settings: ReadingSettings
    read: Callable[[Pixels], str]
    name: str = "reading"
    looks: bool = True

    @property
    def reasons(self) -> Mapping[str, str]:
        return {}

    def __call__(self, items: Sequence[Item]) -> list[Verdict]:
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Verdict:
        s = self.settings
        # Frames of a video show the same lines again and again: each line once, where it came first.
        lines = [line.strip() for frame in item.frames for line in self.read(frame).splitlines()]
        text = "\n".join(dict.fromkeys(line for line in lines if line))
        if sum(c.isalnum() for c in text) < s.least:
            return Verdict(facts={"text": ""})
        facts: dict[str, Fact] = {"text": text}
        if _known(text, item.caption) >= s.known:
            return Verdict(note="already in the caption", facts=facts)
        places = {"{caption}": item.caption, "{text}": _cut(text, s.most)}
        caption = re.sub(r"\{caption\}|\{text\}", lambda place: places[place[0]], s.format).strip()
        return Verdict(note=text[:80], caption=caption, facts=facts)


def _known(text: str, caption: str) -> float:
    """Which share of the text's words the caption holds."""
    there = {word.casefold() for word in words_of(caption)}
    words = [word.casefold() for word in words_of(text)]
    return sum(word in there for word in words) / len(words) if words else 1.0


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = text[: most + 1]
    at = max(kept.rfind(" "), kept.rfind("\n"))
    return text[: at if at > 0 else most].rstrip() + "..."


# ---- a reader ----------------------------------------------------------------------------------


def rapid_reader(threads: int = 1, confidence: float = 0.5) -> Callable[[Pixels], str]:
    """Return a function that reads a picture with RapidOCR's models, which its package carries: no network.

    Lines come from top to bottom, pieces of a line from left to right; columns beside each other are read
    across. Pieces that the model is less sure of than `confidence` are left out.

    Raises UserError when RapidOCR is not installed.
    """
    try:
        from rapidocr import RapidOCR
    except ImportError:
        raise UserError(
            "Text in pictures is read by RapidOCR, which is not installed: pip install 'chiasm[ocr]'."
        ) from None
    engine = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": confidence,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def read(pixels: Pixels) -> str:
        found: Any = engine(np.ascontiguousarray(_thick(pixels)[:, :, ::-1]))  # blue first
        if found.boxes is None or not found.txts:
            return ""
        return in_lines(list(zip(found.boxes, found.txts, strict=True)))

    return read


def _thick(pixels: Pixels) -> Pixels:
    """A picture, a very thin one with its border continued: RapidOCR enlarges thin ones without measure."""
    height, width = pixels.shape[:2]
    side = max(32, max(height, width) // 3)
    more = (max(0, side - height), max(0, side - width))
    return (
        np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge") if any(more) else pixels
    )


def in_lines(pieces: Sequence[tuple[Any, str]]) -> str:
    """Return pieces of text (four corners [4, 2] each) as lines, from top to bottom and left to right.

    A piece belongs to a line when its middle lies within the height of the line's first piece.
    """
    placed = []
    for corners, text in pieces:
        box = np.asarray(corners, dtype=np.float64)
        (left, top), (_, bottom) = box.min(axis=0), box.max(axis=0)
        placed.append(((top + bottom) / 2, left, top, bottom, text.strip()))
    lines: list[list[tuple[float, float, float, float, str]]] = []
    for piece in sorted(placed):
        line = next((line for line in lines if line[0][2] <= piece[0] <= line[0][3]), None)
        if line is None:
            lines.append([piece])
        else:
            line.append(piece)
    return "\n".join(" ".join(p[4] for p in sorted(line, key=lambda p: p[1])) for line in lines)
