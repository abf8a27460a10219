"""Real words to draw with where no real tables or texts were given: names, places, things, sentences.

Random ─► person(), street(), price(), sentence(), paragraph() ─► charts, tables, documents
"""

from __future__ import annotations

from random import Random


def _of(words: str, between: str = " ") -> tuple[str, ...]:
    return tuple(words.split(between))


MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
SHORT_MONTHS = tuple(month[:3] for month in MONTHS)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
QUARTERS = ("Q1", "Q2", "Q3", "Q4")
COUNTRIES = _of(
    "Argentina Australia Austria Belgium Brazil Canada Chile China Colombia Denmark Egypt Estonia Finland "
    "France Germany Ghana Greece Hungary Iceland India Indonesia Ireland Italy Japan Kenya Latvia Mexico "
    "Morocco Nepal Nigeria Norway Peru Poland Portugal Senegal Spain Sweden Thailand Tunisia Turkey "
    "Ukraine Uruguay Vietnam Zambia"
)
CITIES = _of(
    "Athens Bergen Berlin Bogota Boston Bristol Cairo Chicago Dakar Delhi Denver Dublin Florence Geneva "
    "Hanoi Helsinki Istanbul Jakarta Kyoto Lagos Lima Lisbon London Lyon Madrid Manila Milan Montreal "
    "Munich Nairobi Osaka Oslo Paris Porto Prague Quito Riga Rome Seattle Seoul Sydney Tallinn Tokyo "
    "Toronto Vienna Warsaw"
)
PRODUCTS = _of(
    "Apples Bags Bananas Bicycles Books Boots Bread Butter Cameras Candles Carpets Chairs Cheese Clocks "
    "Coats Coffee Cups Desks Eggs Flour Garlic Gloves Grapes Guitars Hats Honey Jackets Jam Kettles Lamps "
    "Lemons Maps Milk Mirrors Mushrooms Nuts Olives Onions Oranges Paint Paper Pears Pencils Pens Pillows "
    "Plates Potatoes Radios Rice Ropes Salt Scarves Shirts Shoes Soap Spoons Stamps Sugar Tables Tea "
    "Tents Tickets Tomatoes Towels Toys Umbrellas Vases Wallets Watches Yarn"
)
ANIMALS = _of(
    "Ants Bats Bears Bees Cats Cows Crows Deer Dogs Ducks Eagles Fish Foxes Frogs Geese Goats Hares Hens "
    "Horses Lions Mice Moths Owls Pigs Seals Sheep Snakes Storks Swans Tigers Turtles Whales Wolves"
)
DEPARTMENTS = _of(
    "Accounting Design Engineering Finance Legal Logistics Marketing Planning Production Research Sales "
    "Security Service Support Training Transport"
)
SUBJECTS = _of(
    "Art Biology Chemistry Drama English French Geography History Latin Mathematics Music Physics Reading "
    "Science Sports Writing"
)
SPORTS = _of(
    "Archery Badminton Baseball Basketball Boxing Cycling Fencing Football Golf Handball Hockey Judo "
    "Rowing Rugby Running Sailing Skating Skiing Swimming Tennis Volleyball Wrestling"
)
FIRST_NAMES = _of(
    "Adam Agnes Alice Amir Anna Arthur Bruno Carla Chen Clara Daniel David Diana Elena Emil Emma Eric "
    "Fatima Felix Grace Hana Helen Hugo Ida Ivan Jack Jane Julia Karim Kate Laura Leo Lily Lucas Maria "
    "Martin Maya Nina Noah Olga Oscar Paul Petra Rosa Ruth Samuel Sara Simon Sofia Tara Thomas Tom Vera "
    "Victor Walter Yusuf Zoe"
)
LAST_NAMES = _of(
    "Adler Baker Bauer Bell Berg Brown Carter Clark Cohen Cook Costa Diaz Evans Fischer Ford Garcia Grant "
    "Green Hall Hansen Hill Hughes Ito Jones Kelly Khan Klein Kumar Larsen Lee Lewis Lopez Martin Meyer "
    "Moore Morris Nowak Olsen Park Parker Patel Perez Price Reed Rossi Sato Scott Silva Smith Stone Taylor "
    "Turner Walker Weber White Wilson Wood Wright Young"
)
ADJECTIVES = _of(
    "ancient bright broken calm careful cheap clean clear cold common cool curious dark deep distant dry "
    "early empty fair famous fast fine fresh gentle good grand great green happy heavy high honest huge "
    "large late light little long loud low modern narrow new noisy old open patient plain pleasant polite "
    "poor proud quick quiet rare red rich round sharp short silent simple slow small smooth soft solid "
    "strange strong sudden sweet tall thick thin tiny useful warm weak wide wild wise young"
)
NOUNS = _of(
    "actor apple artist baker bank bell bird boat book bottle box boy branch bread bridge brother brush "
    "building camera captain castle chair child church city clock cloud coat coin cook corner cousin "
    "daughter desk doctor dog door dream driver engine farmer father field fire fish flag flower forest "
    "friend game garden gate girl glass guest hammer harbour hill horse hotel house island jacket journey "
    "judge key king kitchen ladder lake lamp lawyer letter library lion machine manager map market meadow "
    "melody minute mirror mother mountain museum neighbour newspaper nurse ocean office painter palace "
    "paper park passenger pencil piano picture pilot plan planet player pocket poem present prince prize "
    "queen question rabbit railway river road roof room sailor school season secret shadow ship shirt "
    "shoe shop singer sister soldier song square stage star station stone storm story stranger street "
    "student summer table teacher telephone tower town train tree uncle valley village visitor voice "
    "waiter wall watch water wheel window winter woman worker writer yard"
)
VERBS = _of(
    "admires avoids breaks builds buys carries catches checks chooses cleans collects copies counts covers "
    "crosses describes draws enters explains fills finds follows forgets guards guides hears helps hides "
    "holds invites keeps knows leaves likes loses loves makes measures meets mentions misses moves needs "
    "notices observes offers opens orders paints passes praises prepares protects pulls pushes reaches "
    "reads remembers repairs respects saves sees sells shows supports surprises takes teaches thanks "
    "touches trusts understands visits wants washes watches welcomes"
)
ACTIONS = _of(
    "Bring Buy Call Carry Check Choose Clean Collect Copy Count Cut Fill Find Fold Lift Mark Measure Mix "
    "Move Open Order Pack Paint Print Read Repair Save Sell Send Sign Sort Store Test Turn Wash Weigh Write"
)
STATES = _of("broken clean closed dry empty full heavy hot late new old open paid ready signed wet")
PLACES = _of(
    "across the square|along the river|at the station|behind the church|before breakfast|by the lake|"
    "during the summer|every evening|for a moment|from the balcony|in the afternoon|in the garden|"
    "near the harbour|next to the museum|on the hill|on Monday|outside the town|under the bridge|"
    "with great care|without a word",
    "|",
)
LINKS = ("and", "but", "because", "while", "when", "although")
STREETS = _of(
    "Abbey Bridge Castle Chapel Church Forest Garden Harbour High Hill King Lake Linden Market Meadow Mill "
    "Museum North Oak Park Queen River School South Spring Station Temple Tower Valley Water"
)
SHOPS = _of(
    "Blue Door Books|Corner Bakery|Garden World|Golden Fork|Green Leaf Grocery|Harbour Market|"
    "Hill Top Cafe|Lakeside Pharmacy|Lemon Tree Bistro|North Star Hardware|Old Mill Foods|"
    "Paper and Pen|Red Lantern Kitchen|River Street Deli|Silver Spoon Cafe|Sunny Side Market",
    "|",
)
COMPANIES = _of(
    "Alder Systems|Atlas Freight|Bright Energy|Cedar Bank|Delta Print|Falcon Air|Harbour Insurance|"
    "Juniper Labs|Kestrel Motors|Maple Foods|Nordic Steel|Orchid Textiles|Pine Telecom|Quartz Mining|"
    "Summit Travel|Willow Health",
    "|",
)


