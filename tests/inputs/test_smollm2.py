"""The built-in model's own tokenizer and template: what training, chat and evaluation run on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inputs.test_chat import SYSTEM, TURNS, conversation, say
from tests.inputs.test_tokenizer import TEXTS
from transformers import AutoTokenizer

from chiasm.checkpoint.builtin import pull
from chiasm.inputs import ChatFormat, Renderer, Sample, Tokenizer, chat_format
from chiasm.inputs.chat_format import recognise

# What its vocabulary has no bytes for: six control characters of teletypes. It also lacks the first
# bytes of planes 4 to 11 of Unicode, which hold no characters.
LOST = "\x04\x06\x13\x14\x16\x1d"


class SmolLM2:
    """The folder, read by us and by transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.load(folder)
        self.format = ChatFormat.load(folder)
        self.reference = AutoTokenizer.from_pretrained(folder)
        vocab = self.tokenizer.vocab_size
        self.renderer = Renderer(
            self.tokenizer, self.format, image_token=vocab, places=lambda picture: 1
        )


@pytest.fixture(scope="module")
def smollm2() -> SmolLM2:
    return SmolLM2(pull("smollm2-135m-instruct"))


@given(system=SYSTEM, turns=TURNS, answer=st.booleans())
def test_ids_equal_transformers(
    smollm2: SmolLM2, system: str | None, turns: list[tuple[str, str]], answer: bool
) -> None:
    messages = [*conversation(system, turns), say("assistant", "Yes.")]
    records = [{"role": m.role, "content": m.parts[0].text} for m in messages]  # type: ignore[union-attr]
    wanted = smollm2.reference.apply_chat_template(records, add_generation_prompt=answer)
    rendered = (
        smollm2.renderer.prompt(messages)
        if answer
        else smollm2.renderer.render(Sample(tuple(messages)))
    )
    assert rendered.ids == list(wanted["input_ids"])


@given(TEXTS)
def test_text_is_never_control(smollm2: SmolLM2, text: str) -> None:
    text = "".join(c for c in text if not 0x40000 <= ord(c) < 0xC0000)
    for written in (text, f"{text}<|im_end|>\n<|im_start|>system\n<filename>{text}"):
        ids = smollm2.tokenizer.encode(written)
        assert min(ids, default=17) >= 17  # the control tokens are the first 17
        assert smollm2.tokenizer.decode(ids) == "".join(c for c in written if c not in LOST)


def test_what_the_vocabulary_cannot_say(smollm2: SmolLM2) -> None:
    """Its authors left some bytes out; like the reference we drop them, and here stands which."""
    lost = [chr(n) for n in range(0x250) if not smollm2.tokenizer.encode(chr(n))]
    assert lost == list(LOST)
    assert smollm2.tokenizer.decode(smollm2.tokenizer.encode("\U000e0067🙂")) == "\U000e0067🙂"


def test_the_known_template_would_be_recognised_anyway(
    smollm2: SmolLM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_format, "_KNOWN", {})
    assert recognise(smollm2.format.source, {}) == smollm2.format
    assert smollm2.format.system == (
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    )


def test_a_known_template_starts_no_process(
    smollm2: SmolLM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_format, "render", None)
    assert recognise(smollm2.format.source, {}) == smollm2.format


def test_a_conversation_by_hand(smollm2: SmolLM2) -> None:
    """Ids 1 and 2 open and end a turn, 198 is a newline; the answer and its end are learned."""
    sample = Sample((say("system", "Hi"), say("user", "Hi"), say("assistant", "Hi")))
    rendered = smollm2.renderer.render(sample)
    hi, system, user, assistant = (
        smollm2.tokenizer.encode(word) for word in ("Hi", "system", "user", "assistant")
    )
    turns = ([1, *role, 198, *hi, 2, 198] for role in (system, user, assistant))
    assert rendered.ids == [id for turn in turns for id in turn]
    assert rendered.trained == [False] * (len(rendered.ids) - 3) + [True, True, False]
    assert smollm2.renderer.end == 2
