"""Screenshots of pages: a box overlaid on one element, and that element's code as the answer.

markup.body ─► browser ─► picture, a box per element ─► one is framed ─► its code, its text
                                    └─► where is the button "Save"? ─► normalised coordinates
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import count
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from chiasm.data.render.browser import browser, needs_browser
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.markup import Element, body, style
from chiasm.data.render.paper import encoded
from chiasm.data.render.question_forms import number, prose, yes_no
from chiasm.inputs.question import Question

SIZES = ((480, 640), (560, 560), (640, 480), (720, 540), (800, 600))
FRAMES = {
    "red": (220, 20, 30),
    "green": (0, 150, 40),
    "blue": (20, 60, 230),
    "orange": (255, 130, 0),
    "purple": (150, 20, 190),
}
SEEN = ("type", "value", "placeholder", "checked", "disabled")
"""Attributes that a picture shows: only these must be right."""
FRAMED = (
    *(
        "button",
        "input",
        "select",
        "textarea",
        "label",
        "a",
        "h1",
        "h2",
        "h3",
        "p",
        "li",
        "ul",
        "ol",
    ),
    *("table", "tr", "form", "nav", "footer"),
)
LONGEST = 700
"""Characters of an answer."""

Box = tuple[float, float, float, float]


def draw_screen(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one page."""
    tree, sheet, size = body(rng), style(rng), rng.choice(SIZES)
    numbers = count()
    html = tree.page(numbers)
    png, boxes = browser().show(sheet, html, size)
    shown = {
        place: (element, boxes[str(place)])
        for place, element in enumerate(tree.all())
        if _inside(boxes[str(place)], size)
    }
    asked: list[Question] = []
    image = Image.open(io.BytesIO(png)).convert("RGB")
    truth: dict[str, Any] = {"html": html, "style": sheet, "size": list(size)}
    framed = _choose(rng, shown)
    if framed is not None:
        colour = rng.choice(sorted(FRAMES))
        element, box = shown[framed]
        edge = _frame(image, box, FRAMES[colour])
        asked += _about(rng, element, colour)
        truth |= {"framed": framed, "box": edge, "colour": colour, "element": element.code()}
    asked += _wheres(rng, shown, size) + _counts(rng, shown, tree)
    truth["boxes"] = {str(p): [round(edge, 2) for edge in box] for p, (_, box) in shown.items()}
    return Drawn(encoded(image, rng), truth, tuple(asked), f"screen/{size[0]}x{size[1]}")


def _inside(box: Box, size: tuple[int, int]) -> bool:
    """Whether an element has an extent and is seen as a whole."""
    left, top, right, bottom = box
    return (
        right - left >= 5
        and bottom - top >= 5
        and left >= 0
        and top >= 0
        and right <= size[0]
        and bottom <= size[1]
    )


def _choose(rng: Random, shown: Mapping[int, tuple[Element, Box]]) -> int | None:
    """Choose the element to frame: every sort of element is as likely as any other that is there."""
    fit = [p for p, (e, _) in shown.items() if e.tag in FRAMED and len(e.code()) <= LONGEST]
    sorts = sorted({shown[place][0].tag for place in fit})
    if not sorts:
        return None
    tag = rng.choice(sorts)
    return rng.choice([place for place in fit if shown[place][0].tag == tag])


def _frame(image: Image.Image, box: Box, colour: tuple[int, int, int]) -> list[int]:
    """Draw a frame around a box, three pixels thick; return its outer edge."""
    left, top, right, bottom = box
    edge = [max(0, round(left) - 4), max(0, round(top) - 4)]
    edge += [min(image.width - 1, round(right) + 3), min(image.height - 1, round(bottom) + 3)]
    ImageDraw.Draw(image).rectangle(tuple(edge), outline=colour, width=3)
    return edge


def _about(rng: Random, element: Element, colour: str) -> list[Question]:
    """Its code; and what is written in it."""
    check = {"how": "element", "html": element.code(), "attributes": list(SEEN)}
    texts = (
        f"Write the HTML code of the element in the {colour} box.",
        f"Which HTML element is framed in {colour}? Give its code.",
    )
    asked = [Question(rng.choice(texts), element.code(), check, "element")]
    # What stands in a field is written there, too, but is no text of the element.
    fields = any(each.tag in ("input", "select", "textarea") for each in element.all())
    if (text := element.text()) and not fields:
        asked.append(prose("text", f"What is written in the {colour} box?", text))
    return asked


def _wheres(
    rng: Random, shown: Mapping[int, tuple[Element, Box]], size: tuple[int, int]
) -> list[Question]:
    """Where a button or a link is that nothing else has the name of."""
    told = [element.text() for element, _ in shown.values()]
    known = [
        (element, box)
        for element, box in shown.values()
        if element.tag in ("button", "a", "h1", "h2", "h3") and told.count(element.text()) == 1
    ]
    if not known:
        return []
    element, box = rng.choice(known)
    unit = [round(edge / size[side % 2], 3) for side, edge in enumerate(box)]
    sort = {"button": "button", "a": "link"}.get(element.tag, "heading")
    text = (
        f'Where is the {sort} "{element.text()}"? Answer with its box [left, top, right, bottom] in '
        "coordinates from 0 to 1."
    )
    answer = f"[{', '.join(f'{edge:.3f}' for edge in unit)}]"
    return [Question(text, answer, {"how": "box", "box": unit, "overlap": 0.5}, "box")]


def _counts(rng: Random, shown: Mapping[int, tuple[Element, Box]], tree: Element) -> list[Question]:
    """How many of something there are, where all of them are seen; whether a box is ticked."""
    asked: list[Question] = []
    every = list(tree.all())
    for tag, name in rng.sample(
        (("button", "buttons"), ("li", "items of lists"), ("tr", "rows of tables")), 3
    ):
        some = [place for place, element in enumerate(every) if element.tag == tag]
        if some and all(place in shown for place in some):
            asked.append(number("count", f"How many {name} does the page show?", len(some)))
            break
    ticks: Sequence[tuple[str, bool]] = [
        (element.text(), "checked" in box.told)
        for element, _ in shown.values()
        if element.tag == "label" and isinstance(box := element.inside[0], Element)
    ]
    if ticks:
        text, so = rng.choice(ticks)
        asked.append(yes_no("tick", f'Is the box "{text}" ticked?', so))
    return asked


KINDS: tuple[Kind, ...] = (
    Kind(
        "screens",
        "screenshots, an element's code",
        draw_screen,
        "a browser",
        needs_browser,
        ("browser", "playwright", "matplotlib"),
    ),
)
