"""Damage anywhere in a collection costs what it hit, and every record is accounted for (R3, O6).

sound file ── one fault at a random place ──► opened, every record asked for
                                                 │
n == whole + Σ refused[reason]     reasons known │ records before the damage equal byte for byte
what is missing has left a refused record        │ where there are checksums, no other bytes ever
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from tests.data.pairing.layouts import LAYOUTS, records

from chiasm.base.errors import UserError
from chiasm.data.pairing import pairs
from chiasm.data.pairs import PairSource
from chiasm.data.rows import REASONS, BadSample
from chiasm.inputs.media import REASONS as MEDIA_REASONS
from chiasm.inputs.media import MediaError
from chiasm.inputs.message import Picture

RECORDS = 12
DAMAGED_FILE = {
    "csv": "list.csv",
    "tsv": "list.tsv",
    "jsonl": "list.jsonl",
    "tar": "00000.tar",
    "parquet": "table.parquet",
    "shards": "00001.parquet",
    "arrow": "data-00000-of-00001.arrow",
    "pages": "page.html",
}
CHECKED = ("parquet", "shards")
"""Layouts with checksums over all pages: no other bytes than those written may come out."""
FAULTS = ("cut", "flip", "zeros", "lose", "noise", "twice")


@dataclass(frozen=True)
class Outcome:
    """What became of a collection: every record is in one of the two."""

    whole: dict[str, str]
    """SHA-256 of caption and picture by key."""
    refused: Counter[str]
    count: int


def outcome(source: PairSource) -> Outcome:
    whole: dict[str, str] = {}
    refused: Counter[str] = Counter()
    for index in range(len(source)):
        try:
            pair = source[index]
            assert isinstance(pair.shown, Picture)
            pair.caption.encode()
            read = pair.shown.read()
        except (BadSample, MediaError) as error:
            refused[error.reason] += 1
            continue
        assert pair.key not in whole
        whole[pair.key] = sha256(pair.caption.encode() + b"\0" + read).hexdigest()
    return Outcome(whole, refused, len(source))


def damaged(data: bytes, fault: str, chance: random.Random) -> tuple[bytes, int]:
    """One fault in a file, and the first byte that it may have changed."""
    at = chance.randrange(len(data))
    length = chance.choice((1, 3, 60, 512, 1500))
    end = at + length
    match fault:
        case "cut":
            return data[:at], at
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :], at
        case "zeros":
            return data[:at] + bytes(len(data[at:end])) + data[end:], at
        case "lose":
            return data[:at] + data[end:], at
        case "noise":
            return data[:at] + chance.randbytes(len(data[at:end])) + data[end:], at
        case _:
            return data[:end] + data[at:], min(end, len(data))


@dataclass(frozen=True)
class Sound:
    path: Path
    file: Path
    data: bytes
    outcome: Outcome
    ends: dict[str, int]
    """Where a record is over: what lies behind does not concern it."""


def sound(kind: str, root: Path) -> Sound:
    held = records(RECORDS)
    path = LAYOUTS[kind](root / kind, held)
    file = root / kind / DAMAGED_FILE[kind]
    data = file.read_bytes()
    found = outcome(pairs(str(path)))
    assert len(found.whole) == found.count == RECORDS and not found.refused
    ends = {}
    for (key, _), (caption, picture) in zip(found.whole.items(), held, strict=True):
        if kind == "tar":  # over when the next one begins
            caption_at = data.index(caption.encode())
            ends[key] = caption_at + 512 + 512
            assert picture in data[:caption_at]
        elif kind in ("csv", "tsv", "jsonl", "pages"):
            mark = caption.partition(":")[0]
            ends[key] = data.index(b"\n", data.index(f"{mark}:".encode())) + 1
    return Sound(path, file, data, found, ends)


def check(kind: str, held: Sound, fault: str, number: int) -> Counter[str]:
    """Damage a collection, read it, and look whether the account is right."""
    chance = random.Random(f"1/{kind}/{fault}/{number}")
    data, at = damaged(held.data, fault, chance)
    held.file.write_bytes(data)
    about = f"{kind}/{fault}/{number}, byte {at}"
    try:
        source = pairs(str(held.path))
    except UserError as error:
        assert held.file.name in str(error) or held.path.name in str(error), about
        return Counter({"not opened": 1})
    found = outcome(source)
    assert found.count == len(found.whole) + found.refused.total(), about
    assert set(found.refused) <= set(REASONS) | set(MEDIA_REASONS), about
    for key, end in held.ends.items():
        if end <= at:
            assert found.whole.get(key) == held.outcome.whole[key], f"{about}: {key}"
    if kind in CHECKED:
        for key, digest in found.whole.items():
            assert digest == held.outcome.whole[key], f"{about}: {key}"
    if kind in ("tar", "arrow", *CHECKED) and set(held.outcome.whole) - set(found.whole):
        assert found.refused, f"{about}: records are lost without a word"
    if kind in ("tsv", "jsonl") or (kind == "csv" and b'"' not in data):
        lines = sum(bool(line.strip()) for line in data.split(b"\n"))
        assert found.count == lines - (kind != "jsonl"), about
    return found.refused


def trial(kind: str, root: Path, count: int) -> Counter[str]:
    """Damage a collection `count` times; returns how many records were refused, by reason."""
    held = sound(kind, root)
    total: Counter[str] = Counter()
    for number in range(count):
        total += check(kind, held, FAULTS[number % len(FAULTS)], number)
    return total


@pytest.mark.parametrize("kind", DAMAGED_FILE)
def test_damage_costs_what_it_hit_and_is_told(kind: str, tmp_path: Path) -> None:
    refused = trial(kind, tmp_path, 120)
    assert refused.total() >= 30  # the damage was damage


@pytest.mark.soak
@pytest.mark.parametrize("kind", DAMAGED_FILE)
def test_damage_in_eight_thousand_files(kind: str, tmp_path: Path) -> None:
    assert trial(kind, tmp_path, 1000).total() >= 250
