"""Byte-level BPE tokenizers, built from a vocabulary and merges, as the files that others read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
)

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Llama 3 cuts text before merging (Meta's llama-models, tokenizer.py)."""
SPLITTINGS = ("smollm", "llama-bpe")
"""The splitting rules known here, by the names that GGUF files give them."""


def byte_letters() -> dict[int, str]:
    """Return byte -> the printable letter that stands for it in byte-level vocabularies (GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    letters = {byte: chr(byte) for byte in plain}
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def build(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    splitting: str,
    controls: Sequence[str],
    begin: str | None = None,
) -> Tokenizer:
    """Return a tokenizer; `splitting` is one of SPLITTINGS.

    controls  tokens that are never text; those outside the vocabulary get the ids after it
    begin     the control token that other programs put before every text
    """
    llama = splitting == "llama-bpe"
    model = models.BPE(vocab=dict(vocabulary), merges=list(merges), ignore_merges=llama)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_split(splitting))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in controls]
    )
    if begin is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin}:0 $A:0",
            pair=f"{begin}:0 $A:0 {begin}:1 $B:1",
            special_tokens=[(begin, tokenizer.token_to_id(begin))],
        )
    return tokenizer


def _split(splitting: str) -> list[Any]:
    if splitting == "llama-bpe":
        cut = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated")
        return [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    # SmolLM was trained on single digits: "1984" is four tokens, never one.
    digits = pre_tokenizers.Digits(individual_digits=True)
    return [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]


def splitting_of(tokenizer: Tokenizer) -> str | None:
    """Return the GGUF name of a tokenizer's splitting rule, or None when it is another one."""
    own = _rules(tokenizer.pre_tokenizer)
    for name in SPLITTINGS:
        if own == _rules(pre_tokenizers.Sequence(_split(name))):
            return name
    return None


def _rules(splitter: Any) -> Any:
    """What a splitter does; `trim_offsets` only moves offsets."""
    if splitter is None:
        return None
    empty = Tokenizer(models.BPE())
    empty.pre_tokenizer = splitter
    record = json.loads(empty.to_str())["pre_tokenizer"]
    for step in record.get("pretokenizers", []):
        step.pop("trim_offsets", None)
    return record


def written(
    tokenizer: Tokenizer,
    roles: Mapping[str, int],
    controls: Sequence[str],
    context: int | None = None,
    template: str | None = None,
) -> dict[str, bytes]:
    """Return tokenizer.json, tokenizer_config.json, generation_config.json and chat_template.jinja.

    roles     "bos_token", ... -> id
    template  without one there is no chat_template.jinja
    """
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": list(controls),
        **{name: tokenizer.id_to_token(number) for name, number in roles.items()},
    }
    if context is not None:
        config["model_max_length"] = context
    generation = {f"{name}_id": number for name, number in roles.items() if name != "unk_token"}
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "tokenizer_config.json": _json(config),
        "generation_config.json": _json(generation),
    }
    if template is not None:
        files["chat_template.jinja"] = template.encode()
    return files


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
