"""Text decoding, SmolLM2-135M: ours (packed weights, the engine) against transformers' `generate`.

Both sides load the same folder, read the same prompts of 32 tokens and say 128 tokens, greedily,
with nothing that could end them early. The time is that of the whole call: prompt and answer.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Callable
from typing import Any

import _duel

PROMPT, NEW = 32, 128
CASES = [{"dtype": d, "batch": b} for d, b in itertools.product(("bf16", "fp32"), (1, 8))]


def prompts(batch: int, vocab: int) -> list[list[int]]:
    """The same tokens on both sides, without a library's idea of chance."""
    return [[(7919 * (row + 1) * (t + 3)) % vocab for t in range(PROMPT)] for row in range(batch)]


def facts(said: list[list[int]]) -> dict[str, Any]:
    digest = hashlib.sha256(str(said).encode()).hexdigest()[:8]
    return {"answers": digest, "tokens": sum(map(len, said))}


def ours(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch

    from chiasm.checkpoint.builtin import pull
    from chiasm.checkpoint.folder import load_decoder
    from chiasm.inference import Engine, Sampling, prepack
    from chiasm.inputs.chat import Rendered
    from chiasm.inputs.tokenizer import Tokenizer

    folder = pull("smollm2-135m-instruct")
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]]
    model, _ = load_decoder(folder, dtype)
    engine = Engine(prepack(model), frozenset(), PROMPT + NEW, Tokenizer.load(folder))
    asked = [
        Rendered(ids, [False] * PROMPT, (), [(0, 0)] * PROMPT)
        for ids in prompts(case["batch"], model.config.vocab)
    ]

    def say() -> list[list[int]]:
        answers = engine.generate(asked, lambda _: torch.empty(0), Sampling(max_tokens=NEW))
        return [answer.ids for answer in answers]

    return lambda: (say(), None)[1], facts(say())


def peer(case: _duel.Case) -> tuple[Callable[[], None], dict[str, Any]]:
    import torch
    from transformers import AutoModelForCausalLM

    from chiasm.checkpoint.builtin import pull

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[case["dtype"]]
    model = AutoModelForCausalLM.from_pretrained(pull("smollm2-135m-instruct"), dtype=dtype).eval()
    model.generation_config.eos_token_id = None  # all 128 tokens, on both sides
    tokens = torch.tensor(prompts(case["batch"], model.config.vocab_size))
    options = {
        "attention_mask": torch.ones_like(tokens),
        "max_new_tokens": NEW,
        "do_sample": False,
        "use_cache": True,
        "pad_token_id": 0,
    }

    @torch.inference_mode()
    def say() -> list[list[int]]:
        return model.generate(tokens, **options)[:, PROMPT:].tolist()

    return lambda: (say(), None)[1], facts(say())


if __name__ == "__main__":
    assert __doc__ is not None
    sys.exit(_duel.main(__file__, CASES, {"ours": ours, "peer": peer}, __doc__.splitlines()[0]))
