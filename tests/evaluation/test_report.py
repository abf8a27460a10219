"""Reports: every number is in the table, the page needs nothing from outside, nothing is markup."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console
from tests.evaluation.toys import Listed, asked, look, shade, task

from chiasm.evaluation.report import lines, page, plain, records, table
from chiasm.evaluation.runner import Result, run
from chiasm.evaluation.task import Prompt, Task
from chiasm.inputs.message import Message, Picture, Sample, Text, Video


def half_right(prompts: list[Prompt]) -> list[str]:
    """Right for even numbers only."""
    texts = look(prompts)
    return [text if int(text.split()[1]) % 2 == 0 else "wrong" for text in texts]


@pytest.fixture
def toy() -> Task:
    return task([4, 4, 4])


@pytest.fixture
def results(toy: Task) -> list[Result]:
    ways = ("right", "blank", "shuffled")
    return [run(toy, half_right, images=images, quiet=True) for images in ways]


class Page(HTMLParser):
    """Tags with their attributes, the texts, and whether every tag is closed in order."""

    OPEN = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_table_has_every_group_and_every_column(results: list[Result]) -> None:
    text = plain(results)
    cells = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]
    assert cells[1] == ["count", "right", "blank", "shuffled", "zero"]
    assert cells[2] == ["all", "12", "0.5000", "0.0000", "0.0000", "0.0833"]
    assert cells[3] == ["95 % interval", "0.254–0.746", "0.000–0.242", "0.000–0.242", "0.015–0.354"]
    assert ["even", "6", "1.0000", "0.0000", "0.0000", "0.1667"] in cells
    assert ["odd", "6", "0.0000", "0.0000", "0.0000", "0.0000"] in cells
    assert ['"2 2"', "1", "1.0000", "0.0000", "0.0000", "0.0000"] in cells
    assert len(lines(results)) == 1 + 2 + 12
    assert "12 answers, exact match" in text


def test_a_terminal_of_80_columns_shows_the_whole_table(results: list[Result]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, force_terminal=False).print(table(results))
    shown = stream.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for number in ("0.5000", "0.254–0.746", "0.0833"):
        assert number in shown


def test_records_are_json_with_or_without_the_answers(results: list[Result]) -> None:
    whole = json.loads(json.dumps(records(results), allow_nan=False))
    assert [r["images"] for r in whole] == ["right", "blank", "shuffled"]
    assert len(whole[0]["samples"]) == 12
    assert "samples" not in records(results, samples=False)[0]


def test_results_of_two_tasks_do_not_share_a_table(results: list[Result]) -> None:
    with pytest.raises(ValueError, match="one task"):
        plain([results[0], replace(results[1], task="other")])


def test_the_page_is_whole_and_fetches_nothing(results: list[Result], toy: Task) -> None:
    text = page(results, toy)
    found = Page(text)
    assert found.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    sources = [attrs["src"] for tag, attrs in found.tags if tag == "img"]
    assert len(sources) == 12
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert shade(2) in [base64.b64decode(source.split(",")[1]) for source in sources]
    assert "http" not in text.replace("http-equiv", "")
    assert any("default-src 'none'" in attrs.get("content", "") for _, attrs in found.tags)
    for told in ("Wrong answers (6)", "Right answers (6)", "expected: 0 1", "answer: 2 2"):
        assert told in text
    assert "width:50.00%" in text


def test_nothing_that_was_said_becomes_markup() -> None:
    evil = "<script>x</script>[bold]&'\""
    picture = Picture(data=b"not a picture, " + evil.encode())
    user = Message("user", (picture, Text(evil)))
    source = Listed([(Sample((user, Message("assistant", (Text(evil),))), evil),)], name=evil)
    dangerous = Task(evil, source, kind=lambda sample: evil, baselines={evil: lambda sample: evil})
    result = [run(dangerous, lambda prompts: [evil + "!"] * len(prompts), quiet=True)]
    text = page(result, dangerous)
    assert "<script" not in text
    assert Page(text).texts.count(evil) >= 3
    assert "is not shown" in text
    assert evil in plain(result)
    stream = io.StringIO()
    Console(file=stream, width=200).print(table(result))
    assert "[bold]" in stream.getvalue()


def test_what_was_refused_is_told(toy: Task) -> None:
    broken = Listed([*toy.source.records, None])
    told = plain([run(replace(toy, source=broken), half_right, quiet=True)])
    assert "1 samples could not be asked and are not counted, such as shades/3: record 3" in told


def test_a_video_is_shown_by_its_file_or_its_first_frame() -> None:
    file, frames = (
        Video(Picture(data=shade(0))),
        Video((Picture(data=shade(1)), Picture(data=shade(2)))),
    )
    reply = Message("assistant", (Text("x"),))
    records = [(Sample((Message("user", (one, Text("?"))), reply)),) for one in (file, frames)]
    toy = Task("videos", Listed(records))
    found = Page(page([run(toy, lambda prompts: ["x"] * len(prompts), quiet=True)], toy))
    sources = [attrs["src"] for tag, attrs in found.tags if tag == "img"]
    shown = [base64.b64decode(source.partition(",")[2]) for source in sources]
    assert shade(0) in shown and shade(1) in shown and shade(2) not in shown


def test_a_picture_that_vanished_is_named_on_the_page(tmp_path) -> None:
    (tmp_path / "p.png").write_bytes(shade(0))
    gone = Task("gone", Listed([(asked(0, 0, Picture(path=str(tmp_path / "p.png"))),)]))
    result = [run(gone, look, quiet=True)]
    (tmp_path / "p.png").unlink()
    assert "p.png does not exist" in page(result, gone)
