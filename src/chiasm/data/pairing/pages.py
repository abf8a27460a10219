"""HTML pages with pictures: what a page says about each of them.

    <figure><img src="img/a.png" alt="A red boat"><figcaption>The harbour</figcaption></figure>
               │                        │                          └─ caption if there is no alt; a note
               └─ within the folder     └─ caption

A record is one <img>. Its alternative text is the caption, else the <figcaption> of its figure; the
text of the paragraph, cell or list item around it and the page's title are notes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chiasm.base.errors import UserError
from chiasm.data.pairing.fields import key_of, shown_file, stated, within
from chiasm.data.pairs import Pair
from chiasm.data.rows import BadSample
from chiasm.inputs.media import MediaError, read_picture
from chiasm.inputs.message import Picture, parse_messages

MOST_PAGE = 4_000_000
"""Bytes of a page: books in one file are smaller."""

AROUND = frozenset(("p", "li", "td", "th", "dd", "div", "section", "article", "body"))
"""Elements whose text is that around a picture."""
MOST_AROUND = 500
"""Characters of the text around a picture that are kept on either side of it."""

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


@dataclass
class Found:
    """One picture of a page."""

    src: str
    alt: str
    figcaption: str = ""
    around: str = ""


@dataclass(frozen=True)
class PageSource:
    """The pictures of HTML pages as pairs."""

    name: str
    root: Path
    pictures: tuple[tuple[str, int, str, Found | None], ...]
    """(page within the folder, number on it, its title, picture); None stands for the rest of a page."""

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        page, number, title, found = self.pictures[index]
        if found is None:
            _text(self.root / page, self.root)  # raises what was wrong when the source was opened
            raise BadSample(
                "damaged_file", str(self.root / page), "the rest of the page is no HTML"
            )
        where = f"{self.root / page}, picture {number}"
        caption = stated(found.alt if found.alt.strip() else found.figcaption, where)
        shown = shown_file(self._picture(found.src, (self.root / page).parent, where))
        told = {"page": key_of(page), "title": title, "around": found.around}
        told["figcaption"] = found.figcaption if found.figcaption != caption else ""
        notes = {name: _legible(text) for name, text in told.items() if text}
        return Pair(key_of(self.name, f"{page}#{number}"), caption, shown, self.name, notes=notes)

    def _picture(self, src: str, folder: Path, where: str) -> Picture:
        if src.strip().lower().startswith("data:"):
            return _data(src.strip(), where)
        try:
            address = urlsplit(src.strip())
        except ValueError:
            raise BadSample("bad_image", where, f"{src[:80]!r} is no address") from None
        if address.scheme or address.netloc:
            raise BadSample("bad_image", where, f"Chiasm fetches no picture ({src[:80]})")
        if not address.path:
            raise BadSample("bad_image", where, "the picture has no address")
        name = unquote(address.path, errors="surrogateescape")
        # "/img/a.png" starts at the folder of the pages, as at the address where they were.
        path = self.root / name.lstrip("/") if name.startswith("/") else folder / name
        return Picture(path=within(str(path), self.root.resolve(), where))


def _legible(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _data(url: str, where: str) -> Picture:
    try:
        shown = {"role": "user", "content": [{"type": "image", "image": url}]}
        (picture,) = parse_messages([shown])[0].parts
    except UserError:
        raise BadSample("bad_image", where, "the data URL cannot be read") from None
    if not isinstance(picture, Picture):
        raise BadSample("bad_image", where)
    return picture


def pages(root: Path, paths: list[Path]) -> PageSource:
    """Read the pages and list their pictures; a page that cannot be read is one record that says so."""
    pictures: list[tuple[str, int, str, Found | None]] = []
    for path in paths:
        page = path.relative_to(root).as_posix()
        try:
            text = _text(path, root)
        except (BadSample, MediaError):
            pictures.append((page, 0, "", None))
            continue
        reader = Reader()
        whole = reader.read(text)
        title = _spaced(reader.title)
        pictures += [(page, n, title, found) for n, found in enumerate(reader.found, start=1)]
        if not whole:
            pictures.append((page, 0, title, None))
    return PageSource(root.resolve().name, root, tuple(pictures))


def _text(path: Path, root: Path) -> str:
    data = read_picture(within(str(path), root.resolve(), str(path)), MOST_PAGE)
    named = _CHARSET.search(data[:2048])
    charset = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") or not named else named[1].decode()
    try:
        # A byte that is wrong costs the picture whose caption it stands in, not the page.
        return data.decode(charset, "surrogateescape")
    except (UnicodeDecodeError, LookupError, ValueError):
        raise BadSample("bad_text", str(path), f"the page is not valid {charset}") from None


@dataclass
class _Figure:
    pictures: list[Found] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects the pictures of a page, each with the text that belongs to it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Found] = []
        self.title = ""
        self._within = ""
        """The element whose text is not the page's: title, script or style."""
        self._figures: list[_Figure] = []
        self._captioned = 0
        """How many <figcaption> are open."""
        self._block: list[str | Found] = []

    def read(self, text: str) -> bool:
        """Read a whole page; returns whether that was possible to its end."""
        try:
            self.feed(text)
            # What is left is text, or a tag that nothing closes: `close` would take quadratic time to
            # find out what the tag hides.
            if "<" in self.rawdata:
                return False
            self.close()
        except AssertionError:  # how Python's parser gives up on "<![" and the like
            return False
        finally:
            self._end_of_block()
            while self._figures:
                self._end_of_figure()
        return True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("title", "script", "style"):
            self._within = tag
        elif tag == "figure":
            self._figures.append(_Figure())
        elif tag == "figcaption":
            self._captioned += 1
        elif tag == "img":
            named = dict(reversed(attrs))  # of an attribute that stands twice the first counts
            picture = Found(named.get("src") or "", named.get("alt") or "")
            self.found.append(picture)
            self._block.append(picture)
            if self._figures:
                self._figures[-1].pictures.append(picture)
        if tag in AROUND:
            self._end_of_block()

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._within = ""
        elif tag == "figure" and self._figures:
            self._end_of_figure()
        elif tag == "figcaption":
            self._captioned = max(0, self._captioned - 1)
        if tag in AROUND:
            self._end_of_block()

    def handle_data(self, data: str) -> None:
        if self._within:
            self.title += data if self._within == "title" else ""
        elif self._captioned and self._figures:
            self._figures[-1].words.append(data)
        else:
            self._block.append(data)

    def _end_of_figure(self) -> None:
        figure = self._figures.pop()
        for picture in figure.pictures:
            picture.figcaption = _spaced("".join(figure.words))

    def _end_of_block(self) -> None:
        block, self._block = self._block, []
        for number, picture in enumerate(block):
            if isinstance(picture, Found):
                before, behind = (
                    _spaced("".join(each for each in side if isinstance(each, str)))
                    for side in (block[:number], block[number:])
                )
                told = (before[-MOST_AROUND:], behind[:MOST_AROUND])
                picture.around = " ".join(filter(None, told))


def _spaced(text: str) -> str:
    """Make one space of each run of what HTML calls white space."""
    return re.sub(r"[ \t\n\r\f]+", " ", text).strip(" ")
