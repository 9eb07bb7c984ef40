"""Decode every image once and share the pixels between all trials, sizes and processes."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from PIL import Image

from scalesearch.data.arrays import ImageArrays, Pixels, Progress, opened, stored
from scalesearch.data.image import square
from scalesearch.data.source import IntArray, Source, UnreadableImageError, choose
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.machine import cores
from scalesearch.units import counted

# A master this much larger than the largest size wanted keeps all sizes about equally sharp: against decoding each
# size by itself, photos at 40 to 64 px kept 97.5–99.4 % of their edge energy (94–100 % with 1, 98.7–99.7 % with 2).
MASTER_OVERSIZE = 1.5
DRAFT_OVERSIZE = 2  # JPEGs are decoded no smaller than twice the size they are then resized to
HUNG_SECONDS = 60.0
LOG = logging.getLogger("scalesearch")
_SCAN_PX = 8
_CHUNK = 256
_FORMAT = 1
_DECODING = 2  # changes with what a file is decoded to, or with which can be
_SHOWN = 5

_Done = TypeVar("_Done")


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
    key = _decoded_key(source, indices, size_px)

    def make() -> Iterator[Pixels]:
        broken: list[UnreadableImageError] = []
        for chunk in _in_order(lambda i: _decoded(source, i, size_px), indices.tolist(), progress, source.describe):
            broken += [item for item in chunk if isinstance(item, UnreadableImageError)]
            if not broken:  # once one is broken only the list of all broken ones is of use
                yield np.stack([item for item in chunk if not isinstance(item, UnreadableImageError)])
        if broken:
            raise _broken_error(broken, len(indices))

    images = stored(folder / f"{key}.npy", (len(indices), size_px, size_px, 3), make)
    return ImageArrays(images, source.labels[indices], key, folder)


def _decoded_key(source: Source, indices: IntArray, size_px: int) -> str:
    return _key(
        "decoded", _DECODING, source.digest, PIL.__version__, hashlib.sha256(indices.tobytes()).hexdigest(), size_px
    )


def resized(source: Source, indices: IntArray, master_px: int, size_px: int, folder: Path) -> ImageArrays | None:
    """What ``at_size`` made of such a master and kept, without a look at the master; None where there is nothing."""
    key = _key("resized", _decoded_key(source, indices, master_px), size_px)
    try:
        images = opened(folder / f"{key}.npy", (len(indices), size_px, size_px, 3))
    except OSError:  # a file that cannot be read: who makes it anew says why
        return None
    return None if images is None else ImageArrays(images, source.labels[indices], key, folder)


def at_size(arrays: ImageArrays, size_px: int, progress: Progress | None = None) -> ImageArrays:
    """The same images at another size (bicubic, antialiased), made on the first call and kept beside the master."""
    if size_px == arrays.size_px:
        return arrays
    key = _key("resized", arrays.key, size_px)

    def make() -> Iterator[Pixels]:
        for chunk in _in_order(lambda i: _resized(arrays.images[i], size_px), range(len(arrays)), progress):
            yield np.stack(chunk)

    images = stored(arrays.folder / f"{key}.npy", (len(arrays), size_px, size_px, 3), make)
    return dataclasses.replace(arrays, images=images, key=key)


def without_broken(source: Source, folder: Path, progress: Progress | None = None) -> Source:
    """The source without the images that cannot be decoded, with a note that says how many; looked for once.

    Raises UserError if a class loses all its images.
    """
    record = folder / f"{_key('broken', _DECODING, source.digest, PIL.__version__)}.json"
    if record.exists():
        broken: list[int] = read_json(record, "the list of broken images")["broken"]
    else:
        chunks = _in_order(lambda i: _readable(source, i), range(len(source)), progress, source.describe)
        broken = [i for i, fine in enumerate(fine for chunk in chunks for fine in chunk) if not fine]
        write_json(record, {"broken": broken})
    if not broken:
        return source
    kept = np.setdiff1d(np.arange(len(source)), broken)
    lost = np.setdiff1d(source.labels, source.labels[kept])
    if len(lost):
        names = ", ".join(f"'{source.classes[label]}'" for label in lost[:_SHOWN])
        raise UserError(source.name, f"there is no readable image of {names}.", do="Remove the class.")
    examples = ", ".join(source.describe(i) for i in broken[:_SHOWN])
    more = ", …" if len(broken) > _SHOWN else ""
    note = f"{counted(len(broken), 'broken image')} left out: {examples}{more}"
    return choose(source, kept.tolist(), _key(source.digest, *broken)[:12], note)


def _decoded(source: Source, i: int, size_px: int) -> Pixels | UnreadableImageError:
    try:
        return square(source.read(i, DRAFT_OVERSIZE * size_px), size_px)
    except UnreadableImageError as error:
        return error


def _readable(source: Source, i: int) -> bool:
    return not isinstance(_decoded(source, i, _SCAN_PX), UnreadableImageError)


def _resized(image: Pixels, size_px: int) -> Pixels:
    return square(Image.fromarray(image), size_px)


def _in_order(
    work: Callable[[int], _Done], items: Sequence[int], progress: Progress | None, name: Callable[[int], str] = str
) -> Iterable[list[_Done]]:
    """``work`` on each item by as many threads as there are cores (Pillow lets others run while it decodes)."""
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            waiting = [(pool.submit(work, item), item) for item in chunk]
            yield [_awaited(future, name, item) for future, item in waiting]
            if progress is not None:
                progress(min(start + _CHUNK, len(items)), len(items))


def _awaited(future: Future[_Done], name: Callable[[int], str], item: int) -> _Done:
    """A thread's result; says it when there is none for long, as on a network's disk that does not answer."""
    if not wait([future], HUNG_SECONDS).done:
        LOG.warning("%s has not been read for %g s; its disk may not answer. Waiting.", name(item), HUNG_SECONDS)
    return future.result()


def _broken_error(broken: Sequence[UnreadableImageError], total: int) -> UserError:
    shown = "; ".join(str(error) for error in broken[:_SHOWN])
    rest = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    problem = f"{len(broken)} of {total} cannot be decoded: {shown}{rest}."
    return UserError("images", problem, do="Remove them, or leave them out with --skip-broken.")


def _key(*values: object) -> str:
    """24 hex digits naming content made from ``values`` by this version of the code."""
    return hashlib.sha256(json.dumps([_FORMAT, *values]).encode()).hexdigest()[:24]
