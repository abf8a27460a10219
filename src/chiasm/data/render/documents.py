"""Documents drawn with Pillow: pages, columns, lists, letters, forms, receipts; their text is the answer.

words, or library["texts"] ─► Page ─► picture
                               └───► text in reading order, fields ─► questions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from chiasm.data.render import vocabulary as words
from chiasm.data.render.drawn import Draw, Drawn, Kind
from chiasm.data.render.paper import encoded, font, needs_fonts, width, wrapped
from chiasm.data.render.question_forms import number, prose, yes_no
from chiasm.data.render.question_forms import words as ask_words
from chiasm.data.render.sheet import Page, choose_ink
from chiasm.inputs.question import Question

READ = (
    "Read all the text in this picture.",
    "Write down the text of this document.",
    "What does the document say? Give the whole text.",
)


def passage(rng: Random, library: Mapping[str, Any], count: int) -> tuple[str, str]:
    """Return about `count` words and where they come from: a given text half of the time, or invented.

    Short texts are joined, in their order; what our fonts cannot write is passed over.
    """
    texts: Sequence[str] = library.get("texts") or ()
    if texts and rng.random() < 0.5:
        first = rng.randrange(len(texts))
        told = texts[first].split()
        start = rng.randrange(max(1, len(told) - count))
        told = told[start : start + count]
        while len(told) < count and (first := first + 1) < len(texts):
            told += texts[first].split()[: count - len(told)]
        text = " ".join(told)
        if len(told) == count and all(" " <= letter <= "~" for letter in text):
            return text, "texts"
    return words.paragraph(rng, count), "invented"


def _drawn(
    rng: Random, page: Page, kind: str, fields: Mapping[str, Any], asked: Sequence[Question]
) -> Drawn:
    """Draw a page that is full; its text is asked for first."""
    text = page.said()
    truth = {
        "text": text,
        "lines": [[said, list(box)] for said, box in page.lines],
        "fields": dict(fields),
    }
    questions = (prose("text", rng.choice(READ), text), *asked)
    style = f"{kind}/{page.ink.face}"
    return Drawn(encoded(page.picture(), rng, lossy=0.6), truth, questions, style)


def draw_page(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a heading, or none, and one to three paragraphs."""
    page = Page(choose_ink(rng), rng.choice((360, 440, 520)), rng.randint(16, 40))
    title = words.heading(rng) if rng.random() < 0.6 else ""
    if title:
        page.text(title, "bold", round(page.ink.size * 1.4), end=rng.choice(("", "middle")))
        page.down(0.4)
    count = rng.randint(1, 3)
    sources = set()
    for _ in range(count):
        text, source = passage(rng, library, rng.randint(12, 36))
        sources.add(source)
        page.text(text)
        page.down(0.6)
    fields = {"title": title, "paragraphs": count, "sources": sorted(sources)}
    asked = [number("count", "How many paragraphs does the page have?", count)]
    if title:
        asked.append(ask_words("title", "What is the title of the page?", title))
    return _drawn(rng, page, "page", fields, asked)


