"""Peer bug 46: a GGUF file of a few bytes that takes the process down.

llama.cpp#25378 (no bound on n_dims; the product of the sizes wraps round to a small number), #27203,
ggml#1516. Our way: no number of the file is believed before it is checked against the file's length.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.checkpoint.toys import gguf_entry, gguf_head, gguf_place, gguf_string

from chiasm.checkpoint.gguf import read_gguf
from chiasm.checkpoint.weights import CheckpointError

HUGE = (1 << 64) - 1
FILES = {
    "sizes whose product is 2^64": gguf_head(tensors=1) + gguf_place(b"t", [1 << 32, 1 << 32]),
    "sizes whose product is 2^64 + 8": gguf_head(tensors=1)
    + gguf_place(b"t", [8, (1 << 61) + 1])
    + bytes(64),
    "2^32 - 1 dimensions": gguf_head(tensors=1) + gguf_string(b"t") + struct.pack("<I", HUGE >> 32),
    "forty dimensions": gguf_head(tensors=1) + gguf_place(b"t", [1] * 40) + bytes(999),
    "an offset that wraps": gguf_head(tensors=1)
    + gguf_place(b"t", [8], offset=HUGE - 31)
    + bytes(64),
    "2^64 - 1 entries": gguf_head(entries=HUGE),
    "2^64 - 1 tensors": gguf_head(tensors=HUGE),
    "a string of 2^64 - 1": gguf_head(entries=1) + struct.pack("<Q", HUGE),
    "an array of 2^61": gguf_head(entries=1) + gguf_entry(b"k", 9, struct.pack("<IQ", 10, 1 << 61)),
    "2^40 strings": gguf_head(entries=1) + gguf_entry(b"k", 9, struct.pack("<IQ", 8, 1 << 40)),
    "arrays in arrays": gguf_head(entries=1)
    + gguf_entry(b"k", 9, struct.pack("<IQ", 9, 1) * 100_000),
}


@pytest.mark.parametrize("name", FILES)
def test_a_small_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(FILES[name] + bytes(64))
    began = time.monotonic()
    with pytest.raises(CheckpointError, match="not a sound GGUF file"):
        read_gguf(path)
    assert time.monotonic() - began < 2


def test_all_of_them_fit_into_256_megabytes(tmp_path: Path) -> None:
    """In a process that may hold no more than 256 MB above what the imports took."""
    for place, data in enumerate(FILES.values()):
        (tmp_path / f"{place}.gguf").write_bytes(data + bytes(64))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from chiasm.checkpoint.gguf import read_gguf\n"
        "from chiasm.checkpoint.weights import CheckpointError\n"
        "held = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20), held + (256 << 20)))\n"
        "refused = 0\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.gguf')):\n"
        "    try: read_gguf(path)\n"
        "    except CheckpointError: refused += 1\n"
        "print(refused)"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("the limit is set by what Linux says of the process")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == str(len(FILES)), done.stderr
