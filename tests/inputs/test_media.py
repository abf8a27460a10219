"""Pictures of strangers: the odd but valid come out right, the rest is refused for a reason we know.

What is expected is computed here by numpy from the formats' own definitions; files that Pillow
cannot write, or whose reading it gets wrong, are written by hand (toys.png).
"""

from __future__ import annotations

import copy
import io
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.inputs.toys import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    bomb,
    chunk,
    mosaic,
    png,
    saved,
)

from chiasm.base.errors import UserError
from chiasm.inputs import ImageDecoder, Limits, MediaError, read_picture
from chiasm.inputs.media import REASONS

RAMP = np.linspace(0, 65535, 64 * 4).round().astype(np.uint16).reshape(4, 64)


class Measured(ImageDecoder):
    """Holds against each picture of these tests that its header told the size it has."""

    def decode(self, data: bytes, name: str = "The picture") -> NDArray[np.uint8]:
        rgb = super().decode(data, name)
        assert self.size(data, name) == (rgb.shape[1], rgb.shape[0])
        return rgb


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with Measured(Limits(seconds=300)) as shared:  # the limit in time is test_worker's matter
        yield shared


def grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.repeat(values[..., None], 3, axis=-1).astype(np.uint8)


def same(seen: NDArray[np.uint8], wanted: NDArray[np.generic], within: int = 0) -> None:
    assert seen.dtype == np.uint8 and seen.shape == wanted.shape
    assert np.abs(seen.astype(int) - wanted.astype(int)).max() <= within


# ── odd but valid ────────────────────────────────────────────────────────────────────────────────

