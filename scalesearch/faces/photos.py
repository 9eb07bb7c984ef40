"""A folder of photos per person: listed, and read into squares of pixels with one face each. Never on disk."""

import difflib
import hashlib
import os
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scalesearch.data.arrays import Pixels, Progress
from scalesearch.data.cache import DRAFT_OVERSIZE
from scalesearch.data.image import pixel_digest, read_rgb, square
from scalesearch.data.layout import spelled
from scalesearch.data.listing import Reason, listed, notes, require_readable, root_of
from scalesearch.data.source import IntArray, UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.faces.detection import Detector, Face, Template, aligned
from scalesearch.machine import cores
from scalesearch.units import counted

LAYOUT = "Give a folder that holds a folder of photos for each person."
SHOWN = 5
CHUNK = 256
ENLARGED = 2  # times; what a face so small does not show is lost
NO_FACE = "no face found"


@dataclass(frozen=True, eq=False)
class People:
    """Photos by person. ``root``: the folder; ``files``: paths; ``labels``: int64 (files,), places in ``names``;
    ``notes`` for the user."""

    root: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    labels: IntArray
    notes: tuple[str, ...] = ()

    def below(self, file: str) -> str:
        """A file's path below the folder, with forward slashes."""
        return Path(file).relative_to(self.root).as_posix()


def list_people(folder: str | Path, option: str, follow_links: str | Path | None = None) -> People:
    """The people below ``folder``, sorted by name, each with all images in and below their folder.

    Names are taken in Unicode's composed form. What is hidden or of other programs is passed over, as are links, but
    for those to files inside ``folder`` and into ``follow_links``; notes say what was.

    Args:
        option: what the folder was given as, for messages.

    Raises:
        UserError: no folder, nobody in it, or two folders whose names differ by case alone.
    """
    path = Path(os.path.expanduser(folder))  # leaves ~nobody as it is, where pathlib would raise
    if not path.is_dir():
        problem = "this is a file." if path.exists() else "there is no such folder."
        raise UserError(f"{option} {folder}", problem, do=LAYOUT)
    root = root_of(path, follow_links)
    top = listed(root)
    require_readable(root, top)
    photos = {
        spelled(one.name): sorted(os.path.join(root.path, file.path) for file in one.images()) for one in top.folders
    }
    _check_names([one.name for one in top.folders], option)
    known = {name: files for name, files in photos.items() if files}
    if not known:
        problem = "there are photos, but no folder of a person." if top.files else "there is no person with a photo."
        raise UserError(f"{option} {folder}", problem, do=LAYOUT)
    said = []
    if empty := sorted(photos.keys() - known.keys()):
        said.append(f"{counted(len(empty), 'folder')} without photos: {few(empty)}")
    if top.files:
        loose = few([file.path for file in top.files])
        said.append(f"{counted(len(top.files), 'photo')} in no person's folder, passed over: {loose}")
    beside = (Reason.EMPTY, Reason.ENDING)  # said above, or no photo of anybody: a page, a list
    left = [one for one in top.everything_left_out() if not (one.reason in beside and os.sep not in one.path)]
    said += notes(left, root.path)
    names = tuple(sorted(known))
    labels = np.repeat(np.arange(len(names)), [len(known[name]) for name in names]).astype(np.int64)
    return People(root.path, names, tuple(file for name in names for file in known[name]), labels, tuple(said))


def leave_out(people: People, names: Sequence[str], option: str) -> People:
    """Without the people of these names; a name may hold several, with commas between them.

    Args:
        option: what the folder was given as, for messages.

    Raises UserError where there is nobody of a name, or nobody is left.
    """
    asked = [unicodedata.normalize("NFC", one) for one in names]
    gone = {one.strip() for name in asked for one in ([name] if name in people.names else name.split(","))} - {""}
    if unknown := sorted(gone - set(people.names)):
        close = difflib.get_close_matches(unknown[0], people.names, 1)
        do = f'Did you mean "{close[0]}"?' if close else f"The folders there: {few(people.names)}."
        raise UserError(f'--without "{unknown[0]}"', f"there is no folder of that name in {people.root}.", do=do)
    kept = [label for label, name in enumerate(people.names) if name not in gone]
    if not kept:
        raise UserError("--without", f"it leaves nobody of {option}.", do="Name fewer of them.")
    rows = np.flatnonzero(np.isin(people.labels, kept))
    return replace(
        people, names=tuple(people.names[label] for label in kept), files=tuple(people.files[row] for row in rows),
        labels=np.searchsorted(kept, people.labels[rows]).astype(np.int64),
    )  # fmt: skip


