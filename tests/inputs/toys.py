"""Tokenizers, chat templates and hand-made PNG files for the tests of this room."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from PIL import Image
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from chiasm.inputs import Tokenizer

# ── words ────────────────────────────────────────────────────────────────────────────────────────

CHATML_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3_CONTROLS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

CHATML_TEMPLATE = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATML_WITH_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    + CHATML_TEMPLATE
)
LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
# As the vision models' template does: a dated system message, but none beside pictures; pictures
# in the user's content.
LLAMA3_DATED = """
{{- bos_token }}
{%- set said = "" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set said = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- set ns = namespace(pictures=false) %}
{%- for m in messages %}{%- if m['content'] is not string %}{%- set ns.pictures = true %}
{%- endif %}{%- endfor %}
{%- if not ns.pictures %}
    {{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + strftime_now("%Y") }}
    {{- "\\n\\n" + said + "<|eot_id|>" }}
{%- endif %}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if m['content'] is string %}{{- m['content'] }}
    {%- else %}
        {%- for part in m['content'] %}
            {%- if part['type'] == 'image' %}{{- '<|image|>' }}{%- else %}{{- part['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# How Llama 3 cuts text before it merges (llama-models, llama3/tokenizer.py).
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CORPUS = (
    "system\nuser\nassistant\nYou help. What is in the picture?\n\n\n A blue circle.\n  \n"
    "It's 1,234 o'clock\n\n  and they're here.\n \n\t é è 漢字 🙂 <|im_start|> <|eot_id|>\n"
) * 40


@cache
def library_tokenizer(controls: Sequence[str], bos: bool = False) -> tokenizers.Tokenizer:
    """A byte-level BPE with merges over newlines and spaces, cut as SmolLM2's or as Llama 3's."""
    inner = tokenizers.Tokenizer(models.BPE())
    cut: list[pre_tokenizers.PreTokenizer]
    if controls == LLAMA3_CONTROLS:
        split = pre_tokenizers.Split(tokenizers.Regex(_LLAMA3_WORDS), "isolated")
        cut = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    else:
        digits = pre_tokenizers.Digits(individual_digits=True)
        cut = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    inner.pre_tokenizer = pre_tokenizers.Sequence(cut)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(controls),
        show_progress=False,
    )
    inner.train_from_iterator([_CORPUS], trainer)
    if bos:
        # As in Llama's file: every text gets a BOS unless the caller knows better.
        inner.post_processor = processors.TemplateProcessing(
            single=f"{controls[0]} $A", special_tokens=[(controls[0], 0)]
        )
    return inner


@cache
def toy_tokenizer(controls: Sequence[str], bos: bool = False) -> Tokenizer:
    return Tokenizer(library_tokenizer(controls, bos))


@cache
def reference_tokenizer(controls: Sequence[str], template: str) -> PreTrainedTokenizerFast:
    """transformers' tokenizer over the same vocabulary: the oracle of ids."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(library_tokenizer(controls).to_str()),
        bos_token=controls[0],
        chat_template=template,
    )


def lossy_tokenizer() -> tokenizers.Tokenizer:
    """A tokenizer whose unknown token is a control token: text could forge it."""
    inner = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "yes": 1}, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.add_special_tokens(["<unk>"])
    return inner


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    samples: NDArray[Any],
    depth: int,
    colour: int,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG file written by hand (W3C PNG, third edition): Pillow has no part in what we expect.

    `samples` [H, W] or [H, W, C] in the file's own scale; `before` and `after` are chunks around
    the pixels.
    """
    samples = samples.reshape(*samples.shape[:2], -1)
    assert samples.shape[2] == _CHANNELS[colour]
    size = struct.pack(">IIBBBBB", *samples.shape[1::-1], depth, colour, 0, 0, int(interlaced))
    grid = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    passes = (*grid, (1, 0, 2, 1)) if interlaced else ((0, 0, 1, 1),)
    rows = [
        b"\0" + _pack(row, depth)
        for top, left, down, right in passes
        for row in samples[top::down, left::right]
        if row.size
    ]
    body = chunk(b"IDAT", zlib.compress(b"".join(rows), 9))
    parts = (chunk(b"IHDR", size), *before, body, *after, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _pack(row: NDArray[Any], depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = (row.reshape(-1, 1).astype(np.uint8) >> np.arange(depth)[::-1]) & 1
    return np.packbits(bits.reshape(-1)).tobytes()


def bomb(side: int = 13_000) -> bytes:
    """A PNG of some 20 KB whose pixels take half a gigabyte as RGB."""
    line = zlib.compressobj(9)
    body = b"".join(line.compress(bytes(1 + side // 8)) for _ in range(side)) + line.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, GREY, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def mosaic(height: int = 32, width: int = 48, block: int = 16) -> NDArray[np.uint8]:
    """Blocks of different colours, as large as a JPEG block, so that no turn of it looks the same."""
    y, x = np.mgrid[:height, :width] // block
    return (
        np.stack([40 + 60 * x, 30 + 120 * y, 200 - 50 * x * (1 + y)], -1).clip(0, 255).astype("u1")
    )


# ── videos ───────────────────────────────────────────────────────────────────────────────────────

_CELL, _BITS = 8, 12
_PALE, _DARK = 225, 30


def numbered(number: int, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """A frame that says which one it is: ten bits between two marks, and below them their opposite.

    The rest is a pattern of its own, so that a coder has something to write for each frame.
    """
    chance = np.random.default_rng(number)
    grain = chance.integers(60, 190, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    frame = grain.repeat(8, 0).repeat(8, 1)[:height, :width]
    bits = [1, *((number >> k) & 1 for k in reversed(range(_BITS - 2))), 1]
    for place, bit in enumerate(bits):
        columns = slice(place * _CELL, (place + 1) * _CELL)
        frame[8:28, columns] = _PALE if bit else _DARK
        frame[28:48, columns] = _DARK if bit else _PALE
    return frame


def number_in(frame: NDArray[np.uint8]) -> int | None:
    """Which frame of `numbered` this is; None for a frame that is none, or lies on its side."""
    if frame.shape[0] < 48 or frame.shape[1] < _BITS * _CELL:
        return None
    rows = frame[8:48].astype(float).mean(-1).reshape(2, 20, -1)[:, 4:16]
    cells = rows[..., : _BITS * _CELL].reshape(2, 12, _BITS, _CELL)[..., 2:6].mean((1, 3))
    if np.abs(cells - np.where(cells > 128, _PALE, _DARK)).max() > 40:
        return None
    upper, lower = cells > 128
    if (upper == lower).any() or not (upper[0] and upper[-1]):
        return None
    return int("".join(str(int(bit)) for bit in upper[1:-1]), 2)


def film(
    frames: Iterable[NDArray[np.uint8]],
    kind: str = "mp4",
    codec: str = "libx264",
    *,
    rate: Fraction | int = 30,
    times: Sequence[int] | None = None,
    every: int = 12,
    turned: int | None = None,
    **options: str,
) -> bytes:
    """A video file as FFmpeg writes it; `times` in ms instead of a rate; a key frame `every` so many."""
    import av

    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - "faststart" opens it once more by name
    muxing = {name[4:]: options.pop(name) for name in tuple(options) if name.startswith("mux_")}
    with av.open(file.name, "w", format=kind, options=muxing) as container:
        stream = None
        for number, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
                stream.codec_context.gop_size = every
                stream.codec_context.bit_rate = 4_000_000
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
                if turned is not None:
                    stream.set_display_rotation(turned)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())
    with file:
        return Path(file.name).read_bytes()
