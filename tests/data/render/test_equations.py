"""Equations: the LaTeX of the answer, read by others, gives the picture again."""

import io
import random
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("typst")

import functools
import operator

from tests.data.render.truth import (
    draw,
    every_answer_is_right_and_others_are_wrong,
    same_in_another_process,
)

from chiasm.data.render.equations import KINDS, by_mathtext, by_typst_drawn, choose
from chiasm.data.render.formulas import LAWS, PARTS, Formula, formula
from chiasm.evaluation.verify import right

[EQUATIONS] = KINDS
NAMES = {
    **{
        "leq": "<=",
        "geq": ">=",
        "neq": "!=",
        "cdot": "dot.op",
        "infty": "infinity",
        "int": "integral",
    },
    **{"prod": "product", "to": "->", ",": "thin", "pm": "plus.minus", "epsilon": "epsilon.alt"},
}
ACCENTS = {"hat": "hat", "vec": "arrow", "dot": "dot", "tilde": "tilde"}
BRACKETS = {"pmatrix": "(", "bmatrix": "[", "vmatrix": "|"}


class Translator:
    """Reads LaTeX by its own rules and writes Typst: a second opinion on what a formula means."""

    def __init__(self, text):
        self.marks = re.findall(r"\\[a-zA-Z]+|\\.|\d+|\w'|\S", text)

    def until(self, *ends):
        parts = []
        while self.marks and self.marks[0] not in ends:
            parts.append(self.one())
        return " ".join(parts)

    def group(self):
        assert self.marks.pop(0) == "{"
        inside = self.until("}")
        self.marks.pop(0)
        return inside

    def one(self):
        mark = self.marks.pop(0)
        if mark in "^_":
            return f"{mark}({self.group()})"
        if not mark.startswith("\\"):
            return mark
        name = mark[1:]
        match name:
            case "frac":
                return f"frac({self.group()}, {self.group()})"
            case "binom":
                return f"binom({self.group()}, {self.group()})"
            case "sqrt":
                if self.marks[0] != "[":
                    return f"sqrt({self.group()})"
                self.marks.pop(0)
                degree = self.until("]")
                self.marks.pop(0)
                return f"root({degree}, {self.group()})"
            case "left":
                left = self.marks.pop(0)
                inside = self.until("\\right")
                _, closing = self.marks.pop(0), self.marks.pop(0)
                return f"lr({left} {inside} {closing})"
            case "begin":
                return self.matrix()
        if name in ACCENTS:
            return f"{ACCENTS[name]}({self.group()})"
        return NAMES.get(name, name)

    def matrix(self):
        kind = self.group().replace(" ", "")
        cells = [self.until("&", "\\\\", "\\end")]
        while (mark := self.marks.pop(0)) != "\\end":
            cells.append({"&": ", ", "\\\\": "; "}[mark] + self.until("&", "\\\\", "\\end"))
        self.group()
        return f'mat(delim: "{BRACKETS[kind]}", {"".join(cells)})'


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def test_latex_and_typst_mean_the_same():
    """Both notations, one of them translated by the reader above, give the same pixels."""
    rng = random.Random(3)
    for made in [*(formula(rng, matrices=True) for _ in range(80)), *LAWS]:
        again = Formula(made.latex, Translator(made.latex).until())
        ours, theirs = (pixels(by_typst_drawn(f, "#000000", "#ffffff", 20)) for f in (made, again))
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 2, (made, again.typst)


def test_mathtext_draws_the_answer():
    """What mathtext drew is what it draws from the answer: pixel for pixel where nothing was lost."""
    seen = 0
    for number in range(40):
        drawn = draw(EQUATIONS, number)
        if drawn.style.startswith("equation/mathtext") and drawn.data.startswith(b"\x89PNG"):
            told = drawn.truth
            fonts = drawn.style.rpartition("/")[2]
            look = (told["ink"], told["paper"], told["size"], fonts)
            again = by_mathtext(drawn.questions[0].answer, *look)
            assert np.array_equal(np.asarray(again.convert("L")), pixels(drawn.data))
            changed = by_mathtext(drawn.questions[0].answer + " + 1", *look)
            assert changed.size != again.size
            seen += 1
    assert seen >= 5


def test_the_parts_that_are_told_are_there():
    marks = {
        **{"fraction": r"\frac", "root": r"\sqrt", "sum": r"\sum", "integral": r"\int"},
        **{"matrix": r"\begin", "limit": r"\lim"},
    }
    rng = random.Random(8)
    for _ in range(400):
        made = formula(rng, matrices=True)
        for part, mark in marks.items():
            assert (part in made.parts) == (mark in made.latex), (part, made)


def test_no_part_is_likelier_than_not():
    said = {part: [] for part in PARTS}
    for number in range(1500):
        for question in choose(random.Random(number))[1]:
            part = next(part for part in PARTS if f" {part}?" in question.text)
            said[part].append(question.answer == "Yes")
    for part, answers in said.items():
        assert len(answers) > 150
        assert 0.4 < sum(answers) / len(answers) < 0.6, part
    every = functools.reduce(operator.iadd, said.values(), [])
    assert 0.46 < sum(every) / len(every) < 0.54


def test_every_question_has_one_answer():
    for number in range(40):
        every_answer_is_right_and_others_are_wrong(draw(EQUATIONS, number))


def test_another_spelling_of_the_same_formula_is_right():
    check = {"how": "latex", "text": r"x \leq \frac{a}{2}"}
    assert right(check, r"$$x \le \dfrac{a}{2}$$")


def test_the_same_chance_draws_the_same_bytes_in_another_process():
    same_in_another_process("chiasm.data.render.equations")
