"""Preferences: made, written, read; and people's files imported, every row used or counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chiasm.base.errors import UserError
from chiasm.data.dialogue.imported import imported, read_row
from chiasm.data.dialogue.preferences import (
    Preference,
    perturbed,
    read_preferences,
    write_preferences,
)
from chiasm.data.rows import REASONS, BadSample, question_answer
from chiasm.inputs.message import Message, Picture, Sample, Text
from chiasm.testing import toy_picture


def samples() -> list[Sample]:
    answers = ["Two red circles.", "yes", "It is to the left.", "A quiet mood.", ""]
    return [
        question_answer(toy_picture(i), "What is it?", a, f"k{i}") for i, a in enumerate(answers)
    ]


def test_each_answer_gives_one_marked_preference_or_is_counted() -> None:
    made = perturbed(samples(), seed=5)
    assert len(made.preferences) == 3
    assert made.unchanged == {"nothing_to_change": 1, "no_answer": 1}
    for sample, preference in zip(samples(), made.preferences, strict=False):
        assert preference.prompt == sample.messages[:-1]
        assert preference.chosen == sample.messages[-1].parts[0].text
        changed = preference.changed
        assert preference.chosen.replace(changed["from"], changed["to"], 1) == preference.rejected
    assert perturbed(samples()[::-1], seed=5).preferences == made.preferences[::-1]
    kinds = {perturbed(samples()[:1], s).preferences[0].changed["kind"] for s in range(30)}
    assert kinds == {"number", "colour", "object"}
    only = perturbed(samples(), kinds=("direction",))
    assert [p.key for p in only.preferences] == ["k2"]


def test_what_is_written_comes_back_and_others_can_read_it(tmp_path: Path) -> None:
    made = perturbed(samples()).preferences
    made.append(Preference(made[0].prompt, "good", "bad", "h", "human"))
    assert write_preferences(tmp_path / "a.parquet", made) == 4
    back = list(read_preferences(tmp_path / "a.parquet"))
    assert [(p.chosen, p.rejected, p.key, p.origin, p.changed) for p in back] == [
        (p.chosen, p.rejected, p.key, p.origin, p.changed) for p in made
    ]
    assert [p.prompt[0].parts[0].read() for p in back] == [
        p.prompt[0].parts[0].read() for p in made
    ]
    row = pq.read_table(tmp_path / "a.parquet").to_pylist()[3]
    assert row["chosen"] == [{"role": "assistant", "content": [{"type": "text", "text": "good"}]}]
    assert row["changed_kind"] is None
    assert imported(tmp_path / "a.parquet").preferences == back


def test_a_file_that_holds_none_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"messages": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no column chosen, rejected"):
        list(read_preferences(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_bytes(b"junk")
    with pytest.raises(UserError, match="cannot be read as a Parquet file"):
        list(read_preferences(tmp_path / "b.parquet"))


# ---- people's files ----------------------------------------------------------------------------

ASKED = (Message("user", (Picture(path="/d/a.png"), Text("What is it?"))),)
SAID = (*ASKED, Message("assistant", (Text("A dog."),)))
USER = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
DOG, CAT = ({"role": "assistant", "content": text} for text in ("A dog.", "A cat."))
LLAVA = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]
LAYOUTS = {
    "openai": {"messages": [USER, DOG], "images": ["a.png"]},
    "one image": {"messages": [USER, DOG], "image": "a.png"},
    "strings": {
        "messages": [{"role": "user", "content": "<image>What is it?"}, DOG],
        "images": ["a.png"],
    },
    "llava": {"id": "x", "image": "a.png", "conversations": LLAVA},
    "sharegpt": {
        "images": ["a.png"],
        "conversations": [
            {"from": "user", "value": "<image>What is it?"},
            {"from": "assistant", "value": "A dog."},
        ],
    },
    "cauldron": {
        "images": ["a.png"],
        "texts": [{"user": "What is it?", "assistant": "A dog.", "source": "s"}],
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_conversation(layout: str) -> None:
    (sample,) = read_row(LAYOUTS[layout], Path("/d"), "key", "row 0")
    assert isinstance(sample, Sample) and sample.messages == SAID
    assert sample.key == ("x" if layout == "llava" else "key")


COMPARED = {
    "trl": {"prompt": [USER], "chosen": [DOG], "rejected": [CAT], "images": ["a.png"]},
    "strings": {
        "prompt": "What is it?",
        "chosen": "A dog.",
        "rejected": "A cat.",
        "image": "a.png",
    },
    "implicit": {"chosen": [USER, DOG], "rejected": [USER, CAT], "images": ["a.png"]},
    "judged": {
        "image": "a.png",
        "question": "What is it?",
        "answers": ["A cat.", "A dog."],
        "better": "b",
    },
}


@pytest.mark.parametrize("layout", COMPARED)
def test_every_comparison_gives_the_same_preference(layout: str) -> None:
    (found,) = read_row(COMPARED[layout], Path("/d"), "key", "row 0")
    assert isinstance(found, Preference)
    assert (found.prompt, found.chosen, found.rejected) == (ASKED, "A dog.", "A cat.")
    assert found.origin == "human"


def test_a_mended_answer_is_better_than_the_better_one() -> None:
    row = {**COMPARED["judged"], "edited": "A brown dog."}
    found = read_row(row, Path("/d"), "key", "row 0")
    assert [(p.chosen, p.rejected) for p in found] == [
        ("A brown dog.", "A dog."),
        ("A dog.", "A cat."),
    ]


TWO = [*LLAVA, *LLAVA]
REFUSED = [
    ({"image": "a.png", "conversations": LLAVA[:1]}, "bad_turns"),
    ({"image": "a.png", "conversations": LLAVA[::-1]}, "bad_turns"),
    ({"image": "a.png", "conversations": TWO}, "picture_count"),
    ({"conversations": LLAVA}, "picture_count"),
    ({"images": ["a.png"], "conversations": [{"from": "human", "value": "Hm?"}, LLAVA[1]]}, "picture_count"),
    ({"image": "a.png", "conversations": [LLAVA[0], {"from": "gpt", "value": " "}]}, "no_text"),
    ({"image": "a.png", "conversations": [LLAVA[0], {"from": "robot", "value": "a"}]}, "bad_turns"),
    ({"image": "a.png", "conversations": "hello"}, "bad_row"),
    ({"image": 5, "conversations": LLAVA}, "bad_image"),
    ({"image": "https://example.org/a.png", "conversations": LLAVA}, "bad_image"),
    ({"images": ["a.png"], "texts": [{"user": "x"}]}, "bad_row"),
    ({"messages": [DOG], "images": []}, "bad_turns"),
    ({"messages": [USER, DOG], "images": []}, "picture_count"),
    ({"question": "q"}, "bad_row"),
    ("text", "bad_row"),
    ({"prompt": [USER], "chosen": [DOG], "rejected": [DOG], "images": ["a.png"]}, "same_answers"),
    ({"prompt": [USER, DOG], "chosen": [DOG], "rejected": [CAT], "images": ["a.png"]}, "bad_turns"),
    ({"prompt": "q", "chosen": "", "rejected": "b"}, "no_text"),
    ({"chosen": [USER, DOG], "rejected": [DOG, CAT]}, "bad_turns"),
    ({**COMPARED["judged"], "better": "tie"}, "tie"),
    ({**COMPARED["judged"], "better": "c"}, "bad_row"),
    ({**COMPARED["judged"], "better": True}, "bad_row"),
    ({**COMPARED["judged"], "answers": ["a", " a "]}, "same_answers"),
    ({**COMPARED["judged"], "answers": ["a", ""]}, "no_text"),
    ({"prompt": "q\ud800", "chosen": "a", "rejected": "b"}, "bad_text"),
]  # fmt: skip


@pytest.mark.parametrize("row, reason", REFUSED)
def test_a_row_that_cannot_be_used_has_its_reason(row: object, reason: str) -> None:
    with pytest.raises(BadSample) as caught:
        read_row(row, Path("/d"), "key", "row 0")
    assert caught.value.reason == reason and reason in REASONS


def test_every_row_of_a_file_is_used_or_counted(tmp_path: Path) -> None:
    good = [*LAYOUTS.values(), *COMPARED.values()]
    bad = [row for row, reason in REFUSED if reason != "bad_text"]
    bad.append({"image": "gone.png", "conversations": LLAVA})
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(toy_picture(0).read())
    lines = [json.dumps(row) for row in [*good, *bad]]
    text = "\n".join(["\ufeff" + lines[0], *lines[1:], "{broken", "", '{"a": "\xff"}'])
    (tmp_path / "a.jsonl").write_bytes(text.encode("latin-1", "replace").replace(b"?{", b"{", 1))
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbf" + "\n".join([*lines, "{broken"]).encode())
    made = imported(tmp_path / "b.jsonl")
    assert made.rows == len(lines) + 1 == made.used + made.refused.total()
    assert made.used == len(good)
    assert (len(made.samples), len(made.preferences)) == (len(LAYOUTS), len(COMPARED))
    assert made.refused == Counter(r for _, r in REFUSED if r != "bad_text") + Counter(
        {"bad_row": 1, "missing": 1}
    )
    assert set(made.examples) == set(made.refused)
    (tmp_path / "c.json").write_text(json.dumps([*good, *bad]))
    assert imported(tmp_path / "c.json").used == len(good)
    assert imported(tmp_path / "a.jsonl").refused["bad_text"] == 1


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"{}", "must hold a JSON list"),
        ("a.jsonl", b"", "holds no row"),
        ("a.jsonl", b"{}\n", "The first fault"),
        ("a.txt", b"", "no .json, .jsonl or .parquet"),
        ("a.parquet", b"junk", "cannot be read as a Parquet file"),
    ],
)
def test_a_file_that_gives_nothing_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        imported(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        imported(tmp_path / f"none{Path(name).suffix}") if "txt" not in name else imported(
            tmp_path / "none.jsonl"
        )


def test_a_line_that_is_too_long_costs_no_more_than_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiasm.data.dialogue.imported.LONGEST_LINE", 1000)
    good = json.dumps(LAYOUTS["llava"])
    (tmp_path / "a.png").write_bytes(toy_picture(0).read())
    (tmp_path / "a.jsonl").write_text(f"{good}\n{'x' * 5000}\n{good}\n")
    made = imported(tmp_path / "a.jsonl")
    assert (made.used, made.refused) == (2, {"bad_row": 1})
