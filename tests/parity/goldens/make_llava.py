"""transformers' Llama and LLaVA at toy size: weights as it saves them, config.json, ids, logits.

llama_untied, llama_tied    LlamaForCausalLM, grouped queries, plain and llama3-scaled rotation
llava                       CLIP tower, tap -2 without CLS, two-layer projector, Llama
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tests.parity.goldens import drawing
from tests.parity.goldens.writing import Book, main
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

SCALED = {
    **{"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 64},
}
LLAMAS: dict[str, dict[str, Any]] = {
    "llama_untied": {
        **{"hidden_size": 40, "intermediate_size": 68, "num_hidden_layers": 3, "vocab_size": 59},
        **{"num_attention_heads": 5, "num_key_value_heads": 1, "tie_word_embeddings": False},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "llama_tied": {
        **{"hidden_size": 48, "intermediate_size": 52, "num_hidden_layers": 2, "vocab_size": 73},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True},
        **{"rope_parameters": SCALED, "max_position_embeddings": 512},
    },
}
VOCABULARY, IMAGE, SIDE, PLACES = 67, 66, 28, 16
LLAVA: dict[str, Any] = {
    "vision_config": {
        **{"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 52},
        **{"num_hidden_layers": 4, "num_attention_heads": 4, "projection_dim": 24},
        **{"image_size": SIDE, "patch_size": 7, "hidden_act": "quick_gelu"},
    },
    "text_config": {
        **{
            "model_type": "llama",
            "hidden_size": 40,
            "intermediate_size": 60,
            "vocab_size": VOCABULARY,
        },
        **{"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    **{"image_token_index": IMAGE, "vision_feature_layer": -2},
    **{"vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"},
}
CASES = {  # B start, I image (its 16 places), t text; rows padded with 0 on the right
    "one": ("BIttttttt",),
    "two": ("BttIttttIttt",),
    "two_in_a_row": ("BtIIttttt",),
    "no_image": ("Bttttttttttt",),
    "batch": ("BIttttttt", "Btttttt", "ttIttIttt"),
}


def saved(model: PreTrainedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and config.json as `save_pretrained` writes them."""
    with tempfile.TemporaryDirectory() as at:
        model.save_pretrained(at)
        config = json.loads((Path(at) / "config.json").read_text(encoding="utf-8"))
        weights = load_file(Path(at) / "model.safetensors")
    del config["transformers_version"]  # told under "versions"
    return {f"weights/{key}": value for key, value in weights.items()}, config


def make_llama(book: Book, name: str) -> None:
    """Logits of a full forward over 131 places, and of a prompt and single steps through the cache."""
    model = LlamaForCausalLM(LlamaConfig(**LLAMAS[name])).eval()
    drawing.fill(model, name)
    vocabulary, length, prompt = LLAMAS[name]["vocab_size"], 131, 120
    ids = torch.tensor(drawing.whole(f"{name} ids", 0, vocabulary, length))[None]
    full = model(ids).logits
    step = model(ids[:, :prompt], use_cache=True)
    decoded = []
    for at in range(prompt, length):
        step = model(ids[:, at : at + 1], past_key_values=step.past_key_values, use_cache=True)
        decoded.append(step.logits)
    weights, config = saved(model)
    told = torch.cat(decoded, dim=1)
    tensors = {"text/ids": ids, "text/logits": full, "text/decoded": told, **weights}
    apart = float((full[:, prompt:] - told).abs().max() / full.abs().max())
    measured = {"decode against full, of the largest logit": apart}
    record = {"config": config, "prompt": prompt, "measured": measured}
    book.put(name, tensors, record, {"weights/*": "bf16"})


def ids_of(case: str, rows: tuple[str, ...]) -> tuple[Tensor, list[int]]:
    """[B, T] ids with 16 image ids for every I, and the rows' lengths."""
    found = []
    for b, row in enumerate(rows):
        words = drawing.whole(f"llava {case} row {b}", 2, IMAGE, len(row))
        known = {"B": [1], "I": [IMAGE] * PLACES}
        pieces = [known.get(letter, [word]) for letter, word in zip(row, words, strict=True)]
        found.append([token for piece in pieces for token in piece])
    lengths = [len(row) for row in found]
    padded = [row + [0] * (max(lengths) - len(row)) for row in found]
    return torch.tensor(padded), lengths


def make_llava(book: Book) -> None:
    model = LlavaForConditionalGeneration(LlavaConfig(**LLAVA)).eval()
    drawing.fill(model, "llava")
    caught: dict[str, Tensor] = {}

    def catch(module: Any, given: tuple[Tensor], out: Tensor) -> None:
        caught.update(features=given[0], projected=out)

    model.model.multi_modal_projector.register_forward_hook(catch)
    tensors, told = {}, {}
    for case, rows in CASES.items():
        ids, lengths = ids_of(case, rows)
        images = sum(row.count("I") for row in rows)
        given = {"input_ids": ids}
        held = {"ids": ids}
        if images:
            given["pixel_values"] = drawing.pixels(f"llava {case}", images, 3, SIDE, SIDE)
            held["pixels"] = given["pixel_values"]
        held["logits"] = model(**given).logits
        if images:
            held |= {key: value.reshape(images, PLACES, -1) for key, value in caught.items()}
        tensors |= {f"{case}/{key}": value for key, value in held.items()}
        told[case] = {"lengths": lengths, "images": [row.count("I") for row in rows]}
    weights, config = saved(model)
    record = {"config": config, "image_id": IMAGE, "cases": told}
    book.put("llava", tensors | weights, record, {"weights/*": "bf16", "*/pixels": "64ths"})


def make(book: Book) -> None:
    for name in LLAMAS:
        make_llama(book, name)
    make_llava(book)


if __name__ == "__main__":
    main("make_llava.py", ("transformers",), make)
