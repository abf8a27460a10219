"""Models by their hub id: fetched once into the cache, then folders like any other."""

from __future__ import annotations

import re
from pathlib import Path

from chiasm.base.errors import UserError
from chiasm.base.fetch import Say, Unavailable, fetch_hub
from chiasm.base.files import atomic_directory, cache_dir, locked
from chiasm.base.log import say as say_aloud

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(name: str) -> bool:
    """Whether a name can only be a hub's "owner/model": it has that form, and no such folder exists."""
    return _ID.fullmatch(name) is not None and not Path(name).exists()


def pull_hub(name: str, say: Say = say_aloud) -> Path:
    """Return the folder of a hub model: its weights in safetensors, settings and tokenizer.

    Fetched once, whole or not at all; no code is taken. Raises UserError when the hub cannot give it.
    """
    home = cache_dir() / "hub" / name.replace("/", "--")
    with locked(home, say):
        if home.is_dir():
            return home
        try:
            with atomic_directory(home) as folder:
                fetch_hub(name, folder, say)
        except Unavailable as error:
            raise UserError(
                f"Cannot get {name} from the hub: {str(error).rstrip('.')}. There is no folder of that name "
                "either; for a model that asks for a licence, log in with the hub's own tool first."
            ) from None
    return home
