"""Layers: of a decoder, of a vision encoder, and the cross that joins the two."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.nn.attention import CrossAttention, Route, SelfAttention
from chiasm.nn.masks import Look
from chiasm.nn.mlp import MLP, SwiGLU
from chiasm.nn.norms import LayerNorm, RMSNorm


class Block(nn.Module):
    """Pre-norm decoder layer: causal attention, then SwiGLU (Llama)."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_width: int, hidden: int, eps: float
    ) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(width, eps)
        self.attn = SelfAttention(width, heads, kv_heads, head_width)
        self.mlp_norm = RMSNorm(width, eps)
        self.mlp = SwiGLU(width, hidden)

    def forward(self, x: Tensor, route: Route, layer: int) -> Tensor:
        x = x + self.attn.along(self.attn_norm(x), route, layer)
        return x + self.mlp(self.mlp_norm(x))


class VisionBlock(nn.Module):
    """Pre-norm encoder layer: every vector of a row sees every other, or those a bias leaves it.

    The layer of ViT and, with a causal bias, of CLIP's text tower.
    """

    def __init__(self, width: int, heads: int, hidden: int, activation: str, eps: float) -> None:
        super().__init__()
        self.attn_norm = LayerNorm(width, eps)
        self.attn = SelfAttention(width, heads, heads, width // heads, bias=True)
        self.mlp_norm = LayerNorm(width, eps)
        self.mlp = MLP(width, hidden, activation)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x [B, T, width]; bias is added to the scores and broadcasts to [B, 1, T, T]."""
        x = x + self.attn(self.attn_norm(x), bias)
        return x + self.mlp(self.mlp_norm(x))


class GatedCrossBlock(nn.Module):
    """A cross: attention to pictures, then SwiGLU, each behind a tanh gate that is zero at birth.

    With both gates at zero the block adds nothing, so a newly composed model answers as its LLM does
    (Alayrac et al. 2022, section 3.1.2; Llama 3 herd of models, section 7.2).
    """

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_width: int, hidden: int, eps: float
    ) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(width, eps)
        self.attn = CrossAttention(width, heads, kv_heads, head_width, eps)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.mlp_norm = RMSNorm(width, eps)
        self.mlp = SwiGLU(width, hidden)
        self.mlp_gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], look: Look) -> Tensor:
        """x [B, T, width]; rows that see no picture leave as they came, bit for bit."""
        flat = x.flatten(0, 1)
        seen = flat.index_select(0, look.rows)
        attended = self.attn(self.attn_norm(seen), memory, look)
        delta = self.attn_gate.tanh().to(x.dtype) * attended
        thought = self.mlp(self.mlp_norm(seen + delta))
        if look.thinking is not None:
            thought = thought * look.thinking
        delta = delta + self.mlp_gate.tanh().to(x.dtype) * thought
        return flat.index_add(0, look.rows, delta).view(x.shape)