# EXIF 2.32, tag 0x0112: which side of the upright picture the stored row 0 and column 0 are.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """What a camera stores: built pixel by pixel from the definition."""
    height, width = upright.shape[:2]
    row_side, column_side = SIDES[orientation]
    rows, columns = (height, width) if row_side in ("top", "bottom") else (width, height)
    stored = np.empty((rows, columns, 3), np.uint8)
    for r in range(rows):
        for c in range(columns):
            place = {}
            for side, i in ((row_side, r), (column_side, c)):
                axis, size = ("y", height) if side in ("top", "bottom") else ("x", width)
                place[axis] = i if side in ("top", "left") else size - 1 - i
            stored[r, c] = upright[place["y"], place["x"]]
    return stored


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", SIDES)
def test_exif_orientation(decoder: ImageDecoder, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(
        format, {}
    )
    image = Image.fromarray(stored_as(mosaic(), orientation))
    seen = decoder.decode(saved(image, format, exif=exif, **options))
    same(seen, mosaic(), within=3 if format == "JPEG" else 0)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(
    decoder: ImageDecoder, value: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    same(decoder.decode(saved(Image.fromarray(mosaic()), "PNG", exif=exif)), mosaic())


def test_exif_that_cannot_be_read_changes_nothing(decoder: ImageDecoder) -> None:
    for garbage in (b"", b"II*\0", b"Exif\0\0garbage", b"\0" * 99, b"MM\0*\xff\xff\xff\xff"):
        same(decoder.decode(png(mosaic(), 8, RGB, before=[chunk(b"eXIf", garbage)])), mosaic())


@pytest.mark.parametrize("kind", ["eXIf", "iTXt", "tEXt"])
def test_an_orientation_behind_the_pixels_counts_for_the_size_too(
    decoder: ImageDecoder, kind: str
) -> None:
    """PNG allows it; a reader of headers that stops at the pixels would mistake width for height."""
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    body = {
        "eXIf": raw.removeprefix(b"Exif\0\0"),
        "iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + xmp,
        "tEXt": b"Raw profile type exif\0\nexif\n%8d\n%s" % (len(raw), raw.hex().encode()),
    }[kind]
    late = chunk(kind.encode(), body)
    stored = stored_as(mosaic(), 6)
    for where in ({"before": [late]}, {"after": [chunk(b"tIME", bytes(7)), late]}):
        same(decoder.decode(png(stored, 8, RGB, **where)), mosaic())  # its size is held against it


def test_a_size_needs_no_pixels(decoder: ImageDecoder) -> None:
    """The largest picture that is allowed, without its pixels: nothing could be decoded here."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 5000, 8, RGB, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    before = peak(decoder)
    assert decoder.size(data) == (8000, 5000)
    assert peak(decoder) - before < 4_000_000
    refused(decoder, data, "broken")
    for name, data in headers_only().items():
        with pytest.raises(MediaError) as caught:
            decoder.size(data, name)
        assert caught.value.reason == "too_many_pixels", name


def test_16_bit_grey_is_scaled(decoder: ImageDecoder) -> None:
    same(decoder.decode(png(RAMP, 16, GREY)), grey(np.round(RAMP / 257)))


def test_16_bit_grey_with_a_transparent_value(decoder: ImageDecoder) -> None:
    clear = int(RAMP[1, 3])
    seen = decoder.decode(png(RAMP, 16, GREY, before=[chunk(b"tRNS", struct.pack(">H", clear))]))
    same(seen, grey(np.where(clear == RAMP, 255, np.round(RAMP / 257))))


@pytest.mark.parametrize(("colour", "channels"), [(RGB, 3), (GREY_ALPHA, 2), (RGBA, 4)])
def test_16_bit_colour_keeps_its_upper_bits(
    decoder: ImageDecoder, colour: int, channels: int
) -> None:
    samples = np.stack([RAMP, RAMP[::-1], 65535 - RAMP, np.full_like(RAMP, 65535)][:channels], -1)
    if channels == 2:
        samples[..., 1] = 65535
    seen = decoder.decode(png(samples, 16, colour))
    wanted = grey(RAMP >> 8) if channels == 2 else samples[..., :3] >> 8
    same(seen, wanted, within=1)


def test_16_bit_colour_with_a_transparent_colour(decoder: ImageDecoder) -> None:
    samples = np.stack([RAMP, RAMP, RAMP], -1)
    key = [int(v) for v in samples[2, 5]]
    seen = decoder.decode(png(samples, 16, RGB, before=[chunk(b"tRNS", struct.pack(">3H", *key))]))
    assert (seen[2, 5] == 255).all()
    assert (seen[0, 0] == 0).all() and (seen[3, 0] == samples[3, 0] >> 8).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_of_few_bits(decoder: ImageDecoder, depth: int, transparent: bool) -> None:
    top = 2**depth - 1
    samples = np.arange(3 * 37).reshape(3, 37) % (top + 1)
    clear = top // 2
    before = [chunk(b"tRNS", struct.pack(">H", clear))] if transparent else []
    wanted = samples * 255 // top
    if transparent:
        wanted = np.where(samples == clear, 255, wanted)
    same(decoder.decode(png(samples, depth, GREY, before=before)), grey(wanted))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_with_transparency(decoder: ImageDecoder, depth: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2**depth, 3))
    alpha = np.random.default_rng(1).integers(0, 256, 2**depth)
    samples = np.arange(5 * 53).reshape(5, 53) % 2**depth
    before = [
        chunk(b"PLTE", colours.astype(np.uint8).tobytes()),
        chunk(b"tRNS", alpha.astype(np.uint8).tobytes()),
    ]
    cover = alpha[samples][..., None] / 255
    same(
        decoder.decode(png(samples, depth, PALETTE, before=before)),
        np.round(colours[samples] * cover + 255 * (1 - cover)),
        within=1,
    )
    same(decoder.decode(png(samples, depth, PALETTE, before=before[:1])), colours[samples])


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 128, 255)])
@pytest.mark.parametrize("colour", [GREY_ALPHA, RGBA])
def test_alpha_is_laid_on_the_background(background: tuple[int, int, int], colour: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (9, 11, 2 if colour == GREY_ALPHA else 4))
    cover = samples[..., -1:] / 255
    front = samples[..., :1].repeat(3, -1) if colour == GREY_ALPHA else samples[..., :3]
    with ImageDecoder(background=background) as decoder:
        seen = decoder.decode(png(samples, 8, colour))
    same(seen, np.round(front * cover + np.array(background) * (1 - cover)), within=1)


@pytest.mark.parametrize("colour", [GREY, RGB])
@pytest.mark.parametrize("size", [(32, 48), (1, 1), (2, 3), (5, 9)])
def test_interlaced_png(decoder: ImageDecoder, colour: int, size: tuple[int, int]) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (*size, 3 if colour == RGB else 1))
    seen = decoder.decode(png(samples, 8, colour, interlaced=True))
    same(seen, samples if colour == RGB else samples.repeat(3, -1))


def test_progressive_jpeg_equals_baseline(decoder: ImageDecoder) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
    seen = [decoder.decode(saved(image, "JPEG", quality=80, progressive=p)) for p in (False, True)]
    same(*seen)


# What printers mean by ink: cyan takes away red, magenta green, yellow blue, and black all three.
INKS = np.array(
    [
        [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0)],
        [(0, 0, 255, 0), (0, 0, 0, 255), (99, 0, 60, 0)],
    ]
)
LIGHTS = np.array(
    [
        [(255, 255, 255), (0, 255, 255), (255, 0, 255)],
        [(255, 255, 0), (0, 0, 0), (156, 255, 195)],
    ]
)


def enlarged(blocks: NDArray[np.generic]) -> NDArray[np.generic]:
    return blocks.repeat(16, 0).repeat(16, 1)


def test_cmyk_jpeg(decoder: ImageDecoder) -> None:
    image = Image.fromarray(enlarged(INKS).astype(np.uint8), "CMYK")
    same(decoder.decode(saved(image, "JPEG", quality=100)), enlarged(LIGHTS), within=4)


def test_ycck_jpeg(decoder: ImageDecoder) -> None:
    """Adobe's other way, transform 2 (TN5116): inks stand inverted in the file, and once more
    inverted (so, as they are) they are the R, G, B that become Y, Cb, Cr."""
    r, g, b = (enlarged(INKS)[..., i].astype(float) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = 128 + (b - y) * 0.564, 128 + (r - y) * 0.713
    # Pillow stores 255 - value in a CMYK JPEG, so it is given 255 - what shall stand in the file.
    planes = (
        np.stack([255 - y, 255 - cb, 255 - cr, enlarged(INKS)[..., 3]], -1).round().clip(0, 255)
    )
    data = bytearray(saved(Image.fromarray(planes.astype(np.uint8), "CMYK"), "JPEG", quality=100))
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    same(decoder.decode(bytes(data)), enlarged(LIGHTS), within=6)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(decoder: ImageDecoder, format: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    options = {"save_all": True, "append_images": frames[1:], "duration": 50}
    if format == "WEBP":
        options["lossless"] = True
    same(decoder.decode(saved(frames[0], format, **options)), np.array(frames[0]))


def test_a_gif_with_transparency(decoder: ImageDecoder) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    seen = decoder.decode(saved(image, "GIF", transparency=1))
    same(seen, np.array([[(10, 20, 30), (255, 255, 255)]]))


def test_a_colour_profile_is_not_applied(decoder: ImageDecoder) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    same(decoder.decode(saved(Image.fromarray(mosaic()), "PNG", icc_profile=profile)), mosaic())


def test_a_picture_of_several_shows_the_first(decoder: ImageDecoder) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    seen = decoder.decode(saved(first, "MPO", save_all=True, append_images=[second]))
    same(seen, np.array(first), within=2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp(decoder: ImageDecoder, mode: str) -> None:
    image = Image.fromarray(mosaic()).convert(mode)
    same(decoder.decode(saved(image, "BMP")), np.array(image.convert("RGB")))


def test_a_bmp_that_stands_on_its_head(decoder: ImageDecoder) -> None:
    """A negative height says that rows run from the top down."""
    head = struct.pack("<IiiHHIIiiII", 40, 2, -2, 1, 24, 0, 16, 0, 0, 0, 0)
    rows = b"".join(bytes(v) + b"\0\0" for v in ((1, 2, 3, 4, 5, 6), (7, 8, 9, 10, 11, 12)))
    data = b"BM" + struct.pack("<IHHI", 54 + 16, 0, 0, 54) + head + rows
    same(decoder.decode(data), np.array([[(3, 2, 1), (6, 5, 4)], [(9, 8, 7), (12, 11, 10)]]))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_thin_pictures(decoder: ImageDecoder, format: str, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 100, 200))
    seen = decoder.decode(saved(image, format))
    same(seen, np.array(image), within=3 if format in ("JPEG", "WEBP") else 0)


def test_the_longest_jpeg(decoder: ImageDecoder) -> None:
    seen = decoder.decode(saved(Image.new("RGB", (65_500, 8), (200, 10, 10)), "JPEG", quality=95))
    assert seen.shape == (8, 65_500, 3) and abs(int(seen[4, 65_000, 0]) - 200) <= 3


def test_the_array_is_the_callers_own(decoder: ImageDecoder) -> None:
    data = png(mosaic(), 8, RGB)
    first = decoder.decode(data)
    first[:] = 0
    same(decoder.decode(data), mosaic())


# ── refused ──────────────────────────────────────────────────────────────────────────────────────


def refused(decoder: ImageDecoder, data: bytes, reason: str, name: str = "a.png") -> str:
    with pytest.raises(MediaError) as caught:
        decoder.decode(data, name)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(name)
    return str(caught.value)


def test_what_is_no_picture(decoder: ImageDecoder) -> None:
    says = refused(decoder, b"Just some text, in a file called .png.\n", "not_a_picture")
    assert says == "a.png is not a picture that Chiasm reads (JPEG, PNG, WebP, GIF, BMP)."
    refused(decoder, b"", "empty")
    for other in (b"%PDF-1.7\n%", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(1000)):
        refused(decoder, other, "not_a_picture")


@pytest.mark.parametrize("format", ["TIFF", "ICO", "PPM", "TGA", "PCX", "JPEG2000", "ICNS", "EPS"])
def test_other_parsers_are_out_of_reach(decoder: ImageDecoder, format: str) -> None:
    refused(decoder, saved(Image.new("RGB", (64, 64)), format), "not_a_picture")


def test_a_bomb_is_refused_by_its_header(decoder: ImageDecoder) -> None:
    data = bomb()
    assert len(data) < 21_000
    decoder.decode(png(mosaic(), 8, RGB))
    before = peak(decoder)
    says = refused(decoder, data, "too_many_pixels")
    assert "13000 x 13000 pixels (the limit is 40 million pixels)" in says
    assert peak(decoder) - before < 4_000_000


def peak(decoder: ImageDecoder) -> int:
    """The most memory that the worker ever held, in bytes."""
    (lanes,) = decoder._lanes.values()
    (lane,) = lanes.all
    assert lane.worker is not None
    status = Path(f"/proc/{lane.worker.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def headers_only() -> dict[str, bytes]:
    """Files that promise 40,000 x 40,000 pixels or as many as their format can."""
    side = 40_000
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, RGB, 0, 0, 0))
    small = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    at = small.index(b"\xff\xc0") + 5
    small[at : at + 4] = struct.pack(">HH", side, side)
    bmp = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    webp = bytearray(
        saved(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "WEBP", lossless=True, exif=b"x")
    )
    assert webp[12:16] == b"VP8X"
    webp[24:30] = struct.pack("<I", 16_382)[:3] * 2
    return {
        "PNG": b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 99)),
        "JPEG": bytes(small),
        "GIF": b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0x80, 0, 0)
        + bytes(6)
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x08\x01\x00\x00\x3b",
        "BMP": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + bmp,
        "WEBP": bytes(webp),
    }


def test_a_frame_larger_than_its_screen_counts_as_a_whole(decoder: ImageDecoder) -> None:
    data = bytearray(headers_only()["GIF"])
    data[6:10] = struct.pack("<HH", 1, 1)
    refused(decoder, bytes(data), "too_many_pixels")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_promise_of_too_many_pixels(decoder: ImageDecoder, format: str) -> None:
    decoder.decode(png(mosaic(), 8, RGB))
    before = peak(decoder)
    refused(decoder, headers_only()[format], "too_many_pixels")
    assert peak(decoder) - before < 4_000_000


def test_text_and_profile_bombs_do_not_unfold(decoder: ImageDecoder) -> None:
    decoder.decode(png(mosaic(), 8, RGB))
    before = peak(decoder)
    packed = zlib.compress(bytes(200_000_000), 9)
    for kind, head in ((b"zTXt", b"key\0\0"), (b"iCCP", b"key\0\0"), (b"iTXt", b"key\0\1\0\0\0")):
        data = png(mosaic(), 8, RGB, before=[chunk(kind, head + packed)])
        try:
            same(decoder.decode(data), mosaic())
        except MediaError as error:
            assert error.reason == "broken"
    assert peak(decoder) - before < 30_000_000


def test_a_gif_of_very_many_frames_costs_one(decoder: ImageDecoder) -> None:
    first = saved(Image.new("P", (8, 8)), "GIF").removesuffix(b";")
    frame = first[first.index(b",") :]
    seen = decoder.decode(first + frame * 100_000 + b";")
    assert seen.shape == (8, 8, 3)


def test_limits_are_the_callers() -> None:
    data = png(mosaic(), 8, RGB)  # 32 x 48
    with ImageDecoder(Limits(pixels=32 * 48, encoded_bytes=len(data))) as decoder:
        decoder.decode(data)
    with ImageDecoder(Limits(pixels=32 * 48 - 1)) as decoder:
        refused(decoder, data, "too_many_pixels")
    with ImageDecoder(Limits(encoded_bytes=len(data) - 1)) as decoder:
        assert "larger than the limit" in refused(decoder, data, "too_many_bytes")
    with ImageDecoder(Limits(decoded_bytes=32 * 48 * 4)) as decoder:
        decoder.decode(data)
    with ImageDecoder(Limits(decoded_bytes=32 * 48 * 4 - 1)) as decoder:
        refused(decoder, data, "too_many_pixels")


def test_too_little_memory_is_a_reason_and_the_worker_stays() -> None:
    with ImageDecoder(Limits(memory=20_000_000)) as decoder:
        decoder.decode(png(mosaic(), 8, RGB))
        pid = decoder._lanes[os.getpid()].all[0].worker.pid  # type: ignore[union-attr]
        refused(decoder, saved(Image.new("RGB", (4000, 4000)), "PNG"), "too_much_memory")
        same(decoder.decode(png(mosaic(), 8, RGB)), mosaic())
        assert decoder._lanes[os.getpid()].all[0].worker.pid == pid  # type: ignore[union-attr]


def test_the_largest_allowed_picture_fits_into_the_default_memory(decoder: ImageDecoder) -> None:
    """40 million pixels with alpha, to be turned: the way that takes the most copies."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(
        Image.new("RGBA", (8000, 5000), (0, 0, 255, 0)), "PNG", exif=exif, compress_level=1
    )
    seen = decoder.decode(data)
    assert seen.shape == (8000, 5000, 3) and (seen[::1000, ::1000] == 255).all()


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"12345")
    assert read_picture(file) == read_picture(str(file)) == read_picture(file, most=5) == b"12345"
    (tmp_path / "link.png").symlink_to(file)
    assert read_picture(tmp_path / "link.png") == b"12345"


