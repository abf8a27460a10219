"""The one loop: what moves, what a bad batch costs, and what an interruption costs (nothing)."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.toys import (
    ADAPTER,
    EVERYTHING,
    equal,
    everything,
    lay,
    mixed,
    places,
    samples_of,
    trainer_of,
)
from torch import nn

from chiasm.base.errors import UserError
from chiasm.base.layers import LowRank
from chiasm.inputs.batch import Batch
from chiasm.inputs.chat import Rendered
from chiasm.nn import add_lora
from chiasm.testing import toy_crossed, toy_prefix
from chiasm.training import Facts, Rate, Schedule, Trainer
from chiasm.training.settings import Table
from chiasm.training.trainer import interruption

MODELS = {"crossed": toy_crossed, "prefix": toy_prefix}
EYES: Table = (("decoder.*", None), ("encoder.*", Rate(peak=1e-3)), ("*", Rate(peak=1e-2)))
TABLES = {"everything": EVERYTHING, "adapter": ADAPTER, "eyes": EYES}
STEADY = {  # without decay, which shrinks a matrix even where its gradient is zero
    name: tuple(
        (pattern, rate and rate.model_copy(update={"decay": 0.0})) for pattern, rate in table
    )
    for name, table in TABLES.items()
}
BATCHES = {"pictures": [1, 2], "text": [0, 0], "mixed": [0, 2, 0, 1]}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("content", BATCHES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_step_moves_what_learns_and_nothing_else(
    kind: str, table: str, content: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """Oracle O4. Dead ends are named: rows of tokens that do not occur, layers above the taps."""
    model = MODELS[kind]().to(dtype)
    samples = samples_of(BATCHES[content], places(model))
    trainer = trainer_of(model, tmp_path, table=STEADY[table], schedule=Schedule())
    before = everything(trainer)
    facts = trainer.train_step([lay(model, samples)])
    after = everything(trainer)
    moved = {n for n, _ in model.named_parameters() if not torch.equal(after[n], before[n])}
    learning = set(trainer.learner.learning)
    assert moved <= learning and all(
        after[n].dtype == before[n].dtype for n in before if n in after
    )
    expected = {n for n in learning if n.startswith("decoder.")}
    if content != "text":
        expected = learning - unread(kind)
        if kind == "prefix":
            expected -= {"extra.weight"}  # its rows are replaced by the pictures' vectors
    assert moved == expected
    assert math.isfinite(facts.loss) and (facts.norm > 0) is bool(expected)


def unread(kind: str) -> set[str]:
    """Parameters of the encoder above the highest tap of the toy models."""
    if kind == "crossed":
        return set()
    model = toy_prefix()
    return {
        n
        for n, _ in model.named_parameters()
        if n.startswith(("encoder.blocks.2.", "encoder.post_norm."))
    }


def test_added_tokens_learn_row_by_row(tmp_path: Path) -> None:
    model = toy_crossed()
    trainer = trainer_of(
        model, tmp_path, table=(("extra.*", Rate(peak=1e-2)), ("*", None)), schedule=Schedule()
    )
    before = model.extra.weight.detach().clone()
    trainer.train_step([lay(model, samples_of([1, 0]))])
    assert (model.extra.weight != before).any(1).tolist() == [True, False, False]


def test_text_alone_under_a_frozen_language_model_is_a_step_that_learns_nothing(
    tmp_path: Path,
) -> None:
    model = toy_crossed()
    trainer = trainer_of(model, tmp_path, table=ADAPTER)
    text, pictures = lay(model, samples_of([0, 0])), lay(model, samples_of([1]))
    before = everything(trainer)
    facts = trainer.train_step([text])
    assert equal(everything(trainer), before) and facts.norm == 0 and facts.loss > 0
    assert trainer.bad_steps == 0
    assert trainer.train_step([text, pictures]).norm > 0


def test_facts_are_what_happened(tmp_path: Path) -> None:
    model = toy_crossed()
    trainer = trainer_of(model, tmp_path, schedule=Schedule(warmup=4))
    parts = [lay(model, samples_of([1, 0])), lay(model, samples_of([2], seed=5))]
    facts = trainer.train_step(parts)
    assert facts.step == trainer.step == 1 and facts.rate == 0.25
    assert facts.targets == sum(trainer.objective.weight(part) for part in parts)
    assert facts.tokens == sum(part.tokens.numel() for part in parts) and facts.pictures == 3
    assert facts.seconds > 0


def test_the_gradient_is_clipped_to_its_length(tmp_path: Path) -> None:
    model = toy_crossed().double()
    trainer = trainer_of(model, tmp_path, clip=1e-3)
    seen: list[float] = []
    step = trainer.learner.step

    def watched(number: int) -> float:
        grads = [p.grad.flatten() for p in trainer.learner.learning.values() if p.grad is not None]
        seen.append(float(torch.cat(grads).norm()))
        return step(number)

    trainer.learner.step = watched  # type: ignore[method-assign]
    facts = trainer.train_step(mixed(model)(1))
    assert facts.norm > 1e-3 and seen == [pytest.approx(1e-3, rel=1e-2)]


# ---- bad batches ---------------------------------------------------------------------------------


def with_pixel(batch: Batch, value: float) -> Batch:
    pixels = batch.vision.pixels.clone()
    pixels[0, 1, 2, 3] = value
    return replace(batch, vision=replace(batch.vision, pixels=pixels))


class Poisoned(nn.Module):
    """A model whose loss is finite and whose gradient is not."""

    def __init__(self, model: nn.Module, value: float) -> None:
        super().__init__()
        self.inner, self.value, self.on = model, value, False

    def forward(self, *args: object, **named: object) -> torch.Tensor:
        features = self.inner(*args, **named)
        if self.on:
            features.register_hook(lambda gradient: gradient + self.value)
        return features

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner.head(features)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["pixel", "gradient"])
def test_a_bad_batch_costs_exactly_one_step(
    where: str, value: float, dtype: torch.dtype, place: int, tmp_path: Path
) -> None:
    model = Poisoned(toy_crossed().to(dtype), value)
    good = [lay(model.inner, samples_of([1, 0])), lay(model.inner, samples_of([2], seed=5))]
    parts = list(good)
    trainer = trainer_of(model, tmp_path, table=EVERYTHING)
    trainer.train_step(good)
    before = everything(trainer)
    if where == "pixel":
        parts[place] = with_pixel(parts[place], value)
    model.on = where == "gradient"
    facts = trainer.train_step(parts)
    assert equal(everything(trainer), before)
    assert (
        not math.isfinite(facts.norm)
        and facts.rate == 0
        and trainer.step == 2
        and trainer.bad_steps == 1
    )
    model.on = False
    facts = trainer.train_step(good)
    assert math.isfinite(facts.norm) and facts.rate > 0 and trainer.bad_steps == 0
    after = everything(trainer)
    assert not equal(after, before) and all(value.isfinite().all() for value in after.values())


@pytest.mark.parametrize("where", ["pixel", "gradient"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_values_are_survived_or_skipped(
    where: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = Poisoned(toy_crossed().to(dtype), 1e30)
    trainer = trainer_of(model, tmp_path)
    part = lay(model, samples_of([1, 0]))
    model.on = where == "gradient"
    for _ in range(3):
        trainer.train_step([with_pixel(part, 1e30) if where == "pixel" else part])
    assert all(value.isfinite().all() for value in everything(trainer).values())


def test_a_step_without_a_target_changes_nothing(tmp_path: Path) -> None:
    model = toy_crossed()
    trainer = trainer_of(model, tmp_path)
    sample = samples_of([1])[0]
    silent = Rendered(sample.ids, [False] * len(sample.ids), sample.pictures, sample.seen)
    before = everything(trainer)
    facts = trainer.train_step([lay(model, [silent])])
    assert equal(everything(trainer), before) and facts.loss == 0.0 and facts.targets == 0
    assert trainer.train_step([]).targets == 0


def test_a_row_of_bad_steps_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    model = Poisoned(toy_crossed(), float("nan"))
    trainer = trainer_of(model, tmp_path, patience=3, steps=20, parts_of=mixed(model.inner))
    parts = mixed(model.inner)(1)
    model.on = True
    for _ in range(2):
        trainer.train_step(parts)
    model.on = False
    trainer.train_step(parts)  # a good one begins the count anew
    model.on = True
    for _ in range(2):
        trainer.train_step(parts)
    with pytest.raises(UserError, match=r"step 6: 3 steps in a row"):
        trainer.train_step(parts)


# ---- stopping and going on -----------------------------------------------------------------------


def finished(trainer: Trainer) -> dict[str, torch.Tensor]:
    assert trainer.fit()
    return everything(trainer)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("table", ["everything", "adapter"])
def test_a_resumed_run_ends_bit_identical(
    kind: str, dtype: torch.dtype, table: str, tmp_path: Path
) -> None:
    def new(folder: str) -> Trainer:
        model = MODELS[kind]().to(dtype)
        return trainer_of(model, tmp_path / folder, table=TABLES[table], save_every=1)

    whole = new("whole")
    expected = finished(whole)
    for stop in (1, 4):
        first = new(f"cut-{stop}")
        for parts in first.loader.stream(0, stop):
            first.train_step(parts)
        first.save()
        torch.randn(7)  # whatever happened in between
        second = new(f"cut-{stop}")
        assert second.resume() == stop
        assert equal(finished(second), expected)
        assert second.loader.record() == whole.loader.record()


def test_a_resumed_run_takes_back_the_random_state(tmp_path: Path) -> None:
    first = trainer_of(toy_crossed(), tmp_path)
    torch.manual_seed(5)
    first.save()
    expected = torch.randn(3)
    assert trainer_of(toy_crossed(), tmp_path).resume() == 0
    assert torch.equal(torch.randn(3), expected)


def test_a_resumed_run_drops_the_same_inputs_of_adapters(tmp_path: Path) -> None:
    table = (("*.lora_*", Rate(peak=1e-2)), ("*", None))

    def new(folder: str, dropout: float = 0.5) -> Trainer:
        model = toy_crossed().eval()
        torch.manual_seed(3)
        add_lora(model, (("decoder.*", LowRank(rank=2, dropout=dropout)),))
        return trainer_of(model, tmp_path / folder, table=table, save_every=1)

    expected = finished(new("whole"))
    assert not equal(finished(new("without", dropout=0.0)), expected)
    first = new("cut")
    for parts in first.loader.stream(0, 2):
        first.train_step(parts)
        assert not any(module.training for module in first.model.modules())
    first.save()
    torch.randn(7)
    second = new("cut")
    assert second.resume() == 2
    assert equal(finished(second), expected)


def test_a_fresh_run_resumes_from_nothing(tmp_path: Path) -> None:
    trainer = trainer_of(toy_crossed(), tmp_path)
    before = everything(trainer)
    assert trainer.resume() == 0 and equal(everything(trainer), before)


def test_the_last_step_saves_and_old_checkpoints_go(tmp_path: Path) -> None:
    trainer = trainer_of(toy_crossed(), tmp_path, steps=7, save_every=3, keep=2)
    finished(trainer)
    assert sorted(path.name for path in trainer.checkpoints.iterdir()) == [
        "step-000006",
        "step-000007",
    ]
    again = trainer_of(toy_crossed(), tmp_path, steps=7, save_every=3, keep=2)
    assert again.resume() == 7 and again.fit() and again.step == 7


def test_rates_after_a_resume_are_those_of_the_schedule(tmp_path: Path) -> None:
    schedule = Schedule(warmup=3, floor=0.1)
    rates: list[float] = []

    def note(_: Trainer, facts: Facts) -> None:
        rates.append(facts.rate)

    first = trainer_of(toy_crossed(), tmp_path, steps=9, schedule=schedule)
    first.observers = [
        note,
        lambda trainer, facts: os.kill(os.getpid(), signal.SIGINT) if facts.step == 4 else None,
    ]
    assert not first.fit()
    second = trainer_of(toy_crossed(), tmp_path, steps=9, schedule=schedule)
    second.observers = [note]
    second.resume()
    assert second.fit()
    assert rates == [schedule.factor(step, 9) for step in range(9)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_a_second_one_goes_on(number: int, tmp_path: Path) -> None:
    expected = finished(trainer_of(toy_crossed(), tmp_path / "whole", save_every=100))
    first = trainer_of(toy_crossed(), tmp_path / "cut", save_every=100)

    def press(_: Trainer, facts: Facts) -> None:
        if facts.step == 3:
            os.kill(os.getpid(), number)

    first.observers = [press]
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert not first.fit() and first.step == 3
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    second = trainer_of(toy_crossed(), tmp_path / "cut", save_every=100)
    assert second.resume() == 3 and equal(finished(second), expected)


def test_an_interruption_in_the_last_step_is_a_finished_run(tmp_path: Path) -> None:
    trainer = trainer_of(toy_crossed(), tmp_path)
    trainer.observers = [
        lambda t, facts: os.kill(os.getpid(), signal.SIGINT) if facts.step == 6 else None
    ]
    assert trainer.fit() and trainer_of(toy_crossed(), tmp_path).resume() == 6


def test_an_interruption_just_after_the_question_whether_to_save_waits_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(toy_crossed(), tmp_path, save_every=100)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(trainer.step)
        return len(asked) >= 2  # pressed between the first question and the second

    class Always:
        def __enter__(self) -> Callable[[], bool]:
            return stop

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("chiasm.training.trainer.interruption", Always)
    assert not trainer.fit()
    assert trainer_of(toy_crossed(), tmp_path).resume() == trainer.step  # nothing is lost


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interruption() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)


def test_an_observer_sees_every_step_before_it_is_saved(tmp_path: Path) -> None:
    trainer = trainer_of(toy_crossed(), tmp_path, steps=4, save_every=1)
    seen: list[tuple[int, bool]] = []

    def note(watched: Trainer, facts: Facts) -> None:
        seen.append((facts.step, (watched.checkpoints / f"step-{facts.step:06d}").exists()))

    trainer.observers = [note]
    finished(trainer)
    assert seen == [(1, False), (2, False), (3, False), (4, False)]


def test_the_split_into_micro_batches_changes_the_run_by_rounding_alone(tmp_path: Path) -> None:
    def run(
        folder: str, cut: Callable[[list[Rendered]], Sequence[list[Rendered]]]
    ) -> dict[str, torch.Tensor]:
        model = toy_crossed().double()

        def parts_of(step: int) -> list[Batch]:
            samples = samples_of([1, 0, 2, 0, 1], seed=step)
            return [lay(model, lot) for lot in cut(samples)]

        return finished(trainer_of(model, tmp_path / folder, parts_of=parts_of))

    whole = run("whole", lambda samples: [samples])
    for name, cut in {"each": lambda s: [[x] for x in s], "tail": lambda s: [s[:4], s[4:]]}.items():
        for key, value in run(name, cut).items():
            torch.testing.assert_close(value, whole[key], atol=1e-8, rtol=1e-8)
