"""Meta's Llama 3.2 Vision: tower, projection, cross-attention memory and logits of small models.

    pixels [M,3,S,S], grids ──► VisionEncoder ──► vision_projection ──► K, V of each cross block
    ids, spans ───────────────────────────────────────────────────────────► logits [B, T, vocab]

Asks `llama_models.llama3.multimodal.model.CrossAttentionTransformer` of llama-models 0.3.0. Meta's
class writes the tower's sizes (width 1280, 32 + 8 blocks, taps 3, 7, 15, 23, 30) into its
constructor; SmallVision repeats that constructor with sizes as arguments. All forwards are Meta's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from fairscale.nn.model_parallel.layers import ColumnParallelLinear
from llama_models.llama3.args import ModelArgs
from llama_models.llama3.chat_format import create_vision_mask
from tests.parity.goldens import drawing
from tests.parity.goldens.make_meta_pixels import as_levels, level_table
from tests.parity.goldens.meta_world import shard_dims, start_parallel
from tests.parity.goldens.writing import Book, main
from torch import Tensor

# After make_meta_pixels, which puts the stand-in in torchvision's place.
from llama_models.llama3.multimodal import model as meta  # isort: skip
from llama_models.llama3.multimodal.encoder_utils import (  # isort: skip
    initialize_global_position_embedding_from_local,
    resize_global_position_embedding,
    resize_local_position_embedding,
)

TILES = 4
MODELS: dict[str, dict[str, Any]] = {
    "meta_vision_small": {
        "params": {
            **{"dim": 48, "n_layers": 7, "n_heads": 6, "n_kv_heads": 2, "vocab_size": 61},
            **{"multiple_of": 12, "ffn_dim_multiplier": 0.6, "norm_eps": 1e-5},
            **{"rope_theta": 500000.0, "use_scaled_rope": True, "vision_chunk_size": 28},
            **{"vision_max_num_chunks": TILES, "vision_num_cross_attention_layers": 2},
        },
        "tower": {
            **{"width": 40, "heads": 5, "layers": 6, "global_layers": 2, "taps": [1, 2, 4]},
            **{"mlp_ratio": 4.0, "patch": 14},
        },
    },
    "meta_vision_odd": {
        "params": {
            **{"dim": 32, "n_layers": 5, "n_heads": 4, "n_kv_heads": 4, "vocab_size": 53},
            **{"multiple_of": 8, "norm_eps": 1e-5, "rope_theta": 10000.0},
            **{"use_scaled_rope": False, "vision_chunk_size": 42},
            **{"vision_max_num_chunks": TILES, "vision_num_cross_attention_layers": 3},
        },
        "tower": {
            **{"width": 24, "heads": 3, "layers": 5, "global_layers": 1, "taps": [0, 3]},
            **{"mlp_ratio": 4.0, "patch": 14},
        },
    },
}
SIZES = ((37, 90), (61, 23), (5, 5))  # width, height of the pictures of the case "pictures"
REMEMBERED = ("ratio_1x1", "ratio_1x3", "ratio_2x2", "two", "batch")  # their K and V are kept
RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))  # rows, columns


@dataclass(frozen=True)
class Case:
    """Rows of a batch. A row is written as B (start), I (image) and t (text)."""

    rows: tuple[str, ...]
    grids: tuple[tuple[tuple[int, int], ...], ...]
    """Rows and columns of tiles of each image of each row."""
    prompt: int = 0
    """Tokens given at once before the rest is decoded one by one; 0 = no decode."""
    pixels: str = "first"
    """Another word draws other pixels for the same ids; "pictures" = Meta's transform of drawn ones."""


