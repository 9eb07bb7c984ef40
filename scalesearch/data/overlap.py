"""Images that two parts of a data set share, by their pixels: an accuracy measured on them says nothing."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scalesearch.data.arrays import ImageArrays, Pixels
from scalesearch.data.image import pixel_digest
from scalesearch.data.source import IntArray

Floats = npt.NDArray[np.float32]
Pair = tuple[int, int]

THUMBNAIL_PX = 16
LARGEST_DIFFERENCE = 2.0  # grey levels, root mean square over the thumbnail
LARGEST_SHARE = 0.1  # of the thumbnail's own deviation: flat images resemble each other without being copies
CHUNK = 512


def overlap(train: ImageArrays, other: ImageArrays) -> tuple[Pair, ...]:
    """Which images of ``other`` are in ``train`` too: the same pixels, or a re-encoded copy of them.

    A copy differs from its original by less than 2 grey levels in a thumbnail of 16 × 16 greys.

    Args:
        train, other: of one size in pixels, or any two.

    Returns:
        (position in ``train``, position in ``other``), each of ``other`` at most once, in order of ``other``.
    """
    twins = dict(copies(thumbnails(train.images), thumbnails(other.images)))
    twins.update(identical(train.images, other.images))
    return tuple((twins[place], place) for place in sorted(twins))


def identical(train: Pixels, other: Pixels) -> Iterator[Pair]:
    """(position in ``other``, first position in ``train``) of images that are equal bit for bit."""
    if train.shape[1:] != other.shape[1:]:
        return
    known: dict[str, int] = {}
    for place, image in enumerate(train):
        known.setdefault(pixel_digest(image), place)
    for place, image in enumerate(other):
        twin = known.get(pixel_digest(image))
        if twin is not None:
            yield place, twin


def thumbnails(images: Pixels) -> Floats:
    """uint8 [n, S, S, 3] → the mean grey of each field of a 16 × 16 grid, float32 [n, 256]."""
    fields = averaging(images.shape[1])
    chunks = (images[start : start + CHUNK].mean(axis=3, dtype=np.float32) for start in range(0, len(images), CHUNK))
    rows = [(fields @ grey @ fields.T).reshape(len(grey), -1) for grey in chunks]
    return np.concatenate(rows) if rows else np.empty((0, THUMBNAIL_PX**2), np.float32)


def averaging(size_px: int) -> Floats:
    """The matrix (16, size_px) that averages a row of pixels over 16 equal fields, pixels split where fields end."""
    ends = np.linspace(0, size_px, THUMBNAIL_PX + 1)
    pixels = np.arange(size_px)
    shared = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    shares: Floats = (np.clip(shared, 0, None) * THUMBNAIL_PX / size_px).astype(np.float32)
    return shares


def copies(train: Floats, other: Floats, labels: tuple[IntArray, IntArray] | None = None) -> Iterator[Pair]:
    """(position in ``other``, nearest position in ``train``) of thumbnails that are nearly the same.

    Two thumbnails' means never differ by more than the thumbnails do, so only neighbours in mean are compared.

    Args:
        labels: of ``train`` and of ``other``: then only images of different labels are compared.
    """
    means = train.mean(axis=1)
    order = np.argsort(means, kind="stable")
    ordered = means[order]
    limits = np.minimum(LARGEST_DIFFERENCE, LARGEST_SHARE * other.std(axis=1))
    lows = np.searchsorted(ordered, other.mean(axis=1) - limits, side="left")
    highs = np.searchsorted(ordered, other.mean(axis=1) + limits, side="right")
    for place in np.flatnonzero(highs > lows).tolist():
        rows = order[lows[place] : highs[place]]
        if labels is not None:
            rows = rows[labels[0][rows] != labels[1][place]]
            if not len(rows):
                continue
        differences = np.sqrt(np.square(train[rows] - other[place]).mean(axis=1))
        nearest = int(differences.argmin())
        if differences[nearest] < limits[place]:
            yield place, int(rows[nearest])
