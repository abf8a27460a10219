"""The one loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from chiasm.base.errors import UserError
from chiasm.checkpoint.state import latest_state, load_state, save_state
from chiasm.inputs.batch import Batch
from chiasm.training.objective import Objective
from chiasm.training.optim import Learner
from chiasm.training.settings import TrainSettings


class Loader(Protocol):
    """What the loop needs of its data: the micro-batches of a step, as a pure function of the step."""

    def stream(self, start: int, stop: int) -> Iterator[Sequence[Batch]]:
        """The micro-batches of steps start … stop - 1, prepared ahead."""
        ...

    def record(self) -> dict[str, Any]:
        """What a checkpoint must remember of the data: counts and refused samples."""
        ...

    def restore(self, record: dict[str, Any]) -> None:
        """Take back what `record` gave."""
        ...


@dataclass
class Facts:
    """What one step did."""

    step: int
    """1-based count of steps done."""
    loss: float
    """Nats per target."""
    norm: float
    """Length of the gradient before clipping."""
    rate: float
    """Fraction of the peak learning rate."""
    targets: int
    tokens: int
    pictures: int
    seconds: float
    more: dict[str, float] = field(default_factory=dict)
    """What observers add for the log."""


Observer = Callable[["Trainer", Facts], None]
"""Sees every step's facts; it may read the model, never change it."""


class Trainer:
    """Model, objective, learner and loader, and the loop that joins them.

    The run's folder holds checkpoints/step-N. `resume` takes back the newest one that verifies and `fit`
    goes on from there: the result is bit-identical to that of a run that was never interrupted.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        learner: Learner,
        loader: Loader,
        settings: TrainSettings,
        folder: Path,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.model, self.objective, self.learner = model, objective, learner
        self.loader, self.settings, self.folder = loader, settings, folder
        self.observers = observers
        self.step = 0
        self.bad_steps = 0

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie."""
        return self.folder / "checkpoints"

    def fit(self) -> bool:
        """Train to the last step; False when Ctrl-C or SIGTERM ended the run early, after saving."""
        with interruption() as stop:
            for parts in self.loader.stream(self.step, self.settings.steps):
                facts = self.train_step(parts)
                last = self.step == self.settings.steps
                for observer in self.observers:
                    observer(self, facts)
                stopping = stop()  # asked once: a Ctrl-C between two questions would go unsaved
                if last or stopping or self.step % self.settings.save_every == 0:
                    self.save()
                if stopping and not last:
                    return False
        return True

    def train_step(self, parts: Sequence[Batch]) -> Facts:
        """One optimizer step over its micro-batches: sums in, one division, one update."""
        began = time.perf_counter()
        parts = [part.to(self.device) for part in parts]
        total = sum(self.objective.weight(part) for part in parts)
        loss = 0.0
        self.model.train()  # adapters may have dropout; observers find the model as it speaks
        for part in parts:
            summed = self.objective.loss(self.model, part)
            if summed.requires_grad:  # text alone passes nothing that learns when the LLM is frozen
                (summed / max(1, total)).backward()
            loss += float(summed.detach())
        self.model.eval()
        norm = float(nn.utils.clip_grad_norm_(self.learner.learning.values(), self.settings.clip))
        rate = self._update(norm, total)
        self.step += 1
        return Facts(
            step=self.step,
            loss=loss / max(1, total),
            norm=norm,
            rate=rate,
            targets=total,
            tokens=sum(part.tokens.numel() for part in parts),
            pictures=sum(part.pictures for part in parts),
            seconds=time.perf_counter() - began,
        )

    def _update(self, norm: float, total: int) -> float:
        """Apply the gradient, or skip the whole step when it is not finite or nothing was learned."""
        if total and torch.isfinite(torch.tensor(norm)):
            self.bad_steps = 0
            return self.learner.step(self.step)
        self.learner.clear()
        self.bad_steps += 1
        if self.bad_steps >= self.settings.patience:
            raise UserError(
                f"Training stopped at step {self.step + 1}: {self.bad_steps} steps in a row had no "
                "finite gradient. Lower the learning rate, or look at the data of these steps."
            )
        return 0.0

    def save(self) -> Path:
        """Write a checkpoint of everything that a resumed run needs."""
        tensors = {
            "model": {name: p.detach() for name, p in self.learner.learning.items()},
            "optimizer": self.learner.state(),
            "random": {"torch": torch.get_rng_state()},
        }
        record = {"step": self.step, "bad_steps": self.bad_steps, "data": self.loader.record()}
        return save_state(self.checkpoints, self.step, tensors, record, self.settings.keep)

    def resume(self) -> int:
        """Take back the newest checkpoint that verifies; return its step, 0 when there is none.

        Raises UserError when there are checkpoints and none verifies: they are not written over.
        """
        newest = latest_state(self.checkpoints)
        if newest is None:
            if any(self.checkpoints.glob("step-*")):
                raise UserError(
                    f"No checkpoint in {self.checkpoints} is whole, so there is nothing to go on from: "
                    "restore one from a copy, or remove the folder to begin again."
                )
            return 0
        tensors, record = load_state(newest)
        with torch.no_grad():
            for name, parameter in self.learner.learning.items():
                parameter.copy_(tensors["model"][name])
        self.learner.restore(tensors["optimizer"])
        torch.set_rng_state(tensors["random"]["torch"])
        self.loader.restore(record["data"])
        self.step, self.bad_steps = record["step"], record["bad_steps"]
        return self.step


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a question that the loop asks; a second one kills."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
