"""Packages made by hand: an npm tarball, a Debian package, and shelves from which npm and apt take them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Content = bytes | tarfile.TarInfo


def tar(files: Mapping[str, Content]) -> bytes:
    """A tar archive of files, in order; a TarInfo stands for what is no plain file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def special(kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    """A link, a device or a folder."""
    member = tarfile.TarInfo("unnamed")
    member.type, member.linkname = kind, linkname
    return member


def npm_package(files: Mapping[str, Content]) -> bytes:
    return gzip.compress(tar(files), mtime=0)


def deb_package(files: Mapping[str, Content], packing: str = ".xz", control: str = "") -> bytes:
    """A Debian package as deb(5) describes it."""
    plain = tar(files)
    packed = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes, ".lzma": bytes}[packing](plain)
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(tar({"./control": control.encode()})),
        f"data.tar{packing}": packed,
    }
    whole = b"!<arch>\n"
    for name, data in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        whole += data + b"\n" * (len(data) % 2)
    return whole


# ---- shelves -----------------------------------------------------------------------------------


@contextmanager
def npm_registry(name: str, version: str, archive: bytes) -> Iterator[str]:
    """A registry on this machine with one package; yields its address."""

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".tgz"):
                return self.reply(200, archive)
            if self.path.replace("%2f", "/").lstrip("/") != name:
                return self.reply(404, b"{}")
            port = self.server.server_port  # type: ignore[attr-defined]
            dist = {
                "tarball": f"http://127.0.0.1:{port}/{name}/-/toy.tgz",
                "shasum": hashlib.sha1(archive).hexdigest(),
            }
            one = {"name": name, "version": version, "dist": dist}
            about = {"name": name, "dist-tags": {"latest": version}, "versions": {version: one}}
            self.reply(200, json.dumps(about).encode())

        def reply(self, code: int, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def apt_archive(folder: Path, name: str, version: str, archive: bytes) -> Path:
    """An archive on this disk with one package, and apt's list of it; returns apt's settings."""
    shelf = folder / "shelf"
    for place in (shelf, folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
        place.mkdir(parents=True)
    (shelf / "toy.deb").write_bytes(archive)
    digest = hashlib.sha256(archive).hexdigest()
    (shelf / "Packages").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: toy <toy@toy>\n"
        f"Filename: ./toy.deb\nSize: {len(archive)}\nSHA256: {digest}\nDescription: toy\n\n"
    )
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{shelf} ./\n")
    settings = folder / "apt.conf"
    settings.write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::lists "{folder}/lists";\nDir::Cache "{folder}/cache";\n'
    )
    update = ["apt-get", "update", "-qq"]
    subprocess.run(update, env={"APT_CONFIG": str(settings), "PATH": PATH}, check=True)
    return settings


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
