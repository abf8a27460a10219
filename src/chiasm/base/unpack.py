"""Archives of npm and Debian, opened as if a stranger had made them: plain files, below one folder."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from chiasm.base.errors import UserError

UNPACKED_BYTES = 1 << 30
"""An archive that unpacks to more than this is refused."""
MEMBERS = 100_000
"""An archive of more files than this is refused."""

Readable: TypeAlias = IO[bytes] | gzip.GzipFile

_UNSOUND = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_AR_HEADER = 60


def unpack_npm(archive: Path, into: Path, only: Sequence[str] = ("*",)) -> int:
    """Unpack the files of an npm package that match one of `only` (as "package/*.json"); return how many.

    Links, devices, absolute names, `..`, a name twice, more than UNPACKED_BYTES or MEMBERS and a
    package that holds nothing of what is asked for are a UserError.
    """
    with open(archive, "rb") as file, gzip.open(file) as plain:
        return _unpack(plain, archive, into, only, links=False)


def unpack_deb(archive: Path, into: Path, only: Sequence[str] = ("*",)) -> int:
    """Unpack the files of a Debian package that match one of `only` (as "usr/share/*"); return how many.

    As `unpack_npm`, but of links, which an honest package may hold, a hard one to a file that was
    unpacked becomes a copy, and the others (devices, too) are left out. Runs none of its scripts and
    needs no program: the format is an ar archive with a tar archive in it (deb(5)).
    """
    with open(archive, "rb") as file, _data_of(file, archive) as plain:
        return _unpack(plain, archive, into, only, links=True)


class _Piece(io.RawIOBase):
    """The next `size` bytes of a file, as a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(min(self.left, len(buffer)))
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _data_of(file: IO[bytes], archive: Path) -> Iterator[Readable]:
    """Yield the decompressed tar archive data.tar.* within a Debian package."""
    if file.read(8) != b"!<arch>\n":
        raise UserError(f"{archive} is not a Debian package; fetch it again.")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name, size = header[:16].decode("latin-1").strip().rstrip("/"), header[48:58].strip()
        if not size.isdigit():
            break
        if not name.startswith("data.tar"):
            file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
            continue
        whole = io.BufferedReader(_Piece(file, int(size)))
        match name.removeprefix("data.tar"):
            case ".xz":
                with lzma.open(whole) as plain:
                    yield plain
            case ".gz":
                with gzip.open(whole) as packed:
                    yield packed
            case "":
                yield whole
            case _:
                raise UserError(
                    f"{archive} holds {name}, which Chiasm does not read (xz, gz, none)."
                )
        return
    raise UserError(f"{archive} is damaged: it holds no data.tar; fetch it again.")


def _unpack(plain: Readable, archive: Path, into: Path, only: Sequence[str], links: bool) -> int:
    count = total = 0
    sizes: dict[PurePosixPath, int] = {}
    try:
        with tarfile.open(fileobj=plain, mode="r|") as opened:
            for member in opened:
                again = _linked(member, sizes) if links else None
                count, total = count + 1, total + (sizes[again] if again else member.size)
                if total > UNPACKED_BYTES or count > MEMBERS:
                    raise UserError(
                        f"{archive.name} unpacks to more than {UNPACKED_BYTES >> 20} MB or {MEMBERS} "
                        "files; refused."
                    )
                if member.isdir() or (links and not again and not member.isreg()):
                    continue
                name = _inside(archive, member, again is not None)
                if any(fnmatchcase(name.as_posix(), each) for each in only):
                    with open(into / again, "rb") if again else _content(opened, member) as source:
                        _write(source, archive, into, name)
                    sizes[name] = sizes[again] if again else member.size
    except _UNSOUND as error:
        raise UserError(f"{archive} is damaged ({error}); fetch it again.") from None
    if not sizes:
        raise UserError(f"{archive.name} does not hold {' or '.join(only)}; refused.")
    return len(sizes)


def _linked(member: tarfile.TarInfo, known: Mapping[PurePosixPath, int]) -> PurePosixPath | None:
    """Return the file that was unpacked before and that a hard link means again."""
    target = PurePosixPath(member.linkname)
    return target if member.islnk() and target in known else None


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = opened.extractfile(member)
    assert source is not None  # a plain file, as `_inside` has seen
    return source


def _write(source: IO[bytes], archive: Path, into: Path, name: PurePosixPath) -> None:
    """Write one plain file; neither owner, times nor permissions are taken over."""
    place = into / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(place):
        raise UserError(f"{archive.name} holds {name} twice; refused.")
    with open(place, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _inside(archive: Path, member: tarfile.TarInfo, again: bool) -> PurePosixPath:
    path = PurePosixPath(member.name)
    odd = path.is_absolute() or ".." in path.parts or not path.parts or "\\" in member.name
    if odd or not (again or member.isreg()) or "\0" in member.name:
        raise UserError(
            f"{archive.name} holds {member.name!r}, which is not a plain file in it; refused."
        )
    return path
