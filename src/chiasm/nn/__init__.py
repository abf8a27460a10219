"""nn: the blocks. Tensors in, tensors out, plain arguments; nothing here reads a configuration or a file.

    tokens ── Groups ──► attention.SelfAttention ─┐
    rope.Rope (angles) ─────────▲                 ├─► block.Block            (a decoder's layer)
    cache.Cache (keys, values) ─┘  mlp.SwiGLU ────┘
    pictures ── Memory ─► attention.CrossAttention ─► block.GatedCrossBlock  (a cross: looks at pictures)
                                                      block.FlamingoCrossBlock
    vectors ─── attention.LatentAttention ──► block.LatentBlock              (a perceiver's layer)
    pixels ──── patches.Patches ──► block.VisionBlock ──► pool.AttentionPool (an encoder's layer; its end)

    a built model ── lora.add_lora, lowbit.quantise ──► the same model, some of its Linear layers exchanged

May enter: tensor operations with parameters of their own. Must stay outside: model sizes, text, files.
"""

from chiasm.nn.attention import CrossAttention, LatentAttention, SelfAttention, attend
from chiasm.nn.block import (
    Block,
    CrossBlock,
    FlamingoCrossBlock,
    GatedCrossBlock,
    LatentBlock,
    VisionBlock,
)
from chiasm.nn.cache import Cache
from chiasm.nn.linear import Linear
from chiasm.nn.lora import add_lora, lora_state, merge_lora
from chiasm.nn.lowbit import LowBitLinear, quantise
from chiasm.nn.masks import Groups, Look, causal_bias, group
from chiasm.nn.memory import Memory
from chiasm.nn.mlp import MLP, SwiGLU
from chiasm.nn.norms import LayerNorm, RMSNorm
from chiasm.nn.patches import Patches, resample_positions
from chiasm.nn.pool import AttentionPool
from chiasm.nn.rope import Rope, RopeScaling, rotate

__all__ = [
    "MLP",
    "AttentionPool",
    "Block",
    "Cache",
    "CrossAttention",
    "CrossBlock",
    "FlamingoCrossBlock",
    "GatedCrossBlock",
    "Groups",
    "LatentAttention",
    "LatentBlock",
    "LayerNorm",
    "Linear",
    "Look",
    "LowBitLinear",
    "Memory",
    "Patches",
    "RMSNorm",
    "Rope",
    "RopeScaling",
    "SelfAttention",
    "SwiGLU",
    "VisionBlock",
    "add_lora",
    "attend",
    "causal_bias",
    "group",
    "lora_state",
    "merge_lora",
    "quantise",
    "resample_positions",
    "rotate",
]
