"""Text unchanged, as a theorem that is run: without pictures a fused model is its plain LLM, bit for bit.

the same tokens ──► fused model ──► features, logits ─┐
     └────────────► plain LLM ────► features, logits ─┴─► equal in every bit, or not

alone          each prompt by itself; also in steps, through a cache
padded batch   rows of text beside rows with pictures     the plain LLM reads the same tokens,
packed batch   the same, laid end to end in one row       an ordinary one in the pictures' places
control        the rows with pictures must differ, or the comparison would prove nothing
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from chiasm.base.errors import UserError
from chiasm.inputs.batch import Batch, pack
from chiasm.inputs.chat import Rendered
from chiasm.inputs.message import Message, Picture, Text
from chiasm.inputs.processor import Processor

ASKED = {
    "Hi": 40,
    "What is the capital of France?": 4,
    "Write a limerick about a lighthouse keeper who is afraid of the dark.": 8,
    "1 2 3 4 5 6 7 8 9 10": 12,
    "Übersetze: the quick brown fox jumps over the lazy dog 🦊": 24,
}
"""Questions; each is asked as it is, and repeated so many times."""
LEAST = 8
"""Fewer prompts would prove little."""
_POSITIONS = 64
"""Logits are compared for so many positions at a time: all at once could take gigabytes."""


@dataclass(frozen=True)
class Finding:
    """One comparison."""

    name: str
    ok: bool
    detail: str
    """What was compared, or where it went wrong."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


@dataclass
class _Tally:
    """Counts what two models gave for the same positions."""

    fused: Any
    plain: Any
    positions: int = 0
    numbers: int = 0
    largest: float = 0.0
    differing: int = 0

    def compare(self, ours: Tensor, theirs: Tensor) -> bool:
        """Compare features [T, width] and the logits that they give; return whether all are equal."""
        same = True
        for start in range(0, len(ours), _POSITIONS):
            part = slice(start, start + _POSITIONS)
            pairs = (
                (ours[part], theirs[part]),
                (self.fused.head(ours[part]), self.plain.head(theirs[part])),
            )
            for a, b in pairs:
                self.numbers += a.numel()
                if not torch.equal(a, b):
                    same = False
                    gap = (a.double() - b.double()).abs()
                    self.differing += int((gap != 0).sum())
                    self.largest = max(self.largest, float(gap.nan_to_num(torch.inf).max()))
        self.positions += len(ours)
        return same

    def told(self, what: str) -> str:
        """One half-sentence about all comparisons so far."""
        said = f"{what}, {self.positions:,} tokens, {self.numbers:,} features and logits"
        if self.differing:
            return f"{said}: {self.differing:,} differ, by up to {self.largest:.3g}"
        return f"{said}: every bit equal"


@torch.inference_mode()
def text_identity(fused: Any, plain: Any, processor: Processor) -> Iterator[Finding]:
    """Compare a fused model with its plain LLM, in the number format that both are in.

    fused, plain  models of the house's call signature; `plain` without eyes
    processor     of the fused model

    Yields findings as they are made; all of them are `ok` when the theorem holds.
    """
    texts = prompts(processor, plain.config.context)
    mixed = [*texts[::2], *with_pictures(processor)]
    yield _alone(fused, plain, texts)
    yield _stepwise(fused, plain, texts[:4])
    rendered = {
        "padded": processor.batch(mixed),
        "packed": pack(mixed, processor.pixels_of),
    }
    ordinary = processor.tokenizer.encode("a")[0]
    for name, batch in rendered.items():
        pairs = _both(fused, plain, batch, mixed, ordinary)
        yield _text_rows(fused, plain, name, mixed, pairs)
        yield _control(name, mixed, pairs)


def prompts(processor: Processor, context: int) -> list[Rendered]:
    """Return prompts without pictures, from a few tokens to several hundred, that fit `context`."""
    texts = [text for text, times in ASKED.items() for text in (text, " ".join([text] * times))]
    rendered = [processor.prompt([Message("user", (Text(text),))]) for text in texts]
    fitting = [each for each in rendered if len(each.ids) <= context]
    if len(fitting) < LEAST:
        raise UserError(
            f"This model's context of {context} tokens holds only {len(fitting)} of the check's "
            f"prompts; at least {LEAST} are needed to say anything."
        )
    return sorted(fitting, key=lambda each: len(each.ids))


