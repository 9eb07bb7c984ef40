"""What every set of images is reduced to: labels, official parts, and a way to read one image."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from scalesearch.errors import ScaleSearchError, UserError

IntArray = npt.NDArray[np.int64]
PARTS = ("train", "val", "test", "")  # "" marks an image of a set without official parts
_SAMPLED = 64
BROKEN_SHOWN = 5


class UnreadableImageError(ScaleSearchError):
    """One image that cannot be decoded: ``path`` says which, ``reason`` why."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def broken_error(broken: Sequence[UnreadableImageError], total: int) -> UserError:
    """One message about all images that cannot be decoded, of ``total``."""
    shown = "; ".join(str(error) for error in broken[:BROKEN_SHOWN])
    rest = f"; and {len(broken) - BROKEN_SHOWN} more" if len(broken) > BROKEN_SHOWN else ""
    problem = f"{len(broken)} of {total} cannot be decoded: {shown}{rest}."
    return UserError("images", problem, do="Remove them, or leave them out with --skip-broken.")


class Reader(Protocol):
    """Decodes image ``i``. Readers are small, picklable values: worker processes are spawned."""

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        """Image ``i``, RGB and upright. With ``at_least_px`` > 0 a photo may come smaller than it is stored, but
        never with a side below that. Raises UnreadableImageError."""
        ...

    def describe(self, i: int) -> str:
        """Where image ``i`` comes from, for messages."""
        ...

    def short_side(self, i: int) -> int:
        """Short side of image ``i`` in pixels, from its header where it has one. Raises UnreadableImageError."""
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """A labelled set of images.

    ``labels``: int64 [N], positions in ``classes``. ``parts``: N official parts, each one of ``PARTS``.
    ``digest``: 12 hex digits that change with the set. ``flip``: a mirror image belongs to the same class.
    ``native_px``: median short side of a sample. ``notes``: what the user should know, a line each.
    ``groups``: int64 [N], images of one number belong together and into one part; None: each is for itself.
    """

    name: str
    classes: tuple[str, ...]
    labels: IntArray
    parts: tuple[str, ...]
    reader: Reader
    digest: str
    flip: bool
    native_px: int
    notes: tuple[str, ...] = ()
    groups: IntArray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        """Image ``i``, RGB and upright (see ``Reader.read``). Raises UnreadableImageError."""
        return self.reader.read(i, at_least_px)

    def describe(self, i: int) -> str:
        """Where image ``i`` comes from, for messages."""
        return self.reader.describe(i)


@dataclass(frozen=True)
class ChosenRows:
    """A reader of some rows of another reader."""

    reader: Reader
    rows: tuple[int, ...]

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        return self.reader.read(self.rows[i], at_least_px)

    def describe(self, i: int) -> str:
        return self.reader.describe(self.rows[i])

    def short_side(self, i: int) -> int:
        return self.reader.short_side(self.rows[i])


def class_counts(source: Source) -> dict[str, int]:
    """How many images each class has, all parts together, in the order of labels."""
    counts = np.bincount(source.labels, minlength=len(source.classes)).tolist()
    return dict(zip(source.classes, counts, strict=True))


def choose(source: Source, rows: Sequence[int], digest: str, note: str) -> Source:
    """The same set with only ``rows`` (in that order), under a new digest and with one more note."""
    kept = tuple(int(row) for row in rows)
    return dataclasses.replace(
        source,
        labels=source.labels[list(kept)],
        parts=tuple(source.parts[row] for row in kept),
        reader=ChosenRows(source.reader, kept),
        digest=digest,
        notes=(*source.notes, note),
        groups=None if source.groups is None else source.groups[list(kept)],
    )


def sampled(count: int) -> list[int]:
    """Up to 64 of ``count`` places, spread evenly."""
    places: list[int] = np.unique(np.linspace(0, count - 1, _SAMPLED).astype(int)).tolist()
    return places


def median_short_side(reader: Reader, count: int) -> int:
    """Median short side in pixels of up to 64 images spread over the set; unreadable ones are left out (1 if all)."""
    sides = []
    for i in sampled(count):
        try:
            sides.append(reader.short_side(i))
        except UnreadableImageError:  # reported with all the others when the set is decoded
            continue
    return int(np.median(sides)) if sides else 1
