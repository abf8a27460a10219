"""The one error that is meant for a person, and the suggestion that goes with a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One sentence: what is wrong with the input and what to do. The command line exits 2 with it."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ' Did you mean "x"?' for the option nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f' Did you mean "{near[0]}"?' if near else ""
