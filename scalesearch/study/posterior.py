"""What a search knows of every candidate's score after full training: joint draws of a hierarchical model. NumPy only.

::

    score        θ_i  = μ + x_i·b + u_i                    b ~ N(0, s²), u ~ N(0, t²)
    to the end   y_is = θ_i + images_i + g_s + e_is        over the seeds s of candidate i
    early rung   y_is = θ_i + μ_r + x_i·b_r + v_ir + images_ir + e_is,  sd(v) never below DISCREPANCY_FLOOR

x are the features of the networks as trained, images the error that the validation images bring to all networks alike
(its covariance is estimated image by image), e a seed's own. Only trainings to the end decide: of early rungs the
furthest reading of a candidate without a full training counts, through the discrepancy v, and a share DOUBT of the
draws does not look at early rungs at all, so that no early reading makes anybody impossible. Given s, t and the seeds'
standard deviation everything is Gaussian; these are integrated over a grid, and so is whether one candidate stands
apart from all others, so that it neither widens what is believed of them nor is drawn towards them. Seeds are few and
their variance differs between networks: it is pooled towards the common one with FREEDOM degrees of freedom, and draws
are widened to match (Student's t as a scale mixture). Soft scores, where kept, take noise of the images off
(``_softened``). The baseline is no candidate: its score has a wide prior of its own, and so has that of one that ended
far behind the middle one, since it says nothing of how near one another the others are.

The model's choices of numbers are from benchmarks/truth: see ``benchmarks/answers``, which also says how often the sets
and intervals hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import ScaleSearchError
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import (
    LEVEL,
    LEVEL_95,
    SEED_SD_FLOOR,
    TINY,
    Bools,
    Floats,
    Interval,
    Ints,
    percentiles,
)

Floats32 = NDArray[np.float32]
DRAWS = 4000
CARE = 0.8  # of the error that a level allows, what the model is given; see ``careful``
SLOPE_SDS = (0.0, 0.007, 0.02)  # s: of the score, for a doubling in one dimension
EFFECT_SDS, EFFECT_WEIGHTS = (0.0015, 0.003, 0.006, 0.011, 0.02, 0.04), (1.0, 1.0, 1.0, 0.5, 0.25, 0.12)  # t
# median and width of the seeds' log-normal prior, measured 0.6 to 0.8 points on networks of 1M, up to 0.4 on 3M; the
# same at early rungs
SEED_SD, SEED_SD_WIDTH, EARLY_SEED_SD = 0.008, 0.6, 0.0125
# its posterior is integrated at these quantiles with these weights (Gauss-Hermite, three nodes)
SEED_SD_AT, SEED_SD_WEIGHTS = (0.042, 0.5, 0.958), (1 / 6, 2 / 3, 1 / 6)
SHARED_SEED = 0.1  # share of the excess's variance that all networks of a seed have in common; measured 0.1
FREEDOM = 12.0  # of a network's seed variance about the common one
# where no network has two seeds: share of flips between seeds in what an image brings to one network alone, measured
# 0.95, and in all of the variance between images, measured 0.38 to 0.44
FLIPS, FLIPS_ALONE = 0.95, 0.43
DISCREPANCY, DISCREPANCY_FLOOR, DISCREPANCY_FREEDOM = 0.01, 0.006, 4.0  # sd of v, measured to 0.6 points: usual, least
EARLY_SLOPE_SD = 0.02  # of b_r
DOUBT = 0.1  # share of the draws that leave early rungs out
VAGUE = 0.3  # sd of the priors of μ, μ_r, of the baseline and of who is far behind
FAR, FAR_ERRORS = 0.1, 4.0  # behind the middle one by more than this and so many standard errors
# of soft score on accuracy, measured 0.31 to 0.56, and its weight, a sum of squared accuracies
SOFT_SLOPE, SOFT_SLOPE_WEIGHT = 0.5, 5e-4
SOFT_RESIDUAL, SOFT_FREEDOM = 0.0015, 4.0  # sd of a network's soft score about that line, and the weight of this prior
APART, APART_SD = 0.1, 0.05  # probability that one candidate stands apart from all, and how far
NEGLIGIBLE = 1e-3  # weight of a point of the grid against the best one
LEAST_UNIT = 0.2  # of 2 √(p(1 − p)), what accuracies near 0 and 1 vary by against those near one half


@dataclass(frozen=True, eq=False)
class Network:
    """One network of the search, as trained.

    Args:
        number: ``BASELINE`` is the baseline.
        factor: turns its accuracy into its score.
        features: logarithms against the baseline, as trained; as many for all, 0 for the baseline.
    """

    number: int
    factor: float
    features: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """What one training showed on the validation images.

    Args:
        right: which images, (images,).
        soft: 1 − Brier score / 2 of each image, in [0, 1], (images,), where it was kept.
    """

    number: int
    seed: int
    epochs: int
    right: Bools
    soft: Floats32 | None = None


@dataclass(frozen=True, eq=False)
class Gains:
    """How the posterior's covariance answers further full trainings, at the mean of the grid; n networks, m readings.

    Args:
        covariance: of the scores, (n, n).
        gain: the scores' answer to one more unit of each full reading, (n, m).
        precision: of the full readings among themselves, (m, m).
        place: of each network's full reading, −1 where it has none, (n,).
        seeds: full trainings of each network, (n,).
        variance: of one training between seeds, (n,).
        images: variance that a network's own answer to the images adds, which further seeds leave.
    """

    covariance: Floats
    gain: Floats
    precision: Floats
    place: Ints
    seeds: Ints
    variance: Floats
    images: float


def careful(level: float) -> float:
    """The model's probability at which a claim of a level is made.

    The model assumes seeds alike and effects that are nearly normal. In simulated searches (``benchmarks/answers``) its
    plain 90 % sets held the best candidate in 0.91 to 0.97 of them where that is so, in 0.83 to 0.88 where the best
    one's seeds are three times as wild or the candidates fall into two groups; this gives part of that back.
    """
    return 1 - CARE * (1 - level)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Joint draws of the true scores after full training, over the images and seeds that might have been.

    Args:
        numbers: of the networks: every candidate with any reading, and the baseline if it was trained to the end.
        draws: (draws, n).
        seed_sd: between seeds beyond single images, in accuracy, with its 95 % interval.
        gains: what further trainings would tell, for ``study.allocation``.
    """

    numbers: tuple[int, ...]
    draws: Floats
    seed_sd: Interval
    gains: Gains

    @cached_property
    def mean(self) -> Floats:
        """Of each network's score, (n,)."""
        return np.asarray(self.draws.mean(axis=0))

    @property
    def candidates(self) -> tuple[int, ...]:
        """The numbers without the baseline."""
        return tuple(number for number in self.numbers if number != BASELINE)

    def of(self, number: int) -> Floats:
        """A network's draws, (draws,)."""
        return self.draws[:, self.numbers.index(number)]

    def probability_best(self) -> dict[int, float]:
        """Of each candidate, summing to 1."""
        best = np.bincount(self._best, minlength=len(self.candidates)) / len(self.draws)
        return dict(zip(self.candidates, best.tolist(), strict=True))

    def credible_set(self, level: float = LEVEL) -> tuple[int, ...]:
        """The fewest candidates that hold the best one at a level, most probable first."""
        probability = self.probability_best()
        ranked = sorted(probability, key=lambda number: (-probability[number], number))
        reached = np.cumsum([probability[number] for number in ranked])
        return tuple(ranked[: int(np.searchsorted(reached, careful(level) - 1e-9)) + 1])

    def expected_loss(self, choice: int) -> float:
        """What the best candidate's score is expected to be above the choice's."""
        return float(self._losses(choice).mean())

    def loss_bound(self, choice: int, level: float = LEVEL) -> float:
        """What that loss stays below at a level, and no less than what is expected: it may be rare and large."""
        losses = self._losses(choice)
        return float(max(np.quantile(losses, careful(level)), losses.mean()))

    def score(self, number: int, level: float = LEVEL_95) -> Interval:
        """A network's expected score, and where it lies."""
        return _claimed(self.of(number), level)

    def advantage(self, one: int, other: int, level: float = LEVEL_95) -> Interval:
        """Score of one network minus score of the other; selection is accounted for, since all share the model."""
        return _claimed(self.of(one) - self.of(other), level)

    def advantage_over_mean(self, one: int, level: float = LEVEL_95) -> Interval:
        """Score of one candidate minus the mean of all."""
        return _claimed(self.of(one) - self._scores().mean(axis=1), level)

    def equivalents(self, choice: int, tolerance: float) -> tuple[int, ...]:
        """The candidates with which no more than ``tolerance`` is expected to be lost against the choice; it is first.

        What is lost is max(0, score of the choice − score of the candidate), so that a candidate of which little is
        known is no equivalent merely because its mean is near.
        """
        own = self.of(choice)
        lost = {other: float(np.maximum(own - self.of(other), 0.0).mean()) for other in self.candidates}
        near = sorted((other for other in lost if lost[other] <= tolerance), key=lambda other: (lost[other], other))
        return (choice, *(other for other in near if other != choice))

    def region(self, values: Mapping[int, tuple[float, ...]], level: float = LEVEL) -> tuple[Interval, ...]:
        """Where the best candidate's values lie: of each the mean, and the interval that the credible set spans.

        Args:
            values: of each candidate, such as its realised multipliers.
        """
        best = np.array([values[number] for number in self.candidates])[self._best].mean(axis=0)
        members = np.array([values[number] for number in self.credible_set(level)])
        columns = zip(best.tolist(), members.min(axis=0).tolist(), members.max(axis=0).tolist(), strict=True)
        return tuple(Interval(*column) for column in columns)

    def _scores(self) -> Floats:
        """Of the candidates, (draws, candidates)."""
        return self.draws[:, [place for place, number in enumerate(self.numbers) if number != BASELINE]]

    @cached_property
    def _best(self) -> Ints:
        return np.asarray(self._scores().argmax(axis=1))

    @cached_property
    def _highest(self) -> Floats:
        return np.asarray(self._scores().max(axis=1))

    def _losses(self, choice: int) -> Floats:
        return np.asarray(self._highest - self.of(choice))


