"""Pages by chance as trees of elements: a header, cards, forms, tables, lists, in many styles.

    Random ─► Element tree ─► page(): HTML with a number per element ─► browser
                        └───► code(): an element's own HTML, what can be seen of it ─► the answer

An element tells only what can be seen: no identifiers, classes or addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from chiasm.data.render import vocabulary as words
from chiasm.data.render.question_forms import escaped

VOID = ("input", "img", "hr", "br")


@dataclass(frozen=True)
class Element:
    """An element of a page."""

    tag: str
    inside: tuple[Element | str, ...] = ()
    told: dict[str, str] = field(default_factory=dict)
    """Attributes that can be seen; an empty value stands for none: `checked`."""
    looks: str = ""
    """Its class in the style sheet."""

    def code(self) -> str:
        """Return its HTML, in one line."""
        return f"<{self.tag}{self._attributes()}>" + self._rest("".join(map(_code, self.inside)))

    def page(self, numbers: Iterator[int]) -> str:
        """Return its HTML with classes and with a number for each element, in document order."""
        looks = f' class="{self.looks}"' if self.looks else ""
        start = f'<{self.tag}{self._attributes()}{looks} data-n="{next(numbers)}">'
        parts = [p.page(numbers) if isinstance(p, Element) else escaped(p) for p in self.inside]
        return start + self._rest("".join(parts))

    def text(self) -> str:
        """Return what is written in it, a space between elements."""
        parts = (p.text() if isinstance(p, Element) else p for p in self.inside)
        return " ".join(part for part in parts if part)

    def all(self) -> Iterator[Element]:
        """Give this element and all inside it in document order."""
        yield self
        for part in self.inside:
            if isinstance(part, Element):
                yield from part.all()

    def _attributes(self) -> str:
        return "".join(
            f' {name}="{escaped(value)}"' if value else f" {name}"
            for name, value in self.told.items()
        )

    def _rest(self, inside: str) -> str:
        return "" if self.tag in VOID else f"{inside}</{self.tag}>"


def _code(part: Element | str) -> str:
    return part.code() if isinstance(part, Element) else escaped(part)


def of(tag: str, *inside: Element | str, looks: str = "", **told: str) -> Element:
    """Return an element; `checked=""` is an attribute without a value."""
    return Element(tag, inside, told, looks)


# ---------------------------------------------------------------- blocks

BUTTONS = (
    *("Save", "Cancel", "Send", "Delete", "Search", "Log in", "Sign up", "Add to cart", "Continue"),
    *("Download", "Upload", "Share", "Edit", "Close", "Next", "Back", "Apply", "Reset", "Buy now"),
)
LINKS = (
    *("Home", "About", "Contact", "Products", "Pricing", "Blog", "Help", "News", "Team", "Careers"),
    *("Support", "Docs", "Gallery", "Events", "Account", "Settings", "Privacy", "Terms"),
)


def header(rng: Random) -> Element:
    """Return a bar with a name and links."""
    links = (of("a", name, href="#") for name in rng.sample(LINKS, rng.randint(3, 5)))
    return of("nav", of("b", rng.choice(words.COMPANIES), looks="brand"), *links, looks="bar")


def opening(rng: Random) -> Element:
    """Return a heading, a sentence and one or two buttons."""
    buttons = (of("button", name) for name in rng.sample(BUTTONS, rng.randint(1, 2)))
    return of("section", of("h1", words.heading(rng)), of("p", words.sentence(rng)), *buttons)


def cards(rng: Random) -> Element:
    """Return two or three cards side by side."""
    made = (
        of(
            "div",
            of("h3", words.heading(rng)),
            of("p", words.sentence(rng)),
            of("button", rng.choice(BUTTONS)),
            looks="card",
        )
        for _ in range(rng.randint(2, 3))
    )
    return of("div", *made, looks="row")


def form(rng: Random) -> Element:
    """Return a form: fields that are filled or not, a choice, boxes, a button."""
    name = words.person(rng)
    fields = {
        "Name": (name, "Your name"),
        "Email": (f"{name.split()[0].lower()}@example.org", "you@example.org"),
        "City": (rng.choice(words.CITIES), "Where do you live?"),
        "Phone": (words.phone(rng), "Phone number"),
        "Company": (rng.choice(words.COMPANIES), "Optional"),
        "Date": (words.date(rng)[1], "YYYY-MM-DD"),
    }
    parts: list[Element | str] = [
        of("h2", rng.choice(("Sign up", "Contact us", "Your order", "Profile")))
    ]
    for label in rng.sample(sorted(fields), rng.randint(2, 4)):
        value, hint = fields[label]
        filled = {"value": value} if rng.random() < 0.5 else {"placeholder": hint}
        off = {"disabled": ""} if rng.random() < 0.12 else {}
        parts.append(of("label", label, Element("input", told={"type": "text", **filled, **off})))
    if rng.random() < 0.6:
        chosen = of("select", of("option", rng.choice(words.COUNTRIES)))
        parts.append(of("label", "Country", chosen))
    if rng.random() < 0.4:
        parts.append(of("textarea", f"Please call me {rng.choice(words.PLACES)}."))
    for text in rng.sample(
        ("I agree", "Newsletter", "Remember me", "Gift wrap"), rng.randint(1, 3)
    ):
        ticked = {"checked": ""} if rng.random() < 0.5 else {}
        box = Element("input", told={"type": "checkbox", **ticked})
        parts.append(of("label", box, text, looks="tick"))
    parts.append(of("button", rng.choice(BUTTONS)))
    return of("form", *parts)


def listing(rng: Random) -> Element:
    """Return a heading and a list, numbered or not."""
    items = (of("li", text) for text in rng.sample(words.PRODUCTS, rng.randint(3, 6)))
    return of("section", of("h2", words.heading(rng)), of(rng.choice(("ul", "ol")), *items))


def table(rng: Random) -> Element:
    """Return a table of names and numbers."""
    heads = rng.sample(("Price", "Stock", "Orders", "Weight", "Rating"), rng.randint(1, 3))
    rows = [of("tr", of("th", "Product"), *(of("th", head) for head in heads))]
    for thing in rng.sample(words.PRODUCTS, rng.randint(2, 4)):
        rows.append(of("tr", of("td", thing), *(of("td", str(rng.randint(1, 990))) for _ in heads)))
    return of("table", *rows)


def article(rng: Random) -> Element:
    """Return a heading and a paragraph or two."""
    texts = (of("p", words.paragraph(rng, rng.randint(12, 26))) for _ in range(rng.randint(1, 2)))
    return of("article", of("h2", words.heading(rng)), *texts)


def footer(rng: Random) -> Element:
    """Return a last line with links."""
    links = (of("a", name, href="#") for name in rng.sample(LINKS, rng.randint(2, 3)))
    return of("footer", f"{rng.choice(words.COMPANIES)} {rng.randint(2015, 2029)}", *links)


BLOCKS = (opening, cards, form, listing, table, article)


def body(rng: Random) -> Element:
    """Return a page's content: two to four blocks, a bar above and a line below more often than not."""
    made = [block(rng) for block in rng.sample(BLOCKS, rng.randint(2, 4))]
    if rng.random() < 0.75:
        made.insert(0, header(rng))
    if rng.random() < 0.5:
        made.append(footer(rng))
    return of("main", *made)


