"""Verifiers of words, yes and no, choices and lists: free wording right, near misses wrong."""

from __future__ import annotations

from typing import Any

import pytest

from chiasm.base.errors import UserError
from chiasm.evaluation.verify import VERIFIERS, right
from chiasm.evaluation.verify.normal import said

COLOURS = ["red", "blue", "light blue", "green", "grey"]
RED = {"how": "words", "accept": ["red"]}
RED_AMONG = {**RED, "among": COLOURS}
BLUE_AMONG = {"how": "words", "accept": ["blue"], "among": COLOURS}
GREY = {"how": "words", "accept": ["grey star", "gray star"], "among": ["red star", "grey circle"]}
VITAMIN = {"how": "words", "accept": ["Vitamin A"]}
YES, NO = {"how": "yes_no", "value": True}, {"how": "yes_no", "value": False}
PICK = {"how": "choice", "options": ["a cat", "a dog", "an owl"], "value": "B"}
FIRST = {**PICK, "value": "A"}
NAMES = {"how": "names", "names": ["red circle", ["grey star", "gray star"]]}
COUNTRIES = {"how": "names", "names": ["Bosnia and Herzegovina", "France"]}
AMONG = {**NAMES, "among": ["red circle", "red square", "grey star"]}
ORDER = {"how": "sequence", "names": ["red", "blue", "green"]}
ORDER_AMONG = {**ORDER, "among": ["red", "blue", "green", "black"]}

RIGHT: list[tuple[dict[str, Any], str]] = [
    *(
        (RED, text)
        for text in ("red", "Red.", " RED\n", "**red**", "It is red.", "The answer is red")
    ),
    *((RED, text) for text in ("Answer: red", "It's red!", '"red"', "\\boxed{red}", "a red")),
    *((RED, text) for text in ("The colour is red.", "First I look. Then I see.\nAnswer: red")),
    *(
        (RED_AMONG, text)
        for text in ("The largest circle is red.", "I would say it looks red", "red")
    ),
    (BLUE_AMONG, "The square in the middle is blue."),
    *((GREY, text) for text in ("A gray star.", "the grey star", "It is the grey-star")),
    *((VITAMIN, text) for text in ("vitamin A", "Vitamin a.", "It is vitamin A")),
    *(
        (YES, text)
        for text in ("yes", "Yes.", "Yes, there is a red circle.", "True", "It is.", "YES!")
    ),
    *((YES, text) for text in ("Answer: yes", "That is correct.", "**Yes**", "The answer is yes.")),
    *(
        (NO, text)
        for text in ("no", "No, there is no red circle.", "No, it isn't.", "false", "Nope")
    ),
    *(
        (NO, text)
        for text in ("It is not.", "There isn't.", "That is not true.", "The answer is no")
    ),
    *((PICK, text) for text in ("B", "b", "(B)", "B.", "B) a dog", "Option B", "The answer is B.")),
    *((PICK, text) for text in ("a dog", "Dog", "It is a dog.", "Answer: (b)", "B: dog", "**B**")),
    *((FIRST, text) for text in ("A", "a cat", "A cat", "A. a cat", "the cat", "(A)")),
    *((NAMES, text) for text in ("red circle, grey star", "A gray star and a red circle.")),
    *((NAMES, text) for text in ("- red circle\n- grey star", "1. Grey star\n2. Red circle")),
    (NAMES, "There are a red circle and a gray star"),
    *(
        (COUNTRIES, text)
        for text in ("France, Bosnia and Herzegovina", "Bosnia and Herzegovina; France")
    ),
    (AMONG, "In the left half I can make out a red circle besides the gray star."),
    ({"how": "names", "names": []}, "None."),
    *((ORDER, text) for text in ("red, blue, green", "Red, then blue, and finally green.")),
    *(
        (ORDER, text)
        for text in ("red -> blue -> green", "1. red\n2. blue\n3. green", "red→blue→green")
    ),
    (ORDER, "First red, after that blue, then green"),
    (ORDER_AMONG, "The lamp turns red at first, later blue, at the end it shines green."),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    *((RED, text) for text in ("", "blue", "reddish", "dark red", "red or blue", "not red", "ed")),
    *(
        (RED, text)
        for text in ("Answer: red. Answer: blue", "The circle next to it is red and blue")
    ),
    *(
        (RED_AMONG, text)
        for text in ("red and blue", "It is not red.", "It isn't red", "the circle")
    ),
    *((BLUE_AMONG, text) for text in ("light blue", "It is light blue.", "blue, maybe light blue")),
    *(
        (GREY, text)
        for text in ("star", "grey", "red star", "grey circle", "grey star or red star")
    ),
    *((VITAMIN, text) for text in ("vitamin", "Vitamin B", "A vitamin")),
    *((YES, text) for text in ("no", "", "yes and no", "Yes, it is not.", "maybe", "I don't know")),
    *(
        (YES, text)
        for text in ("There is a red circle but no blue one", "not true", "It isn't", "yes/no")
    ),
    *(
        (NO, text)
        for text in ("yes", "Yes, no", "It is.", "not sure", "", "north", "nothing to yes")
    ),
    *(
        (PICK, text)
        for text in ("A", "C", "A or B", "B or C", "cat", "a cat", "(A) a dog", "B. a cat")
    ),
    *((PICK, text) for text in ("", "not B", "bird", "dog or cat", "D", "It is not a dog")),
    *((FIRST, text) for text in ("a dog", "A dog", "an owl", "A dog and a cat", "A, B")),
    *(
        (NAMES, text)
        for text in ("red circle", "grey star", "red circle, grey star, blue square", "")
    ),
    *((NAMES, text) for text in ("red star, grey circle", "red circle but not the grey star")),
    *(
        (COUNTRIES, text)
        for text in ("France, Bosnia", "France and Herzegovina and Bosnia", "France")
    ),
    *((AMONG, text) for text in ("a red circle, a red square and a grey star", "no red circle")),
    *(({"how": "names", "names": []}, text) for text in ("red circle", "", "one")),
    *((ORDER, text) for text in ("blue, red, green", "red, blue", "red, blue, green, red", "")),
    *(
        (ORDER, text)
        for text in ("red after blue, green", "red, blue, green, black", "green blue red")
    ),
    *((ORDER_AMONG, text) for text in ("red, black, blue, green", "red, green, blue")),
]


