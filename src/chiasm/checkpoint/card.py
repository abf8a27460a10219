"""The model card: README.md with facts in front that programs can read, and words for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

NAME = "README.md"
_LIMIT = 1 << 20
_FACT = re.compile(r"^(?:  )?(\w+): (.*)$", re.MULTILINE)


def write_card(title: str, text: str, facts: Mapping[str, str], licence: str = "") -> str:
    """Return a card: YAML as the hub reads it, our facts under `chiasm:`, then title and text."""
    front = [
        "---",
        *([f"license: {licence}"] if licence else []),
        "library_name: chiasm",
        "chiasm:",
    ]
    front += [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items()]
    return "\n".join([*front, "---", "", f"# {title}", "", text.strip(), ""])


def read_facts(folder: Path) -> dict[str, str]:
    """Return the facts of a folder's card; none when it has no card, or someone else's."""
    try:
        with open(folder / NAME, "rb") as file:
            text = file.read(_LIMIT).decode(errors="replace")
    except OSError:
        return {}
    _, _, front = text.partition("---\n")
    front, ended, _ = front.partition("\n---\n")
    _, ours, facts = f"\n{front}\n".partition("\nchiasm:\n")
    if not text.startswith("---\n") or not ended or not ours:
        return {}
    found = {}
    for name, value in _FACT.findall(facts):
        try:
            found[name] = str(json.loads(value))
        except (ValueError, RecursionError):
            continue  # a line that somebody else put there
    return found


def described(folder: Path) -> str:
    """Return a folder's name, with the source that its card states."""
    source = read_facts(folder).get("source")
    return f"{folder.name} (made from {source})" if source else str(folder)
