"""HTML pages: pictures with their alternative texts, what stands around them, nothing from outside."""

import base64
import time
from pathlib import Path

import pytest
from tests.data.pairing.layouts import png
from tests.data.pairing.test_webdataset import told

from chiasm.data.pairing import pairs
from chiasm.data.rows import BadSample
from chiasm.inputs.message import Picture

PAGE = """<!DOCTYPE html><html><head><title>The
  Harbour</title><style>p { alt: "no" }</style></head><body>
<h1>Boats</h1><p>Seen <b>today</b>: <img src="img/a%20b.png?x=1#y" ALT="A red boat &amp; a blue one"> in
the rain.</p><p>Other words.</p>
<figure><img src='/img/c.png' alt=''><img src="img/d.png" alt="d"><figcaption>Two <i>of</i>
them</figcaption></figure>
<script>document.write('<img src="no.png" alt="no">')</script>
<!-- <img src="no.png" alt="no"> --><table><tr><td>left<td><img src="img/e.png"></table>
<img alt="no src"><img src="https://example.org/f.png" alt="f"><img src="//example.org/g.png" alt="g">
<img src="../secret.png" alt="s"><img src="%2e%2e/secret.png" alt="s"><img src="file:///x.png" alt="x">
<img src="data:image/png;base64,{data}" alt="inline"><img src="data:image/png;base64,%" alt="bad">
<img src="http://[" alt="x"><img src="a\0b.png" alt="nul"><img src=img/z.png alt=last>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "en").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png(1))
    page = PAGE.replace("{data}", base64.b64encode(png(7)).decode())
    (root / "page.html").write_text(page)
    (root / "en" / "z.htm").write_text('<img src="../img/a b.png" alt="from below">')
    (root / "en" / "empty.html").write_text("")
    return root


def test_pictures_have_their_words_and_places(site: Path) -> None:
    source = pairs(str(site))
    assert told(source) == [
        "(empty)", "from below", "A red boat & a blue one", "Two of them", "d", "(no_text)",
        "(bad_image)", "(bad_image)", "(bad_image)", "(outside)", "(outside)", "(bad_image)", "inline",
        "(bad_image)", "(bad_image)", "(missing)", "last",
    ]  # fmt: skip
    below, first, third, fourth = (source[n] for n in (1, 2, 3, 4))
    assert below.key == "site/en/z.htm#1"
    assert first.key == "site/page.html#1" and first.source == "site"
    assert first.shown == Picture(path=str(site / "img/a b.png"))
    told_around = {
        "page": "page.html",
        "title": "The Harbour",
        "around": "Seen today: in the rain.",
    }
    assert first.notes == told_around
    assert third.shown == Picture(path=str(site / "img/c.png"))
    assert fourth.notes["figcaption"] == "Two of them"
    assert source[12].shown.read() == png(7)


def test_a_page_of_its_own_and_other_charsets(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_bytes("<meta charset='iso-8859-1'><img src=a.png alt='größer'>".encode("latin-1"))
    assert told(pairs(str(path))) == ["größer"]
    path.write_bytes(b"<meta charset=klingon><img src=a.png alt=x>")
    assert told(pairs(str(path))) == ["(bad_text)"]
    path.write_bytes(b"<img src=a.png alt=good> \xff <img src=b.png alt=\xff><img src=c.png alt=c>")
    source = pairs(str(path))
    assert told(source) == ["good", "(bad_text)", "c"]
    assert source[0].notes["around"] == "\ufffd"


def test_a_page_that_cannot_be_parsed_to_its_end_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<p><img src=a.png alt=one><![unknown[ <img src=b.png alt=two>")
    source = pairs(str(path))
    assert told(source) == ["one", "(damaged_file)"]
    with pytest.raises(BadSample, match="the rest of the page is no HTML"):
        source[1]


@pytest.mark.parametrize(
    "piece", ["<", "<!", "<!--", "<a ", "<a b='", "</", "&#", '<img alt="', "<p><td>"]
)
def test_broken_markup_over_and_over_takes_little_time(piece: str, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<img src=a.png alt=a>" + piece * 30_000)
    before = time.process_time()
    assert told(pairs(str(path)))[0] == "a"
    assert time.process_time() - before < 5


def test_a_page_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<p>x" * 1_000_001)
    assert told(pairs(str(path))) == ["(too_many_bytes)"]
