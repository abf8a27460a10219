"""The book of steps: every kind that a recipe can name, and the steps that a recipe has by default.

kind: language ─► LanguageSettings ─► .step(tools) ─► Language
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from chiasm.data.curation.alignment import AlignmentSettings, AlignmentShareSettings
from chiasm.data.curation.caption import CaptionSettings
from chiasm.data.curation.clips import ClipSettings
from chiasm.data.curation.describing import DescribingSettings
from chiasm.data.curation.diversity import RaritySettings, ResampleSettings
from chiasm.data.curation.duplicates import ExactSettings
from chiasm.data.curation.embeddings import EmbeddingSettings, NearEmbeddingsSettings
from chiasm.data.curation.hooks import FacesSettings, UnsafeSettings
from chiasm.data.curation.language import LanguageSettings
from chiasm.data.curation.near_pictures import NearPicturesSettings, PictureHashSettings
from chiasm.data.curation.near_text import NearTextSettings
from chiasm.data.curation.ocr import ReadingSettings
from chiasm.data.curation.picture import PictureSettings
from chiasm.data.curation.recipe import Recipe

AnyStep: TypeAlias = Annotated[
    LanguageSettings
    | CaptionSettings
    | PictureSettings
    | ClipSettings
    | UnsafeSettings
    | FacesSettings
    | AlignmentSettings
    | AlignmentShareSettings
    | ReadingSettings
    | DescribingSettings
    | PictureHashSettings
    | EmbeddingSettings
    | ExactSettings
    | NearTextSettings
    | NearPicturesSettings
    | NearEmbeddingsSettings
    | ResampleSettings
    | RaritySettings,
    Field(discriminator="kind"),
]
"""Settings of a step; `kind` says which."""
Steps: TypeAlias = tuple[AnyStep, ...]


def default_steps() -> Steps:
    """Return steps that need no model: cheap ones first, then those that compare records."""
    return (
        LanguageSettings(),
        CaptionSettings(),
        PictureSettings(),
        PictureHashSettings(),
        ExactSettings(),
        NearPicturesSettings(),
        ResampleSettings(),
    )


KINDS = {
    step.model_fields["kind"].default: step
    for step in AnyStep.__origin__.__args__  # type: ignore[attr-defined]
}
"""Kind -> its settings."""


class CurateSettings(Recipe):
    """What goes in, what happens to every record, and how the work is cut."""

    steps: Steps = default_steps()
    """What is done to every record, in this order."""
