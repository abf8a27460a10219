"""A fusion training step: ours against transformers' Mllama of the same dimensions.

SmolLM2-135M's decoder, frozen; 8 cross blocks and an encoder of 12 x 384, trained; 8 pictures of 224 x
224 with 48 tokens of text each; forward, loss, backward, clipping, AdamW. Weights are random: speed
does not depend on their values. Each side takes its ordinary way:

                  ours                                   transformers
    layout        packed in one row                      8 rows
    bf16          fp32 weights where they learn,         everything in bf16, AdamW's memory too
                  bf16 elsewhere; loss in fp32
    logits        where there is a target                everywhere
    targets       half of the tokens, or all of them     the same
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import _duel

PICTURES, TOKENS, SIZE, PATCH = 8, 48, 224, 16
WIDTH, DEPTH, HEADS, KV_HEADS, HIDDEN, VOCAB = 576, 30, 9, 3, 1536, 49152
EYES = {"width": 384, "depth": 12, "heads": 6, "hidden": 1536}
CROSSES, TAP = 8, 4
CASES = [
    {"dtype": dtype, "targets": targets}
    for dtype, targets in itertools.product(("bf16", "fp32"), ("half", "all"))
]


def learned(case: _duel.Case) -> list[bool]:
    """Which tokens of a row are targets; a picture's place is never one."""
    first = TOKENS // 2 if case["targets"] == "half" else 1
    return [t >= first for t in range(TOKENS)]


def ids(row: int) -> list[int]:
    return [VOCAB, *((7919 * (row + 1) * (t + 3)) % VOCAB for t in range(TOKENS - 1))]


def ours(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    from pathlib import Path

    import torch

    from chiasm.inputs.batch import pack
    from chiasm.inputs.chat import Rendered
    from chiasm.inputs.message import Picture
    from chiasm.models import Crossed, CrossedConfig, DecoderConfig, ProjectorConfig, ViTConfig
    from chiasm.training import Learner, NextToken, Rate, Schedule, Trainer, TrainSettings

    torch.manual_seed(0)
    config = CrossedConfig(
        decoder=DecoderConfig(
            vocab=VOCAB, width=WIDTH, depth=DEPTH, heads=HEADS, kv_heads=KV_HEADS,
            head_width=WIDTH // HEADS, hidden=HIDDEN, context=2048, rope_theta=1e5,
        ),
        encoder=ViTConfig(image_size=SIZE, patch=PATCH, activation="gelu", **EYES),
        projector=ProjectorConfig(taps=(f"block.{TAP}", "final")),
        crosses=CROSSES,
    )  # fmt: skip
    model = Crossed(config).to({"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]])
    for cross in model.crosses:
        torch.nn.init.constant_(cross.attn_gate, 0.5)
        torch.nn.init.constant_(cross.mlp_gate, 0.5)
    table = (("decoder.*", None), ("extra.*", None), ("*", Rate(peak=1e-4, decay=0.01)))
    learner = Learner(model, table, Schedule(), 10**6)
    pixels = {str(i): torch.randn(3, SIZE, SIZE) for i in range(PICTURES)}
    samples = [
        Rendered(ids(i), learned(case), (Picture(data=str(i).encode()),), [(0, 1)] * TOKENS)
        for i in range(PICTURES)
    ]
    batch = pack(samples, lambda picture: pixels[picture.read().decode()])
    settings = TrainSettings(steps=10**6)
    trainer = Trainer(model, NextToken(), learner, iter(()), settings, Path("unused"))
    facts = {
        "learning": f"{sum(p.numel() for p in learner.learning.values()) / 1e6:.2f} M",
        "vision tokens": config.encoder.places(),
        "targets": trainer.train_step([batch]).targets,
    }
    return lambda: (trainer.train_step([batch]), None)[1], facts


def mllama(dtype: Any) -> Any:
    """The same dimensions in transformers, everything that is no cross and no eye frozen."""
    import torch
    from transformers import MllamaConfig, MllamaForConditionalGeneration
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    torch.manual_seed(0)
    before = range(DEPTH)[:: -(DEPTH // -CROSSES) * -1][::-1]  # Meta's rule, as in our schedule
    crosses = [block + place for place, block in enumerate(before)]
    text = MllamaTextConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=DEPTH + CROSSES,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, intermediate_size=HIDDEN,
        cross_attention_layers=crosses, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    eyes = MllamaVisionConfig(
        hidden_size=EYES["width"], num_hidden_layers=EYES["depth"], num_global_layers=0,
        attention_heads=EYES["heads"], intermediate_size=EYES["hidden"], image_size=SIZE,
        patch_size=PATCH, max_num_tiles=1, supported_aspect_ratios=[[1, 1]],
        intermediate_layers_indices=[TAP], vision_output_dim=2 * EYES["width"],
    )  # fmt: skip
    config = MllamaConfig(vision_config=eyes, text_config=text, image_token_index=VOCAB)
    model = MllamaForConditionalGeneration(config).to(dtype).train()
    for name, parameter in model.named_parameters():
        layer = name.partition("language_model.layers.")[2].partition(".")[0]
        of_text = "language_model" in name or "lm_head" in name
        parameter.requires_grad_(not of_text or (layer != "" and int(layer) in crosses))
        if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate")):
            torch.nn.init.constant_(parameter, 0.5)
    return model


def peer(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]]
    model = mllama(dtype)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, 1e-4, (0.9, 0.95), weight_decay=0.01, fused=True)
    tokens = torch.tensor([ids(row) for row in range(PICTURES)])
    labels = tokens.masked_fill(~torch.tensor(learned(case)), -100)
    inputs = {
        "input_ids": tokens,
        "labels": labels,
        "attention_mask": torch.ones_like(tokens),
        "pixel_values": torch.randn(PICTURES, 1, 1, 3, SIZE, SIZE, dtype=dtype),
        "aspect_ratio_ids": torch.ones(PICTURES, 1, dtype=torch.long),
        "aspect_ratio_mask": torch.ones(PICTURES, 1, 1, dtype=torch.long),
        "cross_attention_mask": torch.ones(PICTURES, TOKENS, 1, 1, dtype=torch.long),
    }

    def step() -> None:
        model(**inputs, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    facts = {
        "learning": f"{sum(p.numel() for p in learning) / 1e6:.2f} M",
        "vision tokens": -(-(1 + (SIZE // PATCH) ** 2) // 8) * 8,
        "targets": int((labels[:, 1:] != -100).sum()),
    }
    return step, facts


if __name__ == "__main__":
    assert __doc__ is not None
    sys.exit(_duel.main(__file__, CASES, {"ours": ours, "peer": peer}, __doc__.splitlines()[0]))
