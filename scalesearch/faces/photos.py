"""A folder of photos per person: listed, read into squares of pixels, faces found and turned upright. Never on disk.

Faces are found by MTCNN with the weights that come inside facenet-pytorch (Zhang, Zhang, Li & Qiao 2016,
arXiv:1604.02878). Nothing is downloaded and no photo leaves the process.
"""

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scalesearch.data.arrays import Pixels, Progress
from scalesearch.data.cache import DRAFT_OVERSIZE, cores
from scalesearch.data.folder import EXTENSIONS, entries, images_below
from scalesearch.data.image import pixel_digest, read_rgb, square
from scalesearch.data.source import IntArray, UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.faces import missing_extra
from scalesearch.units import counted

LAYOUT = "Give a folder that holds a folder of photos for each person."
SHOWN = 5
CHUNK = 256
NO_FACE = "no face found"
# where the eyes come to lie, as shares of the side: their median place on the training crops of lfw_faces, which were
# cut by hand-set coordinates from photos aligned by another method (deep funneling)
EYES = ((0.32, 0.43), (0.68, 0.43))
LARGEST_SIDE = 1024  # pixels; larger photos are looked at reduced
SMALLEST_FACE = 24  # pixels, on the photo as it is looked at
SURE = 0.95  # the detector's own probability, below which a find does not count
SMALLEST_SIDE = 32


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