def person(rng: Random) -> str:
    """Return a first and a last name."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def street(rng: Random) -> str:
    """Return a number and a street: "12 Mill Street"."""
    return f"{rng.randint(1, 199)} {rng.choice(STREETS)} {rng.choice(('Street', 'Road', 'Lane', 'Avenue'))}"


def date(rng: Random) -> tuple[str, str]:
    """Return one date twice: as it is written somewhere in the world, and as YYYY-MM-DD."""
    year, month, day = rng.randint(1995, 2029), rng.randint(1, 12), rng.randint(1, 28)
    name = MONTHS[month - 1]
    written = rng.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{day} {name} {year}",
            f"{name} {day}, {year}",
            f"{day:02}.{month:02}.{year}" if day > 12 else f"{day} {name[:3]} {year}",
        )
    )
    return written, f"{year}-{month:02}-{day:02}"


def phone(rng: Random) -> str:
    """Return a telephone number of the range that is kept free for fiction."""
    return f"555 {rng.randint(100, 999)} {rng.randint(1000, 9999)}"


def sentence(rng: Random) -> str:
    """Return one sentence of 6 to 20 words."""
    words = _clause(rng)
    if rng.random() < 0.35:
        words += f", {rng.choice(LINKS)} {_clause(rng)}"
    return words[0].upper() + words[1:] + "."


def paragraph(rng: Random, words: int) -> str:
    """Return sentences that have at least so many words together."""
    said: list[str] = []
    while sum(text.count(" ") + 1 for text in said) < words:
        said.append(sentence(rng))
    return " ".join(said)


def heading(rng: Random) -> str:
    """Return a short title: "The quiet harbour"."""
    return f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"


def _clause(rng: Random) -> str:
    text = f"{_thing(rng)} {rng.choice(VERBS)} {_thing(rng)}"
    return f"{text} {rng.choice(PLACES)}" if rng.random() < 0.5 else text


def _thing(rng: Random) -> str:
    described = f"{rng.choice(ADJECTIVES)} " if rng.random() < 0.5 else ""
    return f"{rng.choice(('the', 'the', 'this', 'that', 'every'))} {described}{rng.choice(NOUNS)}"
