"""`chiasm export`, `chiasm convert --allow-pickle` and `chiasm check parity`, over models on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.tiled import copy, llama_vision, published
from tests.cli.toys import call
from tests.parity.goldens import golden
from transformers import AutoModelForCausalLM, MllamaForConditionalGeneration

from chiasm.checkpoint.folder import load_decoder, save_decoder
from chiasm.checkpoint.parts import load_part


@pytest.fixture(scope="module")
def llama(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_vision(shop, tmp_path_factory.mktemp("llama") / "vision")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def same(left: Path, right: Path) -> bool:
    ours, theirs = weights(left), weights(right)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


# ---- export ----------------------------------------------------------------------------------------


def test_a_vision_model_goes_to_metas_layout_and_back_bit_for_bit(
    capsys: Any, llama: Path, tmp_path: Path
) -> None:
    done = call(capsys, "export", llama, tmp_path / "meta", "--layout", "meta")
    assert done.code == 0 and "in the layout of meta" in done.err
    assert (tmp_path / "meta/params.json").exists()
    assert "text_model.cross_attention_layers.1.gate_attn" in weights(tmp_path / "meta")
    assert call(capsys, "export", tmp_path / "meta", tmp_path / "hub", "--json").code == 0
    assert same(llama, tmp_path / "hub")
    theirs = MllamaForConditionalGeneration.from_pretrained(tmp_path / "hub")
    assert sum(p.numel() for p in theirs.parameters()) > 0


def test_a_language_model_goes_to_llama_cpp_and_to_transformers(
    capsys: Any, shop: Path, tmp_path: Path
) -> None:
    bare = copy(shop / "decoder", tmp_path / "bare")  # llama.cpp knows no tokenizer like the toys'
    (bare / "tokenizer.json").unlink()
    assert call(capsys, "export", bare, tmp_path / "w.gguf", "--layout", "gguf").code == 0
    read = gguf.GGUFReader(tmp_path / "w.gguf")
    assert {t.name for t in read.tensors} >= {"token_embd.weight", "blk.3.attn_q.weight"}
    assert call(capsys, "export", tmp_path / "w.gguf", tmp_path / "out").code == 0
    back, whole = load_decoder(tmp_path / "out")[0], load_decoder(shop / "decoder")[0]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(
            back.state_dict()[name], tensor.half().float() if tensor.ndim > 1 else tensor
        )
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        apart = (theirs(ids).logits - back.head(back(ids))).abs().max()
    assert float(apart) < 1e-5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs/first_light", "out"), "cannot hold this model: its encoder is another"),
        (("LLAMA", "out.gguf", "--layout", "gguf"), "has eyes, and llama.cpp's files hold none"),
        (("decoder", "eyes"), "eyes exists already"),
        (("decoder",), "Name a model and what to write"),
        (("decoder", "o.gguf", "--layout", "gguf", "--kind", "Q9"), '"Q9" cannot be written'),
        (("nowhere", "out"), "neither a model folder nor a built-in model"),
    ],
)
def test_what_a_layout_cannot_hold_is_one_sentence(
    capsys: Any, llama: Path, words: tuple[str, ...], said: str
) -> None:
    done = call(capsys, "export", *(str(llama) if word == "LLAMA" else word for word in words))
    assert done.code == 2 and said in done.said and not Path("out").exists()


def test_adapters_alone_attach_to_their_language_model(
    capsys: Any, shop: Path, llama: Path, tmp_path: Path
) -> None:
    files = {
        name: (llama / name).read_bytes() for name in ("tokenizer.json", "chat_template.jinja")
    }
    words = load_part(llama, "decoder", torch.bfloat16)[0]
    save_decoder(words, tmp_path / "words", files)
    out = tmp_path / "adapters"
    done = call(capsys, "export", llama, out, "--adapters-of", tmp_path / "words")
    assert done.code == 0 and "as adapters" in done.err
    assert not any(name.startswith("decoder.") for name in weights(out))
    done = call(capsys, "check", "parity", llama, out, "--dtype", "bfloat16", "--tolerance", "0")
    assert done.code == 0, done.out
    assert call(capsys, "check", "text-identity", "--model", out).code == 0
    other = call(capsys, "export", llama, tmp_path / "no", "--adapters-of", shop / "decoder")
    assert other.code == 2 and "is not the one of" in other.said
    blind = call(capsys, "export", "decoder", tmp_path / "no", "--adapters-of", shop / "decoder")
    assert blind.code == 2 and "has no eyes" in blind.said


# ---- Meta's own files ------------------------------------------------------------------------------


def test_metas_pickles_are_read_when_it_is_said(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(tmp_path / "Llama")
    done = call(capsys, "convert", folder, tmp_path / "out")
    assert done.code == 2 and "--allow-pickle" in done.said
    done = call(capsys, "convert", folder, tmp_path / "out", "--allow-pickle")
    assert done.code == 2 and "has no tokenizer.model" in done.said
    monkeypatch.setattr("chiasm.recipes.exporting.tokenizer_files", lambda *a, **k: {})
    (folder / "tokenizer.model").touch()
    done = call(capsys, "convert", folder, tmp_path / "out", "--allow-pickle", "--json")
    assert done.code == 0 and json.loads(done.out)["files"] == 2
    wanted, got = golden("mllama_small").weights, weights(tmp_path / "out")
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[name].bfloat16(), got[name]) for name in wanted)


# ---- parity ----------------------------------------------------------------------------------------


def test_a_folder_and_its_export_are_one_model(capsys: Any, llama: Path, tmp_path: Path) -> None:
    assert call(capsys, "export", llama, tmp_path / "meta", "--layout", "meta").code == 0
    done = call(capsys, "check", "parity", llama, tmp_path / "meta")
    assert done.code == 0 and done.out.strip() == ""
    assert "tensors are equal" in done.err


def test_the_first_tensor_that_differs_is_named(capsys: Any, llama: Path, tmp_path: Path) -> None:
    other = copy(llama, tmp_path / "other")
    held = load_file(other / "model.safetensors")
    name = "language_model.model.layers.2.mlp.up_proj.weight"
    held[name][0, 0] += 1
    save_file(held, other / "model.safetensors", {"format": "pt"})
    done = call(capsys, "check", "parity", llama, other, "--json")
    told = json.loads(done.out)
    first = next(each for each in told["findings"] if each["apart"] > 1e-4)
    assert done.code == 1 and not told["ok"]
    assert (first["kind"], first["name"].endswith("mlp.up.weight")) == ("weight", True)


def test_two_modes_differ_where_docs_say(capsys: Any, llama: Path) -> None:
    done = call(capsys, "check", "parity", llama, "--compat", "hf")
    assert done.code == 1 and "the first is the output" in done.err
    first = done.out.splitlines()[0]
    assert "output" in first and "encoder" in first
    done = call(capsys, "check", "parity", "runs/first_light", "--compat", "hf")
    assert done.code == 2 and "no Llama 3.2 Vision" in done.said
    done = call(capsys, "check", "parity", llama)
    assert done.code == 2 and "Name two models, or one with --compat hf" in done.said


def test_a_vision_model_of_others_chats(capsys: Any, llama: Path) -> None:
    question = ("pictures/00.png", "What colour?", "--max-tokens", "4")
    assert call(capsys, "chat", "--model", llama, *question).code == 0
    done = call(capsys, "check", "text-identity", "--model", llama)
    assert done.code == 0 and "its own decoder, which it carries inside" in done.err


# ---- swap ------------------------------------------------------------------------------------------


def test_another_language_model_under_the_adapters(capsys: Any, shop: Path, tmp_path: Path) -> None:
    other = copy(shop / "decoder", tmp_path / "tuned")
    held = load_file(other / "model.safetensors")
    held["model.layers.0.mlp.up_proj.weight"] += 0.1
    save_file(held, other / "model.safetensors", {"format": "pt"})
    words = ("swap", "runs/first_light", other, tmp_path / "new", "--questions", "6")
    done = call(capsys, *words, "--json")
    told = json.loads(done.out)
    assert done.code == 0 and told["before"]["text"] != told["after"]["text"]
    assert all(finding["ok"] for finding in told["identity"])
    record = json.loads((tmp_path / "new/config.json").read_text())
    assert record["parts"]["decoder"]["source"] == str(other)
    assert call(capsys, "chat", "--model", tmp_path / "new", "hello", "--max-tokens", "3").code == 0
    done = call(capsys, *words)
    assert done.code == 2 and "exists already" in done.said


def test_what_does_not_fit_under_the_adapters_is_refused(
    capsys: Any, shop: Path, tmp_path: Path
) -> None:
    from chiasm.checkpoint.folder import read_companions, save_decoder
    from chiasm.testing import toy_decoder

    files = read_companions(shop / "decoder")
    save_decoder(toy_decoder(depth=5, context=700), tmp_path / "deeper", files)
    done = call(capsys, "swap", "runs/first_light", tmp_path / "deeper", tmp_path / "new")
    assert done.code == 2 and "it has depth 5, not 4" in done.said
    words = json.loads(files["tokenizer.json"])
    vocab = words["model"]["vocab"]
    first, second = list(vocab)[:2]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    files["tokenizer.json"] = json.dumps(words).encode()
    save_decoder(toy_decoder(context=700), tmp_path / "other", files)
    done = call(capsys, "swap", "runs/first_light", tmp_path / "other", tmp_path / "new")
    assert done.code == 2 and "its tokenizer differs" in done.said
    done = call(capsys, "swap", "decoder", tmp_path / "other", tmp_path / "new")
    assert done.code == 2 and "has no adapters" in done.said
    assert not (tmp_path / "new").exists()