def draw_columns(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a title and two columns, read one after the other."""
    page = Page(choose_ink(rng), rng.choice((480, 560, 620)), rng.randint(16, 30))
    title = words.heading(rng)
    page.text(title, "bold", round(page.ink.size * 1.5), end="middle")
    page.down(0.6)
    gap = rng.randint(20, 36)
    room = (page.room - gap) // 2
    letters = font(page.ink.face, page.ink.size)
    text, source = passage(rng, library, rng.randint(36, 80))
    lines = wrapped(text, letters, room)
    half, top = (len(lines) + 1) // 2, page.y
    for x, column in ((page.margin, lines[:half]), (page.margin + room + gap, lines[half:])):
        page.y = top
        for line in column:
            page.line(line, x)
            page.down()
    page.y = top + round(1.3 * page.ink.size) * half
    asked = [
        ask_words("title", "What is the title?", title),
        ask_words(
            "place", "Which word is the first one of the right column?", lines[half].split()[0]
        ),
    ]
    return _drawn(rng, page, "columns", {"title": title, "sources": [source]}, asked)


def draw_list(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a heading and a list with bullets, numbers or letters."""
    page = Page(choose_ink(rng), rng.choice((320, 400, 480)), rng.randint(16, 36))
    pools = (words.PRODUCTS, words.CITIES, words.SPORTS, words.SUBJECTS, words.ANIMALS)
    items = rng.sample(rng.choice(pools), rng.randint(3, 9))
    if rng.random() < 0.4:
        items = [
            f"{rng.choice(words.ADJECTIVES)} {thing}"
            for thing in rng.sample(words.NOUNS, len(items))
        ]
    title = rng.choice(
        (words.heading(rng), "To do", "Shopping list", "Things to remember", "Packing list")
    )
    page.text(title, "bold", round(page.ink.size * 1.3))
    page.down(0.4)
    marks = rng.choice(("-", "*", "1.", "1)", "a)"))
    for place, item in enumerate(items):
        mark = marks.replace("1", str(place + 1)).replace("a", chr(97 + place))
        page.text(f"{mark} {item}")
        page.down(rng.choice((0.0, 0.15)))
    place = rng.randrange(len(items))
    ordinal = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    asked = [
        number("count", "How many items does the list have?", len(items)),
        ask_words("place", f"What is the {ordinal[place]} item of the list?", items[place]),
        ask_words("title", "What is the heading of the list?", title),
    ]
    return _drawn(rng, page, "list", {"title": title, "items": items}, asked)


def draw_letter(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a letter: sender, date, whom it is for, what it says, a greeting."""
    page = Page(choose_ink(rng), rng.choice((440, 520)), rng.randint(26, 48))
    sender, reader = words.person(rng), words.person(rng)
    written, date = words.date(rng)
    city, company = rng.choice(words.CITIES), rng.choice(words.COMPANIES)
    for line in (sender, words.street(rng), city):
        page.text(line, end="right")
    page.down(0.5)
    page.text(written, end=rng.choice(("", "right")))
    page.down(0.5)
    for line in (reader, company, words.street(rng), rng.choice(words.CITIES)):
        page.text(line)
    page.down(0.7)
    subject = words.heading(rng)
    page.text(f"Subject: {subject}", "bold")
    page.down(0.5)
    page.text(f"Dear {reader},")
    page.down(0.4)
    text, source = passage(rng, library, rng.randint(15, 40))
    page.text(text)
    page.down(0.6)
    page.text(
        rng.choice(("Yours sincerely,", "Kind regards,", "With best wishes,", "Yours faithfully,"))
    )
    page.down(0.6)
    page.text(sender, "italic")
    asked = [
        ask_words("field", "Who wrote the letter?", sender),
        ask_words("field", "To whom is the letter written?", reader),
        ask_words("field", "What is the date of the letter?", written, (date,)),
        ask_words("field", "What is the subject of the letter?", subject),
    ]
    fields = {
        "sender": sender,
        "reader": reader,
        "date": date,
        "subject": subject,
        "sources": [source],
    }
    return _drawn(rng, page, "letter", fields, rng.sample(asked, 3))


def draw_form(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a form that somebody filled in, with boxes that are ticked or not."""
    page = Page(choose_ink(rng), rng.choice((400, 460, 520)), rng.randint(18, 32))
    name, city = words.person(rng), rng.choice(words.CITIES)
    written, date = words.date(rng)
    filled = {
        "Name": name,
        "Date of birth": written,
        "Street": words.street(rng),
        "City": city,
        "Country": rng.choice(words.COUNTRIES),
        "Phone": words.phone(rng),
        "Email": f"{name.lower().replace(' ', '.')}@example.org",
        "Occupation": rng.choice(
            ("teacher", "driver", "nurse", "baker", "lawyer", "student", "pilot")
        ),
        "Member number": str(rng.randint(10_000, 99_999)),
    }
    kept = {key: filled[key] for key in rng.sample(sorted(filled), rng.randint(4, 7))}
    title = rng.choice(
        ("Registration form", "Application", "Membership form", "Order form", "Visitor card")
    )
    page.text(title, "bold", round(page.ink.size * 1.4), end=rng.choice(("", "middle")))
    page.down(0.6)
    bold = font(f"{page.ink.face} bold", page.ink.size)
    boxed, left = rng.random() < 0.6, page.margin + 8 + max(width(f"{key}:", bold) for key in kept)
    for key, value in kept.items():
        page.line(f"{key}:", page.margin, "bold")
        page.line(value, left + 6)
        low = page.y + round(1.25 * page.ink.size)
        page.frame((left, page.y - 3 if boxed else low, page.wide - page.margin, low))
        page.down(1.55)
    ticked = _boxes(rng, page)
    key = rng.choice(sorted(kept))
    others = (date,) if key == "Date of birth" else ()
    asked = [ask_words("field", f"What is written under {key}?", kept[key], others)]
    asked.append(ask_words("title", "What is the title of the form?", title))
    box = rng.choice(sorted(ticked))
    asked.append(yes_no("tick", f'Is the box "{box}" ticked?', ticked[box]))
    asked.append(number("count", "How many boxes are ticked?", sum(ticked.values())))
    return _drawn(rng, page, "form", {"title": title, **kept, "ticked": ticked}, asked)


def _boxes(rng: Random, page: Page) -> dict[str, bool]:
    """Two or three boxes to tick, each ticked or not by an even chance."""
    texts = ("Newsletter", "Vegetarian", "First visit", "Parking needed", "Student", "Paid in cash")
    ticked = {text: rng.random() < 0.5 for text in rng.sample(texts, rng.randint(2, 3))}
    page.down(0.3)
    for text, so in ticked.items():
        side = round(page.ink.size * 0.95)
        box = (page.margin, page.y + 2, page.margin + side, page.y + 2 + side)
        page.frame(box)
        if so:
            page.cross(box)
        page.line(text, page.margin + side + 8)
        page.down(1.3)
    return ticked


def draw_receipt(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw a receipt: a shop, a date, things with their prices, tax and a total."""
    page = Page(
        choose_ink(rng, ("mono", "mono", "sans")), rng.choice((300, 340, 380)), rng.randint(12, 24)
    )
    shop = rng.choice(words.SHOPS)
    written, date = words.date(rng)
    clock = f"{rng.randint(8, 21):02}:{rng.randint(0, 59):02}"
    receipt = str(rng.randint(1000, 99999))
    page.text(shop, "bold", round(page.ink.size * 1.2), end="middle")
    page.text(words.street(rng), end="middle")
    page.text(rng.choice(words.CITIES), end="middle")
    page.down(0.4)
    page.text(f"Receipt {receipt}")
    page.text(f"{written} {clock}")
    page.rule(dashed=rng.random() < 0.6)
    things = rng.sample(words.PRODUCTS, rng.randint(2, 7))
    prices = [rng.randint(80, 2999) for _ in things]
    counts = [rng.choice((1, 1, 1, 2, 3)) for _ in things]
    right = page.wide - page.margin
    for thing, price, count in zip(things, prices, counts, strict=True):
        page.line(f"{count} x {thing}" if count > 1 else thing, page.margin)
        page.line(_money(price * count), right, end="right")
        page.down()
    subtotal = sum(price * count for price, count in zip(prices, counts, strict=True))
    tax = round(subtotal * rng.choice((0.05, 0.07, 0.1, 0.19, 0.2)))
    total = subtotal + tax
    page.rule(dashed=rng.random() < 0.6)
    for name, amount in (("Subtotal", subtotal), ("Tax", tax)):
        page.line(name, page.margin)
        page.line(_money(amount), right, end="right")
        page.down()
    page.line("TOTAL", page.margin, "bold")
    page.line(_money(total), right, "bold", end="right")
    page.down(1.4)
    paid = rng.choice(("Cash", "Card"))
    page.text(f"Paid: {paid}")
    page.text(rng.choice(("Thank you!", "Thank you for your visit", "See you soon")), end="middle")
    place = rng.randrange(len(things))
    cost = prices[place] * counts[place]
    asked = [
        number("field", "What is the total of the receipt?", total / 100, told=_money(total)),
        number("field", f"How much was paid for {things[place]}?", cost / 100, told=_money(cost)),
        ask_words("field", "What is the date of the receipt?", written, (date,)),
        ask_words("field", "What is the name of the shop?", shop),
        number("count", "How many different things were bought?", len(things)),
        number("field", "How much tax was paid?", tax / 100, told=_money(tax)),
        ask_words("field", "Was it paid by card or in cash?", paid, among=("Cash", "Card")),
    ]
    fields = {
        **{"shop": shop, "date": date, "time": clock, "receipt": receipt, "paid": paid},
        "items": [[t, c, p / 100] for t, c, p in zip(things, counts, prices, strict=True)],
        **{"subtotal": subtotal / 100, "tax": tax / 100, "total": total / 100},
    }
    return _drawn(rng, page, "receipt", fields, rng.sample(asked, 5))


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


_DRAWS: Mapping[str, tuple[str, Draw]] = {
    "pages": ("a heading and paragraphs", draw_page),
    "columns": ("a title and two columns", draw_columns),
    "lists": ("lists with bullets or numbers", draw_list),
    "letters": ("letters", draw_letter),
    "forms": ("forms that somebody filled in", draw_form),
    "receipts": ("receipts of shops", draw_receipt),
}


def _any_document(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one of them all."""
    return _DRAWS[rng.choice(sorted(_DRAWS))][1](rng, library)


KINDS: tuple[Kind, ...] = (
    *(
        Kind(name, does, draw, "matplotlib", needs_fonts, ("matplotlib",), "texts")
        for name, (does, draw) in (
            ("documents", ("documents of every kind below", _any_document)),
            *_DRAWS.items(),
        )
    ),
)
