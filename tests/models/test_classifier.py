"""One logit per class: from CLS, through the last norm, and a head that begins at zero."""

from __future__ import annotations

import pydantic
import pytest
import torch

from chiasm.models import Classifier, ClassifierConfig
from chiasm.testing import open_gates, toy_vit, toy_vit_config

LABELS = ("cat", "dog", "owl", "fox")


def test_a_new_head_finds_all_classes_equally_likely_and_learns_at_once() -> None:
    model = Classifier(ClassifierConfig(encoder=toy_vit_config(), labels=LABELS))
    logits = model(torch.randn(3, 3, 12, 12))
    assert logits.shape == (3, 4) and bool((logits == 0).all())
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1])).backward()
    assert bool((model.head.weight.grad[:2] != 0).all())


@torch.no_grad()
def test_logits_are_a_matrix_on_cls_after_the_last_norm() -> None:
    eyes = toy_vit(pre_norm=False, patch_bias=True)
    model = Classifier(ClassifierConfig(encoder=eyes.config, labels=LABELS), eyes)
    assert model.encoder is eyes
    torch.nn.init.normal_(model.head.weight)
    open_gates(model.head)
    pixels = torch.randn(2, 3, 12, 12)
    cls = eyes(pixels)["final"][:, 0]
    expected = cls @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(pixels), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"encoder": toy_vit_config(cls=False), "labels": LABELS}, "reads the CLS vector"),
        ({"encoder": toy_vit_config(), "labels": ()}, "at least one label"),
    ],
)
def test_what_cannot_tell_classes_apart_is_refused(values: dict, words: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=words):
        ClassifierConfig(**values)
