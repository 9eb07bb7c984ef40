"""Which training to the end tells most, and what further ones would be worth: the knowledge gradient on a posterior."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from scalesearch.study.posterior import DRAWS, Gains, Posterior
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import TINY, Floats

AHEAD, NODES, PLAUSIBLE = (
    (1, 3, 9),
    15,
    50,
)  # seeds looked ahead, nodes of the normal distribution, candidates looked at
WORTHLESS = 1e-8  # gain in score that is none


def allocation(posterior: Posterior, count: int) -> tuple[int, ...]:
    """Whose next training to the end lowers the expected loss most: ``count`` numbers, some perhaps more than once.

    The knowledge gradient (Frazier, Powell & Dayanik 2009, INFORMS J. Computing 21(4)), a training at the best of 1, 3
    and 9 further seeds, because one alone may be unable to change the choice. Each pick is taken as trained before the
    next is made.
    """
    return tuple(number for number, _ in _picks(posterior, count))


def forecast(posterior: Posterior, trainings: int) -> float:
    """The loss to be expected of the choice after so many further trainings to the end, of those ``allocation`` names.

    An approximation: the trainings are all chosen now, not each after the one before, and how far the means may move is
    taken at the mean of the model's scales; what share of the loss that leaves is applied to the loss expected now.
    """
    ours = [place for place, number in enumerate(posterior.numbers) if number != BASELINE]
    moves = np.array([np.zeros(len(posterior.numbers)), *(move for _, move in _picks(posterior, trainings))])
    means = posterior.mean[ours]
    z = np.random.default_rng(0).standard_normal((DRAWS, len(ours)))
    z -= z.mean(axis=0)

    def expected_best(covariance: Floats) -> float:
        values, vectors = np.linalg.eigh(covariance)
        moved = z @ vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
        return float(np.mean((means + moved).max(axis=1)))

    best = expected_best(posterior.gains.covariance[np.ix_(ours, ours)])
    left = best - expected_best(moves[:, ours].T @ moves[:, ours])
    now = posterior.expected_loss(posterior.candidates[int(means.argmax())])
    return now * min(max(left, 0.0) / max(best - float(means.max()), TINY), 1.0)


def _picks(posterior: Posterior, count: int) -> list[tuple[int, Floats]]:
    """Networks and how the means may move by a further training of each: standard deviations, (n,), common in sign."""
    probability = posterior.probability_best()
    ranked = sorted(probability, key=lambda number: (-probability[number], number))[:PLAUSIBLE]
    places = np.array([posterior.numbers.index(number) for number in ranked])
    means, gains = posterior.mean[places], posterior.gains
    nodes = np.array([NormalDist().inv_cdf((i + 0.5) / NODES) for i in range(NODES)])
    picks = []
    for _ in range(count):
        values = []
        for j in places:
            moves = [_move(gains, j, seeds)[places] for seeds in AHEAD]
            best = (means[:, None, None] + np.array(moves).T[:, :, None] * nodes).max(axis=0).mean(axis=1) - means.max()
            values.append(float((best / np.array(AHEAD)).max()))
        chosen = int(np.argmax(values))
        if values[chosen] < WORTHLESS:  # whatever is trained, the choice stays: the less known of the two first
            chosen = int(np.argmin(gains.seeds[places[:2]]))
        gains, move = _trained(gains, int(places[chosen]))
        picks.append((ranked[chosen], move))
    return picks


def _move(gains: Gains, network: int, seeds: int) -> Floats:
    """Standard deviations by which further seeds of a network may move each network's mean, (n,), common in sign."""
    at, variance = int(gains.place[network]), float(gains.variance[network])
    if at >= 0:
        had = int(gains.seeds[network])
        less = variance / had - variance / (had + seeds)
        return np.asarray(gains.gain[:, at] * np.sqrt(less / (1 - less * gains.precision[at, at])))
    # without a full training the reading is new; what all networks have in common moves no choice and is left out
    column = gains.covariance[:, network] - gains.covariance.mean(axis=1)
    column = column - column.mean()
    return np.asarray(column / np.sqrt(max(column[network], TINY) + gains.images + variance / seeds))


def _trained(gains: Gains, network: int) -> tuple[Gains, Floats]:
    """The gains after one more training of a network, and how that may move the means."""
    move, at = _move(gains, network, 1), int(gains.place[network])
    seeds = gains.seeds.copy()
    seeds[network] += 1
    covariance = gains.covariance - np.outer(move, move)
    if at < 0:
        return replace(gains, covariance=covariance), move
    less = float(gains.variance[network]) * (1 / (seeds[network] - 1) - 1 / seeds[network])
    step = less / (1 - less * gains.precision[at, at]) * gains.precision[at]
    gain = gains.gain + np.outer(gains.gain[:, at], step)
    precision = gains.precision + np.outer(gains.precision[at], step)
    return replace(gains, covariance=covariance, gain=gain, precision=precision, seeds=seeds), move
