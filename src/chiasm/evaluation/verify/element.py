"""The code of an element of a page: the same when it is the same thing, whatever its looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Literal

from pydantic import field_validator

from chiasm.evaluation.verify.normal import Verifier, alike, is_markup, unfenced

MATTER = (
    *("id", "name", "type", "href", "src", "alt", "value", "placeholder", "title", "role", "for"),
    *(
        "aria-label",
        "checked",
        "disabled",
        "selected",
        "readonly",
        "required",
        "multiple",
        "action",
    ),
    *("method", "colspan", "rowspan", "min", "max"),
)
"""Attributes that say what an element is; class and style say how it looks."""
_INSIDE = "a button input select option textarea img li tr td th label table ul ol form h1 h2 h3 p"
"""Elements whose presence inside another one matters."""
_VOID = "area base br col embed hr img input link meta source track wbr"
"""Elements without an end tag."""


class Element(Verifier):
    """{"how": "element", "html": "<button id='go'>Save</button>", "attributes": ["id"]}

    Right is HTML of one element with the same tag, the same of those `attributes` that matter, the same
    text, and inside it the same links, fields, options, pictures and cells in the same order.
    """

    how: Literal["element"] = "element"
    html: str
    """The element, from its start tag to its end."""
    attributes: tuple[str, ...] = MATTER
    """Attributes that must be equal; others are no matter."""

    @field_validator("html")
    @classmethod
    def _is_one(cls, text: str) -> str:
        if len(parsed(text, MATTER)) != 1:
            raise ValueError("html must be exactly one element")
        return text

    def right(self, answer: str) -> bool:
        """Return whether the answer's one element is ours."""
        return parsed(unfenced(answer), self.attributes) == parsed(self.html, self.attributes)


@dataclass
class Node:
    """What matters of an element, and of those inside it in document order."""

    tag: str
    told: dict[str, str]
    inside: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""


def parsed(text: str, attributes: tuple[str, ...]) -> list[Node]:
    """Return the outermost elements of a text; words around them are skipped."""
    reader = _Reader(attributes)
    reader.feed(text if is_markup(text) else "")
    reader.close()
    for node in reader.found:
        node.text = " ".join(alike(node.text).split())
    return reader.found


class _Reader(HTMLParser):
    def __init__(self, attributes: tuple[str, ...]) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Node] = []
        self._open: list[str] = []
        self._attributes = attributes

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and what is told of it."""
        told = {n: (v or "").strip() for n, v in attrs if n in self._attributes}
        if tag == "input" and told.get("type") == "text":
            del told["type"]  # which it is without saying so
        if not self._open:
            self.found.append(Node(tag, told))
        elif tag in _INSIDE.split():
            self.found[-1].inside.append((tag, told))
        if self._open and tag not in ("b", "i", "em", "strong", "span", "a", "code"):
            self.found[-1].text += " "
        if tag not in _VOID.split():
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element and those inside it that were left open."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Keep the text inside an element."""
        if self._open:
            self.found[-1].text += data
