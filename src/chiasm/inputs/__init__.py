"""Words and pictures to numbers: the one road that training, evaluation, chat and server share.

    messages ── message.py ──▶ Sample ── chat.py ──────▶ Rendered: ids, trained, pictures, seen ─┐
                                 │        ├ chat_format.py (checked by template.py)              │
                                 │        └ tokenizer.py                                         │
                                 └─ Picture ── media.py ──▶ uint8 RGB ── image.py ──▶ tiles ─────┤
                                               └ base/worker.py: a child      └ tiles.py         │
                                                   processor.py holds all of it;     batch.py ◀──┘

What may enter: `base`. What never happens here: text that becomes a control token, a mask found by
searching strings, a picture decoded in the process that holds the model, a pickle.
Importing this room, `message` or `media` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chiasm.base.doors import lazily

if TYPE_CHECKING:
    from chiasm.inputs.batch import Batch, pack, pad
    from chiasm.inputs.chat import Rendered, Renderer
    from chiasm.inputs.chat_format import ChatFormat
    from chiasm.inputs.image import Transform
    from chiasm.inputs.media import ImageDecoder, Limits, MediaError, read_picture
    from chiasm.inputs.message import (
        Message,
        Picture,
        Record,
        Sample,
        Text,
        Video,
        parse_messages,
        verified,
    )
    from chiasm.inputs.processor import Processor
    from chiasm.inputs.tiles import TileTransform, load_transform
    from chiasm.inputs.tokenizer import Tokenizer
    from chiasm.inputs.video import FrameRule, read_clip

_HOME = {
    # what people say and show
    **dict.fromkeys(
        ("Message", "Picture", "Record", "Sample", "Text", "Video", "parse_messages", "verified"),
        "message",
    ),
    # words to ids
    "Tokenizer": "tokenizer",
    "ChatFormat": "chat_format",
    **dict.fromkeys(("Rendered", "Renderer"), "chat"),
    # pictures to pixels
    **dict.fromkeys(("ImageDecoder", "Limits", "MediaError", "read_picture"), "media"),
    "Transform": "image",
    **dict.fromkeys(("TileTransform", "load_transform"), "tiles"),
    **dict.fromkeys(("FrameRule", "read_clip"), "video"),
    # both to what a model is called with
    "Processor": "processor",
    **dict.fromkeys(("Batch", "pack", "pad"), "batch"),
}

__all__ = [
    "Batch",
    "ChatFormat",
    "FrameRule",
    "ImageDecoder",
    "Limits",
    "MediaError",
    "Message",
    "Picture",
    "Processor",
    "Record",
    "Rendered",
    "Renderer",
    "Sample",
    "Text",
    "TileTransform",
    "Tokenizer",
    "Transform",
    "Video",
    "load_transform",
    "pack",
    "pad",
    "parse_messages",
    "read_clip",
    "read_picture",
    "verified",
]


__getattr__ = lazily(__name__, _HOME)
