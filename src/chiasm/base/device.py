"""Where to compute, in which number format, and why: the choice is made once and said aloud."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from chiasm.base.errors import UserError, did_you_mean

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float32": torch.float32,
    "fp32": torch.float32,
    "float64": torch.float64,
    "fp64": torch.float64,
}
_CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "avx10_2", "bf16", "svebf16"}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name: "cpu", "cuda", "cuda:1", or "auto" (CUDA, else the CPU).

    Errors: UserError for a name that is no device, or a device that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not number.isdecimal()):
        hint = did_you_mean(name, ["auto", "cpu", "cuda"])
        raise UserError(f'"{name}" is no device. Use "auto", "cpu", "cuda" or "cuda:N".{hint}')
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        there = f"{count} of them (numbers from 0)" if count else "none"
        raise UserError(
            f'No CUDA device "{name}": PyTorch sees {there}. Use device "auto" or "cpu".'
        )
    return torch.device("cuda", int(number or 0))


def pick_dtype(name: str = "auto", device: torch.device | str = "cpu") -> torch.dtype:
    """Return the number format of that name for a device.

    "auto" is bfloat16 where the device computes it natively, else float32: emulated bfloat16 is
    slower than float32.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bf16(torch.device(device)) else torch.float32
    if name not in _DTYPES:
        hint = did_you_mean(name, _DTYPES)
        options = ", ".join(f'"{option}"' for option in ["auto", *_DTYPES])
        raise UserError(f'"{name}" is no number format. Use one of {options}.{hint}')
    return _DTYPES[name]


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return processor_has_bf16()


def processor_has_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 matrices in hardware and PyTorch uses it.

    PyTorch's own check is not enough: it is also true where AVX-512 has to emulate the format.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return bool(_processor_flags() & _BF16_FLAGS)


def _processor_flags() -> set[str]:
    """Return the processor's feature names, as Linux tells them, else as PyTorch found them."""
    try:
        lines = _CPUINFO.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return {name.removeprefix("arm_") for name, value in told.items() if value is True}
    found: set[str] = set()
    for line in lines:
        label, _, words = line.partition(":")
        if label.strip() in ("flags", "Features"):
            found.update(words.split())
    return found


def reason(device: torch.device, dtype: torch.dtype) -> str:
    """Return the sentence that says what a run computes on, in which format, and why."""
    kind, native = str(dtype).removeprefix("torch."), _has_bf16(device)
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)} ({device})"
    else:
        threads = torch.get_num_threads()
        where = f"the processor ({threads} thread{'s' if threads != 1 else ''})"
    why = ""
    if dtype == torch.bfloat16:
        why = ", which it has in hardware" if native else ", which it emulates (float32 is faster)"
    elif dtype == torch.float32 and not native:
        why = ", because it has no bfloat16 in hardware"
    return f"Computing on {where} in {kind}{why}."


def describe() -> dict[str, Any]:
    """Return what `chiasm doctor` prints about this machine, as plain values."""
    graphics = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    device = pick_device()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "processor_bf16": processor_has_bf16(),
        "cuda": graphics if torch.cuda.is_available() else [],
        "choice": reason(device, pick_dtype("auto", device)),
    }
