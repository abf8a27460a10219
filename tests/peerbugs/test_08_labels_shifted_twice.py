"""Peer bug 8: targets shifted by the data and again by the loss, so the model learns t + 2.

Training looks normal and generation skips every other word: transformers #47394 (every release of
GIT since 4.49), #46898, #46784, #37830, accelerate #4303.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tests.training.oracle import MODELS, worst
from tests.training.toys import Steps, lay, samples_of

from chiasm.inputs.chat import Rendered
from chiasm.testing import toy_decoder
from chiasm.training import Learner, NextToken, Rate, Schedule, Trainer, TrainSettings


def test_the_loss_is_of_the_very_next_token() -> None:
    assert worst(MODELS["crossed"], [samples_of([1, 0, 2], seed=4)]) <= 1e-10


def test_a_taught_alphabet_is_said_without_gaps(tmp_path: Path) -> None:
    """A copy task: after a letter comes the next one, and greedy generation must say them all."""
    letters = list(range(65, 77))
    sample = Rendered(letters, [False] + [True] * 11, (), [(0, 0)] * 12)
    model = toy_decoder(depth=1)
    learner = Learner(model, (("*", Rate(peak=3e-2)),), Schedule(), 60)
    steps = Steps(lambda _: [lay(model, [sample])])
    trainer = Trainer(model, NextToken(), learner, steps, TrainSettings(steps=60), tmp_path)
    for parts in steps.stream(0, 60):
        trainer.train_step(parts)
    said = letters[:1]
    with torch.no_grad():
        for _ in range(11):
            said.append(int(model.head(model(torch.tensor([said])))[0, -1].argmax()))
    assert said == letters
