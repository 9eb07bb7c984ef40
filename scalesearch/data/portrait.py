"""What a set of images looks like, said before anything is trained on it: its parts, classes and sizes, and images that
two parts share."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.arrays import Progress
from scalesearch.data.dataset import Dataset, Part
from scalesearch.data.glyphs import GlyphReader
from scalesearch.data.overlap import Pair, overlap
from scalesearch.data.places import portraits_folder
from scalesearch.data.source import Source, UnreadableImageError, sampled
from scalesearch.files import recalled, remember
from scalesearch.units import counted, show_percent

MOST_LOOKED_AT = 30_000  # images, between which copies are looked for unasked: half a minute of decoding, once
FEW, RARE, SHOWN = 10, 5.0, 3
ENLARGED = 1.2  # times the images' own size
LARGER, PHOTO_PX = 3.0, 96  # photos so many times as large as what the baseline looks at lose what they show
COPIES_FORMAT = 2
COMPARED = ("validation", "test")  # with train


@dataclass(frozen=True)
class Copies:
    """Images of validation and test that are in train, too.

    Args:
        counts: by part; ``mislabelled``: those whose twin has another class.
        shown: some of them in words, the mislabelled ones first.
    """

    counts: Mapping[str, int]
    mislabelled: int
    shown: tuple[str, ...]


@dataclass(frozen=True)
class _Pairs:
    """Of each part: (place in train, place in the part) of images that both have."""

    validation: tuple[tuple[int, int], ...]
    test: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Portrait:
    """A set as it is understood.

    Args:
        name: of the set.
        parts: images by part; ``division``: where the parts are from.
        classes: training images of each class.
        smallest_px, median_px: short sides, of a sample of the images.
        copies: None where they were not looked for; ``unlooked``: because the images are too many.
        groups: how many, images of the largest, and how many stand in train and in another part, too; None: no groups.
    """

    name: str
    parts: Mapping[str, int]
    division: str
    classes: Mapping[str, int]
    smallest_px: int
    median_px: int
    copies: Copies | None
    unlooked: bool = False
    groups: tuple[int, int, int] | None = None


def portrait(data: Dataset, progress: Progress | None = None, copies: bool = True) -> Portrait:
    """Looks at a set; what it takes to find copies (a thumbnail of each image) is kept for the next time.

    Args:
        copies: whether they are looked for, where images are not too many.
        progress: called with (done, total) while images are decoded.

    Raises:
        UserError: images that cannot be decoded.
    """
    labels = data.source.labels[data.train.indices]
    counts = np.bincount(labels, minlength=len(data.classes)).tolist()
    sides = list(_sides(data.source))
    few = sum(map(len, data.parts.values())) <= MOST_LOOKED_AT
    copies = copies and not isinstance(data.source.reader, GlyphReader)  # each is drawn for itself
    return Portrait(
        data.source.name, {name: len(part) for name, part in data.parts.items()}, _division(data.source.parts),
        dict(zip(data.classes, counts, strict=True)), min(sides, default=1), data.source.native_px,
        _copies(data, progress) if copies and few else None, copies and not few, _groups(data),
    )  # fmt: skip


def _groups(data: Dataset) -> tuple[int, int, int] | None:
    groups = data.source.groups
    if groups is None:
        return None
    there = np.unique(groups[data.train.indices])
    others = np.unique(np.concatenate([groups[part.indices] for part in (data.validation, data.test)]))
    return int(groups.max()) + 1, int(np.bincount(groups).max()), len(np.intersect1d(there, others))


def _sides(source: Source) -> Iterator[int]:
    """Of the images whose median is the source's own."""
    for place in sampled(len(source)):
        with contextlib.suppress(UnreadableImageError):  # said with all the others when the set is decoded
            yield source.reader.short_side(place)


def _division(parts: Sequence[str]) -> str:
    """How ``split`` divides a set of these official parts, in words."""
    there = set(parts)
    if {"val", "test"} <= there:
        return "as the set has them"
    if "val" in there:
        return "the set's val is the test part, validation drawn from train"
    if "test" in there:
        return "test as the set has it, validation drawn from train"
    return "drawn from the whole set"


def _copies(data: Dataset, progress: Progress | None) -> Copies:
    pairs = _pairs(data, progress)
    found = [(data.parts[name], pair) for name in COMPARED for pair in getattr(pairs, name)]
    wrong = [one for one in found if mislabelled(data, *one)]
    first = [*wrong, *(one for one in found if not mislabelled(data, *one))][:SHOWN]
    counts = {name: len(getattr(pairs, name)) for name in COMPARED}
    return Copies(counts, len(wrong), tuple(told(data, *one) for one in first))


