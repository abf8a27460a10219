"""All known models in one table, for the command line and for docs/zoo.md."""

from __future__ import annotations

from chiasm.models import CrossedConfig, DecoderConfig, PrefixConfig
from chiasm.models.cost import decoder_of, token_bytes
from chiasm.models.zoo import NAMES, ZooConfig, zoo
from chiasm.recipes.estimate import Question, built, sights, text_of

_HEAD = (
    "model",
    "what",
    "parameters",
    "new parts",
    "context",
    "1,000 tokens",
    "a picture",
    "its vectors",
    "to see it",
    "a word",
)
_KINDS = {
    "vit": "eyes",
    "tiled": "eyes",
    "crossed": "cross-attention",
    "prefix": "unified embedding",
}


def gallery() -> list[str]:
    """Return the lines of a Markdown table: sizes in bf16, FLOPs at a context of 2,048 tokens.

    Pictures are as large as they may be. Names of equal sizes share a row.
    """
    shared: dict[ZooConfig, list[str]] = {}
    for name in NAMES:
        shared.setdefault(zoo(name), []).append(name)
    rows = [_row(names, config) for config, names in shared.items()]
    dashes = ("---", "---", *("---:" for _ in _HEAD[2:]))
    return [f"| {' | '.join(cells)} |" for cells in (_HEAD, dashes, *rows)]


def _row(names: list[str], config: ZooConfig) -> tuple[str, ...]:
    asked, model = Question(), built(config)
    counts = {"": 0, "new": 0}
    for name, parameter in model.named_parameters():
        counts[""] += parameter.numel()
        counts["new"] += parameter.numel() * (not name.startswith(("decoder.", "encoder.")))
    text, spoken, pictures = decoder_of(config), text_of(config, asked), sights(config, asked)
    seeing = isinstance(config, CrossedConfig | PrefixConfig)
    memory = f"{pictures[-1].bytes / 1e6:,.1f} MB" if seeing else ""
    return (
        ", ".join(_named(names)),
        "language model" if isinstance(config, DecoderConfig) else _KINDS[config.kind],
        f"{counts['']:,}",
        f"{counts['new']:,}" if seeing else "",
        f"{text.context:,}" if text else "",
        f"{1000 * token_bytes(text) / 1e6:,.1f} MB" if text else "",
        memory,
        f"{pictures[-1].vectors:,}" if pictures else "",
        f"{pictures[-1].flops / 1e9:,.0f} GFLOPs" if pictures else "",
        f"{spoken.decode_flops / 1e9:,.1f} GFLOPs" if spoken else "",
    )


def _named(names: list[str]) -> list[str]:
    """Names as code; those that only add an ending to the one before are told by it."""
    told: list[str] = []
    for name in names:
        first = names[0]
        ending = name.removeprefix(first) if name != first and name.startswith(first) else name
        told.append(f"`{ending}`")
    return told
