"""Peer bug 37: tied tensors lost when a model is saved.

transformers#38870 and #41038, accelerate#2875, safetensors#265, gemma#8: tensors that share memory were
written once under one of their names, and the other name came back missing or random.
Our way: every name that goes in comes out, and tied parameters stay tied.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.checkpoint.toys import decoder, equal
from torch import nn

from chiasm.checkpoint.folder import load_decoder, save_decoder
from chiasm.checkpoint.shards import write_tensors
from chiasm.checkpoint.weights import load_strict, read_tensors


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.between = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tied_parameters_come_back_equal_and_tied(device: str, tmp_path: Path) -> None:
    model = Tied()
    write_tensors(tmp_path / "m.safetensors", model.state_dict())
    stored = read_tensors(tmp_path / "m.safetensors")
    assert equal(dict(stored), model.state_dict())
    with torch.device(device):
        again = Tied()
    load_strict(again, stored)
    assert equal(again.state_dict(), model.state_dict())
    assert again.head.weight is again.embed.weight


def test_views_of_one_memory_come_back_each(tmp_path: Path) -> None:
    memory = torch.randn(4, 6)
    views = {"all": memory, "part": memory[1:3], "turned": memory.t(), "again": memory}
    write_tensors(tmp_path / "m.safetensors", views)
    assert equal(dict(read_tensors(tmp_path / "m.safetensors")), views)


@pytest.mark.parametrize("tied", [True, False])
def test_a_decoders_head_survives_the_round_trip(tied: bool, tmp_path: Path) -> None:
    model = decoder(tied=tied)
    save_decoder(model, tmp_path / "m")
    again, _ = load_decoder(tmp_path / "m")
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(again.head(again(tokens)), model.head(model(tokens)))
