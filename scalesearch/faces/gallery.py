"""The members: a name and embeddings each, in one file, searched by one matrix product; and from which distance on
somebody is not a member, fitted on strangers, with the error it will have on others (see ``study.statistics``).

The file holds names and embeddings, nothing of the photos, and of strangers only how near they came.
"""

import difflib
import json
import math
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.faces.model import LENGTH_ERROR, FaceModel, FloatArray
from scalesearch.files import PRIVATE, turn, with_sorted_metadata, write_bytes
from scalesearch.nets.weights import require_version
from scalesearch.study.statistics import design_effect, long_run_interval, next_interval
from scalesearch.typed import parse

Basis = Literal["strangers", "members"]
Distances = npt.NDArray[np.float64] | npt.NDArray[np.float32]
FORMAT = "scalesearch-gallery"
FORMAT_VERSION = 1
TINY = 1e-12
LONGEST_NAME = 255  # bytes
LEAST_RATE = 1e-6  # to fit less takes photos of more than a million strangers
EQUAL = 1e-6  # 1 − the product of two embeddings of one photo, in 32 bits
CLOSE, DRAWN = 1e-6, 0.02  # how far numbers may be apart that are computed twice; those that rest on random draws
BLOCK = 256  # photos compared with the whole gallery at a time


@dataclass(frozen=True)
class Threshold:
    """A distance and what is known of it.

    Args:
        distance: squared, 0 to 4; a photo nearer to a member than this is taken for that member.
        fpir: the false-positive rate asked for.
        expected: the rate to expect of it, k/(m + 1); above ``fpir`` where there are too few photos for that.
        photos, people: strangers it was fitted on.
        effective: photos that those are worth, being several of one person.
        low, high: 95 % interval of the rate in the long run, over all strangers.
        low_next, high_next: 95 % interval of the rate among as many further photos, of strangers like these.
        basis: "strangers", or "members" where each member in turn stood for a stranger.
    """

    distance: float
    fpir: float
    expected: float
    photos: int
    people: int
    effective: float
    low: float
    high: float
    low_next: float
    high_next: float
    basis: Basis

    def __post_init__(self) -> None:
        ordered = 0 <= self.low <= self.high <= 1 and 0 <= self.low_next <= self.high_next <= 1
        sound = 0 <= self.distance <= 4 and 0 < self.fpir < 1 and 0 <= self.expected <= 1 and ordered
        if not sound or self.photos < 2 or not 1 <= self.people <= self.photos or not 0 < self.effective <= self.photos:
            raise ValueError("a distance from 0 to 4, rates from 0 to 1 and as many photos as people, at least two")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``Threshold(**values)`` reads them back."""
        return asdict(self)


def fit_threshold(distances: Distances, people: IntArray, fpir: float, basis: Basis = "strangers") -> Threshold:
    """The threshold for a false-positive rate.

    Args:
        distances: (m,), of each stranger photo to the member nearest to it.
        people: int64 (m,), who is on it.
        fpir: the rate asked for, between 0 and 1.

    Raises UserError for a rate out of range, or fewer than two photos.
    """
    check_rate(fpir)
    count = len(distances)
    if count < 2:
        problem = f"it takes two photos to fit a threshold, and there are {count}."
        raise UserError("strangers", problem, do="Bring photos of people who are no members.")
    place = _place(count, fpir)
    effect = design_effect(distances, people)
    return Threshold(
        float(np.sort(distances)[place - 1]), fpir, place / (count + 1), count, len(np.unique(people)), count / effect,
        *long_run_interval(place, count, effect), *next_interval(place, count, effect, count, effect), basis,
    )  # fmt: skip


def _place(count: int, fpir: float) -> int:
    """Which of so many distances, from the smallest on, is the threshold: 1 for the smallest."""
    return min(count, max(1, math.floor(fpir * (count + 1) + 1e-9)))


def interval_among(threshold: Threshold, faces: int) -> tuple[float, float]:
    """95 % interval of the rate among so many further faces, all of strangers like those it was fitted on.

    Whether those are of a person each or of few is not known: it holds for either.
    """
    place = round(threshold.expected * (threshold.photos + 1))
    effect = threshold.photos / threshold.effective
    cases = [next_interval(place, threshold.photos, effect, faces, further) for further in (1.0, effect)]
    return min(low for low, _ in cases), max(high for _, high in cases)


def check_rate(fpir: float) -> None:
    """Raises UserError for a false-positive rate out of range."""
    if not LEAST_RATE <= fpir < 1:
        raise UserError("--fpir", f"{fpir:g} is not between {LEAST_RATE:g} and 1.")


@dataclass(frozen=True, eq=False)
class Gallery:
    """Enrolled people.

    Args:
        model: digest of the body that made the embeddings.
        names: of the people, in the order they came.
        labels: int64 (n,), whose each embedding is; ascending, every person has some.
        embeddings: float32 (n, D), unit vectors.
        threshold: None until it is fitted, and after any change of the people that could make it let in more.
        strangers: float32 (m,), sorted: how near stranger photos came when the threshold was fitted.
        body: what that body is called.
        crop: whether the faces were cut out by the detector; None where an earlier version did not say.
    """

    model: str
    names: tuple[str, ...]
    labels: IntArray
    embeddings: FloatArray
    threshold: Threshold | None = None
    strangers: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    body: str = ""
    crop: bool | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def people(self) -> dict[str, int]:
        """How many photos each person is enrolled by."""
        counts = np.bincount(self.labels, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))

    @cached_property
    def starts(self) -> IntArray:
        """Where each person's rows begin: int64 (people,)."""
        return np.searchsorted(self.labels, np.arange(len(self.names))).astype(np.int64)

    @cached_property
    def templates(self) -> FloatArray:
        """Each person's mean embedding, scaled to length 1: float32 (people, D)."""
        sums = np.add.reduceat(self.embeddings, self.starts, axis=0)
        means: FloatArray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(TINY))
        return means