def _claimed(draws: Floats, level: float) -> Interval:
    return percentiles(float(draws.mean()), draws, careful(level))


@dataclass(frozen=True, eq=False)
class _Reading:
    """The trainings of a network up to a number of epochs, by seed."""

    network: Network
    epochs: int
    shown: tuple[Shown, ...]

    @property
    def ours(self) -> bool:
        return self.network.number != BASELINE


@dataclass(frozen=True, eq=False)
class _Data:
    """What m readings come to, in score.

    Args:
        scores: (m,).
        images: covariance of the scores that drawing other images brings, without what flips between seeds, (m, m).
        seeds: trainings of each, (m,).
        squares: of the trainings' deviations from their mean, summed, (m,).
        flips: variance that flips of single images bring to one training, (m,).
        told: whether the trainings tell of the seeds' spread, (m,).
        unit: score of a point of accuracy near one half, and of less near 0 and 1, (m,).
    """

    scores: Floats
    images: Floats
    seeds: Floats
    squares: Floats
    flips: Floats
    told: Bools
    unit: Floats

    def of(self, rows: Bools) -> "_Data":
        return _Data(
            self.scores[rows], self.images[np.ix_(rows, rows)], self.seeds[rows], self.squares[rows], self.flips[rows],
            self.told[rows], self.unit[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class _Spread:
    """Standard deviation between seeds: its quantiles ``SEED_SD_AT``, and the mean with its 95 % interval."""

    values: tuple[float, ...]
    mean: Interval


def posterior(
    networks: Sequence[Network], trainings: Sequence[Shown], full_epochs: int, draws: int = DRAWS
) -> Posterior | None:
    """The posterior after some trainings, the same for the same trainings in whatever order.

    Args:
        networks: at least those of ``trainings``.
        trainings: that did not fail, all judged on the same images.
        full_epochs: of a training to the end.
        draws: at least some hundred.

    Returns:
        None if no candidate was trained to the end.

    Raises:
        ScaleSearchError: trainings judged on different numbers of images.
    """
    if len({len(one.right) for one in trainings}) > 1:
        raise ScaleSearchError("networks must be judged on the same images")
    full, early = _readings(networks, trainings, full_epochs)
    if not any(reading.ours for reading in full):
        return None
    data, rng = _measured([*full, *early]), np.random.default_rng(0)
    done = {reading.network.number for reading in full}
    readings = [*full, *(reading for reading in early if reading.network.number not in done)]
    known = [network for _, network in sorted({one.network.number: one.network for one in readings}.items())]
    doubting = round(DOUBT * draws) if early else 0
    both = _carried([*full, *early], len(full), data) if early else data
    scores, gains, seed_sd = _solved(known, readings, both, len(full), draws - doubting, rng)
    if doubting:
        alone = data.of(np.arange(len(data.scores)) < len(full))
        scores = np.concatenate((scores, _solved(known, full, alone, len(full), doubting, rng)[0]))
    return Posterior(tuple(network.number for network in known), scores, seed_sd, gains)


def _readings(
    networks: Sequence[Network], trainings: Sequence[Shown], full_epochs: int
) -> tuple[list[_Reading], list[_Reading]]:
    """Those to the end; then the furthest of each candidate without one, with what the others showed in that rung."""
    known = {network.number: network for network in networks}
    shown: dict[tuple[int, int], list[Shown]] = {}
    for one in sorted(trainings, key=lambda one: (one.number, one.epochs, one.seed)):
        shown.setdefault((one.number, one.epochs), []).append(one)
    furthest = {number: epochs for number, epochs in shown if number != BASELINE}
    rungs = set(furthest.values()) - {full_epochs}
    full, early = [], []
    for (number, epochs), group in shown.items():
        reading = _Reading(known[number], epochs, tuple(group))
        if epochs == full_epochs:
            full.append(reading)
        elif epochs in rungs and reading.ours and furthest[number] in (epochs, full_epochs):
            early.append(reading)
    return full, early


def _measured(readings: Sequence[_Reading]) -> _Data:
    """Scores, their covariance from the images and their spread between seeds."""
    factors = np.array([reading.network.factor for reading in readings])
    seeds = np.array([len(reading.shown) for reading in readings], dtype=np.float64)
    ours = np.array([reading.ours for reading in readings])
    rows = _means([[one.right for one in reading.shown] for reading in readings])
    images = rows.shape[1]
    tops = [np.array([np.count_nonzero(one.right) for one in reading.shown]) / images for reading in readings]
    accuracies = np.array([own.mean() for own in tops])
    agreed = _powers(rows) * seeds - accuracies
    # trainings that never agree on what is right, or always, are constant predictors: their spread says nothing
    told = (agreed > 1e-6) & (agreed < (seeds - 1) * accuracies - 1e-6)
    powers, residual = accuracies, 0.0  # mean square of single values, over images and seeds
    if all(one.soft is not None for reading in readings if reading.ours for one in reading.shown):
        tops, rows, powers, residual = _softened(readings, tops, rows)
    means = np.array([own.mean() for own in tops])
    squares = np.array([((own - own.mean()) ** 2).sum() for own in tops])
    single = powers - means**2  # variance between images of one training's values
    flips = seeds * (powers - _powers(rows)) / np.maximum(seeds - 1, 1)
    alike = ours if residual else np.ones(len(readings), bool)  # soft scores are mixed into the candidates' alone
    weights, lone = np.where(told & alike, seeds - 1, 0), alike & (seeds == 1)
    if weights.any():
        usual = float(weights @ flips / (weights @ single))
    else:
        varies = lone.sum() > 1 and single[lone].mean() > TINY  # not where all are right on every image
        usual = FLIPS * _own_error(rows[lone]) * images / single[lone].mean() if varies else FLIPS_ALONE
    # where all images are right the next one may be wrong: as much as Laplace's rule leaves open
    flips = np.maximum(np.where(told, flips, usual * single), FLIPS / (images + 2)) / images
    values, vectors = np.linalg.eigh(_covariance(rows) - np.diag(flips / seeds))
    covariance = vectors * np.maximum(values, 0.0) @ vectors.T + np.diag(residual * ours)
    unit = np.maximum(2 * np.sqrt(accuracies * (1 - accuracies)), LEAST_UNIT) * factors
    return _Data(
        means * factors, covariance * np.outer(factors, factors), seeds, squares * factors**2, flips * factors**2, told,
        unit,
    )  # fmt: skip


def _means(shown: Sequence[Sequence[Bools | Floats32]]) -> Floats32:
    """The mean over each network's trainings, (m, images)."""
    rows = np.empty((len(shown), len(shown[0][0])), np.float32)
    for i, own in enumerate(shown):
        np.divide(np.add.reduce(own, axis=0, dtype=np.float32), len(own), out=rows[i])
    return rows


def _powers(rows: Floats32) -> Floats:
    """Mean square of each row, (m,)."""
    return np.array([float(row @ row) / rows.shape[1] for row in rows])


def _covariance(rows: Floats32) -> Floats:
    """Of the means of rows (m, images) if other images were drawn, (m, m).

    With few images for many rows it is drawn towards one correlation for all pairs.
    """
    count, images = rows.shape
    centred = rows - rows.mean(axis=1, keepdims=True)
    raw = (centred @ centred.T).astype(np.float64) / (images * max(images - 1, 1))
    sd = np.sqrt(np.maximum(raw.diagonal(), TINY))
    pairs = raw / np.outer(sd, sd)
    common = (pairs.sum() - pairs.trace()) / max(count * (count - 1), 1)
    target = np.outer(sd, sd) * (common + (1 - common) * np.eye(count))
    part = count / (count + images)
    return np.asarray((1 - part) * raw + part * target)


def _softened(
    readings: Sequence[_Reading], tops: Sequence[Floats], rows: Floats32
) -> tuple[list[Floats], Floats32, Floats, float]:
    """Accuracies with part of the images' noise taken off by the candidates' soft scores.

    A candidate's value becomes (1 − w)·right + w·(soft − o) / c, with the slope c of soft score on accuracy between
    candidates and the w that leaves the smallest error between two of them, their distances from that line included.
    The candidates' mean accuracy stays what it was, and so does the baseline.

    Args:
        tops: accuracies of each reading's trainings.
        rows: their mean by image, (m, images).

    Returns:
        What became of ``tops`` and ``rows``; the mean square of single values, (m,); and the variance that the
        distances from the line bring.
    """
    kept = [[one.right if one.soft is None else one.soft for one in reading.shown] for reading in readings]
    softs = [np.array([float(one.mean(dtype=np.float64)) for one in own]) for own in kept]
    last = max(reading.epochs for reading in readings)
    full = [i for i, reading in enumerate(readings) if reading.ours and reading.epochs == last]
    powers = np.array([own.mean() for own in tops])
    if len(full) < 2:
        return list(tops), rows, powers, 0.0
    soft = _means(kept)
    x, y = (np.array([own[i].mean() for i in full]) for own in (tops, softs))
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((SOFT_SLOPE * SOFT_SLOPE_WEIGHT + dx @ dy) / (SOFT_SLOPE_WEIGHT + dx @ dx))
    line = soft[full] / np.float32(slope)
    error, line_error, between = (_own_error(one) for one in (rows[full], line, rows[full] - line))
    beyond = max(0.0, float(((dy / slope - dx) ** 2).sum()) - (len(full) - 1) * between)
    residual = (SOFT_FREEDOM * (SOFT_RESIDUAL / slope) ** 2 + beyond) / (SOFT_FREEDOM + len(full) - 1)
    weight = min(max((error + between - line_error) / 2 / (between + residual), 0.0), 1.0)
    offset = weight * float(y.mean() / slope - x.mean())
    a, b = 1 - weight, weight / slope
    values, mixed = list(tops), rows.copy()
    for i, reading in enumerate(readings):
        if reading.ours:
            both = zip(reading.shown, kept[i], strict=True)
            crossed = np.mean([float(one.right.astype(np.float32) @ other) for one, other in both]) / rows.shape[1]
            squared = np.mean([float(other @ other) for other in kept[i]]) / rows.shape[1]
            values[i] = a * tops[i] + b * softs[i] - offset
            mixed[i] = np.float32(a) * rows[i] + np.float32(b) * soft[i] - np.float32(offset)
            powers[i] = (
                a**2 * powers[i] + 2 * a * b * crossed + b**2 * squared - offset * (2 * values[i].mean() + offset)
            )
    return values, mixed, powers, weight**2 * residual


def _own_error(rows: Floats32) -> float:
    """Variance of a network's mean over images (m, images), beside what the images bring to all networks alike."""
    count, images = rows.shape
    own = rows - rows.mean(axis=0)
    return float(own.var(axis=1).mean() * count / (count - 1) / images)


def _spread(data: _Data, usual: float) -> _Spread:
    """Between seeds, in units of ``data.unit``, from the networks that were trained twice and a prior.

    A network's own variance is inverse-χ² about the common one with FREEDOM degrees of freedom, so its squares over the
    common variance follow an F distribution, whose heavy tail keeps one wild network from deciding for all.

    Args:
        usual: median of the prior.
    """
    sd = np.geomspace(SEED_SD_FLOOR, 0.1, 200)
    freedom, squares = (data.seeds - 1)[data.told], data.squares[data.told]
    base = (sd[:, None] * data.unit[data.told]) ** 2 + data.flips[data.told]
    fit = -0.5 * freedom * np.log(base) - 0.5 * (FREEDOM + freedom) * np.log1p(squares / (FREEDOM * base))
    log = fit.sum(axis=1) - 0.5 * (np.log(sd / usual) / SEED_SD_WIDTH) ** 2
    weights = np.exp(log - log.max())
    reached = np.cumsum(weights / weights.sum())
    low, *values, high = (float(sd[np.searchsorted(reached, q)]) for q in (0.025, *SEED_SD_AT, 0.975))
    return _Spread(tuple(values), Interval(float(np.sqrt(weights @ sd**2 / weights.sum())), low, high))


def _variance(data: _Data, sd: float) -> Floats:
    """Of one training of each network, flips of single images included, given the common sd between seeds, (m,)."""
    base = (sd * data.unit) ** 2 + data.flips
    freedom = np.where(data.told, data.seeds - 1, 0.0)
    pooled = (FREEDOM * base + np.where(data.told, data.squares, 0.0)) / (FREEDOM + freedom)
    return np.asarray(np.maximum(pooled, data.flips + (SEED_SD_FLOOR * data.unit) ** 2))


def _solved(
    known: Sequence[Network], readings: Sequence[_Reading], data: _Data, full: int, draws: int, rng: np.random.Generator
) -> tuple[Floats, Gains, Interval]:
    """Draws of the scores of ``known``; of the readings the first ``full`` are to the end.

    Drawn from the prior and moved by what the readings say beyond what the draw would have shown (Matheron's rule).
    """
    ours = np.array([network.number != BASELINE for network in known])
    x = np.array([network.features for network in known], dtype=np.float64).reshape(len(known), -1) * ours[:, None]
    numbers = [network.number for network in known]
    place = np.array([numbers.index(reading.network.number) for reading in readings])
    ends = np.arange(len(readings)) < full
    theirs = ends & ours[place]
    unit, middle = float(data.unit[theirs].mean()), float(data.scores[theirs].mean())
    y = data.scores - middle
    spread = _spread(data.of(ends), SEED_SD)
    noises = [_noise(readings, data, ends, sd) for sd in spread.values]
    vague = VAGUE**2 * (np.outer(ours, ours) + np.outer(~ours, ~ours))
    far = np.isin(np.arange(len(known)), place[_far(data, noises[len(noises) // 2], theirs, unit)])

    def effects(t: float) -> Floats:
        return np.where(far, VAGUE, np.where(ours, t, 0.0))

    def prior(s: float, t: float) -> Floats:
        return np.asarray(vague + s**2 * x @ x.T + np.diag(effects(t) ** 2))

    points = [(s, t, k) for s in SLOPE_SDS for t in EFFECT_SDS for k in range(len(noises))]
    grid = [(s * unit, t * unit, k) for s, t, k in points]
    places = np.flatnonzero(ours)
    picked = (places[:, None] == place).astype(np.float64)
    evidence = np.array([_evidence(y, prior(s, t)[np.ix_(place, place)] + noises[k], picked, unit) for s, t, k in grid])
    evidence += np.log([[SEED_SD_WEIGHTS[k] * EFFECT_WEIGHTS[EFFECT_SDS.index(t)]] for _, t, k in points])
    weights = np.exp(evidence - evidence.max()).ravel()
    weights = np.where(weights > NEGLIGIBLE, weights, 0.0) / weights[weights > NEGLIGIBLE].sum()
    stops = np.rint(np.cumsum(weights) * draws).astype(int)
    roots = [np.linalg.cholesky(noise) for noise in noises]
    own, common = rng.standard_normal((draws, len(known))), rng.standard_normal((draws, x.shape[1] + 2))
    errors = rng.standard_normal((draws, len(readings)))
    freedom = FREEDOM + float((data.seeds[theirs] - 1).mean())
    wide = np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))
    scores = np.empty((draws, len(known)))
    for point in np.flatnonzero(np.diff(stops, prepend=0)).tolist():
        (s, t, k), apart = grid[point // evidence.shape[1]], point % evidence.shape[1]
        at = slice(stops[point - 1] if point else 0, stops[point])
        own_sd = effects(t)
        if apart:
            own_sd[places[apart - 1]] = np.hypot(own_sd[places[apart - 1]], APART_SD * unit)
        covariance = vague + s**2 * x @ x.T + np.diag(own_sd**2)
        drawn = own_sd * own[at] + s * common[at, 2:] @ x.T + VAGUE * np.where(ours, common[at, :1], common[at, 1:2])
        shown = drawn[:, place] + errors[at] @ roots[k].T
        answer = np.linalg.solve(covariance[np.ix_(place, place)] + noises[k], covariance[place])
        scores[at] = middle + y @ answer + (drawn - shown @ answer) * wide[at]
    at_mean = [float(weights.reshape(len(grid), -1).sum(axis=1) @ [point[axis] for point in grid]) for axis in (0, 1)]
    noise = _noise(readings, data, ends, spread.mean.value)
    gains = _gains(prior(*at_mean), noise, data, place, full, _variance(data.of(ends), spread.mean.value))
    return scores, gains, spread.mean


def _far(data: _Data, noise: Floats, theirs: Bools, unit: float) -> Ints:
    """The readings of candidates trained to the end that are far behind the middle one of these, beyond any doubt."""
    rows = np.flatnonzero(theirs)
    middle = rows[np.argsort(data.scores[rows])[len(rows) // 2]]
    errors = np.sqrt(np.maximum(noise[rows, rows] + noise[middle, middle] - 2 * noise[rows, middle], 0.0))
    return np.asarray(rows[data.scores[middle] - data.scores[rows] > FAR * unit + FAR_ERRORS * errors])


def _evidence(y: Floats, covariance: Floats, picked: Floats, unit: float) -> Floats:
    """Log density of the readings and of whom stands apart, but for a constant: nobody, or each candidate alone.

    Args:
        picked: 1 where a reading is a candidate's, (candidates, m).

    Returns:
        (1 + candidates,).
    """
    precision = np.linalg.inv(covariance)
    weighted = precision @ y
    nobody = -np.log(np.linalg.cholesky(covariance).diagonal()).sum() - 0.5 * y @ weighted
    own = 1 + (APART_SD * unit) ** 2 * ((picked @ precision) * picked).sum(axis=1)
    gained = -0.5 * np.log(own) + 0.5 * (APART_SD * unit) ** 2 * (picked @ weighted) ** 2 / own
    return np.asarray(nobody + np.append(np.log(1 - APART), gained + np.log(APART / len(picked))))


def _noise(readings: Sequence[_Reading], data: _Data, ends: Bools, sd: float) -> Floats:
    """Covariance of the readings about the networks' true scores at their epochs, (m, m), given the full ones' sd."""
    epochs = np.array([reading.epochs for reading in readings])
    variance, excess = np.zeros(len(readings)), np.zeros(len(readings))
    for rung in sorted(set(epochs.tolist())):
        rows = epochs == rung
        own = data.of(rows)
        own_sd = sd if ends[rows][0] else _spread(own, EARLY_SEED_SD).mean.value
        variance[rows], excess[rows] = _variance(own, own_sd), own_sd * own.unit
    seeds = sorted({one.seed for reading in readings for one in reading.shown})
    shares = np.array([[any(one.seed == seed for one in reading.shown) for seed in seeds] for reading in readings])
    shares = shares / data.seeds[:, None]
    shared = SHARED_SEED * np.outer(excess, excess) * (shares @ shares.T) * (epochs[:, None] == epochs)
    np.fill_diagonal(shared, 0.0)
    return np.asarray(data.images + np.diag(variance / data.seeds) + shared)


def _carried(readings: Sequence[_Reading], full: int, data: _Data) -> _Data:
    """Early readings of candidates without a full one, as if they were of full trainings; after the ``full`` readings.

    What a rung shows less, μ_r + x·b_r, and how far a candidate is from that, v_r, is estimated from the candidates
    with both; the uncertainty of all three is added to the covariance of what is carried over.
    """
    epochs = np.array([reading.epochs for reading in readings])
    numbers = [reading.network.number for reading in readings]
    done, ends = {number: row for row, number in enumerate(numbers[:full])}, np.arange(len(readings)) < full
    noise = _noise(readings, data, ends, _spread(data.of(ends), SEED_SD).mean.value)
    design = np.array([(1.0, *reading.network.features) for reading in readings])
    prior = np.diag([1 / VAGUE**2, *[1 / EARLY_SLOPE_SD**2] * (design.shape[1] - 1)])
    alone = np.array([number not in done for number in numbers])
    scores, images = data.scores.copy(), data.images.copy()
    for rung in sorted(set(epochs[alone].tolist())):
        rows = np.flatnonzero((epochs == rung) & alone)
        now = np.flatnonzero((epochs == rung) & ~alone & ~ends)
        then = np.array([done[numbers[row]] for row in now], dtype=np.int64)
        gap, sd = scores[now] - scores[then], DISCREPANCY
        error = float((noise[now, now] + noise[then, then] - 2 * noise[now, then]).mean()) if len(now) else 0.0
        for _ in range(2):  # the second time with the discrepancy that the first one showed
            precision = design[now].T @ design[now] / (sd**2 + error) + prior
            spread = np.linalg.inv(precision)
            fit = spread @ design[now].T / (sd**2 + error)
            freedom = len(now) - float(np.trace(design[now] @ fit))
            beyond = max(0.0, float(((gap - design[now] @ (fit @ gap)) ** 2).sum()) - freedom * error)
            found = (DISCREPANCY_FREEDOM * DISCREPANCY**2 + beyond) / (DISCREPANCY_FREEDOM + freedom)
            sd = max(float(np.sqrt(found)), DISCREPANCY_FLOOR)
        scores[rows] -= design[rows] @ (fit @ gap)
        images[np.ix_(rows, rows)] += design[rows] @ spread @ design[rows].T + sd**2 * np.eye(len(rows))
    return replace(data, scores=scores, images=images).of(ends | alone)


def _gains(prior: Floats, noise: Floats, data: _Data, place: Ints, full: int, variance: Floats) -> Gains:
    precision = np.asarray(np.linalg.inv(prior[np.ix_(place, place)] + noise), np.float64)
    gain = prior[:, place] @ precision
    where = np.full(len(prior), -1)
    where[place[:full]] = np.arange(full)
    seeds = np.zeros(len(prior), dtype=np.int64)
    seeds[place[:full]] = data.seeds[:full].astype(np.int64)
    each = np.full(len(prior), variance.mean())
    each[place[:full]] = variance
    images = data.images[:full, :full]
    apart = (images.diagonal().mean() - images.sum() / full**2) * full / max(full - 1, 1)
    return Gains(
        prior - gain @ prior[place], gain[:, :full], precision[:full, :full], where, seeds, each, max(0.0, float(apart))
    )  # fmt: skip
