"""Searches whose truth is known: networks, their scores after full training, and what any training of them would show.

Each image has a difficulty for all networks, one for each network and one for each training; an image is right where
their sum and the training's ability are above 0, so a training's accuracy is Φ(ability) in the mean over images. The
shares of the three, the seeds' spread, how far the candidates lie apart and how their order changes with epochs are
those of benchmarks/truth (fit.py prints them), but for worlds that are meant to be hard.

Networks of 3M multiply-adds after 12 epochs (CIFAR-10, Tiny ImageNet): covariance of right answers of one image .139
and .155 between networks, .143 and .158 between seeds of one, variance .249; spread between seeds beyond images .4 and
at most .3 points, nothing of it common to all networks of a seed; candidates .6 and .9 points apart (standard
deviation), nothing and half of it explained by depth, width and resolution; after 4 epochs they stand .5 and .8 points
otherwise. A point of accuracy is worth 0.31 to 0.56 points of soft score between candidates, and the images' error of a
difference, in accuracy, is 0.58 to 0.71 times as large with soft scores; here 0.41 and 0.63. The other worlds start
from networks of 1M, whose seeds spread more (.65 points, .25 in common) and whose candidates follow a trend.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scalesearch.study.posterior import Network, Shown
from scalesearch.study.row import BASELINE, Key

Floats = NDArray[np.float64]
FULL = 18
RUNGS = {1: 0.28, 2: 0.38, 3: 0.42, 4: 0.45, 6: 0.49, 9: 0.52, 12: 0.53, 18: 0.54}  # mean accuracy after so many epochs
CONTROLS = (0, 1, 2)  # depth, width, resolution alone
FACTOR = 0.953  # 2^-0.07
SURENESS = 2.0  # a margin of one image's standard deviation, in log-odds
HARD = 0.6  # share of a training's own image noise that right and wrong show, and soft scores do not
PERSISTENT = 0.6  # share of a training's own image noise, and of its seed's, that stays from rung to rung


@dataclass(frozen=True)
class Kind:
    """What worlds of a kind have in common; standard deviations in score.

    Args:
        slope, effect: of scores on features, and of candidates beyond that.
        seed, common: between seeds, a network's own and that of all networks of a seed.
        shared, own: of the variance of an image's margin, what all networks and all trainings of a network share.
        lag: what depth loses per doubling after 4 epochs more than at the end; ``crossing``: what all else moves there.
        failing: probability that a training fails.
        final: mean accuracy after full training.
        scores: in place of slopes and effects: candidates' scores against the mean, from a generator and their number.
        best_seed: between seeds of the best candidate, where it differs.
        guessing: nothing is learnt: each training names one of ten classes.
    """

    candidates: int = 15
    images: int = 1200
    slope: float = 0.0085
    effect: float = 0.0046
    seed: float = 0.0065
    common: float = 0.0025
    shared: float = 0.745
    own: float = 0.02
    lag: float = 0.015
    crossing: float = 0.007
    failing: float = 0.0
    final: float = 0.54
    scores: Callable[[np.random.Generator, int], Floats] | None = None
    best_seed: float | None = None
    guessing: bool = False


def _groups(rng: np.random.Generator, count: int) -> Floats:
    """Half of them 1.5 points below the others, all within a tenth of a point of their group."""
    return np.asarray(rng.permutation(np.where(np.arange(count) % 2, -0.015, 0.0)) + rng.normal(0, 0.001, count))


def _leader(rng: np.random.Generator, count: int) -> Floats:
    """One of them 3 points above the others, which are half a point apart."""
    return np.asarray(rng.permutation(np.where(np.arange(count) == 0, 0.03, 0.0)) + rng.normal(0, 0.005, count))


KINDS = {
    "CIFAR-10": Kind(slope=0.003, effect=0.0058, seed=0.0055, common=0.0, shared=0.775, lag=0.003, crossing=0.005),
    "Tiny ImageNet": Kind(
        slope=0.013, effect=0.005, seed=0.0045, common=0.0, shared=0.84, own=0.01, lag=0.018, final=0.46
    ),
    "1M networks": Kind(),
    "5000 images": Kind(images=5000),
    "60 candidates": Kind(candidates=60),
    "near 95 %": Kind(slope=0.003, effect=0.0016, seed=0.003, common=0.001, final=0.95),
    "nearly equal": Kind(slope=0.0006, effect=0.0008),
    "all equal": Kind(slope=0, effect=0),
    "all equal, 5000 images, wild seeds": Kind(slope=0, effect=0, images=5000, seed=0.015),
    "two groups": Kind(scores=_groups),
    "one leader": Kind(scores=_leader),
    "crossing": Kind(slope=0.015, effect=0.005, lag=0.06, crossing=0.02),
    "noisy best": Kind(best_seed=0.02),
    "wild seeds": Kind(seed=0.015),
    "failed seeds": Kind(failing=0.1),
    "at chance": Kind(slope=0, effect=0, final=0.1, guessing=True),
}


@dataclass(frozen=True, eq=False)
class World:
    """One search's truth.

    Args:
        networks: the candidates and the baseline.
        scores: of the candidates after full training, in the mean over seeds and images, (candidates,).
        early: what each candidate's score is less by after 4 epochs, beyond what all lose, (candidates,).
        scale: steepness of each network's confidence, the baseline's first, (1 + candidates,).
        difficulty: of each image for all networks, (images,).
    """

    kind: Kind
    repeat: int
    networks: tuple[Network, ...]
    scores: Floats
    early: Floats
    scale: Floats
    difficulty: Floats
    _shown: dict[Key, Shown | None] = field(default_factory=dict)

    @property
    def best(self) -> int:
        return int(self.scores.argmax())

    def shown(self, number: int, seed: int, epochs: int) -> Shown | None:
        """What a training shows, None where it fails: always the same for the same one."""
        key = (number, seed, epochs)
        if key not in self._shown:
            self._shown[key] = self._train(number, seed, epochs)
        return self._shown[key]

    def _train(self, number: int, seed: int, epochs: int) -> Shown | None:
        kind = self.kind
        rng = np.random.default_rng((self.repeat, 1, number + 1, seed))  # of the training, whatever its epochs
        again = np.random.default_rng((self.repeat, 2, number + 1, seed, epochs))
        if rng.random() < kind.failing:
            return None
        if kind.guessing:
            labels = np.random.default_rng((self.repeat, 3)).integers(0, 10, kind.images)
            right = labels == rng.integers(10)
            return Shown(number, seed, epochs, right, np.full(kind.images, 0.55, np.float32))
        progress = 1.0 if epochs == FULL else (4 / epochs) ** 0.5
        score = kind.final * FACTOR if number == BASELINE else self.scores[number]
        behind = RUNGS[FULL] - RUNGS[epochs]
        if number != BASELINE and epochs < FULL:
            score = score - self.early[number] * progress
        own = kind.seed if kind.best_seed is None or number != self.best else kind.best_seed
        wider = 1.0 if epochs == FULL else 1 + 0.9 / epochs**0.5
        common = np.random.default_rng((self.repeat, 4, seed)).normal(0, kind.common)
        moved = wider * own * _kept(rng.normal(), again.normal()) + common
        factor = self._factor(number)
        accuracy = min(max((score + moved) / factor - behind * 2 * min(kind.final, 1 - kind.final), 0.02), 0.995)
        network = np.random.default_rng((self.repeat, 5, number + 1)).normal(size=kind.images)
        noise = _kept(rng.normal(size=kind.images), again.normal(size=kind.images))
        flips = 1 - kind.shared - kind.own
        likely = NormalDist().inv_cdf(accuracy) + kind.shared**0.5 * self.difficulty + kind.own**0.5 * network
        likely = likely + ((1 - HARD) * flips) ** 0.5 * noise
        margin = likely + (HARD * flips) ** 0.5 * again.normal(size=kind.images)
        sure = 1 / (1 + np.exp(-self.scale[number + 1] * likely + 0.4))
        soft = 1 - 0.5 * (1 - sure) ** 2 * 1.4  # 0.4: the squares of the other classes' shares, against their sum's
        return Shown(number, seed, epochs, margin > 0, soft.astype(np.float32))

    def _factor(self, number: int) -> float:
        return next(network.factor for network in self.networks if network.number == number)


def _kept(stays: Floats | float, again: Floats | float) -> Floats | float:
    return PERSISTENT**0.5 * stays + (1 - PERSISTENT) ** 0.5 * again


def world(name: str, repeat: int) -> World:
    """A world of a kind, the same for the same repeat."""
    kind = KINDS[name]
    rng = np.random.default_rng((repeat, 0))
    shares = np.concatenate((np.eye(3), rng.dirichlet((1, 1, 1), kind.candidates - len(CONTROLS))))
    x = np.column_stack((shares + rng.normal(0, 0.08, shares.shape), rng.uniform(-0.05, 0.15, kind.candidates)))
    if kind.scores is None:
        scores = x @ rng.normal(0, kind.slope, 4) + rng.normal(0, kind.effect, kind.candidates)
    else:
        scores = kind.scores(rng, kind.candidates)
    factors = FACTOR + rng.uniform(-0.002, 0.002, kind.candidates)
    rows = [Network(n, float(factors[n]), tuple(x[n].tolist())) for n in range(kind.candidates)]
    return World(
        kind, repeat, (Network(BASELINE, 1.0, (0.0,) * 4), *rows), kind.final * FACTOR + scores - scores.mean(),
        kind.lag * x[:, 0] + rng.normal(0, kind.crossing, kind.candidates),
        SURENESS * rng.normal(1, 0.03, len(rows) + 1),
        rng.normal(size=kind.images),
    )  # fmt: skip
