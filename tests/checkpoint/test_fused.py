"""Folders of whole vision LLMs: they load, compute the same, and go back tensor for tensor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.families.test_mllama import tiny
from tests.parity.goldens import Golden, golden
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MllamaConfig,
    MllamaForConditionalGeneration,
)

from chiasm.base.errors import UserError
from chiasm.base.vision import Vision
from chiasm.checkpoint.changes import same_bits
from chiasm.checkpoint.families import mllama
from chiasm.checkpoint.folder import load_decoder, save_decoder
from chiasm.checkpoint.fused import load_fused, open_fused, packed_for_transformers, save_fused
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import (
    Crossed,
    CrossedConfig,
    DecoderConfig,
    Prefix,
    PrefixConfig,
    ProjectorConfig,
    ViTConfig,
    compose,
)
from chiasm.models.compat import answer_as
from chiasm.testing import open_gates

FILE = "model.safetensors"
PLACE = 60


def far(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def same(left: Path, right: Path) -> bool:
    """Whether two folders hold the same tensors, bit for bit."""
    one, other = load_file(left / FILE), load_file(right / FILE)
    return one.keys() == other.keys() and all(same_bits(one[n], other[n]) for n in one)


def shake(model: nn.Module) -> nn.Module:
    """Fill every parameter, norms and gates too, so that a mix-up shows."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.3)
    return model.eval()


def mllama_folder(folder: Path, **changes: Any) -> MllamaForConditionalGeneration:
    theirs = shake(MllamaForConditionalGeneration(MllamaConfig.from_dict(tiny(**changes))))
    theirs.save_pretrained(folder)
    return theirs


def llava_config(tied: bool = False, **changes: Any) -> LlavaConfig:
    eyes = CLIPVisionConfig(
        **{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3},
        **{"num_attention_heads": 2, "image_size": 28, "patch_size": 14, "projection_dim": 8},
    )
    text = LlamaConfig(
        **{"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
        tie_word_embeddings=tied,
    )
    changes = {"image_token_index": PLACE, "image_seq_length": 4, **changes}
    return LlavaConfig(vision_config=eyes, text_config=text, tie_word_embeddings=tied, **changes)


def llava_folder(folder: Path, **changes: Any) -> LlavaForConditionalGeneration:
    theirs = shake(LlavaForConditionalGeneration(llava_config(**changes)))
    theirs.tie_weights()
    theirs.save_pretrained(folder)
    return theirs


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / FILE)
    change(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / FILE)


# ---- Mllama ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_a_mllama_goes_back_tensor_for_tensor(tied: bool, tmp_path: Path) -> None:
    """transformers 5 cannot tie a Mllama's head, so equal rows are what tied means here."""
    theirs = mllama_folder(tmp_path / "theirs", text__tie_word_embeddings=tied)
    embed = theirs.model.language_model.embed_tokens.weight
    if tied:
        with torch.no_grad():
            theirs.lm_head.weight.copy_(embed[:61])
        theirs.save_pretrained(tmp_path / "theirs")
    ours, provenance = load_fused(tmp_path / "theirs")
    assert isinstance(ours, Crossed) and ours.config.decoder.tied == tied
    assert ours.config.encoder.tables == "shapes"  # random tables come from no grid
    assert provenance.tensors.keys() == ours.state_dict().keys() and not provenance.left_out
    assert torch.equal(ours.extra.weight, embed[61:])
    save_fused(ours, tmp_path / "ours")
    assert same(tmp_path / "ours", tmp_path / "theirs")
    again, _ = load_fused(tmp_path / "ours")
    assert again.config == ours.config
    assert all(same_bits(again.state_dict()[n], t) for n, t in ours.state_dict().items())
    back = MllamaForConditionalGeneration.from_pretrained(tmp_path / "ours")
    wanted = theirs.state_dict()
    assert back.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in back.state_dict().items())


def test_names_in_memory_are_read_as_well(tmp_path: Path) -> None:
    theirs = mllama_folder(tmp_path / "disk")
    mllama_folder(tmp_path / "memory")
    save_file(theirs.state_dict(), tmp_path / "memory" / FILE)
    (one, _), (other, _) = (load_fused(tmp_path / name) for name in ("disk", "memory"))
    assert all(torch.equal(other.state_dict()[n], t) for n, t in one.state_dict().items())


