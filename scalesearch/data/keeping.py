"""Which sizes of a set's images are kept on disk, and which are made as they are used: what a bound allows."""

import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalesearch.data.dataset import Dataset, Part
from scalesearch.data.overlap import THUMBNAIL_PX
from scalesearch.data.places import free_bytes
from scalesearch.data.source import UnreadableImageError, sampled
from scalesearch.errors import UserError
from scalesearch.machine import cores
from scalesearch.units import counted, show_bytes, show_seconds

USUAL_SHARE = 0.5  # of the disk's room: of what is free and of what decoded images take already
OPTION = "--cache-size"


@dataclass(frozen=True)
class Keeping:
    """How the images of some parts of a data set are had, and what they take.

    Args:
        images: of the parts that are used.
        kept, streamed: sizes in pixels that are kept on disk, and that are made as they are used.
        bytes: of those kept; ``missing``: of these, what is not there yet.
        room: bytes that decoded images may take, of this set and of others.
        seconds_per_image: of one core, to make one that is not there; 0.0 where all are.
        paths: the files of those kept.
    """

    folder: Path
    images: int
    kept: tuple[int, ...]
    streamed: tuple[int, ...]
    bytes: int
    missing: int
    room: int
    seconds_per_image: float
    paths: frozenset[Path]

    @property
    def reading(self) -> float:
        """Seconds until all that is kept is there, by as many threads as there are cores."""
        return self.seconds_per_image * self.images / cores() if self.missing else 0.0

    def __str__(self) -> str:
        sizes, streamed = (", ".join(map(str, pixels)) for pixels in (self.kept, self.streamed))
        made = f", made first in about {show_seconds(self.reading)}" if self.missing else ""
        rest = f"; those of {streamed} px are made whenever they are used" if streamed else ""
        return f"{show_bytes(self.bytes)} on disk for decoded images of {sizes} px{made}{rest}"


def keep(
    data: Dataset, used: Sequence[str], wanted: Collection[int], asked: float | None = None
) -> tuple[Dataset, Keeping]:
    """The data set with those sizes kept that there is room for; reads a few images, writes nothing.

    Args:
        used: of its parts ("train", "validation", "test"): those whose images will be had.
        wanted: the sizes in pixels.
        asked: bytes that decoded images may take; half of the disk's room if None.

    Raises:
        UserError: there is no room for what must be kept.
    """
    parts = [part for name, part in data.parts.items() if name in used]
    folder, images = data.train.folder, sum(map(len, parts))
    held, free = sum(size for _, _, size in _held(folder)), free_bytes(folder)
    room = int(USUAL_SHARE * (held + free) if asked is None else asked)
    sizes = kept_sizes(images, data.train.master_px, wanted, room)
    streamed = tuple(sorted(set(wanted) - sizes))
    within = Dataset(data.source, *(replace(part, kept=sizes) for part in data.parts.values()))
    files = {part.made(size).path: image_bytes(len(part), size) for part in parts for size in sizes}
    missing = sum(size for path, size in files.items() if not path.exists())
    ours = sum(size for path, size in files.items() if path.exists())
    if missing > free + held - ours:
        problem = f"decoded images need {show_bytes(missing)}, and {show_bytes(free)} are free in {folder}."
        raise UserError(OPTION, problem, do="Lower it, free some space, or choose another folder (SCALESEARCH_CACHE).")
    seconds = _seconds_per_image(data.train, max(wanted)) if missing or streamed else 0.0
    return within, Keeping(
        folder, images, tuple(sorted(sizes)), streamed, sum(files.values()), missing, room, seconds, frozenset(files)
    )


def make_room(keeping: Keeping) -> None:
    """Removes images of other sets, those that were not used for longest first, until these have room."""
    held = _held(keeping.folder)
    excess = sum(size for _, _, size in held) + keeping.missing - keeping.room
    for _, path, size in sorted(held):
        if excess > 0 and path not in keeping.paths:
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size


def image_bytes(images: int, size_px: int) -> int:
    """Of so many decoded images."""
    return images * size_px**2 * 3


def kept_sizes(images: int, master_px: int, wanted: Collection[int], room: int) -> frozenset[int]:
    """The sizes to keep in ``room`` bytes. Of several sizes the master comes first, since the others are made from it,
    then the smaller ones, of which most can be kept; one size alone needs no master. Thumbnails come before all where
    images have to be decoded whenever they are used: the only look at all of them.

    Raises UserError where not even those have room.
    """
    alone = set(wanted) - {master_px} if len(set(wanted)) == 1 else set()
    order = [*alone] or [master_px, *sorted(set(wanted) - {master_px})]
    kept = _fitting(images, order, room)
    if master_px in kept or kept.issuperset(wanted):
        return kept
    thumbnails = image_bytes(images, THUMBNAIL_PX)
    if thumbnails > room:
        problem = f"{show_bytes(room)} are too few for {counted(images, 'image')}."
        raise UserError(OPTION, problem, do=f"Give at least {show_bytes(thumbnails)}, which their thumbnails take.")
    return _fitting(images, [THUMBNAIL_PX, *order], room)


def _fitting(images: int, order: Iterable[int], room: int) -> frozenset[int]:
    kept = []
    for size in order:
        if image_bytes(images, size) <= room:
            kept.append(size)
            room -= image_bytes(images, size)
    return frozenset(kept)


def _held(folder: Path) -> list[tuple[float, Path, int]]:
    """When each decoded set was last used, its file, and its bytes."""
    held = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(OSError):  # another process may be making room
            lock = path.with_suffix(".lock")
            held.append(((lock if lock.exists() else path).stat().st_mtime, path, path.stat().st_size))
    return held


def _seconds_per_image(part: Part, size_px: int) -> float:
    """Of one core, by some images spread over the part; those that cannot be read are left out."""
    images, began, done = part.made(size_px), time.perf_counter(), 0
    for row in sampled(len(part)):
        with contextlib.suppress(UnreadableImageError):
            images.make(row)
            done += 1
    return (time.perf_counter() - began) / max(1, done)