def few(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _check_names(names: list[str], option: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            problem = f"the folders '{seen[key]}' and '{name}' differ by case or spelling of accents alone."
            raise UserError(option, problem, do="Put the photos of one person into one folder.")
        seen[key] = name


@dataclass(frozen=True)
class Framing:
    """How faces come off photos.

    Args:
        size_px: side of what a network is given.
        detect: finds faces, which are then cut out by ``template``; None: the photo's centred square is the face.
    """

    size_px: int
    detect: Detector | None = None
    template: Template = Template()


@dataclass(frozen=True, eq=False)
class Shots:
    """Faces ready for a network.

    Args:
        pixels: uint8 (n, S, S, 3).
        rows: int64 (n,), the file each is from.
        faces: where each is on its photo, largest first; None where nothing was looked for.
        counts: int64 (n,), how many faces its file has.
        unreadable: (file, reason).
        faceless: files on which no face was found.
    """

    pixels: Pixels
    rows: IntArray
    faces: tuple[Face | None, ...]
    counts: IntArray
    unreadable: tuple[tuple[str, str], ...] = ()
    faceless: tuple[str, ...] = ()


def read_shots(files: Sequence[str], framing: Framing, progress: Progress | None = None) -> Shots:
    """Reads files: every face of each, cut out; without a detector the centred square."""
    size_px, detect = framing.size_px, framing.detect

    def read(file: str) -> list[tuple[Pixels, Face | None]] | str:
        try:
            if detect is None:
                return [(square(read_rgb(file, DRAFT_OVERSIZE * size_px), size_px), None)]
            photo = read_rgb(file)
            return [(aligned(photo, face, size_px, framing.template), face) for face in detect(photo)]
        except UnreadableImageError as error:
            return error.reason

    # a detector already uses all cores for one photo
    threads, step = (cores(), CHUNK) if detect is None else (1, 1)
    contents: list[list[tuple[Pixels, Face | None]] | str] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), step):
            contents += pool.map(read, files[start : start + step])
            if progress is not None:
                progress(len(contents), len(files))
    found = {row: content for row, content in enumerate(contents) if not isinstance(content, str)}
    every = [(pixels, face, row, len(content)) for row, content in found.items() for pixels, face in content]
    return Shots(
        np.stack([one[0] for one in every]) if every else np.zeros((0, size_px, size_px, 3), np.uint8),
        np.array([one[2] for one in every], dtype=np.int64),
        tuple(one[1] for one in every),
        np.array([one[3] for one in every], dtype=np.int64),
        tuple((file, content) for file, content in zip(files, contents, strict=True) if isinstance(content, str)),
        tuple(files[row] for row, content in found.items() if not content),
    )


Chooser = Callable[[Pixels, IntArray, IntArray], IntArray]


def largest(_pixels: Pixels, _labels: IntArray, photos: IntArray) -> IntArray:
    """Places of the first face of each photo, which is the largest."""
    return np.unique(photos, return_index=True)[1].astype(np.int64)