def cases() -> dict[str, Case]:
    """What is asked of both models."""
    one = {f"ratio_{r}x{c}": Case(("BIttttttt",), (((r, c),),)) for r, c in RATIOS}
    batch = ("BIttttt", "Btttttttt", "BIttIttttt", "BtttttIttttt")
    return {
        **one,
        "image_first": Case(("Ittttttt",), (((2, 2),),)),
        "two": Case(("BttIttttIttttt",), (((2, 2), (1, 3)),)),
        "three": Case(("BItttIttIttt",), (((1, 1), (2, 1), (1, 2)),)),
        "three_in_a_row": Case(("BtIIItttt",), (((1, 2), (1, 1), (3, 1)),)),
        "two_then_one": Case(("BIIttttItttt",), (((1, 1), (2, 1), (1, 4)),)),
        "text_before": Case(("BttttttIttttt",), (((2, 2),),)),
        "text_before_other": Case(("BttttttIttttt",), (((2, 2),),), pixels="second"),
        "pictures": Case(("BItttItIttt",), (), pixels="pictures"),
        "no_image": Case(("Btttttttttt",), ((),)),
        "batch": Case(batch, (((1, 1),), (), ((4, 1), (1, 2)), ((2, 2),))),
        "decode_one": Case(("BtIttttttttt",), (((2, 1),),), prompt=7),
        "decode_two": Case(("BItttItttttttt",), (((1, 2), (1, 1)),), prompt=8),
        "decode_batch": Case(("BItttttttt", "Bttttttttt"), (((1, 3),), ()), prompt=6),
    }


class SmallVision(meta.CrossAttentionTransformerVision):
    """Meta's vision model with the sizes that its constructor fixes given as arguments."""

    def __init__(self, args: ModelArgs, tower: dict[str, Any]) -> None:
        torch.nn.Module.__init__(self)
        self.vision_input_dim = (1 + len(tower["taps"])) * tower["width"]
        self.image_res, self.patch_size = args.vision_chunk_size, tower["patch"]
        self.max_num_chunks = args.vision_max_num_chunks
        self.vision_encoder = meta.VisionEncoder(
            max_num_tiles=TILES,
            image_size=args.vision_chunk_size,
            patch_size=tower["patch"],
            width=tower["width"],
            layers=tower["layers"],
            heads=tower["heads"],
            mlp_ratio=tower["mlp_ratio"],
            n_global_layers=tower["global_layers"],
            global_model=True,
            return_intermediate=tower["taps"],
        )
        self.vision_projection = ColumnParallelLinear(
            self.vision_input_dim, args.dim, bias=True, init_method=lambda x: x
        )


def build(name: str) -> meta.CrossAttentionTransformer:
    spec = MODELS[name]
    theirs = meta.CrossAttentionTransformerVision
    vars(meta)["CrossAttentionTransformerVision"] = lambda args: SmallVision(args, spec["tower"])
    args = ModelArgs(max_seq_len=16, max_batch_size=4, **spec["params"])
    model = meta.CrossAttentionTransformer(args)
    vars(meta)["CrossAttentionTransformerVision"] = theirs
    drawing.fill(model, name)
    model.setup_cache(4, torch.device("cpu"), torch.float32)
    return model


def ids_of(case: Case, seed: str, vocabulary: int) -> tuple[Tensor, list[int]]:
    """[B, T] token ids, padded with 0 on the right as Meta's `generate` pads, and the rows' lengths.

    The start is 1, an image `vocabulary`: Meta's first row after the table, 128256 in the real model.
    """
    lengths = [len(row) for row in case.rows]
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for b, row in enumerate(case.rows):
        words = drawing.whole(f"{seed} row {b}", 2, vocabulary, len(row))
        known = {"B": 1, "I": vocabulary}
        drawn = [known.get(letter, word) for letter, word in zip(row, words, strict=True)]
        ids[b, : len(row)] = torch.tensor(drawn)
    return ids, lengths


def tiles_of(case: Case, name: str, side: int) -> list[list[tuple[Tensor, tuple[int, int]]]]:
    """Per row and image: tiles [rows * columns, 3, S, S] in row-major order, and (rows, columns)."""
    if case.pixels == "pictures":
        transform = meta.VariableSizeImageTransform(size=side)
        drawn = [drawing.picture(seed, *size) for seed, size in enumerate(SIZES)]
        return [[transform(picture, max_num_chunks=TILES) for picture in drawn]]
    seeds = (f"{name} {case.pixels} {k}" for k in range(99))
    return [
        [(drawing.pixels(next(seeds), r * c, 3, side, side), (r, c)) for r, c in row]
        for row in case.grids
    ]


