"""A page that is filled from the top: lines of text, rules, boxes; drawn when it is full.

Page.text("Dear Ms Bell,") ─► lines with their places ─► Page.picture() ─► image as tall as needed
                                        └─► Page.said(): all text in reading order
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from PIL import Image, ImageDraw

from chiasm.data.render.paper import FAMILIES, font, line_height, width, wrapped, write

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Ink:
    """How a page looks; paper and ink are greys, or colours where `accent` is one."""

    face: str
    size: int
    paper: int
    ink: int
    accent: tuple[int, int, int] | None = None


def choose_ink(rng: Random, faces: tuple[str, ...] = FAMILIES, coloured: float = 0.25) -> Ink:
    """Choose a look; letters are 13 to 18 pixels high."""
    inks = ((30, 70, 130), (120, 30, 40), (20, 100, 80), (90, 60, 120))
    return Ink(
        face=rng.choice(faces),
        size=rng.randint(13, 18),
        paper=rng.choice((255, 255, 255, 250, 242, 232)),
        ink=rng.choice((0, 0, 25, 50)),
        accent=rng.choice(inks) if rng.random() < coloured else None,
    )


@dataclass
class Page:
    """A page of a given width; `y` is where the next line goes."""

    ink: Ink
    wide: int
    margin: int
    y: int = 0
    lines: list[tuple[str, Box]] = field(default_factory=list)
    """(text, left-top-right-bottom) of all lines, in reading order."""
    _marks: list[tuple[str, str, tuple[int, int]]] = field(default_factory=list)
    _shapes: list[Callable[[ImageDraw.ImageDraw, int | tuple[int, int, int]], object]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        self.y = self.margin

    @property
    def room(self) -> int:
        """Pixels between the margins."""
        return self.wide - 2 * self.margin

    def line(self, text: str, x: int, style: str = "", size: int = 0, *, end: str = "") -> int:
        """Put one line at (x, self.y) without moving down; return the x behind it.

        `end` "right" and "middle" put its right end or its middle at x.
        """
        face = f"{self.ink.face} {style}".strip()
        letters = font(face, size or self.ink.size)
        long = width(text, letters)
        x -= {"right": long, "middle": long // 2}.get(end, 0)
        self._marks.append((text, f"{face}/{size or self.ink.size}", (x, self.y)))
        self.lines.append((text, (x, self.y, x + long, self.y + line_height(letters))))
        return x + long

    def text(self, text: str, style: str = "", size: int = 0, *, end: str = "") -> None:
        """Put a text at the margin (or in the middle, or at the right), in as many lines as it takes."""
        letters = font(f"{self.ink.face} {style}".strip(), size or self.ink.size)
        x = {"right": self.wide - self.margin, "middle": self.wide // 2}.get(end, self.margin)
        for line in wrapped(text, letters, self.room):
            self.line(line, x, style, size, end=end)
            self.down(size=size)

    def down(self, lines: float = 1.0, size: int = 0) -> None:
        """Go so many lines down."""
        self.y += round(lines * 1.3 * (size or self.ink.size))

    def rule(self, gap: int = 4, *, dashed: bool = False) -> None:
        """Draw a line from margin to margin and go below it."""
        y = self.y + gap
        left, right = self.margin, self.wide - self.margin
        step = 9 if dashed else right - left
        pieces = [(x, min(x + (5 if dashed else step), right)) for x in range(left, right, step)]

        def draw(pen: ImageDraw.ImageDraw, ink: int | tuple[int, int, int]) -> None:
            for start, stop in pieces:
                pen.line((start, y, stop, y), fill=ink)

        self._shapes.append(draw)
        self.y = y + gap + 2

    def frame(self, box: Box) -> None:
        """Draw the outline of a box."""
        self._shapes.append(lambda pen, ink: pen.rectangle(box, outline=ink))

    def cross(self, box: Box) -> None:
        """Draw a cross inside a box."""
        left, top, right, bottom = (box[0] + 3, box[1] + 3, box[2] - 3, box[3] - 3)

        def draw(pen: ImageDraw.ImageDraw, ink: int | tuple[int, int, int]) -> None:
            pen.line((left, top, right, bottom), fill=ink, width=2)
            pen.line((left, bottom, right, top), fill=ink, width=2)

        self._shapes.append(draw)

    def said(self) -> str:
        """Return all text, a line per line of the page; what stands side by side shares a line."""
        rows: list[tuple[int, list[str]]] = []
        for text, (_, top, _, _) in self.lines:
            if rows and rows[-1][0] == top:
                rows[-1][1].append(text)
            else:
                rows.append((top, [text]))
        return "\n".join(" ".join(texts) for _, texts in rows)

    def picture(self) -> Image.Image:
        """Draw the page: grey, or RGB where it has a colour; shapes take the colour."""
        ink, mode = self.ink, "RGB" if self.ink.accent else "L"
        paper: int | tuple[int, int, int] = (ink.paper,) * 3 if ink.accent else ink.paper
        black: int | tuple[int, int, int] = (ink.ink,) * 3 if ink.accent else ink.ink
        image = Image.new(mode, (self.wide, self.y + self.margin), paper)
        pen = ImageDraw.Draw(image)
        for draw in self._shapes:
            draw(pen, ink.accent or ink.ink)
        for text, face, at in self._marks:
            name, _, size = face.rpartition("/")
            write(image, at, text, font(name, int(size)), black)
        return image
