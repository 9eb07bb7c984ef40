"""Whether a training was worth it: the body as it was against the trained one, on photos that it did not see."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from scalesearch.faces.gallery import Gallery, add, empty_gallery, search
from scalesearch.faces.model import FaceModel, FloatArray
from scalesearch.faces.photos import Crowd
from scalesearch.study.statistics import Gain, recognition_gain

FPIR, FPIR_OF_FEW = 0.01, 0.1
FEW_PHOTOS = 99  # of strangers: with fewer, 1 % is less than one of them, and the nearest alone would decide
ENOUGH_PEOPLE, ENOUGH_STRANGERS = 6, 10  # of fewer, all may differ in one direction by chance


@dataclass(frozen=True)
class Judgement:
    """The body as it was (first) against the trained one (second).

    Args:
        gain: shares of the members' photos that are recognised where the share ``fpir`` of the strangers' get in.
        photos, people: members' photos that were judged on, and members.
        stranger_photos, strangers: likewise; 0 where there were none: then the nearest member counts alone.
    """

    gain: Gain
    photos: int
    people: int
    stranger_photos: int
    strangers: int
    fpir: float = FPIR

    @property
    def better(self) -> bool:
        """Whether the trained one is better beyond chance."""
        return self.enough and self.gain.difference.low > 0

    @property
    def enough(self) -> bool:
        """Whether there are people enough to tell."""
        return self.people >= ENOUGH_PEOPLE and not 0 < self.strangers < ENOUGH_STRANGERS

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "better": self.better, "enough": self.enough}


def judged(
    frozen: FaceModel, trained: FaceModel, enrolled: Crowd, shown: Crowd, strangers: Crowd | None, device: torch.device
) -> Judgement:
    """Enrols members by the photos that were trained on, and shows others of theirs and strangers to both.

    Args:
        enrolled, shown: photos of the same people; everybody who is shown is enrolled.
    """
    others = strangers if strangers is not None else _nobody(shown)
    truth = np.array([enrolled.names.index(name) for name in shown.names], np.int64)[shown.labels]
    right, distances, nearest = [], [], []
    for model in (frozen, trained):
        gallery = _gallery(enrolled, model.vectors(enrolled.pixels, device))
        found = search(gallery, model.vectors(shown.pixels, device))
        right.append(found.people == truth)
        distances.append(found.distances)
        nearest.append(search(gallery, model.vectors(others.pixels, device)).distances)
    fpir = FPIR if len(others) >= FEW_PHOTOS else FPIR_OF_FEW
    gain = recognition_gain(
        np.stack(right), np.stack(distances).astype(float), np.stack(nearest).astype(float), shown.labels,
        others.labels, fpir,
    )  # fmt: skip
    return Judgement(gain, len(shown), len(shown.names), len(others), len(others.names), fpir)


def _gallery(crowd: Crowd, vectors: FloatArray) -> Gallery:
    gallery = empty_gallery("", vectors.shape[1])
    for label, name in enumerate(crowd.names):
        gallery = add(gallery, name, vectors[crowd.labels == label])
    return gallery


def _nobody(crowd: Crowd) -> Crowd:
    return Crowd((), crowd.pixels[:0], np.zeros(0, np.int64), (), ())
