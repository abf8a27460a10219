"""What watches a run: the log, the looking meter, and answers about sample pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from chiasm.base.log import Metrics, Progress, say
from chiasm.inputs.message import Message, Sample, Text
from chiasm.training.looking import Looking
from chiasm.training.trainer import Facts, Trainer


def gates(model: nn.Module) -> dict[str, float]:
    """How far each cross's gates have opened: tanh of the parameter, 0 at birth, ±1 wide open."""
    return {
        f"gates/{name.removesuffix('_gate')}": float(parameter.detach().tanh())
        for name, parameter in model.named_parameters()
        if name.endswith("_gate")
    }


@dataclass
class Look:
    """Reads the looking meter every so many steps, and warns when the pictures are ignored."""

    meter: Looking
    every: int

    def __call__(self, trainer: Trainer, facts: Facts) -> None:
        if self.every and (facts.step % self.every == 0 or facts.step == trainer.settings.steps):
            losses = self.meter.measure(trainer.model)
            facts.more |= {f"look/{name}": loss for name, loss in losses.items()} | gates(
                trainer.model
            )
            shown = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            say(f"step {facts.step}: looking meter, loss with the picture: {shown}")
            if facts.step * 2 > trainer.settings.steps and losses["blank"] < losses["right"] + 0.02:
                say(
                    "Warning: a blank picture serves this model as well as the right one; it does not look."
                )


@dataclass
class Speak:
    """Lets the model answer held-out questions every so many steps."""

    samples: Sequence[Sample]
    answer: Callable[[Sequence[Sequence[Message]]], list[str]]
    metrics: Metrics
    every: int

    def __call__(self, trainer: Trainer, facts: Facts) -> None:
        if self.every and (facts.step % self.every == 0 or facts.step == trainer.settings.steps):
            prompts = [sample.messages[:-1] for sample in self.samples]
            for sample, said in zip(self.samples, self.answer(prompts), strict=True):
                asked, truth = words(sample.messages[-2]), words(sample.messages[-1])
                line = f"{asked} → {said} ({truth})"
                self.metrics.text(facts.step, f"samples/{sample.key}", line)
                say(f"  {line}")


@dataclass
class Log:
    """Writes every step to metrics.jsonl and TensorBoard, and moves the progress bar."""

    metrics: Metrics
    progress: Progress

    def __call__(self, trainer: Trainer, facts: Facts) -> None:
        shown = {
            "loss": facts.loss,
            "images/s": facts.pictures / facts.seconds,
            "tokens/s": facts.tokens / facts.seconds,
        }
        row = shown | {"gradient": facts.norm, "rate": facts.rate, "targets": facts.targets}
        self.metrics.row(facts.step, row | facts.more)
        self.progress.update(facts.step, shown)
        if facts.step % trainer.settings.save_every == 0:
            self.metrics.sync()


@dataclass
class Ledger:
    """Names every refused sample in skipped.jsonl."""

    path: Path

    def __call__(self, key: str, reason: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"sample": key, "reason": reason}) + "\n")


def words(message: Message) -> str:
    """The text of a message, its pictures left out."""
    return " ".join(part.text for part in message.parts if isinstance(part, Text))