def list_people(folder: str | Path, option: str) -> People:
    """The people below ``folder``, sorted by name, each with all images in and below their folder.

    Names are taken in Unicode's composed form. Hidden entries, links to folders and links out of
    ``folder`` are passed over.

    Args:
        option: what the folder was given as, for messages.

    Raises:
        UserError: no folder, nobody in it, or two folders whose names differ by case alone.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        problem = "this is a file." if root.exists() else "there is no such folder."
        raise UserError(f"{option} {folder}", problem, do=LAYOUT)
    root = root.resolve()
    inside = entries(root)
    folders = [entry for entry in inside if entry.is_dir(follow_symlinks=False)]
    loose = [
        entry.name
        for entry in inside
        if entry.is_file(follow_symlinks=False) and os.path.splitext(entry.name)[1].lower() in EXTENSIONS
    ]
    photos = {
        unicodedata.normalize("NFC", entry.name): sorted(
            os.path.join(root, file) for file, _ in images_below(root, Path(entry.path), [])
        )
        for entry in folders
    }
    _check_names([entry.name for entry in folders], option)
    known = {name: files for name, files in photos.items() if files}
    if not known:
        problem = "there are photos, but no folder of a person." if loose else "there is no person with a photo."
        raise UserError(f"{option} {folder}", problem, do=LAYOUT)
    notes = []
    if empty := sorted(photos.keys() - known.keys()):
        notes.append(f"{counted(len(empty), 'folder')} without photos: {few(empty)}")
    if loose:
        notes.append(f"{counted(len(loose), 'photo')} in no person's folder, passed over: {few(loose)}")
    names = tuple(sorted(known))
    labels = np.repeat(np.arange(len(names)), [len(known[name]) for name in names]).astype(np.int64)
    return People(str(root), names, tuple(file for name in names for file in known[name]), labels, tuple(notes))


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
class Face:
    """One face on a photo, in its pixels.

    Args:
        box: left, top, right, bottom.
        eyes: the eye on the photo's left, then the one on its right, each (x, y).
        probability: the detector's own.
    """

    box: tuple[float, float, float, float]
    eyes: tuple[tuple[float, float], tuple[float, float]]
    probability: float

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return max(0.0, self.box[2] - self.box[0]) * max(0.0, self.box[3] - self.box[1])


Detector = Callable[[Image.Image], list[Face]]


def detector() -> Detector:
    """Photo → its faces, largest first. Raises UserError where the extra ``faces`` is not installed."""
    try:
        from facenet_pytorch import MTCNN
    except ImportError:
        raise missing_extra("facenet-pytorch") from None
    network = MTCNN(keep_all=True, device="cpu", min_face_size=SMALLEST_FACE)

    def detect(photo: Image.Image) -> list[Face]:
        if min(photo.size) < SMALLEST_SIDE:
            return []
        seen = _reduced(photo, LARGEST_SIDE / max(photo.size))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own, of ragged arrays
            boxes, probabilities, points = network.detect(seen, landmarks=True)
        if boxes is None:
            return []
        ratio = np.array(photo.size) / np.array(seen.size)
        faces = [
            _face(np.asarray(box, dtype=float), np.asarray(marks, dtype=float), float(probability), ratio)
            for box, marks, probability in zip(boxes, points, probabilities, strict=True)
        ]
        return sorted((face for face in faces if face.probability >= SURE), key=lambda face: -face.area)

    return detect


def _reduced(photo: Image.Image, scale: float) -> Image.Image:
    """Where the scale is below 1."""
    if scale >= 1:
        return photo
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.BOX)


def _face(box: Any, marks: Any, probability: float, ratio: Any) -> Face:
    left, top, right, bottom = (box.reshape(2, 2) * ratio).reshape(-1).tolist()
    one, other = (marks[:2] * ratio).tolist()
    return Face((left, top, right, bottom), ((one[0], one[1]), (other[0], other[1])), probability)


def aligned(photo: Image.Image, face: Face, size_px: int) -> Pixels:
    """The face turned, scaled and cut so that its eyes come to lie at ``EYES``: uint8 (S, S, 3).

    What lies beyond the photo is black. The photo is reduced first where the face is large, so that nothing aliases.
    """
    wanted = np.array(EYES) * size_px
    given = np.array(face.eyes)
    across = np.linalg.norm(wanted[1] - wanted[0])
    distance = max(float(np.linalg.norm(given[1] - given[0])), 1.0)
    seen = _reduced(photo, float(2.0 * across / distance))
    given = given * (np.array(seen.size) / np.array(photo.size))
    # output (x, y) → input: a rotation with scale, a + bi of complex numbers, and a shift
    out = wanted[:, 0] + 1j * wanted[:, 1]
    inside = given[:, 0] + 1j * given[:, 1]
    turn = (inside[1] - inside[0]) / (out[1] - out[0])
    if turn == 0:
        turn = complex(1.0)
    shift = inside.mean() - turn * out.mean()
    matrix = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    cut = seen.transform((size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(cut, dtype=np.uint8)


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
    files: Sequence[str], size_px: int, detect: Detector | None = None, *, every_face: bool = False,
    progress: Progress | None = None,
) -> Shots:  # fmt: skip
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
    threads, step = (cores(), CHUNK) if detect is None else (1, 1)
    contents: list[list[Pixels] | str] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), step):
            contents += pool.map(read, files[start : start + step])
            if progress is not None:
                progress(len(contents), len(files))
    faces_of = {row: content for row, content in enumerate(contents) if not isinstance(content, str)}
    chosen = [
        (face, row, len(content))
        for row, content in faces_of.items()
        for face in (content if every_face else content[:1])
    ]
    pixels = [face for face, _, _ in chosen]
    return Shots(
        np.stack(pixels) if pixels else np.zeros((0, size_px, size_px, 3), np.uint8),
        np.array([row for _, row, _ in chosen], dtype=np.int64),
        np.array([count for _, _, count in chosen], dtype=np.int64),
        tuple((file, content) for file, content in zip(files, contents, strict=True) if isinstance(content, str)),
        tuple(files[row] for row, content in faces_of.items() if not content),
    )


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
    people: People, size_px: int, detect: Detector | None, *, option: str, skip_broken: bool = False,
    progress: Progress | None = None,
) -> Crowd:  # fmt: skip
    """Everybody's photos. A photo that is twice in one person's folder counts once.

    Raises UserError naming unreadable files (unless ``skip_broken``), a photo that two people share, or where no face
    is left.
    """
    shots = read_shots(people.files, size_px, detect, progress=progress)
    if shots.unreadable and not skip_broken:
        shown = few([f"{file} ({reason})" for file, reason in shots.unreadable])
        problem = f"{counted(len(shots.unreadable), 'file')} cannot be read: {shown}."
        raise UserError(option, problem, do="Remove them, or leave them out with --skip-broken.")
    if not len(shots.rows):
        raise UserError(option, f"there is no photo {'on which a face was found' if detect else 'that can be read'}.")
    digests = tuple(pixel_digest(image) for image in shots.pixels)
    labels = people.labels[shots.rows]
    files = [people.files[row] for row in shots.rows]
    once = _check_shared(digests, labels, files, people.names, option)
    notes = [*people.notes, *_notes(shots, people)]
    if copies := len(files) - len(once):
        notes.append(f"{counted(copies, 'photo')} left out as copies of another photo of the same person")
    kept, labels = np.unique(labels[once], return_inverse=True)
    if lost := sorted(set(people.names) - {people.names[label] for label in kept}):
        notes.append(f"without a usable photo, these people are left out: {few(lost)}")
    return Crowd(
        tuple(people.names[label] for label in kept), shots.pixels[once], labels.astype(np.int64),
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


def _notes(shots: Shots, people: People) -> list[str]:
    notes = []
    if shots.unreadable:
        unread = few([file for file, _ in shots.unreadable])
        notes.append(f"{counted(len(shots.unreadable), 'photo')} that cannot be read left out: {unread}")
    if shots.faceless:
        notes.append(f"{counted(len(shots.faceless), 'photo')} without a face left out: {few(shots.faceless)}")
    if several := [people.files[row] for row, count in zip(shots.rows, shots.faces, strict=True) if count > 1]:
        notes.append(f"{counted(len(several), 'photo')} with several faces, the largest taken: {few(several)}")
    return notes
