"""A model with eyes for videos, from a recipe to a conversation: composed, trained, saved, shown a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from tests.cli.toys import call, recipe
from tests.inputs.toys import film

from chiasm import chat as say
from chiasm.base.config import to_yaml
from chiasm.base.errors import UserError
from chiasm.checkpoint.weights import read_tensors
from chiasm.inputs.video import FrameRule
from chiasm.recipes import loading
from chiasm.recipes.parts import assemble, shape_config
from chiasm.recipes.settings import CrossedShape, Run, VideoShape
from chiasm.testing import toy_decoder_config, toy_vit_config
from chiasm.training.settings import Rate

SHAPE = CrossedShape(crosses=4, video=VideoShape(latents=2, heads=2, merge=2, every=2))
FRAMES = FrameRule(by="stride", stride=2, most=3)
FEW = ("--max-tokens", "4")


def moving(path: Path, right: bool, shade: int) -> None:
    """Six frames of a bright bar that moves to the left or to the right."""
    frames = []
    for step in range(6):
        frame = Image.new("RGB", (12, 12), (shade,) * 3)
        left = 2 * step if right else 10 - 2 * step
        frame.paste((255, 255, 0), (left, 0, left + 2, 12))
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def settings(root: Path) -> Run:
    clips = root / "clips"
    clips.mkdir(exist_ok=True)
    rows = []
    for number in range(12):
        moving(clips / f"{number}.gif", bool(number % 2), 5 * number)
        asked = [{"type": "video"}, {"type": "text", "text": "Where to?"}]
        said = "right" if number % 2 else "left"
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        rows.append(json.dumps({"messages": messages, "videos": [f"{number}.gif"]}))
    (clips / "rows.jsonl").write_text("\n".join(rows))
    run = recipe(root, "watching", SHAPE)
    learn = ("crosses.*", "projector.*", "extra.*", "aggregator.*", "video_crosses.*")
    frozen = (("decoder.*", None), ("encoder.*", None))
    return run.model_copy(
        update={
            "model": run.model.model_copy(update={"frames": FRAMES}),
            "data": run.data.model_copy(update={"source": str(clips)}),
            "learn": (*frozen, *((pattern, Rate(peak=1e-2)) for pattern in learn)),
        }
    )


@pytest.fixture(scope="module")
def watching(shop: Path) -> Run:
    run = settings(shop)
    (shop / "watching.yaml").write_text(to_yaml(run))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop)
        from chiasm.cli import main

        assert main(["train", "watching.yaml"]) == 0
    return run


def test_what_watches_learns_and_is_saved(watching: Run, here: Path) -> None:
    fresh = assemble(watching.model, torch.float32, watching.seed, lambda text: None)
    fresh.processor.close()
    held = read_tensors(here / "runs/watching/model")
    for part in ("aggregator.", "video_crosses."):
        names = [name for name in fresh.model.state_dict() if name.startswith(part)]
        moved = [
            name
            for name in names
            if not torch.equal(held[name], fresh.model.state_dict()[name].bfloat16())
        ]
        assert len(names) > 5 and len(moved) == len(names)
    record = json.loads((here / "runs/watching/model/config.json").read_text())
    assert record["frames"]["by"] == "stride" and record["model"]["video"]["every"] == 2
    skipped = here / "runs/watching/skipped.jsonl"
    assert not skipped.exists() or not skipped.read_text()


@pytest.mark.parametrize("name", ["clips/1.gif", "clips/1.mp4"])
def test_a_file_that_moves_is_shown_as_a_video(watching: Run, capsys: Any, name: str) -> None:
    if name.endswith(".mp4"):
        with Image.open("clips/1.gif") as image:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        Path(name).write_bytes(film([np.asarray(frame) for frame in frames]))
    told = json.loads(
        call(capsys, "chat", "--model", "runs/watching", name, "Where to?", *FEW, "--json").out
    )
    assert told["pictures"] == [name]
    model, processor = loading.load("runs/watching")
    try:
        assert processor.frames == FRAMES
        shown = {"type": "video", "path": name}
        content = [shown, {"type": "text", "text": "Where to?"}]
        messages = [{"role": "user", "content": content}]
        assert processor(messages)["vision"].clips.frames.tolist() == [3]
        assert told["answer"] == say(model, processor, messages, max_tokens=4)
    finally:
        processor.close()


def test_a_model_without_eyes_for_videos_sees_the_first_frame(watching: Run, capsys: Any) -> None:
    moved = call(capsys, "chat", "clips/1.gif", "Where to?", *FEW)
    with Image.open("clips/1.gif") as image:
        image.convert("RGB").save("first.png")
    assert (moved.code, moved.err) == (0, "")
    assert moved.out == call(capsys, "chat", "first.png", "Where to?", *FEW).out
    model, processor = loading.load("runs/first_light")
    content = [{"type": "video", "path": "clips/1.gif"}]
    with pytest.raises(
        UserError, match=r"^1\.gif cannot be shown: this model has no eyes for videos"
    ):
        say(model, processor, [{"role": "user", "content": content}])
    processor.close()


def test_inspect_tells_what_a_video_costs(watching: Run, capsys: Any) -> None:
    for name in ("watching.yaml", "runs/watching"):
        told = json.loads(call(capsys, "inspect", name, "--json").out)
        assert told["video"]["frames"] == 64 and told["video"]["vectors"] == 64
        assert {"aggregator", "video_crosses"} <= {part["name"] for part in told["portions"]}


def test_crosses_that_do_not_fit_are_one_sentence() -> None:
    shape = CrossedShape(crosses=9, video=VideoShape(every=2))
    sizes = (toy_decoder_config(depth=9), toy_vit_config())
    with pytest.raises(
        UserError, match=r"^`model.shape.video.every` is 2, but 9 crosses do not fit"
    ):
        shape_config(recipe(Path("."), shape=shape).model, *sizes)
    fitting = shape.model_copy(update={"video": VideoShape(every=3)})
    config = shape_config(recipe(Path("."), shape=fitting).model, *sizes)
    assert config.video_token == config.decoder.vocab + 1


def test_the_command_line_gives_a_recipe_eyes_for_videos(capsys: Any, tmp_path: Path) -> None:
    short = ("--train.steps", "1", "--train.look-every", "0", "--train.sample-every", "0")
    eyes = (
        "--model.shape.crosses",
        "4",
        "--model.shape.video.every",
        "2",
        "--model.frames.most",
        "5",
    )
    done = call(capsys, "train", "mine.yaml", *eyes, *short, "--runs", tmp_path)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "mine/model/config.json").read_text())
    assert record["model"]["video"]["every"] == 2 and record["frames"]["most"] == 5
