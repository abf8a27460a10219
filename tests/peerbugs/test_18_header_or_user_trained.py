"""Row 18: words of the user, or of the assistant's header, are trained: LLaVA-NeXT#212, and off by
one in ext-for-transformers#1193.
"""

import pytest
from tests.inputs.toys import CHATML_CONTROLS, LLAMA3_CONTROLS, toy_tokenizer

from chiasm.inputs import Message, Renderer, Sample, Text
from chiasm.inputs.chat_format import CHATML, LLAMA3


def say(role: str, text: str) -> Message:
    return Message(role, (Text(text),))


@pytest.mark.parametrize("answer", ["A cat.", "é", "?", "assistant\n", "What is this?"])
@pytest.mark.parametrize("asked", ["What is this?", "assistant\nA cat.", "A cat.", ""])
def test_exactly_what_follows_the_header_is_learned(answer: str, asked: str) -> None:
    """The user says the assistant's words, and the header's: only who says them counts."""
    for chat, controls in ((CHATML, CHATML_CONTROLS), (LLAMA3, LLAMA3_CONTROLS)):
        renderer = Renderer(toy_tokenizer(controls), chat, 10**6, lambda picture: 1)
        messages = [say("system", "A cat."), say("user", asked)]
        for _ in range(2):
            header = len(renderer.prompt(messages).ids)
            messages += [say("assistant", answer), say("user", asked)]
            rendered = renderer.render(Sample(tuple(messages)))
            before = 0 if len(messages) == 4 else sum(rendered.trained) // 2
            count = len(renderer.tokenizer.encode(answer)) + 1
            assert sum(rendered.trained[:header]) == before
            assert rendered.trained[header : header + count] == [True] * count
            assert not any(rendered.trained[header + count :])
