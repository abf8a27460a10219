"""Cross-attention against unified embedding: time to read a picture's prompt, and memory that it keeps.

The same decoder (SmolLM2-135M's sizes, random weights) reads the same 32 tokens and one picture of
196, 576 or 2,304 vectors, already seen (the eyes are the same for both). Cross-attention keeps the
picture beside the text, in 6 cross blocks; unified embedding keeps it in the text, in all 30 blocks.

`--plot FILE.svg` draws the measured ratios and the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _duel

TEXT, EYES = 32, 768
VECTORS = (196, 576, 2304)
CASES = [{"dtype": "bf16", "vectors": v} for v in VECTORS]


def decoder() -> Any:
    from chiasm.models import DecoderConfig

    return DecoderConfig(
        vocab=49152,
        width=576,
        depth=30,
        heads=9,
        kv_heads=3,
        head_width=64,
        hidden=1536,
        context=8192,
        rope_theta=1e5,
    )


def built(kind: str, vectors: int) -> tuple[Any, Any, Any]:
    """A model, its tokens and what it is shown, as features."""
    import torch

    from chiasm.base.vision import Vision
    from chiasm.models import CrossedConfig, PrefixConfig, ProjectorConfig, ViTConfig, compose

    eyes = ViTConfig(image_size=224, patch=16, width=EYES, depth=1, heads=12, hidden=3072)
    parts: dict[str, Any] = {"decoder": decoder(), "encoder": eyes}
    config: Any
    if kind == "crossed":
        config = CrossedConfig(**parts, projector=ProjectorConfig(cls=False), crosses=6)
    else:
        config = PrefixConfig(**parts, projector=ProjectorConfig(kind="mlp", cls=False))
    torch.manual_seed(0)
    model = compose(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("_gate"):
                value.fill_(0.5)
    places = 1 if kind == "crossed" else vectors
    words = [(7919 * (t + 3)) % 49152 for t in range(TEXT)]
    tokens = torch.tensor([[config.image_token] * places + words])
    source = torch.Generator().manual_seed(vectors)
    features = torch.randn(1, 1 + vectors, EYES, generator=source).bfloat16()
    spans = torch.tensor([[[0, 1]] * tokens.shape[1]])
    return model.bfloat16().eval(), tokens, Vision(spans, features=features)


def reading(kind: str, case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch

    from chiasm.inference import prepack

    model, tokens, vision = built(kind, case["vectors"])
    model = prepack(model)

    @torch.inference_mode()
    def read() -> Any:
        cache = model.cache(1, tokens.shape[1] + 16)
        features = model(tokens, vision=vision, cache=cache)
        model.head(features[:, -1])
        cache.advance(tokens.shape[1])
        return cache

    cache = read()
    text = sum(store[:, :, : tokens.shape[1]].numel() for store in cache.store)
    shown = sum(part.numel() for pair in cache.pictures.pairs for part in pair)
    # What a bfloat16 cache takes; ours is wider on processors, where that is faster.
    return lambda: (read(), None)[1], {"megabytes": round(2 * (text + shown) / 1e6, 2)}


def crossed(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    return reading("crossed", case)


def unified(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    return reading("prefix", case)


def plot(path: Path) -> None:
    """Measure in a process of its own and draw."""
    done = subprocess.run(
        [sys.executable, __file__, "--json"], check=True, capture_output=True, text=True
    )
    cases = json.loads(done.stdout)["cases"]
    path.write_text(drawing(cases))
    print(done.stdout)


def drawing(cases: list[dict[str, Any]]) -> str:
    """Bars for time (unified / cross) and memory of both, as a small SVG of its own."""
    left = [(f"{c['case']['vectors']:,}", [("", c["median"], "#2b6cb0")]) for c in cases]
    right = [
        (
            f"{c['case']['vectors']:,}",
            [
                ("cross", c["facts"]["ours"]["megabytes"], "#2b6cb0"),
                ("unified", c["facts"]["peer"]["megabytes"], "#c05621"),
            ],
        )
        for c in cases
    ]
    panels = [
        bars(left, "reading time, unified / cross-attention", 20),
        bars(right, "memory kept, MB in bf16 (blue: cross, orange: unified)", 380),
    ]
    style = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 260" font-family="sans-serif"'
    return f"<svg {style} font-size='12'>\n" + "\n".join(panels) + "\n</svg>\n"


def bars(groups: list[tuple[str, list[tuple[str, float, str]]]], title: str, x: int) -> str:
    top = max(value for _, group in groups for _, value, _ in group)
    drawn = [f'<text x="{x}" y="18">{title}</text>']
    for i, (name, group) in enumerate(groups):
        wide = 80 // len(group)
        for j, (_, value, colour) in enumerate(group):
            height = 180 * value / top
            at = x + 110 * i + wide * j
            drawn += [
                f'<rect x="{at}" y="{230 - height:.1f}" width="{wide - 4}" height="{height:.1f}"'
                f' fill="{colour}"/>',
                f'<text x="{at}" y="{225 - height:.1f}">{value:.3g}</text>',
            ]
        drawn.append(f'<text x="{x + 110 * i}" y="248">{name} vectors</text>')
    return "\n".join(drawn)


if __name__ == "__main__":
    if "--plot" in sys.argv:
        plot(Path(sys.argv[sys.argv.index("--plot") + 1]))
        sys.exit(0)
    assert __doc__ is not None
    sides = {"ours": crossed, "peer": unified}
    sys.exit(_duel.main(__file__, CASES, sides, __doc__.splitlines()[0]))
