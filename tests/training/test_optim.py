"""Who learns: one table, every parameter covered, the frozen untouched, the learning in fp32."""

from __future__ import annotations

import pytest
import torch
from tests.training.toys import ADAPTER, bits, equal, lay, samples_of

from chiasm.base.errors import UserError
from chiasm.base.layers import LowRank
from chiasm.nn import add_lora
from chiasm.testing import toy_crossed
from chiasm.training import Learner, NextToken, Rate, Schedule
from chiasm.training.optim import assign

FAST, SLOW = Rate(peak=1e-2), Rate(peak=1e-3, decay=0.1)


def learner_of(model: torch.nn.Module, table: tuple, steps: int = 10, warmup: int = 0) -> Learner:
    return Learner(model, table, Schedule(warmup=warmup), steps)


def test_the_first_row_that_matches_decides() -> None:
    table = (("decoder.blocks.1.*", FAST), ("decoder.*", None), ("*_gate", SLOW), ("*", FAST))
    rows = assign(toy_crossed(), table)
    assert rows["decoder.blocks.1.attn.q.weight"] == table[0]
    assert rows["decoder.blocks.2.mlp.up.weight"] == table[1]
    assert rows["crosses.0.attn_gate"] == table[2]
    assert rows["encoder.cls"] == rows["crosses.1.attn.q.weight"] == table[3]


def test_an_uncovered_parameter_is_an_error_that_names_it() -> None:
    with pytest.raises(UserError, match=r"whether extra\.weight learns.*\"extra\.\*\""):
        assign(
            toy_crossed(),
            tuple((f"{p}.*", None) for p in ("decoder", "encoder", "projector", "crosses")),
        )


@pytest.mark.parametrize("pattern", ["crosse.*", "decoder.layers.*", "encoder"])
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(UserError, match="matches no parameter"):
        assign(toy_crossed(), ((pattern, None), ("*", FAST)))


def test_a_row_in_the_shadow_of_others_is_an_error() -> None:
    with pytest.raises(UserError, match=r"\"crosses\.\*\" of `learn` matches no parameter"):
        assign(toy_crossed(), (("*", None), ("crosses.*", FAST)))


def test_a_table_by_which_nothing_learns_is_an_error() -> None:
    with pytest.raises(UserError, match="freezes everything"):
        learner_of(toy_crossed(), (("*", None),))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_learning_parameters_are_fp32_and_frozen_ones_stay_as_they_are(dtype: torch.dtype) -> None:
    model = toy_crossed().to(dtype)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    learner = learner_of(model, ADAPTER)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("decoder.", "encoder."))
        assert parameter.requires_grad is not frozen and (name in learner.learning) is not frozen
        assert parameter.dtype == (dtype if frozen else wide)
        assert torch.equal(parameter.detach(), before[name].to(parameter.dtype))
    assert all(p is model.get_parameter(name) for name, p in learner.learning.items())


def test_decay_is_for_matrices_only() -> None:
    model = toy_crossed()
    learner = learner_of(model, (("decoder.*", None), ("*", SLOW)))
    decays = {p: group["weight_decay"] for group in learner.groups for p in group["params"]}
    assert len(decays) == len(learner.learning)
    for parameter in learner.learning.values():
        assert decays[parameter] == (0.1 if parameter.ndim > 1 else 0.0)


def test_each_part_learns_at_its_own_rate_times_the_schedule() -> None:
    model = toy_crossed()
    learner = learner_of(model, (("decoder.*", None), ("encoder.*", SLOW), ("*", FAST)), warmup=4)
    for step, factor in enumerate((0.25, 0.5, 0.75, 1.0)):
        assert learner.step(step) == factor
        rates = {p: group["lr"] for group in learner.groups for p in group["params"]}
        assert rates[model.encoder.cls] == pytest.approx(1e-3 * factor)
        assert rates[model.extra.weight] == pytest.approx(1e-2 * factor)


def test_a_step_is_adamw_by_its_formula() -> None:
    """Loshchilov and Hutter (2019), algorithm 2, on one matrix over three steps."""
    model = torch.nn.Linear(3, 2, bias=False).double()
    learner = learner_of(model, (("*", Rate(peak=0.1, decay=0.2)),), steps=4)
    x, m, v = model.weight.detach().clone(), torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    for step in range(3):
        gradient = torch.randn(2, 3, dtype=torch.float64)
        model.weight.grad = gradient.clone()
        rate = 0.1 * learner.step(step)
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        x = x - rate * 0.2 * x
        x = x - rate * (m / (1 - 0.9 ** (step + 1))) / (
            (v / (1 - 0.95 ** (step + 1))) ** 0.5 + 1e-8
        )
        torch.testing.assert_close(model.weight.detach(), x, atol=1e-12, rtol=0)
    assert model.weight.grad is None


