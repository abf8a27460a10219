"""Row 20: the chat format writes a BOS and the tokenizer puts another before it, in training only or
in serving only: llama-cookbook#840 (Llama-3.2-Vision), trl#1114, open-r1#462, Soup#781, #788.
"""

from tests.inputs.toys import LLAMA3_CONTROLS, LLAMA3_TEMPLATE, reference_tokenizer, toy_tokenizer

from chiasm.inputs import Message, Picture, Renderer, Sample, Text
from chiasm.inputs.chat_format import LLAMA3

ASK = (
    Message("system", (Text("Be brief."),)),
    Message("user", (Picture(data=b"a"), Text("What?"))),
)
SAMPLE = Sample((*ASK, Message("assistant", (Text("A cat."),))))


def test_one_bos_whatever_the_tokenizer_would_add() -> None:
    prompts, wholes = [], []
    for adds_its_own in (False, True):
        tokenizer = toy_tokenizer(LLAMA3_CONTROLS, bos=adds_its_own)
        renderer = Renderer(tokenizer, LLAMA3, 10**6, lambda picture: 1)
        bos = tokenizer.control("<|begin_of_text|>")
        prompts.append(renderer.prompt(ASK).ids)
        wholes.append(renderer.render(SAMPLE).ids)
        for ids in (prompts[-1], wholes[-1]):
            assert ids[0] == bos and ids.count(bos) == 1
        assert wholes[-1][: len(prompts[-1])] == prompts[-1]
        assert bos not in tokenizer.encode("What?")
    assert prompts[0] == prompts[1] and wholes[0] == wholes[1]


def test_the_reference_has_one_too() -> None:
    reference = reference_tokenizer(LLAMA3_CONTROLS, LLAMA3_TEMPLATE)
    record = [{"role": "user", "content": "What?"}]
    wanted = list(reference.apply_chat_template(record, add_generation_prompt=True)["input_ids"])
    renderer = Renderer(toy_tokenizer(LLAMA3_CONTROLS, bos=True), LLAMA3, 10**6, lambda picture: 1)
    assert renderer.prompt([Message("user", (Text("What?"),))]).ids == wanted
