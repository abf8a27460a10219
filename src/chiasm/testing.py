"""Toys for tests: models, words and pictures small enough to compute by hand, in milliseconds.

    toy_picture(3) ─► Sample ─ toy_renderer ─► Rendered ─ pack(…, toy_pixels) ─► Batch
    toy_crossed(crosses=2) ─► a model whose gates are open: what a test must see is never zero

    model = toy_crossed()
    batch = pack([toy_rendered(1, [toy_picture(0)]), toy_rendered(2)], toy_pixels)
    loss = NextToken().loss(model, batch)

Everything here is a function of its arguments: the same call gives the same numbers, and the global
random state is left alone. Sizes are odd on purpose (heads * head_width is not the width, nothing is
square), so that a transposed or confused dimension is an error and not a coincidence.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import tokenizers
import torch
from torch import Tensor, nn

from chiasm.inputs.chat import Attend, Rendered, Renderer
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.message import Message, Picture, Sample, Text
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.models import (
    Crossed,
    CrossedConfig,
    Decoder,
    DecoderConfig,
    Prefix,
    PrefixConfig,
    ProjectorConfig,
    ViT,
    ViTConfig,
)

CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Control tokens of the toy tokenizer; they stand behind its 256 bytes."""
VOCAB = 256 + len(CONTROLS)
IMAGE_SIZE = 12
"""Side of a toy picture in pixels: 9 patches and a CLS vector."""
TOY_GRIDS = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2), (1, 4), (4, 1))
"""Rows and columns of the tiles that `toy_tiles` makes: all those of Llama 3.2 Vision."""


# ---- models --------------------------------------------------------------------------------------


def toy_decoder_config(**changes: Any) -> DecoderConfig:
    """Return a language model's sizes, those in `changes` replaced."""
    sizes = {"vocab": VOCAB, "width": 20, "depth": 4, "heads": 4, "kv_heads": 2, "head_width": 6}
    return DecoderConfig(**({**sizes, "hidden": 28, "context": 256} | changes))


def toy_vit_config(**changes: Any) -> ViTConfig:
    """Return the sizes of eyes, those in `changes` replaced."""
    sizes = {"image_size": IMAGE_SIZE, "patch": 4, "width": 12, "depth": 3, "heads": 2}
    return ViTConfig(**({**sizes, "hidden": 18} | changes))


def toy_crossed_config(**changes: Any) -> CrossedConfig:
    """Return a cross-attention model of toy parts; `changes` are fields of CrossedConfig."""
    parts: dict[str, Any] = {"decoder": toy_decoder_config(), "encoder": toy_vit_config()}
    parts["projector"] = ProjectorConfig(taps=("block.1", "final"))
    return CrossedConfig(**({**parts, "crosses": 2, "extra_tokens": 3} | changes))


def toy_prefix_config(**changes: Any) -> PrefixConfig:
    """Return a unified-embedding model of toy parts; `changes` are fields of PrefixConfig."""
    parts: dict[str, Any] = {"decoder": toy_decoder_config(), "encoder": toy_vit_config()}
    parts["projector"] = ProjectorConfig(taps=("block.2",), kind="mlp", cls=False)
    return PrefixConfig(**({**parts, "extra_tokens": 3} | changes))


def toy_decoder(seed: int = 0, **changes: Any) -> Decoder:
    """Build a language model; `changes` as in `toy_decoder_config`."""
    return _seeded(Decoder, toy_decoder_config(**changes), seed)


def toy_vit(seed: int = 0, **changes: Any) -> ViT:
    """Build eyes; `changes` as in `toy_vit_config`."""
    return _seeded(ViT, toy_vit_config(**changes), seed)


def toy_crossed(seed: int = 0, **changes: Any) -> Crossed:
    """Build a cross-attention model with open gates; `changes` as in `toy_crossed_config`."""
    return _seeded(Crossed, toy_crossed_config(**changes), seed)


def toy_prefix(seed: int = 0, **changes: Any) -> Prefix:
    """Build a unified-embedding model; `changes` as in `toy_prefix_config`."""
    return _seeded(Prefix, toy_prefix_config(**changes), seed)


