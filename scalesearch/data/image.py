"""One image file made into upright 8-bit RGB, and cut to a square."""

import hashlib
import os
import stat

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from scalesearch.data.source import UnreadableImageError
from scalesearch.files import BoundedFile

# what the endings of images stand for; others Pillow would open, too, PostScript by starting another program
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF")
_WHITE = (255, 255, 255, 255)
_SIXTEEN_BIT_MAX = 65535


def read_rgb(path: str, at_least_px: int = 0) -> Image.Image:
    """Decode a file to RGB, turned upright by its EXIF orientation; the first frame of an animation.

    With ``at_least_px`` > 0 a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where no side falls below that.
    Raises UnreadableImageError for anything that is not a whole image, and for files over Pillow's size limit.
    """
    try:
        with _opened(path) as file, Image.open(file, formats=FORMATS) as image:
            _refuse_bomb(image.size)
            if at_least_px > 0:
                image.draft(None, (at_least_px, at_least_px))  # type: ignore[arg-type,unused-ignore]
            return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise nearly anything on broken bytes; always handed on as one kind
        raise UnreadableImageError(path, _reason(error)) from error


def short_side(path: str) -> int:
    """Short side in pixels from the file's header. Raises UnreadableImageError."""
    try:
        with _opened(path) as file, Image.open(file, formats=FORMATS) as image:
            return min(image.size)
    except Exception as error:  # as above
        raise UnreadableImageError(path, _reason(error)) from error


def _opened(path: str) -> BoundedFile:
    """A regular file: on a pipe a reader waits for ever. Its size bounds what a chunk's length makes Pillow ask for."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("a folder, pipe or device, not a file")
    return BoundedFile(path)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as 8-bit RGB: transparency over white, 16 bits scaled (not clipped) to 8.

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


def pixel_digest(image: npt.NDArray[np.uint8]) -> str:
    """16 hex digits of an image's pixels, by which it is known again."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest()


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _SIXTEEN_BIT_MAX:
        raise ValueError("32-bit pixels have no fixed range; convert the file to 8 or 16 bits")
    return Image.fromarray(
        ((values.astype(np.uint32) * 255 + _SIXTEEN_BIT_MAX // 2) // _SIXTEEN_BIT_MAX).astype(np.uint8)
    )


def _refuse_bomb(size: tuple[int, int]) -> None:
    """Pillow only warns between its limit and twice its limit; both are refused here."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise ValueError(f"{size[0]}×{size[1]} pixels, over the limit of {limit}")


def _reason(error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"too many pixels: {error}"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
