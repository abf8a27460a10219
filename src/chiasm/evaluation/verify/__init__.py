"""Is this answer right? One judge for evaluation, rejection sampling and rewards.

    Question.check ── {"how": "number", "value": 3} ──┐
    an answer ─────── "There are three of them." ─────┴─► right(check, answer) ──► True

    normal.py  what texts have in common     words.py  words, yes_no, choice    lists.py  names, sequence
    numbers.py number    places.py point, box    tables.py table    graphs.py graph (mermaid)
    latex.py   latex     text.py   text          element.py  element (HTML)

Each verifier is a record of settings whose fields are the check's; its docstring says what is right. All
are strict about doubt: an answer that names two different things is wrong. May enter: rules that need
no model. What never happens here: a guess at what was meant, an answer that is run.
"""

from chiasm.evaluation.verify.judge import VERIFIERS, right, verifier

__all__ = ["VERIFIERS", "right", "verifier"]
