"""What is handed out of faces besides rows: marked and sorted copies of photos, and pages."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scalesearch.data.arrays import Progress
from scalesearch.errors import UserError, pasted
from scalesearch.faces.album import by_photo, jpeg, new_folder, places_below, write_annotated, write_sorted
from scalesearch.faces.drawing import font_file
from scalesearch.faces.gallery import Threshold
from scalesearch.faces.identification import Sighting
from scalesearch.faces.likeness import groups
from scalesearch.faces.photos import few
from scalesearch.faces.stranger_set import StrangerGroup
from scalesearch.files import PRIVATE, atomic, together, write_text
from scalesearch.reports.face_page import Crop, People, faces_page, strangers_page
from scalesearch.units import counted

Given = Sequence[str | Path]
PAGE_ENDINGS = (".html", ".htm")
INDEX = "index.html"


@dataclass(frozen=True, eq=False)
class Seen:
    """A sighting whose pixels have become a small JPEG (b"" where there is none, or none is wanted)."""

    sighting: Sighting
    crop: bytes = b""


def compact(sighting: Sighting, crop: bool) -> Seen:
    """A sighting as it is kept until all photos are read; pixels of thousands of faces would take much memory."""
    small = jpeg(sighting.pixels) if crop and sighting.pixels is not None else b""
    return Seen(replace(sighting, pixels=None), small)


@dataclass(frozen=True)
class Outputs:
    """Where copies and a page go; None for those that are not wanted."""

    annotate: Path | None = None
    sort_into: Path | None = None
    page: Path | None = None


def planned(
    given: Given, annotate: str | Path | None, sort_into: str | Path | None, page: str | Path | None
) -> Outputs:
    """Where the outputs go, checked before any photo is looked at; folders are made.

    Raises UserError for a page of another ending, a folder that holds something or lies inside the photos', or one
    folder for two outputs.
    """
    if page is not None and Path(page).suffix.lower() not in PAGE_ENDINGS:
        raise UserError("--page", f"{page} does not end in .html.")
    if annotate is not None and sort_into is not None and _place(annotate) == _place(sort_into):
        raise UserError("--sort-into", "it is the folder of --annotate, too.", do="Name two folders.")
    folders = [
        None if folder is None else new_folder(option, folder, given)
        for option, folder in (("--annotate", annotate), ("--sort-into", sort_into))
    ]
    return Outputs(folders[0], folders[1], None if page is None else Path(page))


def _place(folder: str | Path) -> Path:
    return Path(os.path.realpath(os.path.expanduser(folder)))


@dataclass(frozen=True)
class HandedOut:
    """What was written: how many marked copies, and how many photos each folder of the sorted ones holds."""

    annotated: int = 0
    sorted: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


def hand_out(
    outputs: Outputs, seen: Sequence[Seen], given: Given, threshold: Threshold, interval: tuple[float, float],
    alike: float, progress: Progress | None = None,
) -> HandedOut:  # fmt: skip
    """Writes the outputs that are wanted.

    Args:
        given: the photos as they were asked for.
        interval: of the share that would be taken for members if all were strangers.
        alike: squared distance below which two faces are put into one group.

    Raises UserError where they cannot be written.
    """
    plain = [one.sighting for one in seen]
    places = places_below(dict.fromkeys(one.file for one in plain), given)
    marked, sorted_, notes = 0, dict[str, int](), []
    with ExitStack() as pending:  # nothing appears before all are written
        if outputs.annotate is not None:
            folder = pending.enter_context(together(outputs.annotate, PRIVATE))
            marked = write_annotated(folder, plain, places, progress)
            names = sorted({one.name for one in plain if one.name})
            if missing := [name for name in names if not font_file(name)[1]]:
                lacking = f"no font of this machine has all letters of {few(missing)}"
                notes.append(f"{lacking}: squares stand for those missing")
        if outputs.sort_into is not None:
            sorted_ = write_sorted(pending.enter_context(together(outputs.sort_into, PRIVATE)), plain)
        if outputs.page is not None:
            shown = {file: place.as_posix() for file, place in places.items()}
            page = pending.enter_context(atomic(outputs.page, PRIVATE))
            write_text(page, _faces_page(seen, shown, threshold, interval, alike))
    return HandedOut(marked, tuple(sorted_.items()), tuple(notes))


def _faces_page(
    seen: Sequence[Seen], places: dict[str, str], threshold: Threshold, interval: tuple[float, float], alike: float
) -> str:
    """The page of ``--page``."""
    known: dict[str, list[Crop]] = {}
    strange = [one for one in seen if not one.sighting.error and not one.sighting.name]
    for one in seen:
        if one.sighting.name:
            lines = _member_lines(one.sighting, threshold.distance)
            known.setdefault(one.sighting.name, []).append(_crop(one, places, lines))
    groups_of, once = [], []
    for own in _alike(strange, alike):
        nearest = min((one.sighting for one in own), key=_distance)
        crops = tuple(_crop(one, places, (f"{_distance(one.sighting):.3f}",)) for one in own)
        if len(own) == 1:
            once += [_crop(one, places, (f"{nearest.nearest} {_distance(nearest):.3f}",)) for one in own]
        else:
            said = f"nearest member: {nearest.nearest}, {_distance(nearest):.3f}"
            groups_of.append(People(f"Seen on {_photos(own)}", said, crops))
    members = [
        People(name, counted(len(crops), "face"), tuple(crops))
        for name, crops in sorted(known.items(), key=lambda item: item[0].casefold())
    ]
    empty = [(places[one.sighting.file], one.sighting.error) for one in seen if one.sighting.error]
    return faces_page(len(places), members, groups_of, once, empty, threshold.to_dict(), interval)


def _alike(faces: Sequence[Seen], limit: float) -> list[list[Seen]]:
    """Faces by person, the largest group first."""
    vectors = [one.sighting.vector for one in faces if one.sighting.vector is not None]
    if not vectors:
        return []
    labels = groups(np.stack(vectors), limit)
    return [[faces[int(place)] for place in np.flatnonzero(labels == label)] for label in range(int(labels.max()) + 1)]


def _photos(faces: Sequence[Seen]) -> str:
    return counted(len({one.sighting.file for one in faces}), "photo")


def _distance(one: Sighting) -> float:
    return 4.0 if one.distance is None else one.distance


def _crop(one: Seen, places: dict[str, str], lines: tuple[str, ...]) -> Crop:
    return Crop(one.crop, places[one.sighting.file], lines)


def _member_lines(one: Sighting, limit: float) -> tuple[str, ...]:
    """The distance to whom a face is taken for, and who else it could be."""
    others = [(one.nearest, one.distance), (one.runner_up, one.runner_up_distance)]
    own = next((f"{distance:.3f}" for name, distance in others if name == one.name and distance is not None), "")
    near = [
        f"{name} {distance:.3f}"
        for name, distance in others
        if name and name != one.name and distance is not None and distance < limit
    ]
    return tuple(filter(None, (own, f"also near: {', '.join(near)}" if near else "")))


def command_of(folder: Path, gallery: str, body: str) -> str:
    """What to type to enrol a set of strangers; ``gallery`` and ``body`` are "" where they are the usual ones."""
    options = [("--gallery", gallery), ("--body", body)]
    told = [part for option, value in options if value for part in (option, value)]
    return pasted("scalesearch", "faces", "enroll", "--strangers", folder, *told)


def write_index(
    folder: Path, found: Sequence[StrangerGroup], crops: dict[int, bytes], given: Given, command: str,
    basis: Sequence[str],
) -> None:  # fmt: skip
    """The page of a set of strangers, in its folder.

    Args:
        crops: small JPEGs of the faces by the ``id`` of their sightings.

    Raises UserError where it cannot be written.
    """
    faces = [face for one in found for face in one.faces]
    places = {file: place.as_posix() for file, place in places_below(by_photo(faces), given).items()}
    people = [
        People(
            one.folder,
            f"{counted(len({face.file for face in one.faces}), 'photo')}; nearest member: {one.nearest.nearest}, "
            f"{_distance(one.nearest):.3f}",
            tuple(Crop(crops[id(face)], places[face.file], (f"{_distance(face):.3f}",)) for face in one.faces),
            not one.doubtful,
        )
        for one in found
    ]  # fmt: skip
    doubtful = sum(one.doubtful for one in found)
    counts = f"{counted(len(found), 'group')} of {counted(len(faces), 'face')}"
    counts += f", {doubtful} of them in doubt." if doubtful else "."
    write_text(folder / INDEX, strangers_page(people, command, basis, counts), PRIVATE)
