"""Text to ids and back: nothing is lost, and nothing that people write is control."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tests.inputs.toys import (
    CHATML_CONTROLS,
    LLAMA3_CONTROLS,
    library_tokenizer,
    lossy_tokenizer,
    toy_tokenizer,
)

from chiasm import testing
from chiasm.base.errors import UserError
from chiasm.inputs import Tokenizer

# Words that meet the merges, white space, every plane of Unicode, and control strings as text.
PIECES = st.one_of(
    st.sampled_from(
        ["\n", "\n\n", " ", "  ", "user", "picture", "\r\n", "\t", "é", "漢", "🙂", "\0"]
    ),
    st.sampled_from([*CHATML_CONTROLS, *LLAMA3_CONTROLS, "<|", "|>"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS)
def test_text_comes_back_and_holds_no_control_token(text: str) -> None:
    for controls in (CHATML_CONTROLS, LLAMA3_CONTROLS):
        tokenizer = toy_tokenizer(controls)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not {tokenizer.control(name) for name in controls} & set(ids)


@given(TEXTS)
def test_a_stream_gives_the_same_text_in_whole_characters(text: str) -> None:
    tokenizer = toy_tokenizer(CHATML_CONTROLS)
    stream = tokenizer.stream()
    pieces = [stream.push(id) for id in tokenizer.encode(text)]
    assert "".join(pieces) + stream.finish() == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, 340), max_size=24))
def test_a_stream_of_any_ids_agrees_with_decoding_them_at_once(ids: list[int]) -> None:
    tokenizer = toy_tokenizer(CHATML_CONTROLS)
    stream = tokenizer.stream()
    assert "".join(stream.push(id) for id in ids) + stream.finish() == tokenizer.decode(ids)


def test_a_character_is_shown_when_its_last_byte_arrives() -> None:
    alphabet = {token: i for i, token in enumerate(sorted(byte_alphabet()))}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(alphabet, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = Tokenizer(inner)
    ids = tokenizer.encode("a🙂b")
    assert len(ids) == 6
    stream = tokenizer.stream()
    assert [stream.push(id) for id in ids] == ["a", "", "", "", "🙂", "b"]
    assert stream.finish() == ""
    assert [stream.push(id) for id in ids[1:4]] == ["", "", ""]
    assert stream.finish() == "\ufffd"


def test_a_stream_of_garbage_does_not_wait_for_ever() -> None:
    tokenizer = toy_tokenizer(CHATML_CONTROLS)
    half = tokenizer.encode("é")[0]
    if tokenizer.decode([half]) != "\ufffd":  # the merges may hold é as a whole
        half = tokenizer.encode("ỗ")[0]
    stream = tokenizer.stream()
    assert tokenizer.decode([half]) == "\ufffd"
    assert any(stream.push(half) for _ in range(40))


def byte_alphabet() -> list[str]:
    return tokenizers.pre_tokenizers.ByteLevel.alphabet()


def test_control_tokens_are_had_by_name_only() -> None:
    tokenizer = toy_tokenizer(CHATML_CONTROLS)
    assert [tokenizer.control(name) for name in CHATML_CONTROLS] == [0, 1, 2]
    for name in ("<|im_middle|>", "picture", ""):
        with pytest.raises(KeyError):
            tokenizer.control(name)
    assert tokenizer.decode([1, *tokenizer.encode("hi"), 2, 10**6]) == "hi"
    named = library_tokenizer(CHATML_CONTROLS).id_to_token
    assert named(tokenizer.vocab_size - 1) and named(tokenizer.vocab_size) is None


def test_where_each_token_begins() -> None:
    text = "a 漢字\n\n b🙂"
    ids, starts = toy_tokenizer(CHATML_CONTROLS).spell(text)
    assert len(ids) == len(starts) and starts[0] == 0 and starts == sorted(starts)
    decode = toy_tokenizer(CHATML_CONTROLS).decode
    for place, start in enumerate(starts):
        if "\ufffd" not in (rest := decode(ids[place:])):
            assert rest == text[start:]


def test_bos_cutting_and_padding_of_the_file_do_not_apply() -> None:
    inner = tokenizers.Tokenizer.from_str(library_tokenizer(LLAMA3_CONTROLS, bos=True).to_str())
    inner.enable_truncation(4)
    inner.enable_padding(length=64)
    tokenizer = Tokenizer(inner)
    text = "What is in the picture? A blue circle."
    assert tokenizer.encode(text) == toy_tokenizer(LLAMA3_CONTROLS).encode(text)
    assert tokenizer.encode("") == []
    assert inner.truncation is not None  # the caller's own tokenizer is left as it was


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UserError, match="lone surrogate"):
        toy_tokenizer(CHATML_CONTROLS).encode("a\ud800")


def test_a_tokenizer_that_forges_control_tokens_is_refused() -> None:
    tokenizer = Tokenizer(lossy_tokenizer())
    assert tokenizer.encode("YES") == [1]
    with pytest.raises(UserError, match="forge turns"):
        tokenizer.encode("no")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    library_tokenizer(LLAMA3_CONTROLS, bos=True).save(str(first / "tokenizer.json"))
    (first / "tokenizer_config.json").write_text('{"bos_token": "<|begin_of_text|>"}')
    Tokenizer.load(first).save(second)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    # The post-processor, which we do not use, is still there for others.
    again = tokenizers.Tokenizer.from_file(str(second / "tokenizer.json"))
    assert again.encode("hi").ids[0] == 0


def test_bad_files_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist"):
        Tokenizer.load(tmp_path)
    for damaged in (b"", b"{}", b'{"version": "1.0"', b"\xff\xfe", b"[]" * 9):
        (tmp_path / "tokenizer.json").write_bytes(damaged)
        with pytest.raises(UserError, match="not a tokenizer that can be read"):
            Tokenizer.load(tmp_path)


def test_a_table_must_hold_the_ordinary_tokens_and_may_lack_control_tokens() -> None:
    behind = testing.toy_tokenizer()  # its control tokens stand behind its bytes
    assert (behind.words, behind.vocab_size) == (256, 256 + len(testing.CONTROLS))
    before = toy_tokenizer(CHATML_CONTROLS)  # here they come first
    assert before.words == before.vocab_size
