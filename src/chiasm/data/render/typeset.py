"""What Typst sets: its compiler kept alive, and pages with headings, columns and numbers.

text with marks ─► Typst, embedded fonts only ─► PNG
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import Any

from chiasm.data.render import vocabulary as words
from chiasm.data.render.documents import READ, passage
from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.paper import needed
from chiasm.data.render.question_forms import number, prose
from chiasm.data.render.question_forms import words as ask_words

FONTS = ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono")


@lru_cache(maxsize=1)
def compiler() -> Any:
    """Return Typst's compiler without the system's fonts; raises UserError where it is missing."""
    with needed("typst", "Typeset pages"):
        import typst

    return typst.Compiler(ignore_system_fonts=True)


def needs_typst() -> None:
    """Raise UserError where typst is missing."""
    with needed("typst", "Typeset pages"):
        import typst  # noqa: F401


def typeset(source: str, ppi: float = 72.0) -> bytes:
    """Return the PNG of a one-page document in Typst's notation; a point is a pixel at 72 per inch."""
    picture: bytes = compiler().compile(input=source.encode(), format="png", ppi=ppi)
    return picture


def marked(text: str) -> str:
    """Write a text so that Typst reads no markup in it."""
    return "".join(f"\\{letter}" if letter in "\\#$*_`<>@=-+/~[]\"'" else letter for letter in text)


def draw_article(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one page of an article: title, author, sections, in one column or two."""
    two, wide, margin = rng.random() < 0.5, rng.choice((420, 480, 560)), rng.randint(18, 40)
    title, author = words.heading(rng), words.person(rng)
    numbered = rng.random() < 0.5
    sections = [
        (words.heading(rng), passage(rng, library, rng.randint(20, 45))[0])
        for _ in range(rng.randint(1, 3))
    ]
    size = rng.randint(11, 14)
    head = [
        f"#set page(width: {wide}pt, height: auto, margin: {margin}pt)",
        f'#set text(font: "{rng.choice(FONTS)}", size: {size}pt, hyphenate: false, lang: "en")',
        f"#set par(justify: {str(rng.random() < 0.6).lower()})",
        '#set heading(numbering: "1.")' if numbered else "",
        f'#align(center)[#text(size: {size + 6}pt, weight: "bold")[{marked(title)}]\n\n{marked(author)}]',
        "#v(4pt)",
    ]
    body = "\n\n".join(f"= {marked(heading)}\n{marked(text)}" for heading, text in sections)
    if (
        two
    ):  # a page that is as high as needed never fills its first column: halve what it would take
        narrow = f"{(wide - 2 * margin - 18) / 2}pt"
        body = (
            f"#let body = [{body}]\n#context {{\n"
            f"let tall = measure(block(width: {narrow}, body)).height\n"
            "block(height: tall / 2 + 3em, columns(2, gutter: 18pt, body))\n}"
        )
    told = [
        f"{f'{place}. ' if numbered else ''}{heading}\n{text}"
        for place, (heading, text) in enumerate(sections, start=1)
    ]
    text = "\n".join([title, author, *told])
    questions = (
        prose("text", rng.choice(READ), text),
        ask_words("title", "What is the title of the article?", title),
        ask_words("field", "Who wrote the article?", author),
        number("count", "How many sections does the page have?", len(sections)),
    )
    truth = {
        "text": text,
        "fields": {
            "title": title,
            "author": author,
            "sections": [heading for heading, _ in sections],
        },
    }
    data = typeset("\n".join([*head, body]), ppi=rng.choice((72, 84, 96)))
    return Drawn(data, truth, questions, f"article/{'two' if two else 'one'}")


KINDS: tuple[Kind, ...] = (
    Kind(
        "articles",
        "typeset pages of articles",
        draw_article,
        "typst",
        needs_typst,
        ("typst",),
        "texts",
    ),
)