@dataclass(frozen=True, eq=False)
class Matches:
    """Of each of n photos the nearest member: ``people`` int64 (n,), squared ``distances`` float32 (n,), 0 to 4."""

    people: IntArray
    distances: FloatArray


def empty_gallery(model: str, dimensions: int, body: str = "") -> Gallery:
    """Nobody yet."""
    return Gallery(model, (), np.zeros(0, np.int64), np.zeros((0, dimensions), np.float32), body=body)


def add(gallery: Gallery, name: str, embeddings: FloatArray) -> Gallery:
    """With one person more; who is already in is replaced. The threshold must be fitted anew.

    Raises UserError for a name that no file can hold, or where somebody is in under one that differs by case or the
    spelling of accents alone.
    """
    if not _is_name(name):
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise UserError(f'"{shown}"', "nobody can be enrolled by that name.", do="Rename the folder.")
    if name in gallery.names:
        gallery = remove(gallery, name)
    elif alike := [one for one in gallery.names if _folded(one) == _folded(name)]:
        problem = f'the gallery has "{alike[0]}", which differs by case or spelling of accents alone.'
        raise UserError(f'"{name}"', problem, do="Name the folder as the gallery does.")
    labels = np.full(len(embeddings), len(gallery.names), np.int64)
    return replace(
        gallery, names=(*gallery.names, name), labels=np.concatenate((gallery.labels, labels)),
        embeddings=np.concatenate((gallery.embeddings, embeddings)), **_unfitted(),
    )  # fmt: skip


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def remove(gallery: Gallery, name: str) -> Gallery:
    """Without one person's name and embeddings. A threshold that was fitted on strangers stays: with fewer members none
    of them comes nearer, so it lets no more in than before.

    Raises UserError where nobody has that name.
    """
    if name not in gallery.names:
        folded = {one.casefold(): one for one in gallery.names}
        close = [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, 1)]
        raise UserError(
            f'"{name}"', "nobody of that name is in the gallery.",
            do=f'Did you mean "{close[0]}"?' if close else "See who is there: scalesearch faces list",
        )  # fmt: skip
    gone = gallery.names.index(name)
    kept, known = gallery.labels != gone, gallery.threshold
    labels = gallery.labels[kept]
    return replace(
        gallery, names=gallery.names[:gone] + gallery.names[gone + 1 :], labels=labels - (labels > gone),
        embeddings=gallery.embeddings[kept], **({} if known and known.basis == "strangers" else _unfitted()),
    )  # fmt: skip


def _unfitted() -> dict[str, Any]:
    return {"threshold": None, "strangers": np.zeros(0, np.float32)}


def search(gallery: Gallery, probes: FloatArray) -> Matches:
    """The nearest member of each probe (n, D): matrix products and maxima.

    A member's distance is the mean of two squared distances: to the nearest of their photos and to the mean of them,
    scaled to length 1. Raises UserError for an empty gallery.
    """
    if not len(gallery):
        raise UserError("gallery", "there is nobody in it.", do="Enrol people: scalesearch faces enroll FOLDER")
    places = np.zeros(len(probes), np.int64)
    products = np.zeros(len(probes), np.float32)
    for start, block in _person_products(gallery, probes):
        best = block.argmax(1)
        places[start : start + BLOCK] = best
        products[start : start + BLOCK] = block[np.arange(len(best)), best]
    return Matches(places, squared(products))


