"""A set of strangers from somebody's own photos: everyone on them who is not enrolled, a folder a person.

Faces are put together by likeness. Strangers who come near a member are what a threshold must be fitted on: a set
without them would promise too few false positives. So a face is left out as a member's only where it is much nearer
than the limit; between that and the limit it is in doubt, and written, too, for people to decide.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageStat

from scalesearch.data.arrays import Progress
from scalesearch.data.image import read_rgb
from scalesearch.data.source import UnreadableImageError
from scalesearch.faces.album import box_of, by_photo, created, unlike
from scalesearch.faces.detection import LARGEST_SIDE, Detector, reduced
from scalesearch.faces.drawing import Box
from scalesearch.faces.identification import Sighting
from scalesearch.faces.likeness import groups

# of the limit; of LFW 94 % of the members' photos were nearer than that, and one in 626 of strangers' photos
SURE = 0.7
STRANGER, DOUBT = "stranger", "doubt"
WIDENED = (1.0, 0.6, 0.3)  # of the box's own size, on each side
OVERLAP = 0.5  # shared by two boxes of one face, of what they cover together
ATTEMPTS = 3  # at making the others on a crop unrecognisable
QUALITY = 95


@dataclass(frozen=True, eq=False)
class StrangerGroup:
    """Faces that are taken for one person's.

    Args:
        folder: "stranger001", or "doubt001" where one of them is nearer to a member than the limit.
        faces: nearest to a member first.
    """

    folder: str
    faces: tuple[Sighting, ...]

    @property
    def nearest(self) -> Sighting:
        """The face that is nearest to a member."""
        return self.faces[0]

    @property
    def doubtful(self) -> bool:
        """Whether it may be a member."""
        return self.folder.startswith(DOUBT)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        nearest = self.nearest
        return {
            "folder": self.folder, "doubtful": self.doubtful, "nearest": nearest.nearest, "distance": nearest.distance,
            "faces": [{"file": one.file, "face": one.face, "distance": one.distance} for one in self.faces],
        }  # fmt: skip


def not_members(seen: Iterable[Sighting], limit: float) -> list[Sighting]:
    """The faces that are no member's beyond doubt."""
    return [one for one in seen if one.vector is not None and _distance(one) >= SURE * limit]


def _distance(one: Sighting) -> float:
    assert one.distance is not None
    return one.distance


def grouped(faces: Sequence[Sighting], limit: float, alike: float) -> list[StrangerGroup]:
    """The faces by person, groups that are nearest to a member first.

    Args:
        faces: with their vectors.
        limit: below which a face is taken for a member's.
        alike: below which two faces show one person.
    """
    if not faces:
        return []
    labels = groups(np.stack([one.vector for one in faces if one.vector is not None]), alike)
    people: dict[int, list[Sighting]] = {}
    for one, label in zip(faces, labels.tolist(), strict=True):
        people.setdefault(label, []).append(one)
    ordered = sorted((tuple(sorted(own, key=_distance)) for own in people.values()), key=lambda own: _distance(own[0]))
    counts = {DOUBT: 0, STRANGER: 0}
    named = []
    digits = max(3, len(str(len(ordered))))
    for own in ordered:
        kind = DOUBT if _distance(own[0]) < limit else STRANGER
        counts[kind] += 1
        named.append(StrangerGroup(f"{kind}{counts[kind]:0{digits}d}", own))
    return named


@dataclass(frozen=True, eq=False)
class Written:
    """What became of the groups: those that have a photo, and how many faces could not be cut out."""

    groups: tuple[StrangerGroup, ...]
    lost: int