# ---------------------------------------------------------------- looks


def style(rng: Random) -> str:
    """Return a style sheet: colours, letters, corners, spaces, shadows."""
    ink, paper, bar, tint = rng.choice(
        (
            *(
                ("#1f2933", "#ffffff", "#243b53", "#f0f4f8"),
                ("#222222", "#fafafa", "#7b2d26", "#f3e9e7"),
            ),
            *(
                ("#e6e6e6", "#1b1f27", "#0f1218", "#2a303c"),
                ("#14213d", "#fffdf7", "#2a6f4e", "#edf6f0"),
            ),
            *(
                ("#2b2140", "#ffffff", "#5b3f8c", "#f3effa"),
                ("#333333", "#ffffff", "#eeeeee", "#f7f7f7"),
            ),
        )
    )
    on_bar = "#222222" if bar == "#eeeeee" else "#ffffff"
    accent = rng.choice(("#2563eb", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0f766e"))
    face = rng.choice(("sans-own", "sans-own", "serif-own", "times-own", "mono-own"))
    size, gap, round_ = rng.randint(13, 16), rng.randint(8, 16), rng.choice((0, 3, 6, 12))
    shadow = rng.choice(("none", "0 1px 4px rgba(0,0,0,.3)"))
    edge = rng.choice((f"1px solid {accent}", "1px solid #999999", "2px solid #bbbbbb"))
    solid = rng.random() < 0.7
    button = (
        f"background:{accent};color:#fff;border:0"
        if solid
        else f"background:none;color:{accent};border:1px solid {accent}"
    )
    wide = (
        "display:block;width:70%;"
        if rng.random() < 0.6
        else "margin-left:8px;width:45%;min-width:236px;"
    )
    return f"""
*{{box-sizing:border-box}}
body{{margin:0;font:{size}px/1.4 {face};color:{ink};background:{paper}}}
main{{display:flex;flex-direction:column;gap:{gap}px;padding-bottom:{gap}px}}
main>*{{margin:0 {gap + 6}px}}
.bar{{margin:0;padding:{gap}px;background:{bar};color:{on_bar};display:flex;gap:{gap + 4}px;align-items:center}}
.bar a{{color:{on_bar};text-decoration:none}} .brand{{margin-right:auto}}
a{{color:{accent}}} footer{{font-size:85%;display:flex;gap:{gap}px}}
h1,h2,h3{{margin:0 0 6px;line-height:1.2}} p{{margin:0 0 8px}} ul,ol{{margin:0;padding-left:26px}}
button{{font:inherit;padding:5px 12px;margin:2px 8px 2px 0;border-radius:{round_}px;{button}}}
.row{{display:flex;gap:{gap}px}} .card{{flex:1;padding:{gap}px;background:{tint};border-radius:{round_}px;box-shadow:{shadow}}}
form{{padding:{gap}px;background:{tint};border-radius:{round_}px;box-shadow:{shadow}}} label{{display:block;margin:5px 0}}
input[type=text],select,textarea{{font:inherit;{wide}padding:4px 6px;border:{edge};border-radius:{round_}px;background:#fff;color:#111}}
input::placeholder{{color:#9a9a9a}} input:disabled{{background:#ddd;color:#777}} textarea{{display:block;width:90%;height:56px;margin:6px 0}}
table{{border-collapse:collapse;width:fit-content}} td,th{{padding:4px 12px;border:{rng.choice(("1px solid #999", "0"))};text-align:left}}
th{{background:{tint}}}
"""  # noqa: E501