@pytest.mark.parametrize(
    ("check", "answer"), RIGHT, ids=lambda v: v if isinstance(v, str) else v["how"]
)
def test_right_answers_in_free_words(check: dict[str, Any], answer: str) -> None:
    assert right(check, answer)


@pytest.mark.parametrize(
    ("check", "answer"), WRONG, ids=lambda v: v if isinstance(v, str) else v["how"]
)
def test_near_misses_are_wrong(check: dict[str, Any], answer: str) -> None:
    assert not right(check, answer)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({}, 'must say "how"'),
        ({"how": None}, 'must say "how"'),
        ({"how": "nubmer", "value": 3}, 'Did you mean "number"?'),
        ({"how": "number"}, "value"),
        ({"how": "number", "value": "3"}, "value"),
        ({"how": "number", "value": 3, "relativ": 0.1}, 'Did you mean "relative"?'),
        ({"how": "number", "value": float("nan")}, "value"),
        ({"how": "words", "accept": []}, "accept"),
        ({"how": "words", "accept": "red"}, "accept"),
        ({"how": "yes_no", "value": "yes"}, "value"),
        ({"how": "choice", "options": ["a", "b"], "value": "C"}, "2 options"),
        ({"how": "choice", "options": ["a cat", "cat"], "value": "A"}, "the same"),
        ({"how": "box", "box": [0.5, 0.1, 0.2, 0.3]}, "left must be less"),
        ({"how": "point", "box": [0.1, 0.1, 1.2, 0.3]}, "box"),
        ({"how": "table", "rows": [["a"], ["a", "b"]]}, "equally many"),
        ({"how": "graph", "nodes": {"a": "A"}, "edges": [["a", "b", ""]]}, "unknown nodes: b"),
        ({"how": "element", "html": "Save"}, "exactly one element"),
        ({"how": "text", "text": ""}, "text"),
    ],
)
def test_a_malformed_check_is_told(check: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as told:
        right(check, "3")
    assert sentence in str(told.value)


def test_every_verifier_is_known_by_its_own_name_and_explains_its_check() -> None:
    for how, kind in VERIFIERS.items():
        assert kind.model_fields["how"].default == how
        assert f'"how": "{how}"' in (kind.__doc__ or "")


def test_a_book_is_no_answer() -> None:
    assert not right({"how": "words", "accept": ["red"], "among": ["red"]}, "red " * 60_000)


def test_what_stands_behind_the_marker_is_the_whole_answer() -> None:
    kept = ("Is it late?", "is", "-3", "−3", "+0.5", ".5", "-$3$", "[0.1, 0.2]", "(b)", "red")
    for text in kept:
        assert said(f"Answer: {text}") == text
        assert said(f"First I look.\nANSWER: {text}") == text
    for lead in ("The answer is", "The answer is:", "The answer must be", "Answer -", "Answer: **"):
        assert said(f"{lead} red") == "red"
    assert right({"how": "number", "value": -3}, "Answer: -3")
    assert not right({"how": "number", "value": 3}, "Answer: -3")
    title = {"how": "words", "accept": ["Is it late?"]}
    assert right(title, "Answer: Is it late?") and not right(title, "Answer: It late?")
