"""A workshop for the command line: toy parts, pictures with questions, and a recipe, in milliseconds.

workshop/decoder, workshop/eyes    model folders in transformers' layout
workshop/pictures                  40 pictures, each with two questions and their answers
workshop/mine.yaml                 a recipe that joins and trains them in six steps
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from chiasm.base.config import to_yaml
from chiasm.checkpoint.builtin import FORMAT
from chiasm.checkpoint.card import write_card
from chiasm.checkpoint.folder import save_decoder, save_vit
from chiasm.cli import main
from chiasm.data.settings import LoadSettings
from chiasm.recipes.settings import (
    CrossedShape,
    DataSettings,
    ModelSettings,
    PrefixShape,
    Run,
)
from chiasm.testing import toy_decoder, toy_tokenizer, toy_vit
from chiasm.training.settings import Rate, TrainSettings

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (40, 60, 220),
    "grey": (90, 90, 90),
}
STEPS = 6
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, as models write it in their folders."""


def workshop(root: Path) -> Path:
    """Fill a folder with everything that a small run needs."""
    words = root / "words"
    words.mkdir(parents=True)
    toy_tokenizer().save(words)
    (words / "chat_template.jinja").write_text(TEMPLATE)
    files = {path.name: path.read_bytes() for path in words.iterdir()}
    save_decoder(toy_decoder(context=700), root / "decoder", files)
    save_vit(toy_vit(), root / "eyes")
    (root / "pictures").mkdir()
    for number in range(40):
        colour = list(COLOURS)[number % len(COLOURS)]
        pixels = tuple(min(255, c + number) for c in COLOURS[colour])
        Image.new("RGB", (20 + number % 3, 20), pixels).save(root / f"pictures/{number:02}.png")
        rows = [
            {"question": "What colour?", "answer": colour},
            {"question": "Is it red?", "answer": "yes" if colour == "red" else "no"},
        ]
        (root / f"pictures/{number:02}.json").write_text(json.dumps(rows))
    (root / "mine.yaml").write_text(to_yaml(recipe(root)))
    return root


def recipe(root: Path, name: str = "mine", shape: CrossedShape | PrefixShape | None = None) -> Run:
    """The settings of a small run over the parts in `root`."""
    shape = shape or CrossedShape(crosses=2)
    learn: Any = {"decoder.*": None, "encoder.*": None, "*": Rate(peak=1e-2)}
    return Run(
        name=name,
        model=ModelSettings(
            decoder=str(root / "decoder"), encoder=str(root / "eyes"), shape=shape, image_size=12
        ),
        data=DataSettings(source=str(root / "pictures"), load=LoadSettings(records=2, questions=2)),
        learn=tuple(learn.items()),
        train=TrainSettings(steps=STEPS, save_every=2, look_every=3, sample_every=3),
        dtype="float32",
    )


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The one line of an error, without the program's name."""
        line = self.err.strip().splitlines()[-1] if self.err.strip() else ""
        return line.removeprefix("chiasm: ")


def command(*words: str | Path) -> list[str]:
    """The words that start chiasm as a process of its own."""
    return [sys.executable, "-m", "chiasm", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: one thread, so that tests beside it are not slowed down."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def chiasm(*words: str | Path, cwd: Path, given: str | None = None, **more: str) -> Done:
    """Run chiasm as a process, as a shell does."""
    done = subprocess.run(
        command(*words),
        cwd=cwd,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def call(capsys: Any, *words: str | Path) -> Done:
    """Call chiasm within this process, which is faster: torch is loaded already."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    heard = capsys.readouterr()
    return Done(code, heard.out, heard.err)


# ---- a cache as `chiasm pull` leaves it --------------------------------------------------------


def fake_cache(cache: Path, shop: Path) -> Path:
    """Put the toy parts and a small benchmark where the built-in ones would lie."""
    for name, part in (("smollm2-135m-instruct", "decoder"), ("clip-vit-base-patch16", "eyes")):
        home = cache / f"parts-{FORMAT}" / name
        shutil.copytree(shop / part, home)
        facts = {"weights_bytes": str((home / "model.safetensors").stat().st_size)}
        (home / "README.md").write_text(write_card(name, "A toy.", facts))
    data = cache / "unpacked" / "easy-vqa-1.0" / "easy_vqa" / "data"
    for split, count in (("train", 24), ("test", 12)):
        (data / split / "images").mkdir(parents=True)
        rows = [row for number in range(count) for row in _asked(number)]
        (data / split / "questions.json").write_text(json.dumps(rows))
        for number in range(count):
            pixels = list(COLOURS.values())[number % len(COLOURS)]
            Image.new("RGB", (16, 16), pixels).save(data / split / "images" / f"{number}.png")
    return cache


def _asked(number: int) -> list[list[str | int]]:
    colour = list(COLOURS)[number % len(COLOURS)]
    return [
        ["what shape is in the image?", "circle", number],
        ["what color is the shape?", colour, number],
        ["is there a red shape?", "yes" if colour == "red" else "no", number],
        ["is there not a red shape?", "no" if colour == "red" else "yes", number],
    ]


# ---- bad pictures ------------------------------------------------------------------------------


def bad_pictures(folder: Path) -> Path:
    """Write the pictures that must be refused, and one that must not (1x1)."""
    folder.mkdir()
    (folder / "text.png").write_text("This is no picture at all.")
    (folder / "empty.png").touch()
    Image.new("RGB", (1, 1), (200, 10, 10)).save(folder / "one.png")
    Image.new("1", (12_649, 12_649)).save(folder / "bomb.png", optimize=True)  # 480 MB as RGB
    jpeg = io.BytesIO()
    Image.effect_noise((200, 200), 80).convert("RGB").save(jpeg, "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    return folder
