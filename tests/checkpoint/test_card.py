"""The card: facts that programs read back, whatever people write around them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chiasm.checkpoint.card import described, read_facts, write_card


def test_facts_come_back_and_the_front_is_yaml(tmp_path: Path) -> None:
    facts = {"source": 'package "x"==1', "bytes": "12", "odd": "a: b # c ✓"}
    (tmp_path / "README.md").write_text(write_card("Toy", "Two\n\nparagraphs.", facts, "mit"))
    assert read_facts(tmp_path) == facts
    front = (tmp_path / "README.md").read_text().split("---\n")[1]
    record = yaml.safe_load(front)
    assert record["license"] == "mit" and record["chiasm"] == facts
    assert described(tmp_path) == f'{tmp_path.name} (made from package "x"==1)'


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "# Just words\nchiasm:\n  source: no\n",
        "---\nlicense: mit\n---\n# Theirs\n",
        "---\nchiasm:\n  source: never ends",
        "---\nchiasm:\n---\n",
        "\xff\x00---\n",
    ],
)
def test_a_folder_without_our_card_has_no_facts(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert read_facts(tmp_path) == {}
    assert described(tmp_path) == str(tmp_path)


def test_lines_of_others_are_passed_over(tmp_path: Path) -> None:
    card = '---\nchiasm:\n  source: not quoted\n  good: "yes"\n---\n'
    (tmp_path / "README.md").write_text(card)
    assert read_facts(tmp_path) == {"good": "yes"}
