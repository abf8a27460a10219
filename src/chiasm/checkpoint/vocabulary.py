"""The tokenizer inside a GGUF file, as the files that the ecosystem reads, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from chiasm.checkpoint.bpe import SPLITTINGS, build, splitting_of, written
from chiasm.checkpoint.weights import CheckpointError

_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def tokenizer_files(metadata: Mapping[str, Any], source: str) -> dict[str, bytes]:
    """Return tokenizer.json, tokenizer_config.json, generation_config.json and chat_template.jinja.

    Takes byte-level BPE ("gpt2") with SmolLM's or Llama 3's splitting ("smollm", "llama-bpe"), those
    whose rules are known here; another is a CheckpointError. Without a template there is no
    chat_template.jinja.
    """
    tokens, merges, controls = _vocabulary(metadata, source)
    roles = {}
    for key, name in _ROLES.items():
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if number is None:
            continue
        if type(number) is not int or not 0 <= number < len(tokens):
            raise CheckpointError(
                f"{source}: the {key} token's id {number!r} is not in the vocabulary."
            )
        roles[name] = number
    splitting = metadata["tokenizer.ggml.pre"]
    begin = None
    # llama.cpp puts it before every text, unless the file says otherwise.
    wanted = metadata.get("tokenizer.ggml.add_bos_token", splitting == "llama-bpe")
    if wanted is True and "bos_token" in roles:
        begin = tokens[roles["bos_token"]]
        if begin not in controls or set(begin) & set(" :$"):
            raise CheckpointError(f"{source}: the bos token is no control token.")
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = build(numbers, merges, splitting, controls, begin)
    context, template = (
        metadata.get("llama.context_length"),
        metadata.get("tokenizer.chat_template"),
    )
    return written(
        tokenizer,
        roles,
        controls,
        context if type(context) is int else None,
        template if isinstance(template, str) else None,
    )


def _vocabulary(
    metadata: Mapping[str, Any], source: str
) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return tokens, merges and control tokens, after making sure that they fit together."""
    kind = (metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre"))
    if kind[0] != "gpt2" or kind[1] not in SPLITTINGS:
        known = " and ".join(f"('gpt2', '{name}')" for name in SPLITTINGS)
        raise CheckpointError(
            f"{source} holds a tokenizer of kind {kind}; only {known} can be taken over."
        )
    tokens, types, merges = (
        list(_list(metadata, name, source)) for name in ("tokens", "token_type", "merges")
    )
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise CheckpointError(
            f"{source}: the vocabulary lists a token twice, or not one type for each token."
        )
    while types and types[-1] == _UNUSED:  # rows of the embedding table that no token has
        types.pop()
        tokens.pop()
    pairs = [tuple(merge.split(" ")) for merge in merges]
    known_tokens = set(tokens)
    if any(len(pair) != 2 or not {*pair, "".join(pair)} <= known_tokens for pair in pairs):
        raise CheckpointError(
            f"{source}: a merge of the tokenizer makes a token that the vocabulary lacks."
        )
    controls = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    return tokens, [(left, right) for left, right in pairs], controls


def tokenizer_metadata(files: Mapping[str, bytes], vocab: int, source: str) -> dict[str, Any]:
    """Return a GGUF file's metadata for the tokenizer of a model folder, as `tokenizer_files` reads.

    files  the folder's companions by name; without a tokenizer.json the result is empty
    vocab  rows of the embedding table; rows without a token are listed as unused

    A tokenizer that cannot be written so is a CheckpointError.
    """
    if "tokenizer.json" not in files:
        return {}
    try:
        tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    except Exception:  # the library raises bare Exception for damaged files
        raise CheckpointError(f"{source}: the tokenizer.json cannot be read.") from None
    record = json.loads(tokenizer.to_str())  # complete, whatever the file left out
    splitting = splitting_of(tokenizer)
    if record["model"]["type"] != "BPE" or splitting is None or record["normalizer"] is not None:
        raise CheckpointError(
            f"{source}: a GGUF file can take byte-level BPE that splits as SmolLM or Llama 3 do; "
            "this tokenizer is another one."
        )
    numbers = tokenizer.get_vocab(with_added_tokens=True)
    if len(numbers) > vocab or sorted(numbers.values()) != list(range(len(numbers))):
        raise CheckpointError(
            f"{source}: the tokenizer has {len(numbers):,} tokens, or gaps between their ids; the "
            f"model has {vocab:,}."
        )
    controls = {token["content"] for token in record["added_tokens"] if token["special"]}
    tokens = sorted(numbers, key=numbers.__getitem__)
    types = [_CONTROL if token in controls else _NORMAL for token in tokens]
    spare = range(len(tokens), vocab)
    merges = record["model"]["merges"]
    found = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": splitting,
        "tokenizer.ggml.tokens": [*tokens, *(f"[PAD{i}]" for i in spare)],
        "tokenizer.ggml.token_type": [*types, *(_UNUSED for _ in spare)],
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in merges],
        "tokenizer.ggml.add_bos_token": record["post_processor"] is not None,
    }
    return found | _roles(files, numbers, source)


def _roles(files: Mapping[str, bytes], numbers: Mapping[str, int], source: str) -> dict[str, Any]:
    try:
        config = json.loads(files.get("tokenizer_config.json", b"{}"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{source}: the tokenizer_config.json is not valid JSON.")
    found: dict[str, Any] = {}
    for key, name in _ROLES.items():
        token = config.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token in numbers:
            found[f"tokenizer.ggml.{key}_token_id"] = numbers[token]
    template = files.get("chat_template.jinja")
    if template is not None:
        found["tokenizer.chat_template"] = template.decode(errors="replace")
    return found


def _list(metadata: Mapping[str, Any], name: str, source: str) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    wanted = int if name == "token_type" else str
    if not isinstance(value, list) or not all(isinstance(item, wanted) for item in value):
        raise CheckpointError(f"{source}: the tokenizer's {name} are missing or damaged.")
    return value
