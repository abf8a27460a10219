"""Layers: of a decoder, of a vision encoder, of a perceiver, and the crosses that join them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiasm.nn.attention import CrossAttention, LatentAttention, Route, SelfAttention
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


class CrossBlock(nn.Module):
    """Attention to pictures, then a feed-forward network, each behind a tanh gate that is zero at birth.

    With both gates at zero the block adds nothing, so a newly composed model answers as its LLM does
    (Alayrac et al. 2022, section 3.1.2; Llama 3 herd of models, section 7.2).
    """

    def __init__(
        self, attn_norm: nn.Module, attn: CrossAttention, mlp_norm: nn.Module, mlp: nn.Module
    ) -> None:
        super().__init__()
        self.attn_norm = attn_norm
        self.attn = attn
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.mlp_norm = mlp_norm
        self.mlp = mlp
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


class GatedCrossBlock(CrossBlock):
    """The cross of Llama 3.2 Vision: RMSNorm, grouped queries with q/k norms, SwiGLU."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_width: int, hidden: int, eps: float
    ) -> None:
        attn = CrossAttention(width, heads, kv_heads, head_width, eps)
        super().__init__(RMSNorm(width, eps), attn, RMSNorm(width, eps), SwiGLU(width, hidden))


class FlamingoCrossBlock(CrossBlock):
    """The cross of Flamingo: LayerNorm, plain heads of any width, an MLP with GELU and no biases.

    Alayrac et al. 2022, section 3.1.2, in the numbers of open_flamingo: 8 heads of 64, hidden = 4 * width,
    GELU where the paper has a squared ReLU. There the MLP also changes text that sees no picture; here
    such text stays as it came, as under every cross.
    """

    def __init__(self, width: int, heads: int, head_width: int, hidden: int, eps: float) -> None:
        attn = CrossAttention(width, heads, heads, head_width, None)
        mlp = MLP(width, hidden, "gelu", bias=False)
        super().__init__(LayerNorm(width, eps), attn, LayerNorm(width, eps), mlp)


class LatentBlock(nn.Module):
    """Pre-norm layer of a perceiver: latents read vectors, then an MLP.

    Jaegle et al. 2021 (Perceiver): latents read the vectors alone, biases everywhere. Alayrac et al.
    2022 (Flamingo's resampler): `joint`, so latents read the vectors and one another; no biases.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        hidden: int,
        eps: float,
        *,
        source: int,
        joint: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.attn_norm = LayerNorm(width, eps)
        self.source_norm = LayerNorm(source, eps)
        self.attn = LatentAttention(width, heads, head_width, source, bias=bias)
        self.mlp_norm = LayerNorm(width, eps)
        self.mlp = MLP(width, hidden, "gelu", bias=bias)
        self.joint = joint

    def forward(self, latents: Tensor, vectors: Tensor) -> Tensor:
        """latents [N, L, width], vectors [N, K, source] -> [N, L, width]."""
        own, read = self.attn_norm(latents), self.source_norm(vectors)
        latents = latents + self.attn(own, read, *([own] if self.joint else []))
        return latents + self.mlp(self.mlp_norm(latents))
