"""Maps: what their regions are called, and where each lies to the pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tests.data.collections.toys import put

from chiasm.data.collections.maps import Placed, Region, maps, placed, regions

HOME = "usr/share/kgeography"


def division(name: str, colour: tuple[int, int, int], more: str = "") -> str:
    parts = zip(("red", "green", "blue"), colour, strict=True)
    inside = "".join(f"<{part}> {value}</{part}>" for part, value in parts)
    return f"<division><name>{name}</name>{more}<color>{inside}</color></division>"


def test_maps(tmp_path: Path) -> None:
    told = (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE kgeographyMap><map><mapFile>x.png</mapFile>'
        "<name>Toyland</name><divisionsName>States</divisionsName><author>Me</author>"
        + division("Water", (0, 0, 255), "<ignore>yes</ignore>")
        + division("North", (10, 20, 30), "<capital>Up</capital><flag>toy/north.png</flag>")
        + division("South", (10, 20, 31), "<ignore> allowClickMode </ignore>")
        + division("Islet", (1, 1, 1))
        + "</map>"
    )
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:] = (0, 0, 255)
    pixels[2:8, 5:25] = (10, 20, 30)
    pixels[8:18, 5:15] = (10, 20, 31)
    pixels[0, :29] = (1, 1, 1)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    home = put(tmp_path, {f"{HOME}/toyland.kgm": told, f"{HOME}/x.png": out.getvalue()})
    pair = maps("kgeography", {"kgeography-data": home})[0]
    assert (pair.key, pair.caption) == ("kgeography/toyland", "map of Toyland (States)")
    north, south, islet = regions(pair)
    assert north == Region("North", "Up", (10, 20, 30), "toy/north.png")
    assert (south.name, islet.name) == ("South", "Islet")
    read = np.asarray(Image.open(io.BytesIO(pair.shown.read())))  # type: ignore[union-attr]
    assert placed(read, regions(pair)) == (
        Placed(north, (5, 2, 25, 8), 120),
        Placed(south, (5, 8, 15, 18), 100),
    )
