"""From which distance on somebody is not a member: fitted on strangers, with the error it will have on others.

A stranger photo is let in by mistake (a false positive) when it lies nearer to the gallery than the threshold. Of m
stranger photos the threshold is put at the k-th smallest distance, k = ⌊rate·(m + 1)⌋; what is nearer than it is a
member. For photos drawn independently the rate it will have in the long run then follows Beta(k, m + 1 − k) exactly,
whatever the distances' distribution (an order statistic of uniform numbers), with mean k/(m + 1); and the number among
n further photos a beta-binomial distribution.

Photos of one stranger resemble each other, so they count as fewer: m is divided by the design effect 1 + (c − 1)·r,
where c is the mean number of photos that a photo's stranger has and r the correlation between the distances of one
stranger's photos (intraclass, of their normal scores). In the tail that matters, photos are less correlated than
over all, so this errs towards wide intervals.
"""

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from scalesearch.data.source import IntArray
from scalesearch.errors import UserError

Distances = npt.NDArray[np.float64] | npt.NDArray[np.float32]
LEVEL = 0.95
DRAWS = 20_000


@dataclass(frozen=True)
class Threshold:
    """A distance and what is known of it.

    Args:
        distance: squared, 0 to 4; a photo nearer to a member than this is taken for that member.
        fpir: the false-positive rate asked for.
        expected: the rate to expect of it, k/(m + 1); above ``fpir`` where there are too few photos for that.
        photos, people: strangers it was fitted on.
        effective: photos that those are worth, being several of one person.
        low, high: 95 % interval of the rate in the long run, over all strangers.
        low_next, high_next: 95 % interval of the rate among as many further photos, of strangers like these.
        basis: "strangers", or "members" where each member in turn stood for a stranger.
    """

    distance: float
    fpir: float
    expected: float
    photos: int
    people: int
    effective: float
    low: float
    high: float
    low_next: float
    high_next: float
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``Threshold(**values)`` reads them back."""
        return asdict(self)


def fit_threshold(distances: Distances, people: IntArray, fpir: float, basis: str = "strangers") -> Threshold:
    """The threshold for a false-positive rate.

    Args:
        distances: (m,), of each stranger photo to the member nearest to it.
        people: int64 (m,), who is on it.
        fpir: the rate asked for, between 0 and 1.

    Raises UserError for a rate out of range, or fewer than two photos.
    """
    check_rate(fpir)
    count = len(distances)
    if count < 2:
        raise UserError("strangers", f"{count} photo(s)", "two or more", "Bring photos of people who are no members.")
    place = max(1, math.floor(fpir * (count + 1) + 1e-9))
    effect = design_effect(distances, people)
    effective = count / effect
    low, high = long_run_interval(place, count, effect)
    low_next, high_next = next_interval(place, count, effect, count, effect)
    return Threshold(
        float(np.sort(distances)[place - 1]), fpir, place / (count + 1), count, len(np.unique(people)), effective,
        low, high, low_next, high_next, basis,
    )  # fmt: skip


def check_rate(fpir: float) -> None:
    """Raises UserError for a false-positive rate out of range."""
    if not 0 < fpir < 1:
        raise UserError("--fpir", f"{fpir:g}", "a rate between 0 and 1, such as 0.01")


def design_effect(distances: Distances, people: IntArray) -> float:
    """How many photos count as one: 1 + (c − 1)·r, at least 1 (Kish 1965, Survey Sampling, section 5.4)."""
    _, counts = np.unique(people, return_counts=True)
    mean_size = float((counts.astype(float) ** 2).sum() / counts.sum())
    return 1 + (mean_size - 1) * intraclass_correlation(distances, people)


def intraclass_correlation(distances: Distances, people: IntArray) -> float:
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


def long_run_interval(place: int, count: int, effect: float, level: float = LEVEL) -> tuple[float, float]:
    """Of the rate at the ``place``-th smallest of ``count`` distances: quantiles of Beta(k, m + 1 − k)."""
    return _quantiles(_rates(place, count, effect, np.random.default_rng(0)), level)


def next_interval(
    place: int, count: int, effect: float, further: int, further_effect: float, level: float = LEVEL
) -> tuple[float, float]:
    """Of the rate among ``further`` photos: of their beta-binomial distribution, by draws with a fixed seed."""
    rng = np.random.default_rng(0)
    worth = max(1, round(further / further_effect))
    return _quantiles(rng.binomial(worth, _rates(place, count, effect, rng)) / worth, level)


def _rates(place: int, count: int, effect: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.beta(place / effect, (count + 1 - place) / effect, DRAWS)


def _quantiles(values: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
