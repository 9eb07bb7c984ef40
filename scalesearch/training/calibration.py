"""How far a network's probabilities can be believed, in numpy alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Reliability of the first guesses.

    Args:
        ece: expected calibration error with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation 3).
        confidence, accuracy: means in each bin; NaN in an empty one.
        images: how many fall into each.
    """

    ece: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    images: tuple[int, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; None for an empty bin."""
        return {
            "ece": self.ece, "images": list(self.images),
            "confidence": [None if value != value else value for value in self.confidence],
            "accuracy": [None if value != value else value for value in self.accuracy],
        }  # fmt: skip


def calibration(right: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float32], bins: int = BINS) -> Calibration:
    """Of n images: whether the first guess was right, and the probability it was given; both (n,).

    >>> calibration(np.array([True, False]), np.array([0.9, 0.9], np.float32)).ece.__round__(3)
    0.4
    """
    place = np.clip((probabilities * bins).astype(int), 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = (
        np.bincount(place, weights, minlength=bins) for weights in (probabilities.astype(float), right.astype(float))
    )
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (total / counts for total in sums)
    gaps = np.where(counts > 0, np.abs(confidence - accuracy), 0)
    return Calibration(
        float((gaps * counts).sum() / counts.sum()), tuple(confidence.tolist()), tuple(accuracy.tolist()),
        tuple(counts.tolist()),
    )  # fmt: skip
