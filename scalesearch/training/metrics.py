"""Statistics of predictions, in numpy alone."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction (Wilson, 1927).

    Args:
        correct: successes, 0 to ``total``.
        total: trials, at least 1.
        level: coverage, between 0 and 1.

    >>> [round(bound, 4) for bound in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    """
    if not 0 <= correct <= total or total < 1 or not 0 < level < 1:
        raise ValueError(f"no interval for {correct} of {total} at level {level}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / total
    middle = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    scale = 1 + z * z / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def confusion(labels: Labels, predictions: Labels, classes: int) -> Labels:
    """Counts (classes, classes): row the true class, column the predicted one. Raises ValueError on foreign classes."""
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be of one length")
    for values in (labels, predictions):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"classes from {values.min()} to {values.max()} found, 0 to {classes - 1} expected")
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_accuracy(counts: Labels) -> npt.NDArray[np.float64]:
    """Share of each true class predicted right, from ``confusion``; NaN for a class without images."""
    totals = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    np.divide(counts.diagonal(), totals, out=shares, where=totals > 0)
    return shares