def most_alike(vectors: npt.NDArray[np.float32], labels: IntArray, photos: IntArray) -> IntArray:
    """Places of one face of each photo: whoever is on most of the person's photos, the same one on all of them.

    Of all faces of a folder one is most like those on the other photos; on each photo the face most like that one is
    taken. Who stands in the background of one photo is hardly on the others. Where nothing is to be compared with, or
    two are as like, the largest is taken.

    Args:
        vectors: float32 (n, D), unit embeddings of all faces, largest first on each photo.
        labels: int64 (n,), whose folder the photo is in.
        photos: int64 (n,), which photo it is on; ascending.
    """
    chosen = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        starts = np.unique(photos[own], return_index=True)[1]
        products = vectors[own] @ vectors[own].T
        # of each face (row) the likeness to the nearest face of each photo (column), not of its own
        likeness = np.maximum.reduceat(products, starts, axis=1)
        column = np.searchsorted(starts, np.arange(len(own)), side="right") - 1
        likeness[np.arange(len(own)), column] = 0
        known = int(np.round(likeness.sum(1), 6).argmax())
        near = np.round(products[known], 6)
        ends = [*starts[1:].tolist(), len(own)]
        chosen += [own[start + int(near[start:end].argmax())] for start, end in zip(starts, ends, strict=True)]
    return np.sort(np.array(chosen, dtype=np.int64))


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

    @property
    def digest(self) -> str:
        """12 hex digits of who is on which photos."""
        rows = [f"{one} {label}" for one, label in zip(self.digests, self.labels.tolist(), strict=True)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]


def read_crowd(
    people: People, framing: Framing, *, option: str, chooser: Chooser = largest, skip_broken: bool = False,
    progress: Progress | None = None,
) -> Crowd:  # fmt: skip
    """Everybody's photos, one face of each. A photo that is twice in one person's folder counts once.

    Args:
        chooser: pixels of all faces, whose folder and which photo they are from → the places to keep, one a photo.

    Raises UserError naming unreadable files (unless ``skip_broken``), a photo that two people share, or where no face
    is left.
    """
    shots = read_shots(people.files, framing, progress)
    if shots.unreadable and not skip_broken:
        shown = few([f"{file} ({reason})" for file, reason in shots.unreadable])
        problem = f"{counted(len(shots.unreadable), 'file')} cannot be read: {shown}."
        raise UserError(option, problem, do="Remove them, or leave them out with --skip-broken.")
    if not len(shots.rows):
        found = "on which a face was found" if framing.detect else "that can be read"
        raise UserError(option, f"there is no photo {found}.")
    places = chooser(shots.pixels, people.labels[shots.rows], shots.rows)
    pixels, rows = shots.pixels[places], shots.rows[places]
    digests = tuple(pixel_digest(image) for image in pixels)
    labels = people.labels[rows]
    files = [people.files[row] for row in rows]
    once = _check_shared(digests, labels, files, people.names, option)
    faces = {people.files[row]: shots.faces[place] for place, row in zip(places, rows, strict=True)}
    small = [file for file, face in faces.items() if face and face.area < (framing.size_px / ENLARGED) ** 2]
    notes = [*people.notes, *_notes(shots, people, chooser, small)]
    if copies := len(files) - len(once):
        notes.append(f"{counted(copies, 'photo')} left out as copies of another photo of the same person")
    kept, labels = np.unique(labels[once], return_inverse=True)
    if lost := sorted(set(people.names) - {people.names[label] for label in kept}):
        notes.append(f"without a usable photo, these people are left out: {few(lost)}")
    return Crowd(
        tuple(people.names[label] for label in kept), pixels[once], labels.astype(np.int64),
        tuple(digests[place] for place in once), tuple(people.below(files[place]) for place in once), tuple(notes),
    )  # fmt: skip


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
        problem = f"these photos are in the folders of two people: {few(shared)}."
        raise UserError(option, problem, do="Keep each photo with the person whom it shows.")
    return sorted(first.values())


def _notes(shots: Shots, people: People, chooser: Chooser, small: Sequence[str]) -> list[str]:
    several = sorted({people.files[row] for row, count in zip(shots.rows, shots.counts, strict=True) if count > 1})
    taken = "the largest" if chooser is largest else "the one most like the person's other photos"
    told = (
        ("that cannot be read left out", [file for file, _ in shots.unreadable]),
        ("without a face left out", shots.faceless),
        (f"with several faces, {taken} taken", several),
        (f"with a face so small that it is enlarged {ENLARGED} times and more", small),
    )
    return [
        f"{counted(len(files), 'photo')} {what}: {few([people.below(file) for file in files])}"
        for what, files in told
        if files
    ]
