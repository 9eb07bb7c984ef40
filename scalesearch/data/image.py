"""One image file made into upright 8-bit RGB, and cut to a square."""

import hashlib
import io
import os
import stat
import struct
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from scalesearch.data.formats import HEIC_EXTRA, SNIFFED, format_of, formats
from scalesearch.data.source import UnreadableImageError
from scalesearch.files import BoundedFile
from scalesearch.study.config import Interpolation

_WHITE = (255, 255, 255, 255)
_SIXTEEN_BIT_MAX = 65535
_JPEGS = ("JPEG", "MPO")
# Times Pillow's limit (89 MP) that a JPEG read smaller may be stored at: a plain one is decoded in stripes, of a
# progressive one (True) all coefficients are held, up to 6 bytes a pixel.
_REDUCIBLE = {False: 4, True: 2}


def read_rgb(path: str, at_least_px: int = 0, content: bytes | None = None) -> Image.Image:
    """Decode a file to RGB, turned upright by its EXIF orientation; the first frame of an animation.

    With ``at_least_px`` > 0 a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where no side falls below that. One over
    Pillow's size limit is decoded no larger than the limit, whatever is asked for, where it has at most four times as
    many pixels (a progressive one twice). ``content``: the file's bytes, where ``path`` only names it.
    Raises UnreadableImageError for anything that is not a whole image, and for other files over that limit.
    """
    try:
        with _opened(path, content) as file, _recognised(file) as image:
            target = _target(image, at_least_px)
            if target is not None:
                image.draft(None, target)  # type: ignore[arg-type,unused-ignore]
            _refuse_bomb(image.size)
            return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise nearly anything on broken bytes; always handed on as one kind
        raise UnreadableImageError(path, _reason(error)) from error


def short_side(path: str, content: bytes | None = None) -> int:
    """Short side in pixels from the file's header (``content`` as for ``read_rgb``). Raises UnreadableImageError."""
    try:
        with _opened(path, content) as file, _recognised(file) as image:
            return min(image.size)
    except Exception as error:  # as above
        raise UnreadableImageError(path, _reason(error)) from error


def _recognised(file: IO[bytes]) -> Image.Image:
    """What Image.open makes of a file, without its judgement of the size: it is made before a JPEG can be asked to be
    decoded smaller, and half of it is a warning, which no thread can keep to itself. ``_refuse_bomb`` makes it here.

    Raises UnidentifiedImageError for no image of ``formats``.
    """
    start = file.read(SNIFFED)
    for name in formats():
        make, accepts = Image.OPEN[name]
        accepted = accepts is None or accepts(start)
        if not accepted or isinstance(accepted, str):
            continue
        file.seek(0)
        try:
            return make(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # as Pillow's plugins say that it is none of theirs
            continue
    raise UnidentifiedImageError(_unknown(format_of(start)))


def _unknown(kind: str) -> str:
    if kind == "HEIF" and kind not in formats():
        return f"a HEIC picture, which needs {HEIC_EXTRA}"
    return "not an image" if kind in ("", *formats()) else f"{kind} pictures cannot be read by the Pillow here"


def _target(image: Image.Image, at_least_px: int) -> tuple[int, int] | None:
    """What a JPEG is asked to be no smaller than: ``at_least_px``, or less where the limit demands it; None to ask for
    nothing, also where no reduction would do."""
    limit, (width, height) = Image.MAX_IMAGE_PIXELS, image.size
    if image.format in _JPEGS and limit is not None and width * height > limit:
        least = at_least_px or max(width, height)
        most = _REDUCIBLE[bool(image.info.get("progressive"))] * limit
        for part in (2, 4, 8):
            reduced = (width // part, height // part)
            if width * height <= most and (reduced[0] + 1) * (reduced[1] + 1) <= limit:
                return max(1, min(reduced[0], least)), max(1, min(reduced[1], least))
        return None
    return (at_least_px, at_least_px) if at_least_px > 0 else None


def _opened(path: str, content: bytes | None) -> IO[bytes]:
    """A regular file: on a pipe a reader waits for ever. Its size bounds what a chunk's length makes Pillow ask for."""
    if content is not None:
        return io.BytesIO(content)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("a folder, pipe or device, not a file")
    return BoundedFile(path)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as 8-bit RGB: transparency over white, 16 bits scaled (not clipped) to 8. Where no value of grey
    of 16 bits needs more than 12, it is taken to have 12.

    Raises ValueError for 32-bit images, whose range is not known.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, size_px: int) -> npt.NDArray[np.uint8]:
    """The largest centred square, resized (bicubic, antialiased) to [size_px, size_px, 3] uint8."""
    fitted = ImageOps.fit(image, (size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(fitted, dtype=np.uint8)


@dataclass(frozen=True)
class Framing:
    """How a square is cut as the publisher of weights does: the short side is resized to ``resize_px``, then the square
    is cut from the centre."""

    resize_px: int
    interpolation: Interpolation = "bicubic"


def framed(image: Image.Image, size_px: int, framing: Framing | None) -> npt.NDArray[np.uint8]:
    """[size_px, size_px, 3] uint8, by torchvision's functions; without a framing the largest square, as ``square``."""
    if framing is None:
        return square(image, size_px)
    from torchvision.transforms import InterpolationMode, functional

    resized = functional.resize(image, [framing.resize_px], InterpolationMode(framing.interpolation))
    return np.asarray(functional.center_crop(resized, [size_px]), dtype=np.uint8)


def pixel_digest(image: npt.NDArray[np.uint8]) -> str:
    """16 hex digits of an image's pixels, by which it is known again."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest()


def deep_bits(path: str, content: bytes | None = None) -> int:
    """How many bits a grey picture of more than 8 bits is read as, 12 or 16; 0 for all other files."""
    try:
        with _opened(path, content) as file, _recognised(file) as image:
            _refuse_bomb(image.size)
            return _bits(np.asarray(image)) if image.mode.startswith("I") else 0
    except Exception:  # reported with all the others when the set is decoded
        return 0


def _bits(values: npt.NDArray[np.generic]) -> int:
    """Cameras and scanners of 12 bits write files of 16, of which all but 16 levels would be lost."""
    return 12 if int(np.max(values)) < 1 << 12 else 16


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _SIXTEEN_BIT_MAX:
        raise ValueError("32-bit pixels have no fixed range; convert the file to 8 or 16 bits")
    white = (1 << _bits(values)) - 1
    return Image.fromarray(((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8))


def _refuse_bomb(size: tuple[int, int]) -> None:
    """Pillow only warns between its limit and twice its limit; both are refused here. JPEGs may come reduced."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        problem = f"{size[0]}×{size[1]} = {size[0] * size[1]} pixels, over the limit of {limit}"
        raise ValueError(f"{problem}; make it smaller, or a JPEG, which may have up to four times as many")


def _reason(error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"too many pixels: {error}"
    if isinstance(error, struct.error):
        return "not an image"
    return str(error) or type(error).__name__
