"""Who is on photos: every face with its place, the member it is taken for, who else it could be, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scalesearch.data.arrays import Pixels, Progress
from scalesearch.errors import UserError
from scalesearch.faces.detection import POINTS, Face
from scalesearch.faces.gallery import Gallery, person_distances, strangers_as_near
from scalesearch.faces.model import FaceModel, FloatArray
from scalesearch.faces.photos import NO_FACE, Framing, read_shots

CHUNK = 64  # photos in memory at a time
BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face on a photo, or a photo without one.

    Args:
        file: the photo.
        face, faces: which of how many faces on it, largest first; 0 where there is none.
        name: whom it is taken for; "" for nobody.
        nearest, distance: the member who is nearest all the same, and how near (squared, 0 to 4).
        runner_up, runner_up_distance: the next one, or, where the nearest is somebody else on the photo, whom it is
            taken for; "" and None where the gallery holds one person.
        strangers_as_near: how many of the photos that the threshold was fitted on came as near to anybody as this face
            to whom it is taken for, else to the nearest.
        note: why it is nobody's though somebody is near enough; else "".
        found: where it is; None where nothing was looked for.
        error: "" or why there is nothing.
        pixels: uint8 (S, S, 3), as the body was given it.
        vector: float32 (D,), its embedding.
    """

    file: str
    face: int = 0
    faces: int = 0
    name: str = ""
    nearest: str = ""
    distance: float | None = None
    runner_up: str = ""
    runner_up_distance: float | None = None
    strangers_as_near: int | None = None
    found: Face | None = None
    note: str = ""
    error: str = ""
    pixels: Pixels | None = None
    vector: FloatArray | None = None

    @property
    def member(self) -> bool:
        """Whether it is taken for somebody."""
        return bool(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``box`` is left, top, right and bottom, ``points`` (x, y) by name, in pixels of the
        photo as it is shown upright."""
        found = self.found
        return {
            "file": self.file, "face": self.face, "faces": self.faces, "name": self.name, "member": self.member,
            "nearest": self.nearest, "distance": self.distance, "runner_up": self.runner_up,
            "runner_up_distance": self.runner_up_distance, "strangers_as_near": self.strangers_as_near,
            "note": self.note,
            "box": box_values(found),
            "points": None if found is None else dict(zip(POINTS, map(_rounded, found.points), strict=False)),
            "error": self.error,
        }  # fmt: skip


def box_values(found: Face | None) -> dict[str, float] | None:
    """Sides of a face's box as plain values."""
    return None if found is None else dict(zip(BOX, _rounded(found.box), strict=True))


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 1) for value in values]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``Sighting.to_dict`` for a table: a column for each side of the box and each coordinate."""
    box, points = row["box"] or {}, row["points"] or {}
    columns = {side: box.get(side) for side in BOX}
    for point in POINTS:
        x, y = points.get(point, (None, None))
        columns |= {f"{point}_x": x, f"{point}_y": y}
    kept = {key: value for key, value in row.items() if key not in ("box", "points", "error")}
    return {**kept, **columns, "error": row["error"]}


def sightings(
    model: FaceModel, gallery: Gallery, files: Sequence[str], framing: Framing, device: torch.device,
    progress: Progress | None = None, limit: float | None = None,
) -> Iterator[Sighting]:  # fmt: skip
    """Every face on the photos (without a detector: the photo as it is), in the order of the files.

    Args:
        limit: squared distance below which a face is taken for a member's; the gallery's threshold if None.

    Raises UserError where the gallery is empty, or has no threshold and no limit is given.
    """
    if not len(gallery):
        raise UserError("gallery", "there is nobody in it.", do="Enrol people: scalesearch faces enroll FOLDER")
    if limit is None:
        if gallery.threshold is None:
            raise UserError("gallery", "it has no threshold yet.")
        limit = gallery.threshold.distance
    for start in range(0, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        shots = read_shots(chunk, framing, _shifted(progress, start, len(files)))
        errors = {**dict(shots.unreadable), **dict.fromkeys(shots.faceless, NO_FACE)}
        vectors = model.vectors(shots.pixels, device)
        distances = person_distances(gallery, vectors)
        for row, file in enumerate(chunk):
            places = np.flatnonzero(shots.rows == row)
            if not len(places):
                yield Sighting(file, error=errors.get(file, NO_FACE))
                continue
            named = assigned(distances[places], limit)
            for face, (place, person) in enumerate(zip(places.tolist(), named, strict=True), start=1):
                order = np.argsort(distances[place], kind="stable")[:2].tolist()
                if person is not None and person != order[0]:
                    order[1] = person
                own = order[0] if person is None else person
                near_enough = person is None and float(distances[place, own]) < limit
                note = f"{gallery.names[own]} is on it already" if near_enough else ""
                near = [(gallery.names[one], float(distances[place, one])) for one in order]
                nearest, runner_up = near[0], (near[1] if len(near) > 1 else ("", None))
                yield Sighting(
                    file, face, len(places), "" if person is None else gallery.names[person], nearest[0], nearest[1],
                    runner_up[0], runner_up[1], int(strangers_as_near(gallery, distances[place, [own]])[0]),
                    shots.faces[place], note, "", shots.pixels[place], vectors[place],
                )  # fmt: skip


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def assigned(distances: FloatArray, limit: float) -> list[int | None]:
    """Whom each face of one photo is taken for: nobody twice, nobody from ``limit`` on.

    Of all ways to do so the one that leaves the most nearness, the sum of limit − distance over the faces that are
    named. A face whose nearest member is somebody else on the photo may be the next one, where that is near enough.

    Args:
        distances: (faces, people).
    """
    if len(distances) == 1:
        nearest = int(distances[0].argmin())
        return [nearest if distances[0, nearest] < limit else None]
    from scipy.optimize import linear_sum_assignment  # comes with the extra, as the detector does

    gains = np.maximum(limit - distances.astype(np.float64), 0)
    rows, people = linear_sum_assignment(gains, maximize=True)
    chosen = {int(row): int(person) for row, person in zip(rows, people, strict=True) if gains[row, person] > 0}
    return [chosen.get(row) for row in range(len(distances))]