def person_distances(gallery: Gallery, probes: FloatArray) -> FloatArray:
    """Squared distances of each probe (n, D) to each person: (n, people), as ``search`` has them."""
    blocks = [block for _, block in _person_products(gallery, probes)]
    return squared(np.concatenate(blocks)) if blocks else np.zeros((0, len(gallery.names)), np.float32)


def _person_products(gallery: Gallery, probes: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """(first probe, (probes, people)) a block: half the sum of the products with the nearest photo and the mean."""
    single = len(gallery) == len(gallery.names)  # one photo each: there is nothing to take a maximum over
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK]
        photos = block @ gallery.embeddings.T
        nearest = photos if single else np.maximum.reduceat(photos, gallery.starts, axis=1)
        yield start, ((nearest + block @ gallery.templates.T) / 2).astype(np.float32, copy=False)


def enrolled_already(gallery: Gallery, probes: FloatArray) -> list[tuple[int, str]]:
    """(row of ``probes``, name) of photos that are enrolled: their embeddings are equal to rounding."""
    return [
        (start + int(row), gallery.names[gallery.labels[place]])
        for start in range(0, len(probes), BLOCK)
        for row, place in zip(
            *np.nonzero(probes[start : start + BLOCK] @ gallery.embeddings.T > 1 - EQUAL), strict=True
        )
    ]


def squared(products: FloatArray) -> FloatArray:
    """Squared distances of unit vectors from their products."""
    return np.clip(2 - 2 * products, 0, 4)


def others(gallery: Gallery) -> FloatArray:
    """How near each enrolled photo comes to anybody else: (n,), as if its person were a stranger.

    Raises UserError for fewer than two people.
    """
    if len(gallery.names) < 2:
        raise UserError("gallery", "it takes two people, or photos of strangers, to fit a threshold.")
    nearest = np.zeros(len(gallery), np.float32)
    for start, block in _person_products(gallery, gallery.embeddings):
        own = gallery.labels[start : start + BLOCK]
        block[np.arange(len(own)), own] = -1
        nearest[start : start + BLOCK] = block.max(1)
    return squared(nearest)


def fitted(
    gallery: Gallery, fpir: float, strangers: FloatArray | None = None, people: Sequence[int] | IntArray = ()
) -> Gallery:
    """With a threshold for a false-positive rate, from strangers' embeddings (m, D) and who they are (m,).

    Without strangers, each member in turn stands for one, against a gallery without them. That gallery is smaller by a
    person, and where the model was trained on these members it has learnt to keep them apart: real strangers will come
    nearer.
    """
    basis: Basis
    if strangers is None:
        distances, labels, basis = others(gallery), gallery.labels, "members"
    else:
        distances, labels, basis = search(gallery, strangers).distances, np.asarray(people, np.int64), "strangers"
    return replace(gallery, threshold=fit_threshold(distances, labels, fpir, basis), strangers=np.sort(distances))


def strangers_as_near(gallery: Gallery, distances: FloatArray) -> IntArray:
    """How many of the photos that the threshold was fitted on came as near to a member, for each distance: (n,).

    It says how unusual such a nearness is for somebody who is no member, and nothing of whether the name is right.
    """
    return np.searchsorted(gallery.strangers, distances, side="right").astype(np.int64)


def update(path: Path, change: Callable[[], Gallery]) -> Gallery:
    """Writes what ``change`` makes of the gallery, while no other process changes it: ``change`` reads it itself."""
    place = Path(os.path.realpath(path))  # what a link leads to is changed, under one lock, whatever it is called
    with turn(place):
        changed = change()
        save_gallery(place, changed)
    return changed


def save_gallery(path: Path, gallery: Gallery) -> None:
    """One safetensors file for its owner alone, written whole or not at all; names and threshold are JSON in it."""
    header = {
        "format": FORMAT, "format_version": str(FORMAT_VERSION), "scalesearch_version": version("scalesearch"),
        "model": gallery.model, "body": gallery.body, "names": json.dumps(list(gallery.names), ensure_ascii=False),
        "crop": json.dumps(gallery.crop),
        "threshold": json.dumps(gallery.threshold.to_dict() if gallery.threshold else None),
    }  # fmt: skip
    tensors = {"embeddings": gallery.embeddings, "labels": gallery.labels, "strangers": gallery.strangers}
    copies = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    _checked(header, copies)  # what cannot be read again must not be written over what can
    write_bytes(path, with_sorted_metadata(safetensors.numpy.save(copies, metadata=header)), PRIVATE)


