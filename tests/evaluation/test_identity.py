"""The theorem holds for both ways of joining, and the check notices when it does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.evaluation.identity import prompts, text_identity, with_pictures
from chiasm.inputs.chat_format import CHATML
from chiasm.inputs.image import Transform
from chiasm.inputs.processor import Processor
from chiasm.testing import toy_crossed, toy_decoder_config, toy_prefix, toy_tokenizer

NAMES = [
    "alone",
    "through a cache",
    "padded batch",
    "control, padded",
    "packed batch",
    "control, packed",
]
LONG = toy_decoder_config(context=700)


def processor_of(model: Any) -> Processor:
    config = model.config
    return Processor(
        toy_tokenizer(),
        CHATML,
        Transform(size=12),
        image_token=config.image_token,
        places=partial(config.places, 12),
        default_system=None,
    )


def found(fused: Any, plain: Any = None) -> dict[str, bool]:
    with processing(fused) as processor:
        findings = text_identity(fused, plain or fused.decoder, processor)
        return {finding.name: finding.ok for finding in findings}


class processing:
    """A processor whose worker ends with the block."""

    def __init__(self, model: Any) -> None:
        self.processor = processor_of(model)

    def __enter__(self) -> Processor:
        return self.processor

    def __exit__(self, *_: object) -> None:
        self.processor.close()


@pytest.mark.parametrize("make", [toy_crossed, toy_prefix], ids=["crossed", "prefix"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_both_ways_of_joining_leave_text_unchanged(
    make: Callable[..., Any], dtype: torch.dtype
) -> None:
    model = make(decoder=LONG).to(dtype)
    assert found(model) == dict.fromkeys(NAMES, True)


def test_a_weight_that_moved_by_its_lowest_bit_is_noticed() -> None:
    fused, plain = toy_crossed(decoder=LONG), toy_crossed(decoder=LONG).decoder
    with torch.no_grad():
        weight = fused.decoder.blocks[1].mlp.up.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    ok = found(fused, plain)
    assert not (ok["alone"] or ok["padded batch"] or ok["packed batch"])


def test_a_picture_that_leaks_into_other_rows_is_noticed() -> None:
    """As where a cross attends for every token of a batch that holds a picture anywhere."""
    fused = toy_crossed(decoder=LONG)
    plain, inner = fused.decoder, fused.forward

    def leaking(tokens: Tensor, **more: Any) -> Tensor:
        features = inner(tokens, **more)
        return features * (1 + 1e-6) if more.get("vision") is not None else features

    fused.forward = leaking
    assert found(fused, plain) == dict.fromkeys(NAMES, True) | {
        "padded batch": False,
        "packed batch": False,
    }


def test_a_model_that_never_looks_fails_the_control() -> None:
    """Its text is unchanged, but so is everything: the comparison shows nothing."""
    fused = toy_crossed(decoder=LONG)
    plain = fused.decoder
    ordinary = toy_tokenizer().encode("a")[0]

    def blind(tokens: Tensor, *, vision: Any = None, **more: Any) -> Tensor:
        return plain(tokens.masked_fill(tokens >= plain.config.vocab, ordinary), **more)

    fused.forward = blind
    ok = found(fused, plain)
    assert ok["alone"] and ok["padded batch"]
    assert not (ok["control, padded"] or ok["control, packed"])


def test_the_finding_says_how_far_off_it_is() -> None:
    fused, plain = toy_crossed(decoder=LONG), toy_crossed(seed=1, decoder=LONG).decoder
    with processing(fused) as processor:
        first = next(text_identity(fused, plain, processor))
    assert not first.ok and "differ, by up to" in first.detail
    assert first.record() == {"name": "alone", "ok": False, "detail": first.detail}


def test_prompts_are_many_and_of_mixed_lengths_and_some_show_pictures() -> None:
    with processing(toy_crossed()) as processor:
        lengths = [len(prompt.ids) for prompt in prompts(processor, 4096)]
        assert len(lengths) >= 8 and lengths == sorted(lengths) and lengths[-1] > 10 * lengths[0]
        assert [len(prompt.pictures) for prompt in with_pictures(processor)] == [1, 1, 2, 1]
        with pytest.raises(UserError, match="at least 8 are needed"):
            prompts(processor, 100)
