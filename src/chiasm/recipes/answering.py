"""A loaded model and its processor, as something that answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from chiasm.inference.engine import Engine
from chiasm.inference.quantize import prepack
from chiasm.inference.sampling import Sampling
from chiasm.inputs.message import Message, parse_messages
from chiasm.inputs.processor import Processor
from chiasm.models import Crossed, Decoder, Prefix

Model: TypeAlias = Decoder | Crossed | Prefix
"""What can be loaded, and speaks."""


def engine_of(model: Model, processor: Processor, packed: bool = True) -> Engine:
    """Return the engine that lets a model speak in its own chat format.

    packed  lay the weights out for speed, once; later changes of the model are then not seen
    """
    config = model.config if isinstance(model, Decoder) else model.config.decoder
    ends = frozenset({processor.renderer.end})
    speaker = prepack(model) if packed else model
    return Engine(speaker, ends, config.context, processor.tokenizer)


def answerer(
    model: Model, processor: Processor, max_tokens: int = 256, packed: bool = True
) -> Callable[[Sequence[Sequence[Message]]], list[str]]:
    """Return a function from conversations to greedy answers."""
    engine = engine_of(model, processor, packed)
    sampling = Sampling(max_tokens=max_tokens)

    def answer(conversations: Sequence[Sequence[Message]]) -> list[str]:
        prompts = [processor.prompt(messages) for messages in conversations]
        return [a.text for a in engine.generate(prompts, processor.pixels_of, sampling)]

    return answer


def chat(
    model: Model,
    processor: Processor,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int = 64,
    temperature: float = 0.0,
) -> str:
    """Return the model's answer to one conversation of OpenAI-style messages."""
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
    prompt = processor.prompt(parse_messages(messages))
    return engine_of(model, processor).generate([prompt], processor.pixels_of, sampling)[0].text
