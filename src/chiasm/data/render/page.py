"""A page of a few drawn pictures with their questions and answers, for people to look at."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

from chiasm.data.render.drawn import Drawn

_FORMS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
"""What a browser must be told, by the first bytes."""
_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:1.5em}"
    "figure{margin:0}img{max-width:100%;border:1px solid #ccc}dd{margin:0 0 .4em 1em;"
    "white-space:pre-wrap;overflow-wrap:anywhere;font-weight:600}small{color:#666}"
)


def page(title: str, drawn: Iterable[Drawn]) -> str:
    """Return one HTML file that needs nothing else."""
    shown = "\n".join(map(_figure, drawn))
    head = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{head}</title>'
        f"<style>{_STYLE}</style>\n<h1>{head}</h1>\n<main>\n{shown}\n</main></html>\n"
    )


def _figure(drawn: Drawn) -> str:
    form = next((name for first, name in _FORMS.items() if drawn.data.startswith(first)), "png")
    data = base64.b64encode(drawn.data).decode()
    asked = "".join(
        f"<dt>{html.escape(each.text)}</dt><dd>{html.escape(each.answer)}</dd>"
        for each in drawn.questions
    )
    return (
        f'<figure><img src="data:image/{form};base64,{data}" alt="">'
        f"<figcaption><small>{html.escape(drawn.style)}</small><dl>{asked}</dl></figcaption></figure>"
    )
