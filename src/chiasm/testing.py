"""Toys for tests: models, words and pictures small enough to compute by hand, in milliseconds.

    toy_picture(3), toy_video(3) ─► Sample ─ toy_renderer ─► Rendered ─ pack(…, toy_pixels) ─► Batch
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

from chiasm.inputs.chat import Attend, Rendered, Renderer, Span
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.message import Message, Picture, Sample, Shown, Text, Video
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.models import (
    AggregatorConfig,
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
from chiasm.models.video import VideoConfig

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


def toy_video_config(**changes: Any) -> VideoConfig:
    """Return eyes for videos, for `toy_crossed(video=…)`; `changes` are fields of its aggregator."""
    sizes: dict[str, Any] = {"latents": 3, "depth": 1, "heads": 2, "head_width": 4, "hidden": 8}
    return VideoConfig(
        aggregator=AggregatorConfig(**({**sizes, "merge": 2, "frames": 2} | changes)), every=2
    )


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
        toy_tokenizer(),
        CHATML,
        config.image_token,
        lambda picture: config.places(),
        None,
        attend,
        config.video_token,
    )


def toy_picture(number: int, size: int = IMAGE_SIZE) -> Picture:
    """Return a PNG of one colour with a brighter square in it; another number, another picture."""
    file = io.BytesIO()
    _image(number, size).save(file, "PNG")
    return Picture(data=file.getvalue())


def toy_video(number: int, frames: int = 3) -> Video:
    """Return an animated PNG whose frames are toy pictures; another number, other frames all of them."""
    first, *rest = (_image(number * frames + frame, IMAGE_SIZE) for frame in range(frames))
    file = io.BytesIO()
    first.save(file, "PNG", save_all=True, append_images=rest, duration=100)
    return Video(Picture(data=file.getvalue()))


def _image(number: int, size: int) -> Any:
    from PIL import Image

    colour = tuple(37 * (number + 1) * step % 200 for step in (1, 3, 7))
    image = Image.new("RGB", (size, size), colour)
    side, left = size // 3, (number * 3) % (size // 2)
    image.paste(tuple(c + 55 for c in colour), (left, left, left + side, left + side))
    return image


def toy_pixels(shown: Shown) -> Tensor:
    """Return normal noise [1, 1, 3, 12, 12] that is a function of the picture's bytes, without decoding.

    Of a video [F, 1, 1, 3, 12, 12], where its one to five frames are a function of its bytes too.
    """
    return _noise(shown, 1, 1)


def toy_tiles(shown: Shown) -> Tensor:
    """As `toy_pixels`, but of one to four tiles, in a grid that is a function of the bytes too."""
    return _noise(shown, *TOY_GRIDS[int(shown.key[:4], 16) % len(TOY_GRIDS)])


def _noise(shown: Shown, rows: int, columns: int) -> Tensor:
    source = torch.Generator().manual_seed(int(shown.key[:12], 16))
    frames = (1 + int(shown.key[-4:], 16) % 5,) if isinstance(shown, Video) else ()
    return torch.randn(*frames, rows, columns, 3, IMAGE_SIZE, IMAGE_SIZE, generator=source)


def toy_sample(question: str, answer: str, shown: Sequence[Shown] = (), key: str = "") -> Sample:
    """Return one question after its pictures and videos, and one answer."""
    asked = Message("user", (*shown, Text(question)))
    return Sample((asked, Message("assistant", (Text(answer),))), key)


def toy_rendered(
    seed: int = 0,
    pictures: Sequence[Picture] = (),
    videos: Sequence[Video] = (),
    *,
    tokens: int = 12,
    places: int = 1,
) -> Rendered:
    """Return random ids with pictures and videos at random places, and a random half of the rest learned.

    The picture token is `VOCAB` and the video token the next one, as in the toy models. Neighbouring
    pictures happen, and so does text before the first one.
    """
    source, other = (torch.Generator().manual_seed(seed + more) for more in (0, 1))
    seeing = torch.randint(tokens, (len(pictures),), generator=source).tolist()
    watching = torch.randint(tokens, (len(videos),), generator=other).tolist()
    ids: list[int] = []
    spans: dict[int, list[Span]] = {VOCAB: [], VOCAB + 1: []}
    newest: dict[int, Span] = dict.fromkeys(spans, (0, 0))
    for place, token in enumerate(torch.randint(VOCAB, (tokens,), generator=source).tolist()):
        for new in (*[VOCAB] * seeing.count(place), *[VOCAB + 1] * watching.count(place), token):
            if new in newest:
                first, last = newest[new]
                newest[new] = (first if ids[-1:] == [new] else last, last + 1)
            count = places if new == VOCAB else 1
            ids += [new] * count
            for mark, span in newest.items():
                spans[mark] += [span] * count
    half = (torch.rand(len(ids), generator=source) < 0.5).tolist()
    trained = [wanted and token < VOCAB for wanted, token in zip(half, ids, strict=True)]
    seen, watched = spans.values()
    return Rendered(ids, trained, tuple(pictures), seen, tuple(videos), watched)
