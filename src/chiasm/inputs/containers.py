"""Is a video's file whole? What its container says of its own length, held against its bytes.

    MP4, MOV    ┌ftyp┐┌mdat ┄┄┄┄┄┄┄┄┄┐┌moov┐       every box ends inside the file, one behind the other
    MKV, WebM   ┌Segment ┌Info┐┌Cluster ┌block┐┌block┐┐┐     the same, two floors deep; check sums
    AVI         ┌RIFF ┄┄┄┄┄┄┄┄┄┐┌RIFF ┄┄┄┐         the same

FFmpeg reads on as if nothing were wrong: of a file cut short it shows fewer frames, behind damage it
looks for the next place that it understands. (ISO/IEC 14496-12, section 4.2; RFC 8794 and 9559; RIFF.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MP4, MATROSKA, AVI = "mov", "matroska", "avi"
"""FFmpeg's names of the containers that we read."""

_SEGMENT, _CLUSTER, _CRC = 0x18538067, 0x1F43B675, 0xBF
_TRACKS, _TRACK, _NUMBER = 0x1654AE6B, 0xAE, 0xD7
_SIMPLE_BLOCK, _GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_IN_SEGMENT = {
    _CLUSTER,
    _CRC,
    _TRACKS,
    0x114D9B74,  # where the others stand
    0x1549A966,  # facts about the whole
    0x1C53BB6B,  # cues
    0x1254C367,  # tags
    0x1043A770,  # chapters
    0x1941A469,  # attachments
    0xEC,  # nothing
}
_IN_CLUSTER = {_CRC, _SIMPLE_BLOCK, _GROUP, 0xE7, 0xA7, 0xAB, 0xAF, 0xEC, 0x5854}


def kind_of(data: memoryview) -> str:
    """Return FFmpeg's name of the container; media.is_film has said that it is one."""
    if bytes(data[:4]) == b"RIFF":
        return AVI
    return MATROSKA if bytes(data[:4]) == b"\x1aE\xdf\xa3" else MP4


def is_whole(data: memoryview, kind: str) -> bool:
    """Whether every part of the file ends where the file still goes on, or with it.

    A file of a live stream does not tell its length: it may lack its end unseen.
    """
    return {AVI: _riffs_fit, MATROSKA: _elements_fit, MP4: _boxes_fit}[kind](data)


def _boxes_fit(data: memoryview) -> bool:
    at = 0
    while len(data) - at >= 8:
        size, head = struct.unpack_from(">I", data, at)[0], 8
        if size == 0:  # up to the end of the file
            return True
        if size == 1 and len(data) - at >= 16:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        if size < head:
            return False
        at += size
    return at <= len(data) and not any(data[at:])  # some writers leave a few zeros behind


def _riffs_fit(data: memoryview) -> bool:
    at = 0
    while len(data) - at >= 12 and bytes(data[at : at + 4]) == b"RIFF":
        (size,) = struct.unpack_from("<I", data, at + 4)
        if size == 0:  # a recording that was never closed
            return True
        at += 8 + size
    return at <= len(data)


def _elements_fit(data: memoryview) -> bool:
    """Walk a Matroska file: what FFmpeg would skip as damaged is damage to us."""
    segments = 0
    try:
        for id, start, end in _elements(data, 0, len(data)):
            segments += id == _SEGMENT
            if id == _SEGMENT and not _segment_fits(data, start, end):
                return False
    except (IndexError, ValueError):
        return False
    return segments > 0


def _segment_fits(data: memoryview, start: int, end: int) -> bool:
    tracks: set[int] = set()
    for id, inside, behind in _elements(data, start, end, _IN_SEGMENT):
        if id != _CRC and not _sum_holds(data, inside, behind):
            return False
        if id == _TRACKS:
            tracks |= _track_numbers(data, inside, behind)
        if id == _CLUSTER and not _track_numbers_of_blocks(data, inside, behind) <= tracks:
            return False
    return True


def _track_numbers(data: memoryview, start: int, end: int) -> set[int]:
    entries = [entry for entry in _elements(data, start, end) if entry[0] == _TRACK]
    fields = [field for _, at, behind in entries for field in _elements(data, at, behind)]
    return {int.from_bytes(data[at:behind], "big") for id, at, behind in fields if id == _NUMBER}


def _track_numbers_of_blocks(data: memoryview, start: int, end: int) -> set[int]:
    blocks = []
    for id, inside, behind in _elements(data, start, end, _IN_CLUSTER):
        if id == _GROUP:
            blocks += [at for id, at, _ in _elements(data, inside, behind) if id == _BLOCK]
        elif id == _SIMPLE_BLOCK:
            blocks.append(inside)
    return {_number(data, at, keep_mark=False)[0] for at in blocks}


def _elements(
    data: memoryview, at: int, end: int, known: set[int] | None = None
) -> Iterator[tuple[int, int, int]]:
    """(id, start of the body, end of the body) of elements that lie one behind the other.

    ValueError for one that reaches beyond `end`, and for an id that is not `known`.
    """
    while at < end:
        id, at = _number(data, at, keep_mark=True)
        size, at = _number(data, at, keep_mark=False)
        if known is not None and id not in known:
            raise ValueError
        behind = at + size if size >= 0 else end
        if behind > end:
            raise ValueError
        if size < 0 and id == _CLUSTER:  # a live stream: up to the next cluster
            behind = _unmeasured(data, at, end)
        yield id, at, behind
        at = behind


def _unmeasured(data: memoryview, at: int, end: int) -> int:
    """Where a cluster of unknown size ends: at an element that belongs one floor higher."""
    while at < end:
        id, start = _number(data, at, keep_mark=True)
        if id in _IN_SEGMENT - _IN_CLUSTER:
            return at
        size, start = _number(data, start, keep_mark=False)
        at = start + size
    return end


def _number(data: memoryview, at: int, keep_mark: bool) -> tuple[int, int]:
    """An EBML number of variable length, and what stands behind it; -1 for an unknown size."""
    length = 9 - data[at].bit_length()
    if length > 8 or at + length > len(data):
        raise ValueError
    value = int.from_bytes(data[at : at + length], "big")
    if not keep_mark:
        value &= (1 << 7 * length) - 1
        value = -1 if value == (1 << 7 * length) - 1 else value
    return value, at + length


def _sum_holds(data: memoryview, start: int, end: int) -> bool:
    """Whether an element's check sum, where it begins with one, is that of the rest."""
    if end - start < 6 or bytes(data[start : start + 2]) != b"\xbf\x84":
        return True
    (told,) = struct.unpack_from("<I", data, start + 2)
    return bool(zlib.crc32(data[start + 6 : end]) == told)