def by_place(folder: Path) -> Crossed:
    """A model of ours whose tile tables are by place, written for transformers."""
    mllama_folder(folder)
    config = open_fused(folder).config
    eyes = config.encoder.model_copy(update={"tables": "grid"})
    model = shake(Crossed(config.model_copy(update={"encoder": eyes})))
    save_fused(model, folder, replace=True)
    return model


def test_tile_tables_that_come_from_a_grid_are_known_as_one(tmp_path: Path) -> None:
    model = by_place(tmp_path / "a")
    stored = load_file(tmp_path / "a" / FILE)
    rows = stored["vision_model.pre_tile_positional_embedding.embedding.weight"]
    assert rows.shape == (9, 32) and not rows[0].any()
    back, _ = load_fused(tmp_path / "a")
    assert back.config == model.config and back.config.encoder.tables == "grid"
    assert torch.equal(back.encoder.before.weight[0], model.encoder.before.weight[0])
    assert not back.encoder.before.weight[3, 3].any()  # no picture has 4 x 4 tiles
    save_fused(back, tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("at", [(0, 0), (2, 31), (3, 0)], ids=["padding", "unused", "shared"])
def test_a_table_that_differs_anywhere_is_kept_as_it_is(
    at: tuple[int, int], tmp_path: Path
) -> None:
    by_place(tmp_path / "a")
    name = "vision_model.post_tile_positional_embedding.embedding.weight"
    rewrite(tmp_path / "a", lambda t: t[name].__setitem__(at, -0.0 if at != (3, 0) else 7.0))
    back, _ = load_fused(tmp_path / "a")
    assert back.config.encoder.tables == "shapes"
    save_fused(back, tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "b")


# ---- Meta, ours, hub: the goldens -----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["small", "odd"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[tuple[Any, ...]]:
    """The same weights as Meta's module and transformers' conversion hold them."""
    home = tmp_path_factory.mktemp(request.param)
    metas, hubs = golden(f"meta_vision_{request.param}"), golden(f"mllama_{request.param}")
    for name, weights in {"meta": metas.weights, "hub": hubs.weights}.items():
        (home / name).mkdir()
        save_file(weights, home / name / FILE)
    tower = metas.record["tower"]  # what Meta's code takes for granted is otherwise here
    ours = {"layers": tower["taps"], "heads": tower["heads"], "context": 131072}
    (home / "meta" / "params.json").write_text(
        json.dumps({**metas.record["params"], "chiasm": ours})
    )
    (home / "hub" / "config.json").write_text(json.dumps(hubs.record["config"]))
    yield home, metas, hubs


def test_metas_files_and_the_hubs_are_one_model(folders: tuple[Path, Golden, Golden]) -> None:
    home, metas, _ = folders
    one, other = open_fused(home / "meta"), open_fused(home / "hub")
    assert one.config == other.config and isinstance(one.config, CrossedConfig)
    assert tuple(metas.record["fusion_schedule"]) == Crossed(one.config).schedule
    tables = {f"encoder.{name}.weight" for name in mllama.TABLES}
    assert one.tensors.keys() == other.tensors.keys()
    assert all(same_bits(one.tensors[n], other.tensors[n]) for n in one.tensors if n not in tables)
    assert not any(same_bits(one.tensors[n], other.tensors[n]) for n in tables)  # unused places


def test_meta_to_hub_to_meta(folders: tuple[Path, Golden, Golden], tmp_path: Path) -> None:
    home, metas, _ = folders
    save_fused(open_fused(home / "meta"), tmp_path / "hub")
    assert same(tmp_path / "hub", home / "hub")
    save_fused(open_fused(home / "meta"), tmp_path / "same", "meta")
    assert same(tmp_path / "same", home / "meta")
    save_fused(open_fused(tmp_path / "hub"), tmp_path / "meta", "meta")
    assert open_fused(tmp_path / "meta").config == open_fused(home / "meta").config
    back = load_file(tmp_path / "meta" / FILE)
    assert back.keys() == metas.weights.keys()
    for name, wanted in metas.weights.items():
        if "pos_embed.embedding" in name or name.endswith("gated_positional_embedding"):
            wanted = wanted.clone()  # the hub keeps the places that a shape reaches
            wanted[1, 2:], wanted[2:, 1:] = 0, 0
        assert same_bits(back[name], wanted), name


@torch.no_grad()
@pytest.mark.parametrize("layout", ["meta", "hub"])
def test_both_compute_what_metas_code_computes(
    folders: tuple[Path, Golden, Golden], layout: str
) -> None:
    home, metas, _ = folders
    model = load_fused(home / layout)[0].eval()
    worst = 0.0
    for case in metas.parts:
        if case != "no_image" and not case.startswith("ratio_"):
            continue
        asked = metas.part(case)
        vision = None
        if "pixels" in asked:
            sees = asked["visible"][..., 0].long()
            spans = torch.stack((torch.zeros_like(sees), sees), dim=-1)
            vision = Vision(spans, pixels=asked["pixels"], grids=asked["grids"])
        worst = max(worst, far(model.head(model(asked["ids"], vision=vision)), asked["logits"]))
    assert 0 < worst <= 1e-5  # measured: 1.0e-6


@torch.no_grad()
def test_compat_hf_reads_what_transformers_reads(
    folders: tuple[Path, Golden, Golden], tmp_path: Path
) -> None:
    home, metas, hubs = folders
    model = load_fused(home / "hub")[0].eval()
    answer_as(model, "hf")
    taps, width = model.taps, model.config.encoder.width
    for case in (case for case in hubs.parts if case.startswith("ratio_")):
        asked, wanted = metas.part(case), hubs.part(case)["vision"]
        read = model.encoder(asked["pixels"], taps, asked["grids"])
        final, stacked = wanted.split((width, wanted.shape[-1] - width), dim=-1)
        layers = [final, *stacked.unflatten(-1, (width, -1)).unbind(-1)]
        for tap, layer in zip(taps, layers, strict=True):
            assert far(read[tap], layer) <= 1e-5, tap  # measured: 9.5e-7
    save_fused(model, tmp_path / "out")
    assert same(tmp_path / "out", home / "hub")


@torch.no_grad()
@pytest.mark.parametrize("name", ["4to1", "4to2", "4to4", "long"])
def test_metas_language_models_open_as_decoders(name: str, tmp_path: Path) -> None:
    asked = golden(f"meta_text_{name}")
    (tmp_path / "a").mkdir()
    save_file(asked.weights, tmp_path / "a" / FILE)
    (tmp_path / "a" / "params.json").write_text(json.dumps(asked.record["params"]))
    model, _ = load_decoder(tmp_path / "a")
    found = model.head(model(asked.part("text")["ids"]))
    assert far(found, asked.part("text")["logits"]) <= 1e-5  # measured: 1.7e-6
    save_fused(model, tmp_path / "b", "meta")
    assert same(tmp_path / "a", tmp_path / "b")
    save_decoder(model, tmp_path / "hub")
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "hub").eval()
    logits = theirs(input_ids=asked.part("text")["ids"]).logits
    assert far(logits, asked.part("text")["logits"]) <= 1e-5  # transformers agrees with Meta, too
    with pytest.raises(CheckpointError, match="without eyes"):
        load_fused(tmp_path / "a")
    with pytest.raises(UserError, match="LlamaForCausalLM"):
        save_fused(model, tmp_path / "c")


