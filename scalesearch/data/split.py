"""Which images are trained on, which choose between networks, which give the final figure. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.units import counted

UNSPLIT_VALIDATION = 0.15
UNSPLIT_TEST = 0.15
EQUALS = 1e-6  # of a share: how little all images count beside those of a group's classes
MOST_VALIDATION, MOST_TEST = 25_000, 50_000  # images: as held out of ImageNet for EfficientNet; and its validation


@dataclass(frozen=True, eq=False)
class Split:
    """Positions in the source, int64, sorted: disjoint, together all images that are used."""

    train: IntArray
    validation: IntArray
    test: IntArray


def split(
    labels: IntArray, parts: Sequence[str], seed: int, validation: float = 0.2, classes: Sequence[str] = (),
    groups: IntArray | None = None,
) -> Split:  # fmt: skip
    """Train, validation and test positions; selection never sees the official test part.

    Official train, val and test are taken as they are. With train and one other part, that part is the test, and
    ``validation`` (a share of each class of train) is drawn from train. Without a second part: 70/15/15, stratified.
    No more than about 25 000 images are drawn for validation and 50 000 for test.
    Of ``groups``, what is drawn is drawn whole, so shares are met as nearly as their sizes allow; official parts stay.
    ``classes`` gives names for messages. Raises UserError where a class would be missing from a part.
    """
    if not 0 < validation < 1:
        raise UserError("validation", f"{validation} is not a share between 0 and 1.")
    part_of = np.asarray(parts)
    everything = np.arange(len(labels), dtype=np.int64)
    official = {part: everything[part_of == part] for part in ("train", "val", "test")}
    if len(official["val"]) and len(official["test"]):
        result = Split(official["train"], official["val"], official["test"])
    elif len(official["val"]) or len(official["test"]):
        test = official["test"] if len(official["test"]) else official["val"]
        share = min(validation, MOST_VALIDATION / len(official["train"]))
        chosen, rest = _drawn(labels, official["train"], (share,), seed, classes, groups)
        result = Split(rest, chosen, test)
    else:
        shares = (
            min(UNSPLIT_VALIDATION, MOST_VALIDATION / len(labels)), min(UNSPLIT_TEST, MOST_TEST / len(labels)),
        )  # fmt: skip
        chosen, test, rest = _drawn(labels, everything, shares, seed, classes, groups)
        result = Split(rest, chosen, test)
    _check_classes(labels, result, classes)
    return result


def sample(indices: IntArray, labels: IntArray, count: int, seed: int) -> IntArray:
    """``count`` of ``indices``, stratified, sorted; a smaller sample is part of a larger one with the same seed.

    ``labels`` are those of the whole source. The first image of every class comes first, the others follow in
    proportion. Raises UserError for a count below the number of classes or above the number of images.
    """
    own = labels[indices]
    classes = np.unique(own)
    if not len(classes) <= count <= len(indices):
        limits = f"{len(classes)} images (one a class) and {len(indices)} (all)"
        raise UserError("sample size", f"{count} is not between {limits}.")
    position = np.empty(len(indices))  # of each image within its class, from 0 to 1
    for label in classes:
        members = np.flatnonzero(own == label)
        shuffled = np.random.default_rng([seed, int(label)]).permutation(members)
        position[shuffled] = (np.arange(len(members)) + 0.5) / len(members)
        position[shuffled[0]] = 0.0
    order = np.lexsort((np.arange(len(indices)), position))
    return np.sort(indices[order[:count]])


def _drawn(
    labels: IntArray, indices: IntArray, shares: tuple[float, ...], seed: int, classes: Sequence[str],
    groups: IntArray | None,
) -> tuple[IntArray, ...]:  # fmt: skip
    if groups is None:
        return _per_class(labels, indices, shares, seed, classes)
    return _per_group(labels, indices, shares, seed, groups)


def _per_group(
    labels: IntArray, indices: IntArray, shares: tuple[float, ...], seed: int, groups: IntArray
) -> tuple[IntArray, ...]:
    """One part for each share, and the rest, of whole groups.

    The largest groups come first, of equal ones in an order drawn by ``seed``; each goes where it brings the parts'
    shares of its classes, and then of all images, nearest to what they should be, by squares.
    """
    own, kinds = groups[indices], int(labels.max()) + 1
    names, sizes = np.unique(own, return_counts=True)
    order = np.random.default_rng([seed, len(names)]).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    counts = np.bincount(labels[indices], minlength=kinds)
    lacking, place = np.outer([*shares, 1 - sum(shares)], counts).astype(float), np.zeros(len(names), np.int64)
    weights = 1 / np.maximum(counts, 1) ** 2
    of_class = np.zeros((len(names), kinds))
    np.add.at(of_class, (np.searchsorted(names, own), labels[indices]), 1)
    for group in order.tolist():
        its = of_class[group]
        nearer = (2 * lacking - its) @ (its * weights) + EQUALS * lacking.sum(axis=1) / len(own)
        place[group] = int(np.argmax(nearer))
        lacking[place[group]] -= its
    of_image = place[np.searchsorted(names, own)]
    return tuple(np.sort(indices[of_image == part]) for part in range(len(shares) + 1))


def _per_class(
    labels: IntArray, indices: IntArray, shares: tuple[float, ...], seed: int, classes: Sequence[str]
) -> tuple[IntArray, ...]:
    """One part for each share of each class (at least one image), and the rest."""
    parts: list[list[IntArray]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels[indices]):
        members = indices[labels[indices] == label]
        if len(members) <= len(shares):
            given = f"has {counted(len(members), 'image')} and needs at least {len(shares) + 1}, one for each part"
            raise UserError(
                f"class {_class_name(int(label), classes)}", f"it {given}.", do="Add images or remove the class."
            )
        shuffled = np.random.default_rng([seed, int(label)]).permutation(members)
        start = 0
        for number, share in enumerate(shares):
            still_needed = len(shares) - number  # one image for each later part and for the rest
            size = min(max(1, round(share * len(members))), len(members) - start - still_needed)
            parts[number].append(shuffled[start : start + size])
            start += size
        parts[-1].append(shuffled[start:])
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _check_classes(labels: IntArray, parts: Split, classes: Sequence[str]) -> None:
    every = np.union1d(np.unique(labels), np.arange(len(classes)))
    for name, indices in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
        missing = np.setdiff1d(every, labels[indices])
        if len(missing):
            shown = ", ".join(_class_name(int(label), classes) for label in missing[:5])
            problem = f"it has no image of {counted(len(missing), 'class')}, and every part needs every class: {shown}."
            raise UserError(f"the {name} part", problem, do="Add images, or remove the classes.")


def _class_name(label: int, classes: Sequence[str]) -> str:
    return f"'{classes[label]}'" if label < len(classes) else str(label)