def _seeded(kind: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return open_gates(kind(config), seed)


@torch.no_grad()
def open_gates(model: nn.Module, seed: int = 0) -> Any:
    """Move gates off zero, gains off one and biases off zero, in place; return the model.

    A freshly composed model hides its crosses behind closed gates: a wrong cross would pass every test.
    """
    source = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=source).to(parameter.dtype)
        if name.endswith(("_gate", ".gate")):
            parameter.copy_(0.7 + 0.2 * noise)
        elif parameter.ndim == 1:
            parameter.add_(0.2 * noise)
    return model


# ---- words and pictures --------------------------------------------------------------------------


def toy_tokenizer() -> Tokenizer:
    """Return a tokenizer whose tokens are bytes, and the control tokens of ChatML behind them."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[])
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(list(CONTROLS))
    return Tokenizer(inner)


def toy_renderer(config: CrossedConfig | PrefixConfig, attend: Attend = "last") -> Renderer:
    """Return what renders ChatML conversations about pictures of one tile for a toy model."""
    return Renderer(
        toy_tokenizer(), CHATML, config.image_token, lambda picture: config.places(), None, attend
    )


def toy_picture(number: int, size: int = IMAGE_SIZE) -> Picture:
    """Return a PNG of one colour with a brighter square in it; another number, another picture."""
    from PIL import Image

    colour = tuple(37 * (number + 1) * step % 200 for step in (1, 3, 7))
    image = Image.new("RGB", (size, size), colour)
    side, left = size // 3, (number * 3) % (size // 2)
    image.paste(tuple(c + 55 for c in colour), (left, left, left + side, left + side))
    file = io.BytesIO()
    image.save(file, "PNG")
    return Picture(data=file.getvalue())


def toy_pixels(picture: Picture) -> Tensor:
    """Return normal noise [1, 1, 3, 12, 12] that is a function of the picture's bytes, without decoding."""
    return _noise(picture, 1, 1)


def toy_tiles(picture: Picture) -> Tensor:
    """As `toy_pixels`, but of one to four tiles, in a grid that is a function of the bytes too."""
    return _noise(picture, *TOY_GRIDS[int(picture.key[:4], 16) % len(TOY_GRIDS)])


def _noise(picture: Picture, rows: int, columns: int) -> Tensor:
    source = torch.Generator().manual_seed(int(picture.key[:12], 16))
    return torch.randn(rows, columns, 3, IMAGE_SIZE, IMAGE_SIZE, generator=source)


def toy_sample(
    question: str, answer: str, pictures: Sequence[Picture] = (), key: str = ""
) -> Sample:
    """Return one question after its pictures, and one answer."""
    asked = Message("user", (*pictures, Text(question)))
    return Sample((asked, Message("assistant", (Text(answer),))), key)


def toy_rendered(
    seed: int = 0, pictures: Sequence[Picture] = (), *, tokens: int = 12, places: int = 1
) -> Rendered:
    """Return random ids with pictures at random places, and a random half of the rest learned.

    The picture token is `VOCAB`, as in the toy models. Neighbouring pictures happen, and so does text
    before the first one.
    """
    source = torch.Generator().manual_seed(seed)
    before = sorted(torch.randint(tokens, (len(pictures),), generator=source).tolist())
    ids: list[int] = []
    seen: list[tuple[int, int]] = []
    span, ended = (0, 0), -1
    for place, token in enumerate(torch.randint(VOCAB, (tokens,), generator=source).tolist()):
        for _ in range(before.count(place)):
            span = (span[0] if ended == len(ids) else span[1], span[1] + 1)
            ids += [VOCAB] * places
            seen += [span] * places
            ended = len(ids)
        ids.append(token)
        seen.append(span)
    half = (torch.rand(len(ids), generator=source) < 0.5).tolist()
    trained = [wanted and token < VOCAB for wanted, token in zip(half, ids, strict=True)]
    return Rendered(ids, trained, tuple(pictures), seen)
