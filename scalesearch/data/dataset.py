"""From what the user typed after --data to a source, split and ready to be had at any size: what a search, a
fine-tuning and an evaluation start from."""

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalesearch.data.arrays import ImageArrays, Progress
from scalesearch.data.cache import at_size, cached, master_size, resized, without_broken
from scalesearch.data.glyphs import glyph_source
from scalesearch.data.named import NAMED_SETS, named_source
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
    """Some images of a source, decoded once at ``master_px`` and resized from there. Workers are sent it, and
    with it the pixels of those torchvision sets that live in memory (CIFAR-10, MNIST)."""

    source: Source
    indices: IntArray
    master_px: int
    folder: Path

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, size_px: int, progress: Progress | None = None) -> ImageArrays:
        """The images as squares of ``size_px``. Raises UserError naming every image that cannot be decoded."""
        if size_px != self.master_px:
            kept = resized(self.source, self.indices, self.master_px, size_px, self.folder)
            if kept is not None:
                return kept
        return at_size(cached(self.source, self.indices, self.master_px, self.folder, progress), size_px)


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
    """``glyphs``, one of torchvision's sets by name, or what lies at a path; ``./name`` is always a path.

    Raises UserError, with a suggestion for a mistyped name.
    """
    if not data.strip():
        raise UserError(
            "--data", "no images were named.", do=f"Name a folder of images or one of {', '.join(SET_NAMES)}."
        )
    if data == "glyphs":
        return glyph_source()
    if data in NAMED_SETS:
        return named_source(data, datasets_folder())
    if os.sep in data or data.startswith((".", "~")) or is_pattern(data) or Path(data).exists():
        return source_at(data, follow_links)
    close = difflib.get_close_matches(data.lower().replace("-", "").replace("_", ""), SET_NAMES, SUGGESTED)
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


def dataset(source: Source, largest_px: int, images: int | None = None) -> Dataset:
    """Splits a source and prepares its parts for sizes up to ``largest_px``.

    The split is seeded by a constant: every search and every fine-tuning on the same images sees the same parts.

    Args:
        images: training images to keep (a stratified sample); None keeps all.
    """
    indices = split(source.labels, source.parts, SPLIT_SEED, VALIDATION, source.classes)
    train = indices.train
    if images is not None and images < len(train):
        train = sample(train, source.labels, images, SPLIT_SEED)
    size, folder = master_size(source.native_px, largest_px), decoded_folder()
    parts = (Part(source, chosen, size, folder) for chosen in (train, indices.validation, indices.test))
    return Dataset(source, *parts)
