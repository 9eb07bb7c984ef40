"""Which files are pictures, by their endings and by their first bytes, and which of them can be read here."""

import functools
import importlib
import importlib.util

from PIL import Image, features

# Every ending that is read, and the Pillow format it stands for. An allow-list: Pillow would open others, too,
# PostScript by starting another program.
ENDINGS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".jif": "JPEG", ".mpo": "JPEG",
    ".png": "PNG", ".apng": "PNG", ".bmp": "BMP", ".dib": "DIB", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".gif": "GIF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".qoi": "QOI",
    ".avif": "AVIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".j2c": "JPEG2000", ".jpc": "JPEG2000",
    ".jpf": "JPEG2000", ".jpx": "JPEG2000", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF",
}  # fmt: skip
# Pictures, drawings and films that people have and that are not read here.
FOREIGN_ENDINGS = frozenset({
    ".ai", ".arw", ".cr2", ".cr3", ".dcm", ".dng", ".emf", ".eps", ".exr", ".fits", ".icns", ".ico", ".jxl", ".nef",
    ".nii", ".orf", ".pcx", ".pdf", ".pfm", ".psd", ".raf", ".rw2", ".sgi", ".svg", ".tga", ".wmf", ".xcf", ".3gp",
    ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm", ".wmv",
})  # fmt: skip
SNIFFED = 64  # bytes from a file's start, enough for ``format_of``
HEIC_EXTRA = "pip install 'scalesearch[heic]'"
_OPTIONAL = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}  # parts that a build of Pillow may lack
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


@functools.cache
def formats() -> tuple[str, ...]:
    """The Pillow formats that can be read here, each registered with Pillow."""
    Image.init()
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(
        name for name in dict.fromkeys(ENDINGS.values())
        if name in Image.OPEN and (name not in _OPTIONAL or features.check(_OPTIONAL[name]))
    )  # fmt: skip


@functools.cache
def readable_endings() -> frozenset[str]:
    """The endings, in lower case with their dot, of files that can be read here."""
    return frozenset(ending for ending, name in ENDINGS.items() if name in formats())


def is_picture(ending: str) -> bool:
    """Whether files of this ending hold pictures or films, whether or not they can be read here."""
    return ending in ENDINGS or ending in FOREIGN_ENDINGS


def shown_endings() -> str:
    """The endings of files that can be read here, for messages."""
    return " ".join(ending[1:] for ending in ENDINGS if ending in readable_endings())


def format_of(start: bytes) -> str:
    """The Pillow format that a file's first bytes stand for; "" for none in ``ENDINGS``.

    >>> format_of(bytes.fromhex("ffd8ffe0")), format_of(b"no image")
    ('JPEG', '')
    """
    for magic, name in (
        (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
        (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"qoif", "QOI"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (b"\xff\x4f\xff\x51", "JPEG2000"),
    ):  # fmt: skip
        if start.startswith(magic):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[:2] == b"BM" and start[6:10] == bytes(4):  # two letters begin many texts; four zeros none
        return "BMP"
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3] in (b" ", b"\t", b"\r", b"\n"):
        return "PPM"
    return _of_boxes(start) if start[4:8] == b"ftyp" else ""


def _of_boxes(start: bytes) -> str:
    """AVIF and HEIF are told apart by the brands that a file says it is compatible with."""
    brands = {start[place : place + 4] for place in range(8, min(len(start), int.from_bytes(start[:4], "big")), 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else ""
