"""Formulas in LaTeX: alike when they are the same marks in the same order, however they are spelled."""

from __future__ import annotations

import re
from typing import Literal

from chiasm.evaluation.verify.normal import Verifier, unfenced

_TOKEN = re.compile(r"\\(?:begin|end)\s*\{\s*[a-zA-Z]+\*?\s*\}|\\[a-zA-Z]+\*?|\\.|[^\s]", re.S)
_MATH = re.compile(
    r"\$\$([^$]+)\$\$|\$([^$]+)\$|\\\[((?:(?!\\[\[\]]).)+)\\\]|\\\(((?:(?!\\[()]).)+)\\\)", re.S
)
_AROUND = re.compile(
    r"\\(?:begin|end)\{(?:equation|align|displaymath|math|gather)\*?\}|\\label\{[^}]*\}"
)
_UNSEEN = (
    r"\left \right \displaystyle \textstyle \limits \nolimits \nonumber \big \Big \bigg \Bigg \bigl \bigr "
    r"\Bigl \Bigr \biggl \biggr \quad \qquad \, \; \: \! \> \/ ~ \thinspace \notag"
)
_NOTHING = {*_UNSEEN.split(), "\\ ", "\\\n"}
_SAME = {
    **{
        r"\le": r"\leq",
        r"\ge": r"\geq",
        r"\ne": r"\neq",
        r"\to": r"\rightarrow",
        r"\gets": r"\leftarrow",
    },
    **{r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom"},
    **{r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]", r"\vert": "|"},
    **{r"\lvert": "|", r"\rvert": "|", r"\Vert": r"\|", r"\lVert": r"\|", r"\rVert": r"\|"},
    **{r"\dots": r"\ldots", r"\dotsc": r"\ldots", r"\dotsb": r"\cdots", r"\land": r"\wedge"},
    **{
        r"\lor": r"\vee",
        r"\lnot": r"\neg",
        r"\ast": "*",
        r"\colon": ":",
        r"\iff": r"\Leftrightarrow",
    },
    **{r"\implies": r"\Rightarrow", r"\operatorname": r"\mathrm", r"\operatorname*": r"\mathrm"},
    **{r"\text": r"\mathrm", r"\textrm": r"\mathrm", r"\rm": r"\mathrm", r"\bm": r"\mathbf"},
    **{r"\boldsymbol": r"\mathbf", r"\varnothing": r"\emptyset", r"\ni": r"\owns"},
}


class Latex(Verifier):
    r"""{"how": "latex", "text": "\\frac{a}{b} \\leq x^2"}

    Right is a formula of the same marks: spaces, sizes of brackets, braces around one mark, the order
    of _ and ^, a final full stop and other names of one mark (\le, \leq) do not count. Dollar signs, \[ \]
    or ``` may stand around it; with words around it, it must be the only one.
    """

    how: Literal["latex"] = "latex"
    text: str
    """The formula, without dollar signs."""

    def right(self, answer: str) -> bool:
        """Return whether the one formula of the answer is ours."""
        wanted = tokens(self.text)
        return bool(wanted) and tokens(formula(answer)) == wanted


def formula(answer: str) -> str:
    """Return the formula of an answer: what its only math marks enclose, or all of it."""
    text = unfenced(answer).strip()
    found = {" ".join(next(filter(None, match)).split()) for match in _MATH.findall(text)}
    return found.pop() if len(found) == 1 else text


def tokens(text: str) -> list[str]:
    """Return a formula's marks in one spelling; [] where its braces do not match."""
    text = _AROUND.sub(" ", text)
    marks = [
        _SAME.get(mark, mark)
        for mark in (
            re.sub(r"\s", "", m) if m.startswith(("\\b", "\\e")) else m
            for m in _TOKEN.findall(text)
        )
    ]
    marks = [mark for mark in marks if mark not in _NOTHING]
    while marks and marks[-1] in (".", ",", ";", r"\\"):
        marks.pop()
    tree, place = _group(marks, 0)
    if place != len(marks):
        return []
    return _flat(tree)


Tree = list["str | Tree"]
_DEEPEST = 100


def _group(marks: list[str], place: int, depth: int = 0) -> tuple[Tree, int]:
    """Read marks up to the brace that closes; a group within is a list. Too deep is unreadable."""
    found: Tree = []
    while place < len(marks) and marks[place] != "}":
        if marks[place] == "{":
            if depth < _DEEPEST:
                inner, place = _group(marks, place + 1, depth + 1)
            if depth >= _DEEPEST or place >= len(marks):
                return found, len(marks) + 1
            found.append(inner)
        elif marks[place] == "'":
            found += ["^", [r"\prime"]]
        else:
            found.append(marks[place])
        place += 1
    return found, place


def _flat(tree: Tree) -> list[str]:
    """Write a tree: braces only around several marks, an index below before one above."""
    tree = list(tree)
    for i in range(len(tree) - 3):
        if tree[i] == "^" and tree[i + 2] == "_":
            tree[i : i + 4] = [tree[i + 2], tree[i + 3], tree[i], tree[i + 1]]
    written: list[str] = []
    for part in tree:
        if isinstance(part, str):
            written.append(part)
            continue
        inner = _flat(part)
        written += inner if len(inner) == 1 else ["{", *inner, "}"]
    return written
