"""Time to the first token about a picture, a model of Llama 3.2 Vision's shape: ours against transformers.

Random weights in SmolLM2-135M's sizes with 6 cross blocks, eyes of 12 + 3 blocks of width 384 over up
to four tiles of 224 pixels; transformers writes the folder, both sides load it. The prompt has 32
tokens, the picture's among them. The time is that of seeing the picture, reading the prompt into a
cache and choosing the next token; pixels are ready on both sides.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _duel

PROMPT, TILE, TILES = 32, 224, 4
SHAPES = {1: (1, 1), 4: (2, 2)}
CASES = [{"dtype": d, "tiles": t} for d, t in itertools.product(("bf16", "fp32"), (1, 4))]


def pixels(tiles: int) -> Any:
    import torch

    source = torch.Generator().manual_seed(tiles)
    return torch.randn(tiles, 3, TILE, TILE, generator=source)


def tokens(image: int) -> list[int]:
    """The picture first: there alone both sides show it to the same tokens."""
    return [image, *((7919 * (t + 3)) % 49152 for t in range(PROMPT - 1))]


def folder(where: Path) -> Path:
    """Write a model with random weights and open gates, always the same."""
    import torch
    from transformers import MllamaConfig, MllamaForConditionalGeneration

    crosses, at = [], 0
    for layer in range(30):  # before blocks 4, 9, ... 29
        if layer % 5 == 4:
            crosses.append(at)
            at += 1
        at += 1
    text = {
        **{"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536},
        **{"num_hidden_layers": 36, "cross_attention_layers": crosses, "rms_norm_eps": 1e-5},
        **{"num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192},
        **{"rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}},
        **{"tie_word_embeddings": False, "pad_token_id": 0},
    }
    vision = {
        **{"hidden_size": 384, "intermediate_size": 1536, "attention_heads": 6, "image_size": TILE},
        **{
            "num_hidden_layers": 12,
            "num_global_layers": 3,
            "patch_size": 16,
            "max_num_tiles": TILES,
        },
        **{"intermediate_layers_indices": [2, 5, 8], "vision_output_dim": 4 * 384},
    }
    torch.manual_seed(0)
    config = MllamaConfig(text_config=text, vision_config=vision, image_token_index=49152)
    model = MllamaForConditionalGeneration(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("gate"):
                value.fill_(0.5)
    model.to(torch.bfloat16).save_pretrained(where)
    return where


def ours(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch
    from chiasm.checkpoint.fused import load_fused

    from chiasm.base.vision import Vision
    from chiasm.inference import prepack

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]]
    with tempfile.TemporaryDirectory() as where:
        loaded = load_fused(folder(Path(where)), dtype)[0].eval()
        shown, ids = pixels(case["tiles"]).to(dtype), torch.tensor([tokens(49152)])
        model = prepack(loaded)
    spans = torch.tensor([[[0, 1]] * PROMPT])
    vision = Vision(spans, shown, torch.tensor([SHAPES[case["tiles"]]]))

    @torch.inference_mode()
    def first() -> int:
        cache = model.cache(1, PROMPT + 16)
        features = model(ids, vision=vision, cache=cache)
        return int(model.head(features[:, -1]).argmax())

    return lambda: (first(), None)[1], {"token": first()}


def peer(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch
    from transformers import MllamaForConditionalGeneration

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]]
    with tempfile.TemporaryDirectory() as where:
        model = MllamaForConditionalGeneration.from_pretrained(folder(Path(where)), dtype=dtype)
        model.eval()
    count, shape = case["tiles"], SHAPES[case["tiles"]]
    shown = torch.zeros(1, 1, TILES, 3, TILE, TILE)
    shown[0, 0, :count] = pixels(count)
    real = torch.zeros(1, 1, TILES, dtype=torch.long)
    real[..., :count] = 1
    ids = torch.tensor([tokens(49152)])
    options = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": shown.to(dtype),
        "aspect_ratio_mask": real,
        "aspect_ratio_ids": torch.tensor([[{(1, 1): 1, (2, 2): 6}[shape]]]),
        "cross_attention_mask": real[:, None].expand(1, PROMPT, 1, TILES),
        "use_cache": True,
        "logits_to_keep": 1,
    }

    @torch.inference_mode()
    def first() -> int:
        return int(model(**options).logits[0, -1].argmax())

    return lambda: (first(), None)[1], {"token": first()}


if __name__ == "__main__":
    assert __doc__ is not None
    sys.exit(_duel.main(__file__, CASES, {"ours": ours, "peer": peer}, __doc__.splitlines()[0]))
