"""Writing GGUF files: any tensors and metadata, and language models as llama.cpp reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.files import write_atomic
from chiasm.checkpoint import gguf_rope
from chiasm.checkpoint.families import llama
from chiasm.checkpoint.folder import Opened
from chiasm.checkpoint.gguf import ARRAY, BOOL, NUMBERS, STRING, Gguf
from chiasm.checkpoint.names import Placed
from chiasm.checkpoint.pack import PACKERS, pack
from chiasm.checkpoint.quants import KINDS, Bytes
from chiasm.checkpoint.vocabulary import tokenizer_metadata
from chiasm.checkpoint.weights import CheckpointError, LazyTensors, Spec, spec_of
from chiasm.models.decoder import DecoderConfig

ALIGNMENT = 32
"""Bytes to whose multiple tensors begin; GGUF's default."""
PIECE = 1 << 17
"""Values that are packed at a time: few enough for the processor's cache."""
_BY_NAME = {kind.name: (number, kind) for number, kind in KINDS.items()}
_FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q4_K": 14,
    "Q6_K": 18,
    "BF16": 32,
}
"""llama.cpp's `general.file_type`: the format of most tensors."""
_LARGEST_HALF = 65504.0

Types = Mapping[str, tuple[int, ...]]


def write_gguf(
    path: Path | str,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    kinds: Mapping[str, str],
    types: Types | None = None,
) -> None:
    """Write a GGUF file of version 3, tensor by tensor, at once or not at all.

    tensors  [..., in] by GGUF's names, may be lazy; those of a `Gguf` that keep their format are
             copied byte by byte
    kinds    name -> "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K" or "Q6_K" (any known
             format, where bytes are copied)
    types    metadata key -> GGUF's types, as `Gguf.types`; else whole numbers become uint32 (in
             lists int32), others float32

    Values that the format cannot hold are a UserError. Source: ggml, docs/gguf.md.
    """
    types = types or {}
    specs = {name: spec_of(tensors, name) for name in tensors}
    head = [b"GGUF", struct.pack("<IQQ", 3, len(specs), len(metadata))]
    for key, value in metadata.items():
        head += [_string(key), _entry(value, types.get(key) or _type_of(key, value))]
    offset = 0
    alignment = metadata.get("general.alignment", ALIGNMENT)
    for name, spec in specs.items():
        number, length = _measure(name, spec, kinds[name], tensors)
        shape = spec.shape[::-1]
        head += [
            _string(name),
            struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset),
        ]
        offset += -(-length // alignment) * alignment
    write_atomic(Path(path), _parts(b"".join(head), tensors, specs, kinds, alignment))


def _measure(name: str, spec: Spec, kind: str, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the number of a tensor's format and its bytes."""
    if kind not in PACKERS and not _is_copied(tensors, name, kind):
        known = ", ".join(PACKERS)
        raise UserError(
            f'"{kind}" cannot be written.{did_you_mean(kind, PACKERS)} There are: {known}.'
        )
    number, form = _BY_NAME[kind]
    if not spec.shape or len(spec.shape) > 4 or 0 in spec.shape or spec.shape[-1] % form.block:
        raise UserError(
            f'tensor "{name}" of shape {list(spec.shape)} cannot be stored as {kind}; use F16.'
        )
    return number, prod(spec.shape) // form.block * form.bytes


def _is_copied(tensors: Mapping[str, Tensor], name: str, kind: str) -> bool:
    return isinstance(tensors, Gguf) and tensors.stored[name].kind.name == kind


def _parts(
    head: bytes,
    tensors: Mapping[str, Tensor],
    specs: Mapping[str, Spec],
    kinds: Mapping[str, str],
    alignment: int,
) -> Iterator[bytes | memoryview]:
    yield head
    yield bytes(-len(head) % alignment)
    for name in specs:
        length = 0
        for piece in _packed(name, tensors, kinds[name]):
            length += piece.nbytes
            yield piece.data
        yield bytes(-length % alignment)


def _packed(name: str, tensors: Mapping[str, Tensor], kind: str) -> Iterator[Bytes]:
    if isinstance(tensors, Gguf) and _is_copied(tensors, name, kind):
        yield tensors.raw(name)
        return
    block = _BY_NAME[kind][1].block
    flat = tensors[name].detach().to("cpu").reshape(-1)
    for start in range(0, len(flat), PIECE):
        values = flat[start : start + PIECE].float().numpy()
        largest = np.abs(values).max()
        if not largest <= (np.finfo(np.float32).max if kind in ("F32", "BF16") else _LARGEST_HALF):
            raise UserError(
                f'tensor "{name}" holds values up to {largest:g}, which {kind} cannot hold; use F32.'
            )
        yield np.ascontiguousarray(pack(kind, values.reshape(-1, block))).reshape(-1)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _type_of(key: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, list):
        inner = _type_of(key, value[0]) if value else (STRING,)
        return (ARRAY, 5 if inner == (4,) else inner[0])
    if isinstance(value, bool):
        return (BOOL,)
    for python, number in ((str, STRING), (int, 4), (float, 6)):
        if isinstance(value, python):
            return (number,)
    raise ValueError(f"metadata {key!r} is a {type(value).__name__}, which GGUF does not know")


def _entry(value: Any, kinds: tuple[int, ...]) -> bytes:
    if kinds[0] != ARRAY:
        return struct.pack("<I", kinds[0]) + _scalar(value, kinds[0])
    inner = kinds[1]
    head = struct.pack("<IIQ", ARRAY, inner, len(value))
    if inner in NUMBERS:
        return head + np.array(value, np.dtype(NUMBERS[inner])).tobytes()
    return head + b"".join(_scalar(item, inner) for item in value)


def _scalar(value: Any, kind: int) -> bytes:
    if kind == STRING:
        return _string(value)
    return struct.pack("?" if kind == BOOL else NUMBERS[kind], value)


# ---- language models ---------------------------------------------------------------------------


def save_gguf(
    opened: Opened[DecoderConfig],
    path: Path | str,
    kind: str = "F16",
    files: Mapping[str, bytes] | None = None,
    name: str = "",
) -> dict[str, str]:
    """Write a language model as llama.cpp reads it, and return tensor -> format.

    opened  from `open_decoder`, or settings with a model's `state_dict()`
    kind    of all matrices; vectors are F32, matrices whose rows are no whole blocks Q8_0 or F16
    files   the folder's companions: tokenizer.json and, beside it, what names the special tokens

    What llama.cpp's file cannot say about the model is a CheckpointError.
    """
    path, config = Path(path), opened.config
    if kind not in PACKERS:
        raise UserError(f'"{kind}" cannot be written.{did_you_mean(kind, PACKERS)}')
    names = llama.gguf_table(config.tied).rename(opened.tensors)
    tensors: Mapping[str, Tensor] = Placed(
        opened.tensors,
        {theirs: ours for ours, theirs in names.items()},
        lambda theirs, value: _to_gguf(config, theirs, value),
    )
    kinds = {n: _kind_of(spec_of(tensors, n), kind) for n in tensors}
    if config.rope_scaling is not None:
        factors = gguf_rope.rope_factors(config)
        tensors = _WithFactors(tensors, factors)
        kinds[gguf_rope.NAME] = "F32"
    metadata = model_metadata(config, kind, name or path.stem)
    metadata |= tokenizer_metadata(files or {}, config.vocab, str(path))
    _check(config, metadata, {n: spec_of(tensors, n).shape for n in tensors}, path)
    write_gguf(path, metadata, tensors, kinds)
    return kinds


def _kind_of(spec: Spec, kind: str) -> str:
    if len(spec.shape) == 1:
        return "F32"
    return next(k for k in (kind, "Q8_0", "F16") if spec.shape[-1] % _BY_NAME[k][1].block == 0)


class _WithFactors(LazyTensors):
    """A model's tensors and, behind them, what divides its rotary speeds."""

    def __init__(self, tensors: Mapping[str, Tensor], factors: Tensor) -> None:
        self._tensors, self._more = tensors, {gguf_rope.NAME: factors}

    def __getitem__(self, name: str) -> Tensor:
        return self._more[name] if name in self._more else self._tensors[name]

    def spec(self, name: str) -> Spec:
        """Return type and shape of a tensor without reading its values."""
        return spec_of(self._more if name in self._more else self._tensors, name)

    def __iter__(self) -> Iterator[str]:
        yield from self._tensors
        yield from self._more

    def __len__(self) -> int:
        return len(self._tensors) + len(self._more)


def _to_gguf(config: DecoderConfig, theirs: str, tensor: Tensor) -> Tensor:
    """Order query and key rows as GGUF does: it rotates neighbours as pairs, we rotate halves."""
    heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(theirs.split(".")[-2])
    if heads is None:
        return tensor
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def model_metadata(config: DecoderConfig, kind: str, name: str) -> dict[str, Any]:
    """Return the entries that llama.cpp's own converter writes for a Llama, without its tokenizer."""
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": name,
        "general.file_type": _FILE_TYPES[kind],
        "general.quantization_version": 2,
        "llama.block_count": config.depth,
        "llama.context_length": config.context,
        "llama.embedding_length": config.width,
        "llama.feed_forward_length": config.hidden,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.kv_heads,
        "llama.attention.key_length": config.head_width,
        "llama.attention.value_length": config.head_width,
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "llama.rope.dimension_count": config.head_width,
        "llama.rope.freq_base": config.rope_theta,
        "llama.vocab_size": config.vocab,
    }


def _check(
    config: DecoderConfig,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
) -> None:
    """Make sure that the file will be read as the same model: it keeps numbers as float32."""
    kept = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in metadata.items()}
    again = llama.read_gguf_config(kept, shapes, str(path))
    if config.rope_scaling is not None:
        again = gguf_rope.scaled_as_stored(again, gguf_rope.rope_factors(config), str(path))
    if again != config:
        raise CheckpointError(
            f"a GGUF file cannot say these settings exactly: {config}; it would say {again}."
        )
