"""Screenshots: an HTML parser, a reader and the pixels agree with the answers."""

import io
import math
import random
import subprocess
import sys
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from PIL import Image, ImageOps

pytest.importorskip("matplotlib")
pytest.importorskip("playwright")

from tests.data.render.reader import needs_reader, opened, read, recall
from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.base.errors import UserError
from chiasm.data.render.browser import VARIABLE, browser, close_browser, executable, needs_browser
from chiasm.data.render.markup import body
from chiasm.data.render.screens import FRAMES, KINDS, _counts
from chiasm.evaluation.verify import right

[SCREENS] = KINDS
try:
    needs_browser()
    HERE = True
except UserError:
    HERE = False
needs_one = pytest.mark.skipif(not HERE, reason="no browser is here")


@pytest.fixture(scope="module")
def screens():
    yield [draw(SCREENS, number) for number in range(10)]
    close_browser()


class Reader(HTMLParser):
    """Writes the element of one number again, its classes and numbers left out."""

    def __init__(self, number):
        super().__init__(convert_charrefs=False)
        self.number, self.depth, self.found = str(number), 0, []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if self.depth or told.get("data-n") == self.number:
            kept = [(n, v) for n, v in attrs if n not in ("class", "data-n")]
            told = "".join(f' {name}="{value}"' if value else f" {name}" for name, value in kept)
            self.found.append(f"<{tag}{told}>")
            self.depth += tag != "input"

    def handle_endtag(self, tag):
        if self.depth:
            self.found.append(f"</{tag}>")
            self.depth -= 1

    def handle_data(self, data):
        if self.depth:
            self.found.append(data)


@needs_one
def test_a_parser_finds_the_answer_in_the_page(screens):
    for drawn in screens:
        reader = Reader(drawn.truth["framed"])
        reader.feed(drawn.truth["html"])
        assert "".join(reader.found) == drawn.truth["element"] == drawn.questions[0].answer


@needs_one
def test_the_frame_is_where_the_truth_says(screens):
    for drawn in screens:
        left, top, right_, bottom = drawn.truth["box"]
        picture = np.asarray(opened_rgb(drawn)).astype(int)
        colour = np.array(FRAMES[drawn.truth["colour"]])
        for edge in (
            picture[top + 1, left:right_],
            picture[bottom - 1, left:right_],
            picture[top:bottom, left + 1],
            picture[top:bottom, right_ - 1],
        ):
            assert np.median(np.abs(edge - colour).max(axis=1)) < 60
        assert f"the {drawn.truth['colour']} box" in drawn.questions[0].text or (
            f"framed in {drawn.truth['colour']}" in drawn.questions[0].text
        )


def opened_rgb(drawn):
    return Image.open(io.BytesIO(drawn.data)).convert("RGB")


@needs_one
@needs_reader
def test_a_reader_reads_the_text_in_the_frame(screens):
    shares = []
    for drawn in screens[:5]:
        for question in drawn.questions:
            if question.kind == "text":
                left, top, right_, bottom = drawn.truth["box"]
                inside = ImageOps.autocontrast(
                    opened(drawn).crop((left + 4, top + 4, right_ - 3, bottom - 3))
                )
                if np.median(np.asarray(inside)) < 128:
                    inside = ImageOps.invert(inside)  # light letters on dark ground
                inside = ImageOps.expand(inside, 12, 255)
                shares.append(recall(question.answer, read(inside)))
    assert len(shares) >= 2 and sum(shares) / len(shares) >= 0.8, shares


@needs_one
def test_every_question_has_one_answer(screens):
    for drawn in screens:
        every_answer_is_right_and_others_are_wrong(drawn)
        for question in drawn.questions:
            if question.kind == "element":  # what cannot be seen need not be told
                assert right(question.check, question.answer.replace(' href="#"', ""))
                tag = question.answer[1:].split(">")[0].split(" ")[0]
                other = question.answer.replace(f"<{tag}", "<q", 1).replace(f"</{tag}>", "</q>")
                assert not right(question.check, other)


@needs_one
def test_the_page_reaches_no_network(screens):
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/x.png"
        png, _ = browser().show("", f'<img src="{url}" width=9 height=9 data-n="0">', (400, 300))
        reached = browser().page.evaluate(f"fetch('{url}').then(() => true, () => false)")
    finally:
        server.shutdown()
        server.server_close()
    assert png.startswith(b"\x89PNG")
    assert not reached
    assert asked == []


@needs_one
def test_the_browser_ends_with_its_process(screens):
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from chiasm.data.render.browser import browser\n"
        "import os, subprocess\n"
        "browser()\n"
        "print(*subprocess.run(['ps', '--ppid', str(os.getpid()), '-o', 'pid='], "
        "capture_output=True, text=True).stdout.split())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    children = done.stdout.split()
    assert children
    left = subprocess.run(
        ["ps", "-o", "pid=", "-p", ",".join(children)], capture_output=True, text=True
    )
    assert not left.stdout.split()


@needs_one
def test_the_same_chance_draws_the_same_bytes_in_another_process(screens):
    same_in_another_process("chiasm.data.render.screens")


def test_without_a_browser_the_error_says_how_to_get_one(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=f"apt-get install .*{VARIABLE}"):
        SCREENS.check()
    monkeypatch.setenv(VARIABLE, "no/such/browser")
    with pytest.raises(UserError, match="no/such/browser, which is no program"):
        executable()


@needs_one
def test_a_program_that_is_no_browser_is_one_sentence(monkeypatch):
    close_browser()
    monkeypatch.setenv(VARIABLE, "true")
    with pytest.raises(UserError, match="does not start"):
        browser()


def test_a_box_is_ticked_as_often_as_not():
    answers = []
    for number in range(600):
        chance = random.Random(f"tick/{number}")
        tree = body(chance)
        shown = {place: (each, (0.0, 0.0, 9.0, 9.0)) for place, each in enumerate(tree.all())}
        answers += [q.answer for q in _counts(chance, shown, tree) if q.kind == "tick"]
    share = answers.count("Yes") / len(answers)
    assert len(answers) > 100
    assert abs(share - 0.5) < 3 * 0.5 / math.sqrt(len(answers)) + 0.01
