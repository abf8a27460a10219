"""Equations as pictures, and LaTeX as their answer: typeset by Typst, or by matplotlib's mathtext.

formula ─┬─ latex ─► mathtext (five sets of fonts) ─┐
         ├─ typst ─► Typst (New Computer Modern) ───┴─► picture
         └─ latex ─► the answer
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from chiasm.data.render.drawn import Drawn, Kind
from chiasm.data.render.formulas import PARTS, Formula, formula
from chiasm.data.render.paper import encoded, needed
from chiasm.data.render.plot import needs_matplotlib
from chiasm.data.render.question_forms import latex, yes_no
from chiasm.data.render.typeset import needs_typst, typeset
from chiasm.inputs.question import Question

FONT_SETS = ("cm", "dejavusans", "dejavuserif", "stix", "stixsans")

ASKED = (
    "Write this formula in LaTeX.",
    "What is the LaTeX code of the formula?",
    "Transcribe the formula as LaTeX.",
)


def draw_equation(rng: Random, library: Mapping[str, Any]) -> Drawn:
    """Draw one formula."""
    made, asked, by_typst = choose(rng)
    inks = ("#000000", "#000000", "#1a1a4a", "#5a1020", "#103820")
    papers = ("#ffffff", "#ffffff", "#f8f5ec", "#eef3f8")
    ink, paper, size = rng.choice(inks), rng.choice(papers), rng.randint(17, 30)
    if by_typst:
        data, style = by_typst_drawn(made, ink, paper, size), "typst"
    else:
        fonts = rng.choice(FONT_SETS)
        image = by_mathtext(made.latex, ink, paper, size, fonts)
        data, style = encoded(image, rng, lossy=0.2), f"mathtext/{fonts}"
    truth = {
        **{"latex": made.latex, "typst": made.typst, "parts": sorted(made.parts)},
        **{"ink": ink, "paper": paper, "size": size},
    }
    questions = (latex(rng.choice(ASKED), made.latex), *asked)
    return Drawn(data, truth, questions, f"equation/{style}")


def choose(rng: Random) -> tuple[Formula, list[Question], bool]:
    """Return a formula, a question about a part that it has or has not, and whether Typst draws it.

    The answer is chosen before the formula, so that yes is as likely as no for each part.
    """
    part, so = rng.choice(PARTS), rng.random() < 0.5
    by_typst = part == "matrix" or rng.random() < 0.6  # mathtext knows no matrices
    for _ in range(40):
        made = formula(rng, matrices=by_typst)
        if (part in made.parts) == so:
            article = "an" if part == "integral" else "a"
            asked = yes_no("part", f"Does the formula contain {article} {part}?", so)
            return made, [asked], by_typst
    return made, [], by_typst


def by_typst_drawn(made: Formula, ink: str, paper: str, size: int) -> bytes:
    """Return the PNG of a formula as Typst sets it, `size` pixels high letters."""
    return typeset(
        f'#set page(width: auto, height: auto, margin: 10pt, fill: rgb("{paper}"))\n'
        f'#set text(size: {size}pt, fill: rgb("{ink}"))\n$ {made.typst} $'
    )


@lru_cache(maxsize=1)
def _parser() -> Any:
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("agg")


def by_mathtext(text: str, ink: str, paper: str, size: int, fonts: str) -> Image.Image:
    """Return the picture of a formula in LaTeX as matplotlib sets it."""
    with needed("matplotlib", "Equations"):
        from matplotlib.font_manager import FontProperties

    properties = FontProperties(size=size, math_fontfamily=fonts)
    parsed = _parser().parse(f"${text}$", dpi=72, prop=properties)
    mask = Image.fromarray(np.asarray(parsed.image))
    image = Image.new("RGB", (mask.width + 20, mask.height + 20), paper)
    image.paste(Image.new("RGB", mask.size, ink), (10, 10), mask)
    return image


def needs_setters() -> None:
    """Raise UserError where matplotlib or typst is missing."""
    needs_matplotlib()
    needs_typst()


KINDS: tuple[Kind, ...] = (
    Kind(
        "equations",
        "formulas, LaTeX as answer",
        draw_equation,
        "matplotlib, typst",
        needs_setters,
        ("matplotlib", "typst"),
    ),
)
