"""What a folder of people looks like, said before anything is trained on it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from scalesearch.data.image import short_side
from scalesearch.data.overlap import copies, thumbnails
from scalesearch.data.source import UnreadableImageError, sampled
from scalesearch.faces.photos import Crowd, few
from scalesearch.faces.train import FaceData
from scalesearch.units import counted, list_counts

FEW_PEOPLE = 10  # an embedding learnt from fewer hardly carries over to others


def sentences(crowd: Crowd, data: FaceData, root: str, size_px: int) -> Iterator[str]:
    """What was understood, a line each, and what should be looked into, as notes and warnings.

    Args:
        crowd: everybody in the folder ``root``; ``data``: how they were divided.
        size_px: side of the faces that the network is given.
    """
    counts = np.bincount(crowd.labels, minlength=len(crowd.names))
    yield f"Photos of each person: {list_counts(dict(zip(crowd.names, counts.tolist(), strict=True)))}"
    sides = list(_sides([str(Path(root, file)) for file in crowd.files]))
    spread = f"{counts.min()} to {counts.max()} of a person, {np.median(counts):g} in the middle"
    each = f"{counts.max()} of each" if counts.min() == counts.max() else spread
    yield f"{len(crowd.names)} people, {counted(len(crowd), 'photo')}: {each}"
    if sides:
        yield f"Short sides: {min(sides)} px at least, {np.median(sides):.0f} px in the middle (of a sample)"
    if sides and np.median(sides) < size_px / 2:
        yield f"Note: your photos are smaller than half of the {size_px} px that the network is given: little to see."
    yield from _twins(crowd)
    yield from _judged_by_copies(data)
    if data.single:
        yield f"Note: people with one photo make no pair and are not trained on: {few(data.single)}"
    if len(data.train.names) < FEW_PEOPLE:
        yield (
            f"Note: only {len(data.train.names)} people to learn from: the embedding will hardly carry over to others"
        )


def _sides(files: Sequence[str]) -> Iterator[int]:
    for place in sampled(len(files)):
        with contextlib.suppress(UnreadableImageError):  # gone since it was read
            yield short_side(files[place])


def _twins(crowd: Crowd) -> Iterator[str]:
    """Photos that two people have, re-encoded or of another size; equal ones are refused when photos are read."""
    small = thumbnails(crowd.pixels)
    found = {
        tuple(sorted((here, there))) for here, there in copies(small, small, (crowd.labels, crowd.labels))
    }  # fmt: skip
    if found:
        shown = [f"{crowd.files[one]} is {crowd.files[other]}" for one, other in sorted(found)]
        be = "photo is" if len(found) == 1 else "photos are"
        yield f"WARNING: {len(found)} {be} in the folders of two people, nearly pixel for pixel: {few(shown)}."


def _judged_by_copies(data: FaceData) -> Iterator[str]:
    """Near copies of photos trained on, among those that it is judged by."""
    if data.shown is None:
        return
    pairs = list(copies(thumbnails(data.train.pixels), thumbnails(data.shown.pixels)))
    if pairs:
        shown = [f"{data.shown.files[here]} is {data.train.files[there]}" for here, there in pairs]
        be = "is a copy" if len(pairs) == 1 else "are copies"
        yield (
            f"WARNING: {len(pairs)} of {counted(len(data.shown), 'photo')} to judge by {be} of photos trained on "
            f"({few(shown)}). Remove the copies: the judgement is too good by them."
        )