def unreadable(path: object, reason: str, most: int = 100) -> str:
    with pytest.raises(UserError) as caught:
        read_picture(path, most)  # type: ignore[arg-type]
    assert isinstance(caught.value, MediaError) and caught.value.reason == reason
    return str(caught.value)


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    missing = tmp_path / "gone.png"
    assert unreadable(missing, "missing") == f"{missing} does not exist; check the path."
    unreadable("", "missing")
    unreadable(tmp_path / "gone" / "a.png", "missing")
    unreadable(tmp_path, "not_a_file")
    os.mkfifo(tmp_path / "pipe")
    unreadable(tmp_path / "pipe", "not_a_file")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        unreadable(tmp_path / "s", "not_a_file")
    unreadable("/dev/zero", "not_a_file")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    unreadable(tmp_path / "circle", "unreadable")
    unreadable(tmp_path / ("x" * 300), "unreadable")
    assert "a\\x00b.png" in unreadable("a\0b.png", "missing")
    assert "\\udc80" in unreadable("\udc80\n.png", "missing")
    (tmp_path / "empty.png").touch()
    assert "is empty" in unreadable(tmp_path / "empty.png", "empty")
    (tmp_path / "large.png").write_bytes(bytes(101))
    assert "larger than the limit of 0.0001 MB" in unreadable(
        tmp_path / "large.png", "too_many_bytes"
    )


def test_every_refusal_is_one_sentence_that_says_what_to_do() -> None:
    for reason in REASONS:
        says = str(MediaError(reason, "a.png", "DETAIL"))
        assert says.startswith("a.png ") and says.endswith(".") and says.count(". ") == 0


def test_refusals_are_read_in_place(decoder: ImageDecoder) -> None:
    """Nothing that an exception says leaves the worker: no address, no path (CVE-2026-22778)."""
    data = saved(Image.fromarray(mosaic()), "PNG")[:100]
    assert "0x" not in refused(decoder, data, "broken")
    assert io.BytesIO.__name__ not in refused(decoder, data, "broken")


def test_a_reason_comes_back_whole_from_another_process() -> None:
    fault = MediaError("too_slow", "a.png", "10 seconds")
    back = copy.copy(fault)  # by the road that process pools take
    assert (back.reason, str(back)) == ("too_slow", str(fault)) and "10 seconds" in str(back)
