"""Runs from the command line: recipes in YAML, Ctrl-C and going on, damage, a full disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.cli.toys import STEPS, call, command, environment, recipe

from chiasm.base.config import from_record, from_yaml, to_yaml
from chiasm.checkpoint.folder import load_decoder
from chiasm.checkpoint.state import load_state
from chiasm.cli.arguments import _adapter, _row, _sized, _told
from chiasm.inputs.batch import pack
from chiasm.nn import lora_state
from chiasm.recipes.book import RECIPES
from chiasm.recipes.loading import load
from chiasm.recipes.parts import assemble
from chiasm.recipes.settings import CrossedShape, PrefixShape, Run
from chiasm.testing import toy_picture, toy_pixels, toy_rendered

QUIET = ("--train.look-every", "0", "--train.sample-every", "0")
LONG = ("--train.steps", "60", "--train.save-every", "50", *QUIET)


def rows(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@contextmanager
def signal_after(run: Path, number: int, step: int) -> Iterator[None]:
    """Send this process a signal as soon as a run has done so many steps."""
    done = threading.Event()

    def wait() -> None:
        while not done.is_set():
            if len(rows(run)) >= step:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=wait)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


# ---- recipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_show_prints_yaml_that_means_the_same(capsys: Any, tmp_path: Path, name: str) -> None:
    done = call(capsys, "train", name, "--show")
    assert done.code == 0 and not done.err
    (tmp_path / "shown.yaml").write_text(done.out)
    assert from_yaml(Run, tmp_path / "shown.yaml") == RECIPES[name]()
    assert call(capsys, "train", tmp_path / "shown.yaml", "--show").out == done.out


def test_overrides_reach_every_type_of_setting(capsys: Any) -> None:
    words = [
        "--train.steps",
        "50",
        "--data.load.records",
        "4",
        "--name",
        "quick",
        "--dtype",
        "float32",
    ]
    words += [
        "--model.shape.taps",
        "block.2",
        "last",
        "--model.system",
        "Be brief.",
        "--train.clip",
        "1e-2",
    ]
    words += ["--learn", "decoder.*=freeze", "crosses.*=2e-3:0.1", "extra.*=3e-3:muon", "*=0.001"]
    shown = yaml.safe_load(call(capsys, "train", "first_light", *words, "--show").out)
    assert (shown["name"], shown["dtype"]) == ("quick", "float32")
    assert (shown["train"]["steps"], shown["train"]["clip"]) == (50, 0.01)
    assert shown["data"]["load"]["records"] == 4
    assert shown["model"]["shape"]["taps"] == ["block.2", "last"]
    assert shown["model"]["system"] == "Be brief."
    assert shown["learn"] == [
        ["decoder.*", None],
        ["crosses.*", {"peak": 2e-3, "decay": 0.1, "update": "adamw"}],
        ["extra.*", {"peak": 3e-3, "decay": 0.0, "update": "muon"}],
        ["*", {"peak": 1e-3, "decay": 0.0, "update": "adamw"}],
    ]
    # What was not named is the recipe's.
    plain = yaml.safe_load(call(capsys, "train", "first_light", "--show").out)
    assert shown["schedule"] == plain["schedule"] and shown["seed"] == plain["seed"]


@pytest.mark.parametrize("word", ["freeze", "0.001", "0.001:0.1", "0.003:muon", "0.003:0.1:muon"])
def test_the_words_of_a_row_say_all_of_it(word: str) -> None:
    pattern, rate = _row(f"crosses.*={word}")
    assert (pattern, _told(rate)) == ("crosses.*", word)


def test_help_has_every_setting_with_its_own_words(capsys: Any) -> None:
    shown = call(capsys, "train", "first_light", "--help").out
    text = " ".join(line.strip("│ ") for line in shown.splitlines())
    for name in ("--model.shape.crosses", "--train.keep", "--data.load.no-balance", "--learn"):
        assert name in text
    assert "Cross-attention: blocks of their own look at the picture" in text
    assert "model_construct" not in text and "pydantic" not in text


@pytest.mark.parametrize("name", ["first_light", "mine.yaml"])
def test_switches_can_be_turned_both_ways(capsys: Any, name: str) -> None:
    for word, state in (("balance", True), ("no-balance", False)):
        shown = call(capsys, "train", name, f"--data.load.{word}", "--show").out
        assert yaml.safe_load(shown)["data"]["load"]["balance"] is state


def test_underscores_do_as_well_as_hyphens(capsys: Any) -> None:
    shown = call(capsys, "train", "first_light", "--train.save_every", "7", "--show").out
    assert yaml.safe_load(shown)["train"]["save_every"] == 7


# ---- a run -------------------------------------------------------------------------------------


def test_a_run_ends_with_a_model_and_the_next_command(capsys: Any, tmp_path: Path) -> None:
    done = call(capsys, "train", "mine.yaml", "--runs", tmp_path)
    assert done.code == 0, done.err
    run = tmp_path / "mine"
    assert (run / "model" / "config.json").exists()
    assert [row["step"] for row in rows(run) if "loss" in row] == list(range(1, STEPS + 1))
    assert done.out.rstrip().endswith(f"chiasm chat --model {run / 'model'} --samples")
    again = call(capsys, "train", "mine.yaml", "--runs", tmp_path)
    assert again.code == 0 and "is finished" in again.out


def test_other_settings_for_a_run_are_refused(capsys: Any, shop: Path, tmp_path: Path) -> None:
    assert call(capsys, "train", "mine.yaml", "--runs", tmp_path, *QUIET).code == 0
    done = call(capsys, "train", "mine.yaml", "--runs", tmp_path, *QUIET, "--seed", "7")
    assert done.code == 2 and "other settings (seed)" in done.said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_with_the_same_command(
    capsys: Any, tmp_path: Path, number: int, code: int
) -> None:
    words = ["train", "mine.yaml", *LONG, "--runs", str(tmp_path / "stopped")]
    run = tmp_path / "stopped" / "mine"
    with signal_after(run, number, step=8):
        stopped = call(capsys, *words)
    assert stopped.code == code, stopped.err
    assert not (run / "model").exists()
    told = stopped.out.strip().splitlines()
    assert told[-2].startswith("Stopped after step") and f"saved in {run}" in told[-2]
    assert told[-1].split() == ["chiasm", *words]

    assert call(capsys, *words).code == 0
    assert call(capsys, *words[:-1], tmp_path / "undisturbed").code == 0
    ends = [folder / "mine/model/model.safetensors" for folder in sorted(tmp_path.iterdir())]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert [row["step"] for row in rows(run)] == list(range(1, 61))


def test_a_cut_checkpoint_is_passed_over_and_the_run_ends_the_same(
    capsys: Any, tmp_path: Path
) -> None:
    words = ["train", "mine.yaml", *LONG, "--train.save-every", "5", "--runs", str(tmp_path)]
    run = tmp_path / "mine"
    with signal_after(run, signal.SIGINT, step=13):
        call(capsys, *words)
    newest = max((run / "checkpoints").iterdir())
    for victim in (newest / "model.safetensors", newest / "manifest.json"):
        victim.write_bytes(victim.read_bytes()[:-7])
    done = call(capsys, *words)
    assert done.code == 0, done.err
    assert f"Passed over a damaged checkpoint. The checkpoint {newest} is damaged" in done.out
    assert "Going on from step" in done.out
    whole = call(capsys, *words[:-1], tmp_path / "undisturbed")
    assert whole.code == 0
    ends = [root / "mine/model/model.safetensors" for root in (tmp_path, tmp_path / "undisturbed")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_when_no_checkpoint_is_sound_the_run_says_so_and_keeps_what_is_there(
    capsys: Any, tmp_path: Path
) -> None:
    words = ["train", "mine.yaml", *LONG, "--runs", str(tmp_path)]
    run = tmp_path / "mine"
    with signal_after(run, signal.SIGINT, step=5):
        call(capsys, *words)
    (only,) = (run / "checkpoints").iterdir()
    (only / "optimizer.safetensors").unlink()
    before, written = sorted(run.rglob("*")), rows(run)
    done = call(capsys, *words)
    assert done.code == 2 and "Passed over a damaged checkpoint" in done.out
    assert "nothing to go on from" in done.said
    assert (sorted(run.rglob("*")), rows(run)) == (before, written)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--data.source", "nowhere"), "neither a data source nor a folder"),
        (("--data.source", "eazy-vqa"), 'Did you mean "easy-vqa"?'),
        (("--model.decoder", "nowhere"), "neither a folder nor a built-in part"),
        (("--model.encoder", "decoder"), ""),
        (("--model.image-size", "13"), "multiple of the encoder's"),
        (("--learn", "decoder.*=freeze"), "No row of `learn`"),
        (("--learn", "*=1e-3", "tail=1"), "matches no parameter"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_trained_is_one_sentence(
    capsys: Any, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = call(capsys, "train", "mine.yaml", "--runs", tmp_path, *words)
    assert done.code == 2
    assert sentence in done.said and "Traceback" not in done.err
    assert not list((tmp_path / "mine").glob("model*"))


# ---- the system's side -------------------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(
    shop: Path, tmp_path: Path
) -> None:
    """No file may grow over 20 kB, as on a disk that fills up while a checkpoint is written."""
    most = 20_000
    done = subprocess.run(
        command("train", "mine.yaml", "--runs", tmp_path, *QUIET),
        cwd=shop,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("chiasm: Cannot write ") and "larger" in done.stderr
    assert not list((tmp_path / "mine" / "checkpoints").glob("*"))
    assert not list(tmp_path.rglob(".*.tmp-*"))


def test_a_folder_that_cannot_be_written_is_one_sentence(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = call(capsys, "train", "mine.yaml", "--runs", tmp_path / "file")
    assert done.code == 2 and "Traceback" not in done.err


def test_ctrl_c_in_a_process_ends_it_with_130_and_no_traceback(shop: Path, tmp_path: Path) -> None:
    run = tmp_path / "mine"
    running = subprocess.Popen(
        command("train", "mine.yaml", "--train.steps", "100000", *QUIET, "--runs", tmp_path),
        cwd=shop,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while len(rows(run)) < 3 and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert "To go on, repeat the command" in out and "Traceback" not in err
    assert list((run / "checkpoints").glob("step-*"))


# ---- pictures of several tiles -------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["crossed", "prefix"])
def test_a_run_over_tiles_is_trained_told_and_talked_to(
    capsys: Any, here: Path, shape: str
) -> None:
    """The workshop's pictures, 20 to 22 pixels wide, become four tiles of 12."""
    joined = PrefixShape() if shape == "prefix" else CrossedShape(crosses=2)
    run = recipe(here, f"tiled_{shape}", joined)
    run = run.model_copy(update={"model": run.model.model_copy(update={"tiles": 4})})
    (here / f"{run.name}.yaml").write_text(to_yaml(run))
    told = json.loads(call(capsys, "inspect", f"{run.name}.yaml", "--json").out)["picture"]
    each = 9 if shape == "prefix" else 10
    assert (told["tiles"], told["vectors"]) == (4, 4 * each)
    assert told["places"] == (36 if shape == "prefix" else 1)
    assert call(capsys, "train", f"{run.name}.yaml").code == 0
    shown = call(capsys, "inspect", f"runs/{run.name}").out
    assert "4 tiles of 12 x 12 pixels" in shown
    question = ("pictures/00.png", "What colour?", "--max-tokens", "4")
    assert call(capsys, "chat", "--model", f"runs/{run.name}", *question).code == 0


