"""Meta's names and settings: against its own modules (the goldens), and at the released sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.checkpoint.families.test_mllama import ROPE, count, read
from tests.parity.goldens import golden
from transformers import MllamaConfig

from chiasm.base.errors import UserError
from chiasm.checkpoint.families import meta, mllama
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import Crossed, Decoder, DecoderConfig, compose

LLAMA3 = {"n_kv_heads": 8, "norm_eps": 1e-5, "rope_theta": 500000.0, "vocab_size": 128256}
TEXT: dict[str, tuple[dict[str, Any], int]] = {
    # llama-models, sku_list.py; parameters, a head that is the embedding table counted once
    "llama-3-8b": (
        {"dim": 4096, "n_layers": 32, "n_heads": 32, "multiple_of": 1024}
        | {"ffn_dim_multiplier": 1.3, "use_scaled_rope": False},
        8_030_261_248,
    ),
    "llama-3.1-70b": (
        {"dim": 8192, "n_layers": 80, "n_heads": 64, "multiple_of": 4096}
        | {"ffn_dim_multiplier": 1.3, "use_scaled_rope": True},
        70_553_706_496,
    ),
    "llama-3.1-405b": (
        {"dim": 16384, "n_layers": 126, "n_heads": 128, "multiple_of": 4096}
        | {"ffn_dim_multiplier": 1.2, "use_scaled_rope": True},
        405_853_388_800,
    ),
    "llama-3.2-1b": (
        {"dim": 2048, "n_layers": 16, "n_heads": 32, "multiple_of": 256}
        | {"ffn_dim_multiplier": 1.5, "use_scaled_rope": True},
        1_235_814_400,
    ),
    "llama-3.2-3b": (
        {"dim": 3072, "n_layers": 28, "n_heads": 24, "multiple_of": 256}
        | {"ffn_dim_multiplier": 1.0, "use_scaled_rope": True},
        3_212_749_824,
    ),
}
GOLDENS = [f"meta_text_{name}" for name in ("4to1", "4to2", "4to4", "long")]
GOLDENS += ["meta_vision_small", "meta_vision_odd"]


def text_shapes(params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    size = (params["vocab_size"], params["dim"])
    return {"tok_embeddings.weight": size, "output.weight": size}


@pytest.mark.parametrize("name", TEXT)
def test_language_models_of_the_released_sizes(name: str) -> None:
    params, parameters = TEXT[name]
    params = {**params, **LLAMA3}
    config = meta.read_params(params, text_shapes(params), "params.json")
    assert isinstance(config, DecoderConfig)
    with torch.device("meta"):
        assert count(Decoder(config)) == parameters
    small = name.startswith("llama-3.2")
    assert config.tied == small
    assert config.context == (131072 if params["use_scaled_rope"] else 8192)
    if params["use_scaled_rope"]:
        assert config.rope_scaling is not None
        assert config.rope_scaling.factor == (32 if small else 8)
        assert config.rope_scaling.original == 8192
    written = meta.write_params(config)
    assert "chiasm" not in written  # Meta's own words are enough
    assert meta.read_params(written, text_shapes(params), "x") == config


@pytest.mark.parametrize("layers", [32, 80], ids=["11B", "90B"])
def test_vision_models_of_the_released_sizes(layers: int) -> None:
    """Settings from Meta's files and from the hub's are the same, and so is every name."""
    text: dict[str, Any] = {"rope_parameters": {**ROPE, "rope_theta": 5e5}}
    if layers == 80:
        text |= {"hidden_size": 8192, "num_hidden_layers": 100, "num_attention_heads": 64}
        text |= {"intermediate_size": 28672, "cross_attention_layers": list(range(3, 100, 5))}
    hub = MllamaConfig(text_config=text, vision_config={"image_size": 560}).to_dict()
    config = mllama.read_config(hub, "config.json")
    eyes = config.encoder.model_copy(update={"tables": "grid"})
    config = config.model_copy(update={"encoder": eyes})
    params = meta.write_params(config)
    assert params == {
        **{"dim": config.decoder.width, "n_layers": layers, "n_heads": config.decoder.heads},
        **{"multiple_of": 1024 if layers == 32 else 4096, "ffn_dim_multiplier": 1.3, **LLAMA3},
        **{"use_scaled_rope": True, "vision_chunk_size": 560, "vision_max_num_chunks": 4},
        "vision_num_cross_attention_layers": config.crosses,
    }
    with torch.device("meta"):
        model = compose(config)
    packed = meta.table(config).pack(model.state_dict())
    shapes = {name: packed.spec(name).shape for name in packed}
    assert shapes["vision_model.vision_encoder.conv1._linear.weight"] == (1280, 588)
    assert shapes["vision_model.vision_encoder.gated_positional_embedding"] == (4, 4, 1601, 1280)
    assert len(shapes) == (907 if layers == 32 else 1495)
    assert meta.read_params(params, shapes, "params.json") == config
    cut = {name: dim for name in shapes if (dim := meta.merge_dim(name)) is not None}
    assert all(shapes[name][dim] % 8 == 0 for name, dim in cut.items())


@pytest.mark.parametrize("name", GOLDENS)
def test_names_are_those_of_metas_modules(name: str) -> None:
    asked = golden(name)
    shapes = {key: tuple(value.shape) for key, value in asked.weights.items()}
    ours = {}
    if "tower" in asked.record:
        tower = asked.record["tower"]
        ours = {"chiasm": {"layers": tower["taps"], "heads": tower["heads"]}}
    config = meta.read_params({**asked.record["params"], **ours}, shapes, "params.json")
    with torch.device("meta"):
        model = Decoder(config) if isinstance(config, DecoderConfig) else Crossed(config)
    packed = meta.table(config).pack(model.state_dict())
    assert {key: packed.spec(key).shape for key in packed} == shapes
    with_speeds = [*shapes, f"{'text_model.' if 'tower' in asked.record else ''}rope.freqs"]
    found = meta.table(config).match(with_speeds, "consolidated.pth")
    assert found.places.keys() == model.state_dict().keys() and len(found.left_out) == 1
    dims = {key: dim for key in shapes if (dim := meta.merge_dim(key)) is not None}
    assert dims == asked.record["shard_dims"]  # as fairscale's layers say


def test_what_params_leave_out_is_said_in_an_entry_of_ours() -> None:
    eyes = read().encoder.model_copy(update={"tables": "grid"})
    config = read(text__rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    decoder = config.decoder.model_copy(update={"tied": True})
    config = config.model_copy(update={"encoder": eyes, "decoder": decoder})
    params = meta.write_params(config)
    assert params["chiasm"] == {"tied": True, "context": 64, "layers": [1, 3], "heads": 2}
    packed = meta.table(config).pack(Crossed(config).state_dict())
    shapes = {name: packed.spec(name).shape for name in packed}
    assert "text_model.output.weight" in shapes  # Meta's code has no tied head
    assert meta.read_params(params, shapes, "params.json") == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_heads": 3}, "n_heads must divide"),
        ({"dim": None}, 'no "dim"'),
        ({"vocab_size": 62}, "vocab_size"),
        ({"quantization_args": {"group_size": 32}}, "quantization_args"),
        ({"vision_max_num_chunks": 3}, "vision_max_num_chunks"),
        ({"vision_num_cross_attention_layers": 4}, "crosses"),
        ({"chiasm": {"layers": [1], "heads": 2}}, "does not fit the layers"),
        ({"chiasm": {"layers": [1, 9], "heads": 2}}, "no layers"),
        ({"chiasm": {"layers": "1", "heads": 2}}, "not a list"),
    ],
    ids=str,
)
def test_what_we_cannot_compute_is_refused(changes: dict[str, Any], words: str) -> None:
    eyes = read().encoder.model_copy(update={"tables": "grid"})
    config = read().model_copy(update={"encoder": eyes})
    packed = meta.table(config).pack(Crossed(config).state_dict())
    shapes = {name: packed.spec(name).shape for name in packed}
    params = {**meta.write_params(config), **changes}
    with pytest.raises(UserError, match=words) as caught:
        meta.read_params(params, shapes, "params.json")
    assert "params.json" in str(caught.value)


def test_a_tensor_that_settings_need_is_named() -> None:
    params = {**TEXT["llama-3-8b"][0], **LLAMA3}
    with pytest.raises(CheckpointError, match=r'"tok_embeddings\.weight".*is missing'):
        meta.read_params(params, {}, "params.json")
    with pytest.raises(CheckpointError, match=r'"text_model\.tok_embeddings\.weight"'):
        meta.read_params({**params, "vision_chunk_size": 448}, {}, "params.json")


def test_tables_by_shape_and_other_scalings_do_not_fit() -> None:
    with pytest.raises(UserError, match="tile tables differ"):
        meta.write_params(read())
    other = read(text__rope_parameters={**ROPE, "rope_theta": 5e5, "low_freq_factor": 2.0})
    with pytest.raises(UserError, match="rope_scaling"):
        meta.write_params(other.decoder)


@pytest.mark.parametrize("hidden", [7, 100, 1536, 14336, 100_000])
def test_any_hidden_width_can_be_said(hidden: int) -> None:
    decoder = read().decoder.model_copy(update={"hidden": hidden, "width": 576, "heads": 9})
    decoder = decoder.model_copy(update={"head_width": 64, "kv_heads": 3})
    params = meta.write_params(decoder)
    back = meta.read_params(params, text_shapes(params), "x")
    assert back == decoder
