"""Manuals: what a page says about its pictures, without the furniture of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.collections.toys import png, put

from chiasm.base.errors import UserError
from chiasm.data.collections.manuals import debian_handbook, gimp_help

HOME = "usr/share/gimp/2.0/help/en"


def page(title: str, body: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "x">'
        f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{title}</title></head>'
        f"<body>{body}</body></html>"
    )


def figure(file: str, alt: str, below: str = "") -> str:
    caption = f'<div class="caption"><p>{below}</p></div>' if below else ""
    told = f' alt="{alt}"' if alt else ""
    return f'<div class="mediaobject"><img src="images/{file}"{told} />{caption}</div>'


def test_figures(tmp_path: Path) -> None:
    body = (
        figure("prev.png", "Prev")
        + figure("note.png", "[Note]")
        + '<img src="http://elsewhere/x.png" alt="far" />'
        + figure("lost.png", "There is no such file")
        + figure("mute.png", "")
        + figure("taj.jpg", "Example  of\n“Blur”", "Original <em>image</em>")
        + figure("dialog.png", "The dialog")
        + figure("below.png", "", "Only below")
        + f'<div class="mediaobject"><div>{figure("taj.jpg", "Example of Blur")}</div>'
        + '<div class="caption">too far away</div></div>'
    )
    pictures = ("prev.png", "note.png", "mute.png", "taj.jpg", "dialog.png", "below.png")
    files = {f"{HOME}/images/{name}": png() for name in pictures}
    files |= {f"{HOME}/a.html": page("Blur", body), f"{HOME}/b.html": page("Again", body)}  # type: ignore[dict-item]
    source = gimp_help("gimp-help", {"gimp-help-en": put(tmp_path, files)})
    assert {source[i].key: source[i].caption for i in range(len(source))} == {
        "gimp-help/taj.jpg": "Example of “Blur”: Original image",
        "gimp-help/taj.jpg#2": "Example of Blur",
        "gimp-help/dialog.png": "The dialog",
        "gimp-help/below.png": "Only below",
    }
    first, second = source[0], source[1]
    assert first.notes["concept"] == second.notes["concept"] == "gimp-help:taj.jpg"
    assert first.notes["page"] == "Blur" and first.shown.read() == png()  # type: ignore[union-attr]


def test_a_damaged_page_is_told(tmp_path: Path) -> None:
    home = put(tmp_path, {"usr/share/doc/debian-handbook/html/en-US/a.html": "<html><p></html>"})
    with pytest.raises(UserError, match=r"a\.html cannot be read"):
        debian_handbook("handbook", {"debian-handbook": home})
