"""Pixels as the eyes want them: one size, and the brightness that they were trained with.

pad       ┌──────┐   crop    ┌─┬──┬─┐   stretch  ┌────┐
(whole    │░░░░░░│   (CLIP:  │ │  │ │   (whole   │    │
picture)  │ wide │   the     │ wide │   picture, │wide│
          │░░░░░░│   middle) │ │  │ │   squeezed)│    │
          └──────┘           └─┴──┴─┘            └────┘
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from chiasm.base.config import Settings, from_record
from chiasm.base.errors import UserError
from chiasm.base.files import write_atomic

FILE = "preprocessor_config.json"

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and spread of red, green, blue in the pictures that CLIP was trained on (OpenAI's code)."""

_RESAMPLE: dict[str, int] = {"bilinear": 2, "bicubic": 3}
"""Pillow's numbers, which transformers writes into its files."""

_LONGEST = 8
"""Most times that a picture may be longer than wide before "crop" cuts it ahead of the resize."""

Triple: TypeAlias = tuple[float, float, float]


class Transform(Settings):
    """Turns 8-bit RGB of any size into the encoder's input; the same for training and serving."""

    size: int = 224
    """Height and width of the result, in pixels."""
    fit: Literal["pad", "crop", "stretch"] = "pad"
    """pad: the whole picture, borders filled; crop: its middle, as CLIP; stretch: squeezed."""
    background: tuple[int, int, int] = (122, 116, 104)
    """Colour of padding, 0 to 255; the default is CLIP's mean, which normalises to about zero."""
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    """How pixels are interpolated; always antialiased."""
    mean: Triple = CLIP_MEAN
    """Subtracted from red, green, blue in 0 to 1."""
    std: Triple = CLIP_STD
    """Divides red, green, blue after that."""

    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Return [3, size, size] float32, normalised, of a picture uint8 [H, W, 3]."""
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise ValueError(f"need uint8 [H, W, 3] pixels, not {rgb.dtype} {list(rgb.shape)}")
        # torch takes no read-only or mirrored memory; what comes from our decoder is not copied.
        whole = torch.from_numpy(np.require(rgb, requirements=("C", "W"))).permute(2, 0, 1)
        fitted = {"pad": self._pad, "crop": self._crop, "stretch": self._stretch}[self.fit](whole)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (fitted.contiguous().float() / 255 - mean) / std

    def _pad(self, whole: Tensor) -> Tensor:
        _, height, width = whole.shape
        longest = max(height, width)
        inner = self._resize(
            whole, *(max(1, round(n * self.size / longest)) for n in (height, width))
        )
        canvas = torch.tensor(self.background, dtype=torch.uint8)[:, None, None]
        canvas = canvas.repeat(1, self.size, self.size)
        top, left = ((self.size - n) // 2 for n in inner.shape[1:])
        canvas[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
        return canvas

    def _crop(self, whole: Tensor) -> Tensor:
        shortest = min(whole.shape[1:])
        # The far ends of a strip never reach the middle; resized, a 1 x 10000 one would be 1.5 GB.
        whole = _middle(whole, *(min(n, _LONGEST * shortest) for n in whole.shape[1:]))
        inner = self._resize(whole, *(int(self.size * n / shortest) for n in whole.shape[1:]))
        return _middle(inner, self.size, self.size)

    def _stretch(self, whole: Tensor) -> Tensor:
        return self._resize(whole, self.size, self.size)

    def _resize(self, pixels: Tensor, height: int, width: int) -> Tensor:
        """Resize [3, H, W] uint8; on bytes torch computes as Pillow does, in fixed point."""
        if pixels.shape[1:] == (height, width):
            return pixels
        return F.interpolate(pixels[None], (height, width), mode=self.resample, antialias=True)[0]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write preprocessor_config.json, in transformers' words where they have one."""
        record: dict[str, Any] = {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": self.size},
            "resample": _RESAMPLE[self.resample],
            "do_center_crop": self.fit == "crop",
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
        if self.fit == "crop":
            record["crop_size"] = {"height": self.size, "width": self.size}
        if self.fit == "stretch":
            record["size"] = {"height": self.size, "width": self.size}
        if self.fit == "pad":
            record["size"] = {"longest_edge": self.size}
            record |= {"do_pad": True, "pad_size": {"height": self.size, "width": self.size}}
        record["background"] = list(self.background)
        write_atomic(Path(folder) / FILE, json.dumps(record, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Transform:
        """Read preprocessor_config.json, ours or that of a CLIP folder; raises UserError."""
        path = Path(folder) / FILE
        try:
            record = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist, so the pixels' scale is unknown.") from None
        except ValueError:
            raise UserError(f"{path} is not valid JSON; fetch the model again.") from None
        if not isinstance(record, dict):
            raise UserError(f"{path} must hold one JSON record; fetch the model again.")
        return _read(record, path)


def _middle(pixels: Tensor, height: int, width: int) -> Tensor:
    top, left = ((n - m) // 2 for n, m in zip(pixels.shape[1:], (height, width), strict=True))
    return pixels[:, top : top + height, left : left + width]


# ── transformers' file, read strictly: what we would compute differently is an error ─────────────

_KNOWN_STEPS = {
    "do_convert_rgb",
    "do_resize",
    "do_rescale",
    "do_normalize",
    "do_center_crop",
    "do_pad",
}


def _read(record: dict[str, Any], path: Path) -> Transform:
    def refuse(why: str) -> UserError:
        return UserError(f"{path}: {why}; Chiasm cannot prepare pictures for this encoder.")

    for name, value in record.items():
        if name.startswith("do_") and name not in _KNOWN_STEPS and value:
            raise refuse(f"{name} is a step that Chiasm does not know")
    scaled = record.get("do_rescale", True) and record.get("do_resize", True)
    if not scaled or abs(record.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise refuse("pictures must be resized and scaled by 1/255")
    kernel = {number: name for name, number in _RESAMPLE.items()}.get(record.get("resample", 3))
    if kernel is None:
        raise refuse(f"resample {record['resample']!r} is neither bilinear (2) nor bicubic (3)")
    settings: dict[str, Any] = {"resample": kernel}
    settings["fit"], settings["size"] = _fit(record, refuse)
    if record.get("do_normalize", True):
        for name in ("image_mean", "image_std"):
            if not isinstance(given := record.get(name), list) or len(given) != 3:
                raise refuse(f"{name} must be three numbers")
        settings |= {"mean": record["image_mean"], "std": record["image_std"]}
    else:
        settings |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    if "background" in record:
        settings["background"] = record["background"]
    return from_record(Transform, settings, source=str(path))


def _fit(record: dict[str, Any], refuse: Callable[[str], UserError]) -> tuple[str, Any]:
    """How the picture is fitted, and the side of the square that it becomes."""
    size, crops = record.get("size"), record.get("do_center_crop", False)
    if isinstance(size, int):  # written before sizes had names
        size = {"shortest_edge": size} if crops else {"height": size, "width": size}
    if not isinstance(size, dict):
        raise refuse(f"size is {size!r}, which names no side")
    named = {name: value for name, value in size.items() if value is not None}
    sides = set(named.values())
    fit = {
        ("shortest_edge",): "crop",
        ("longest_edge",): "pad",
        ("height", "width"): "stretch",
    }.get(tuple(sorted(named)))
    if fit is None or len(sides) != 1 or (fit == "crop") != bool(crops and fit != "stretch"):
        raise refuse(f"size {size!r} with do_center_crop {crops!r} does not give one square")
    for step in ("crop_size",) * bool(crops) + ("pad_size",) * (fit == "pad"):
        square = record.get(step, sides.copy().pop())
        if set(square.values() if isinstance(square, dict) else [square]) != sides:
            raise refuse(f"{step} {square!r} differs from size {size!r}")
    return fit, sides.pop()