def flat(values: Tensor, case: Case) -> Tensor:
    """[B, N, 4, ...] of Meta's padded images → [M, ...]: only tiles that exist, end to end."""
    kept = [
        values[b, j, : r * c] for b, row in enumerate(case.grids) for j, (r, c) in enumerate(row)
    ]
    return torch.cat(kept)


def memory(cache: Tensor, case: Case, heads: tuple[int, int]) -> Tensor:
    """Meta's [2, B, heads, N*4*P, D] → [2, kv heads, M, P, D]: repeated heads and padding left out."""
    repeat, images = heads[0] // heads[1], max(len(row) for row in case.grids)
    per_head = cache[:, :, ::repeat].unflatten(3, (images, TILES, -1))
    return torch.stack([flat(half.movedim(1, 3), case) for half in per_head]).movedim(2, 1)


class Asked:
    """One case run through Meta's model, every answer kept by its name."""

    def __init__(self, model: meta.CrossAttentionTransformer, name: str, key: str, case: Case):
        self.model = model
        vocabulary, side = model.text_model.vocab_size, model.image_res
        self.ids, self.lengths = ids_of(case, f"{name} {key.partition('_other')[0]}", vocabulary)
        images = tiles_of(case, f"{name} {key.partition('_other')[0]}", side)
        grids = tuple(tuple(grid for _, grid in row) for row in images)
        self.case = case = replace(case, grids=grids)
        seen = [case.prompt or length for length in self.lengths]
        rows = [row[:length].tolist() for row, length in zip(self.ids, seen, strict=True)]
        self.spans = [create_vision_mask(row, vocabulary) for row in rows]
        model.image_transform = lambda made: made
        self.tensors: dict[str, Tensor] = {"ids": self.ids}
        if any(case.grids):
            flattened = [image for row in images for image in row]
            self.tensors["pixels"] = torch.cat([tiles for tiles, _ in flattened])
            self.tensors["grids"] = torch.tensor([grid for _, grid in flattened])
        self.run(images, tower=key.startswith("ratio"), memories=key in REMEMBERED)

    def run(self, images: list[Any], tower: bool, memories: bool) -> None:
        """Keep logits and projected features, on request the tower's and cross-attention's K and V."""
        model, caught = self.model, {}
        keep = {"vision": model.vision_model.vision_encoder, "projected": model.vision_model}
        hooks = [
            module.register_forward_hook(lambda m, i, out, name=name: caught.update({name: out}))
            for name, module in keep.items()
        ]
        total = self.ids.shape[1]
        made = model.compute_vision_tokens_masks(
            images, copy.deepcopy(self.spans), total, torch.device("cpu")
        )
        for hook in hooks:
            hook.remove()
        if caught:
            wanted = keep if tower else ["projected"]
            self.tensors |= {key: flat(caught[key], self.case) for key in wanted}
            heads = (model.params.n_heads, model.params.n_kv_heads)
            for key, at in (("memory_first", 0), ("memory_last", -1)) if memories else ():
                self.tensors[key] = memory(made[0][at], self.case, heads)
            padded = made[1][:, 0].unflatten(2, (-1, TILES, caught["projected"].shape[3]))
            rows_that_see = made[2][:, 0, :, :, None].bool()
            self.tensors["visible"] = ((padded[..., 0] == 0) & rows_that_see).any(-1).byte()
        whole = self.logits(made, [(0, total)])
        self.tensors["logits"] = whole
        if prompt := self.case.prompt:
            steps = [(0, prompt), *((at, at + 1) for at in range(prompt, total))]
            self.tensors["decoded"] = self.logits(made, steps)[:, prompt:]

    def logits(self, made: tuple[Tensor, Tensor, Tensor], steps: list[tuple[int, int]]) -> Tensor:
        """Logits [B, T, vocab]: places first <= t < last at each step, through the cache."""
        caches, masks, rows = made
        text_only = not any(self.case.grids)
        parts = [
            self.model.forward(torch.arange(*step), self.ids, masks, rows, caches, text_only)
            for step in steps
        ]
        return torch.cat(parts, dim=1)

    def record(self) -> dict[str, Any]:
        told: dict[str, Any] = {"lengths": self.lengths, "grids": self.case.grids}
        told["spans"] = self.spans
        if self.case.prompt:
            told["prompt"] = self.case.prompt
        if self.case.pixels == "pictures":
            told["pictures"] = [[seed, *size] for seed, size in enumerate(SIZES)]
        return told


