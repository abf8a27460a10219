"""Llama 3's words: ids equal Meta's own tokenizer and chat format, token for token.

Goldens: formats/make_llama3_words.py (llama-models 0.3.0).
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.poison import shown
from tokenizers import Tokenizer as Library
from transformers import AutoTokenizer

from chiasm.checkpoint.builtin import pull_wheel
from chiasm.checkpoint.tiktoken import read_ranks, tokenizer_files
from chiasm.checkpoint.vocabulary import tokenizer_files as gguf_files
from chiasm.checkpoint.vocabulary import tokenizer_metadata
from chiasm.inputs.chat import Renderer
from chiasm.inputs.chat_format import LLAMA3, ChatFormat
from chiasm.inputs.message import Message, Part, Text
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.testing import toy_picture

GOLDENS = json.loads((Path(__file__).parent / "formats" / "llama3_words.json").read_text("utf-8"))
IMAGE = 128256


@pytest.fixture(scope="module")
def model() -> Path:
    return pull_wheel("llama-models") / "llama_models" / "llama3" / "tokenizer.model"


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("llama3")
    for name, data in tokenizer_files(model, vision=True).items():
        (home / name).write_bytes(data)
    return home


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


def parts(said: list[str | None]) -> tuple[Part, ...]:
    return tuple(toy_picture(i) if text is None else Text(text) for i, text in enumerate(said))


def test_texts_give_meta_s_ids_and_come_back(tokenizer: Tokenizer) -> None:
    assert len(GOLDENS["texts"]) >= 200
    for text, ids in GOLDENS["texts"]:
        assert tokenizer.encode(text) == ids, shown(text)
        assert tokenizer.decode(ids) == text


def test_conversations_give_meta_s_ids(folder: Path, tokenizer: Tokenizer) -> None:
    for chat in (LLAMA3, ChatFormat.load(folder)):
        renderer = Renderer(tokenizer, chat, image_token=IMAGE, places=lambda picture: 1)
        for said, ids in GOLDENS["conversations"]:
            messages = [Message(role, parts(content)) for role, content in said]
            assert renderer.prompt(messages).ids == ids, said


def test_base_prompts_give_meta_s_ids(tokenizer: Tokenizer) -> None:
    renderer = Renderer(tokenizer, LLAMA3, image_token=IMAGE, places=lambda picture: 1)
    for said, ids in GOLDENS["continuations"]:
        laid = renderer.plain(parts(said))
        assert laid.ids == ids, said
        assert len(laid.pictures) == said.count(None) and not any(laid.trained)


def test_the_prompt_is_the_one_of_the_model_card(folder: Path, tokenizer: Tokenizer) -> None:
    renderer = Renderer(tokenizer, LLAMA3, image_token=IMAGE, places=lambda picture: 1)
    ids = renderer.prompt([Message("user", parts([None, "Question"]))]).ids
    library = Library.from_file(str(folder / "tokenizer.json"))
    assert library.decode(ids, skip_special_tokens=False) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|image|>Question<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_control_tokens_stand_where_the_weights_have_them(
    model: Path, tokenizer: Tokenizer
) -> None:
    expected = {
        "<|begin_of_text|>": 128000,
        "<|end_of_text|>": 128001,
        "<|reserved_special_token_0|>": 128002,
        "<|finetune_right_pad_id|>": 128004,
        "<|reserved_special_token_2|>": 128005,
        "<|start_header_id|>": 128006,
        "<|end_header_id|>": 128007,
        "<|eom_id|>": 128008,
        "<|eot_id|>": 128009,
        "<|python_tag|>": 128010,
        "<|reserved_special_token_3|>": 128011,
        "<|reserved_special_token_247|>": 128255,
        "<|image|>": IMAGE,
    }
    assert {name: tokenizer.control(name) for name in expected} == expected
    assert tokenizer.vocab_size == 128257


def test_transformers_reads_the_files(folder: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    for text, ids in GOLDENS["texts"][:20]:
        assert theirs(text)["input_ids"] == [128000, *ids]
    said: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}
    ]
    ids = theirs.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
    assert ids == GOLDENS["conversations"][1][1]
    assert (theirs.eos_token_id, theirs.pad_token_id) == (128009, 128004)


def test_a_gguf_file_carries_the_tokenizer_there_and_back(folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    metadata = tokenizer_metadata(files, 128264, "toy")
    assert metadata["tokenizer.ggml.pre"] == "llama-bpe"
    assert len(metadata["tokenizer.ggml.tokens"]) == 128264
    again = Tokenizer(gguf_files(metadata, "toy")["tokenizer.json"].decode())
    for text, ids in GOLDENS["texts"]:
        assert again.encode(text) == ids, shown(text)
    assert again.control("<|image|>") == IMAGE and again.vocab_size == 128257


def merged_by_rank(ranks: dict[bytes, int], word: bytes) -> list[int]:
    """Meta's algorithm, slowly: merge the neighbours of lowest rank until there are none."""
    pieces = [word[i : i + 1] for i in range(len(word))]
    while len(pieces) > 1:
        joined = [ranks.get(a + b, 1 << 30) for a, b in pairwise(pieces)]
        if (lowest := min(joined)) == 1 << 30:
            break
        at = joined.index(lowest)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return [ranks[piece] for piece in pieces]


def test_long_runs_are_merged_in_the_same_order(model: Path, tokenizer: Tokenizer) -> None:
    """Where several cuts of one token compete: runs of few letters, 600 words."""
    ranks = read_ranks(model)
    draw = random.Random(5)
    for _ in range(600):
        letters = draw.choice(("ab", "a", "xyx", "lol", "ha", "na", "abc", "eé", "ooO"))
        word = "".join(draw.choices(letters, k=draw.randint(2, 60)))
        assert tokenizer.encode(word) == merged_by_rank(ranks, word.encode()), word
