"""A known model with new weights on one GPU in bf16: memory and time of a picture's first token.

    python benchmarks/_on_gpu.py llama-3.2-11b-vision-instruct

`chiasm inspect NAME` says what to expect. Needs a GPU that holds the weights.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from chiasm.base.vision import Vision
from chiasm.models import CrossedConfig, compose
from chiasm.models.zoo import zoo

PROMPT = 32


def built(config: CrossedConfig) -> nn.Module:
    """The model on the GPU, its weights drawn there; all gates half open."""
    with torch.device("meta"):
        model = compose(config)
    model.to(torch.bfloat16).to_empty(device="cuda")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("gate"):
                value.fill_(0.5)
            elif value.ndim > 1:
                value.normal_(std=0.02)
            else:
                value.fill_(1.0) if name.endswith("norm.weight") else value.zero_()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    name = parser.parse_args().name
    config = zoo(name)
    assert isinstance(config, CrossedConfig)
    model = built(config)
    held = torch.cuda.memory_allocated()
    count = sum(p.numel() for p in model.parameters())
    print(f"{torch.cuda.get_device_name()}, {name}: {count:,} parameters, {held / 1e9:.2f} GB held")
    side = config.encoder.image_size
    pixels = torch.randn(4, 3, side, side, device="cuda", dtype=torch.bfloat16)
    spans = torch.tensor([[[0, 1]] * PROMPT], device="cuda")
    vision = Vision(spans, pixels, torch.tensor([[2, 2]]))
    ids = torch.arange(PROMPT, device="cuda")[None] + 100
    ids[0, 0] = config.image_token

    @torch.inference_mode()
    def first() -> None:
        cache = model.cache(1, PROMPT + 16)
        model.head(model(ids, vision=vision, cache=cache)[:, -1]).argmax().item()

    torch.cuda.reset_peak_memory_stats()
    first()
    print(f"peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB with a picture of four tiles")
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        first()
        seconds.append(time.perf_counter() - began)
    print(f"first token after {sorted(seconds)[5] * 1e3:.1f} ms (median of 10)")


if __name__ == "__main__":
    main()
