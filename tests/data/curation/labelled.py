"""Sets of which somebody knows what is right: captions, pictures and clips, good ones and planted junk.

    sentences()  ─► (text, language)       40 sentences in each of 13 languages, five words or more
    captions()   ─► (text, reason or "")   people's captions, hard ones among them, and junk of every kind
    pictures()   ─► (pixels, reason or "")
    clips()      ─► (frames, seconds, reason or "")

What is drawn by chance is drawn from a seed: the same numbers, the same sets.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from chiasm.data.curation.step import Item
from chiasm.data.pairs import Pair
from chiasm.inputs.message import Picture, Shown, Video

Pixels = NDArray[np.uint8]


def sentences() -> list[tuple[str, str]]:
    """Captions as (text, language): the same 40 scenes told in 13 languages."""
    lines = Path(__file__).with_name("sentences.tsv").read_text("utf-8").splitlines()
    return [(text, language) for language, text in (line.split("\t") for line in lines)]


def item(caption: str = "", *frames: Pixels, seconds: float = 0.0, key: str = "toy") -> Item:
    """An item as the pipeline makes it; a video when `seconds` is given, else one PNG."""
    shown: Shown = Picture(data=png(frames[0]) if frames else b"")
    if seconds:
        shown = Video(Picture(data=b"GIF89a"))
    times = tuple(seconds * i / len(frames) for i in range(len(frames))) if seconds else ()
    return Item(Pair(key, caption, shown, "toys"), caption, frames, times, seconds)


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def scores(found: Iterable[bool], right: Iterable[bool]) -> tuple[float, float]:
    """Precision and recall of what was found."""
    pairs = list(zip(found, right, strict=True))
    both = sum(f and r for f, r in pairs)
    return both / max(1, sum(f for f, _ in pairs)), both / max(1, sum(r for _, r in pairs))


# ---- captions ----------------------------------------------------------------------------------

GOOD = """
A click beetle on a leaf
Click the shutter: a photographer at work in the rain
NASA astronaut Mae Jemison aboard the space shuttle
The USS Enterprise leaves San Diego
IBM PC from 1981 with its green monitor
A stop sign that says STOP
Apollo 11 on launch pad 39A, July 1969
Boeing 747-400 landing at Heathrow
Route 66 sign near Amarillo, Texas
12 eggs in a carton
3 people on 2 bikes
A 1965 Ford Mustang, red, seen from behind
Flag: Germany
Keycap: 5
Man in suit levitating
Woman: medium-dark skin tone, red hair
Thumbs up
red apple
Grinning face with big eyes
Person in lotus position
Bath, England
Windows 95 start menu
A free climber hangs from the edge, no rope in sight
No parking sign on a garage door
Do not enter!
What a view!
Is this the tallest tree in the world?
"Keep calm and carry on" printed on a mug
Loading dock of a warehouse at night
People share a pizza on the floor
Shop window full of shoes, now with a dog in front of it
Subscribe button drawn as a cartoon
Photo of my grandmother's kitchen, 1952
A picture of a picture in a frame
Image of the moon taken with a small telescope
Screenshot of a text editor with dark colours
Logo of a bakery: a pretzel with a crown
Icon of a house
Scan of an old map of Vienna
Portrait of Dr. J. R. Smith, Ph.D.
St. Mary's Church (13th century), north side
The Eiffel Tower, Paris, at 9 p.m.
Recipe for 4: 2 eggs, 200 g flour, 1/2 l milk
Temperature in °C: -12
Bananas - 1.99 a kilo
Two dogs, two cats, two birds and two fish
A horse, a horse, a kingdom for a horse
The man and the woman and the child and the dog by the river
big big dog next to a very very small dog
Bora Bora from the air
New York, New York
Row row row your boat: children in a canoe
Red, red wine in a glass
Knock knock: a woodpecker at the door
A chessboard after 1. e4 e5 2. Nf3 Nc6
Gate B12 closed
Team photo, FC St. Pauli 2-1 Hamburg
CERN
LEGO castle
A BBC van outside the UN building in NYC
Old DOS game with EGA graphics on a CRT
Sun, sea & sand
Rock 'n' roll band on stage
Mother-in-law's tongue in a self-watering pot
Café crème and a croissant
Señor Gómez y su perro, the title says
Tokyo tower (東京タワー) by night
Moscow metro station "Маяковская"
A man wearing a t-shirt with the word "LOVE"
Coffee @ home
Bus no. 42 to Piccadilly
Plate with the number AB-123-CD
Mona Lisa (1503-1519), Leonardo da Vinci
Diagram of the water cycle: evaporation, condensation, precipitation
Bar chart: sales per quarter, 2019 to 2021
Equation: E = mc2 on a blackboard
A woman reads a book called "Loading..."? No: "Waiting".
fish and chips
sunset over the sea
an orange cat wearing a tiny hat
three kids on a swing
girl with balloon
somebody left a scooter in the middle of the road
the view from our window this morning
Kids running through a sprinkler in the yard
A very long table is set for a wedding with white plates, candles, roses and small cards with names on them
Hands holding soil with a seedling
Close-up of a circuit board with a chip marked 6502
A tram stops at Alexanderplatz, Berlin
Golden retriever puppy looking at the camera
Street food stall selling noodles in Bangkok
Two tennis players shake hands over the net
The queen waves from the balcony
Empty swimming pool with a ladder
Fireworks above the harbour bridge!
Ship in a bottle
Steam engine no. 9 pulls four green coaches up a hill
Mountain goat on a cliff
Black and white photo of a jazz club
A sign in the window reads "We're open"
Hot-air balloons over Cappadocia at dawn
A courtyard with a fig tree, two chairs and a sleeping cat
Snow-covered letterbox
A robot arm welds a car door
Traffic jam on the M25
Bees at the entrance of their hive
Someone's hand-drawn map of Middle-earth
Violin, viola, cello and double bass
""".strip().splitlines()
"""What people write under pictures, with much that resembles junk."""

JUNK = {
    "file_name": """
