"""Photos given back in a folder of their own: with their faces marked, or sorted by who is on them.

What is written shows people, so only its owner may read it. A file is made where there was none: nothing is written
over.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image

from scalesearch.data.arrays import Pixels, Progress
from scalesearch.data.image import read_rgb
from scalesearch.data.source import UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.faces.drawing import Box, Mark, annotated
from scalesearch.faces.identification import Sighting
from scalesearch.files import PRIVATE, sweep

NOBODY_KNOWN, NO_FACE_FOLDER = "_nobody known", "_no face"
KEPT_KINDS = (".jpg", ".jpeg", ".png", ".webp")  # the others become PNG, which loses nothing
QUALITY, CROP_QUALITY = 92, 80  # of JPEG and WebP
CROP_PX = 128
FOLDER_MODE = 0o700


def new_folder(option: str, folder: str | Path, photos: Sequence[str | Path]) -> Path:
    """A folder to write to: new or empty, and not inside a folder of the photos.

    Args:
        option: what it was given as, for messages.
        photos: files and folders that are read.

    Raises UserError otherwise, or where it cannot be made.
    """
    path, where = _expanded(folder), f"{option} {folder}"
    resolved = path.resolve()
    for given in photos:
        read = _expanded(given)
        if read.is_dir() and resolved.is_relative_to(read.resolve()):
            problem = f"it lies in {given}, where the copies would be taken for photos the next time."
            raise UserError(where, problem, do="Name a folder outside of the photos.")
    try:
        if path.exists():
            sweep(path)
        if path.exists() and any(path.iterdir()):
            problem = "there is something in it already, and nothing is written over."
            raise UserError(where, problem, do="Name a new or an empty folder.")
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(where, f"it cannot be made ({error.strerror or error}).", do="Name another folder.") from None
    return path


def _expanded(path: str | Path) -> Path:
    return Path(os.path.expanduser(path))  # leaves ~nobody as it is, where pathlib would raise


@contextlib.contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, in a folder that is made. Raises UserError where it cannot be, or is there."""
    try:
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            yield file
    except OSError as error:
        problem = f"it cannot be written ({error.strerror or error})."
        raise UserError(str(path), problem, do="Name a new folder that can be written to and has space left.") from None


def places_below(files: Iterable[str], given: Sequence[str | Path]) -> dict[str, PurePath]:
    """Where each photo stands: its path below the folder that was given, or its name."""
    folders = [one for one in map(_expanded, given) if one.is_dir()]
    places = {}
    for file in files:
        above = next((folder for folder in folders if Path(file).is_relative_to(folder)), Path(file).parent)
        places[file] = PurePath(file).relative_to(above)
    return places


def unlike(place: PurePath, taken: set[str]) -> PurePath:
    """The place, with a number where it is taken; case does not tell names apart on every disk. It is taken then.

    >>> unlike(PurePath("a/Photo.jpg"), {"a/photo.jpg"}).as_posix()
    'a/Photo (2).jpg'
    """
    found, number = place, 1
    while found.as_posix().casefold() in taken:
        number += 1
        found = place.with_name(f"{place.stem} ({number}){place.suffix}")
    taken.add(found.as_posix().casefold())
    return found


def by_photo(seen: Iterable[Sighting]) -> dict[str, list[Sighting]]:
    """Photos in order, each with what was seen on it."""
    photos: dict[str, list[Sighting]] = {}
    for one in seen:
        photos.setdefault(one.file, []).append(one)
    return photos


def write_annotated(
    folder: Path, seen: Iterable[Sighting], places: Mapping[str, PurePath], progress: Progress | None = None
) -> int:
    """Copies of the photos that can be read, with their faces marked; returns how many.

    They are upright and without the notes of the camera. Raises UserError where they cannot be written.
    """
    photos, taken, written = by_photo(seen), set[str](), 0
    for number, (file, faces) in enumerate(photos.items(), start=1):
        try:
            photo = read_rgb(file)
        except UnreadableImageError:
            continue
        place = places[file]
        if place.suffix.lower() not in KEPT_KINDS:
            place = place.with_suffix(".png")
        marks = [Mark(box_of(one, photo.size), one.name) for one in faces if not one.error]
        with created(folder / unlike(place, taken)) as target:
            target.write(_encoded(annotated(photo, marks), place.suffix.lower(), photo.info.get("icc_profile")))
        written += 1
        if progress is not None:
            progress(number, len(photos))
    return written


def box_of(seen: Sighting, size: tuple[int, int]) -> Box:
    """Where a face is on a photo of this size in pixels; the centred square where nothing was looked for."""
    if seen.found is not None:
        return seen.found.box
    (width, height), side = size, min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _encoded(photo: Image.Image, kind: str, profile: object) -> bytes:
    """A photo as the bytes of a file; the colours keep their meaning where a profile says it."""
    content = io.BytesIO()
    told = profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else b""
    format_ = {".png": "PNG", ".webp": "WEBP"}.get(kind, "JPEG")
    photo.save(content, format_, quality=QUALITY, subsampling=0, icc_profile=told)  # thin lines keep their colour
    return content.getvalue()


def jpeg(pixels: Pixels) -> bytes:
    """A face uint8 (S, S, 3) as a small JPEG for a page."""
    content = io.BytesIO()
    face = Image.fromarray(np.ascontiguousarray(pixels))
    face.resize((CROP_PX, CROP_PX), Image.Resampling.LANCZOS).save(content, "JPEG", quality=CROP_QUALITY)
    return content.getvalue()


def folders_of(seen: Iterable[Sighting]) -> dict[str, tuple[str, ...]]:
    """For each photo the folders that it belongs in: one for each member on it, else one for what it lacks."""
    photos = by_photo(seen)
    names = {one.name.casefold() for faces in photos.values() for one in faces if one.name}
    nobody, faceless = (unlike(PurePath(one), names).name for one in (NOBODY_KNOWN, NO_FACE_FOLDER))
    return {
        file: tuple(dict.fromkeys(one.name for one in faces if one.name))
        or ((faceless,) if all(one.error for one in faces) else (nobody,))
        for file, faces in photos.items()
    }


def write_sorted(folder: Path, seen: Iterable[Sighting]) -> dict[str, int]:
    """Copies of the photos as they are, with their times, into a folder of each member on them; returns how many each
    folder holds. Files that cannot be opened are left out.

    Raises UserError where a copy cannot be written.
    """
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for file, names in folders_of(seen).items():
        if not os.access(file, os.R_OK):  # it is among the photos that cannot be read
            continue
        status = os.stat(file)
        for name in names:
            place = folder / unlike(PurePath(name, PurePath(file).name), taken)
            with Path(file).open("rb") as source, created(place) as target:
                shutil.copyfileobj(source, target)
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