MUON = Rate(peak=0.01, decay=0.1, update="muon")


def test_muon_moves_linear_layers_and_adamw_the_rest() -> None:
    model = toy_crossed()
    learner = learner_of(model, (("*", MUON),))
    kinds = {
        id(parameter): type(optimizer)
        for optimizer in learner.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(kinds) == len(learner.learning)
    muon = {name for name, p in learner.learning.items() if kinds[id(p)] is torch.optim.Muon}
    assert {"crosses.0.attn.q.weight", "crosses.1.mlp.down.weight", "projector.map.weight"} <= muon
    tables = {
        "extra.weight",
        "decoder.embed.weight",
        "encoder.position.weight",
        "encoder.patches.weight",
    }
    assert tables <= set(learner.learning) - muon
    assert all(learner.learning[name].ndim == 2 for name in muon)


def test_a_step_of_muon_is_as_long_in_every_direction_of_the_gradient() -> None:
    """A gradient a thousand times stronger in one direction moves the weights evenly in all of them.

    The length is AdamW's: Liu et al. (2025), "Muon is scalable for LLM training", equation 4, makes the
    update 0.2 sqrt(max(rows, columns)) times an orthogonal matrix. Newton-Schulz leaves singular values
    in 0.7 ... 1.2 (Jordan et al. 2024).
    """
    torch.manual_seed(0)
    model = torch.nn.Linear(24, 16, bias=False)
    learner = learner_of(model, (("*", MUON.model_copy(update={"decay": 0.0})),))
    before = model.weight.detach().clone()
    left, _, right = torch.linalg.svd(torch.randn(16, 24), full_matrices=False)
    strengths = torch.tensor([1000.0] + [5.0 + 4 * i for i in range(15)])
    model.weight.grad = left @ torch.diag(strengths) @ right
    learner.step(0)
    moved = (before - model.weight.detach()) / (0.01 * 0.2 * 24**0.5)
    along = torch.diag(left.T @ moved @ right.T)
    assert along[0] / along[8] < 2, "AdamW or plain descent would make this hundreds"
    assert along[1:].min() > 0.5 and along.max() < 1.3


@pytest.mark.parametrize("rate", [FAST, MUON])
def test_what_state_gives_restore_takes_back_bit_for_bit(rate: Rate) -> None:
    table = (("*", rate),)

    def stepped(learner: Learner, model: torch.nn.Module, step: int) -> None:
        NextToken().loss(model, lay(model, samples_of([1, 0, 2], seed=step))).backward()
        learner.step(step)

    first, second = toy_crossed(), toy_crossed()
    one, two = learner_of(first, table), learner_of(second, table)
    for step in range(3):
        stepped(one, first, step)
    second.load_state_dict(first.state_dict())
    held = {name: value.clone() for name, value in one.state().items()}
    two.restore(held)
    stepped(one, first, 3)
    stepped(two, second, 3)
    assert equal(dict(first.state_dict()), dict(second.state_dict())) and equal(
        one.state(), two.state()
    )
    # what was handed over is not what the optimizer works on
    assert any(bits(held[name]) != bits(two.state()[name]) for name in held)


# ---- adapters ----------------------------------------------------------------------------------

LORA = ("decoder.*.lora_*", FAST)


def adapted() -> torch.nn.Module:
    model = toy_crossed()
    add_lora(model, (("decoder.blocks.*.attn.q", LowRank(rank=2)),))
    return model


def test_adapters_learn_by_a_row_of_their_own() -> None:
    learner = learner_of(adapted(), (LORA, ("*", None)))
    assert len(learner.learning) == 8 and all(".lora_" in name for name in learner.learning)


def test_an_adapter_that_a_row_freezes_is_an_error() -> None:
    told = (
        r'"decoder\.\*" of `learn` freezes the adapter decoder\.blocks\.0\.attn\.q\.lora_a.*lora_\*'
    )
    with pytest.raises(UserError, match=told):
        learner_of(adapted(), (("decoder.*", None), ("*", FAST)))


def test_what_an_adapter_stands_on_must_not_learn() -> None:
    with pytest.raises(UserError, match=r"lets decoder\.blocks\.0\.attn\.q\.weight learn beside"):
        learner_of(adapted(), (LORA, ("*", FAST)))


def test_a_row_for_adapters_that_are_not_there_is_an_error() -> None:
    with pytest.raises(UserError, match="matches no parameter"):
        learner_of(toy_crossed(), (LORA, ("*", FAST)))
