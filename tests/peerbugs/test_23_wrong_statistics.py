"""Row 23: pixels are normalised with other statistics than the encoder was trained with:
coreai-models#82, #105 (1.86 times too large), open_clip#204 (LAION models "incredibly bad").
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from chiasm.base.errors import UserError
from chiasm.inputs import Transform

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def test_statistics_come_from_the_folder(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size=24, **HALF)
    processor.save_pretrained(tmp_path)
    wanted = processor(Image.fromarray(rgb), return_tensors="np")["pixel_values"][0]
    seen = Transform.load(tmp_path).pixels(rgb)[0, 0].numpy()
    assert np.abs(seen - wanted).max() <= 2.01 / 255 / 0.5
    assert -1 <= seen.min() < -0.9 and 0.9 < seen.max() <= 1


def test_statistics_that_are_absent_are_not_guessed(tmp_path: Path) -> None:
    record = {"size": {"shortest_edge": 24}, "do_center_crop": True, "crop_size": 24}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="image_mean must be three numbers"):
        Transform.load(tmp_path)
