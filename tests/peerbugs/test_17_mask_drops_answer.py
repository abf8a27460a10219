"""Row 17: the label mask is found by tokenising the parts of a conversation once more; where that
gives other tokens than the whole does, the sample is masked away and its loss is 0.0.

LLaVA prints "tokenization mismatch ... (ignored)": LLaVA#1166, #1706, LLaVA-MORE#7, TinyLLaVA#20,
Bunny#75, MGM#126; axolotl#3098, #2089; an assistant mask that is all zero: trl#5988.
"""

import pytest
from tests.inputs.toys import CHATML_CONTROLS, LLAMA3_CONTROLS, toy_tokenizer

from chiasm.base.errors import UserError
from chiasm.inputs import Message, Picture, Renderer, Sample, Text
from chiasm.inputs.chat_format import CHATML, LLAMA3

# White space at an answer's edges is what merges with the tokens around it.
ANSWERS = ["A cat.", "\nA cat.", "\n\nA", "  two", " \n x", "é漢🙂", "1,234", "A\n\n", "\tA ", "?"]


def learned(renderer: Renderer, sample: Sample) -> str:
    rendered = renderer.render(sample)
    pairs = zip(rendered.ids, rendered.trained, strict=True)
    return renderer.tokenizer.decode([id for id, trained in pairs if trained])


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("pictures", [0, 2])
def test_every_answer_is_learned(answer: str, turns: int, pictures: int) -> None:
    shown = tuple(Picture(data=bytes([n])) for n in range(pictures))
    asked = Message("user", (*shown, Text("What is this?\n")))
    sample = Sample((asked, Message("assistant", (Text(answer),))) * turns)
    for chat, controls in ((CHATML, CHATML_CONTROLS), (LLAMA3, LLAMA3_CONTROLS)):
        renderer = Renderer(toy_tokenizer(controls), chat, 10**6, lambda picture: 1)
        said = learned(renderer, sample)
        assert said.split() == (answer * turns if answer.strip() == answer else said).split()
        assert said.count(answer.strip()) == turns


def test_nothing_to_learn_is_an_error_and_not_a_loss_of_zero() -> None:
    renderer = Renderer(toy_tokenizer(CHATML_CONTROLS), CHATML, 10**6, lambda picture: 1)
    with pytest.raises(UserError, match="nothing to learn"):
        renderer.render(Sample((Message("user", (Text("Hi"),)),)))
