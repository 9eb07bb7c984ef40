"""Whether a network's probabilities can be believed: those of its first guesses, against the share that is right."""

from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from scalesearch.study.posterior import Floats32
from scalesearch.study.statistics import Bools, Interval
from scalesearch.units import MINUS, show_percent

BINS = 15
Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Calibration:
    """Reliability of the first guesses.

    Args:
        ece: expected calibration error with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation 3).
        confidence, accuracy: means in each bin; NaN in an empty one.
        images: how many guesses fall into each.
        gap: mean probability minus accuracy, with a 95 % interval for other images: above 0 is overconfident.
    """

    ece: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    images: tuple[int, ...]
    gap: Interval

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; None for an empty bin."""
        return {
            "ece": self.ece, "images": list(self.images),
            "confidence": [None if value != value else value for value in self.confidence],
            "accuracy": [None if value != value else value for value in self.accuracy],
            "gap": asdict(self.gap),
        }  # fmt: skip


def calibration(right: Bools, probabilities: Floats32, bins: int = BINS) -> Calibration:
    """Of n images: whether the first guess was right, and the probability it was given; both (n,), or (seeds, n).

    >>> calibration(np.array([True, False]), np.array([0.9, 0.9], np.float32)).ece.__round__(3)
    0.4
    """
    hits, stated = right.astype(float), probabilities.astype(float)
    place = np.clip((stated * bins).astype(int), 0, bins - 1).ravel()
    counts = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights.ravel(), minlength=bins) for weights in (stated, hits))
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (total / counts for total in sums)
    gaps = np.where(counts > 0, np.abs(confidence - accuracy), 0)
    return Calibration(
        float((gaps * counts).sum() / counts.sum()), tuple(confidence.tolist()), tuple(accuracy.tolist()),
        tuple(counts.tolist()), _gap(np.atleast_2d(hits), np.atleast_2d(stated)),
    )  # fmt: skip


def _gap(hits: np.ndarray, stated: np.ndarray) -> Interval:
    """Mean probability minus accuracy, of (seeds, images), with a normal interval for other images.

    Where nearly all guesses are right, what the images show varies less than what they are drawn from: the variance is
    at least the one that the stated probabilities themselves give a guess, p(1 − p).
    """
    of_images = (stated - hits).mean(axis=0)
    mean, images = float(of_images.mean()), len(of_images)
    variance = max(float(of_images.var()), float((stated * (1 - stated)).mean()))
    half = Z95 * (variance / images) ** 0.5
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))


def advice(found: Calibration) -> str:
    """What to make of it, in a sentence or two."""
    gap, points = found.gap, f"{100 * abs(found.gap.value):.1f} points"
    low, high = sorted((abs(gap.low), abs(gap.high)))
    between = f"{points} (95 %: {100 * low:.1f} to {100 * high:.1f})"
    error = f"Expected calibration error: {show_percent(found.ece)}."
    if gap.low > 0:
        return (
            f"It is surer than it should be: stated probabilities lie {between} above the share that is right. {error} "
            "Before you act on its probabilities, divide its logits by a temperature chosen on images of your own."
        )
    if gap.high < 0:
        return (
            f"It is less sure than it may be: stated probabilities lie {between} below the share that is right. "
            f"{error} Label smoothing can do that; a temperature chosen on images of your own mends it."
        )
    numbers = f"{100 * gap.value:.1f} points, 95 %: {100 * gap.low:.1f} to {100 * gap.high:.1f}".replace("-", MINUS)
    return f"That its probabilities are too high or too low on average is not shown (difference {numbers}). {error}"
