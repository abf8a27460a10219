"""Answers that a check must refuse: its own truth, changed a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def wrong_answers(check: Mapping[str, Any], answer: str) -> list[str]:
    """Near misses of a check whose right answer is `answer`; "" is one of every check's."""
    return ["", "I do not know.", *_WRONG[check["how"]](check, answer)]


def _words(check: Mapping[str, Any], answer: str) -> list[str]:
    others = [text for text in check.get("among", ()) if text not in check["accept"]]
    others = [text for text in others if text not in answer]
    both = [f"{answer} or {text}" for text in others[:2]]
    return [*others, *both, f"not {answer}", f"x{answer}"]


def _number(check: Mapping[str, Any], answer: str) -> list[str]:
    value = check["value"]
    far = 1.5 * (check.get("relative", 0) * abs(value) + check.get("absolute", 0)) + 1
    return [f"{value + far}", f"{value - far}", f"{value} or {value + far}", f"not {value}"]


def _listed(check: Mapping[str, Any], answer: str) -> list[str]:
    names = [name if isinstance(name, str) else name[0] for name in check["names"]]
    found = [", ".join(names[1:]), ", ".join([*names, "walrus"])] if not check.get("among") else []
    return [
        *found,
        *([", ".join(names[::-1])] if check["how"] == "sequence" and len(names) > 1 else []),
    ]


def _place(check: Mapping[str, Any], answer: str) -> list[str]:
    left, top, right, bottom = check["box"]
    wide, high = right - left, bottom - top
    x = left - wide if left > wide else right
    found = [f"[{x:.3f}, {top:.3f}, {x + wide:.3f}, {bottom:.3f}]", f"{answer} {answer[:-1]}, 0.9]"]
    y = top - high / 2 if top > high else bottom + high / 2
    return [*found, f"({left:.3f}, {y:.3f})", "[100, 200, 300, 400]"]


def _table(check: Mapping[str, Any], answer: str) -> list[str]:
    rows = [list(row) for row in check["rows"]]

    def markdown(rows: list[list[str]]) -> str:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])

    changed = [*rows[:-1], [*rows[-1][:-1], "walrus"]]
    return [markdown(rows[:-1]), markdown(changed), markdown([[*row, "1"] for row in rows])]


def _graph(check: Mapping[str, Any], answer: str) -> list[str]:
    lines = answer.splitlines()
    return ["\n".join(lines[:-1]), f"{answer}\n  zz9[walrus]", answer.replace("-->", "---")]


_WRONG = {
    "words": _words,
    "yes_no": lambda check, answer: ["no" if check["value"] else "yes", "yes and no", "maybe"],
    "number": _number,
    "choice": lambda check, answer: [x for x in "ABCDE" if x != check["value"]],
    "names": _listed,
    "sequence": _listed,
    "point": _place,
    "box": _place,
    "table": _table,
    "graph": _graph,
    "latex": lambda check, answer: [check["text"] + "+ 7", check["text"][1:] + "w"],
    "text": lambda check, answer: [check["text"][::2], "walrus " * 3 + check["text"] * 2],
    "element": lambda check, answer: [f"<p>{answer}</p>", answer.replace(">", ">walrus", 1)],
}
