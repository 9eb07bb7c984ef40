"""Images of a search for its report, as its networks look at them: some of each class, and mistakes."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.arrays import Pixels
from scalesearch.data.dataset import Dataset, Part, dataset, open_data
from scalesearch.data.grouping import parted
from scalesearch.data.named import NAMED_SETS, is_there
from scalesearch.data.places import datasets_folder
from scalesearch.data.source import UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.study.record import Record
from scalesearch.study.statistics import Ints

MOST_CLASSES, EACH = 12, 6  # shown, and images of each
MOST_MISTAKES = 15


@dataclass(frozen=True, eq=False)
class Mistake:
    """An image that was taken for another class; ``pixels``: uint8 (S, S, 3)."""

    pixels: Pixels
    truth: str
    guess: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images as squares of the trained network's resolution, uint8 (S, S, 3) each.

    Args:
        samples: training images by class, of some classes where there are many; ``classes``: how many there are.
        mistakes: validation images that the candidate in front gets wrong and is surest of, the surest first.
    """

    samples: dict[str, tuple[Pixels, ...]]
    classes: int
    mistakes: tuple[Mistake, ...]


def pictures(record: Record) -> Pictures | None:
    """Of a search whose images are where they were and as they were; None where they are not, or nothing was trained.

    Images are decoded as they are needed, and nothing is kept.
    """
    if record.leader is None:
        return None
    name = parted(record.provenance.data_argument)[0]
    if name in NAMED_SETS and not is_there(name, datasets_folder()):
        return None  # a report downloads nothing
    with contextlib.suppress(UserError, OSError):  # gone, or no longer to be read
        source = open_data(record.provenance.data_argument)
        side, plan = record.leader.row.proxy_resolution, record.plan
        parts = dataset(source, side, plan.proxy.images, plan.validation)
        if parts.digest == plan.data_digest:
            return Pictures(_samples(parts, side), len(parts.classes), tuple(_mistakes(record, parts, side)))
    return None


def _samples(data: Dataset, side: int) -> dict[str, tuple[Pixels, ...]]:
    """The first images of each class, of classes spread evenly over all."""
    labels = data.source.labels[data.train.indices]
    chosen = np.unique(np.linspace(0, len(data.classes) - 1, MOST_CLASSES).astype(int)).tolist()
    shown = {
        data.classes[label]: tuple(_decoded(data.train, np.flatnonzero(labels == label)[:EACH].tolist(), side))
        for label in chosen
    }
    return {name: images for name, images in shown.items() if images}


def _mistakes(record: Record, data: Dataset, side: int) -> Iterator[Mistake]:
    """By the first training of the candidate in front."""
    confused = record.confusion
    if confused is None or len(confused.labels) != len(data.validation):
        return
    first: Ints = confused.predictions[0]
    wrong = np.flatnonzero(first != confused.labels)
    surest = wrong[np.argsort(confused.soft[0][wrong], kind="stable")][:MOST_MISTAKES].tolist()
    for place in surest:
        for pixels in _decoded(data.validation, [place], side):
            yield Mistake(pixels, data.classes[int(confused.labels[place])], data.classes[int(first[place])])


def _decoded(part: Part, places: Sequence[int], side: int) -> Iterator[Pixels]:
    images = part.made(side)
    for place in places:
        with contextlib.suppress(UnreadableImageError):
            yield images.one(place)
