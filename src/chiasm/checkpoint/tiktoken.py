"""Meta's tokenizer.model for Llama 3: lines of base64 and rank, as the files that others read."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer

from chiasm.checkpoint.bpe import build, byte_letters, written
from chiasm.checkpoint.weights import CheckpointError

FILE_BYTES = 16 << 20
"""Larger files are refused; Llama 3's has 2 MB."""
RANKS = 1 << 19
"""Most tokens; Llama 3 has 128,000."""
TOKEN_BYTES = 512
"""Longest token; Llama 3's longest has 128 bytes."""

_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
_RESERVED = "<|reserved_special_token_{}|>"
IMAGE = "<|image|>"
CONTROLS = 256
"""Control tokens behind the ranks."""

TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}"
    "{%- else %}{%- for part in message['content'] %}"
    "{%- if part['type'] == 'image' %}{{- '<|image|>' }}"
    "{%- else %}{{- part['text'] }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
"""What Meta's chat_format.py writes: no system message of its own, nothing stripped."""


def tokenizer_files(
    path: Path | str, *, vision: bool = False, instruct: bool = True
) -> dict[str, bytes]:
    """Return tokenizer.json and its companions for a tokenizer.model of Llama 3, 3.1 or 3.2.

    vision    adds `<|image|>` behind all others (128256), where Llama 3.2 Vision's weights have it
    instruct  the end of a turn ends generation, and there is a chat_template.jinja

    Control tokens have the hub's names. Meta's own tokenizer calls 128011 `<|image|>`, but its chat
    format writes 128256 in its place, so no text ever holds 128011. Raises CheckpointError.
    """
    tokenizer = read_tokenizer(path, vision=vision)
    end = "<|eot_id|>" if instruct else "<|end_of_text|>"
    roles = {"bos_token": "<|begin_of_text|>", "eos_token": end}
    roles["pad_token"] = "<|finetune_right_pad_id|>"
    numbers = tokenizer.get_vocab(with_added_tokens=True)
    ids = {role: numbers[token] for role, token in roles.items()}
    controls = _controls(vision)
    return written(tokenizer, ids, controls, template=TEMPLATE if instruct else None)


def read_tokenizer(path: Path | str, *, vision: bool = False) -> Tokenizer:
    """Return the tokenizer of a tokenizer.model; see `tokenizer_files`."""
    letters = byte_letters()
    ranks = read_ranks(path)
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    merges = [(spelled[left], spelled[right]) for left, right in _merges(ranks)]
    return build(vocabulary, merges, "llama-bpe", _controls(vision), "<|begin_of_text|>")


def _controls(vision: bool) -> list[str]:
    free = (_RESERVED.format(i) for i in range(CONTROLS))
    names = [_NAMED.get(i) or next(free) for i in range(CONTROLS)]
    return [*names, IMAGE] if vision else names


def read_ranks(path: Path | str) -> dict[bytes, int]:
    """Return token -> rank; every rank from 0 and every single byte stands once, or CheckpointError."""
    path = Path(path)
    try:
        if path.stat().st_size > FILE_BYTES:
            raise CheckpointError(f"{path} is larger than {FILE_BYTES >> 20} MB; refused.")
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    if not 256 <= len(lines) <= RANKS:
        raise CheckpointError(f"{path} has {len(lines):,} lines; 256 to {RANKS:,} can be read.")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        token, rank = _line(path, number, line)
        if rank >= len(lines) or token in ranks:
            raise CheckpointError(f"{path}, line {number}: a token or a rank that cannot be.")
        ranks[token] = rank
    if len(set(ranks.values())) != len(ranks):
        raise CheckpointError(f"{path} gives one rank to two tokens.")
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise CheckpointError(f"{path} lacks a single byte, so there is text that it cannot spell.")
    return ranks


def _line(path: Path, number: int, line: bytes) -> tuple[bytes, int]:
    encoded, _, rank = line.partition(b" ")
    try:
        token = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        token = b""
    if not 0 < len(token) <= TOKEN_BYTES or not rank.isdigit() or len(rank) > 9:
        raise CheckpointError(
            f"{path}, line {number}: not a token in base64 and its rank; is this Llama 3's "
            "tokenizer.model? (Llama 2's is of another kind.)"
        )
    return token, int(rank)


def _merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the pairs that tiktoken would merge, the first to be merged first.

    tiktoken merges the neighbours whose union has the lowest rank, whatever they are: so every way
    to cut a token into two tokens is a merge, of that token's rank.
    """
    pairs = []
    for token, rank in ranks.items():
        for cut in range(1, len(token)):
            left, right = ranks.get(token[:cut]), ranks.get(token[cut:])
            if left is not None and right is not None:
                pairs.append((rank, left, right, cut, token))
    return [(token[:cut], token[cut:]) for _, _, _, cut, token in sorted(pairs)]
