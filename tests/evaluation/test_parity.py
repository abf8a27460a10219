"""The first tensor that differs is named: a weight, a layer, a shape, a mode."""

from __future__ import annotations

import copy

import torch
from tests.models.scenes import model_of

from chiasm.base.vision import Vision
from chiasm.evaluation.parity import Difference, outputs_apart, weights_apart
from chiasm.models import Crossed
from chiasm.testing import open_gates, toy_crossed, toy_crossed_config


def inputs(model: Crossed) -> dict[str, object]:
    tokens = torch.tensor([[1, 2, model.config.image_token, 3, 4]])
    spans = torch.tensor([[[0, 0], [0, 0], [0, 1], [0, 1], [0, 1]]])
    source = torch.Generator().manual_seed(0)
    side = model.config.encoder.image_size
    kind = model.decoder.embed.weight.dtype
    pixels = torch.randn(2, 3, side, side, generator=source, dtype=kind)
    return {"tokens": tokens, "vision": Vision(spans, pixels, torch.tensor([[1, 2]]))}


def first(found: object) -> Difference | None:
    return next((each for each in found if each.apart > 0), None)


def test_a_model_equals_itself_in_every_tensor() -> None:
    model = model_of("crossed tiles", 0)
    other = copy.deepcopy(model)
    weights = list(weights_apart(model, other))
    layers = list(outputs_apart(model, other, inputs(model)))
    assert first(weights) is None and first(layers) is None
    assert len(weights) == len(model.state_dict())
    named = {each.name.partition("#")[0] for each in layers}
    assert {"encoder.blocks.1", "projector", "crosses.3.attn", "decoder.blocks.0.attn.q"} <= named
    assert layers[-1].name == "logits" and layers[-2].name == "features"


def test_a_changed_weight_is_the_first_difference_and_its_layer_the_next() -> None:
    model = model_of("crossed tiles", 0)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.crosses[2].mlp.down.weight[0, 0] += 1e-3
    weight = first(weights_apart(model, other))
    assert weight is not None and weight.name == "crosses.2.mlp.down.weight"
    layer = first(outputs_apart(model, other, inputs(model)))
    assert layer is not None and layer.name == "crosses.2.mlp.down" and layer.apart < 1e-2


def test_two_modes_of_one_model_differ_where_features_are_read() -> None:
    """compat="hf" reads a layer too late: the eyes' blocks agree, what they hand over does not."""
    model = model_of("crossed tiles", 0)
    config = model.config.model_copy(update={"compat": "hf"})
    other = Crossed(config).double().eval()
    other.load_state_dict(model.state_dict())
    assert first(weights_apart(model, other)) is None
    layer = first(outputs_apart(model, other, inputs(model)))
    # its eyes' blocks agree; then it hands padding tiles over, too, for text that sees no picture
    assert layer == Difference("output", "encoder", float("inf"), "[2, 5, 8] against [4, 5, 8]")
    hidden = inputs(model) | {"tokens": torch.tensor([[1, 2]]), "vision": None}
    assert first(outputs_apart(model, other, hidden)) is None  # without pictures, no mode matters


def test_models_of_different_shape_are_told_apart_by_name_and_shape() -> None:
    small = toy_crossed()
    large = open_gates(Crossed(toy_crossed_config(crosses=4)))
    found = {each.name: each for each in weights_apart(small, large) if each.apart}
    assert "the left model has none" in found["crosses.3.attn_gate"].detail
    wide = open_gates(Crossed(toy_crossed_config(extra_tokens=5)))
    found = {each.name: each for each in weights_apart(small, wide) if each.apart}
    assert found["extra.weight"].detail == "[3, 20] against [5, 20]"