def test_tiles_are_always_padded(capsys: Any) -> None:
    done = call(capsys, "train", "mine.yaml", "--model.tiles", "4", "--model.fit", "crop")
    assert done.code == 2 and "`model.fit`" in done.said and "always padded" in done.said


# ---- adapters ----------------------------------------------------------------------------------

LORA = ("--lora", "decoder.blocks.*.attn.[qv]=2:4", "encoder.*.attn.o=1")
LEARN = ("--learn", "*.lora_*=1e-2", "*=freeze")


def test_a_run_of_adapters_moves_them_alone_and_comes_back(capsys: Any, tmp_path: Path) -> None:
    done = call(capsys, "train", "mine.yaml", *LORA, *LEARN, "--runs", tmp_path)
    assert done.code == 0, done.err
    assert "11 linear layers have adapters" in done.out and "*.lora_*" in done.out
    run = from_record(Run, json.loads((tmp_path / "mine/run.json").read_text())["settings"])
    fresh = assemble(run.model, torch.float32, run.seed, lambda _: None, run.lora)
    fresh.processor.close()
    tensors, _ = load_state(tmp_path / "mine" / "checkpoints" / f"step-{STEPS:06}")
    born = lora_state(fresh.model)
    assert tensors["model"].keys() == born.keys()
    for name, value in born.items():  # behind closed gates the eyes have no gradient
        assert torch.equal(tensors["model"][name], value) is name.startswith("encoder."), name
    home = tmp_path / "mine" / "model"
    assert set(json.loads((home / "config.json").read_text())["parts"]) == {"decoder", "encoder"}
    apart, processor = load(home, dtype="float32", merge=False)
    processor.close()
    expected = {
        name: value if name.startswith(("decoder.", "encoder.")) else value.bfloat16().float()
        for name, value in {**fresh.model.state_dict(), **tensors["model"]}.items()
    }
    assert apart.state_dict().keys() == expected.keys()
    for name, value in apart.state_dict().items():
        assert torch.equal(value, expected[name]), name
    fresh.model.load_state_dict(expected)
    merged, processor = load(home, dtype="float32")
    processor.close()
    batch = pack([toy_rendered(1, [toy_picture(1)])], toy_pixels)
    with torch.no_grad():
        logits = [m.head(m(**batch.inputs())) for m in (fresh.model, apart, merged)]
    assert torch.equal(logits[0], logits[1])
    torch.testing.assert_close(logits[2], logits[1], atol=1e-5, rtol=0)  # measured: 1.2e-6


