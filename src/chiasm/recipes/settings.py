"""What can be chosen about a run: the whole record of it, typed and strict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chiasm.base.config import Settings
from chiasm.base.layers import LowRankTable
from chiasm.data.settings import LoadSettings
from chiasm.inputs.video import FrameRule
from chiasm.training.settings import Schedule, Table, TrainSettings


class VideoShape(Settings):
    """Eyes for videos: frames are merged over time, and blocks of their own look at what they become."""

    every: int = Field(0, ge=0)
    """A video cross stands before every so many-th cross for pictures (Llama 3: 4); 0 for no such eyes."""
    latents: int = Field(64, ge=1)
    """Vectors that a group of merged frames becomes."""
    depth: int = Field(1, ge=1)
    """Blocks of the aggregator, which merges."""
    heads: int = Field(8, ge=1)
    """Attention heads of such a block, each 64 wide."""
    merge: int = Field(16, ge=1)
    """Consecutive frames that become one group."""


class CrossedShape(Settings):
    """Cross-attention: blocks of their own look at the picture between the language model's blocks."""

    kind: Literal["crossed"] = "crossed"
    """The architecture's name."""
    taps: tuple[str, ...] = ("final",)
    """Layers of the encoder that are read: block.N (what enters block N), last, final."""
    crosses: int = 8
    """How many cross blocks, spread over the depth by Meta's schedule."""
    cross: Literal["llama", "flamingo"] = "llama"
    """Whose cross blocks: in the decoder's shape with q/k norms, or 8 heads of 64 and a GELU."""
    latents: int | None = Field(None, ge=1)
    """Resample a picture to so many vectors (Flamingo: 64); null projects every vector."""
    attend: Literal["last", "only_last", "all_previous"] = "last"
    """Which pictures a token sees: the last run of them (Llama 3.2), the last one (Flamingo), or all."""
    video: VideoShape = VideoShape()
    """Eyes for videos beside those for pictures."""


class PrefixShape(Settings):
    """Unified embedding: the picture's vectors stand in the text as tokens."""

    kind: Literal["prefix"] = "prefix"
    """The architecture's name."""
    taps: tuple[str, ...] = ("final",)
    """Layers of the encoder that are read: block.N (what enters block N), last, final."""
    squares: int = 1
    """Merge squares x squares neighbouring patches into one vector."""
    latents: int | None = Field(None, ge=1)
    """Resample a picture to so many vectors; null projects every patch."""


class ModelSettings(Settings):
    """Which parts are composed, and how."""

    decoder: str = "smollm2-135m-instruct"
    """The language model: a built-in name, or a folder in transformers' layout."""
    encoder: str = "clip-vit-base-patch16"
    """The eyes: a built-in name, or a folder in transformers' layout."""
    new: tuple[Literal["decoder", "encoder"], ...] = ()
    """Parts that begin with new weights: their names are then those of known models (docs/zoo.md)."""
    words: str | None = None
    """Whose tokenizer and chat format, where the language model is new: a built-in name or a folder."""
    shape: Annotated[CrossedShape | PrefixShape, Field(discriminator="kind")] = CrossedShape()
    """How the two are joined."""
    image_size: int = 224
    """Pictures are fitted into a square of this side, in pixels; the position grid is resampled to it."""
    tiles: int = Field(1, ge=1, le=100)
    """Most such squares that a picture is cut into, on a canvas of its shape (Llama 3.2 Vision: 4)."""
    fit: Literal["pad", "crop", "stretch"] = "pad"
    """How a picture that is not square fits."""
    frames: FrameRule = FrameRule()
    """Which frames of a video are looked at, by models with eyes for videos."""
    system: str | None = None
    """System message of conversations that bring none: text, or null for none at all."""


class DataSettings(Settings):
    """What is learned from."""

    source: str = "easy-vqa"
    """A built-in collection, a folder of pictures with text, a folder of shards, or a Parquet file."""
    cache: bool = False
    """Keep uncompressed copies of Parquet rows on disk: for sets larger than memory."""
    load: LoadSettings = LoadSettings()
    """How much a step sees."""


class Run(Settings):
    """Everything that decides what a run does."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """The run's folder is runs/NAME."""
    model: ModelSettings = ModelSettings()
    """Which parts are composed, and how."""
    data: DataSettings = DataSettings()
    """What is learned from."""
    lora: LowRankTable = ()
    """Linear layers that get adapters: (pattern of their names, rank); the first match wins, null: none.
    What they stand on stays frozen; a row of `learn` such as "decoder.*.lora_*" says how fast they learn."""
    learn: Table
    """Who learns, and how fast: (pattern of names, rate); the first match wins, null freezes."""
    schedule: Schedule = Schedule()
    """When the rates are at their peak."""
    train: TrainSettings
    """How long the run is, and what it does on its way."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What activations and frozen weights are computed in; learning weights are always float32."""
    seed: int = 0
    """Decides the new parts' first weights."""
