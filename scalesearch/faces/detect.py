"""Faces found on photos and turned upright, by MTCNN with the weights that come inside facenet-pytorch.

Zhang, Zhang, Li & Qiao 2016, arXiv:1604.02878. Nothing is downloaded and no photo leaves the process.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from scalesearch.data.arrays import Pixels
from scalesearch.faces.objective import missing_extra

# where the eyes come to lie, as shares of the side: their median place on the training crops of lfw_faces, which were
# cut by hand-set coordinates from photos aligned by another method (deep funneling)
EYES = ((0.32, 0.43), (0.68, 0.43))
LARGEST_SIDE = 1024  # pixels; larger photos are looked at reduced
SMALLEST_FACE = 24  # pixels, on the photo as it is looked at
SURE = 0.95  # the detector's own probability, below which a find does not count
SMALLEST_SIDE = 32


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
        return _detected(network, photo)

    return detect


def _detected(network: Any, photo: Image.Image) -> list[Face]:
    if min(photo.size) < SMALLEST_SIDE:
        return []
    scale = min(1.0, LARGEST_SIDE / max(photo.size))
    seen = photo if scale == 1.0 else photo.resize(_scaled(photo.size, scale), Image.Resampling.BOX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, of ragged arrays
        boxes, sure, points = network.detect(seen, landmarks=True)
    if boxes is None:
        return []
    ratio = np.array(photo.size) / np.array(seen.size)
    found: list[Face] = [
        _face(np.asarray(box, dtype=float), np.asarray(marks, dtype=float), float(probability), ratio)
        for box, marks, probability in zip(boxes, points, sure, strict=True)
    ]
    return sorted((face for face in found if face.probability >= SURE), key=lambda face: -face.area)


def _scaled(size: tuple[int, int], scale: Any) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


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
    scale = min(1.0, 2.0 * across / distance)
    seen = photo if scale == 1.0 else photo.resize(_scaled(photo.size, scale), Image.Resampling.BOX)
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
