"""The tokenizer inside a GGUF file, as the files that the ecosystem reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from chiasm.checkpoint.weights import CheckpointError

_CONTROL = 3
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def tokenizer_files(metadata: Mapping[str, Any], source: str) -> dict[str, bytes]:
    """Return tokenizer.json, tokenizer_config.json, generation_config.json and chat_template.jinja.

    Takes byte-level BPE with SmolLM's splitting ("gpt2", "smollm"), the only one whose splitting
    rule is known here; another is a CheckpointError. Without a template there is no
    chat_template.jinja.
    """
    tokenizer, special = _tokenizer(metadata, source)
    roles = {}
    for key, name in _ROLES.items():
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if number is None:
            continue
        if type(number) is not int or not 0 <= number < tokenizer.get_vocab_size():
            raise CheckpointError(
                f"{source}: the {key} token's id {number!r} is not in the vocabulary."
            )
        roles[name] = (number, str(tokenizer.id_to_token(number)))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": special,
        **{name: token for name, (_, token) in roles.items()},
    }
    if type(context := metadata.get("llama.context_length")) is int:
        config["model_max_length"] = context
    generation = {
        f"{name}_id": number for name, (number, _) in roles.items() if name != "unk_token"
    }
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=False).encode(),
        "tokenizer_config.json": _json(config),
        "generation_config.json": _json(generation),
    }
    if isinstance(template := metadata.get("tokenizer.chat_template"), str):
        files["chat_template.jinja"] = template.encode()
    return files


def _tokenizer(metadata: Mapping[str, Any], source: str) -> tuple[Tokenizer, list[str]]:
    kind = (metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise CheckpointError(
            f"{source} holds a tokenizer of kind {kind}; only ('gpt2', 'smollm') can be taken over."
        )
    tokens, types, merges = (
        _list(metadata, name, source) for name in ("tokens", "token_type", "merges")
    )
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise CheckpointError(
            f"{source}: the vocabulary lists a token twice, or not one type for each token."
        )
    pairs = [tuple(merge.split(" ")) for merge in merges]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if any(len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys() for pair in pairs):
        raise CheckpointError(
            f"{source}: a merge of the tokenizer makes a token that the vocabulary lacks."
        )
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    # SmolLM was trained on single digits: "1984" is four tokens, never one.
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    return tokenizer, special


def _list(metadata: Mapping[str, Any], name: str, source: str) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    wanted = int if name == "token_type" else str
    if not isinstance(value, list) or not all(isinstance(item, wanted) for item in value):
        raise CheckpointError(f"{source}: the tokenizer's {name} are missing or damaged.")
    return value


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