IMG_2039.JPG
DSC00412.jpg
dsc0001
DSCN3321
IMG_20190714_182233
PXL_20220101_101010123
P1040871
_MG_8812.CR2
untitled-1
Untitled
image001.png
image (3).jpeg
photo-1.jpg
WhatsApp Image 2021-05-06 at 12.33.10
Screenshot 2022-03-04 at 10.11.12
Screenshot_20210304-101112
holiday_beach_03
red-bus-300x200
my holiday pictures (2).jpg
C:\\pics\\scan0007.bmp
/uploads/2019/05/header_final_v2.png
9f86d081884c7d659a2feaa8
shutterstock_123456789
GettyImages-51246880
VID_20200101_000001.mp4
download (1)
slide 12
fig 3
figure-07
MVI_0042.AVI
thumb_00032
""",
    "address": """
http://www.example.com/pictures/12
https://example.org/a/b?c=d
www.bestwallpapers.net
bestwallpapers4u.com
Via https://t.co/Ab12Cd34Ef
info@photo-shop.example.com
pinterest.com/pin/99887766
visit www.cheap-hotels-online.biz
""",
    "markup": """
<img src="a.jpg" alt="dog"> A dog
A dog<br/>in the park
<p>Two cats</p>
Tom &amp; Jerry on a poster
Caf&eacute; in Paris at night
[caption id="attachment_12"] Our garden
{{ product.title }} in red
{% raw %}<%= image.alt %>
${title} seen from above
function() { return alt; } a house
style { color: red; } a car
[object Object]
A house &nbsp;&nbsp; with a garden
[img]a cat[/img]
beach%20at%20sunset
""",
    "boilerplate": """
Click to enlarge
click here to view larger image
Click on the image to enlarge
Click image for full size
Tap to zoom
View full size
No image available
Image not available
Image may contain: one person, smiling, outdoor
Photo credit: John Smith
Image courtesy: the museum
Buy now and save ten percent
Add to cart
Free shipping on all orders
Share on Facebook
Pin it on Pinterest
All rights reserved
Your browser does not support the video tag
Read more about this
Royalty-free stock photo of a dog
Stock photo
Lorem ipsum dolor sit amet
Picture coming soon
Log in now to see this
Please enable JavaScript
Out of stock
Terms and conditions apply
Related posts
no description
No photo
""",
    "repetition": """
