"""Every kind of image file becomes upright 8-bit RGB, or one clear error."""

import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import v2

from scalesearch.data.folder import folder_source
from scalesearch.data.image import Framing, deep_bits, framed, read_rgb, short_side, square, to_rgb
from scalesearch.data.source import UnreadableImageError
from scalesearch.files import BoundedFile
from scalesearch.study.config import Interpolation
from tests.data.pictures import noise, save


def pixel(image: Image.Image) -> tuple[int, ...]:
    return tuple(np.asarray(image)[0, 0].tolist())


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "tif", "ppm", "gif"])
def test_each_format_is_read(tmp_path: Path, ending: str) -> None:
    image = read_rgb(str(save(tmp_path / f"a.{ending}", noise(0))))
    assert (image.mode, image.size) == ("RGB", (20, 16))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("L", (2, 2), 77), (77, 77, 77)),
        (Image.new("LA", (2, 2), (0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), (255, 0, 0)),
        (noise(1, 2, 2).convert("P", palette=Image.Palette.ADAPTIVE), None),
        (Image.fromarray(np.full((2, 2), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 257 * 100, np.uint16)), (100, 100, 100)),
        (Image.fromarray(np.full((2, 2), 300, np.int32)), (19, 19, 19)),
        (Image.fromarray(np.full((2, 2), 4095, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 4096, np.uint16)), (16, 16, 16)),
        (Image.fromarray(np.zeros((2, 2), np.uint16)), (0, 0, 0)),
    ],
)
def test_each_mode_becomes_rgb(image: Image.Image, expected: tuple[int, ...] | None) -> None:
    converted = to_rgb(image)
    assert converted.mode == "RGB"
    assert pixel(converted) == (expected if expected is not None else pixel(image.convert("RGB")))


def test_sixteen_bit_png_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    read = np.asarray(read_rgb(str(save(tmp_path / "deep.png", Image.fromarray(ramp)))))[..., 0]
    np.testing.assert_array_equal(read.ravel(), np.arange(256))


def test_twelve_bits_in_sixteen_keep_their_levels(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    path = str(save(tmp_path / "a" / "deep.png", Image.fromarray(ramp)))
    assert len(np.unique(np.asarray(read_rgb(path)))) == 256
    assert deep_bits(path) == 12
    whole = save(tmp_path / "b" / "deep.tif", Image.fromarray(ramp * 16))
    assert deep_bits(str(whole)) == 16
    assert deep_bits(str(save(tmp_path / "b" / "flat.png", noise(0)))) == deep_bits(str(tmp_path)) == 0
    assert folder_source(tmp_path).notes == ("of 2 grey pictures of 16 bits looked at, 1 read as of 12, 1 as of 16",)
    whole.unlink()
    assert folder_source(tmp_path).notes == ("of 1 grey picture of 16 bits looked at, 1 read as of 12",)


def test_transparent_palette_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.save(tmp_path / "a.gif", transparency=0)
    assert pixel(read_rgb(str(tmp_path / "a.gif"))) == (255, 255, 255)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = noise(2)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: the camera was held upright
    image.save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(read_rgb(str(tmp_path / "a.png")))
    np.testing.assert_array_equal(upright, np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize(("width", "height"), [(63, 1), (66, 2), (93, 31), (31, 93), (40, 40)])
def test_square_equals_torchvision(width: int, height: int) -> None:
    """Sizes at which the reference cuts at whole pixels."""
    image = noise(3, width, height)
    expected = v2.functional.resize(image, [13], v2.InterpolationMode.BICUBIC, antialias=True)
    expected = v2.functional.center_crop(expected, [13, 13])
    np.testing.assert_array_equal(square(image, 13), np.asarray(expected))


def test_one_pixel_and_one_line() -> None:
    assert (square(Image.new("RGB", (1, 1), (1, 2, 3)), 8) == np.array([1, 2, 3])).all()
    assert square(noise(4, 5000, 1), 8).shape == (8, 8, 3)


def test_reduced_jpeg_is_close_to_the_whole_one(tmp_path: Path) -> None:
    smooth = noise(5, 8, 6).resize((800, 600), Image.Resampling.BICUBIC)
    path = str(save(tmp_path / "a.jpg", smooth))
    reduced = read_rgb(path, 64)
    assert reduced.size == (100, 75)
    assert read_rgb(path, 76).size == (200, 150)
    difference = square(reduced, 32).astype(int) - square(read_rgb(path), 32)
    assert abs(difference).mean() < 2


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.gif", "a.tif", "a.webp"])
def test_a_truncated_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, noise(6, 64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=name):
        read_rgb(str(path))


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff\xd8\xff\xe0" + b"\0" * 9]
)
def test_foreign_bytes_are_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError) as caught:
        read_rgb(str(path))
    assert caught.value.path == str(path)
    assert caught.value.reason
    with pytest.raises(UnreadableImageError):
        short_side(str(path))


@pytest.mark.parametrize("limit", [100, 300])  # over twice the limit Pillow raises, between them it only warns
def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = save(tmp_path / "a.png", noise(7))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_rgb(str(path))


