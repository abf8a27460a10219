"""Messages as programs give them, and the sentences that wrong ones get."""

from __future__ import annotations

import base64
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inputs.toys import mosaic, saved

from chiasm.base.errors import UserError
from chiasm.inputs import (
    ImageDecoder,
    MediaError,
    Message,
    Picture,
    Sample,
    Text,
    Transform,
    Video,
    parse_messages,
)

PNG = saved(Image.fromarray(mosaic()), "PNG")


def user(*parts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(parts)}]


def one(part: object) -> Picture:
    (message,) = parse_messages(user(part))
    (picture,) = message.parts
    assert isinstance(picture, Picture)
    return picture


def test_text_and_parts() -> None:
    parsed = parse_messages(
        [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}],
            },
            {"role": "assistant", "content": ""},
        ]
    )
    assert parsed == (
        Message("system", (Text("Be brief."),)),
        Message("user", (Picture(path="a.png"), Text("What?"))),
        Message("assistant", (Text(""),)),
    )


def test_a_picture_may_be_given_in_many_ways(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    ways = [
        {"type": "image", "image": str(file)},
        {"type": "image", "image": file},
        {"type": "image", "path": str(file)},
        {"type": "image", "image": PNG},
        {"type": "image", "image": bytearray(PNG)},
        {"type": "image", "image": url},
        {"type": "image", "url": url},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
        {"type": "image_url", "image_url": url},
    ]
    for way in ways:
        picture = one(way)
        assert picture.read() == PNG
        assert picture.key == sha256(PNG).hexdigest()


@pytest.mark.parametrize(
    "mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "PA", "RGBX"]
)
def test_a_pil_image_keeps_its_pixels(mode: str) -> None:
    image = Image.fromarray(mosaic()).convert("RGB" if mode in ("HSV", "RGBX") else "L")
    image = image.convert(mode)
    with ImageDecoder() as decoder:
        seen = decoder.decode(one({"type": "image", "image": image}).read())
    np.testing.assert_array_equal(seen, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_a_16_bit_pil_image_is_scaled(mode: str) -> None:
    grey = np.linspace(0, 65535, 256).round().reshape(8, 32)
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    image = Image.frombytes(mode, (32, 8), grey.astype(dtype).tobytes())
    with ImageDecoder() as decoder:
        seen = decoder.decode(one({"type": "image", "image": image}).read())
    np.testing.assert_array_equal(seen[..., 0], np.round(grey / 257).astype(int))


def test_a_pil_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.open(
        __import__("io").BytesIO(saved(Image.fromarray(mosaic()), "PNG", exif=exif))
    )
    with ImageDecoder() as decoder:
        seen = decoder.decode(one({"type": "image", "image": stored}).read())
    np.testing.assert_array_equal(seen, np.rot90(mosaic(), -1))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("F", (2, 2)), 'mode "F" has no fixed range'),
        (Image.new("I", (2, 2), 70000), "values from 0 to 65535"),
        (Image.new("I", (2, 2), -1), "values from 0 to 65535"),
    ],
)
def test_a_pil_image_without_a_range_of_brightness_is_refused(
    image: Image.Image, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        parse_messages(user({"type": "image", "image": image}))


def test_a_damaged_pil_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.png"
    file.write_bytes(saved(Image.fromarray(mosaic(200, 200)), "PNG", compress_level=0)[:9000])
    with Image.open(file) as image, pytest.raises(MediaError, match="damaged") as caught:
        parse_messages(user({"type": "image", "image": image}))
    assert caught.value.reason == "broken"


def test_a_video_may_be_given_in_many_ways(tmp_path: Path) -> None:
    file = tmp_path / "a.gif"
    file.write_bytes(PNG)
    url = "data:image/gif;base64," + base64.b64encode(PNG).decode()
    ways = [
        {"type": "video", "video": str(file)},
        {"type": "video", "video": file},
        {"type": "video", "path": str(file)},
        {"type": "video", "video": PNG},
        {"type": "video", "url": url},
        {"type": "video_url", "video_url": {"url": url}},
        {"type": "video_url", "video_url": url},
    ]
    (frames,) = parse_messages(
        user({"type": "video", "video": [str(file), PNG, Image.fromarray(mosaic())]})
    )[0].parts
    assert isinstance(frames, Video) and isinstance(frames.source, tuple)
    assert len(frames.source) == 3 and [f.read() for f in frames.source[:2]] == [PNG, PNG]
    keys = {frames.key, Picture(data=PNG).key}
    for way in ways:
        ((video,),) = (message.parts for message in parse_messages(user(way)))
        assert isinstance(video, Video) and isinstance(video.source, Picture)
        assert video.source.read() == PNG
        assert video.name == ("a.gif" if video.path else "The video")
        keys.add(video.key)
    # A file is not the same shown as a picture, as a video, or as one of a video's frames.
    assert len(keys) == 3
    swapped = Video((frames.source[2], *frames.source[:2]))
    assert swapped.key not in keys  # the order of frames is part of what is shown
    with pytest.raises(ValueError, match="at least one frame"):
        Video(())


IMAGE = {"type": "image", "image": "a.png"}


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "no messages"),
        ("hello", "must be a list"),
        ({"role": "user", "content": "x"}, "must be a list"),
        (["hello"], r"messages\[0\] must be a record with role and content"),
        ([{"role": "user"}], "has no 'content'"),
        ([{"content": "x"}], "has no 'role'"),
        ([{"role": "usr", "content": "x"}], 'Did you mean "user"'),
        ([{"role": "tool", "content": "x"}], "must be one of system, user, assistant"),
        ([{"role": ["user"], "content": "x"}], "must be one of"),
        ([{"role": "user", "contents": "x"}], 'Did you mean "content"'),
        ([{"role": "user", "content": None}], "must be a string or a list of parts"),
        (user("hello"), r"content\[0\] must be a record with a"),
        (user({"type": "txt", "text": "x"}), 'Did you mean "text"'),
        (user({"type": "text"}), "has no 'text'"),
        (user({"type": "text", "text": 3}), "must be a string"),
        (user({"type": "image"}), "exactly one of image, path and url"),
        (user({**IMAGE, "url": "b.png"}), "exactly one of image, path and url"),
        (user({**IMAGE, "imgae": "b.png"}), 'Did you mean "image"'),
        (user({"type": "image", "image": 3}), "not int"),
        (user({"type": "image_url", "image_url": {"uri": "x"}}), 'Did you mean "url"'),
        (user({"type": "image", "image": "http://a.example/b.png"}), "fetches no picture"),
        (user({"type": "image", "image": "HTTPS://a.example/b.png"}), "fetches no picture"),
        (user({"type": "image", "image": "file:///b.png"}), "fetches no picture"),
        (user({"type": "image_url", "image_url": {"url": "https://a/b"}}), "fetches no picture"),
        (user({"type": "video"}), "exactly one of video, path and url"),
        (user({"type": "video", "image": "a.gif"}), "unknown field 'image'"),
        (user({"type": "video", "video": []}), "not an empty list"),
        (user({"type": "video", "video": 3}), "or a list of its frames, not int"),
        (user({"type": "video", "video": Image.new("RGB", (2, 2))}), "must be the path, bytes"),
        (user({"type": "video", "video": ["a.png", 3]}), "frame 1: a picture must be .* not int"),
        (user({"type": "video", "video": "http://a.example/b.gif"}), "fetches no picture"),
        (user({"type": "vido", "video": "a.gif"}), 'Did you mean "video"'),
        (user({"type": ["video"], "video": "a.gif"}), "must be one of"),
        (user({"type": "image", "image": "data:image/png,abc"}), "must look like data:"),
        (user({"type": "image", "image": "data:image/png;base64"}), "must look like data:"),
        (user({"type": "image", "image": "data:image/png;base64,a$b="}), "valid base64"),
        (user({"type": "image", "image": "data:image/png;base64,abc"}), "valid base64"),
        (user({"type": "image", "image": "data:image/png;base64,é"}), "valid base64"),
    ],
)
def test_wrong_messages_get_one_sentence(messages: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_messages(messages)  # type: ignore[arg-type]


def test_pictures_do_not_print_their_bytes() -> None:
    sample = Sample((Message("user", (Picture(data=b"secret" * 1000),)),))
    assert len(repr(sample)) < 200 and "secret" not in repr(sample)


def test_a_picture_needs_something_to_show() -> None:
    with pytest.raises(ValueError, match="data or a path"):
        Picture()


def test_a_missing_file_is_found_out_when_it_is_read(tmp_path: Path) -> None:
    picture = one({"type": "image", "image": str(tmp_path / "gone.png")})
    assert picture.name == "gone.png"
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        picture.read()


def test_equal_bytes_have_equal_keys_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    assert Picture(path=str(tmp_path / "a.png")).key == Picture(data=PNG).key
    assert Picture(data=PNG).key != Picture(data=PNG + b"\0").key


def test_importing_messages_does_not_import_torch() -> None:
    script = (
        "import sys, chiasm.inputs, chiasm.inputs.message, chiasm.inputs.media;"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules;"
        "chiasm.inputs.ImageDecoder; assert 'torch' not in sys.modules;"
        "chiasm.inputs.Transform; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_door_plate_lists_what_it_opens() -> None:
    import chiasm.inputs as room

    for name in room.__all__:
        assert getattr(room, name).__module__.startswith("chiasm.inputs") or name == "Record"
    assert room.Transform is Transform
    with pytest.raises(AttributeError, match="Nothing"):
        room.Nothing  # noqa: B018