dog dog dog dog dog dog dog
buy shoes buy shoes buy shoes buy shoes
a red car a red car a red car a red car
cheap phone, cheap phone case, cheap phone, cheap phone case
nice nice nice nice nice nice view view view view
hotel in rome hotel in rome best hotel in rome hotel in rome
loooooooool this is my dog
wallpaper hd wallpaper hd wallpaper hd
cat, cat, cat, cat, cat, cat
yessssssss we won
the the the the the the the the
""",
    "shouting": """
BUY THIS AMAZING WATCH TODAY
LOOK AT THIS CUTE LITTLE DOG
BEST PRICE FOR RUNNING SHOES
A MAN RIDING A HORSE ON THE BEACH
Wow this is great!!!!
What is this?!?!?!
★★★★★ best phone ever
♥♥♥♥ my baby ♥♥♥♥
►►►► watch until the end
my new car ~~~~~ so happy
#### winter sale ####
""",
    "few_letters": """
12345 67890 24680
a 1 2 3 4 5 6 7 8 9
€ 49,99 - 59,99 x
:-) ;-) :-P :-D
5 / 10 / 15 / 20 / 25 km
x = 12.5 + 33.1 - 8
+49 30 1234567 tel
""",
    "empty": """
...
12/05/2019
---
?
100 %
# 1
""",
    "too_few_words": """
dog
Untitledly
x
Photograph
""",
    "too_long": "\n".join(
        " ".join(f"thing{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{n}" for i in range(300))
        for n in "ab"
    ),
}
"""What is no caption, by the reason for which it should go."""


NEVER_SEEN = {
    "": """
A fox trots along the railway line at dawn
Rear view of a van with its doors open
My brother's first loaf of sourdough
PhD students in front of a whiteboard full of formulas
Two-headed statue, 3rd century BC
Class of 1998
View from platform 9 at Leeds station
An "out of order" note on a vending machine
The word HELP written in the sand
Download speed test on a phone screen
Slide and swings in an empty playground
Father and son, father and daughter
Very, very old olive tree
A copy of a Roman vase
Thumbnail sketch of a bridge, in pencil
A sailor climbs the mast!
Why is the duck on the roof?
Half of the bowls are full, half of the bowls are empty
US Navy jets over the Golden Gate Bridge
Cello lesson
Left: salt. Right: sugar.
6 x 4 LEGO brick in yellow
#3 swims ahead of the others
People queue to buy tickets at the ballet
Read me a story: a bear in a rocking chair
the inside of a piano
a wall of 100 clocks, all showing 10:10
Mt. Fuji seen from a train (window seat)
She sells sea shells by the sea shore
Diagram of a 4-stroke engine
""",
    "junk": """