def with_pictures(processor: Processor) -> list[Rendered]:
    """Return prompts with a picture in front, in the middle, twice, and in an earlier turn."""
    a, b = noise(0), noise(1)
    said = Message("assistant", (Text("Something."),))
    talks: list[list[Message]] = [
        [Message("user", (a, Text("What is this?")))],
        [Message("user", (Text("Here:"), b, Text("and?")))],
        [Message("user", (a, b, Text("Which is darker?")))],
        [Message("user", (b, Text("Look."))), said, Message("user", (Text("Why?"),))],
    ]
    return [processor.prompt(talk) for talk in talks]


def noise(seed: int, size: int = 48) -> Picture:
    """Return a PNG of random colours: always the same for a seed."""
    from PIL import Image

    colours = random.Random(seed).randbytes(3 * size * size)
    file = io.BytesIO()
    Image.frombytes("RGB", (size, size), colours).save(file, "PNG")
    return Picture(data=file.getvalue())


# ---- the comparisons ---------------------------------------------------------------------------


def _alone(fused: Any, plain: Any, texts: Sequence[Rendered]) -> Finding:
    tally = _Tally(fused, plain)
    same = True
    for text in texts:
        tokens = torch.tensor([text.ids], device=_device(plain))
        same &= tally.compare(fused(tokens)[0], plain(tokens)[0])
    return Finding("alone", same, tally.told(f"{len(texts)} prompts"))


def _stepwise(fused: Any, plain: Any, texts: Sequence[Rendered]) -> Finding:
    """As in a conversation: the prompt is read at once, then token by token, through a cache."""
    tally = _Tally(fused, plain)
    same = True
    for text in texts:
        tokens = torch.tensor([text.ids], device=_device(plain))
        caches = [model.cache(1, len(text.ids)) for model in (fused, plain)]
        head = max(1, len(text.ids) - 4)
        for part in (tokens[:, :head], *tokens[:, head:].split(1, dim=1)):
            ours, theirs = fused(part, cache=caches[0]), plain(part, cache=caches[1])
            for memory in caches:
                memory.advance(part.shape[1])
            same &= tally.compare(ours[0], theirs[0])
    return Finding("through a cache", same, tally.told(f"{len(texts)} prompts in steps"))


def _both(
    fused: Any, plain: Any, batch: Batch, rows: Sequence[Rendered], ordinary: int
) -> list[tuple[Tensor, Tensor]]:
    """Run a batch through both; return each sample's features, of the fused model and the plain one."""
    batch = batch.to(_device(plain))
    added = (batch.tokens >= plain.config.vocab) | (batch.tokens == fused.config.image_token)
    tokens = batch.tokens.masked_fill(added, ordinary)
    ours = fused(**batch.inputs())
    theirs = plain(tokens, positions=batch.positions, segments=batch.segments)
    lengths = [len(row.ids) for row in rows]
    if batch.segments is not None:  # laid end to end
        return list(zip(ours[0].split(lengths), theirs[0].split(lengths), strict=True))
    return [(a[:n], b[:n]) for a, b, n in zip(ours, theirs, lengths, strict=True)]


def _text_rows(
    fused: Any,
    plain: Any,
    name: str,
    rows: Sequence[Rendered],
    pairs: Sequence[tuple[Tensor, Tensor]],
) -> Finding:
    tally = _Tally(fused, plain)
    same = True
    for row, (ours, theirs) in zip(rows, pairs, strict=True):
        if not row.pictures:
            same &= tally.compare(ours, theirs)
    count = sum(not row.pictures for row in rows)
    what = f"{count} text-only prompts beside {len(rows) - count} with pictures"
    return Finding(f"{name} batch", same, tally.told(what))


def _control(
    name: str, rows: Sequence[Rendered], pairs: Sequence[tuple[Tensor, Tensor]]
) -> Finding:
    """Where a prompt has seen its picture, the two models must not say the same."""
    blind = 0
    for row, (ours, theirs) in zip(rows, pairs, strict=True):
        first = next((t for t, (a, b) in enumerate(row.seen) if b > a), None)
        if first is not None and torch.equal(ours[first + 1 :], theirs[first + 1 :]):
            blind += 1
    count = sum(bool(row.pictures) for row in rows)
    if blind:
        told = f"{blind} of {count} prompts with pictures do not differ, so the comparison proves nothing"
    else:
        told = f"all {count} prompts with pictures differ, so the comparison can fail"
    return Finding(f"control, {name}", not blind, told)


def _device(model: Any) -> torch.device:
    return next(iter(model.parameters())).device
