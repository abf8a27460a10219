"""Two models, layer by layer, on the same input: which tensor is the first that differs?

    left  ──► every module's output, in the order of computation ─┐
    right ──► the same ───────────────────────────────────────────┴─► name, call, how far apart

Weights are compared first: a difference there explains all that follow. What a layer gives is
compared by the largest difference over the largest value, so that layers of any size can be read
side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Difference:
    """One tensor on both sides."""

    kind: str
    """"weight" or "output"."""
    name: str
    """A parameter's name, or a module's; "#2" is a module's second call."""
    apart: float
    """Largest difference over the largest value of the left side; inf where shapes or names differ."""
    detail: str
    """Shape, or what is missing."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def weights_apart(left: nn.Module, right: nn.Module) -> Iterator[Difference]:
    """Compare parameters and buffers by name, in the left model's order."""
    ours, theirs = left.state_dict(), right.state_dict()
    for name, tensor in ours.items():
        yield _compared("weight", name, tensor, theirs.get(name))
    for name in theirs.keys() - ours.keys():
        yield Difference("weight", name, float("inf"), "the left model has none of this name")


@torch.inference_mode()
def outputs_apart(left: Any, right: Any, inputs: Mapping[str, Any]) -> Iterator[Difference]:
    """Run both models and compare what every module gives, in the order in which the left one ran.

    inputs  what both are called with; the head is run on the features
    """
    ours, theirs = _outputs(left, inputs), _outputs(right, inputs)
    for name, tensor in ours.items():
        yield _compared("output", name, tensor, theirs.get(name))


def _outputs(model: Any, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """What every module gives, in the order in which their calls end."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            for i, tensor in enumerate(_tensors(out)):
                key = f"{name}.{i}" if i else name
                call = 1
                while (said := key if call == 1 else f"{key}#{call}") in found:
                    call += 1
                found[said] = tensor.detach().to("cpu", copy=True)

        return hook

    hooks = [
        module.register_forward_hook(keep(name or "features"))
        for name, module in model.named_modules()
    ]
    try:
        features = model(**inputs)
        found["logits"] = model.head(features).detach().cpu()
    finally:
        for each in hooks:
            each.remove()
    return found


def _tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, Mapping):
        yield from (part for part in out.values() if isinstance(part, Tensor))
    elif isinstance(out, (tuple, list)):
        yield from (part for part in out if isinstance(part, Tensor))


def _compared(kind: str, name: str, left: Tensor, right: Tensor | None) -> Difference:
    if right is None:
        return Difference(kind, name, float("inf"), "the right model has none of this name")
    if left.shape != right.shape:
        shapes = f"{list(left.shape)} against {list(right.shape)}"
        return Difference(kind, name, float("inf"), shapes)
    shape = str(list(left.shape))
    if not left.numel() or torch.equal(left, right):
        return Difference(kind, name, 0.0, shape)
    gap = (left.double() - right.double()).abs().nan_to_num(torch.inf).max()
    largest = left.double().abs().max().clamp(min=1e-30)
    return Difference(kind, name, float(gap / largest), shape)
