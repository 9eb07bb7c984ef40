"""From what the user typed after --data to a source, split and ready to be had at any size: what a search, a
fine-tuning and an evaluation start from."""

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalesearch.data.arrays import ImageArrays, Images, Progress, StreamedImages
from scalesearch.data.cache import cached, found, kept, master_size, streamed, streamed_at, without_broken
from scalesearch.data.glyphs import glyph_source
from scalesearch.data.grouping import parted, with_groups
from scalesearch.data.image import Framing
from scalesearch.data.named import NAMED_SETS, named_source
from scalesearch.data.overlap import THUMBNAIL_PX
from scalesearch.data.paths import is_pattern, source_at
from scalesearch.data.places import datasets_folder, decoded_folder
from scalesearch.data.source import IntArray, Source
from scalesearch.data.split import sample, split
from scalesearch.errors import UserError

SET_NAMES = ("glyphs", *NAMED_SETS)
SUGGESTED = 3

VALIDATION = 0.2
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a source, decoded at ``master_px`` and resized from there. Workers are sent it, and with it the
    pixels of those torchvision sets that live in memory (CIFAR-10, MNIST).

    Args:
        kept: sizes that are made once and kept in ``folder``, all if None; others are made as they are used, from the
            master where that is kept, else from the files. The pixels are the same.
    """

    source: Source
    indices: IntArray
    master_px: int
    folder: Path
    kept: frozenset[int] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, size_px: int, progress: Progress | None = None) -> Images:
        """The images as squares of ``size_px``. Raises UserError naming every image that cannot be decoded."""
        wanted, master = self.made(size_px), self.made(self.master_px)
        there = found(wanted)
        if there is not None:
            return there
        if size_px != self.master_px and self.keeps(self.master_px):
            wanted = streamed_at(kept(master, progress), size_px)
        elif not self.keeps(size_px):
            self.thumbnails(progress)
        return kept(wanted, progress) if self.keeps(size_px) else wanted

    def made(self, size_px: int) -> StreamedImages:
        """The images as squares of ``size_px``, decoded anew each time that they are asked for."""
        master = streamed(self.source, self.indices, self.master_px, self.folder)
        return master if size_px == self.master_px else streamed_at(master, size_px)

    def framed(self, size_px: int, framing: Framing) -> StreamedImages:
        """The images as the publisher of weights cuts them, decoded as they are used and not kept."""
        return streamed(self.source, self.indices, size_px, self.folder, framing)

    def thumbnails(self, progress: Progress | None = None) -> ImageArrays:
        """The images in ``THUMBNAIL_PX``, decoded each for itself and kept: made once, it shows that all can be."""
        return cached(self.source, self.indices, THUMBNAIL_PX, self.folder, progress)

    def keeps(self, size_px: int) -> bool:
        """Whether images of this size are kept."""
        return self.kept is None or size_px in self.kept

    def comparable(self, size_px: int) -> ImageArrays:
        """What images are compared by: those of ``size_px``, or thumbnails where all of those would be decoded."""
        images = self.at(size_px)
        return images if isinstance(images, ImageArrays) else self.thumbnails()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation (chooses between networks) and test (only ever evaluated) of one source."""

    source: Source
    train: Part
    validation: Part
    test: Part

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.source.classes

    @property
    def parts(self) -> dict[str, Part]:
        """The three by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def majority(self) -> float:
        """The share of validation images that are of the most frequent class: what guessing that one gets right."""
        labels = self.source.labels[self.validation.indices]
        return float(np.bincount(labels).max() / len(labels)) if len(labels) else 0.0

    @property
    def digest(self) -> str:
        """12 hex digits of the source's content and of which image is in which part."""
        parts = (self.train, self.validation, self.test)
        content = self.source.digest.encode() + b"".join(part.indices.tobytes() for part in parts)
        return hashlib.sha256(content).hexdigest()[:12]


def open_source(data: str, follow_links: str | Path | None = None) -> Source:
    """``glyphs``, one of torchvision's sets by name, or what lies at a path; ``./name`` is always a path. Images are
    grouped as is told behind the name (``grouping``).

    Raises UserError, with a suggestion for a mistyped name.
    """
    name, by = parted(data)
    source = _named(name, follow_links)
    return source if by is None else with_groups(source, name, by)


def _named(data: str, follow_links: str | Path | None) -> Source:
    if not data.strip():
        raise UserError(
            "--data", "no images were named.", do=f"Name a folder of images or one of {', '.join(SET_NAMES)}."
        )
    if data == "glyphs":
        return glyph_source()
    if data in NAMED_SETS:
        return named_source(data, datasets_folder())
    if os.sep in data or data.startswith((".", "~")) or is_pattern(data) or os.path.exists(data):
        return source_at(data, follow_links)
    close = difflib.get_close_matches(data.lower().replace("-", "").replace("_", ""), SET_NAMES, SUGGESTED)
    close += [f"./{name}" for name in difflib.get_close_matches(data, os.listdir())]
    do = f"Did you mean {' or '.join(close)}?" if close else f"For a folder of that name write ./{data}."
    raise UserError("--data", f'"{data}" is neither a folder nor one of {", ".join(SET_NAMES)}.', do=do)


def open_data(
    data: str,
    *,
    skip_broken: bool = False,
    follow_links: str | Path | None = None,
    progress: Progress | None = None,
) -> Source:
    """A source by name or path; with ``skip_broken`` unreadable images are left out and noted.

    Args:
        follow_links: a folder that links in a folder of images may lead into.

    Raises:
        UserError: as of ``open_source``.
    """
    source = open_source(data, follow_links)
    return without_broken(source, decoded_folder(), progress) if skip_broken else source


def whole(source: Source, largest_px: int) -> Part:
    """All images of a source, of whatever part."""
    return Part(source, np.arange(len(source)), master_size(source.native_px, largest_px), decoded_folder())


def dataset(
    source: Source, largest_px: int, images: int | None = None, validation: int | None = None
) -> Dataset:  # fmt: skip
    """Splits a source and prepares its parts for sizes up to ``largest_px``.

    The split is seeded by a constant: every search and every fine-tuning on the same images sees the same parts.

    Args:
        images: training images to keep (a stratified sample); None keeps all.
        validation: validation images to keep, likewise.
    """
    indices = split(source.labels, source.parts, SPLIT_SEED, VALIDATION, source.classes, source.groups)
    train = indices.train
    if images is not None and images < len(train):
        train = sample(train, source.labels, images, SPLIT_SEED)
    held_out = indices.validation
    if validation is not None and validation < len(held_out):
        held_out = sample(held_out, source.labels, max(validation, len(source.classes)), SPLIT_SEED)
    size, folder = master_size(source.native_px, largest_px), decoded_folder()
    parts = (Part(source, chosen, size, folder) for chosen in (train, held_out, indices.test))
    return Dataset(source, *parts)
