"""Fetching: pip and the hub, each against a stand-in on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chiasm.base import fetch
from chiasm.base.errors import UserError
from chiasm.base.fetch import Unavailable, fetch_hub, fetch_wheel

NAME = "toy_carrier-1.0-py3-none-any.whl"


def make_wheel(folder: Path, payload: bytes = b"payload") -> str:
    """Put a wheel into a folder and return its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "toy_carrier-1.0.dist-info"
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr("toy_carrier/data.bin", payload)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-carrier\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of wheels is all that pip sees; return the SHA-256 of the one in it."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return make_wheel(tmp_path / "shelf")


@pytest.fixture
def pips(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Count pip's runs."""
    runs: list[Any] = []
    real = subprocess.Popen

    def counted(*args: Any, **more: Any) -> Any:
        runs.append(args)
        return real(*args, **more)

    monkeypatch.setattr(fetch.subprocess, "Popen", counted)
    return runs


def test_a_wheel_is_fetched_once(shelf: str, pips: list[Any], tmp_path: Path) -> None:
    said: list[str] = []
    wheel = fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", said.append)
    assert wheel == tmp_path / "cache" / "toy-carrier-1.0" / NAME
    assert fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", said.append) == wheel
    assert len(pips) == 1 and said == ["Fetching toy-carrier==1.0 with pip ..."]
    assert list(wheel.parent.iterdir()) == [wheel]  # none of pip's temporary files stays
    command = pips[0][0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_wheel_is_fetched_again(
    damage: str, shelf: str, pips: list[Any], tmp_path: Path
) -> None:
    said: list[str] = []
    wheel = fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", said.append)
    data = bytearray(wheel.read_bytes())
    data[20] ^= 1
    wheel.write_bytes({"cut": bytes(data[:-9]), "flipped": bytes(data), "empty": b""}[damage])
    again = fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", said.append)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == shelf
    assert len(pips) == 2 and any("damaged" in line for line in said)


def test_a_wheel_with_another_hash_is_refused(shelf: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"{shelf}, not {'0' * 64}; refused"):
        fetch_wheel("toy-carrier==1.0", "0" * 64, tmp_path / "cache", str)
    assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")]


def test_pips_reason_is_told(shelf: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"No matching distribution found for toy-carrier==9\.9"):
        fetch_wheel("toy-carrier==9.9", shelf, tmp_path / "cache", str)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ERROR: Exception:\nTraceback ...\nValueError: odd\n", "^ValueError: odd$"),
        (
            "WARNING: Retrying (Retry(total=0 ...\nERROR: first.\nERROR: No matching x.\n",
            "^No matching x; the package index cannot be reached$",
        ),
        ("", "^pip ended with code 3$"),
    ],
)
def test_pips_words_become_a_reason(
    words: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(words, monkeypatch)
    with pytest.raises(Unavailable, match=reason):
        fetch_wheel("toy-carrier==1.0", "0" * 64, tmp_path / "cache", str)


def test_a_full_disk_is_no_matter_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak("ERROR: Exception:\nOSError: [Errno 28] No space left on device", monkeypatch)
    with pytest.raises(UserError, match="the disk is full") as caught:
        fetch_wheel("toy-carrier==1.0", "0" * 64, tmp_path / "cache", str)
    assert not isinstance(caught.value, Unavailable)


def speak(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a process in pip's place that says these words and fails."""
    real = subprocess.Popen
    code = "import sys; sys.stderr.write(sys.argv[1]); sys.exit(3)"
    monkeypatch.setattr(
        fetch.subprocess,
        "Popen",
        lambda command, **more: real([sys.executable, "-c", code, words], **more),
    )


def test_without_pip_the_way_out_is_told(
    shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "find_spec", lambda name: None)
    home = tmp_path / "cache" / "toy-carrier-1.0"
    with pytest.raises(Unavailable, match=f"ensurepip.*{home} yourself"):
        fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", str)
    make_wheel(home)  # what the sentence proposes helps
    assert fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", str) == home / NAME


def test_two_at_once_fetch_once(shelf: str, pips: list[Any], tmp_path: Path) -> None:
    found: list[Path] = []

    def ask() -> None:
        found.append(fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", str))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1 and len(pips) == 1


def test_leftovers_of_a_killed_fetch_are_swept(shelf: str, tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".toy-carrier-1.0.tmp-999999999-0123abcd"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", str)
    assert not left.exists()


def test_a_long_download_tells_how_far_it_is(
    shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_NEWS_SECONDS", 0.1)
    script = "import sys, time; open(sys.argv[1], 'wb').write(bytes(3_000_000)); time.sleep(0.6)"
    slow = [sys.executable, "-c", script]
    real = subprocess.Popen
    monkeypatch.setattr(
        fetch.subprocess,
        "Popen",
        lambda command, **more: real([*slow, f"{command[-2]}/pip/part"], **more),
    )
    said: list[str] = []
    with pytest.raises(Unavailable, match="nothing"):
        fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", said.append)
    assert "  3 MB so far" in said


def test_an_interrupted_fetch_ends_pip_and_leaves_nothing(
    shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def endless(command: Any, **more: Any) -> Any:
        started.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **more))
        return started[-1]

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch.subprocess, "Popen", endless)
    monkeypatch.setattr(fetch, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_wheel("toy-carrier==1.0", shelf, tmp_path / "cache", str)
    assert started[0].poll() is not None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".toy-carrier-1.0.lock"]


# ---- the hub -----------------------------------------------------------------------------------

COMMIT = "c0ffee" + "0" * 34
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"raise SystemExit",
    "onnx/config.json": b"{}",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path == "/api/models/toy/repo" or path.startswith("/api/models/toy/repo/revision/"):
            time.sleep(server.wait)
            data = json.dumps(self.listing()).encode()
            self.reply(data, body, {"Content-Type": "application/json"})
        elif path.startswith(f"/toy/repo/resolve/{COMMIT}/"):
            data = server.files[path.rpartition(f"{COMMIT}/")[2]]
            digest = hashlib.sha256(data).hexdigest()
            self.reply(data, body, {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"'})
        else:
            self.send_error(404)

    def reply(self, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def listing(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, data in self.server.listed.items():  # type: ignore[attr-defined]
            digest = hashlib.sha256(data).hexdigest()
            lfs = {"sha256": digest, "size": len(data), "pointerSize": 1}
            large = {"lfs": lfs} if name.endswith((".safetensors", ".bin")) else {}
            siblings.append({"rfilename": name, "size": len(data), "blobId": "b", **large})
        keep = [s for s in siblings if s["rfilename"] not in self.server.hidden]  # type: ignore[attr-defined]
        return {"id": "toy/repo", "modelId": "toy/repo", "sha": COMMIT, "siblings": keep}

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.wait, server.files, server.hidden = [], 0.0, dict(FILES), set()
    server.listed = FILES
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask_hub(hub: Any, tmp_path: Path, into: str = "into") -> tuple[str, float]:
    """Run fetch_hub in a fresh process (the hub's library reads its settings when imported)."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from chiasm.base.fetch import Unavailable, fetch_hub\n"
        "import huggingface_hub; began = time.monotonic()\n"
        "try: told = fetch_hub('toy/repo', Path(sys.argv[1]), print)\n"
        "except Unavailable as error: told = f'unavailable: {error}'\n"
        "print(told, time.monotonic() - began, sep='\\n')"
    )
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    surroundings |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    surroundings |= {
        "HF_ENDPOINT": hub if isinstance(hub, str) else f"http://127.0.0.1:{hub.server_port}"
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / into)],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told, seconds = done.stdout.strip().splitlines()[-2:]
    return told, float(seconds)


def test_only_harmless_files_of_the_top_folder_are_taken(hub: Any, tmp_path: Path) -> None:
    assert ask_hub(hub, tmp_path)[0] == f"toy/repo@{COMMIT}"
    found = {path.name: path.read_bytes() for path in (tmp_path / "into").iterdir()}
    assert found == {name: FILES[name] for name in ("config.json", "model.safetensors")}
    assert not any("pytorch_model.bin" in path or "modeling.py" in path for path in hub.asked)
    before = len([path for path in hub.asked if "model.safetensors" in path])
    ask_hub(hub, tmp_path, "again")  # the hub library's own cache has them
    assert len([path for path in hub.asked if "model.safetensors" in path]) == before


def test_a_file_with_another_hash_is_refused(hub: Any, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = b"weighTs" * 1000
    told, _ = ask_hub(hub, tmp_path)
    assert told.startswith("unavailable: model.safetensors")
    hub.files["model.safetensors"] = FILES["model.safetensors"]
    assert ask_hub(hub, tmp_path, "again")[0] == f"toy/repo@{COMMIT}"


def test_a_repository_without_safetensors_is_no_source(hub: Any, tmp_path: Path) -> None:
    hub.hidden = {"model.safetensors"}
    assert ask_hub(hub, tmp_path)[0] == "unavailable: it holds no safetensors file"


def test_a_silent_hub_costs_three_seconds(hub: Any, tmp_path: Path) -> None:
    hub.wait = 30.0
    told, seconds = ask_hub(hub, tmp_path)
    assert told.startswith("unavailable: ")
    assert seconds < fetch.HUB_SECONDS + 1.5
    hub.wait = 0.0


def test_a_hub_that_is_not_there_costs_less(tmp_path: Path) -> None:
    told, seconds = ask_hub("http://127.0.0.1:9", tmp_path)
    assert told.startswith("unavailable: ") and seconds < fetch.HUB_SECONDS + 1.5


def test_offline_means_not_asked(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        fetch_hub("toy/repo", tmp_path / "into", str)
    assert not (tmp_path / "into").exists()
