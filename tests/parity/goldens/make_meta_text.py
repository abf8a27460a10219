"""Meta's Llama text model: weights, token ids, logits of a full forward and of a cached decode.

Asks `llama_models.llama3.model.Transformer` of llama-models 0.3.0; README.md has the environment.
"""

from __future__ import annotations

from typing import Any

import torch
from llama_models.llama3.args import ModelArgs
from llama_models.llama3.model import Transformer
from tests.parity.goldens.drawing import fill, whole
from tests.parity.goldens.meta_world import shard_dims, start_parallel
from tests.parity.goldens.writing import Book, main
from torch import Tensor

# params.json of four models: keys as in Meta's own files. Widths, heads and vocabularies are odd on
# purpose; "text_4to4" leaves n_kv_heads out, as files without grouped queries do.
PARAMS: dict[str, dict[str, Any]] = {
    "meta_text_4to1": {
        **{"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 1, "vocab_size": 61},
        **{"multiple_of": 16, "norm_eps": 1e-5, "rope_theta": 10000.0, "use_scaled_rope": False},
    },
    "meta_text_4to2": {
        **{"dim": 48, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 71},
        **{"multiple_of": 12, "ffn_dim_multiplier": 1.3, "norm_eps": 1e-5},
        **{"rope_theta": 500000.0, "use_scaled_rope": True},
    },
    "meta_text_4to4": {
        **{"dim": 56, "n_layers": 2, "n_heads": 4, "vocab_size": 53},
        **{"multiple_of": 8, "ffn_dim_multiplier": 0.7, "norm_eps": 1e-6},
        **{"rope_theta": 500000.0, "use_scaled_rope": False},
    },
    "meta_text_long": {
        **{"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 31},
        **{"multiple_of": 24, "norm_eps": 1e-5, "rope_theta": 500000.0, "use_scaled_rope": True},
    },
}


def decode(model: Transformer, ids: Tensor, prompt: int) -> Tensor:
    """Logits of the prompt at once, then token by token through the cache."""
    parts = [model(ids[:, :prompt], 0)]
    parts += [model(ids[:, at : at + 1], at) for at in range(prompt, ids.shape[1])]
    return torch.cat(parts, dim=1)


def make(book: Book) -> None:
    start_parallel()
    for name, params in PARAMS.items():
        rows, length, prompt = (1, 1100, 1075) if name.endswith("long") else (2, 23, 9)
        model = Transformer(ModelArgs(max_seq_len=length, max_batch_size=rows, **params))
        fill(model, name)
        ids = torch.tensor(whole(f"{name} ids", 0, params["vocab_size"], rows * length))
        ids = ids.reshape(rows, length)
        full = model(ids, 0)
        cached = decode(model, ids, prompt)
        apart = float((full - cached).abs().max() / full.abs().max())
        weights = {f"weights/{key}": value for key, value in model.state_dict().items()}
        tensors = {"text/ids": ids, "text/logits": full, **weights}
        # The cached run repeats the prompt's logits; only what it adds is kept.
        tensors["text/decoded"] = cached[:, prompt:]
        record = {
            "params": params,
            "prompt": prompt,
            "shard_dims": shard_dims(model),
            "measured": {"decode against full, of the largest logit": apart},
        }
        book.put(name, tensors, record, {"weights/*": "bf16"})


if __name__ == "__main__":
    main("make_meta_text.py", ("llama_models", "fairscale"), make)
