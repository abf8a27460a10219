"""Flowcharts: Graphviz's own listing, a reader and the mermaid of the answer agree with the truth."""

import random
import shlex
import shutil
import subprocess

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("resvg_py")

from tests.data.render.reader import needs_reader, opened, read, recall
from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.base.errors import UserError
from chiasm.data.render.flowcharts import KINDS, Chart, about, flow, laid_out, web
from chiasm.evaluation.verify.graphs import parsed

[FLOWCHARTS] = KINDS
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not here")
PAD = 0.15
"""Inches around the whole, which the listing leaves out."""


def listed(source):
    """Graphviz's own plain listing: its size, {box: (x, y, wide, tall, label)}, [from, to, label]."""
    done = subprocess.run(
        ["dot", "-Tplain"], input=source.encode(), capture_output=True, check=True
    )
    size, nodes, edges = (), {}, []
    for line in done.stdout.decode().splitlines():
        match shlex.split(line):
            case ["graph", _, wide, tall]:
                size = (float(wide), float(tall))
            case ["node", name, *place, label, _, _, _, _]:
                nodes[name] = (*map(float, place), label.replace("\\n", " "))
            case ["edge", start, end, count, *rest]:
                told = rest[2 * int(count) :]  # label x y style colour, or style colour
                edges.append([start, end, told[0].strip() if len(told) == 5 else ""])
    return size, nodes, edges


@needs_dot
def test_graphviz_lists_the_same_boxes_and_arrows():
    for number in range(12):
        truth = draw(FLOWCHARTS, number).truth
        _, nodes, edges = listed(truth["dot"])
        assert {name: label for name, (*_, label) in nodes.items()} == truth["nodes"]
        assert sorted(edges) == sorted(truth["edges"])


@needs_dot
def test_the_mermaid_of_the_answer_says_the_same():
    for number in range(20):
        drawn = draw(FLOWCHARTS, number)
        chart = parsed(drawn.questions[0].answer)
        assert chart.nodes == drawn.truth["nodes"]
        assert sorted(map(list, chart.edges)) == sorted(drawn.truth["edges"])


@needs_dot
@needs_reader
def test_a_reader_reads_the_boxes_where_graphviz_put_them():
    """Shapes come from resvg, places from Graphviz's listing, letters are read by tesseract."""
    drawn = draw(FLOWCHARTS, 0)
    image = opened(drawn)
    (_, high), nodes, _ = listed(drawn.truth["dot"])
    inch = image.height / (high + 2 * PAD)
    steps = [name for name, role in drawn.truth["roles"].items() if role == "step"]
    for name in steps[:4]:
        x, y, wide, tall, label = nodes[name]
        middle, down = (x + PAD) * inch, (high - y + PAD) * inch
        half, tall = wide * inch / 2 - 3, tall * inch / 2 - 3
        seen = read(
            image.crop(tuple(map(round, (middle - half, down - tall, middle + half, down + tall))))
        )
        assert recall(label, seen) == 1.0, (label, seen)


@needs_dot
def test_every_question_has_one_answer():
    for number in range(20):
        every_answer_is_right_and_others_are_wrong(draw(FLOWCHARTS, number))


def test_paths_exist_as_often_as_not():
    said = []
    for number in range(400):
        rng = random.Random(number)
        said += [q.answer for q in about(rng, (flow, web)[number % 2](rng)) if q.kind == "path"]
    assert len(said) > 250
    assert 0.4 < said.count("Yes") / len(said) < 0.6


def test_every_way_leads_to_the_end():
    for number in range(300):
        chart = flow(random.Random(number))
        [start, end] = [place for place, role in enumerate(chart.roles) if role == "end"]
        assert chart.reached(start) == set(range(len(chart.labels))) - {start}
        assert all(
            end in chart.reached(place) for place in range(len(chart.labels)) if place != end
        )
        assert len(set(chart.labels)) == len(chart.labels)
        for place, role in enumerate(chart.roles):
            told = sorted(label for source, _, label in chart.arrows if source == place)
            assert told == {"decision": ["no", "yes"], "step": [""]}.get(
                role, [""] * (place == start)
            )


def test_what_is_reached_along_arrows():
    chart = Chart(("a", "b", "c", "d"), ("thing",) * 4, ((0, 1, ""), (1, 2, ""), (2, 1, "")))
    assert chart.reached(0) == {1, 2}
    assert chart.reached(1) == {1, 2}
    assert chart.reached(3) == set()


def test_without_graphviz_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt-get install graphviz"):
        FLOWCHARTS.check()


@needs_dot
def test_what_graphviz_refuses_is_a_sentence():
    with pytest.raises(UserError, match="Graphviz refused"):
        laid_out("digraph { a -> }")


@needs_dot
def test_the_same_chance_draws_the_same_bytes_in_another_process():
    same_in_another_process("chiasm.data.render.flowcharts")
