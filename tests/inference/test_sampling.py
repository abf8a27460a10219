"""Chance: right in distribution, repeatable, and nobody else's."""

from __future__ import annotations

import math

import pydantic
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiasm.inference import sampling
from chiasm.inference.sampling import Chooser, Sampling, choose, likeliest


def drawn(logits: Tensor, times: int, **settings: object) -> Tensor:
    chooser = Chooser(Sampling(temperature=settings.pop("temperature", 1.0), seed=1, **settings))
    tokens = [chooser.draw(logits) for _ in range(times)]
    return torch.bincount(torch.tensor(tokens), minlength=len(logits)) / times


def test_zero_temperature_takes_the_likeliest() -> None:
    logits = torch.randn(3, 50)
    assert choose(logits, [Chooser(Sampling())] * 3) == logits.argmax(-1).tolist()
    assert [Chooser(Sampling()).draw(row) for row in logits] == logits.argmax(-1).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    logits = torch.tensor([2.0, 0.0, 1.0, -1.0, 0.5])
    share = drawn(logits, 4000, temperature=temperature)
    expected = (logits / temperature).softmax(0)
    # 4000 draws: standard deviation at most 0.008; four of them
    torch.testing.assert_close(share, expected, atol=0.032, rtol=0)


def test_top_k_then_top_p() -> None:
    weights = torch.tensor([0.4, 0.05, 0.3, 0.15, 0.1])
    logits = weights.log()
    assert set(drawn(logits, 400, top_k=2).nonzero().flatten().tolist()) == {0, 2}
    assert set(drawn(logits, 400, top_p=0.71).nonzero().flatten().tolist()) == {0, 2, 3}
    assert set(drawn(logits, 400, top_p=0.69).nonzero().flatten().tolist()) == {0, 2}
    # of the three likeliest, 0.4 / 0.85 is below 0.6 and 0.7 / 0.85 above
    assert set(drawn(logits, 400, top_k=3, top_p=0.6).nonzero().flatten().tolist()) == {0, 2}
    share = drawn(logits, 4000, top_k=2)
    assert math.isclose(float(share[0]), 0.4 / 0.7, abs_tol=0.032)


@given(st.floats(0.01, 1.0), st.integers(0, 40), st.integers(1, 30))
def test_the_likeliest_are_the_fewest_that_hold_top_p(top_p: float, top_k: int, vocab: int) -> None:
    logits = torch.randn(vocab, dtype=torch.float64) * 3
    weights, tokens = likeliest(logits, top_k, top_p)
    probabilities = logits.softmax(0)
    ranked = probabilities.sort(descending=True).values[: top_k or vocab]
    ranked = ranked / ranked.sum()
    wanted = 1 + sum(float(ranked[: i + 1].sum()) < top_p - 1e-12 for i in range(len(ranked) - 1))
    assert len(tokens) == len(weights) == wanted
    assert set(tokens.tolist()) == set(probabilities.topk(wanted).indices.tolist())


def test_a_flat_distribution_is_sorted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_MOST", 4)
    logits = torch.linspace(0, 0.01, 40, dtype=torch.float64)
    _, tokens = likeliest(logits, 0, 0.5)
    assert 19 <= len(tokens) <= 20 and tokens[0] == 39


def test_a_seed_repeats_and_seeds_differ() -> None:
    logits = torch.zeros(1000)

    def run(seed: int | None) -> list[int]:
        chooser = Chooser(Sampling(temperature=1.0, seed=seed))
        return [chooser.draw(logits) for _ in range(8)]

    assert run(3) == run(3) and run(3) != run(4) and run(None) != run(None)


def test_a_row_draws_the_same_whoever_stands_beside_it() -> None:
    rows = torch.randn(3, 200)
    settings = [Sampling(temperature=1.0, seed=s, top_p=0.9) for s in (1, 2, 3)]
    settings[1] = Sampling()
    together = [Chooser(s) for s in settings]
    alone = [Chooser(s) for s in settings]
    got = [choose(rows, together) for _ in range(5)]
    expected = [[choose(rows[i : i + 1], [alone[i]])[0] for i in range(3)] for _ in range(5)]
    assert got == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"seed": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(pydantic.ValidationError):
        Sampling(**wrong)
