"""What every objective offers to the loop: a weight and a sum."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from chiasm.inputs.batch import Batch


class Objective(Protocol):
    """A loss that adds up: the trainer divides the sum once, by the weight of the whole step.

    Dividing each micro-batch by its own count instead would weigh a token by the company it keeps;
    with sums, any split into micro-batches, ranks or packs has the same gradient.
    """

    def weight(self, batch: Batch) -> int:
        """How many targets the batch holds."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The summed loss over those targets, a scalar in fp32."""
        ...
