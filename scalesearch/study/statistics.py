"""Every interval of the project, and the tests that rest on resampling. NumPy only.

Networks are judged on the same images, so they are compared image by image. Two things might have come out otherwise:
which images were drawn (bootstrap over images, the same draw for all networks) and the seed of a training. What a seed
moves beyond its single images is estimated from the networks trained more than once, pooled over all of them
(bootstrap over crossed factors: Owen 2007, Ann. Appl. Stat. 1(2)).

The test: a candidate is left in unless some other one beats it, that is unless its largest studentised gap to
another one exceeds the level's quantile of that same maximum under resampling. So the candidate that is truly best is
left out with probability 1 − level at most, however many candidates there are (multiple comparisons with the best:
Hsu 1984, Ann. Statist. 12(3)).

A threshold on distances is put at the k-th smallest of m stranger photos' distances. For photos drawn independently the
rate at which others come nearer then follows Beta(k, m + 1 − k) exactly, whatever the distances' distribution (an order
statistic of uniform numbers), with mean k/(m + 1); and the number among n further photos a beta-binomial distribution.

Photos of one stranger resemble each other, so they count as fewer: m is divided by the design effect 1 + (c − 1)·r,
where c is the mean number of photos that a photo's stranger has and r the correlation between the distances of one
stranger's photos (intraclass, of their normal scores). In the tail that matters, photos are less correlated than
over all, so this errs towards wide intervals.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalesearch.errors import ScaleSearchError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Range = tuple[float, float]  # of an interval: low, high
LEVEL = 0.9  # of the set that holds the best
LEVEL_95 = 0.95  # of every interval that is printed
SEED_SD_FLOOR = 0.002  # between seeds beyond single images, of an accuracy near one half; less near 0 and 1
DRAWS = 2000
PEOPLE_DRAWS, PAIR_DRAWS, THRESHOLD_DRAWS = 4000, 500, 20_000
CARRIED_SDS = (0.002, 0.004, 0.008, 0.016, 0.032)  # of true scores within a size
CARRIED_DRAWS, CARRIED_FREEDOM = 4000, 6
CORRELATIONS = tuple(-1 + (2 * place + 1) / 20 for place in range(20))  # middles of twenty equal parts
VAGUE_MEAN = 0.3  # standard deviation of the prior of a size's mean
DISAGREEMENT = 0.2  # of images, on which exactly one of two networks of a search is right
TINY = 1e-12  # error of a gap that is the same on every image
_AT_ONCE = 128  # draws made, and images summed, in one go


@dataclass(frozen=True)
class Interval:
    """A value and the interval it comes with; what the interval means is said where it is made."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=2)
def image_draws(images: int, draws: int = DRAWS, seed: int = 0) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Bootstrap draws of images: made once for each number of images, the same in every process.

    Returns:
        How often each image is drawn, (images, draws), and the generator's state after drawing, for what follows. A
        count takes a byte: that an image is drawn 256 times has a probability below 1e-500.
    """
    rng, counts = np.random.default_rng(seed), np.empty((images, draws), np.uint8)
    shares = np.full(images, 1 / images)
    for start in range(0, draws, _AT_ONCE):  # the same stream as all at once, without eight bytes a count
        some = min(_AT_ONCE, draws - start)
        counts[:, start : start + some] = rng.multinomial(images, shares, size=some).T
    return counts, dict(rng.bit_generator.state)


@dataclass(frozen=True, eq=False)
class Sample:
    """What the trainings of one network showed on the same images.

    Args:
        accuracy: mean over seeds.
        resampled: the mean accuracy if the images were drawn again, (draws,).
        seeds, images: behind it.
        excess: variance of the accuracy between seeds less what flips of single images explain, 0 with one seed.
    """

    accuracy: float
    resampled: Floats
    seeds: int
    images: int
    excess: float


def resample(right: Bools, draws: int = DRAWS) -> Floats:
    """The share of images that are right in each draw of the images; ``right`` is of one training, (images,)."""
    (counts, _), sums, places = image_draws(len(right), draws), np.zeros(draws, np.int64), np.flatnonzero(right)
    for start in range(0, len(places), _AT_ONCE):  # that many bytes add up to less than 2^16
        sums += np.add.reduce(counts[places[start : start + _AT_ONCE]], axis=0, dtype=np.uint16)
    return sums / len(right)


def sample(correct: Bools, resampled: Sequence[Floats] = (), draws: int = DRAWS) -> Sample:
    """The trainings of one network put together.

    Args:
        correct: which images each got right, (seeds, images).
        resampled: of ``resample``, one for each seed, where they are known already.

    Raises:
        ScaleSearchError: no training, or no image.
    """
    seeds, images = correct.shape
    if not correct.size:
        raise ScaleSearchError("networks must be judged on at least one image")
    columns = list(resampled) or [resample(one, draws) for one in correct]
    accuracies = correct.mean(axis=1, dtype=np.float64)
    excess = 0.0
    if seeds > 1:
        flips = correct.var(axis=0, ddof=1, dtype=np.float64).mean() / images
        excess = float(accuracies.var(ddof=1) - flips)
    return Sample(float(accuracies.mean()), np.mean(columns, axis=0), seeds, images, excess)


@dataclass(frozen=True)
class SeedSpread:
    """Standard deviation of an accuracy between seeds, beyond what the images show, and its degrees of freedom."""

    sd: float
    freedom: int


def seed_spread(samples: Sequence[Sample]) -> SeedSpread | None:
    """Spread between seeds beyond binomial noise of the images, pooled over networks; None with one seed each.

    The accuracy of a run varies with its seed for two reasons: single images flip, which the bootstrap over images
    already carries, and the whole network is better or worse. The flips' share of the variance is taken off.
    """
    freedom = sum(one.seeds - 1 for one in samples)
    excess = sum((one.seeds - 1) * one.excess for one in samples)
    if not freedom:
        return None
    unit = float(np.mean([2 * np.sqrt(one.accuracy * (1 - one.accuracy)) for one in samples]))
    return SeedSpread(max(SEED_SD_FLOOR * unit, float(np.sqrt(max(0.0, excess / freedom)))), freedom)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of ``n`` networks: scores and how they would move if images and seeds were drawn again.

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

    def interval(self, place: int, level: float = LEVEL_95) -> Interval:
        """A network's score and how far it reaches: percentiles of its resampled values."""
        return percentiles(float(self.scores[place]), self.scores[place] + self.deviations[:, place], level)

    def gap(self, better: int, worse: int, level: float = LEVEL_95) -> Interval:
        """Score of one minus score of the other, paired image by image."""
        gap = float(self.scores[better] - self.scores[worse])
        return percentiles(gap, gap + self.deviations[:, better] - self.deviations[:, worse], level)

    def part(self, places: slice | Sequence[int]) -> "Evidence":
        """The same draws for some of the networks."""
        kept = np.arange(len(self.scores))[places]
        return replace(self, scores=self.scores[kept], deviations=self.deviations[:, kept], seeds=self.seeds[kept])


def percentiles(value: float, draws: Floats, level: float = LEVEL_95) -> Interval:
    """A value with the percentiles of its resampled values; draws that are not defined (NaN) are left out."""
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def weigh(
    samples: Sequence[Sample], factors: Sequence[float], spread: SeedSpread | None, groups: Sequence[int] | None = None
) -> Evidence:  # fmt: skip
    """Networks put side by side, each with the seeds' part drawn for itself, or for its group.

    Args:
        samples: of each network, all of the same images.
        factors: what turns each accuracy into a score, (FLOPS / T)^−0.07; all 1 compares accuracies.
        spread: between seeds, of these networks or of others trained alike (``seed_spread``); None leaves it out.
        groups: a number for each network; those of one number share the seeds' part, as networks might that inherit
            from one another. None: each is for itself.

    Raises:
        ScaleSearchError: no network, or networks judged on different numbers of images.
    """
    sizes = {(one.images, len(one.resampled)) for one in samples}
    if len(sizes) != 1:
        shown = sorted(images for images, _ in sizes)
        raise ScaleSearchError(f"networks must be judged on the same images, not on {shown} of them")
    ((images, draws),) = sizes
    accuracies, scale = np.array([one.accuracy for one in samples]), np.asarray(factors, dtype=np.float64)
    deviations = np.stack([one.resampled for one in samples], axis=1) - accuracies
    seeds = np.array([one.seeds for one in samples])
    if spread is not None:
        rng = np.random.default_rng()
        _, rng.bit_generator.state = image_draws(images, draws)
        # few degrees of freedom: the deviation itself is uncertain, so it is drawn, too
        sd = spread.sd * np.sqrt(spread.freedom / rng.chisquare(spread.freedom, size=(draws, 1)))
        drawn = rng.standard_normal(deviations.shape)
        own = drawn if groups is None else drawn[:, [list(groups).index(group) for group in groups]]
        deviations += sd * own / np.sqrt(seeds)
    return Evidence(accuracies * scale, deviations * scale, seeds, float(scale.max()) / images, spread)


def contrasts(
    views: Sequence[Evidence], weights: ArrayLike, *, together: bool, level: float = LEVEL_95
) -> tuple[Interval, ...]:  # fmt: skip
    """Linear combinations of scores, each with its interval: as far to either side as its draws deviate.

    Claims that are made together hold all at once with ``level``: each reaches as far as it would alone, times one
    factor, the level's quantile of the largest deviation of any of them in these units (max-t with balanced intervals:
    Westfall & Young 1993; Beran 1988, JASA 83(403)). Quantiles, not standard deviations, are the units, since with few
    seeds the draws have no variance.

    Args:
        views: the same networks with their seeds' parts drawn independently, and drawn in common where they may be
            correlated. A combination's variance is linear in that correlation, so the wider interval holds whatever it
            is.
        weights: (claims, n), of each network in each combination.
        together: whether the claims are made together; else each interval is for itself.
    """
    rows = np.atleast_2d(np.asarray(weights, np.float64))
    if not rows.size:
        return ()
    values, reaches = rows @ views[0].scores, []
    for view in views:
        sizes = np.abs(view.deviations @ rows.T)
        alone = np.maximum(np.quantile(sizes, level, axis=0), TINY)
        reaches.append(alone * (max(1.0, np.quantile((sizes / alone).max(axis=1), level)) if together else 1.0))
    widest = np.max(reaches, axis=0)
    return tuple(
        Interval(value, value - reach, value + reach)
        for value, reach in zip(values.tolist(), widest.tolist(), strict=True)
    )


def not_beaten(evidence: Evidence, level: float = LEVEL) -> Bools:
    """Which candidates nobody beats, (n,); the one with the highest score is never beaten.

    A gap of less than one image beats nobody: it comes from the cost factor alone.
    """
    scores, columns = evidence.scores, np.ascontiguousarray(evidence.deviations.T)
    errors = _gap_errors(columns)
    inside = np.ones(len(scores), bool)
    for place, score in enumerate(scores):
        gaps = scores - score
        studentised = np.where(gaps > evidence.image, gaps / errors[place], 0.0)
        nearest = int(studentised.argmax())
        if not studentised[nearest]:
            continue
        # the maximum over all others is at least that over any one of them, so one quantile may settle it
        alone = (columns[nearest] - columns[place]) / errors[place, nearest]
        if studentised[nearest] > np.quantile(alone, level):
            resampled = (columns - columns[place]) / errors[place, :, None]
            resampled[place] = -np.inf
            inside[place] = studentised[nearest] <= max(np.quantile(resampled.max(axis=0), level), 0.0)
    return inside


def _gap_errors(columns: Floats) -> Floats:
    """Standard deviations of the differences between all pairs of rows of (n, draws), (n, n), never 0."""
    centred = columns - columns.mean(axis=1, keepdims=True)
    products = centred @ centred.T / columns.shape[1]
    own = products.diagonal()
    errors: Floats = np.sqrt(np.maximum(own[:, None] + own - 2 * products, TINY**2))
    return errors


def wilson_interval(correct: float, total: float, level: float = LEVEL_95) -> Interval:
    """A proportion with Wilson's score interval, without continuity correction (Wilson 1927, JASA 22(158)).

    Args:
        correct: successes, 0 to ``total``.
        total: trials, at least 1; neither need be whole, where trials that depend on one another count as fewer.
        level: coverage, between 0 and 1.

    >>> interval = wilson_interval(81, 263)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.2553, 0.3662)
    """
    if not 0 <= correct <= total or total < 1 or not 0 < level < 1:
        raise ValueError(f"no interval for {correct} of {total} at level {level}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, scale = correct / total, 1 + z * z / total
    middle = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    # at 0 and 1 they are equal but for the last binary digit
    low, high = max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
    return Interval(share, min(share, low), max(share, high))


def difference_error(images: int) -> float:
    """Standard error that so many images leave in the difference of two networks' accuracies, if exactly one of the two
    is right on a fifth of them."""
    return math.sqrt(DISAGREEMENT / images)


def images_for(error: float) -> int:
    """How many images leave no more than that: the inverse of ``difference_error``."""
    return math.ceil(round(DISAGREEMENT / error**2, 6))


def accuracy_interval(correct: Bools) -> Interval:
    """The mean accuracy of one network's trainings with its 95 % interval: how far it reaches for other images.

    The seeds share their images, so their hits are not independent: k seeds are worth between one and k times the
    images. How many they are worth follows from the variance of each image's mean over the seeds (the design effect;
    Korn & Graubard 1998, Survey Methodology 24(2)), and Wilson's interval is taken for so many. With one seed it is
    Wilson's of the images. That other seeds would come out otherwise is not in it: it is in a score's interval.

    Args:
        correct: which images each training got right, (seeds, images).
    """
    seeds, images = correct.shape
    means = correct.mean(axis=0, dtype=np.float64)
    accuracy, variance = float(means.mean()), float(means.var())
    binomial = accuracy * (1 - accuracy)
    # where all images are right, or none, nothing shows that the seeds differ
    worth = 1.0 if seeds == 1 or not binomial else min(float(seeds), binomial / variance if variance else math.inf)
    return wilson_interval(accuracy * images * worth, images * worth)


def kendall_tau(first: Floats, second: Floats) -> Floats:
    """Kendall's τ-b between the last axes of two arrays, (…, n) each; NaN where one side is all ties.

    τ-b = (concordant − discordant pairs) / √(pairs untied in the first × pairs untied in the second)
    (Kendall 1945, Biometrika 33(3)).
    """
    left, right = np.triu_indices(first.shape[-1], 1)
    signs = [np.sign(scores[..., left] - scores[..., right]) for scores in (first, second)]
    untied = [(sign != 0).sum(axis=-1) for sign in signs]
    with np.errstate(invalid="ignore"):
        tau: Floats = (signs[0] * signs[1]).sum(axis=-1) / np.sqrt(untied[0] * untied[1])
    return tau


def rank_agreement(first: Evidence, second: Evidence) -> Interval | None:
    """τ-b between the scores at two sizes, and percentiles of it over the draws; None where τ is not defined.

    The interval says how far τ would move with other images and seeds, for these networks. Noise shuffles close
    networks and so pulls τ towards 0, in the measured τ and once more in each draw: an interval above 0 shows
    agreement, but the true τ may lie above its upper end, and one around 0 does not show that there is none
    (simulated: 94–97 % coverage where the orders are unrelated, hardly any where they are the same and the networks
    close). ``repeat_tau`` says what could be had at best.

    Args:
        first, second: of the same networks in the same order, drawn together (parts of one ``weigh``).
    """
    tau = float(kendall_tau(first.scores, second.scores)) if len(first.scores) > 1 else np.nan
    if np.isnan(tau):
        return None
    return percentiles(tau, kendall_tau(first.scores + first.deviations, second.scores + second.deviations))


def repeat_tau(evidence: Evidence) -> float | None:
    """The mean τ-b between two draws of the same networks: what one size would agree with itself, trained again.

    A yardstick for ``rank_agreement``; a little too high, since the measured scores, which spread wider than the true
    ones, stand for them. None where τ is not defined.
    """
    if len(evidence.scores) < 2:
        return None
    draws = evidence.scores + evidence.deviations
    taus = kendall_tau(draws, np.roll(draws, 1, axis=0))
    return None if np.isnan(taus).all() else float(np.nanmean(taus))


@dataclass(frozen=True)
class Carried:
    """Whether what is better at one size is better at another, as a joint model of both sizes believes.

    Args:
        correlation: of the networks' true scores at both sizes, with its 95 % interval: 1 carries over, 0 says nothing.
        positive: probability that it is above 0.
        loss, bound: at the other size, what the best one's score is expected to be above the recommended one's, and
            what that stays below with 90 %; None without a recommended one.
    """

    correlation: Interval
    positive: float
    loss: float | None
    bound: float | None


def carried(both: Evidence, recommended: int | None) -> Carried | None:
    """The joint posterior of networks' true scores at two sizes; None for fewer than three networks.

    (θ₁, θ₂) of a network is Gaussian about the means of the sizes, with standard deviations t₁ and t₂ and correlation
    ρ, flat on grids; measured scores have the covariance of ``both``'s draws, in which images are shared and seeds are
    not. Closed-form for each (t₁, t₂, ρ), so noise does not pull ρ towards 0 as it does with measured scores.
    In simulations the interval holds ρ in 95 to 100 % of worlds, and the bound the loss in 80 to 90 %.

    Args:
        both: the networks at one size, then the same at the other, drawn together (``weigh``).
        recommended: its place among the networks.
    """
    n = len(both.scores) // 2
    if n < 3:
        return None
    noise = np.cov(both.deviations.T) + TINY * np.eye(2 * n)
    design = np.kron(np.eye(2), np.ones((n, 1)))
    centred = both.scores - design @ both.scores.reshape(2, n).mean(axis=1)
    rng, grid = np.random.default_rng(0), list(itertools.product(CARRIED_SDS, CARRIED_SDS, CORRELATIONS))
    weights, means, covariances = [], [], []
    for first, second, rho in grid:
        own = np.array([[first**2, rho * first * second], [rho * first * second, second**2]])
        prior = np.kron(own, np.eye(n)) + VAGUE_MEAN**2 * design @ design.T
        total = prior + noise
        gain = np.linalg.solve(total, prior).T
        _, log_volume = np.linalg.slogdet(total)
        weights.append(-0.5 * (log_volume + centred @ np.linalg.solve(total, centred)))
        means.append(gain @ centred)
        covariances.append(prior - gain @ prior)
    shares = np.exp(np.array(weights) - max(weights))
    counts = rng.multinomial(CARRIED_DRAWS, shares / shares.sum())
    rhos = np.repeat([rho for _, _, rho in grid], counts)
    # noise is known by few seeds: draws have Student's tails
    wide = np.sqrt(CARRIED_FREEDOM / rng.chisquare(CARRIED_FREEDOM, (CARRIED_DRAWS, 1)))
    drawn = [(i, count) for i, count in enumerate(counts.tolist()) if count]
    around = [rng.multivariate_normal(np.zeros(2 * n), covariances[i], count, method="eigh") for i, count in drawn]
    draws = np.repeat(means, counts, axis=0)[:, n:] + wide * np.concatenate(around)[:, n:]
    losses = None if recommended is None else draws.max(axis=1) - draws[:, recommended]
    return Carried(
        percentiles(float(rhos.mean()), rhos), float((rhos > 0).mean()),
        None if losses is None else float(losses.mean()), None if losses is None else float(np.quantile(losses, LEVEL)),
    )  # fmt: skip


@dataclass(frozen=True)
class Regret:
    """What was lost by taking the recommended network.

    Args:
        against: place of the best among the others.
        value: its score minus the recommended one's; 0 where the recommended one is the best itself.
        gap, low, high: that difference as it is, negative where the recommended one leads, and its 95 % interval,
            paired by image.
    """

    against: int
    value: float
    gap: float
    low: float
    high: float


def regret(evidence: Evidence, recommended: int) -> Regret | None:
    """The best other network's score minus the recommended one's; None where there is no other.

    The interval is that of the two networks' paired difference. It takes the better one as given, though it was picked
    by its score: among near equals the regret is biased upwards, so it may be read as a bound.

    Args:
        recommended: its place.
    """
    others = [place for place in range(len(evidence.scores)) if place != recommended]
    if not others:
        return None
    against = max(others, key=lambda place: evidence.scores[place])
    gap = evidence.gap(against, recommended)
    return Regret(against, max(0.0, gap.value), gap.value, gap.low, gap.high)


def people_interval(values: ArrayLike, people: Ints, *, level: float = LEVEL_95) -> Range:
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
    return _quantiles(sums[drawn].sum(1) / counts[drawn].sum(1), level)


@dataclass(frozen=True)
class Gain:
    """Two ways to recognise people, compared on the same photos; intervals of 95 %, people resampled.

    Args:
        first, second: share recognised, with its interval.
        difference: of the second over the first.
    """

    first: Interval
    second: Interval
    difference: Interval


def recognition_gain(
    right: Bools, distances: Floats, strangers: Floats, people: Ints, others: Ints, fpir: float,
    draws: int = PAIR_DRAWS,
) -> Gain:  # fmt: skip
    """Members' photos recognised where a share ``fpir`` of the strangers' photos gets in, one way against another.

    Members and strangers are resampled with all their photos, the same ones for both ways, and the limit is found anew
    each time: what is uncertain about it counts, too.

    Args:
        right: (2, n), whether the nearest member is the one on the photo, by each way; ``distances`` to them: (2, n).
        strangers: (2, m), how near each stranger's photo comes; without any, everything counts that is right.
        people, others: int64 (n,) and (m,), who is on the photos.
    """
    rng = np.random.default_rng(0)
    groups, stranger_groups = (np.unique(one, return_inverse=True)[1] for one in (people, others))
    order = np.argsort(strangers, axis=1, kind="stable")
    ordered = np.take_along_axis(strangers, order, axis=1)

    def shares(weights: Floats, stranger_weights: Floats) -> list[float]:
        """Of each way; weights (n,) and (m,): how often a photo counts."""
        found = []
        for way in range(2):
            limit = np.inf
            if strangers.shape[1]:
                passed = np.cumsum(stranger_weights[order[way]])
                beyond = int(np.searchsorted(passed, fpir * passed[-1] + 1e-9, side="right"))
                limit = ordered[way, min(beyond, len(passed) - 1)]
            inside = right[way] & (distances[way] < limit)
            found.append(float((weights * inside).sum() / weights.sum()))
        return found

    def drawn(places: Ints) -> Floats:
        count = int(places.max()) + 1 if len(places) else 0
        return np.bincount(rng.integers(0, count, count), minlength=count)[places].astype(float)

    values = shares(np.ones(len(people)), np.ones(len(others)))
    resampled = np.array([shares(drawn(groups), drawn(stranger_groups)) for _ in range(draws)])
    # where no draw differs from another, as many people as there are may hide so large a share, and no larger
    least, _ = people_interval(np.ones(len(people)), people)
    first, second = (
        Interval(value, *((least, 1.0) if (column == 1).all() else (0.0, 1 - least)))
        if np.ptp(column) == 0 and value in (0, 1) else percentiles(value, column)
        for value, column in zip(values, resampled.T, strict=True)
    )  # fmt: skip
    gaps = resampled[:, 1] - resampled[:, 0]
    gap = percentiles(values[1] - values[0], gaps) if gaps.any() else Interval(0.0, least - 1, 1 - least)
    return Gain(first, second, gap)


def accepted_interval(distances: Numbers, first: Ints, second: Ints, far: float, *, draws: int = PAIR_DRAWS) -> Range:
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
    return _quantiles(np.array(shares))


def design_effect(distances: Numbers, people: Ints) -> float:
    """How many photos count as one: 1 + (c − 1)·r, at least 1 (Kish 1965, Survey Sampling, section 5.4)."""
    _, counts = np.unique(people, return_counts=True)
    mean_size = float((counts.astype(float) ** 2).sum() / counts.sum())
    return 1 + (mean_size - 1) * intraclass_correlation(distances, people)


def intraclass_correlation(distances: Numbers, people: Ints) -> float:
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


def long_run_interval(place: int, count: int, effect: float, level: float = LEVEL_95) -> Range:
    """Of the rate at the ``place``-th smallest of ``count`` distances: quantiles of Beta(k, m + 1 − k)."""
    return _quantiles(_rates(place, count, effect, np.random.default_rng(0)), level)


def next_interval(
    place: int, count: int, effect: float, further: int, further_effect: float, level: float = LEVEL_95
) -> Range:
    """Of the rate among ``further`` photos: of their beta-binomial distribution, by draws with a fixed seed."""
    rng = np.random.default_rng(0)
    worth = max(1, round(further / further_effect))
    return _quantiles(rng.binomial(worth, _rates(place, count, effect, rng)) / worth, level)


def _rates(place: int, count: int, effect: float, rng: np.random.Generator) -> Floats:
    return rng.beta(place / effect, (count + 1 - place) / effect, THRESHOLD_DRAWS)


def _quantiles(values: Numbers, level: float = LEVEL_95) -> Range:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
