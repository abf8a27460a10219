"""What Meta's modules need before they can be built on one processor, and how Meta splits weights.

llama-models is written for fairscale's parallel layers: they want a process group even when alone.
"""

from __future__ import annotations

import os

import fairscale.nn.model_parallel.initialize as parallel
import torch
from fairscale.nn.model_parallel.layers import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
)
from torch import nn


def start_parallel() -> None:
    """fairscale's layers want a process group: one process, gloo."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", RANK="0", WORLD_SIZE="1")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    parallel.initialize_model_parallel(1)


def shard_dims(model: nn.Module) -> dict[str, int]:
    """Along which dimension `consolidated.0N` files split a weight; whole weights are left out.

    Read from the classes of fairscale's layers: columns and vocabulary 0 (bias too), rows 1.
    """
    dims: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, ColumnParallelLinear):
            dims[f"{name}.weight"] = 0
            if module.bias is not None:
                dims[f"{name}.bias"] = 0
        elif isinstance(module, RowParallelLinear):
            dims[f"{name}.weight"] = 1
        elif isinstance(module, VocabParallelEmbedding):
            dims[f"{name}.weight"] = 0
    return {name: dims[name] for name in model.state_dict() if name in dims}