def test_adapters_over_a_quantised_language_model(capsys: Any, tmp_path: Path) -> None:
    """QLoRA from the command line: the integers stay by reference, the adapters come back."""
    pytest.importorskip("torchao")
    call(capsys, "convert", "decoder", tmp_path / "small", "--quantise", "int8")
    words = ("--lora", "decoder.*.mlp.*=2", "--model.decoder", str(tmp_path / "small"))
    learn = ("--learn", "*.lora_*=1e-2", "decoder.*=freeze", "encoder.*=freeze", "*=1e-3")
    done = call(capsys, "train", "mine.yaml", *words, *learn, "--runs", tmp_path)
    assert done.code == 0, done.err
    home = tmp_path / "mine" / "model"
    assert set(json.loads((home / "config.json").read_text())["parts"]) == {"decoder", "encoder"}
    model, processor = load(home, dtype="float32", merge=False)
    processor.close()
    small = load_decoder(tmp_path / "small")[0].state_dict()
    own = model.decoder.state_dict()
    assert all(torch.equal(own[name], value) for name, value in small.items())
    moved = [own[n] for n in own if n.endswith("lora_b")]
    assert len(moved) == 12 and all(bool(value.any()) for value in moved)


@pytest.mark.parametrize("word", ["none", "8:16", "8:16:0.05", "4:8:root", "4:8:0.5:root"])
def test_the_words_of_an_adapter_say_all_of_it(word: str) -> None:
    pattern, size = _adapter(f"decoder.*={word}")
    assert (pattern, _sized(size)) == ("decoder.*", word)


