"""GGUF written: other programs read the same numbers, and load, save, load changes no bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tests.checkpoint.test_vocabulary import metadata, smollm
from tests.checkpoint.toys import decoder, equal
from tests.checkpoint.toys import write_gguf as by_package
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.checkpoint.folder import Opened, load_decoder, open_decoder, save_decoder
from chiasm.checkpoint.gguf import Gguf, read_gguf
from chiasm.checkpoint.gguf_rope import NAME, rope_factors
from chiasm.checkpoint.gguf_write import save_gguf, write_gguf
from chiasm.checkpoint.pack import PACKERS
from chiasm.checkpoint.vocabulary import tokenizer_files
from chiasm.checkpoint.weights import CheckpointError, Provenance
from chiasm.models import Decoder, DecoderConfig
from chiasm.nn.rope import inverse_frequencies

SCALED = {"rope_scaling": {"factor": 8.0, "low": 1.0, "high": 4.0, "original": 8192}}
WIDE = {"width": 256, "heads": 4, "kv_heads": 2, "head_width": 64, "hidden": 512, "depth": 1}


def opened(model: Decoder) -> Opened[DecoderConfig]:
    return Opened(model.config, model.state_dict(), Provenance("a toy"))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", sorted(PACKERS))
def test_others_read_it_and_a_second_save_changes_nothing(
    kind: str, tied: bool, tmp_path: Path
) -> None:
    model = decoder(tied=tied, vocab=320, **WIDE)
    files = tokenizer_files(metadata(smollm()), "toy")
    kinds = save_gguf(opened(model), tmp_path / "a.gguf", kind, files, name="toy ✓")
    assert {k for n, k in kinds.items() if "norm" not in n} == {kind}
    ours, theirs = read_gguf(tmp_path / "a.gguf"), gguf.GGUFReader(tmp_path / "a.gguf")
    assert [t.name for t in theirs.tensors] == list(ours)
    for tensor in theirs.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours[tensor.name].numpy(), values)
    for key, value in ours.metadata.items():
        assert theirs.fields[key].contents() == value
    assert tokenizer_files(ours.metadata, "toy")["tokenizer.json"] == files["tokenizer.json"]
    # Exact formats give the very same model, others a close one.
    read, _ = load_decoder(tmp_path / "a.gguf")
    assert read.config == model.config
    for name, value in model.state_dict().items():
        error = (read.state_dict()[name] - value).abs().max() / value.abs().max()
        assert error <= {"F32": 0, "F16": 1e-3, "BF16": 8e-3, "Q8_0": 8e-3}.get(kind, 0.14), name
    copied(ours, tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def copied(stored: Gguf, path: Path) -> None:
    kinds = {name: place.kind.name for name, place in stored.stored.items()}
    write_gguf(path, stored.metadata, stored, kinds, stored.types)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_a_file_of_another_program_is_copied_bit_for_bit(kind: str, tmp_path: Path) -> None:
    """Also of formats that we do not pack; types of metadata as they were."""
    extra = {
        "a__float": 1.5,
        "a__bool": True,
        "a__text": "x",
        "a__list": [1, -2],
        "a__texts": ["é", ""],
    }
    source = by_package(tmp_path / "a.gguf", decoder(**WIDE), kind, **extra)
    copied(read_gguf(source), tmp_path / "b.gguf")
    assert source.read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_a_saved_file_loads_and_saves_to_the_same_values(tmp_path: Path) -> None:
    """Through float32 and back, not by copying: the formats that llama.cpp converts to."""
    for kind in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"):
        save_gguf(opened(decoder(**WIDE)), tmp_path / "a.gguf", kind, name="toy")
        save_gguf(open_decoder(tmp_path / "a.gguf"), tmp_path / "b.gguf", kind, name="toy")
        assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes(), kind


# ---- stretched rotary speeds ---------------------------------------------------------------------


@pytest.mark.parametrize("factor", [8.0, 32.0])
@pytest.mark.parametrize("head_width", [64, 128])
def test_the_rule_is_that_of_the_model(factor: float, head_width: int) -> None:
    scaling = {**SCALED["rope_scaling"], "factor": factor}
    config = decoder(head_width=head_width, rope_theta=500000.0, rope_scaling=scaling).config
    plain = inverse_frequencies(head_width, 500000.0)
    stretched = inverse_frequencies(head_width, 500000.0, config.rope_scaling)
    # float32 speeds on both sides: measured worst 9e-8.
    assert torch.allclose(plain / rope_factors(config), stretched, rtol=1e-6, atol=0)
    assert rope_factors(config)[0] == 1 and rope_factors(config)[-1] == factor


def test_scaling_survives_and_is_what_the_converter_of_others_writes(tmp_path: Path) -> None:
    model = decoder(rope_theta=500000.0, **WIDE, **SCALED)
    kinds = save_gguf(opened(model), tmp_path / "a.gguf", "Q4_0")
    assert kinds[NAME] == "F32" and read_gguf(tmp_path / "a.gguf")[NAME].shape == (32,)
    read, provenance = load_decoder(tmp_path / "a.gguf")
    assert read.config == model.config
    assert list(provenance.left_out) == [f"a.gguf:{NAME} (F32)"]


def with_factors(folder: Path, factors: Tensor) -> Path:
    model = decoder(rope_theta=500000.0, **WIDE)
    save_gguf(opened(model), folder / "plain.gguf", "F32")
    stored = read_gguf(folder / "plain.gguf")
    tensors = {**stored, NAME: factors}
    write_gguf(folder / "a.gguf", stored.metadata, tensors, dict.fromkeys(tensors, "F32"))
    return folder / "a.gguf"


@pytest.mark.parametrize("case", ["ones", "another rule", "one is off", "too few", "below one"])
def test_another_stretching_is_refused(case: str, tmp_path: Path) -> None:
    factors = rope_factors(decoder(rope_theta=500000.0, **WIDE, **SCALED).config)
    cases = {
        "ones": torch.ones(32),
        "another rule": torch.linspace(1, 8, 32),
        "one is off": factors * torch.where(torch.arange(32) == 20, 1.001, 1.0),
        "too few": factors[:16],
        "below one": factors / 8,
    }
    path = with_factors(tmp_path, cases[case])
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight.*not the stretching"):
        open_decoder(path)
    assert open_decoder(with_factors(tmp_path, factors)).config.rope_scaling is not None


# ---- what cannot be written ----------------------------------------------------------------------


def test_settings_that_the_file_cannot_say_are_refused(tmp_path: Path) -> None:
    other = {"rope_scaling": {**SCALED["rope_scaling"], "original": 4096}}
    for change in ({"rope_theta": 500000.1}, other):
        with pytest.raises(CheckpointError, match=r"cannot say|not the stretching"):
            save_gguf(opened(decoder(**{"head_width": 64, **change})), tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize(
    ("kind", "value"), [("F16", 1e5), ("Q8_0", -1e9), ("F32", float("nan")), ("BF16", float("inf"))]
)
def test_values_that_the_format_cannot_hold_are_told(
    kind: str, value: float, tmp_path: Path
) -> None:
    tensors = {"a": torch.ones(2, 32), "b": torch.full((2, 32), value)}
    with pytest.raises(UserError, match=rf'"b" holds values up to .*which {kind} cannot hold'):
        write_gguf(tmp_path / "a.gguf", {}, tensors, dict.fromkeys(tensors, kind))
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_no_whole_blocks_are_told_or_kept_as_fp16(tmp_path: Path) -> None:
    model = decoder(width=40, heads=2, head_width=20)  # hidden is 64: whole blocks of 32
    kinds = save_gguf(opened(model), tmp_path / "a.gguf", "Q8_0")
    assert kinds["token_embd.weight"] == "F16" and kinds["blk.0.ffn_down.weight"] == "Q8_0"
    load_decoder(tmp_path / "a.gguf")
    kinds = save_gguf(opened(decoder(width=288)), tmp_path / "a.gguf", "Q4_K")  # 288 = 9 * 32
    assert kinds["token_embd.weight"] == "Q8_0"
    with pytest.raises(UserError, match="cannot be stored as Q8_0"):
        write_gguf(tmp_path / "b.gguf", {}, {"a": torch.ones(2, 40)}, {"a": "Q8_0"})
    with pytest.raises(UserError, match=r'"Q4_k" cannot be written.*Did you mean "Q4_K"'):
        save_gguf(opened(model), tmp_path / "b.gguf", "Q4_k")


def test_a_folder_becomes_a_file_and_a_folder_again(tmp_path: Path) -> None:
    model = decoder(tied=False, vocab=320)
    files = tokenizer_files(metadata(smollm()), "toy")
    save_decoder(model, tmp_path / "one", files)
    save_gguf(open_decoder(tmp_path / "one"), tmp_path / "a.gguf", "F32", files)
    read, _ = load_decoder(tmp_path / "a.gguf")
    again = tokenizer_files(read_gguf(tmp_path / "a.gguf").metadata, "toy")
    save_decoder(read, tmp_path / "two", again)
    weights = [tmp_path / name / "model.safetensors" for name in ("one", "two")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert equal(read.state_dict(), model.state_dict())
    assert again["tokenizer.json"] == files["tokenizer.json"]


MEASURE = """
import resource, sys
import torch
from chiasm.checkpoint.gguf_write import write_gguf
from chiasm.checkpoint.weights import LazyTensors, Spec

class Large(LazyTensors):
    def __getitem__(self, name): return torch.full((4096, 1024), float(name))
    def spec(self, name): return Spec(torch.float32, (4096, 1024))
    def __iter__(self): return map(str, range(24))
    def __len__(self): return 24

(torch.ones(1 << 20) + 1).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_gguf(sys.argv[1], {}, Large(), dict.fromkeys(Large(), "Q8_0"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_writing_holds_one_tensor(tmp_path: Path) -> None:
    """24 tensors of 17 MB: measured 47 to 64 MB above the start."""
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "a.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 128 << 10
    assert (tmp_path / "a.gguf").stat().st_size > 100_000_000
