"""Pixels as the eyes want them: one size, and the brightness that they were trained with.

A picture becomes one square here; tiles.py makes several of it.

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
_WHOLE_FILE = "processor_config.json"

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

    @property
    def most(self) -> int:
        """Most tiles of a picture: one."""
        return 1

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return rows and columns of a picture's tiles: always one."""
        return 1, 1

    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Return the one tile [1, 1, 3, size, size] float32, normalised, of a picture uint8 [H, W, 3]."""
        check_rgb(rgb)
        # torch takes no read-only or mirrored memory; what comes from our decoder is not copied.
        whole = torch.from_numpy(np.require(rgb, requirements=("C", "W"))).permute(2, 0, 1)
        fitted = {"pad": self._pad, "crop": self._crop, "stretch": self._stretch}[self.fit](whole)
        return normalised(fitted.contiguous(), self.mean, self.std)[None, None]

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
            **written(self),
            "size": {"shortest_edge": self.size},
            "do_center_crop": self.fit == "crop",
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
        record, path = read_record(folder)
        return read_transform(record, path)


def _middle(pixels: Tensor, height: int, width: int) -> Tensor:
    top, left = ((n - m) // 2 for n, m in zip(pixels.shape[1:], (height, width), strict=True))
    return pixels[:, top : top + height, left : left + width]


def check_rgb(rgb: NDArray[np.uint8]) -> None:
    """Raise ValueError for pixels that are not uint8 [H, W, 3]."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"need uint8 [H, W, 3] pixels, not {rgb.dtype} {list(rgb.shape)}")


def normalised(pixels: Tensor, mean: Triple, std: Triple) -> Tensor:
    """Return uint8 pixels [..., 3, H, W] as float32: (value / 255 - mean) / std of their colour."""
    centre, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return pixels.float().div_(255).sub_(centre).div_(spread)


# ── transformers' file, read strictly: what we would compute differently is an error ─────────────

Refuse: TypeAlias = Callable[[str], UserError]
"""Makes the error that says why a file cannot be followed."""

_KNOWN_STEPS = {
    "do_convert_rgb",
    "do_resize",
    "do_rescale",
    "do_normalize",
    "do_center_crop",
    "do_pad",
}


def read_record(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], Path]:
    """Return what a model folder says about pictures, and the file that says it; raises UserError.

    transformers 5 writes no file of its own for it beside a tokenizer, but a part of another one.
    """
    path, whole = Path(folder) / FILE, Path(folder) / _WHOLE_FILE
    inside = not path.exists() and whole.exists()
    path = whole if inside else path
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, so the pixels' scale is unknown.") from None
    except ValueError:
        raise UserError(f"{path} is not valid JSON; fetch the model again.") from None
    if inside and isinstance(record, dict):
        record = record.get("image_processor")
    if not isinstance(record, dict):
        raise UserError(f"{path} must hold one JSON record about pictures; fetch the model again.")
    return record, path


def written(transform: Any) -> dict[str, Any]:
    """Return what transformers' files of all kinds say of a transform."""
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": _RESAMPLE[transform.resample],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(transform.mean),
        "image_std": list(transform.std),
    }


def refusing(path: Path) -> Refuse:
    """Return what makes errors about a file."""
    return lambda why: UserError(f"{path}: {why}; Chiasm cannot prepare pictures for this encoder.")


def read_common(record: dict[str, Any], refuse: Refuse, resample: int) -> dict[str, Any]:
    """Return the settings that files of all kinds have; `resample` is the kind's default."""
    for name, value in record.items():
        if name.startswith("do_") and name not in _KNOWN_STEPS and value:
            raise refuse(f"{name} is a step that Chiasm does not know")
    scaled = record.get("do_rescale", True) and record.get("do_resize", True)
    if not scaled or abs(record.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise refuse("pictures must be resized and scaled by 1/255")
    chosen = record.get("resample", resample)
    kernel = {number: name for name, number in _RESAMPLE.items()}.get(chosen)
    if kernel is None:
        raise refuse(f"resample {chosen!r} is neither bilinear (2) nor bicubic (3)")
    settings: dict[str, Any] = {"resample": kernel}
    if record.get("do_normalize", True):
        for name in ("image_mean", "image_std"):
            if not isinstance(given := record.get(name), list) or len(given) != 3:
                raise refuse(f"{name} must be three numbers")
        settings |= {"mean": record["image_mean"], "std": record["image_std"]}
    else:
        settings |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    return settings


def read_transform(record: dict[str, Any], path: Path) -> Transform:
    """Return the transform that a record of CLIP's kind describes; raises UserError."""
    refuse = refusing(path)
    settings = read_common(record, refuse, _RESAMPLE["bicubic"])
    settings["fit"], settings["size"] = _fit(record, refuse)
    if "background" in record:
        settings["background"] = record["background"]
    return from_record(Transform, settings, source=str(path))


def _fit(record: dict[str, Any], refuse: Refuse) -> tuple[str, Any]:
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
    if fit != "pad" and record.get("do_pad"):
        raise refuse("do_pad is a step that Chiasm knows only together with a longest_edge")
    for step in ("crop_size",) * bool(crops) + ("pad_size",) * (fit == "pad"):
        square = record.get(step, sides.copy().pop())
        if set(square.values() if isinstance(square, dict) else [square]) != sides:
            raise refuse(f"{step} {square!r} differs from size {size!r}")
    return fit, sides.pop()
