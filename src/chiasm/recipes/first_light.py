"""The first light: a real language model gets real eyes, on two cores, in a quarter of an hour."""

from __future__ import annotations

from chiasm.data.settings import LoadSettings
from chiasm.recipes.settings import CrossedShape, DataSettings, ModelSettings, PrefixShape, Run
from chiasm.training.settings import Rate, Schedule, TrainSettings

TAPS = ("block.8", "final")
"""Two thirds up, where colours and edges still are themselves; and the top, where CLIP names things."""

DENIED = r"\b(not|no)\b"
"""Questions that ask for the opposite. Yes to "is there a red shape?" and to "is there not a red shape?"
pull the same weights apart, so both at once teach nothing until the model compares at all: the plain ones
go first (docs/lab.md)."""


def first_light() -> Run:
    """Cross-attention between SmolLM2-135M and CLIP ViT-B/16, both frozen, taught on easy-vqa."""
    return Run(
        name="first_light",
        model=ModelSettings(shape=CrossedShape(crosses=4, taps=TAPS), image_size=112),
        data=DataSettings(
            source="easy-vqa",
            load=LoadSettings(
                records=5, questions=6, balance=True, later=DENIED, later_from=5 * 120
            ),
        ),
        learn=(
            ("decoder.*", None),
            ("encoder.*", None),
            ("crosses.*_gate", Rate(peak=2e-2)),
            ("crosses.*", Rate(peak=3e-3, update="muon")),
            ("projector.*", Rate(peak=3e-3, update="muon")),
            ("extra.*", Rate(peak=1e-3)),
        ),
        schedule=Schedule(warmup=10, hold=0.7),
        train=TrainSettings(steps=260),
    )


def first_light_prefix() -> Run:
    """The same data and steps with a unified embedding: the projector and the decoder's attention learn.

    A frozen decoder of this size cannot compare a word with anything (docs/lab.md), and here nothing but
    the decoder can: so its attention learns, as in LLaVA's second stage (Liu et al. 2023, section 4.2).
    """
    crossed = first_light()
    return crossed.model_copy(
        update={
            "name": "first_light_prefix",
            "model": ModelSettings(shape=PrefixShape(taps=TAPS, squares=2), image_size=128),
            "learn": (
                ("decoder.blocks.*.attn.*", Rate(peak=3e-4)),
                ("decoder.*", None),
                ("encoder.*", None),
                ("projector.*", Rate(peak=3e-3, update="muon")),
                ("extra.*", Rate(peak=1e-3)),
            ),
        }
    )
