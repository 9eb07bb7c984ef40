"""Decode every image once and share the pixels between all trials, sizes and processes."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from PIL import Image

from scalesearch.data.arrays import ImageArrays, Images, Pixels, Progress, StreamedImages, opened, stored
from scalesearch.data.image import Framing, framed, square
from scalesearch.data.source import BROKEN_SHOWN, IntArray, Source, UnreadableImageError, broken_error, choose
from scalesearch.data.threads import in_order
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.units import counted

# A master this much larger than the largest size wanted keeps all sizes about equally sharp: against decoding each
# size by itself, photos at 40 to 64 px kept 97.5–99.4 % of their edge energy (94–100 % with 1, 98.7–99.7 % with 2).
MASTER_OVERSIZE = 1.5
DRAFT_OVERSIZE = 2  # JPEGs are decoded no smaller than twice the size they are then resized to
_SCAN_PX = 8
_CHUNK = 256
_FORMAT = 1
_DECODING = 2  # changes with what a file is decoded to, or with which can be

_Done = TypeVar("_Done")


def least_px(size_px: int, framing: Framing | None) -> int:
    """The smallest side that a JPEG may be decoded to; 0, its own, where a publisher's pixels are wanted."""
    return DRAFT_OVERSIZE * size_px if framing is None else 0


def master_size(native_px: int, largest_px: int) -> int:
    """Side in pixels to decode to once, when sizes up to ``largest_px`` will be derived from it by ``at_size``."""
    return max(1, min(native_px, int(largest_px * MASTER_OVERSIZE + 0.5)))


def cached(
    source: Source, indices: IntArray, size_px: int, folder: Path, progress: Progress | None = None
) -> ImageArrays:
    """The images ``indices`` as centred squares of ``size_px``, decoded on the first call and kept in ``folder``.

    ``progress`` is called with (done, total) while decoding. Raises one UserError naming all unreadable images,
    or when ``folder`` cannot be written.
    """
    return kept(streamed(source, indices, size_px, folder), progress)


def at_size(master: Images, size_px: int, progress: Progress | None = None) -> ImageArrays:
    """The same images at another size (bicubic, antialiased), made on the first call and kept beside the master."""
    if isinstance(master, ImageArrays) and size_px == master.size_px:
        return master
    return kept(streamed_at(master, size_px), progress)


def streamed(
    source: Source, indices: IntArray, size_px: int, folder: Path, framing: Framing | None = None
) -> StreamedImages:
    """The images ``indices`` as centred squares of ``size_px``, decoded whenever they are asked for."""
    rows = hashlib.sha256(indices.tobytes()).hexdigest()
    cut = [] if framing is None else [framing.resize_px, framing.interpolation]
    key, least = (
        _key("decoded", _DECODING, source.digest, PIL.__version__, rows, size_px, *cut),
        least_px(size_px, framing),
    )

    def make(row: int) -> Pixels:
        return framed(source.read(int(indices[row]), least), size_px, framing)

    return StreamedImages(
        source.labels[indices], size_px, make, key, folder, lambda row: source.describe(int(indices[row]))
    )


def streamed_at(master: Images, size_px: int) -> StreamedImages:
    """The same images at another size (bicubic, antialiased), made whenever they are asked for."""
    key = _key("resized", master.key, size_px)

    def make(row: int) -> Pixels:
        return square(Image.fromarray(master.one(row)), size_px)

    return StreamedImages(master.labels, size_px, make, key, master.folder, master.name)


def kept(images: StreamedImages, progress: Progress | None = None) -> ImageArrays:
    """The images as an array, made on the first call and kept in their folder; errors as of ``cached``."""
    return _array(images, stored(images.path, images.shape, lambda: _all_made(images, progress)))


def found(images: StreamedImages) -> ImageArrays | None:
    """The array, where it is kept already; None where there is nothing."""
    try:
        pixels = opened(images.path, images.shape)
    except OSError:  # a file that cannot be read: who makes it anew says why
        return None
    return None if pixels is None else _array(images, pixels)


def _array(images: StreamedImages, pixels: Pixels) -> ImageArrays:
    return ImageArrays(pixels, images.labels, images.key, images.folder, images.name)


def _all_made(images: StreamedImages, progress: Progress | None) -> Iterator[Pixels]:
    broken: list[UnreadableImageError] = []
    for chunk in _in_order(lambda row: _tried(images.make, row), range(len(images)), progress, images.name):
        broken += [item for item in chunk if isinstance(item, UnreadableImageError)]
        if not broken:  # once one is broken only the list of all broken ones is of use
            yield np.stack([item for item in chunk if not isinstance(item, UnreadableImageError)])
    if broken:
        raise broken_error(broken, len(images))


def without_broken(source: Source, folder: Path, progress: Progress | None = None) -> Source:
    """The source without the images that cannot be decoded, with a note that says how many; looked for once.

    Raises UserError if a class loses all its images.
    """
    record = folder / f"{_key('broken', _DECODING, source.digest, PIL.__version__)}.json"
    if record.exists():
        broken: list[int] = read_json(record, "the list of broken images")["broken"]
    else:
        small = streamed(source, np.arange(len(source)), _SCAN_PX, folder)
        chunks = _in_order(lambda i: _tried(small.make, i), range(len(source)), progress, source.describe)
        tried = (one for chunk in chunks for one in chunk)
        broken = [i for i, one in enumerate(tried) if isinstance(one, UnreadableImageError)]
        write_json(record, {"broken": broken})
    if not broken:
        return source
    kept = np.setdiff1d(np.arange(len(source)), broken)
    lost = np.setdiff1d(source.labels, source.labels[kept])
    if len(lost):
        names = ", ".join(f"'{source.classes[label]}'" for label in lost[:BROKEN_SHOWN])
        raise UserError(source.name, f"there is no readable image of {names}.", do="Remove the class.")
    examples = ", ".join(source.describe(i) for i in broken[:BROKEN_SHOWN])
    more = ", …" if len(broken) > BROKEN_SHOWN else ""
    note = f"{counted(len(broken), 'broken image')} left out: {examples}{more}"
    return choose(source, kept.tolist(), _key(source.digest, *broken)[:12], note)


def _tried(make: Callable[[int], Pixels], row: int) -> Pixels | UnreadableImageError:
    try:
        return make(row)
    except UnreadableImageError as error:
        return error


def _in_order(
    work: Callable[[int], _Done], rows: Sequence[int], progress: Progress | None, name: Callable[[int], str] = str
) -> Iterator[list[_Done]]:
    """``work`` on each row, some at a time; ``progress`` is told how many are done."""
    done = 0
    for chunk in in_order(work, (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)), name):
        yield chunk
        done += len(chunk)
        if progress is not None:
            progress(done, len(rows))


def _key(*values: object) -> str:
    """24 hex digits naming content made from ``values`` by this version of the code."""
    return hashlib.sha256(json.dumps([_FORMAT, *values]).encode()).hexdigest()[:24]
