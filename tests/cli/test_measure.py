"""`chiasm eval`: one table, several models side by side, a page, and data for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.toys import call


def test_the_table_has_every_kind_of_picture_and_the_prior(capsys: Any) -> None:
    done = call(capsys, "eval")
    assert done.code == 0
    head = done.out.splitlines()[2]
    for column in ("right", "blank", "shuffled", "question"):
        assert column in head
    assert "easy-vqa on easy-vqa/test: 48 answers" in done.out


def test_json_is_nothing_but_json_and_a_limit_is_kept(capsys: Any) -> None:
    done = call(capsys, "eval", "--images", "right", "--limit", "7", "--batch", "3", "--json")
    (told,) = json.loads(done.out)
    assert told["model"] == "runs/first_light/model"
    (result,) = told["results"]
    assert result["images"] == "right" and result["count"] == 7
    assert len(result["samples"]) == 7


def test_models_stand_side_by_side(capsys: Any) -> None:
    words = ("--images", "right,blank", "--limit", "8")
    done = call(capsys, "eval", "--model", "runs/first_light", "runs/first_light/model", *words)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[2].split()[:5] == ["questions", "A", "right", "A", "blank"]
    assert "A = runs/first_light" in lines and "B = runs/first_light/model" in lines
    _, _, a_right, a_blank, b_right, b_blank, prior = lines[3].split()
    assert (a_right, a_blank) == (b_right, b_blank) and float(prior) > 0
    alone = call(capsys, "eval", "--model", "runs/first_light", "--images", "right", "--limit", "8")
    assert a_right in alone.out


def test_a_page_is_written_whole(capsys: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = call(capsys, "eval", "--images", "right", "--limit", "5", "--html", page)
    assert done.code == 0 and f"Wrote {page}." in done.err
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