def write_groups(
    folder: Path, found: Sequence[StrangerGroup], seen: Iterable[Sighting], detect: Detector | None,
    progress: Progress | None = None,
) -> Written:  # fmt: skip
    """A folder for each group with a crop of each face, in which nobody else can be found.

    Args:
        seen: all faces of the photos, those of members among them.
        detect: as the enrolment will find the faces; None where it takes photos as they are.

    Raises UserError where they cannot be written.
    """
    around = by_photo(seen)
    group_of = {id(one): group for group in found for one in group.faces}
    photos = by_photo(one for group in found for one in group.faces)
    taken: set[str] = set()
    written: set[int] = set()
    for number, (file, faces) in enumerate(photos.items(), start=1):
        try:
            photo = read_rgb(file)
        except UnreadableImageError:  # it has changed since it was looked at
            continue
        for one in faces:
            others = [other.found.box for other in around[file] if other.face != one.face and other.found is not None]
            if (cut := cut_out(photo, box_of(one, photo.size), others, detect)) is None:
                continue
            kind = ".png" if detect is None else ".jpg"
            place = unlike(PurePath(group_of[id(one)].folder, PurePath(file).stem + kind), taken)
            with created(folder / place) as target:
                target.write(cut)
            written.add(id(one))
        if progress is not None:
            progress(number, len(photos))
    kept = [replace(one, faces=tuple(face for face in one.faces if id(face) in written)) for one in found]
    return Written(tuple(one for one in kept if one.faces), len(group_of) - len(written))


def cut_out(photo: Image.Image, box: Box, others: Sequence[Box], detect: Detector | None) -> bytes | None:
    """A face with its surroundings, in which it is the only one found, as a JPEG; None where that cannot be had.

    Without a detector what is in the box, as a PNG.

    Other faces are painted over: whoever is enrolled by the crop must not be taken for somebody beside them.

    Args:
        box: of the face; ``others``: of the other faces on the photo.
    """
    if detect is None:
        return _encoded(photo.crop(_whole(box)), "PNG")
    alone = _without(photo, box, others)
    for share in WIDENED:
        around = _widened(box, share, photo.size)
        crop = alone.crop(_whole(around))
        cut = reduced(crop, LARGEST_SIDE / max(crop.size))
        ratio = cut.width / crop.width
        left, top = _whole(around)[:2]
        own = (ratio * (box[0] - left), ratio * (box[1] - top), ratio * (box[2] - left), ratio * (box[3] - top))
        for _ in range(ATTEMPTS):
            content = _encoded(cut, "JPEG")
            with Image.open(io.BytesIO(content)) as kept:  # what the enrolment will see
                boxes = [face.box for face in detect(kept.convert("RGB"))]
            strange = [one for one in boxes if _overlap(one, own) < OVERLAP]
            if len(strange) == len(boxes):
                break
            if not strange:
                return content
            cut = _without(cut, own, strange)
    return None


def _encoded(cut: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    cut.save(content, kind, quality=QUALITY, subsampling=0)
    return content.getvalue()


def _whole(box: Box) -> tuple[int, int, int, int]:
    return round(box[0]), round(box[1]), round(box[2]), round(box[3])


def _widened(box: Box, share: float, size: tuple[int, int]) -> Box:
    """The box with so much of its own width and height more on each side, as far as the photo goes."""
    left, top, right, bottom = box
    x, y = share * (right - left), share * (bottom - top)
    return max(0.0, left - x), max(0.0, top - y), min(float(size[0]), right + x), min(float(size[1]), bottom + y)


def _without(photo: Image.Image, box: Box, others: Sequence[Box]) -> Image.Image:
    """The photo with the faces ``others`` painted over, but for what of them lies in ``box``."""
    painted, pen = photo.copy(), None
    kept = _whole(_widened(box, 0.0, photo.size))
    for other in others:
        area = _whole(_widened(other, 0.1, photo.size))
        if area[0] < area[2] and area[1] < area[3]:
            pen = pen or ImageDraw.Draw(painted)
            red, green, blue = (round(value) for value in ImageStat.Stat(photo.crop(area)).mean)
            pen.rectangle(area, fill=(red, green, blue))
    painted.paste(photo.crop(kept), kept[:2])
    return painted


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    shared = max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1])
    )
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / both if both > 0 else 0.0
