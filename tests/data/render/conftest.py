"""Pictures that the tests of this folder share: drawn once."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.data.render.toys import toy_map

from chiasm.data.render import clips, grounding, maps, scenes
from chiasm.data.render.browser import close_browser
from chiasm.data.render.drawn import Drawn

COUNTS = {scenes: 800, grounding: 350, clips: 280, maps: 200}
GIVEN = {maps: {"maps": [toy_map()]}}


@pytest.fixture(scope="module", autouse=True)
def no_browser_left_open() -> Iterator[None]:
    """End the browser that screenshots were taken with: it holds an event loop that others may want."""
    yield
    close_browser()


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[Drawn]]:
    """Some hundred pictures of each kind that Pillow alone draws, as the runner would draw them."""
    return {
        kind.name: [
            kind.draw(Random(f"7/{kind.name}/{i}"), GIVEN.get(file, {})) for i in range(count)
        ]
        for file, count in COUNTS.items()
        for kind in file.KINDS
    }