def _pairs(data: Dataset, progress: Progress | None) -> _Pairs:
    """Kept by what the images are: where they lie and what files are called may change."""
    path = portraits_folder() / f"{data.digest}.json"
    if (kept := recalled(_Pairs, path, "the copies in a set of images", COPIES_FORMAT)) is not None:
        places = [place for name in COMPARED for pair in getattr(kept, name)
                  for place in ((len(data.train), pair[0]), (len(data.parts[name]), pair[1]))]  # fmt: skip
        if all(0 <= place < count for count, place in places):
            return kept
    train = data.train.thumbnails(progress)
    pairs = _Pairs(*(overlap(train, data.parts[name].thumbnails(progress)) for name in COMPARED))
    remember(pairs, path, COPIES_FORMAT)
    return pairs


def told(data: Dataset, part: Part, pair: Pair) -> str:
    """A pair of ``overlap`` in words: an image of ``part`` and its twin in train, with their classes."""
    there, here = int(data.train.indices[pair[0]]), int(part.indices[pair[1]])
    source, labels = data.source, [data.classes[data.source.labels[place]] for place in (here, there)]
    classes = labels if labels[0] != labels[1] else ["", ""]
    ours, its = (f"{source.describe(place)}{f' ({name})' if name else ''}"
                 for place, name in zip((here, there), classes, strict=True))  # fmt: skip
    return f"{ours} is {its}"


def mislabelled(data: Dataset, part: Part, pair: Pair) -> bool:
    """Whether an image of ``part`` and its twin in train are of two classes."""
    labels = data.source.labels
    return bool(labels[data.train.indices[pair[0]]] != labels[part.indices[pair[1]]])


def sentences(seen: Portrait, resolution: int, larger: str) -> Iterator[str]:
    """What was understood, a line each, and what should be looked into, as warnings.

    Args:
        resolution: side of the images that the network looks at; ``larger``: what makes it look at more.
    """
    parts = ", ".join(f"{count} {name}" for name, count in seen.parts.items())
    yield f"{seen.name}: {counted(len(seen.classes), 'class')}, {parts} images ({seen.division})"
    size = f"{seen.median_px} px" if seen.smallest_px == seen.median_px else (
        f"{seen.smallest_px} px at least, {seen.median_px} px in the middle"
    )  # fmt: skip
    yield f"Short sides: {size} (of a sample)"
    if seen.unlooked:
        yield f"Images that two parts share are not looked for among more than {MOST_LOOKED_AT}."
    if seen.copies is not None and (both := sum(seen.copies.counts.values())):
        where = " and ".join(f"{count} of {seen.parts[name]} {name}" for name, count in seen.copies.counts.items()
                             if count)  # fmt: skip
        wrong = f", {seen.copies.mislabelled} of them under another class" if seen.copies.mislabelled else ""
        be = "is" if both == 1 else "are"
        more = f"; and {both - len(seen.copies.shown)} more" if both > len(seen.copies.shown) else ""
        yield (
            f"WARNING: {where} images {be} in train, too{wrong} ({'; '.join(seen.copies.shown)}{more}). "
            "Remove the copies: accuracy on them says nothing."
        )
        drawn = seen.division.startswith("drawn") or ("drawn" in seen.division and seen.copies.counts["validation"])
        if drawn and seen.groups is None:
            yield "Photos of one person, place or video stand in one part with --group-by."
    if seen.groups is not None:
        count, largest, shared = seen.groups
        yield f"{counted(count, 'group')} of images that belong together, {counted(largest, 'image')} in the largest"
        if shared:
            yield (
                f"WARNING: {counted(shared, 'group')} of {count} stand in train and in another part, too, since the "
                "set has them there."
            )
    few = [f"{name} {count}" for name, count in seen.classes.items() if count < FEW]
    if few:
        shown = ", ".join(few[:SHOWN]) + (f" and {len(few) - SHOWN} more" if len(few) > SHOWN else "")
        yield f"WARNING: {counted(len(few), 'class')} with fewer than {FEW} training images: {shown}."
    most, least = max(seen.classes.values()), min(seen.classes.values())
    if most >= RARE * least:
        share = show_percent(most / sum(seen.classes.values()), 0)
        yield (
            f"Unbalanced: {most} training images of the largest class, which are {share} of all, and {least} of the "
            "smallest."
        )
    if seen.median_px >= max(PHOTO_PX, LARGER * resolution):
        yield (
            f"Note: your images are {seen.median_px} px, and the network looks at {resolution}: details smaller than "
            f"{seen.median_px / resolution:.0f} px are lost. What sees more: {larger}."
        )
    elif resolution >= ENLARGED * seen.median_px:
        yield (
            f"Note: your images are {seen.median_px} px, and the network looks at {resolution}: they are enlarged, "
            "which costs more and adds no detail, though weights learnt on large photos may gain by it."
        )