@pytest.mark.parametrize(("width", "height"), [(20, 16), (16, 20), (40, 8), (21, 15)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_over_the_limit_is_read_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int, progressive: bool
) -> None:
    """A stand-in for the photo of 108 megapixels: the limit is on what is decoded."""
    path = str(save(tmp_path / "a.jpg", noise(7, width, height)))
    Image.open(path).save(path, progressive=progressive)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    half = (-(-width // 2), -(-height // 2))
    for least, expected in ((0, half), (1, (-(-width // 8), -(-height // 8))), (min(half), half), (1000, half)):
        assert read_rgb(path, least).size == expected
    assert short_side(path) == min(width, height)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", width * height)
    assert read_rgb(path).size == (width, height)


@pytest.mark.parametrize(("progressive", "times"), [(False, 4), (True, 2)])
def test_a_jpeg_far_over_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progressive: bool, times: int
) -> None:
    path = str(tmp_path / "a.jpg")
    noise(7, 40, 30).save(path, progressive=progressive)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199 // times)
    for least in (0, 1, 1000):
        with pytest.raises(UnreadableImageError, match="40×30 = 1200 pixels, over the limit"):
            read_rgb(path, least)


@pytest.mark.slow
def test_a_photo_of_108_megapixels(tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.jpg", noise(7, 12, 9).resize((12000, 9000))))
    assert read_rgb(path).size == (6000, 4500)
    assert read_rgb(path, 448).size == (1500, 1125)
    with pytest.raises(
        UnreadableImageError, match="12000×9000 = 108000000 pixels, over the limit of 89478485; make it"
    ):
        read_rgb(str(save(tmp_path / "a.png", Image.new("L", (12000, 9000)))))


def test_floating_point_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no fixed range"):
        to_rgb(Image.fromarray(np.ones((2, 2), np.float32)))


def test_greyscale_photos_have_equal_channels(real_data: Path) -> None:
    grey = []
    for path in sorted((real_data / "tiny_imagenet20" / "train").rglob("*.[Jj][Pp]*[Gg]"))[:600]:
        with Image.open(path) as image:
            grey += [path] if image.mode == "L" else []
    assert grey
    read = square(read_rgb(str(grey[0])), 32)
    assert (read[..., :1] == read).all()


def bomb(ending: str) -> bytes:
    """A small file that declares 60 000 × 60 000 pixels (WebP: its largest, 16 383²)."""
    if ending == "png":
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
    if ending == "webp":
        sides = struct.pack("<I", 16_382 | 16_382 << 14)
        data = b"\x2f" + sides + bytes(40)
        return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"\0"
    written = io.BytesIO()
    noise(0).save(written, {"gif": "GIF", "tif": "TIFF", "bmp": "BMP"}[ending])
    content = written.getvalue()
    if ending == "gif":
        return content[:6] + struct.pack("<HH", 60_000, 60_000) + content[10:]
    if ending == "bmp":
        return content[:18] + struct.pack("<ii", 60_000, 60_000) + content[26:]
    start = struct.unpack("<I", content[4:8])[0] + 2  # two entries of the directory: width and height
    entries = struct.pack("<HHII", 256, 4, 1, 60_000) + struct.pack("<HHII", 257, 4, 1, 60_000)
    return content[:start] + entries + content[start + 24 :]


@pytest.mark.parametrize("ending", ["png", "gif", "tif", "bmp", "webp"])
def test_a_small_file_that_declares_a_huge_image_is_refused_with_its_size(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(bomb(ending))
    with pytest.raises(UnreadableImageError, match=r"pixels|not an image"):
        read_rgb(str(path))
    if ending != "webp":  # whose decoder reads more than the size first
        with pytest.raises(UnreadableImageError, match="3600000000 pixels"):
            read_rgb(str(path))


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for path in (str(tmp_path / "a.png"), "/dev/zero", str(tmp_path)):
        with pytest.raises(UnreadableImageError, match="pipe or device"):
            read_rgb(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n" + b"\n" * 200)
    with pytest.raises(UnreadableImageError, match="not an image"):
        read_rgb(str(tmp_path / "a.png"))


def test_a_file_is_not_asked_for_more_than_it_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    with BoundedFile(tmp_path / "a") as file:
        assert file.read(2) == b"ab"
        assert file.read(1 << 60) == b"cdef"  # Python would make room for that much first
        assert file.read(1 << 60) == b""
        file.seek(1)
        assert file.read() == b"bcdef"


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("size", [(256, 256), (300, 201), (91, 200)], ids=str)
def test_a_publishers_cut_is_timms_pixel_for_pixel(size: tuple[int, int], interpolation: Interpolation) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    for crop_pct in (0.875, 0.9, 1.0):
        peer = create_transform(
            (3, 64, 64), interpolation=interpolation, crop_pct=crop_pct, mean=(0, 0, 0), std=(1, 1, 1)
        )
        wanted = (peer(image) * 255).round().byte().permute(1, 2, 0).numpy()
        ours = framed(image, 64, Framing(math.floor(64 / crop_pct), interpolation))
        np.testing.assert_array_equal(ours, wanted)


def test_without_a_publisher_the_largest_square_is_cut() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    np.testing.assert_array_equal(framed(image, 32, None), square(image, 32))