@pytest.mark.parametrize("word", ["decoder.*", "=8", "d=0", "d=8:x", "d=8:16:1", "d=8:16:0.1:2"])
def test_wrong_words_of_an_adapter_are_told(capsys: Any, word: str) -> None:
    done = call(capsys, "train", "first_light", "--lora", word, "--show")
    assert done.code == 2 and f'not "{word}"' in done.said


def test_a_rank_alone_is_enough_and_yaml_holds_the_rest(capsys: Any) -> None:
    shown = yaml.safe_load(call(capsys, "train", "first_light", *LORA, "--show").out)
    told = {"rank": 1, "alpha": 16.0, "dropout": 0.0, "divide_by": "rank"}
    assert shown["lora"][1] == ["encoder.*.attn.o", told]


def test_inspect_counts_adapters(capsys: Any, tmp_path: Path) -> None:
    shown = call(capsys, "train", "mine.yaml", *LORA, *LEARN, "--show").out
    (tmp_path / "lora.yaml").write_text(shown)
    found = json.loads(call(capsys, "inspect", tmp_path / "lora.yaml", "--json").out)
    learns = {part["name"]: part["learns"] for part in found["portions"]}
    # q: 20 -> 24 and v: 20 -> 12 of rank 2 in 4 blocks; o: 12 -> 12 of rank 1 in 3.
    assert learns["decoder"] == 4 * 2 * (20 + 24 + 20 + 12) and learns["encoder"] == 3 * (12 + 12)
