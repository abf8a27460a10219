"""A labelled set: pictures of many sorts with captions, and planted among them near-duplicates.

original ──► resized │ saved again │ cropped 5 % │ caption edited      duplicates: `origin` is its key
         └─► sibling: another colour, another place of one thing      not a duplicate
"""

import io
import random
import re
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from chiasm.data.curation.step import Item
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture

WORDS = re.findall(
    r"\w+",
    """
    red green blue yellow old small wooden quiet bright heavy river garden ladder bridge market
    castle pencil orange violin harbour mountain bicycle kitchen lantern feather sailor painter child
    horse rabbit spider eagle carries behind under near above between shadow morning winter evening
    street forest island valley basket mirror blanket button hammer bottle teapot carpet engine ticket
    """,
)


@dataclass(frozen=True)
class Planted:
    """A picture with a caption; `origin` is the key of the original that it is a duplicate of, or its own."""

    key: str
    caption: str
    pixels: np.ndarray
    origin: str
    what: str = "original"


# ---- pictures ------------------------------------------------------------------------------------


def scene(chance, changed):
    """Large soft shapes on a gradient, as in a photograph, with a little grain."""
    side = chance.choice((160, 224, 300))
    height = side * chance.choice((2, 3, 4)) // 4 + 16
    ends = [np.array([chance.randrange(256) for _ in range(3)]) for _ in range(2)]
    ramp = np.linspace(0, 1, height)[:, None, None]
    ground = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (height, side, 3))
    picture = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    shapes = [shape(chance, side, height) for _ in range(chance.randint(3, 8))]
    for number, (kind, box, colour) in enumerate(shapes):
        paint = other(colour) if changed and number == len(shapes) - 1 else colour
        getattr(draw, kind)(box, fill=paint)
    grain = np.random.default_rng(chance.randrange(1 << 30)).normal(0, 4, (height, side, 3))
    return np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)


