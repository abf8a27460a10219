"""Everything that stands between people's messages and a model, in one object."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.inputs.batch import Batch, pad
from chiasm.inputs.chat import Rendered, Renderer
from chiasm.inputs.chat_format import ChatFormat, DefaultSystem
from chiasm.inputs.image import Transform
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.message import Message, Picture, parse_messages
from chiasm.inputs.tokenizer import Tokenizer

_KEPT = 64
"""Pictures whose pixels are kept: a batch's pictures are asked for more than once."""


class Processor:
    """Messages to what a model is called with; the same object for training, evaluation and chat.

    transform    None for a model without eyes: pictures are then refused
    image_token  id that marks a picture's place, `places` of them per picture
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        format: ChatFormat,
        transform: Transform | None = None,
        *,
        image_token: int = -1,
        places: int = 1,
        default_system: DefaultSystem = "template",
    ) -> None:
        self.tokenizer, self.format, self.transform = tokenizer, format, transform
        self.renderer = Renderer(tokenizer, format, image_token, places, default_system)
        self.decoder = ImageDecoder()
        self._pixels: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what `model(**…)` takes for one conversation of OpenAI-style messages."""
        return self.batch([self.prompt(parse_messages(messages))]).inputs()

    def prompt(self, messages: Sequence[Message]) -> Rendered:
        """Render a conversation up to where the assistant speaks; refuse pictures without eyes."""
        rendered = self.renderer.prompt(messages)
        if rendered.pictures and self.transform is None:
            raise UserError(
                "This model has no eyes, so it cannot look at pictures: train one that sees "
                "(chiasm train first_light) or name it with --model."
            )
        return rendered

    def batch(self, prompts: Sequence[Rendered]) -> Batch:
        """Lay rendered conversations one under the other."""
        return pad(prompts, self.pixels_of)

    def pixels_of(self, picture: Picture) -> Tensor:
        """Decode, fit and normalise a picture: [3, size, size]; raises MediaError when it cannot be read."""
        if self.transform is None:
            raise UserError("This model has no eyes, so it cannot look at pictures.")
        data = picture.read()
        key = picture.key
        if key not in self._pixels:
            self._pixels[key] = self.transform.pixels(self.decoder.decode(data, picture.name))
        self._pixels.move_to_end(key)
        while len(self._pixels) > _KEPT:
            self._pixels.popitem(last=False)
        return self._pixels[key]

    def save(self, folder: Path) -> None:
        """Write tokenizer, chat template and picture transform into a model folder."""
        self.tokenizer.save(folder)
        self.format.save(folder)
        if self.transform is not None:
            self.transform.save(folder)

    def close(self) -> None:
        """End the process that decodes pictures."""
        self.decoder.close()
