"""Every interval that is printed: of shares of images, of means over people, of a threshold's error. Pure numpy.

A threshold on distances is put at the k-th smallest of m stranger photos' distances. For photos drawn independently the
rate at which others come nearer then follows Beta(k, m + 1 − k) exactly, whatever the distances' distribution (an order
statistic of uniform numbers), with mean k/(m + 1); and the number among n further photos a beta-binomial distribution.

Photos of one stranger resemble each other, so they count as fewer: m is divided by the design effect 1 + (c − 1)·r,
where c is the mean number of photos that a photo's stranger has and r the correlation between the distances of one
stranger's photos (intraclass, of their normal scores). In the tail that matters, photos are less correlated than
over all, so this errs towards wide intervals.
"""

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]
LEVEL = 0.95
PEOPLE_DRAWS, PAIR_DRAWS, THRESHOLD_DRAWS = 4000, 500, 20_000


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


def people_interval(values: npt.ArrayLike, people: Ints, *, level: float = LEVEL) -> Interval:
    """Interval of a mean over photos when people are resampled with all their photos.

    Where all are 0 or all 1 there is nothing to resample: then it is the exact binomial one (Clopper & Pearson 1934)
    with people for trials.

    Args:
        values: (n,), one a photo.
        people: int64 (n,), who is on it.
    """
    _, groups = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(groups, np.asarray(values, float)), np.bincount(groups)
    end = 1 - ((1 - level) / 2) ** (1 / len(sums))  # where none of so many happened
    if not sums.any():
        return 0.0, end
    if np.array_equal(sums, counts):
        return 1 - end, 1.0
    drawn = np.random.default_rng(0).integers(0, len(sums), (PEOPLE_DRAWS, len(sums)))
    return _middle(sums[drawn].sum(1) / counts[drawn].sum(1), level)


def accepted_interval(distances: Floats, first: Ints, second: Ints, far: float, *, draws: int = PAIR_DRAWS) -> Interval:
    """95 % interval of the share of pairs of one person that are accepted where ``far`` of the pairs of two are.

    People are resampled; a pair counts as often as both its people were drawn.

    Args:
        distances: (n,), of pairs of photos.
        first, second: int64 (n,), who is on them.
    """
    order = np.argsort(distances, kind="stable")
    people, places = np.unique(np.concatenate((first[order], second[order])), return_inverse=True)
    left, right = places[: len(order)], places[len(order) :]
    same = left == right
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people)).astype(np.float32)
        weights = np.where(same, times[left], times[left] * times[right])
        accepted = np.cumsum(np.where(same, 0, weights))
        stop = int(np.searchsorted(accepted, far * accepted[-1], side="right"))
        total = float(weights[same].sum())
        shares.append(float(weights[:stop][same[:stop]].sum()) / total if total else 0.0)
    return _middle(np.array(shares))


def design_effect(distances: Floats, people: Ints) -> float:
    """How many photos count as one: 1 + (c − 1)·r, at least 1 (Kish 1965, Survey Sampling, section 5.4)."""
    _, counts = np.unique(people, return_counts=True)
    mean_size = float((counts.astype(float) ** 2).sum() / counts.sum())
    return 1 + (mean_size - 1) * intraclass_correlation(distances, people)


def intraclass_correlation(distances: Floats, people: Ints) -> float:
    """Of the distances' normal scores, by one-way analysis of variance; between 0 and 1, 1 where it cannot be told."""
    count = len(distances)
    _, groups, counts = np.unique(people, return_inverse=True, return_counts=True)
    k = len(counts)
    if k < 2 or count == k:
        return 1.0
    ranks = np.argsort(np.argsort(distances, kind="stable"), kind="stable")
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((rank + 0.5) / count) for rank in ranks.tolist()])
    means = np.bincount(groups, scores) / counts
    between = float((counts * (means - scores.mean()) ** 2).sum()) / (k - 1)
    within = float(((scores - means[groups]) ** 2).sum()) / (count - k)
    size = (count - float((counts.astype(float) ** 2).sum()) / count) / (k - 1)
    total = between + (size - 1) * within
    return 1.0 if total <= 0 else min(1.0, max(0.0, (between - within) / total))


def long_run_interval(place: int, count: int, effect: float, level: float = LEVEL) -> Interval:
    """Of the rate at the ``place``-th smallest of ``count`` distances: quantiles of Beta(k, m + 1 − k)."""
    return _middle(_rates(place, count, effect, np.random.default_rng(0)), level)


def next_interval(
    place: int, count: int, effect: float, further: int, further_effect: float, level: float = LEVEL
) -> Interval:
    """Of the rate among ``further`` photos: of their beta-binomial distribution, by draws with a fixed seed."""
    rng = np.random.default_rng(0)
    worth = max(1, round(further / further_effect))
    return _middle(rng.binomial(worth, _rates(place, count, effect, rng)) / worth, level)


def _rates(place: int, count: int, effect: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.beta(place / effect, (count + 1 - place) / effect, THRESHOLD_DRAWS)


def _middle(values: Floats, level: float = LEVEL) -> Interval:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
