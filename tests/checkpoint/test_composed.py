"""Our own folders: parts inside or by reference, both exactly what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.checkpoint.toys import decoder, decoder_config, equal, vit

from chiasm.base.errors import UserError
from chiasm.base.layers import INT8, LowBit, LowRank
from chiasm.checkpoint.card import read_facts
from chiasm.checkpoint.composed import load_model, save_model
from chiasm.checkpoint.folder import load_decoder, load_vit, save_decoder, save_vit
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models import CrossedConfig, PrefixConfig, compose
from chiasm.nn import add_lora, lora_state, merge_lora, quantise
from chiasm.testing import open_gates

FILES = {"tokenizer.json": b"{}", "chat_template.jinja": b"{{ messages }}"}


@pytest.fixture(params=["crossed", "prefix"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A model of parts that lie in tmp_path/words and tmp_path/eyes, the words in fp16."""
    save_decoder(decoder().half(), tmp_path / "words")
    save_vit(vit(), tmp_path / "eyes")
    words, eyes = load_decoder(tmp_path / "words")[0], load_vit(tmp_path / "eyes")[0]
    if request.param == "crossed":
        return compose(
            CrossedConfig(decoder=words.config, encoder=eyes.config, crosses=2), words, eyes
        )
    return compose(PrefixConfig(decoder=words.config, encoder=eyes.config), words, eyes)


def both(tmp_path: Path) -> dict[str, str]:
    return {"decoder": str(tmp_path / "words"), "encoder": str(tmp_path / "eyes")}


def test_all_inside(model: Any, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m", config={"recipe": "toy"}, files=FILES, parts={})
    loaded = load_model(tmp_path / "m")
    assert type(loaded.model) is type(model) and loaded.model.config == model.config
    assert equal(loaded.model.state_dict(), model.state_dict())
    assert loaded.config["recipe"] == "toy"
    assert loaded.config["model_type"] == f"chiasm_{model.config.kind}"
    assert loaded.provenance.tensors.keys() == model.state_dict().keys()
    assert (tmp_path / "m" / "chat_template.jinja").read_bytes() == FILES["chat_template.jinja"]
    assert read_facts(tmp_path / "m")["model_type"] == f"chiasm_{model.config.kind}"


def test_parts_by_reference_are_not_carried_and_come_back(model: Any, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    carried = load_file(tmp_path / "m" / "model.safetensors")
    assert {name.partition(".")[0] for name in carried} & {"decoder", "encoder"} == set()
    loaded = load_model(tmp_path / "m")
    assert equal(loaded.model.state_dict(), model.state_dict())
    origin = loaded.provenance.tensors["decoder.norm.weight"]
    assert "words" in origin and origin.endswith("model.safetensors:model.norm.weight")


@pytest.mark.parametrize("kind", [CrossedConfig, PrefixConfig])
def test_eyes_without_cls_are_a_part_like_any_other(kind: Any, tmp_path: Path) -> None:
    siglip = open_gates(vit(cls=False, pre_norm=False, patch_bias=True, activation="gelu_tanh"))
    save_vit(siglip, tmp_path / "eyes")
    sizes = {"crosses": 2} if kind is CrossedConfig else {}
    config = kind(decoder=decoder_config(), encoder=siglip.config, **sizes)
    model = compose(config, decoder(), siglip)
    part = {"encoder": str(tmp_path / "eyes")}
    save_model(model, tmp_path / "m", config={}, files={}, parts=part)
    loaded = load_model(tmp_path / "m")
    assert loaded.model.config == config
    assert equal(loaded.model.state_dict(), model.state_dict())


def test_one_part_by_reference_and_another_type(model: Any, tmp_path: Path) -> None:
    part = {"encoder": str(tmp_path / "eyes")}
    save_model(model, tmp_path / "m", config={}, files={}, parts=part, dtype=torch.bfloat16)
    loaded = load_model(tmp_path / "m", torch.bfloat16)
    expected = {name: value.bfloat16() for name, value in model.state_dict().items()}
    assert equal(loaded.model.state_dict(), expected)


def test_a_part_in_lower_precision_is_still_its_source(model: Any, tmp_path: Path) -> None:
    save_model(model.bfloat16(), tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    assert equal(load_model(tmp_path / "m", torch.bfloat16).model.state_dict(), model.state_dict())


def test_a_part_that_was_trained_cannot_be_a_reference(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        model.encoder.cls[3] += 1e-6
    with pytest.raises(UserError, match=r"The encoder is not the one of .*eyes any more"):
        save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    assert not (tmp_path / "m").exists()


def test_another_part_in_the_same_place_is_refused(model: Any, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    (tmp_path / "eyes").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="neither a folder nor a built-in part"):
        load_model(tmp_path / "m")
    found = load_model(tmp_path / "m", parts={"encoder": str(tmp_path / "moved")})
    assert equal(found.model.state_dict(), model.state_dict())
    save_vit(vit(), tmp_path / "eyes")
    with pytest.raises(CheckpointError, match=r"encoder in .*eyes is not the one"):
        load_model(tmp_path / "m")


def change(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**record, **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "did not write"),
        ({"format": 3}, "later Chiasm"),
        ({"format": None}, '"format"'),
        ({"model": None}, 'no "model"'),
        ({"model": {"kind": "crossed"}}, "missing"),
        ({"parts": {"nose": {"source": "x", "sha256": "y"}}}, "no part"),
        ({"parts": {"decoder": "words"}}, "not a record"),
        ({"parts": {"decoder": {"source": "words"}}}, "sha256"),
    ],
)
def test_a_damaged_config_is_told(
    changes: dict[str, Any], words: str, model: Any, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "m", config={}, files={}, parts={})
    change(tmp_path / "m", **changes)
    with pytest.raises(UserError, match=words):
        load_model(tmp_path / "m")


def test_a_tensor_too_few_or_too_many_is_told(model: Any, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    references = json.loads((tmp_path / "m" / "config.json").read_text())["parts"]
    change(tmp_path / "m", parts={"decoder": references["decoder"]})
    with pytest.raises(CheckpointError, match=r'"encoder\..*" is missing'):
        load_model(tmp_path / "m")
    save_model(model, tmp_path / "n", config={}, files={}, parts={})
    change(tmp_path / "n", parts=references)
    with pytest.raises(CheckpointError, match="refers to it elsewhere"):
        load_model(tmp_path / "n")


# ---- adapters and integers ---------------------------------------------------------------------

WORDS = (("decoder.blocks.*.attn.[qv]", LowRank(rank=2)),)
QUARTER = LowBit(bits=4, group=4)


@torch.no_grad()
def taught(model: Any) -> Any:
    add_lora(model, WORDS)
    for value in lora_state(model).values():
        value.copy_(0.1 * torch.randn(value.shape))
    return model


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_adapters_are_carried_whole_beside_a_part_by_reference(
    model: Any, dtype: torch.dtype | None, tmp_path: Path
) -> None:
    taught(model)
    save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path), dtype=dtype)
    carried = load_file(tmp_path / "m" / "model.safetensors")
    assert {n for n in carried if n.startswith(("decoder", "encoder"))} == set(lora_state(model))
    apart = load_model(tmp_path / "m", merge=False).model
    assert equal(lora_state(apart), lora_state(model))
    assert equal(apart.decoder.state_dict(), model.decoder.state_dict())
    assert "merge=False" in (tmp_path / "m" / "README.md").read_text()
    half = load_model(tmp_path / "m", torch.bfloat16, merge=False).model
    assert equal(lora_state(half), lora_state(model))  # adapters stay in fp32


def test_adapters_are_merged_when_a_model_is_loaded_to_speak(model: Any, tmp_path: Path) -> None:
    taught(model)
    save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))
    loaded = load_model(tmp_path / "m").model
    merge_lora(model.float())
    assert equal(loaded.state_dict(), model.state_dict())
    assert json.loads((tmp_path / "m" / "config.json").read_text())["format"] == 2


