"""Another language model under trained adapters: checked before, measured before and after.

    adapters, eyes ─┐                          ┌─ text: how likely plain sentences are
    old LLM ────────┼─► scores ─► swap ─► scores ─ text-identity: still the plain (new) LLM
    new LLM ────────┘             │            └─ pictures: right and blank answers of a benchmark
                                  └─► a folder that refers to the new LLM and carries the adapters

Llama 3 puts its instruct model under adapters that were trained on the base model in the same way
(Llama 3 herd of models, section 7.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from chiasm.base.errors import UserError
from chiasm.checkpoint.composed import part_home, save_model
from chiasm.checkpoint.folder import load_decoder, read_companions
from chiasm.checkpoint.weights import read_json
from chiasm.evaluation.answers import answers
from chiasm.evaluation.identity import Finding, text_identity
from chiasm.evaluation.runner import Images, run
from chiasm.evaluation.tasks import easy_vqa
from chiasm.inputs.image import FILE as PICTURES
from chiasm.inputs.processor import Processor
from chiasm.inputs.tokenizer import Tokenizer
from chiasm.models import Crossed, Decoder, DecoderConfig, Prefix
from chiasm.recipes.answering import engine_of
from chiasm.recipes.loading import home_of, load
from chiasm.recipes.materials import materials
from chiasm.recipes.parts import Say

SHAPE = ("vocab", "width", "depth", "heads", "kv_heads", "head_width")
"""What adapters were made for; everything else of a language model may differ."""
SENTENCES = (
    "Water boils at a lower temperature on a high mountain than at the sea.",
    "The library closes at six, so we have to bring the books back before dinner.",
    "A triangle has three sides, and the sum of its angles is half a turn.",
    "She opened the window because the room was too warm to work in.",
    "Bees visit flowers to collect nectar, and carry pollen from one to the next.",
    "To make bread you need flour, water, salt, yeast and a little patience.",
)
"""Plain English of ours, on which the change of the language model itself is seen."""
WORDS = 16
"""Longest answer to a question about a picture, in tokens."""


@dataclass(frozen=True)
class Scores:
    """What a model is worth, before or after."""

    text: float
    """Mean log-probability of a token of `SENTENCES`, in nats."""
    right: float
    """Share of right answers about pictures."""
    blank: float
    """The same with blank pictures: what the words alone give."""


@dataclass(frozen=True)
class Swapped:
    """What came of a swap."""

    before: Scores
    after: Scores
    identity: tuple[Finding, ...]
    """Whether the new model without pictures is its new language model, bit for bit."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def swap(name: str, decoder: str, path: Path, questions: int, say: Say) -> Swapped:
    """Put another language model under a model's adapters, measure both, and write the new model.

    name       a model with eyes: a run, or a folder
    decoder    the language model that comes in: a built-in name or a folder of LlamaForCausalLM
    path       the new model's folder
    questions  how many questions of easy-vqa are asked before and after

    Raises UserError when shapes or vocabularies differ; then nothing is written.
    """
    home = home_of(name, say)
    model, processor = load(name, say=say)
    try:
        if isinstance(model, Decoder):
            raise UserError(f"{name} has no adapters: name a model that was joined with eyes.")
        comes = load_decoder(part_home(decoder, say), _kind(model))[0].eval().to(_place(model))
        refuse_misfit(model.config.decoder, comes.config, decoder)
        refuse_other_words(processor.tokenizer, Tokenizer.load(part_home(decoder, say)), decoder)
        say(f"Measuring {name} with its own language model ...")
        before = measure(model, processor, questions, say)
        put_under(model, comes)
        write(model, home, decoder, path, say)
    finally:
        processor.close()
    model, processor = load(path, say=say)
    try:
        say(f"Measuring {path}, which speaks with {decoder} ...")
        after = measure(model, processor, questions, say)
        return Swapped(before, after, tuple(text_identity(model, comes, processor)))
    finally:
        processor.close()


def refuse_misfit(old: DecoderConfig, new: DecoderConfig, name: str) -> None:
    """Raise UserError when adapters made for one language model cannot stand over another."""
    apart = [f"{k} {getattr(new, k)}, not {getattr(old, k)}" for k in SHAPE if _differ(old, new, k)]
    if apart:
        raise UserError(
            f"{name} does not fit under these adapters: it has {'; '.join(apart)}. Choose a language "
            "model of the same size and family."
        )


def _differ(old: DecoderConfig, new: DecoderConfig, key: str) -> bool:
    return bool(getattr(old, key) != getattr(new, key))


def refuse_other_words(old: Tokenizer, new: Tokenizer, name: str) -> None:
    """Raise UserError when a token would mean something else under the adapters."""
    if old.ids() != new.ids():
        raise UserError(
            f"{name} has the right shape but other words: its tokenizer differs from the model's, so "
            "tokens would change their meaning under the adapters. Choose one with the same tokenizer."
        )


def put_under(model: Crossed | Prefix, decoder: Decoder) -> None:
    """Exchange the decoder; adapters and eyes stay the tensors that they are."""
    model.decoder = decoder
    model.config = model.config.model_copy(update={"decoder": decoder.config})


def write(model: Crossed | Prefix, home: Path, decoder: str, path: Path, say: Say) -> None:
    """Write the model that was in `home` with its new language model, to which the folder refers."""
    record = read_json(home / "config.json")
    parts = {"decoder": decoder}
    if eyes := record.get("parts", {}).get("encoder", {}).get("source"):
        parts["encoder"] = eyes
    files = {PICTURES: (home / PICTURES).read_bytes()} | read_companions(part_home(decoder, say))
    kept = {name: value for name, value in record.items() if name in ("system", "frames")}
    facts = {**kept, "swapped_from": str(home)}
    save_model(model, path, config=facts, files=files, parts=parts, dtype=torch.bfloat16)


@torch.inference_mode()
def likelihood(
    model: Crossed | Prefix, tokenizer: Tokenizer, texts: Sequence[str] = SENTENCES
) -> float:
    """Return the mean log-probability of the texts' tokens but the first of each, in nats."""
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text)], device=_place(model))
        logits = model.head(model(ids))[0, :-1].float().log_softmax(-1)
        total += float(logits.gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
    return total / count


def measure(model: Any, processor: Processor, questions: int, say: Say) -> Scores:
    """Score sentences without pictures, and questions about pictures with right and blank ones."""
    text = likelihood(model, processor.tokenizer)
    task = easy_vqa(*materials("easy-vqa", say))
    answer = answers(engine_of(model, processor), processor, max_tokens=WORDS, batch=64)
    shown: tuple[Images, Images] = ("right", "blank")
    shares = [
        run(task, answer, images=images, limit=questions, batch=64).shares().total.accuracy
        for images in shown
    ]
    return Scores(text, *shares)


def _place(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def _kind(model: torch.nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype
