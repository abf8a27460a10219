"""Small models and small files of every kind that the checkpoint room reads."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from chiasm.models import Decoder, DecoderConfig, ViT, ViTConfig

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
"""A config.json as transformers writes it, of the same sizes as `decoder_config`."""


def decoder_config(**changes: Any) -> DecoderConfig:
    sizes = {"vocab": 96, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_width": 8}
    return DecoderConfig(**{**sizes, "hidden": 64, "context": 64, **changes})


def decoder(**changes: Any) -> Decoder:
    return Decoder(decoder_config(**changes)).eval()


def vit_config(**changes: Any) -> ViTConfig:
    sizes = {"image_size": 16, "patch": 8, "width": 32, "depth": 2, "heads": 2, "hidden": 64}
    return ViTConfig(**{**sizes, **changes})


def vit(**changes: Any) -> ViT:
    return ViT(vit_config(**changes)).eval()


def to_gguf_rows(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Order rows as llama.cpp's converter does: the two halves of a head interleaved."""
    rows, columns = weight.shape
    split = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows, columns))


_GGUF_NAMES = {
    "attn_norm": "attn_norm",
    "attn.q": "attn_q",
    "attn.k": "attn_k",
    "attn.v": "attn_v",
    "attn.o": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}


def write_gguf(path: Path, model: Decoder, kind: str = "F32", **extra: Any) -> Path:
    """Write a decoder with the gguf package, as llama.cpp's converter would."""
    c = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(c.width)
    writer.add_block_count(c.depth)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_feed_forward_length(c.hidden)
    writer.add_context_length(c.context)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.head_width)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    for key, value in extra.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    quant = gguf.GGMLQuantizationType[kind]
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        for part, heads in (("attn.q", c.heads), ("attn.k", c.kv_heads)):
            if name.endswith(f"{part}.weight"):
                values = to_gguf_rows(values, heads)
        whole = {"embed": "token_embd", "norm": "output_norm", "unembed": "output"}
        stem = name.removesuffix(".weight")
        if stem in whole:
            theirs = whole[stem]
        else:
            _, layer, part = stem.split(".", 2)
            theirs = f"blk.{layer}.{_GGUF_NAMES[part]}"
        if values.ndim == 2:
            data = gguf.quants.quantize(values, quant)
            writer.add_tensor(f"{theirs}.weight", data, raw_dtype=quant)
        else:
            writer.add_tensor(f"{theirs}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_head(
    tensors: int = 0, entries: int = 0, version: int = 3, magic: bytes = b"GGUF"
) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries)


def gguf_string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_entry(key: bytes, kind: int, value: bytes) -> bytes:
    return gguf_string(key) + struct.pack("<I", kind) + value


def gguf_place(name: bytes, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    shaped = b"".join(struct.pack("<Q", size) for size in shape)
    return (
        gguf_string(name)
        + struct.pack("<I", len(shape))
        + shaped
        + struct.pack("<IQ", kind, offset)
    )


# ---- ONNX, written by hand ---------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name: str, values: NDArray[Any], typed: bool = False) -> bytes:
    """A TensorProto; `typed` keeps the values in the field of their type instead of raw_data."""
    kinds = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}
    out = b"".join(field(1, size) for size in values.shape)
    out += field(2, kinds[values.dtype.name]) + field(8, name)
    if not typed:
        return out + field(9, values.tobytes())
    if values.dtype.kind == "f":
        return out + field(4, values.tobytes())
    return out + field(5, b"".join(varint(int(v)) for v in values.ravel()))


def onnx_node(op: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    names = b"".join(field(1, name) for name in inputs)
    return names + b"".join(field(2, name) for name in outputs) + field(4, op)


def onnx_model(nodes: Sequence[bytes], tensors: Sequence[bytes]) -> bytes:
    graph = b"".join(field(1, node) for node in nodes)
    graph += b"".join(field(5, tensor) for tensor in tensors)
    return field(1, 7) + field(2, "toy") + field(7, graph)


def quantised_linear(
    name: str, weight: NDArray[Any], bias: bool, typed: bool = True
) -> tuple[list[bytes], list[bytes], NDArray[Any]]:
    """Nodes and tensors of a dynamically quantised layer, and the values its weight then has."""
    scale = (np.abs(weight).max(axis=1) / 127).astype(np.float32)
    q = np.round(weight / scale[:, None]).astype(np.int8).T
    zero = np.zeros(len(scale), np.int8)
    base = f"anonymous_{name}"
    nodes = [
        onnx_node("Mul", [f"{base}_in_scale", f"{base}_scale"], [f"{base}_scales"]),
        onnx_node(
            "MatMulInteger",
            [f"{base}_in", f"{base}_q", f"{base}_in_zero", f"{base}_zero"],
            [f"{base}_i"],
        ),
        onnx_node("Cast", [f"{base}_i"], [f"{base}_c"]),
        onnx_node("Mul", [f"{base}_c", f"{base}_scales"], [f"{base}_m"]),
    ]
    if bias:
        nodes.append(onnx_node("Add", [f"{name}.bias", f"{base}_m"], [f"{base}_out"]))
    tensors = [
        onnx_tensor(f"{base}_scale", scale, typed),
        onnx_tensor(f"{base}_zero", zero, typed),
        onnx_tensor(f"{base}_q", np.ascontiguousarray(q)),
    ]
    return nodes, tensors, q.T.astype(np.float32) * scale[:, None]


def equal(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )
