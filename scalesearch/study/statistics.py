"""The winner set: the candidates that the data cannot tell from the best one, at a stated level.

Every candidate was judged on the same validation images, so comparisons are paired image by image. Two things vary:
which images were drawn (bootstrap over images, the same draw for all candidates) and the training's seed. A seed's
effect beyond what its images show is estimated from the networks trained more than once, pooled over all of them.

A candidate is in the set unless some other one beats it: its largest studentised gap to another one exceeds the level's
quantile of that same maximum under resampling. So the candidate that is truly best is left out with probability
1 − level at most, however many candidates there are (multiple comparisons with the best: Hsu 1984, Ann. Statist. 12(3);
bootstrap over crossed factors: Owen 2007, Ann. Appl. Stat. 1(2)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import ScaleSearchError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
LEVEL = 0.9
DRAWS = 2000
TINY = 1e-12  # error of a gap that is the same on every image


@dataclass(frozen=True)
class SeedSpread:
    """Standard deviation of an accuracy between seeds, beyond what the images show, and its degrees of freedom."""

    sd: float
    freedom: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of ``n`` candidates: scores and how they would move if images and seeds were drawn again.

    Args:
        scores: mean score over seeds, (n,).
        deviations: of each resampled score from ``scores``, (draws, n); a row is one draw for all.
        seeds: trainings behind each score, (n,).
        image: what one validation image is worth in score; less than that is no evidence.
        spread: between seeds; None while no network has been trained twice, so that nothing is known of it.
    """

    scores: Floats
    deviations: Floats
    seeds: NDArray[np.int64]
    image: float
    spread: SeedSpread | None

    def interval(self, place: int, level: float = 0.95) -> tuple[float, float]:
        """A candidate's score and how far it reaches: percentiles of its resampled values."""
        tails = np.quantile(self.deviations[:, place], [(1 - level) / 2, (1 + level) / 2])
        return float(self.scores[place] + tails[0]), float(self.scores[place] + tails[1])

    def gap(self, better: int, worse: int, level: float = 0.95) -> tuple[float, float, float]:
        """Score of one minus score of the other, and its interval."""
        gaps = self.deviations[:, better] - self.deviations[:, worse]
        low, high = np.quantile(gaps, [(1 - level) / 2, (1 + level) / 2])
        gap = float(self.scores[better] - self.scores[worse])
        return gap, gap + float(low), gap + float(high)


def weigh(
    correct: Sequence[Bools], factors: Sequence[float], spread: SeedSpread | None, draws: int = DRAWS, seed: int = 0
) -> Evidence:
    """Resamples images and seeds.

    Args:
        correct: for each candidate, which images it got right: (its seeds, images), the same images for all.
        factors: what turns each accuracy into a score, (FLOPS / T)^−0.07; all 1 compares accuracies.
        spread: between seeds, of these networks or of others trained alike (``seed_spread``); None leaves it out.
        seed: of the resampling; the same values in, the same evidence out.

    Raises:
        ScaleSearchError: no candidate, no image, or candidates judged on different numbers of images.
    """
    sizes = {one.shape[1] for one in correct}
    if len(sizes) != 1 or 0 in sizes or any(len(one) == 0 for one in correct):
        raise ScaleSearchError(f"candidates must be judged on the same images, at least one (found {sorted(sizes)})")
    (images,) = sizes
    rng = np.random.default_rng(seed)
    means = np.stack([one.mean(axis=0, dtype=np.float64) for one in correct])  # (n, images)
    accuracies = means.mean(axis=1)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws) / images
    deviations = weights @ means.T - accuracies
    seeds = np.array([len(one) for one in correct])
    if spread is not None:
        # few degrees of freedom: the deviation itself is uncertain, so it is drawn, too
        sd = spread.sd * np.sqrt(spread.freedom / rng.chisquare(spread.freedom, size=(draws, 1)))
        deviations += sd * rng.standard_normal(deviations.shape) / np.sqrt(seeds)
    scale = np.asarray(factors, dtype=np.float64)
    return Evidence(accuracies * scale, deviations * scale, seeds, float(scale.max()) / images, spread)


def seed_spread(correct: Sequence[Bools]) -> SeedSpread | None:
    """Spread between seeds beyond binomial noise of the images, pooled over networks; None with one seed each.

    The accuracy of a run varies with its seed for two reasons: single images flip, which the bootstrap over images
    already carries, and the whole network is better or worse. The flips' share of the variance is taken off.

    Args:
        correct: for each network, which images it got right: (its seeds, images).
    """
    excess, freedom = 0.0, 0
    for one in correct:
        count, images = one.shape
        if count > 1:
            flips = one.var(axis=0, ddof=1, dtype=np.float64).mean() / images
            excess += (count - 1) * float(one.mean(axis=1, dtype=np.float64).var(ddof=1) - flips)
            freedom += count - 1
    return SeedSpread(float(np.sqrt(max(0.0, excess / freedom))), freedom) if freedom else None


def not_beaten(evidence: Evidence, level: float = LEVEL) -> Bools:
    """Which candidates are in the winner set, (n,); nobody beats the one with the highest score.

    A gap of less than one image beats nobody: it comes from the cost factor alone.
    """
    count = len(evidence.scores)
    inside = np.ones(count, bool)
    for place in range(count):
        others = np.arange(count) != place
        gaps = evidence.scores[others] - evidence.scores[place]
        better = gaps > evidence.image
        if not better.any():
            continue
        resampled = evidence.deviations[:, others] - evidence.deviations[:, [place]]
        errors = np.maximum(resampled.std(axis=0), TINY)
        limit = np.quantile((resampled / errors).max(axis=1), level)
        inside[place] = (gaps[better] / errors[better]).max() <= max(limit, 0.0)
    return inside