def test_a_model_without_changes_is_readable_by_the_first_chiasm(
    model: Any, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "m", config={}, files={}, parts={})
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert record["format"] == 1 and "changes" not in record


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_integers_come_back_bit_for_bit(model: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    quantise(model, (("decoder.*", QUARTER), ("*", INT8)))
    save_model(model, tmp_path / "m", config={}, files={}, parts={})
    again = load_model(tmp_path / "m", dtype).model
    held = {n: v.to(dtype) for n, v in model.named_parameters()}
    assert equal(again.state_dict(), {n: held.get(n, v) for n, v in model.state_dict().items()})
    kinds = {value.dtype for value in load_file(tmp_path / "m" / "model.safetensors").values()}
    assert {torch.int8, torch.uint8, torch.bfloat16} <= kinds
    save_model(again, tmp_path / "n", config={}, files={}, parts={})
    assert equal(load_model(tmp_path / "n", dtype).model.state_dict(), again.state_dict())


def test_a_quantised_part_cannot_be_a_reference(model: Any, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    quantise(model, (("encoder.*", INT8),))
    with pytest.raises(UserError, match="The encoder is not the one of"):
        save_model(model, tmp_path / "m", config={}, files={}, parts=both(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora": [["decoder.layers.*", {"rank": 2}]]}, "matches no linear layer"),
        ({"lora": [["decoder.blocks.*.attn.q", {"rank": 3}]]}, "lora_a"),
        ({"lora": [["decoder.blocks.*.attn.q", {"rank": 0}]]}, "rank"),
        ({"quantised": [["decoder.blocks.0.attn.q", {"bits": 8}]]}, "decoder.blocks.0.attn.q"),
        ({"quantised": [["*", {"bits": 3}]]}, "bits"),
        ({"pruned": []}, "pruned"),
        ("all of them", "not a record"),
    ],
)
def test_damaged_changes_are_told(changes: Any, words: str, model: Any, tmp_path: Path) -> None:
    save_model(taught(model), tmp_path / "m", config={}, files={}, parts={})
    change(tmp_path / "m", changes=changes)
    with pytest.raises(UserError, match=words):
        load_model(tmp_path / "m")
