"""What was done to a built model's linear layers, as a record that builds it again."""

from __future__ import annotations

from torch import nn

from chiasm.base.config import Settings
from chiasm.base.layers import LowBitTable, LowRankTable
from chiasm.nn.lora import add_lora, lora_of, merge_lora
from chiasm.nn.lowbit import lay_low_bits, low_bits_of

__all__ = ["Changes", "change", "changes_of", "merge_lora"]


class Changes(Settings):
    """Which linear layers of a model are not plain ones, by patterns of their names."""

    quantised: LowBitTable = ()
    """Layers of integers: (pattern, bits and group)."""
    lora: LowRankTable = ()
    """Layers with an adapter, plain ones or of integers: (pattern, rank and factor)."""


def changes_of(model: nn.Module) -> Changes:
    """Return what turns a plain model of the same configuration into one of this model's shape."""
    return Changes(quantised=low_bits_of(model), lora=lora_of(model))


def change(model: nn.Module, changes: Changes) -> None:
    """Do to a plain model what the record says, in place; new tensors are to be filled afterwards."""
    lay_low_bits(model, changes.quantised)
    add_lora(model, changes.lora)
