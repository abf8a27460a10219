"""The only code of the house that touches the network: packages by pip, npm and apt, files by the hub."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
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
    return _package(
        home, "*.whl", sha256, f"{requirement} with pip", partial(_pip, requirement), say
    )


def fetch_npm(package: str, version: str, sha256: str, into: Path, say: Say = say_aloud) -> Path:
    """Return the .tgz of an npm package within folder `into`; npm fetches it unless it is there.

    As `fetch_wheel`; nothing of the package is run. Raises Unavailable when npm is missing or cannot
    deliver.
    """
    home = Path(into) / package_folder(package, version)
    deliver = partial(_npm, f"{package}@{version}")
    return _package(home, "*.tgz", sha256, f"{package}@{version} with npm", deliver, say)


def fetch_deb(package: str, version: str, sha256: str, into: Path, say: Say = say_aloud) -> Path:
    """Return the .deb of a Debian package within folder `into`; apt fetches it unless it is there.

    As `fetch_wheel`; nothing is installed, and root is not needed. Raises Unavailable when apt is
    missing, has no lists, or its archive has another version.
    """
    home = Path(into) / package_folder(package, version)
    deliver = partial(_apt, package, version)
    return _package(home, "*.deb", sha256, f"{package}={version} with apt-get", deliver, say)


def package_folder(package: str, version: str) -> str:
    """Return what the folder of a package is called: "@scope/name", "1:2.0" becomes "scope-name-1-2.0"."""
    return re.sub(r"[^\w.+~]+", "-", f"{package}-{version}").strip("-")


def _package(
    home: Path,
    pattern: str,
    sha256: str,
    title: str,
    deliver: Callable[[Path, Say], None],
    say: Say,
) -> Path:
    """Return the one file `pattern` of folder `home`, delivered into it unless it is there and whole."""
    if (file := _whole(home, pattern, sha256, say)) is not None:
        return file
    with locked(home, say):
        sweep(home.parent)
        if (file := _whole(home, pattern, sha256, say)) is not None:
            return file
        say(f"Fetching {title} ...")
        with atomic_directory(home, replace=True) as folder:
            deliver(folder, say)
            delivered = sorted(folder.glob(pattern))
            found = [sha256_file(file) for file in delivered]
            if found != [sha256]:
                what, _, who = title.partition(" with ")
                raise Unavailable(
                    f"{who} delivered {what} with SHA-256 {' '.join(found) or '(nothing)'}, "
                    f"not {sha256}; refused"
                )
        return home / delivered[0].name


def _whole(home: Path, pattern: str, sha256: str, say: Say) -> Path | None:
    for file in sorted(home.glob(pattern)):
        if sha256_file(file) == sha256:
            return file
        say(f"{file} is damaged (its SHA-256 differs), so it is fetched again.")
    return None


def _pip(requirement: str, folder: Path, say: Say) -> None:
    if find_spec("pip") is None:
        raise Unavailable(
            f'{sys.executable} has no pip; run "{sys.executable} -m ensurepip", or put the wheel '
            f"of {requirement} into {folder.with_name(requirement.replace('==', '-'))} yourself"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(folder), requirement]
    work = folder / "pip"
    work.mkdir()  # for pip's temporary files: on the same disk, and their growth can be watched
    code, words = _run(command, folder, work, {"TMPDIR": str(work)}, say)
    remove_tree(work)
    if code:
        raise Unavailable(_pip_reason(words) or f"pip ended with code {code}")


def _npm(spec: str, folder: Path, say: Say) -> None:
    if (npm := shutil.which("npm")) is None:
        raise Unavailable(
            f"npm is not installed; install Node.js, which brings it, or put the .tgz of {spec} into "
            f"{_final(folder)} yourself"
        )
    work = folder / "npm"
    work.mkdir()
    # A project of its own: npm looks upwards for one, and would read the settings of what it finds.
    (work / "package.json").write_text("{}", "utf-8")
    command = [npm, "pack", spec, "--ignore-scripts", "--loglevel=error", "--no-update-notifier"]
    command += [
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        "--cache",
        str(work / "cache"),
    ]
    command += ["--pack-destination", str(folder)]
    code, words = _run(command, folder, work, {"TMPDIR": str(work)}, say)
    remove_tree(work)
    if code:
        raise Unavailable(_npm_reason(words) or f"npm ended with code {code}")


def _apt(package: str, version: str, folder: Path, say: Say) -> None:
    if (apt := shutil.which("apt-get")) is None:
        raise Unavailable(
            "apt-get is not installed (it comes with Debian and Ubuntu); there, run "
            f'"apt-get download {package}={version}" and put the .deb into {_final(folder)}'
        )
    # Its words are read, so they must be English; it downloads into the folder it runs in.
    command = [apt, "download", "-qq", "-o", "Acquire::Retries=1", f"{package}={version}"]
    code, words = _run(command, folder, folder, {"LC_ALL": "C.UTF-8"}, say)
    if code:
        raise Unavailable(_apt_reason(words, package, version) or f"apt-get ended with code {code}")


def _final(folder: Path) -> Path:
    """Return what an `atomic_directory` will be called: .NAME.tmp-1-0123abcd becomes NAME."""
    return folder.with_name(folder.name[1:].rpartition(".tmp-")[0])


def _run(
    command: list[str], folder: Path, inside: Path, more: Mapping[str, str], say: Say
) -> tuple[int, str]:
    """Run a package manager, telling how `folder` grows; return its exit code and what it said."""
    with tempfile.TemporaryFile() as said:  # elsewhere, so that a full disk can be told
        process = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=inside, env={**os.environ, **more}
        )
        try:
            _watch(process, folder, say)
        finally:
            if process.poll() is None:  # Ctrl-C: it must not go on writing
                process.kill()
                process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace")
    if re.search(r"No space left on device|ENOSPC|not enough space|enough free space", words):
        raise UserError(
            f"Cannot write {folder.parent}: the disk is full. Free some space and run the command again."
        )
    return process.returncode, words


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


def _npm_reason(words: str) -> str:
    """Return npm's first sentence that is more than a code."""
    said = re.findall(r"^npm (?:error|ERR!) (?!code |errno |syscall )(.+)$", words, re.MULTILINE)
    return said[0].removeprefix("notarget ").strip().rstrip(".") if said else ""


def _apt_reason(words: str, package: str, version: str) -> str:
    """Return what apt says went wrong, and for its two usual sentences, what to do."""
    errors = re.findall(r"^E: (.+)$", words, re.MULTILINE)
    reason = errors[0].strip().rstrip(".") if errors else ""
    if reason.startswith("Unable to locate package"):
        return f'apt has no list with {package} in it; run "apt-get update" as root'
    if reason.startswith("Version ") and reason.endswith(" was not found"):
        return (
            f"this system's archive has {_apt_versions(package)} of {package}, not {version} "
            "(of Debian 12), and only that one is known to be sound"
        )
    return reason


def _apt_versions(package: str) -> str:
    done = subprocess.run(
        ["apt-cache", "madison", package], capture_output=True, text=True, errors="replace"
    )
    found = re.findall(r"^[^|]*\|([^|]*)\|", done.stdout, re.MULTILINE)
    versions = sorted({version.strip() for version in found})
    return "another version" if not versions else f"version {', '.join(versions)}"


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
