"""Photos read into squares of pixels: whole, or a face cut out of each. Kept in memory, never on disk."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scalesearch.data.arrays import Pixels, Progress
from scalesearch.data.cache import DRAFT_OVERSIZE, cores
from scalesearch.data.image import read_rgb, square
from scalesearch.data.source import IntArray, UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.faces.detect import Detector, aligned
from scalesearch.faces.people import People, few

CHUNK = 256
NO_FACE = "no face found"


@dataclass(frozen=True, eq=False)
class Shots:
    """Faces ready for a network.

    Args:
        pixels: uint8 (n, S, S, 3).
        rows: int64 (n,), the file each is from.
        faces: int64 (n,), how many faces that file has (1 where nothing was looked for).
        unreadable: (file, reason).
        faceless: files on which no face was found.
    """

    pixels: Pixels
    rows: IntArray
    faces: IntArray
    unreadable: tuple[tuple[str, str], ...] = ()
    faceless: tuple[str, ...] = ()


def read_shots(
    files: Sequence[str],
    size_px: int,
    detect: Detector | None = None,
    *,
    every_face: bool = False,
    progress: Progress | None = None,
) -> Shots:
    """Reads files; with ``detect`` the largest face of each, or every one, aligned; else the centred square."""

    def read(file: str) -> list[Pixels] | str:
        try:
            if detect is None:
                return [square(read_rgb(file, DRAFT_OVERSIZE * size_px), size_px)]
            photo = read_rgb(file)
            return [aligned(photo, face, size_px) for face in detect(photo)]
        except UnreadableImageError as error:
            return error.reason

    # a detector already uses all cores for one photo
    found = _in_order(read, files, cores() if detect is None else 1, progress)
    pixels: list[Pixels] = []
    rows, faces = [], []
    unreadable: list[tuple[str, str]] = []
    faceless: list[str] = []
    for row, (file, item) in enumerate(zip(files, found, strict=True)):
        if isinstance(item, str):
            unreadable.append((file, item))
            continue
        if not item:
            faceless.append(file)
        for face in item if every_face else item[:1]:
            pixels.append(face)
            rows.append(row)
            faces.append(len(item))
    stacked = np.stack(pixels) if pixels else np.zeros((0, size_px, size_px, 3), np.uint8)
    return Shots(
        stacked, np.array(rows, dtype=np.int64), np.array(faces, dtype=np.int64), tuple(unreadable), tuple(faceless)
    )


def _in_order(
    work: Callable[[str], list[Pixels] | str], files: Sequence[str], threads: int, progress: Progress | None
) -> list[list[Pixels] | str]:
    found: list[list[Pixels] | str] = []
    step = CHUNK if threads > 1 else 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), step):
            found += pool.map(work, files[start : start + step])
            if progress is not None:
                progress(len(found), len(files))
    return found


@dataclass(frozen=True, eq=False)
class Crowd:
    """The people of a folder as pixels. ``labels``: int64 (n,), places in ``names``; everybody has a photo.

    Args:
        digests: 16 hex digits of each photo's pixels, by which a photo is known again.
        files: of each, below the folder, with forward slashes.
        notes: what was left out or looks odd, a line each.
    """

    names: tuple[str, ...]
    pixels: Pixels
    labels: IntArray
    digests: tuple[str, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def read_crowd(
    people: People,
    size_px: int,
    detect: Detector | None,
    *,
    option: str,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Crowd:
    """Everybody's photos. A photo that is twice in one person's folder counts once.

    Raises UserError naming unreadable files (unless ``skip_broken``), a photo that two people share, or where no face
    is left.
    """
    shots = read_shots(people.files, size_px, detect, progress=progress)
    if shots.unreadable and not skip_broken:
        shown = few([f"{file} ({reason})" for file, reason in shots.unreadable])
        raise UserError(
            option, f"{len(shots.unreadable)} unreadable file(s): {shown}", "whole images",
            "Remove them, or leave them out with --skip-broken.",
        )  # fmt: skip
    if not len(shots.rows):
        what = "no photo with a face" if detect else "no readable photo"
        raise UserError(option, what, "at least one", "Look at the photos." if detect else "")
    digests = tuple(digest(image) for image in shots.pixels)
    labels = people.labels[shots.rows]
    files = [people.files[row] for row in shots.rows]
    once = _check_shared(digests, labels, files, people.names, option)
    notes = [*people.notes, *_notes(shots, people), *_repeated(len(files) - len(once))]
    kept, labels = np.unique(labels[once], return_inverse=True)
    if lost := sorted(set(people.names) - {people.names[label] for label in kept}):
        notes.append(f"{len(lost)} person(s) without a usable photo are left out: {few(lost)}")
    return Crowd(
        tuple(people.names[label] for label in kept), shots.pixels[once], labels.astype(np.int64),
        tuple(digests[place] for place in once), tuple(people.below(files[place]) for place in once), tuple(notes),
    )  # fmt: skip


def digest(image: Pixels) -> str:
    """16 hex digits of pixels."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest()


def choose(crowd: Crowd, rows: IntArray) -> Crowd:
    """Some photos; people of whom none is left go, the others keep their order."""
    kept, labels = np.unique(crowd.labels[rows], return_inverse=True)
    return Crowd(
        tuple(crowd.names[label] for label in kept), crowd.pixels[rows], labels.astype(np.int64),
        tuple(crowd.digests[row] for row in rows), tuple(crowd.files[row] for row in rows), crowd.notes,
    )  # fmt: skip


def _check_shared(
    digests: Sequence[str], labels: IntArray, files: Sequence[str], names: Sequence[str], option: str
) -> list[int]:
    """Places of the first photo of each content. Raises UserError where two people have the same one."""
    first: dict[str, int] = {}
    shared = []
    for place, one in enumerate(digests):
        known = first.setdefault(one, place)
        if labels[known] != labels[place]:
            who = f"{names[labels[known]]} and {names[labels[place]]}"
            shared.append(f"{files[known]} is {files[place]} ({who})")
    if shared:
        raise UserError(
            option, f"{len(shared)} photo(s) that two people share: {few(shared)}", "each photo under one person",
            "Remove it from the folder of whom it does not show.",
        )  # fmt: skip
    return sorted(first.values())


def _repeated(count: int) -> list[str]:
    return [f"{count} photo(s) are copies of another photo of the same person and count once"] if count else []


def _notes(shots: Shots, people: People) -> list[str]:
    notes = []
    if shots.unreadable:
        notes.append(f"{len(shots.unreadable)} unreadable photo(s) left out: {few([f for f, _ in shots.unreadable])}")
    if shots.faceless:
        notes.append(f"{len(shots.faceless)} photo(s) without a face left out: {few(shots.faceless)}")
    if several := [people.files[row] for row, count in zip(shots.rows, shots.faces, strict=True) if count > 1]:
        notes.append(f"{len(several)} photo(s) show several faces; the largest was taken: {few(several)}")
    return notes