def make(book: Book) -> None:
    start_parallel()
    make_resized(book)
    for name, spec in MODELS.items():
        model = build(name)
        asked = {key: Asked(model, name, key, case) for key, case in cases().items()}
        tensors = {f"{key}/{k}": v for key, one in asked.items() for k, v in one.tensors.items()}
        tensors["levels"] = level_table()
        tensors["pictures/pixels"] = as_levels(tensors["pictures/pixels"], tensors["levels"])
        tensors |= {f"weights/{key}": value for key, value in model.state_dict().items()}
        record = {
            **spec,
            "fusion_schedule": model.text_model.fusion_schedule,
            "image_id": model.text_model.vocab_size,
            "shard_dims": shard_dims(model),
            "cases": {key: one.record() for key, one in asked.items()},
            "measured": measured(asked),
        }
        packed = {"weights/*": "bf16", "pictures/pixels": "levels", "*/pixels": "64ths"}
        book.put(name, tensors, record, packed)


def make_resized(book: Book) -> None:
    """What Meta's load hooks make of position tables of another tile side or number of tiles."""
    width, tensors = 6, {}
    told: dict[str, Any] = {"grids": {}}
    for old, new in ((2, 3), (3, 2), (4, 5), (2, 2)):
        case = f"{old}_to_{new}"
        local = drawing.bell(f"{case} local", old * old + 1, width) * 0.5
        table = drawing.bell(f"{case} table", 2, 2, old * old + 1, width) * 0.5
        made = resize_local_position_embedding(local, (new, new))
        tensors[f"{case}/local"], tensors[f"{case}/local_made"] = local, made
        tensors[f"{case}/table"] = table
        tensors[f"{case}/table_made"] = resize_global_position_embedding(table, (new, new), 4, 4)
        tensors[f"{case}/table_from_local"] = initialize_global_position_embedding_from_local(
            made, (new, new), 4, 4
        )
        told["grids"][case] = {"patches per side": [old, new], "tiles per side": [2, 4]}
    tiles = drawing.bell("tile table", 2, 2, 1, width) * 0.5
    tensors["tiles/table"] = tiles
    tensors["tiles/table_made"] = meta.TilePositionEmbedding._dynamic_resize(tiles, 4)
    book.put("meta_resized", tensors, told)


def measured(asked: dict[str, Asked]) -> dict[str, float]:
    """What the README tells about Meta's own numbers."""
    before, other = (asked[key].tensors["logits"] for key in ("text_before", "text_before_other"))
    moved = (before - other).abs().amax(dim=(0, 2))
    place = asked["text_before"].spans[0][0][0]
    told = {
        "another image, logits before its place": float(moved[:place].max()),
        "another image, logits from its place on": float(moved[place:].max()),
    }
    for key in ("decode_one", "decode_two", "decode_batch"):
        whole, steps = (asked[key].tensors[k] for k in ("logits", "decoded"))
        apart = (whole[:, -steps.shape[1] :] - steps).abs().max() / whole.abs().max()
        told[f"{key}: decode against full, of the largest logit"] = float(apart)
    return told


if __name__ == "__main__":
    main("make_meta_vision.py", ("llama_models", "fairscale", "pillow"), make)
