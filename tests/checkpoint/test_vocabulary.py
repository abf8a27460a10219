"""A tokenizer out of a GGUF file: same ids as the one that went in, and files that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from chiasm.checkpoint.vocabulary import tokenizer_files, tokenizer_metadata
from chiasm.checkpoint.weights import CheckpointError

CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = ["the cat sat", "In 1984, 23 cats", "  é漢字🙂\n\n", "a<|im_end|>b", "", "\t'twas"]


def smollm() -> Tokenizer:
    """A small tokenizer made as SmolLM's was."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in CONTROLS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat in 1984 and the rat"] * 20, trainer)
    return tokenizer


def metadata(tokenizer: Tokenizer, **changes: Any) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    found = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in CONTROLS else 1 for token in tokens],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{{ messages }}",
        "llama.context_length": 64,
    }
    return found | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}


def test_ids_are_those_of_the_tokenizer_that_went_in() -> None:
    original = smollm()
    made = Tokenizer.from_str(tokenizer_files(metadata(original), "toy")["tokenizer.json"].decode())
    for text in TEXTS:
        assert made.encode(text).ids == original.encode(text).ids
        assert made.decode(made.encode(text).ids, skip_special_tokens=False) == text
    assert len(made.encode("1984").ids) == 4  # digit by digit
    assert [made.token_to_id(token) for token in CONTROLS] == [0, 1, 2]


def test_transformers_reads_the_files(tmp_path: Path) -> None:
    original = smollm()
    for name, data in tokenizer_files(metadata(original), "toy").items():
        (tmp_path / name).write_bytes(data)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == original.encode(text).ids
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token) == (*CONTROLS[1:], CONTROLS[2])
    assert theirs.chat_template == "{{ messages }}"
    assert theirs.model_max_length == 64
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pre": "qwen2"}, "kind"),
        ({"pre": ["smollm"]}, "kind"),
        ({"add_bos_token": True, "bos_token_id": 5}, "bos token is no control token"),
        ({"model": "llama"}, "kind"),
        ({"tokens": None}, "tokens are missing"),
        ({"tokens": ["a", "a"]}, "twice"),
        ({"tokens": [1, 2]}, "tokens are missing or damaged"),
        ({"token_type": [1]}, "twice, or not one type"),
        ({"merges": ["a b c"]}, "merge"),
        ({"merges": ["nothing known"]}, "merge"),
        ({"eos_token_id": 10**6}, "not in the vocabulary"),
        ({"eos_token_id": "2"}, "not in the vocabulary"),
        ({"eos_token_id": -1}, "not in the vocabulary"),
    ],
)
def test_a_damaged_tokenizer_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=f"toy.*{words}"):
        tokenizer_files(metadata(smollm(), **change), "toy")


def test_there_and_back_gives_the_same_metadata() -> None:
    record = metadata(smollm())
    files = tokenizer_files(record, "toy")
    del record["llama.context_length"]  # the model's, not the tokenizer's
    assert tokenizer_metadata(files, len(record["tokenizer.ggml.tokens"]), "toy") == record
    assert tokenizer_metadata({}, 3, "toy") == {}


def test_a_text_begins_with_bos_for_others_when_the_file_says_so() -> None:
    for told, begins in ((True, True), (False, False), (None, False)):
        files = tokenizer_files(metadata(smollm(), add_bos_token=told), "toy")
        ids = Tokenizer.from_str(files["tokenizer.json"].decode()).encode("the cat").ids
        assert (ids[0] == 1) == begins
        again = tokenizer_metadata(files, 400, "toy")
        assert again["tokenizer.ggml.add_bos_token"] == begins


def test_rows_without_a_token_are_unused() -> None:
    files = tokenizer_files(metadata(smollm()), "toy")
    count = Tokenizer.from_str(files["tokenizer.json"].decode()).get_vocab_size()
    record = tokenizer_metadata(files, count + 2, "toy")
    assert record["tokenizer.ggml.tokens"][-2:] == [f"[PAD{count}]", f"[PAD{count + 1}]"]
    assert record["tokenizer.ggml.token_type"][-3:] == [1, 5, 5]
    with pytest.raises(CheckpointError, match="tokens"):
        tokenizer_metadata(files, count - 1, "toy")


def test_a_tokenizer_of_another_kind_cannot_be_written() -> None:
    other = smollm()
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(CheckpointError, match="another one"):
        tokenizer_metadata({"tokenizer.json": other.to_str().encode()}, 999, "toy")


def test_without_a_template_there_is_no_template_file() -> None:
    record = metadata(smollm())
    del record["tokenizer.chat_template"]
    assert "chat_template.jinja" not in tokenizer_files(record, "toy")