# ---- LLaVA -------------------------------------------------------------------------------------------

LAYERS: dict[str, dict[str, Any]] = {
    "-2": {},
    "-1": {"vision_feature_layer": -1},
    "from below": {"vision_feature_layer": 1},
    "two": {"vision_feature_layer": [-2, 1]},
    "all vectors": {"vision_feature_select_strategy": "full", "image_seq_length": 5},
}


def shown(counts: list[int], each: int) -> tuple[Tensor, Vision, Tensor]:
    """Tokens [1, T] with pictures of `each` places after these counts of words, and the pictures."""
    words = torch.arange(3, 40)
    row, spans = [], []
    for picture, count in enumerate(counts):
        row += [*words[len(row) : len(row) + count].tolist(), *[PLACE] * each]
        spans += [(0, picture)] * count + [(0, picture + 1)] * each
    row.append(5)
    spans.append((0, len(counts)))
    pixels = torch.randn(len(counts), 3, 28, 28, generator=torch.Generator().manual_seed(2))
    return torch.tensor([row]), Vision(torch.tensor([spans]), pixels=pixels), pixels


@torch.no_grad()
@pytest.mark.parametrize("pictures", [[2], [0, 3]], ids=["one picture", "two pictures"])
@pytest.mark.parametrize("layers", LAYERS)
def test_a_llava_computes_what_transformers_computes(
    layers: str, pictures: list[int], tmp_path: Path
) -> None:
    theirs = llava_folder(tmp_path, **LAYERS[layers])
    ours = load_fused(tmp_path)[0].eval()
    assert isinstance(ours, Prefix)
    tokens, vision, pixels = shown(pictures, ours.config.places())
    wanted = theirs(input_ids=tokens, pixel_values=pixels).logits
    assert wanted.std() > 0.1
    assert far(ours.head(ours(tokens, vision=vision)), wanted) <= 1e-5  # measured: 4.2e-7


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_llava_goes_back_tensor_for_tensor(tied: bool, layers: str, tmp_path: Path) -> None:
    theirs = llava_folder(tmp_path / "theirs", tied=tied, **LAYERS[layers])
    ours, provenance = load_fused(tmp_path / "theirs")
    assert ours.config.decoder.tied == tied and len(ours.extra.weight) == 0
    assert provenance.tensors.keys() == ours.state_dict().keys()
    assert "encoder.post_norm.weight" in provenance.tensors  # no tap uses it, and it is kept
    save_fused(ours, tmp_path / "ours")
    hub = load_file(tmp_path / "ours" / FILE)
    assert "vision_tower.vision_model.embeddings.class_embedding" in hub
    assert ("language_model.lm_head.weight" in hub) != tied
    again, _ = load_fused(tmp_path / "ours")
    assert again.config == ours.config
    assert all(same_bits(again.state_dict()[n], t) for n, t in ours.state_dict().items())
    save_fused(again, tmp_path / "again")
    assert same(tmp_path / "ours", tmp_path / "again")
    back = LlavaForConditionalGeneration.from_pretrained(tmp_path / "ours")
    wanted = theirs.state_dict()
    assert back.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in back.state_dict().items())


