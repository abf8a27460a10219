"""Who learns, how fast, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from chiasm.base.errors import UserError
from chiasm.base.layers import is_adapter
from chiasm.training.settings import Rate, Schedule, Table


class Learner:
    """The optimizers over the parameters that the table lets learn; all others are frozen.

    Learning parameters are kept in fp32 whatever the model computes in (bf16 loses updates smaller
    than 1/256 of a weight). Raises UserError when the table leaves a parameter uncovered, a row
    matches nothing, nothing learns, or an adapter is frozen.
    """

    def __init__(self, model: nn.Module, table: Table, schedule: Schedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps
        self.rows = assign(model, table)
        _check_adapters(self.rows)
        self.parameters = dict(model.named_parameters())
        self.movers = movers(model, self.rows)
        self.rates = {name: rate for name, (_, rate) in self.rows.items() if rate is not None}
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in self.rates)
            if name in self.rates and parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
        self.learning = {name: self.parameters[name] for name in self.rates}
        if not self.learning:
            raise UserError("`learn` freezes everything; give a rate to at least one pattern.")
        self.optimizers = self._optimizers()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer for each kind of update that some parameter takes."""
        groups: dict[str, dict[tuple[float, float], list[nn.Parameter]]] = {}
        for name, parameter in self.learning.items():
            rate, update = self.rates[name], self.movers[name]
            decay = rate.decay if parameter.ndim > 1 else 0.0
            lots = groups.setdefault(update, {})
            lots.setdefault((rate.peak, decay), []).append(parameter)
        return [_OPTIMIZERS[update](_as_groups(lots)) for update, lots in groups.items()]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, step: int) -> float:
        """Apply the gradients at a 0-based step and clear them; return the schedule's factor."""
        factor = self.schedule.factor(step, self.steps)
        for group in self.groups:
            group["lr"] = group["peak"] * factor
        for optimizer in self.optimizers:
            optimizer.step()
        self.clear()
        return factor

    def clear(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """The optimizers' memory as named tensors, e.g. "crosses.0.attn_gate/exp_avg"."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.learning.items()
            for optimizer in self.optimizers
            for key, value in optimizer.state.get(parameter, {}).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for optimizer in self.optimizers:
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            for name, parameter in self.learning.items():
                prefix = f"{name}/"
                held = {
                    k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
                }
                if held and id(parameter) in mine:
                    optimizer.state[parameter] = {k: v.clone() for k, v in held.items()}


def assign(model: nn.Module, table: Table) -> dict[str, tuple[str, Rate | None]]:
    """Return, for each parameter, the first row whose pattern matches its name."""
    rows: dict[str, tuple[str, Rate | None]] = {}
    unused = [pattern for pattern, _ in table]
    for name, _ in model.named_parameters():
        row = next((row for row in table if fnmatchcase(name, row[0])), None)
        if row is None:
            raise UserError(
                f"No row of `learn` says whether {name} learns; add one, "
                f'for example ("{name.split(".")[0]}.*", null) to freeze it.'
            )
        rows[name] = row
        if row[0] in unused:
            unused.remove(row[0])
    if unused:
        raise UserError(
            f'The pattern "{unused[0]}" of `learn` matches no parameter; remove or mend it.'
        )
    return rows


def movers(model: nn.Module, rows: Mapping[str, tuple[str, Rate | None]]) -> dict[str, str]:
    """Return what moves each learning parameter, "adamw" or "muon", by the rows that `assign` gave.

    Only the matrices of linear layers take what their row says: all else takes AdamW.
    """
    layers = (name for name, layer in model.named_modules() if isinstance(layer, nn.Linear))
    linear = {f"{name}.weight".removeprefix(".") for name in layers}
    rates = ((name, rate) for name, (_, rate) in rows.items() if rate is not None)
    return {name: rate.update if name in linear else "adamw" for name, rate in rates}


def _check_adapters(rows: Mapping[str, tuple[str, Rate | None]]) -> None:
    """Refuse a table by which an adapter stands still, or what it stands on does not."""
    for name in filter(is_adapter, rows):
        layer = name.rpartition(".")[0]
        pattern, rate = rows[name]
        if rate is None:
            raise UserError(
                f'The row "{pattern}" of `learn` freezes the adapter {name}; put a row such as '
                f'("{name.split(".")[0]}.*.lora_*", a rate) before it, or take the layer out of `lora`.'
            )
        pattern, rate = rows.get(f"{layer}.weight", ("", None))
        if rate is not None:
            raise UserError(
                f'The row "{pattern}" of `learn` lets {layer}.weight learn beside its adapter; freeze it '
                "by a row before, or take the layer out of `lora`."
            )


def _as_groups(lots: dict[tuple[float, float], list[nn.Parameter]]) -> list[dict[str, Any]]:
    return [
        {"params": parameters, "peak": peak, "weight_decay": decay}
        for (peak, decay), parameters in lots.items()
    ]


_OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, lr=0.0, betas=(0.9, 0.95), fused=True),
    "muon": partial(torch.optim.Muon, lr=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
}