def shape(chance, width, height):
    x, y = chance.randrange(width * 3 // 4), chance.randrange(height * 3 // 4)
    box = (x, y, x + width // 4 + chance.randrange(width // 4), y + height // 4)
    return (
        chance.choice(("ellipse", "rectangle")),
        box,
        tuple(chance.randrange(256) for _ in range(3)),
    )


def other(colour):
    """A colour far from this one."""
    return tuple((value + 128) % 256 for value in colour)


def icon(chance, changed):
    """Black strokes on white; the sibling has another last stroke."""
    side = chance.choice((64, 96, 128))
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    count = chance.randint(3, 6)
    for number in range(count):
        ends = [chance.randrange(side // 8, side * 7 // 8) for _ in range(4)]
        if changed and number == count - 1:
            ends = [side - ends[1], ends[0], side - ends[3], ends[2]]
        if number % 2:
            draw.line(ends, fill="black", width=side // 12)
        else:
            box = (min(ends[::2]), min(ends[1::2]), max(ends[::2]) + 9, max(ends[1::2]) + 9)
            draw.ellipse(box, outline="black", width=side // 16)
    return np.asarray(picture)


def face(chance, changed):
    """A round face on white, as emoji are; the sibling has another skin."""
    side = chance.choice((72, 128))
    skins = ["#ffcc4d", "#f7dece", "#c68642", "#8d5524", "#7ab8f5", "#9be37a"]
    skin = chance.choice(skins)
    if changed:
        skin = chance.choice([one for one in skins if one != skin])
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    edge = side // 16
    draw.ellipse((edge, edge, side - edge, side - edge), fill=skin)
    for x in (side // 3, side * 2 // 3):
        wide = chance.randint(side // 24, side // 8)
        tall, y = chance.randint(side // 24, side // 6), chance.randint(side // 4, side // 2)
        draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill="#333")
    across = (side // 4, side // 2 + chance.randrange(side // 8), side * 3 // 4, side * 7 // 8)
    draw.chord(across, chance.randrange(0, 360), chance.randrange(360, 720), fill="#a03")
    for _ in range(chance.randint(1, 3)):
        x, y = chance.randrange(side * 3 // 4), chance.randrange(side // 3)
        draw.rectangle(
            (x, y, x + side // 4, y + side // 8), fill=chance.choice(("#d33", "#36c", "#2a2"))
        )
    return np.asarray(picture)


SORTS = (scene, icon, face)


def drawn(number, seed, changed=False):
    return SORTS[number % len(SORTS)](random.Random(f"{seed}/picture/{number}"), changed)


# ---- what makes a duplicate ----------------------------------------------------------------------


def resized(pixels, chance):
    part = chance.choice((0.5, 0.75, 1.5, 2.0))
    height, width, _ = pixels.shape
    size = (round(width * part), round(height * part))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def saved_again(pixels, chance):
    form, quality = chance.choice((("JPEG", 30), ("JPEG", 60), ("JPEG", 90), ("WEBP", 60)))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def cropped(pixels, chance):
    """Without 5 % of its height and width, cut off anywhere."""
    height, width, _ = pixels.shape
    down, right = round(height * 0.05), round(width * 0.05)
    y, x = chance.randint(0, down), chance.randint(0, right)
    return pixels[y : y + height - down, x : x + width - right]


def edited(caption, chance):
    """One word replaced, left out or put in, or other capitals and stops."""
    words = caption.split()
    place = chance.randrange(len(words))
    how = chance.randrange(4)
    if how == 0:
        words[place] = chance.choice(WORDS)
    elif how == 1:
        del words[place]
    elif how == 2:
        words.insert(place, chance.choice(WORDS))
    else:
        return caption.title() + "!"
    return " ".join(words)


CHANGES = {"resized": resized, "saved again": saved_again, "cropped": cropped}


def sentence(chance):
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(8, 14)))


def labelled(originals=120, siblings=60, duplicates=40, seed=0):
    """Originals, siblings of some of them, and `duplicates` of each sort, in the order of their keys."""
    chance = random.Random(f"{seed}/labelled")
    found = []
    for number in range(originals):
        key = f"set/{chance.randrange(1 << 40):010x}"
        found.append(Planted(key, sentence(chance), drawn(number, seed), key))
    first = list(found)
    for number in range(siblings):
        key = f"set/{chance.randrange(1 << 40):010x}"
        caption = sentence(chance)
        found.append(Planted(key, caption, drawn(number, seed, changed=True), key, "sibling"))
    for what, change in CHANGES.items():
        for one in chance.sample(first, duplicates):
            key = f"set/{chance.randrange(1 << 40):010x}"
            new = replace(one, key=key, pixels=change(one.pixels, chance), what=what)
            found.append(new)
    for one in chance.sample(first, duplicates):
        key = f"set/{chance.randrange(1 << 40):010x}"
        caption = edited(one.caption, chance)
        found.append(replace(one, key=key, caption=caption, what="caption edited"))
    return sorted(found, key=lambda one: one.key)


# ---- through the steps ---------------------------------------------------------------------------


def item(one):
    pixels = np.ascontiguousarray(one.pixels)
    pair = Pair(one.key, one.caption, Picture(path=f"{one.key}.png"), "set")
    return Item(pair, one.caption, (pixels,))


def table(planted, *steps):
    """The table that a WholeStep is given, after steps that look at single items."""
    items = [item(one) for one in planted]
    for step in steps:
        for each, verdict in zip(items, step(items), strict=True):
            each.facts.update(verdict.facts)
    columns = {name: [each.facts[name] for each in items] for name in items[0].facts}
    sums = [sha256(bytes(str(one.pixels.shape), "ascii") + one.pixels.tobytes()) for one in planted]
    own = {
        "key": [one.key for one in planted],
        "caption": [one.caption for one in planted],
        "source": ["set"] * len(planted),
        "sha256": [each.hexdigest() for each in sums],
    }
    return pa.table({**own, **columns})


def judged(planted, verdicts):
    """(recall, precision, missed, wrong) of dropped rows, against the labels.

    A group of n has n - 1 to drop. A drop is right when the note names a member of the row's own group.
    """
    by_key = {one.key: one for one in planted}
    groups = {}
    for one in planted:
        groups.setdefault(one.origin, []).append(one)
    wanted = sum(len(group) - 1 for group in groups.values())
    wrong = []
    for row, verdict in verdicts.items():
        like = by_key[verdict.note.removeprefix("like ")]
        if like.origin != planted[row].origin:
            wrong.append((planted[row].what, planted[row].key, like.key))
    right = len(verdicts) - len(wrong)
    lost = {planted[row].key for row in verdicts}
    missed = [
        [one.what for one in group if one.key not in lost]
        for group in groups.values()
        if sum(one.key not in lost for one in group) > 1
    ]
    return right / wanted, right / max(1, len(verdicts)), missed, wrong