def prefix(tied: bool) -> Prefix:
    config = PrefixConfig(
        decoder=DecoderConfig(
            **{"vocab": 56, "width": 16, "depth": 2, "heads": 4, "kv_heads": 2, "head_width": 8},
            **{"hidden": 24, "context": 64, "tied": tied},
        ),
        encoder=ViTConfig(image_size=28, patch=14, width=8, depth=3, heads=2, hidden=12),
        projector=ProjectorConfig(taps=("block.2",), kind="mlp", norm=False, cls=False),
        extra_tokens=5,
    )
    return shake(Prefix(config))


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_our_own_prefix_model_becomes_a_llava(tied: bool, tmp_path: Path) -> None:
    """Tokens behind the vocabulary become part of it; nobody predicts them, so their logits are 0."""
    ours = prefix(tied)
    save_fused(ours, tmp_path / "x")
    theirs = LlavaForConditionalGeneration.from_pretrained(tmp_path / "x").eval()
    tokens, vision, pixels = shown([2, 1], 4)
    tokens[tokens == PLACE] = ours.config.image_token
    assert theirs.config.image_token_index == ours.config.image_token == 56
    logits = theirs(input_ids=tokens, pixel_values=pixels).logits
    found = ours.head(ours(tokens, vision=vision))
    assert far(found, logits[..., :56]) <= 1e-5  # measured: 3.2e-7
    assert not logits[..., 56:].any()
    back, _ = load_fused(tmp_path / "x")
    assert far(back.head(back(tokens, vision=vision)), logits) <= 1e-5


def test_our_tied_crossed_model_becomes_a_mllama(tmp_path: Path) -> None:
    mllama_folder(tmp_path / "a")
    config = open_fused(tmp_path / "a").config
    decoder = config.decoder.model_copy(update={"tied": True})
    ours = open_gates(shake(Crossed(config.model_copy(update={"decoder": decoder}))), 1)
    save_fused(ours, tmp_path / "b")
    theirs = MllamaForConditionalGeneration.from_pretrained(tmp_path / "b").eval()
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert far(ours.head(ours(tokens)), theirs(input_ids=tokens).logits) <= 1e-5  # 3.6e-7
    back, _ = load_fused(tmp_path / "b")
    assert back.config == ours.config
    rewrite(tmp_path / "b", lambda t: t["language_model.lm_head.weight"].add_(1))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight.*differs"):
        load_fused(tmp_path / "b")