CIMG0231.JPG
DSC_9912-edit-2
IMG-20200215-WA0007
2019-07-04 18.33.02.jpg
FB_IMG_1556789012345
final_final_v3.psd
5f4dcc3b5aa765d61d8327deb882cf99
iStock-902883912
product-1200x800.jpg
screen-shot-2020-01-01-at-9-00-00-am
https://www.flickr.com/photos/123/456
mywebsite.net/gallery?page=3
contact: sales@foto-mueller.example.de
<a href="/next">next picture</a>
Salt &#38; pepper shakers
<span class="caption">A barn</span>
body { margin: 0; padding: 0 } lighthouse
Click the picture to see a larger version
Tap for more
Photo not available
Image may contain: indoor, plant
Order now and get two
Follow us on Instagram for more
Shop now
High resolution stock photography
Copyright 2019. All rights reserved.
cheap flights cheap flights cheap flights cheap hotels
sale sale sale sale sale sale today
best vacuum cleaner best vacuum cleaner 2020 best vacuum cleaner review
CHECK OUT OUR NEW SUMMER COLLECTION
THIS WILL BLOW YOUR MIND
so cute!!!!!!
>>>>>> see below <<<<<<
***** five stars *****
$$$ 19.99 $$$ 9.99 $$$
12:00 13:00 14:00 15:00 h
. . . .
404
hahahahaaaaaaaa
-
""",
}
"""Written after the rules, which were not changed for them."""


def never_seen() -> list[tuple[str, bool]]:
    """Captions as (text, whether it is junk)."""
    return [(t, bool(kind)) for kind, v in NEVER_SEEN.items() for t in v.strip().splitlines()]


def captions() -> list[tuple[str, str]]:
    """Captions as (text, reason); an empty reason for those that people wrote."""
    english = [(text, "") for text, language in sentences() if language == "en"]
    good = [(text, "") for text in GOOD]
    junk = [(t, reason) for reason, lines in JUNK.items() for t in lines.strip().splitlines()]
    return [*english, *good, *junk]


# ---- pictures ----------------------------------------------------------------------------------


def noise_source(seed: int, what: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(random.Random(f"{seed}/{what}/{number}").getrandbits(63))


def scene(rng: random.Random, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A sky, a ground and some things on it, softened as a lens does."""
    width, height = size
    image = Image.new("RGB", size, tuple(rng.randint(120, 240) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 2 // 3, width, height), fill=_colour(rng))
    for _ in range(rng.randint(3, 9)):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randint(6, max(6, height // 3))
        form = rng.choice((draw.ellipse, draw.rectangle))
        form((x - r, y - r, x + r, y + r), fill=_colour(rng))
    return image.filter(ImageFilter.GaussianBlur(0.7))


def _colour(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(256) for _ in range(3))


def _line_drawing(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (200, 160), "white")
    draw = ImageDraw.Draw(image)
    points = [(rng.randrange(200), rng.randrange(160)) for _ in range(9)]
    draw.line(points, fill="black", width=rng.randint(1, 2))
    return image


def _symbol(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (128, 128), "white")
    x, y, r = rng.randint(30, 98), rng.randint(30, 98), rng.randint(7, 25)
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=(*_colour(rng)[:2], 0))
    return image


def _night(rng: random.Random) -> Image.Image:
    grain = noise_source(rng.randrange(1 << 30), "night").normal(8, 2, (120, 160, 1))
    image = Image.fromarray(np.clip(grain.repeat(3, 2), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(12, 30)):
        x, y = rng.randrange(160), rng.randrange(120)
        draw.ellipse((x, y, x + 3, y + 3), fill=(250, 230, 160))
    return image


def _page(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (240, 160), "white")
    draw = ImageDraw.Draw(image)
    for row in range(rng.randint(2, 8)):
        draw.text((8, 8 + 18 * row), rng.choice(GOOD)[:36], fill="black")
    return image


def _gradient(rng: random.Random) -> Image.Image:
    across = np.linspace(0, 1, 160)[None, :, None] * np.array(_colour(rng))
    down = np.linspace(0, 1, 120)[:, None, None] * np.array(_colour(rng))
    return Image.fromarray(np.clip(across / 2 + down / 2, 0, 255).astype(np.uint8))


def _grainy(rng: random.Random) -> Image.Image:
    pixels = np.asarray(scene(rng), dtype=np.float64)
    grain = noise_source(rng.randrange(1 << 30), "grain").normal(0, 20, pixels.shape)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _plain(rng: random.Random) -> Image.Image:
    return Image.new("RGB", (160, 120), _colour(rng))


def _nearly_plain(rng: random.Random) -> Image.Image:
    """One colour with the noise of a scanner, or a speck of dust."""
    base = np.full((120, 160, 3), rng.randint(4, 250), np.float64)
    base += noise_source(rng.randrange(1 << 30), "scan").normal(0, 0.8, base.shape)
    image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        x, y = rng.randrange(150), rng.randrange(110)
        ImageDraw.Draw(image).ellipse((x, y, x + 5, y + 5), fill=_colour(rng))
    return image


def _static(rng: random.Random) -> Image.Image:
    generator = noise_source(rng.randrange(1 << 30), "static")
    if rng.random() < 0.5:
        return Image.fromarray(generator.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    dots = generator.integers(0, 2, (120, 160, 1), dtype=np.uint8) * 255
    return Image.fromarray(dots.repeat(3, 2))


def _tracker(rng: random.Random) -> Image.Image:
    return scene(rng, rng.choice(((1, 1), (48, 48), (200, 20), (16, 300))))


def _rule(rng: random.Random) -> Image.Image:
    return scene(rng, rng.choice(((700, 70), (80, 500), (900, 90))))


Drawer = Callable[[random.Random], Image.Image]
SHOWN: tuple[Drawer, ...] = (scene, _line_drawing, _symbol, _night, _page, _gradient, _grainy)
PLANTED: dict[str, tuple[Drawer, ...]] = {
    "blank": (_plain, _nearly_plain),
    "noise": (_static,),
    "too_small": (_tracker,),
    "too_thin": (_rule,),
}


def pictures(each: int = 12, seed: int = 0) -> list[tuple[Pixels, str]]:
    """Pictures as (pixels, reason): `each` of every kind, good ones with an empty reason."""
    kinds = [("", draw) for draw in SHOWN]
    kinds += [(reason, draw) for reason, drawers in PLANTED.items() for draw in drawers]
    return [
        (np.asarray(draw(random.Random(f"{seed}/{draw.__name__}/{n}")).convert("RGB")), reason)
        for reason, draw in kinds
        for n in range(each)
    ]


# ---- clips -------------------------------------------------------------------------------------


def _moving(rng: random.Random, count: int) -> list[Image.Image]:
    """A square that goes over a scene; small and slow ones are hard."""
    back, side, step = scene(rng), rng.randint(10, 30), rng.randint(3, 12)
    frames = []
    for i in range(count):
        frame = back.copy()
        x = (20 + i * step) % 140
        ImageDraw.Draw(frame).rectangle((x, 50, x + side, 50 + side), fill=(250, 40, 40))
        frames.append(frame)
    return frames


def _shots(rng: random.Random, count: int) -> list[Image.Image]:
    """Motion, and one or two cuts."""
    cut = count // 2
    return _moving(rng, cut) + _moving(rng, count - cut)


def _panning(rng: random.Random, count: int) -> list[Image.Image]:
    wide = scene(rng, (160 + 6 * count, 120))
    return [wide.crop((6 * i, 0, 6 * i + 160, 120)) for i in range(count)]


def _still(rng: random.Random, count: int) -> list[Image.Image]:
    """One picture, with the grain of a camera in every other clip."""
    back = np.asarray(scene(rng), dtype=np.float64)
    grain = rng.choice((0, 4))
    source = noise_source(rng.randrange(1 << 30), "still")
    return [
        Image.fromarray(
            np.clip(back + source.normal(0, grain, back.shape), 0, 255).astype(np.uint8)
        )
        for _ in range(count)
    ]


def _slides(rng: random.Random, count: int) -> list[Image.Image]:
    return [scene(rng).point(lambda v, i=i: v if i % 2 else v // 5) for i in range(count)]


def _dark(rng: random.Random, count: int) -> list[Image.Image]:
    """Black, but for a short scene at the end."""
    return [_plain(rng)] * (count - 3) + _moving(rng, 3)


def _titled(rng: random.Random, count: int) -> list[Image.Image]:
    """Motion under lines of text that stay."""
    font = ImageFont.load_default(size=20)
    frames = [frame.resize((320, 240)) for frame in _moving(rng, count)]
    words = rng.sample(
        ["BIG", "SALE", "TODAY", "ORDER", "NOW", "WATCH", "MORE", "VIDEOS", "HERE"], 8
    )
    for frame in frames:
        draw = ImageDraw.Draw(frame)
        for row in range(4):
            box = (4, 30 + 50 * row, 316, 64 + 50 * row)
            draw.rectangle(box, fill="black")
            text = " ".join(words[2 * row : 2 * row + 2])
            draw.text((12, 34 + 50 * row), text, fill="white", font=font)
    return frames


CLIPS = {
    "": (_moving, _shots, _panning),
    "still": (_still,),
    "flicker": (_slides,),
    "blank_frames": (_dark,),
    "overlaid_text": (_titled,),
}


def clips(each: int = 6, seed: int = 0) -> list[tuple[tuple[Pixels, ...], float, str]]:
    """Clips as (frames, seconds, reason): `each` of every kind, and as many too short or too long."""
    found = []
    for reason, drawers in (*CLIPS.items(), ("too_short", (_moving,)), ("too_long", (_panning,))):
        for draw in drawers:
            for n in range(each):
                rng = random.Random(f"{seed}/{reason}/{draw.__name__}/{n}")
                frames = tuple(np.asarray(f.convert("RGB")) for f in draw(rng, 8))
                seconds = {"too_short": 0.4, "too_long": 7200.0}.get(reason, 8 / 3)
                found.append((frames, seconds, reason))
    return found
