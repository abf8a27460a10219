"""Row 19: the token that ends an answer is masked away (often because padding uses the same token),
so the model never stops: trl#976, #734, #3091; open-r1#494; Soup#785.
"""

import pytest
from tests.inputs.toys import CHATML_CONTROLS, LLAMA3_CONTROLS, toy_tokenizer

from chiasm.inputs import Message, Renderer, Sample, Text
from chiasm.inputs.chat_format import CHATML, LLAMA3


@pytest.mark.parametrize("turns", [1, 2, 5])
@pytest.mark.parametrize("answer", ["A cat.", "", "\n"])
def test_each_answer_ends_with_a_learned_end(turns: int, answer: str) -> None:
    turn = (Message("user", (Text("?"),)), Message("assistant", (Text(answer),)))
    for chat, controls in ((CHATML, CHATML_CONTROLS), (LLAMA3, LLAMA3_CONTROLS)):
        renderer = Renderer(toy_tokenizer(controls), chat, 10**6, lambda picture: 1)
        rendered = renderer.render(Sample(turn * turns))
        ends = [
            trained
            for id, trained in zip(rendered.ids, rendered.trained, strict=True)
            if id == renderer.end
        ]
        assert ends == [False, True] * turns  # the user's end is not for the model to say