# ---- what is wrong is named -----------------------------------------------------------------------------

LAYER = "language_model.model.layers"
FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "missing": (lambda t: t.pop(f"{LAYER}.1.input_layernorm.weight"), "is missing"),
    "extra": (lambda t: t.update({f"{LAYER}.0.what": torch.zeros(1)}), rf'"{LAYER}\.0\.what"'),
    "another shape": (
        lambda t: t.update({f"{LAYER}.0.mlp.up_proj.weight": torch.zeros(3, 16)}),
        rf'{LAYER}\.0\.mlp\.up_proj\.weight" has shape \[3, 16\]',
    ),
    "embeddings of another size": (
        lambda t: t.update({f"{LAYER[:-6]}embed_tokens.weight": torch.zeros(9, 16)}),
        r'embed_tokens\.weight" has shape',
    ),
}
MLLAMA_FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "a cross where a block belongs": (
        lambda t: t.update(
            {f"{LAYER}.2.cross_attn.q_proj.weight": t.pop(f"{LAYER}.2.self_attn.q_proj.weight")}
        ),
        rf'"{LAYER}\.2\.cross_attn\.q_proj\.weight", unknown',
    ),
    "taps": (
        lambda t: t.update({"multi_modal_projector.weight": torch.zeros(16, 23)}),
        r'"multi_modal_projector\.weight" has shape \[16, 23\]',
    ),
    "tile table": (
        lambda t: t.update(
            {"vision_model.pre_tile_positional_embedding.embedding.weight": torch.zeros(9, 31)}
        ),
        r'pre_tile_positional_embedding\.embedding\.weight" has shape \[9, 31\]',
    ),
    "tile table's rows": (
        lambda t: t.update(
            {"vision_model.pre_tile_positional_embedding.embedding.weight": torch.zeros(8, 32)}
        ),
        r'pre_tile_positional_embedding\.embedding\.weight" has shape',
    ),
    "no tile table": (
        lambda t: t.pop("vision_model.pre_tile_positional_embedding.embedding.weight"),
        r'"encoder\.before\.weight" is missing',
    ),
}


@pytest.mark.parametrize("fault", [*FAULTS, *MLLAMA_FAULTS])
def test_what_is_wrong_with_a_mllama_is_named(fault: str, tmp_path: Path) -> None:
    mllama_folder(tmp_path)
    change, words = (FAULTS | MLLAMA_FAULTS)[fault]
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_fused(tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_llava_is_named(fault: str, tmp_path: Path) -> None:
    llava_folder(tmp_path)
    change, words = FAULTS[fault]
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_fused(tmp_path)


def test_another_family_is_refused(tmp_path: Path) -> None:
    llava_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["model_type"] = "mistral"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"mistral.*cannot compute"):
        load_fused(tmp_path)
    config["model_type"] = "llava_next"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"llava_next.*cannot compute"):
        load_fused(tmp_path)


def test_an_opened_model_is_written_one_tensor_at_a_time(tmp_path: Path) -> None:
    """What exporting holds in memory is a tensor, not a model: each is read when its turn comes."""
    mllama_folder(tmp_path)
    opened = open_fused(tmp_path)
    read: list[str] = []

    class Watched(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            read.append(name)
            return opened.tensors[name]

    watched = Watched.fromkeys(opened.tensors)
    record, packed = packed_for_transformers(opened.config, watched, {})
    read.clear()
    assert packed["language_model.model.embed_tokens.weight"].shape == (69, 16)
    assert read == ["decoder.embed.weight", "extra.weight"]
    assert record["model_type"] == "mllama"


def test_nothing_is_written_for_a_model_that_does_not_fit(tmp_path: Path) -> None:
    ours = prefix(tied=True)
    normed = ours.config.projector.model_copy(update={"norm": True})
    other = compose(ours.config.model_copy(update={"projector": normed}))
    with pytest.raises(UserError, match="its projector is not"):
        save_fused(other, tmp_path / "x")
    with pytest.raises(UserError, match="Meta's layout holds"):
        save_fused(ours, tmp_path / "x", "meta")
    assert not (tmp_path / "x").exists()
