"""transformers' Mllama on the weights and cases of make_meta_vision.py.

With transformers 5.x: `mllama_small`, `mllama_odd`: hub weights, config.json, features and logits, as
current transformers computes them (what compat="hf" means). With 4.51.3: `mllama451_small`,
`mllama451_odd`: the tower's features, the second witness for Meta's numbers.
"""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from tests.parity.goldens import Golden, golden
from tests.parity.goldens.mllama_names import RATIOS, hub_config, to_hub
from tests.parity.goldens.writing import Book, main
from torch import Tensor
from transformers import MllamaForConditionalGeneration
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

TILES = 4
OLD = transformers.__version__.startswith("4.")


def load(weights: dict[str, Tensor], config: dict[str, Any]) -> tuple[Any, list[str]]:
    """The model from a folder in the hub's layout, and the names under which it would save itself.

    A weight that transformers misses, does not know or would re-initialise is an error.
    """
    with tempfile.TemporaryDirectory() as at:
        (Path(at) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(weights, Path(at) / "model.safetensors", {"format": "pt"})
        model, report = MllamaForConditionalGeneration.from_pretrained(
            at, output_loading_info=True, torch_dtype=torch.float32
        )
        wrong = {kind: names for kind, names in report.items() if names}
        if wrong:
            raise ValueError(f"transformers reads the folder otherwise: {wrong}")
        model.save_pretrained(Path(at) / "saved")
        with safe_open(Path(at) / "saved" / "model.safetensors", "pt") as saved:
            return model.eval(), sorted(saved.keys())


def inputs(meta: Golden, case: str) -> dict[str, Tensor]:
    """What transformers' processor would give the model, from Meta's flat tiles."""
    told, held = meta.record["cases"][case], meta.part(case)
    ids, rows = held["ids"], told["grids"]
    if not any(rows):
        return {"input_ids": ids}
    images, side = max(len(row) for row in rows), held["pixels"].shape[-1]
    shape = (len(rows), images)
    pixels = torch.zeros(*shape, TILES, 3, side, side)
    ratio_ids, tile_mask = torch.zeros(shape, dtype=torch.int64), torch.zeros(*shape, TILES)
    tile_mask[..., 0] = 1  # transformers marks the first tile of a missing image as real
    tiles = held["pixels"].split([r * c for row in rows for r, c in row])
    flat = iter(tiles)
    for b, row in enumerate(rows):
        for j, (r, c) in enumerate(row):
            pixels[b, j, : r * c], tile_mask[b, j, : r * c] = next(flat), 1
            ratio_ids[b, j] = RATIOS.index((r, c)) + 1
    given = {"input_ids": ids, "pixel_values": pixels, "aspect_ratio_ids": ratio_ids}
    seen = cross_mask(meta, ids, told, [[r * c for r, c in row] for row in rows])
    return given | {"aspect_ratio_mask": tile_mask.long(), "cross_attention_mask": seen}


def cross_mask(meta: Golden, ids: Tensor, told: dict[str, Any], counts: list[list[int]]) -> Tensor:
    """[B, T, N, 4]: of the prompt by the processor's functions, then its last row for each new token."""
    prompt, image = told.get("prompt", 0), meta.record["image_id"]
    ends = [prompt or length for length in told["lengths"]]
    rows = [row[:end].tolist() for row, end in zip(ids, ends, strict=True)]
    spans = [get_cross_attention_token_mask(row, image) for row in rows]
    length = prompt or ids.shape[1]
    dense = torch.from_numpy(
        convert_sparse_cross_attention_mask_to_dense(spans, counts, TILES, length)
    )
    more = ids.shape[1] - length
    return torch.cat((dense, dense[:, -1:].expand(-1, more, -1, -1)), dim=1)


def tower(model: Any, given: dict[str, Tensor], grids: list[list[list[int]]]) -> Tensor:
    """[M, P, width * (1 + taps)] of the tiles that exist."""
    vision = model.vision_model if OLD else model.model.vision_model
    keys = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
    out = vision(**{key: given[key] for key in keys}).last_hidden_state
    flat = [out[b, j, : r * c] for b, row in enumerate(grids) for j, (r, c) in enumerate(row)]
    return torch.cat(flat)


def relative(left: Tensor, right: Tensor) -> float:
    """Norm of the difference over the norm of the right."""
    return float((left - right).norm() / right.norm())


class Distances:
    """How far transformers is from Meta, gathered over the cases: the largest of each kind."""

    def __init__(self, meta: Golden) -> None:
        self.meta, self.told = meta, {}

    def keep(self, kind: str, value: float) -> None:
        self.told[kind] = max(self.told.get(kind, 0.0), value)

    def features(self, ours: Tensor, theirs: Tensor) -> None:
        width = self.meta.record["tower"]["width"]
        self.keep("tower, final slice", relative(ours[..., :width], theirs[..., :width]))
        self.keep("tower, intermediate slice", relative(ours[..., width:], theirs[..., width:]))

    def logits(self, case: str, ours: Tensor) -> None:
        """Rows without an image, places before the first image, and places from it on, apart."""
        told, theirs = self.meta.record["cases"][case], self.meta.part(case)["logits"]
        for b, (length, spans) in enumerate(zip(told["lengths"], told["spans"], strict=True)):
            first = spans[0][0] if spans else length
            batch = "batch with images, row without" if any(told["grids"]) else "no image at all"
            after = "from the image on" if first else "image at place 0"
            kinds = ("before the image", after) if spans else (batch, batch)
            for kind, (start, end) in zip(kinds, pairwise((0, first, length)), strict=True):
                if end > start:
                    apart = relative(ours[b, start:end], theirs[b, start:end])
                    self.keep(f"logits, {kind}", apart)


def make(book: Book) -> None:
    for size in ("small", "odd"):
        meta = golden(f"meta_vision_{size}")
        weights, config = to_hub(meta.weights, meta.record), hub_config(meta.record)
        model, saved = load({k: v.contiguous() for k, v in weights.items()}, config)
        tensors: dict[str, Tensor] = {}
        far = Distances(meta)
        for case, told in meta.record["cases"].items():
            given = inputs(meta, case)
            logits = model(**given).logits
            far.logits(case, logits)
            if case.startswith("ratio"):
                features = tower(model, given, told["grids"])
                tensors[f"{case}/vision"] = features
                far.features(features, meta.part(case)["vision"])
            if not OLD:
                tensors[f"{case}/logits"] = logits
        record = {"cases_of": meta.name, "config": config}
        if not OLD:
            tensors |= {f"weights/{name}": value for name, value in weights.items()}
            record["saved by transformers under the same names"] = saved == sorted(weights)
        record["measured"] = {"relative to Meta (norms)": dict(sorted(far.told.items()))}
        book.put(
            f"mllama451_{size}" if OLD else f"mllama_{size}", tensors, record, {"weights/*": "bf16"}
        )


if __name__ == "__main__":
    main("make_mllama.py", ("transformers",), make)