def load_gallery(path: Path) -> Gallery:
    """A gallery that ``save_gallery`` wrote. Raises UserError for no file, a foreign, damaged or newer one."""
    if not path.is_file():
        problem = "this is a folder, not a gallery." if path.is_dir() else "there is no such file."
        raise UserError(str(path), problem, do="Make a gallery: scalesearch faces enroll FOLDER")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(str(path), f"this is no safetensors file that can be read ({error}).") from error
    if header.get("format") != FORMAT:
        raise UserError(str(path), "this safetensors file is no gallery, which faces enroll writes.")
    require_version(path, header, FORMAT_VERSION)
    try:
        return _checked(header, tensors)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, UserError) as error:
        raise UserError(str(path), f"the gallery is damaged ({error}).") from error


def _checked(header: dict[str, str], tensors: dict[str, Any]) -> Gallery:
    names = json.loads(header["names"])
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_name(name) for name in names):
        raise TypeError("names that are none")
    if len({_folded(name) for name in names}) < len(names):
        raise ValueError("two people of one name")
    threshold = json.loads(header["threshold"])
    known = parse(Threshold, threshold, "threshold", "a gallery") if threshold else None
    crop = json.loads(header.get("crop", "null"))
    if crop not in (True, False, None):
        raise TypeError("crop that is no truth value")
    labels, embeddings, strangers = tensors["labels"], tensors["embeddings"], tensors["strangers"]
    if labels.dtype.kind != "i" or embeddings.dtype.kind != "f" or strangers.dtype.kind != "f":
        raise TypeError("tensors of another type")
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or strangers.ndim != 1:
        raise ValueError("tensors of another shape")
    if sorted(set(labels.tolist())) != list(range(len(names))) or (np.diff(labels) < 0).any():
        raise ValueError("names and embeddings do not belong together")
    if not (np.abs(np.linalg.norm(embeddings.astype(np.float64), axis=1) - 1) < LENGTH_ERROR).all():
        raise ValueError("embeddings that are not of length 1")
    if not ((strangers >= 0) & (strangers <= 4)).all() or (np.diff(strangers) < 0).any():
        raise ValueError("strangers' distances that are none")
    if known is not None:
        _check_threshold(known, strangers, len(labels), len(names))
    return Gallery(
        header["model"], tuple(names), labels.astype(np.int64), embeddings.astype(np.float32),
        known, strangers.astype(np.float32), header.get("body", ""), crop,
    )  # fmt: skip


def _check_threshold(known: Threshold, strangers: FloatArray, photos: int, people: int) -> None:
    """Raises ValueError where a threshold is not what follows from the distances beside it."""
    counted = (photos, people) if known.basis == "members" else (len(strangers), known.people)
    if (known.photos, known.people) != counted or known.photos != len(strangers):
        raise ValueError("a threshold on other strangers")
    place, effect = _place(known.photos, known.fpir), known.photos / known.effective
    if known.people in (1, known.photos):  # who is on which photo is only known where all are one, or nobody is twice
        own = np.arange(known.photos) * (known.people > 1)
        if not abs(design_effect(strangers, own) - effect) <= DRAWN:
            raise ValueError(f"threshold.effective {known.effective:g} is not what {known.people} people are worth")
    long_run = long_run_interval(place, known.photos, effect)
    further = next_interval(place, known.photos, effect, known.photos, effect)
    follows = {
        "distance": (float(strangers[place - 1]), CLOSE), "expected": (place / (known.photos + 1), CLOSE),
        "low": (long_run[0], DRAWN), "high": (long_run[1], DRAWN), "low_next": (further[0], DRAWN),
        "high_next": (further[1], DRAWN),
    }  # fmt: skip
    for name, (value, apart) in follows.items():
        if not abs(getattr(known, name) - value) <= apart:
            raise ValueError(f"threshold.{name} {getattr(known, name):g}, where {value:g} follows from the strangers")


def _is_name(name: str) -> bool:
    """Whether a folder can be called so: photos are sorted into folders of these names."""
    within = set("/\0") | {os.sep, os.altsep or "/"}
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:  # a folder's name in another encoding
        return False
    return 0 < size <= LONGEST_NAME and name not in (".", "..") and not set(name) & within


def require_model(gallery: Gallery, model: FaceModel, where: str) -> None:
    """Raises UserError where a gallery was made by another body: its embeddings mean nothing to this one."""
    if gallery.model != model.digest:
        made = f"{gallery.body} ({gallery.model})" if gallery.body else gallery.model
        raise UserError(
            where, f"the gallery was made by the body {made}, not by this one, {model.card.name} ({model.digest}).",
            do="Give the body that made it with --body, or enrol everybody again into a new --gallery.",
        )  # fmt: skip
    if gallery.embeddings.shape[1] != model.dimensions:
        width = gallery.embeddings.shape[1]
        problem = f"its embeddings have {width} numbers, and those of its body {model.dimensions}."
        raise UserError(where, problem, do="The gallery is damaged: enrol everybody again.")
