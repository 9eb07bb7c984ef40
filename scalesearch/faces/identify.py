"""Who is on photos, as rows for people and programs."""

from collections.abc import Sequence
from typing import Any

import torch

from scalesearch.data.arrays import Progress
from scalesearch.errors import UserError
from scalesearch.faces.detect import Detector
from scalesearch.faces.gallery import Gallery, confidence, search
from scalesearch.faces.model_file import FaceModel
from scalesearch.faces.network import embed
from scalesearch.faces.photos import NO_FACE, read_shots


def identified(
    model: FaceModel,
    gallery: Gallery,
    files: Sequence[str],
    detect: Detector | None,
    device: torch.device,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row for each face (with ``detect`` all faces of a photo, else the photo as it is), in the order of the files.

    Each row: file, face and faces (1, 1 where nothing was looked for), name ("" where nobody is near enough), member,
    nearest (the member who is nearest all the same), distance (squared, 0 to 4), confidence (see
    ``gallery.confidence``), error ("" or why there is nothing).

    Raises UserError where the gallery has no threshold.
    """
    if gallery.threshold is None:
        raise UserError("gallery", "no threshold", "a fitted one")
    shots = read_shots(files, model.network.spec.resolution, detect, every_face=True, progress=progress)
    errors = {**dict(shots.unreadable), **dict.fromkeys(shots.faceless, NO_FACE)}
    rows: list[dict[str, Any]] = []
    of_file: dict[int, list[int]] = {}
    for place, row in enumerate(shots.rows.tolist()):
        of_file.setdefault(row, []).append(place)
    if len(shots.rows):
        found = search(gallery, embed(model.network, shots.pixels, model.statistics, device))
        sure = confidence(gallery, found.distances)
    for number, file in enumerate(files):
        places = of_file.get(number, [])
        if not places:
            rows.append({
                "file": file, "face": 0, "faces": 0, "name": "", "member": False, "nearest": "", "distance": None,
                "confidence": None, "error": errors.get(file, NO_FACE),
            })  # fmt: skip
        for face, place in enumerate(places, start=1):
            nearest, distance = gallery.names[found.people[place]], float(found.distances[place])
            member = distance < gallery.threshold.distance
            rows.append({
                "file": file, "face": face, "faces": len(places), "name": nearest if member else "", "member": member,
                "nearest": nearest, "distance": distance, "confidence": float(sure[place]), "error": "",
            })  # fmt: skip
    return rows
