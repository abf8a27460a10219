"""tokenizer.model: a sound one gives tiktoken's ids, all others one error in little time and memory.

The real one is compared with Meta's own tokenizer in tests/parity/test_llama3_words.py.
"""

from __future__ import annotations

import base64
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from chiasm.checkpoint import tiktoken
from chiasm.checkpoint.tiktoken import read_ranks, read_tokenizer, tokenizer_files
from chiasm.checkpoint.weights import CheckpointError
from chiasm.inputs.tokenizer import Tokenizer

BYTES = [bytes([i]) for i in range(256)]
MERGED = [b"th", b"the", b" the", b"er", b"in", b"  ", b"\n\n", "é".encode(), b"12", b"123"]


def line(token: bytes, rank: int) -> bytes:
    return base64.b64encode(token) + b" " + str(rank).encode() + b"\n"


def text(tokens: list[bytes] | None = None) -> bytes:
    tokens = BYTES + MERGED if tokens is None else tokens
    return b"".join(line(token, rank) for rank, token in enumerate(tokens))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    return path


def test_ranks_decide_what_is_merged(tmp_path: Path) -> None:
    tokenizer = Tokenizer(read_tokenizer(written(tmp_path, text())).to_str())
    assert tokenizer.encode("the the") == [257, 258]
    assert tokenizer.encode("1234") == [265, ord("4")]
    assert tokenizer.encode("é\n\n") == [263, 262]
    assert tokenizer.control("<|begin_of_text|>") == 266
    for word in ("héllo  wörld\n\n漢字🙂", "<|eot_id|>", " the\t12 123 1234 12345"):
        assert tokenizer.decode(tokenizer.encode(word)) == word


def test_a_base_model_ends_with_its_text_and_has_no_template(tmp_path: Path) -> None:
    files = tokenizer_files(written(tmp_path, text()), instruct=False)
    assert "chat_template.jinja" not in files
    assert b'"eos_token": "<|end_of_text|>"' in files["tokenizer_config.json"]


def test_the_picture_s_token_stands_behind_all_others_or_nowhere(tmp_path: Path) -> None:
    path = written(tmp_path, text())
    plain = Tokenizer(tokenizer_files(path)["tokenizer.json"].decode())
    seeing = Tokenizer(tokenizer_files(path, vision=True)["tokenizer.json"].decode())
    assert (plain.vocab_size, seeing.vocab_size) == (266 + 256, 266 + 257)
    assert seeing.control("<|image|>") == 266 + 256
    with pytest.raises(KeyError):
        plain.control("<|image|>")


BAD = {
    "empty": b"",
    "one line": line(b"a", 0),
    "not base64": text().replace(line(b"th", 256), b"!!!! 256\n"),
    "base64 without padding": text().replace(line(b"th", 256), b"dGg 256\n"),
    "no rank": text().replace(line(b"th", 256), b"dGg=\n"),
    "a rank that is no number": text().replace(line(b"th", 256), b"dGg= x\n"),
    "a rank below 0": text().replace(line(b"th", 256), b"dGg= -1\n"),
    "a rank of 5,000 digits": text().replace(line(b"th", 256), b"dGg= " + b"9" * 5000 + b"\n"),
    "a rank of other digits": text().replace(line(b"th", 256), "dGg= ٣\n".encode()),
    "a rank beyond": text().replace(line(b"th", 256), line(b"th", 266)),
    "a rank twice": text().replace(line(b"th", 256), line(b"th", 257)),
    "a token twice": text().replace(line(b"th", 256), line(b"er", 256)),
    "an empty token": text().replace(line(b"th", 256), b" 256\n"),
    "three fields": text().replace(line(b"th", 256), b"dGg= 256 1\n"),
    "a blank line": text() + b"\n\n",
    "a byte is missing": text([*BYTES[:255], *MERGED, b"zz"]),
    "a token of 1 MB": text([*BYTES, b"a" * (1 << 20)]),
    "SentencePiece": b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02" * 400,
    "a pickle": b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
    "zip": b"PK\x03\x04" + bytes(3000),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_one_kind_of_error(case: str, tmp_path: Path) -> None:
    path = written(tmp_path, BAD[case])
    with pytest.raises(CheckpointError, match=str(path)):
        read_ranks(path)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "tokenizer.model", "wb") as file:
        file.truncate(tiktoken.FILE_BYTES + 1)
    with pytest.raises(CheckpointError, match="larger than 16 MB"):
        read_ranks(tmp_path / "tokenizer.model")
    with pytest.raises(CheckpointError, match="no file"):
        read_ranks(tmp_path / "gone.model")


@pytest.mark.parametrize("what", ["many lines", "every cut is a merge"])
def test_the_worst_within_the_limits_costs_little(what: str, tmp_path: Path) -> None:
    if what == "many lines":
        data = b"\n" * (tiktoken.FILE_BYTES - 1)
    else:  # 512 tokens of one letter, of every length: 130,816 merges
        data = text([*BYTES, *(b"a" * n for n in range(2, tiktoken.TOKEN_BYTES + 1))])
    path = written(tmp_path, data)
    tracemalloc.start()
    began = time.monotonic()
    if what == "many lines":
        with pytest.raises(CheckpointError, match="lines"):
            read_tokenizer(path)
    else:
        read_tokenizer(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Measured: 0.3 s and 160 MB for the lines, 1.1 s and 76 MB for the merges (on a quiet machine).
    assert time.monotonic() - began < 30
    assert peak < 256 << 20


def test_five_hundred_mutants_load_or_are_refused(tmp_path: Path) -> None:
    draw = random.Random(17)
    source, refused = text(), 0
    for _ in range(500):
        data = bytearray(source)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        try:
            ranks = read_ranks(written(tmp_path, bytes(data)))
            assert sorted(ranks.values()) == list(range(len(ranks)))
        except CheckpointError:
            refused += 1
    assert refused > 400
