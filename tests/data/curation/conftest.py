"""What tests of curation share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def pipes_of_daft() -> Iterator[None]:
    """Daft does not close the pipes of its processes; whoever collects them hears of it, here nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
