"""Faces found on a photo and cut out alike: turned, scaled and moved so that eyes, nose and mouth lie where a body
expects them.

Faces are found by MTCNN with the weights that come inside facenet-pytorch (Zhang, Zhang, Li & Qiao 2016,
arXiv:1604.02878). Nothing is downloaded and no photo leaves the process.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from scalesearch.data.arrays import Pixels
from scalesearch.faces import missing_extra

LARGEST_SIDE = 1024  # pixels; larger photos are looked at reduced
SMALLEST_FACE = 24  # pixels, on the photo as it is looked at
SURE = 0.95  # the detector's own probability, below which a find does not count
BEYOND_DOUBT = 0.999  # faces seen the wrong way up stay below it (benchmarks/faces/detect.py)
RIM = 0.25  # of the short side
SMALLEST_SIDE = 32
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left and right on the upright photo
EYES = 2  # how many of them
SMALLEST_TURN = 1e-6
Point = tuple[float, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Face:
    """One face on a photo, in its pixels.

    Args:
        box: left, top, right, bottom.
        points: (x, y) of the five ``POINTS``, or of the eyes alone.
        probability: the detector's own.
    """

    box: tuple[float, float, float, float]
    points: tuple[Point, ...]
    probability: float

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return max(0.0, self.box[2] - self.box[0]) * max(0.0, self.box[3] - self.box[1])


Detector = Callable[[Image.Image], list[Face]]


def detector() -> Detector:
    """Photo → its faces, largest first.

    A photo on which no face is found beyond doubt is tried on its sides and on its head, too: the first way up that
    shows one counts, failing that the one that shows most faces. Raises UserError where the extra ``faces`` is not
    installed.
    """
    try:
        from facenet_pytorch import MTCNN
    except ImportError:
        raise missing_extra("facenet-pytorch") from None
    if importlib.util.find_spec("scipy") is None:  # names the faces of a photo that shows several
        raise missing_extra("scipy")
    network = MTCNN(keep_all=True, device="cpu", min_face_size=SMALLEST_FACE)

    def standing(photo: Image.Image) -> list[Face]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own, of ragged arrays
            boxes, probabilities, points = network.detect(photo, landmarks=True)
        if boxes is None:
            return []
        return [
            Face(_four(box), tuple((float(x), float(y)) for x, y in marks), float(probability))
            for box, marks, probability in zip(boxes, points, probabilities, strict=True)
            if probability >= SURE
        ]

    def detect(photo: Image.Image) -> list[Face]:
        seen = reduced(photo, LARGEST_SIDE / max(photo.size))
        if min(photo.size) < SMALLEST_SIDE or min(seen.size) < SMALLEST_FACE:  # the library stumbles over a strip
            return []
        ratio = (photo.width / seen.width, photo.height / seen.height)
        ground, rim = _bordered(seen)
        best, turns = standing(ground), 0
        for turned in range(1, 4):
            if any(face.probability >= BEYOND_DOUBT for face in best):
                break
            found = standing(ground.rotate(90 * turned, expand=True))
            if len(found) > len(best) or any(face.probability >= BEYOND_DOUBT for face in found):
                best, turns = found, turned

        def on_photo(point: Point) -> Point:
            x, y = _turned_back(point, ground.size, turns)
            return ((x - rim) * ratio[0], (y - rim) * ratio[1])

        return sorted((_moved(face, on_photo) for face in best), key=lambda face: -face.area)

    return detect


def _bordered(photo: Image.Image) -> tuple[Image.Image, int]:
    """The photo with its border repeated around it, and how wide: the detector bends faces that touch the border."""
    rim = round(RIM * min(photo.size))
    pixels = np.pad(np.asarray(photo), ((rim, rim), (rim, rim), (0, 0)), mode="edge")
    return Image.fromarray(pixels), rim


def _four(box: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom


def _turned_back(point: Point, size: tuple[int, int], turns: int) -> Point:
    """A point of a photo of ``size`` after so many quarter turns against the clock, on the photo as it was."""
    (x, y), (width, height) = point, size
    return ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]


def _moved(face: Face, move: Callable[[Point], Point]) -> Face:
    (left, top), (right, bottom) = move(face.box[:2]), move(face.box[2:])
    box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    return Face(box, tuple(map(move, face.points)), face.probability)


def reduced(photo: Image.Image, scale: float) -> Image.Image:
    """Where the scale is below 1."""
    if scale >= 1:
        return photo
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.BOX)


@dataclass(frozen=True)
class Template:
    """Where a body expects a face.

    Args:
        points: (x, y) of the five ``POINTS``, or of the eyes alone, as shares of the side; none where the detector's
            box is stretched to the square.
    """

    points: tuple[Point, ...] = ()


def moved(template: Template, eyes: tuple[Point, Point]) -> Template:
    """The template turned, scaled and moved so that its eyes lie at ``eyes``; to a millionth, for bodies are known by
    it, on machines that round otherwise, too."""
    given, wanted = _complex(template.points[:EYES]), _complex(eyes)
    turn, shift = similarity(given, wanted)
    points = turn * _complex(template.points) + shift
    return Template(tuple((round(float(z.real), 6), round(float(z.imag), 6)) for z in points))


def similarity(given: Any, wanted: Any) -> tuple[complex, complex]:
    """Turn with scale, and shift, that take complex points nearest to others (least squares): w ≈ turn · z + shift."""
    z, w = given - given.mean(), wanted - wanted.mean()
    norm = float(np.square(np.abs(z)).sum())
    turn = complex((z.conj() * w).sum() / norm) if norm else 0j
    turn = turn if abs(turn) > SMALLEST_TURN else 1 + 0j  # points at one place say nothing of turn and scale
    return turn, complex(wanted.mean() - turn * given.mean())


def _complex(points: Any) -> Any:
    values = np.asarray(points, dtype=np.float64)
    return values[:, 0] + 1j * values[:, 1]


# of 112 px, as ArcFace's training crops have them (Deng et al. 2019, arXiv:1801.07698; insightface)
ARCFACE = Template(tuple((x / 112, y / 112) for x, y in (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)
)))  # fmt: skip
# where dlib's crops (padding 0.25) have the eyes; nose and mouth as far from them as ArcFace's
DLIB = moved(ARCFACE, ((0.318, 0.314), (0.668, 0.314)))
# the eyes' median place on the training crops of lfw_faces, cut by hand-set coordinates from photos aligned otherwise
CLOSE_EYES = Template(((0.32, 0.43), (0.68, 0.43)))
CLOSE = moved(ARCFACE, ((0.32, 0.43), (0.68, 0.43)))
BOX = Template()
TEMPLATES = {"arcface": ARCFACE, "dlib": DLIB, "close": CLOSE, "box": BOX}


def aligned(photo: Image.Image, face: Face, size_px: int, template: Template) -> Pixels:
    """The face cut out as the template has it: uint8 (S, S, 3).

    By as many points as both have: five, else the eyes. What lies beyond the photo is black. The photo is reduced first
    where the face is large, so that nothing aliases.
    """
    matrix = to_photo(face, size_px, template)
    step = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # pixels of the photo for one of the crop
    seen = reduced(photo, 2.0 / max(step, 1e-9))
    scale = np.array(seen.size) / np.array(photo.size)
    values = tuple((matrix * scale[:, None]).reshape(-1).tolist())
    cut = seen.transform((size_px, size_px), Image.Transform.AFFINE, values, Image.Resampling.BICUBIC)
    return np.asarray(cut, dtype=np.uint8)


def to_photo(face: Face, size_px: int, template: Template) -> Floats:
    """The map (2, 3) from the crop's pixels to the photo's."""
    if not template.points:
        return _box_to_photo(face, size_px)
    count = min(len(template.points), len(face.points))
    # nearest on the photo, as dlib cuts its chips; ArcFace's authors have it nearest on the crop, which makes faces
    # smaller: by 1.6 % on half of LFW's photos, by more than 8 % on one in a hundred
    wanted = _complex(template.points[:count]) * size_px
    turn, shift = similarity(wanted, _complex(face.points[:count]))
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _box_to_photo(face: Face, size_px: int) -> Floats:
    """The box stretched to the square, by quarter turns so that the eyes are nearest to level and upright."""
    left, top, right, bottom = face.box
    eyes = _complex(face.points[:EYES])
    quarter = round(float(np.angle(eyes[1] - eyes[0])) / (np.pi / 2)) % 4
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
    width, height = (right - left, bottom - top) if quarter % 2 == 0 else (bottom - top, right - left)
    turned = np.array([[cos * width, -sin * height], [sin * width, cos * height]]) / size_px
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    return np.column_stack((turned, middle - turned.sum(1) * size_px / 2))
