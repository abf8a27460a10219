"""Pictures that the tests of this folder share: drawn once."""

from __future__ import annotations

from random import Random

import pytest

from chiasm.data.render import clips, grounding, scenes
from chiasm.data.render.drawn import Drawn

COUNTS = {scenes: 800, grounding: 350, clips: 280}


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[Drawn]]:
    """Some hundred pictures of each kind that Pillow draws, as the runner would draw them."""
    return {
        kind.name: [kind.draw(Random(f"7/{kind.name}/{i}"), {}) for i in range(count)]
        for file, count in COUNTS.items()
        for kind in file.KINDS
    }
