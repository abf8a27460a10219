"""Everything that stands between people's messages and a model, in one object."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.inputs.batch import Batch, pad
from chiasm.inputs.chat import Attend, Rendered, Renderer, no_eyes_for
from chiasm.inputs.chat_format import ChatFormat, DefaultSystem
from chiasm.inputs.media import ImageDecoder
from chiasm.inputs.message import Message, Picture, Shown, Video, parse_messages
from chiasm.inputs.tiles import AnyTransform
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.inputs.video import FrameRule, read_clip

_PIXELS_KEPT = 64
"""Pictures whose pixels are kept: a batch's pictures are asked for more than once."""
_GRIDS_KEPT = 10_000
"""Pictures whose grids are kept: a conversation is rendered anew at every turn."""
_CLIPS_KEPT = 8
"""Videos whose pixels are kept: each is as much as some dozen pictures."""

V = TypeVar("V")


class Processor:
    """Messages to what a model is called with; the same object for training, evaluation and chat.

    transform    None for a model without eyes: pictures are then refused
    image_token  id that marks a picture's place
    places       how many of them a picture of so many tiles takes
    attend       which pictures a token sees, as in `Renderer`
    video        id that marks a video's place, and which of its frames are looked at; None for a model
                 without eyes for videos: they are then refused
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        format: ChatFormat,
        transform: AnyTransform | None = None,
        *,
        image_token: int = -1,
        places: Callable[[int], int] = lambda tiles: 1,
        default_system: DefaultSystem = "template",
        attend: Attend = "last",
        video: tuple[int, FrameRule] | None = None,
    ) -> None:
        self.tokenizer, self.format, self.transform = tokenizer, format, transform
        self.renderer = Renderer(
            tokenizer,
            format,
            image_token,
            lambda picture: places(math.prod(self.grid_of(picture))),
            default_system,
            attend,
            None if video is None else video[0],
        )
        self.frames = None if video is None else video[1]
        self.decoder = ImageDecoder()
        self._pixels: OrderedDict[str, Tensor] = OrderedDict()
        self._clips: OrderedDict[str, Tensor] = OrderedDict()
        self._grids: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def __call__(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what `model(**…)` takes for one conversation of OpenAI-style messages."""
        return self.batch([self.prompt(parse_messages(messages))]).inputs()

    def prompt(self, messages: Sequence[Message]) -> Rendered:
        """Render a conversation up to where the assistant speaks; refuse pictures without eyes."""
        return self.renderer.prompt(messages)

    def batch(self, prompts: Sequence[Rendered]) -> Batch:
        """Lay rendered conversations one under the other."""
        return pad(prompts, self.pixels_of)

    def grid_of(self, picture: Picture) -> tuple[int, int]:
        """Return rows and columns of a picture's tiles, from its header; errors as `pixels_of`."""
        transform = self._eyes()
        if transform.most == 1:
            return 1, 1
        data = picture.read()
        return _kept(
            self._grids,
            picture.key,
            _GRIDS_KEPT,
            lambda: transform.grid(*self.decoder.size(data, picture.name)),
        )

    def shown(self, picture: Picture) -> Shown:
        """Return a file as what the model can see of it: a video if it moves, else the picture.

        A model without eyes for videos sees its first frame. Errors as `pixels_of`.
        """
        if self.frames is None or len(self.decoder.durations(picture.read(), picture.name)) == 1:
            return picture
        return Video(picture)

    def pixels_of(self, shown: Shown) -> Tensor:
        """Decode, fit and normalise a picture: its tiles [rows, columns, 3, size, size].

        Of a video, those of its frames, [frames, rows, columns, 3, size, size]. Raises MediaError when it
        cannot be read, UserError when the model has no eyes for it.
        """
        transform = self._eyes()
        if isinstance(shown, Video):
            if (rule := self.frames) is None:
                raise no_eyes_for(shown)
            return _kept(
                self._clips,
                shown.key,
                _CLIPS_KEPT,
                lambda: read_clip(self.decoder, transform, shown, rule),
            )
        data = shown.read()
        return _kept(
            self._pixels,
            shown.key,
            _PIXELS_KEPT,
            lambda: transform.pixels(self.decoder.decode(data, shown.name)),
        )

    def _eyes(self) -> AnyTransform:
        if self.transform is None:
            raise UserError(
                "This model has no eyes, so it cannot look at pictures: train one that sees "
                "(chiasm train first_light) or name it with --model."
            )
        return self.transform

    def decode_with(self, workers: int) -> None:
        """Decode in so many processes from now on, for as many threads that call `pixels_of`."""
        if workers != self.decoder.workers:
            self.decoder.close()
            self.decoder = ImageDecoder(workers=workers)

    def save(self, folder: Path) -> None:
        """Write tokenizer, chat template and picture transform into a model folder."""
        self.tokenizer.save(folder)
        self.format.save(folder)
        if self.transform is not None:
            self.transform.save(folder)

    def close(self) -> None:
        """End the process that decodes pictures."""
        self.decoder.close()


def _kept(held: OrderedDict[str, V], key: str, most: int, make: Callable[[], V]) -> V:
    """Return what is held for a key, made if need be; of more than `most`, those asked for last stay.

    Several threads may ask at once: each step is one operation of the dictionary, and at worst two of them
    make the same value.
    """
    value = held.pop(key, None)
    if value is None:
        value = make()
    held[key] = value
    while len(held) > most:
        held.popitem(last=False)
    return value
