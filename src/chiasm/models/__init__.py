"""models: the assemblies. A configuration goes in, a module comes out; all are called alike.

    model(tokens, *, positions, segments, vision, cache) -> features       model.head(features) -> logits

    Decoder   a plain language model                        tokens ─► blocks ─► features
    ViT       eyes; every layer can be read (taps)          pixels ─► blocks ─► taps
    Classifier    ViT + one logit per class                 pixels ─► ViT ─► CLS ─► logits
    DualEncoder   CLIP, SigLIP: ViT beside a text tower     pixels ─► vector ─► cosine ◄─ vector ◄─ tokens
    Crossed   Decoder + ViT, cross-attention between        tokens ─► block ─► cross ─► block ─► …
              the decoder's blocks                                              ▲ taps ─► projector
    Prefix    Decoder + ViT, pictures as tokens             [picture vectors, tokens] ─► blocks ─► …
    Resampler, Aggregator, Perceiver                        any number of vectors ─► a fixed number

May enter: how blocks are put together, sizes of known models. Must stay outside: training, text, files.
"""

from chiasm.models.classifier import Classifier, ClassifierConfig
from chiasm.models.clip import (
    DualConfig,
    DualEncoder,
    ImageTower,
    ImageTowerConfig,
    TextTower,
    TextTowerConfig,
)
from chiasm.models.crossed import Crossed, CrossedConfig, fusion_schedule
from chiasm.models.decoder import Decoder, DecoderConfig
from chiasm.models.eyes import Eyes
from chiasm.models.perceiver import (
    Aggregator,
    AggregatorConfig,
    Perceiver,
    PerceiverConfig,
    Resampler,
    ResamplerConfig,
)
from chiasm.models.prefix import Prefix, PrefixConfig
from chiasm.models.projector import Projector, ProjectorConfig
from chiasm.models.sight import see
from chiasm.models.vit import ViT, ViTConfig
from chiasm.nn import RopeScaling

__all__ = [
    "Aggregator",
    "AggregatorConfig",
    "Classifier",
    "ClassifierConfig",
    "Crossed",
    "CrossedConfig",
    "Decoder",
    "DecoderConfig",
    "DualConfig",
    "DualEncoder",
    "ImageTower",
    "ImageTowerConfig",
    "Perceiver",
    "PerceiverConfig",
    "Prefix",
    "PrefixConfig",
    "Projector",
    "ProjectorConfig",
    "Resampler",
    "ResamplerConfig",
    "RopeScaling",
    "TextTower",
    "TextTowerConfig",
    "ViT",
    "ViTConfig",
    "compose",
    "fusion_schedule",
    "see",
]


def compose(
    config: CrossedConfig | PrefixConfig,
    decoder: Decoder | None = None,
    encoder: Eyes | None = None,
) -> Crossed | Prefix:
    """Join a decoder and an encoder, built ones or new ones, as the configuration says."""
    joined = Crossed if isinstance(config, CrossedConfig) else Prefix
    return joined(config, decoder, encoder)
