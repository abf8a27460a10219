"""Templates: the same question in another form, the same answer, and a form that the question asks for."""

from __future__ import annotations

from random import Random

import pytest

from chiasm.base.errors import UserError
from chiasm.data.dialogue.templates import (
    CHOICE,
    LETTERS,
    TemplateSettings,
    asked,
    phrase,
    question_type,
    statement,
    templated,
)
from chiasm.data.rows import CAPTION_PROMPT, BadSample, question_answer
from chiasm.data.sources import Listed
from chiasm.inputs.message import Message, Picture, Sample, Shown, Text
from chiasm.testing import toy_picture

SENTENCES = [
    ("what color is the circle?", "red", "The circle is red."),
    ("What colour are the walls?", "white", "The walls are white."),
    ("what is the color of the shape?", "teal", "The color of the shape is teal."),
    ("how many dogs are there?", "3", "There are 3 dogs."),
    ("How many cups are on the table?", "2", "There are 2 cups on the table."),
    ("what shape is in the image?", "circle", "The shape in the image is circle."),
    ("is there a red shape?", "yes", "Yes, there is a red shape."),
    ("is there a red shape?", "no", "No, there is no red shape."),
    ("Are there any dogs?", "no", "No, there are no dogs."),
    ("does the image contain a circle?", "yes", "Yes, the image contains a circle."),
    ("is a circle present?", "no", "No, a circle is not present."),
    ("Where is the cat?", "on the sofa", "The cat is on the sofa."),
]
UNSURE = [
    ("is there not a red shape?", "yes"),
    ("does the image not contain a circle?", "no"),
    ("why is he laughing?", "he is happy"),
    ("How many cups are on the table?", "one"),
]


@pytest.mark.parametrize("question, answer, sentence", SENTENCES)
def test_a_short_answer_becomes_a_sentence(question: str, answer: str, sentence: str) -> None:
    assert statement(question, answer) == sentence


@pytest.mark.parametrize("question, answer", UNSURE)
def test_no_sentence_where_no_rule_is_sure(question: str, answer: str) -> None:
    assert statement(question, answer) is None
    text, said = phrase(question, answer, "sentence", (), Random(1))
    assert said == answer and question[1:] in text


COLOURS = ("red", "green", "blue", "teal", "brown")


def source(count: int = 12) -> Listed:
    def record(i: int) -> tuple[Sample, ...]:
        picture = toy_picture(i)
        return tuple(
            question_answer(picture, question, answer, f"{i}/{n}")
            for n, (question, answer) in enumerate(
                [("what color is the circle?", COLOURS[i % 5]), ("is there a circle?", "yes")]
            )
        )

    return Listed("toys", tuple(map(record, range(count))))


def test_every_form_keeps_the_answer_and_asks_for_its_form() -> None:
    made = templated(source(60), TemplateSettings(seed=3))
    forms = set()
    for i in range(len(made)):
        (shown, text, said), right = asked(made[i][0]), COLOURS[i % 5]
        assert shown == (toy_picture(i),) and "color is the circle?" in text
        if said in LETTERS:
            options = dict(line.split(". ", 1) for line in text.splitlines() if line[1:3] == ". ")
            assert options[said] == right and len(set(options.values())) == len(options) == 4
            assert any(c.rsplit("\n", 1)[-1] in text for c in CHOICE)
            forms.add("choice")
        else:
            assert said in (right, f"The circle is {right}.")
            forms.add("short" if said == right else "sentence")
    assert forms == {"short", "sentence", "choice"}


def test_the_right_option_stands_at_every_place_equally_often() -> None:
    """A model must not learn that the answer is A: chi-squared over 4 places, 400 draws."""
    said = [
        phrase("what color is it?", "red", "choice", COLOURS, Random(f"{i}"))[1] for i in range(400)
    ]
    assert set(said) == set("ABCD")
    assert sum((said.count(letter) - 100) ** 2 / 100 for letter in "ABCD") < 16.3  # p = 0.001


def test_yes_and_no_are_no_options_and_types_do_not_mix() -> None:
    assert phrase("is there a dog?", "yes", "choice", ("no", "yes"), Random(0))[1] == "yes"
    assert question_type("Is there a dog?") == question_type("are they red?") == "yes/no"
    assert question_type("what color is it?") != question_type("how many are there?")


def test_turns_share_their_pictures_once() -> None:
    made = templated(source(), TemplateSettings(turns=5, forms=("short",)))
    (sample,) = made[4]
    assert [m.role for m in sample.messages] == ["user", "assistant"] * 2
    assert sum(isinstance(p, Shown) for m in sample.messages for p in m.parts) == 1
    assert made[4] == templated(source(), TemplateSettings(turns=5, forms=("short",)))[4]
    other = templated(source(), TemplateSettings(turns=5, forms=("short",), seed=9))
    assert [other[i] for i in range(12)] != [made[i] for i in range(12)]


def test_what_is_wrong_is_told() -> None:
    talk = Sample((Message("user", (Text("a"),)), Message("assistant", (Text("b"),))) * 2, "long")
    caption = question_answer(Picture(b"p"), CAPTION_PROMPT, "A dog.", "told")
    made = templated(Listed("talk", ((talk,), (caption,))))
    for number, key in enumerate(("long", "told")):
        with pytest.raises(BadSample, match=rf"{key}: .*no single question") as error:
            made[number]
        assert error.value.reason == "not_a_question"
    with pytest.raises(UserError, match="at most 8"):
        templated(source(), TemplateSettings(options=9))
    gone = Listed("toys", (*source(3).records, lambda: BadSample("bad_row", "row 3")))
    assert len(templated(gone)) == 4
    with pytest.raises(BadSample):
        templated(gone)[3]


def test_the_picture_stays_itself() -> None:
    picture = Picture(data=b"x")
    sample = question_answer(picture, "what color is it?", "red", "k")
    made = templated(Listed("one", ((sample,),)))
    assert made[0][0].messages[0].parts[0] is picture and made[0][0].key == "k"
