"""Our SmolLM2 against transformers' LlamaForCausalLM on the same folder: the real weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from chiasm.checkpoint.builtin import pull
from chiasm.checkpoint.folder import load_decoder, save_decoder
from chiasm.models import Decoder

LONGEST = 12
QUESTIONS = (
    "What is the capital of France?",
    "What is 2+2?",
    "Name three animals.",
    "What colour is the sky?",
    "Write one sentence about the sea.",
    "Who wrote Hamlet?",
    "How many days are in a week?",
    "What is the opposite of hot?",
    "Say good morning in French.",
    "What is water made of?",
    "Is the earth flat?",
    "Give me a word that rhymes with cat.",
    "What is photosynthesis?",
    "Count from one to five.",
    "What do bees make?",
    "Which planet is the largest?",
    "Translate 'house' into German.",
    "What is the square root of 81?",
    "Why do leaves fall in autumn?",
    "What is your name?",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return pull("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Decoder:
    return load_decoder(folder)[0].eval()


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Iterator[Any]:
    yield LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )["input_ids"]
        for question in QUESTIONS
    ]


@torch.no_grad()
def test_logits_are_transformers_logits(ours: Decoder, theirs: Any) -> None:
    """Two rows of 160 tokens from all over the vocabulary, in fp32."""
    tokens = torch.randint(0, 49152, (2, 160), generator=torch.Generator().manual_seed(0))
    expected = theirs(tokens).logits
    found = ours.head(ours(tokens))
    assert expected.std() > 1
    assert (found - expected).abs().max() <= 1e-3  # measured: 6e-5 of values up to 34


@torch.no_grad()
def test_greedy_answers_to_twenty_questions_are_the_same(
    ours: Decoder, theirs: Any, prompts: list[torch.Tensor], folder: Path
) -> None:
    """They speak; we are asked at every place for our choice after the same words.

    When all choices agree, speaking on our own would have given the same answer.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = []
    for prompt in prompts:
        spoken = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=LONGEST, do_sample=False
        )
        start = prompt.shape[1]
        choices = ours.head(ours(spoken[:, :-1]))[0, start - 1 :].argmax(-1)
        assert torch.equal(choices, spoken[0, start:])
        answers.append(tokenizer.decode(spoken[0, start:], skip_special_tokens=True))
    assert "Paris" in answers[0]
    assert len(set(answers)) > 15  # it says something, and not always the same


@torch.no_grad()
def test_with_a_cache_we_speak_the_same_words(
    ours: Decoder, theirs: Any, prompts: list[torch.Tensor]
) -> None:
    prompt = prompts[4]
    spoken = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=LONGEST, do_sample=False
    )
    memory = ours.cache(1, spoken.shape[1])
    words = prompt
    entered = prompt
    while words.shape[1] < spoken.shape[1]:
        features = ours(entered, cache=memory)
        memory.advance(entered.shape[1])
        entered = ours.head(features[:, -1:]).argmax(-1)
        words = torch.cat((words, entered), dim=1)
    assert torch.equal(words, spoken)


def test_the_folder_goes_back_tensor_for_tensor(folder: Path, tmp_path: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    model, provenance = load_decoder(folder)
    assert not provenance.left_out and "smollm2-135m-instruct (made from " in provenance.source
    save_decoder(model, tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == stored.keys()
    assert all(torch.equal(back[name], stored[name].float()) for name in stored)
