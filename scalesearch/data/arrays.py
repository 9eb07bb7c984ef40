"""Decoded images: one read-only array on disk, checked when first opened, written whole or not at all; or made anew
each time they are asked for, where the array would be too large."""

import contextlib
import functools
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from scalesearch.data.source import IntArray, UnreadableImageError, broken_error
from scalesearch.data.threads import in_order
from scalesearch.errors import UserError

Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
FileIdentity = tuple[int, int, int, int, int]

_CHECKSUM_BYTES = 4  # CRC-32 of the pixels, after the end of the .npy data, where numpy does not look
_CHECKED_AT_ONCE = 1 << 24


class Images(Protocol):
    """Square images of one size and their labels, wherever the pixels come from; equal ones from everywhere."""

    @property
    def labels(self) -> IntArray:
        """int64 [n]."""
        ...

    @property
    def key(self) -> str:
        """Names the content, whether it is kept or not."""
        ...

    @property
    def folder(self) -> Path:
        """Where this and other sizes of it are kept."""
        ...

    @property
    def size_px(self) -> int:
        """Side of the images in pixels."""
        ...

    @property
    def name(self) -> Callable[[int], str]:
        """Where an image comes from, by its row."""
        ...

    def __len__(self) -> int: ...

    def one(self, row: int) -> Pixels:
        """uint8 [size, size, 3]."""
        ...

    def batches(self, rows: Iterable[IntArray]) -> Iterator[Pixels]:
        """uint8 [len(rows), size, size, 3] of each batch of rows. Raises UserError where an image cannot be had."""
        ...


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """``images``: uint8 [n, size, size, 3], read-only. ``labels``: int64 [n]. ``key`` names the content;
    ``folder`` is where other sizes of it are kept; ``name`` says where an image comes from, by its row."""

    images: Pixels
    labels: IntArray
    key: str
    folder: Path
    name: Callable[[int], str] = str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_px(self) -> int:
        """Side of the square images in pixels."""
        return int(self.images.shape[1])

    def one(self, row: int) -> Pixels:
        pixels: Pixels = self.images[row]
        return pixels

    def batches(self, rows: Iterable[IntArray]) -> Iterator[Pixels]:
        return (self.images[batch] for batch in rows)


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images that are made when they are asked for, by as many threads as there are cores, batches ahead of their use.

    Args:
        make: an image by its row, uint8 [size_px, size_px, 3]. Raises UnreadableImageError.
        key, folder: of the array that they would be.
        name: where an image comes from, by its row.
    """

    labels: IntArray
    size_px: int
    make: Callable[[int], Pixels]
    key: str
    folder: Path
    name: Callable[[int], str] = str

    def __len__(self) -> int:
        return len(self.labels)

    def one(self, row: int) -> Pixels:
        return self.make(row)

    def batches(self, rows: Iterable[IntArray]) -> Iterator[Pixels]:
        try:
            for made in in_order(self.make, (batch.tolist() for batch in rows), self.name):
                yield np.stack(made)
        except UnreadableImageError as error:
            raise broken_error([error], len(self)) from error

    @property
    def path(self) -> Path:
        """The file that the array would be."""
        return self.folder / f"{self.key}.npy"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the array."""
        return len(self), self.size_px, self.size_px, 3


def stored(path: Path, shape: tuple[int, int, int, int], make: Callable[[], Iterable[Pixels]]) -> Pixels:
    """The array kept at ``path`` as a read-only memory map; made first if it is missing or damaged.

    ``make`` yields consecutive rows. One process makes it, others wait. Raises UserError when the disk is full.
    """
    try:
        images = opened(path, shape)
        if images is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                images = opened(path, shape)  # another process may have made it while this one waited
                if images is None:
                    _write(path, shape, make())
                    images = opened(path, shape)
    except OSError as error:
        raise UserError(
            str(path.parent), f"{np.prod(shape) / 1e6:.0f} MB cannot be written here ({error.strerror or error}).",
            do="Free some space or choose another cache folder (SCALESEARCH_CACHE).",
        ) from error  # fmt: skip
    if images is None:
        raise UserError(str(path), "the file changed while it was written.", do="Choose another folder for the cache.")
    return images


def opened(path: Path, shape: tuple[int, int, int, int]) -> Pixels | None:
    """The array kept at ``path``, or None if there is none, or it is short, of another shape or fails its checksum."""
    try:
        file = _identity(os.stat(path))
        images = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
        if images.dtype != np.uint8 or images.shape != shape:
            return None
        whole = _is_whole(path, file, images.offset, images.nbytes)
        with contextlib.suppress(OSError):
            os.utime(path.with_suffix(".lock"))  # says when the array was last used
        return images if whole else None
    except OSError:
        if path.is_file():
            raise
        return None
    except Exception:  # no .npy file, or one whose header numpy's reader fails on in one way or another
        return None


def _identity(status: os.stat_result) -> FileIdentity:
    """What changes when a file is written or replaced; the time of change, unlike that of writing, cannot be set."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@functools.lru_cache(maxsize=1024)
def _is_whole(path: Path, identity: FileIdentity, start: int, length: int) -> bool:
    """Whether a file holds the bytes that its checksum names. Read once a process while it stays the same file: with
    14 000 photos a look takes 15 s, and each training of a search asks."""
    with path.open("rb") as file:
        if _identity(os.fstat(file.fileno())) != identity or identity[2] != start + length + _CHECKSUM_BYTES:
            return False
        file.seek(start)
        checksum = 0
        for left in range(length, 0, -_CHECKED_AT_ONCE):
            checksum = zlib.crc32(file.read(min(left, _CHECKED_AT_ONCE)), checksum)
        return checksum == int.from_bytes(file.read(), "little")


def _write(path: Path, shape: tuple[int, int, int, int], rows: Iterable[Pixels]) -> None:
    needed = int(np.prod(shape))
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(0, f"{needed / 1e6:.0f} MB needed, {shutil.disk_usage(path.parent).free / 1e6:.0f} MB free")
    unfinished = path.with_suffix(".unfinished")  # the lock is held: nobody else writes under this name
    try:
        with unfinished.open("wb") as file:
            _write_rows(file, shape, rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_rows(file: BinaryIO, shape: tuple[int, int, int, int], rows: Iterable[Pixels]) -> None:
    """Plain writes, not a writable memory map: on a full disk they raise where a map would kill the process."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    checksum = 0
    for chunk in rows:
        block = np.ascontiguousarray(chunk).data
        checksum = zlib.crc32(block, checksum)
        file.write(block)
    file.write(checksum.to_bytes(_CHECKSUM_BYTES, "little"))
