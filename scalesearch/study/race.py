"""The race: which training comes next, and why a search stops. Results in, decisions out.

1. The baseline is trained to the end, twice. Where it has not learnt to tell classes apart, nothing else would mean
   anything, and the search stops there.
2. Where that saves more than it costs, all candidates are trained for a few epochs, twice. That orders them and decides
   nothing.
3. The better half, every control and the paper's triple are trained to the end; all are, where nothing was ordered.
4. Further seeds go, a few at a time, where they lower the expected loss of the recommendation most, until its bound is
   below the tolerance or the race's trainings are used up; the first few go in any case.

Everything follows from the results alone: an interrupted race continues where it was, however many work on it, and
one that is given more budget keeps every training that it has.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scalesearch.study.allocation import allocation
from scalesearch.study.config import Ties
from scalesearch.study.posterior import Floats32, Network, Posterior, Shown, posterior
from scalesearch.study.row import BASELINE, Key
from scalesearch.study.statistics import (
    LEVEL,
    Bools,
    Floats,
    Sample,
    resample,
    sample,
    wilson_interval,
)

ORDER_SEEDS, BASELINE_SEEDS = 2, 2
ORDER_EPOCHS, ORDER_SHARE = 4, 0.25  # of the rung that orders: the larger of the two
ORDER_STEPS = 300  # optimiser steps that it has at least
SHARE = 0.5  # of the candidates that are trained to the end at first
ROUND = 4  # further trainings decided on at a time, however many run side by side
MOST_FURTHER = 4  # times the candidates: further trainings where no number bounds them
TOLERANCE = 0.005  # of score: what may be lost without mattering
KEPT = 64  # posteriors
LEARNT = 0.05  # of the way from guessing the most frequent class to being right always


@dataclass(frozen=True)
class Race:
    """How trainings are given out.

    Args:
        full: epochs of a training to the end.
        order: epochs of the rung that orders; 0 where all are trained to the end.
        seeds: first full trainings of each candidate that gets one.
        further: full trainings after those, at most; None until the tolerance or ``MOST_FURTHER``.
        tolerance: of score; further trainings end when the bound on the expected loss is no larger.
        level: of the set and of the bound.
        ties: the cost by which one of those that may be taken for the best is chosen.
    """

    full: int
    order: int
    seeds: int = 1
    further: int | None = 0
    tolerance: float = TOLERANCE
    level: float = LEVEL
    ties: Ties = "speed"


@dataclass(frozen=True, eq=False)
class Field:
    """Who takes part.

    Args:
        networks: the baseline and every candidate.
        always: candidates that are trained to the end in any case: controls and the paper's triple.
        majority: the share of validation images that guessing the most frequent class gets right.
    """

    networks: tuple[Network, ...]
    always: frozenset[int] = frozenset()
    majority: float = 0.0

    @property
    def candidates(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(network.number for network in self.networks if network.number != BASELINE)

    @property
    def factors(self) -> dict[int, float]:
        """What turns an accuracy into a score, by network."""
        return {network.number: network.factor for network in self.networks}


@dataclass(frozen=True)
class State:
    """What the results so far come to.

    Args:
        wanted: trainings to run now, most wanted first; empty when the race is over.
        planned: trainings that there will be in the end, if no tolerance is met before.
    """

    wanted: tuple[Key, ...]
    planned: int


class Results:
    """What each training showed on the validation images, None where it failed; a training's result never changes.

    What is computed from a result is kept beside it, so that every further result costs its own images alone.
    """

    def __init__(self, known: Mapping[Key, Bools | None] | None = None) -> None:
        self._shown: dict[Key, Shown | None] = {}
        self._seeds: dict[tuple[int, int], dict[int, Bools]] = {}
        self._resampled: dict[Key, Floats] = {}
        self._samples: dict[tuple[int, int, tuple[int, ...]], Sample] = {}
        self._posteriors: dict[tuple[tuple[Network, ...], float, int, frozenset[Key]], Posterior | None] = {}
        for key, right in (known or {}).items():
            self.add(key, right)

    def __contains__(self, key: Key) -> bool:
        return key in self._shown

    def __len__(self) -> int:
        return len(self._shown)

    def __iter__(self) -> Iterator[Key]:
        """(candidate, seed, epochs) of every training."""
        return iter(self._shown)

    def add(self, key: Key, right: Bools | None, soft: Floats32 | None = None) -> None:
        """Takes a result in: which images are right, and each image's soft score where it was kept."""
        number, seed, epochs = key
        self._shown[key] = None if right is None else Shown(number, seed, epochs, right, soft)
        if right is not None:
            self._seeds.setdefault((number, epochs), {})[seed] = right

    def sound(self, key: Key, majority: float) -> bool:
        """Whether this training ended, and with a network that is clearly better than guessing."""
        one = self._shown.get(key)
        return one is not None and above_guessing(float(one.right.sum()), len(one.right), majority)

    def seeds(self, number: int, epochs: int) -> Mapping[int, Bools]:
        """Seed → which images were right, of one candidate at one number of epochs, by seed; failed ones are not in."""
        return dict(sorted(self._seeds.get((number, epochs), {}).items()))

    def numbers(self, epochs: int) -> list[int]:
        """The candidates, the baseline among them, with a result at a number of epochs."""
        return sorted(number for number, reached in self._seeds if reached == epochs)

    def accuracy(self, number: int, epochs: int) -> float | None:
        """The mean over seeds; None where none has a result."""
        right = self._seeds.get((number, epochs))
        return float(np.mean([one.mean() for one in right.values()])) if right else None

    def sample(self, number: int, epochs: int, seeds: Collection[int] | None = None) -> Sample:
        """What a candidate's trainings showed at a number of epochs, with all its seeds or some of them."""
        right = self.seeds(number, epochs)
        chosen = tuple(right if seeds is None else sorted(seeds))
        place = (number, epochs, chosen)
        if place not in self._samples:
            for seed in chosen:
                if (number, seed, epochs) not in self._resampled:
                    self._resampled[number, seed, epochs] = resample(right[seed])
            self._samples[place] = sample(
                np.stack([right[seed] for seed in chosen]), [self._resampled[number, seed, epochs] for seed in chosen]
            )
        return self._samples[place]

    def posterior(self, field: Field, full: int, known: Collection[Key] | None = None) -> Posterior | None:
        """What is known of the scores after ``full`` epochs, from all sound trainings or those of ``known``.

        Who was trained to the end and learnt nothing is left out altogether. Asked again, it is not computed again.
        """
        keys = frozenset(self._shown if known is None else known)
        question = (field.networks, field.majority, full, keys)
        if question not in self._posteriors:
            if len(self._posteriors) >= KEPT:
                del self._posteriors[next(iter(self._posteriors))]
            sound = [key for key in sorted(keys) if self.sound(key, field.majority)]
            lost = {key[0] for key in keys if key[2] == full} - {key[0] for key in sound if key[2] == full}
            shown = [one for key in sound if key[0] not in lost and (one := self._shown[key]) is not None]
            self._posteriors[question] = posterior(field.networks, shown, full)
        return self._posteriors[question]


def usual(full: int, steps_per_epoch: int, candidates: int, always: int, seeds: int = 1, **settings: Any) -> Race:
    """The race of a search; candidates are ordered first only where that takes fewer epochs than training them all.

    Args:
        full: epochs of a training to the end.
        steps_per_epoch: optimiser steps; the rung that orders has a floor of steps, since a network of which it has
            only seen the warm-up says nothing.
        candidates: how many there are; ``always``: how many of them are trained to the end in any case.
        seeds, settings: fields of ``Race``.
    """
    order = max(ORDER_EPOCHS, round(ORDER_SHARE * full), math.ceil(ORDER_STEPS / steps_per_epoch))
    entrants = min(candidates, math.ceil(SHARE * candidates) + always)
    ordered = ORDER_SEEDS * candidates * order + entrants * (seeds * full - min(seeds, ORDER_SEEDS) * order)
    pays = order < full and ordered < candidates * seeds * full
    return Race(full, order if pays else 0, seeds, **settings)


def exhaustive(race: Race, seeds: int) -> Race:
    """Everything trained fully with every seed, whatever follows."""
    return replace(race, order=0, seeds=seeds)


def advance(race: Race, field: Field, results: Results) -> State:
    """What to train next: one pass over the steps of the race."""
    first = _baseline(race)
    if all(key in results for key in first) and not learnt(results, BASELINE, race.full, field.majority):
        return State((), len(first))
    early = _early(race, field)
    # the baseline first; whoever has nothing to do meanwhile goes on with what comes next
    if wanted := _missing(early, results):
        planned = len(first) + len(early) + len(_places(race, field)) * race.seeds + (race.further or 0)
        return State((*_missing(first, results), *wanted), planned)
    base = [*first, *early, *_full(race, field, _entrants(race, field, results), results)]
    wanted = _missing(base, results) or _further(race, field, results, base)[0]
    return State(wanted, max(len(base) + (race.further or 0), len(results) + len(wanted)))


def outlook(race: Race, field: Field, results: Results) -> tuple[tuple[Key, ...], ...]:
    """The trainings still to come, step by step, if no tolerance is met before.

    Who will be trained to the end is not known before the candidates are ordered, nor who gets further seeds: the first
    ones stand for them.
    """
    first = _baseline(race)
    if not advance(race, field, results).wanted:
        return ()
    early = _early(race, field)
    ordered = all(key in results for key in early)
    entrants = _entrants(race, field, results) if ordered else _places(race, field)
    full = _full(race, field, entrants, results)
    steps = [_missing(keys, results) for keys in (first, early, full)]
    more, left = ((), 0) if any(steps) else _further(race, field, results, [*first, *early, *full])
    left = 0 if race.further is None else race.further if any(steps) else left  # nobody knows how many a time allows
    open_ones = ((n, seed, race.full) for seed in itertools.count(race.seeds) for n in entrants)
    later = itertools.islice((key for key in open_ones if key not in results and key not in (*full, *more)), left)
    return (*steps, (*more, *later))


def _early(race: Race, field: Field) -> list[Key]:
    return [(n, seed, race.order) for seed in range(ORDER_SEEDS if race.order else 0) for n in field.candidates]


def _baseline(race: Race) -> list[Key]:
    return [(BASELINE, seed, race.full) for seed in range(max(BASELINE_SEEDS, race.seeds))]


def _full(race: Race, field: Field, entrants: Collection[int], results: Results) -> list[Key]:
    """Every entrant with each seed, then once more where one came to nothing, unless most did: it may be chance."""
    asked = [(n, seed, race.full) for seed in range(race.seeds) for n in entrants]
    if _missing(asked, results):
        return asked
    lost = dict.fromkeys(key[0] for key in asked if not results.sound(key, field.majority))
    return asked + [(n, race.seeds, race.full) for n in lost if 2 * len(lost) <= len(entrants)]


def _missing(keys: Collection[Key], results: Results) -> tuple[Key, ...]:
    return tuple(key for key in keys if key not in results)


def _places(race: Race, field: Field) -> list[int]:
    """Stand-ins for the candidates that will be trained to the end, at most as many, until they are known."""
    ranked = sorted(field.candidates, key=lambda n: n in field.always)
    better = set(ranked[: math.ceil(SHARE * len(ranked))])
    return [n for n in field.candidates if not race.order or n in better | field.always]


def _entrants(race: Race, field: Field, results: Results) -> list[int]:
    """Who is trained to the end: the better half as the early rung ordered them, and those who are in any case.

    Of who is still at guessing then, nothing is known, and it is trained, too; where most are, everybody is.
    """
    if not race.order:
        return list(field.candidates)
    told = {n for n in field.candidates if learnt(results, n, race.order, field.majority)}
    if len(told) < len(field.candidates) / 2:
        return list(field.candidates)
    scores = {n: field.factors[n] * (results.accuracy(n, race.order) or 0.0) for n in field.candidates}
    ranked = sorted(field.candidates, key=lambda n: (-scores[n], n))
    better = set(ranked[: math.ceil(SHARE * len(ranked))])
    return [n for n in ranked if n in better | field.always or n not in told]


def _further(race: Race, field: Field, results: Results, base: Collection[Key]) -> tuple[tuple[Key, ...], int]:
    """The open trainings of the round that is running, or of the next one, and how many may follow them.

    Rounds are decided on what was known when the one before them was over, so that they are the same however many
    trainings run side by side and however often the search was interrupted.
    """
    known, seeds = list(base), Counter(number for number, _, epochs in base if epochs == race.full)
    left = MOST_FURTHER * len(field.candidates) if race.further is None else race.further
    while left > 0:
        believed = results.posterior(field, race.full, known)
        if believed is None:
            break
        bound = believed.loss_bound(recommended(believed, race.full, results), race.level)
        if bound <= race.tolerance and (len(known) > len(base) or race.seeds > 1):
            break  # not before the seeds' spread is known from more than the baseline
        new = []
        for number in allocation(believed, min(ROUND, left)):
            new.append((number, seeds[number], race.full))
            seeds[number] += 1
        left -= len(new)
        if missing := _missing(new, results):
            return missing, left
        known += new
    return (), 0


def recommended(believed: Posterior, full: int, results: Results) -> int:
    """Of the candidates that were trained to the end, the one with the highest expected score; of equals the first."""
    means = dict(zip(believed.numbers, believed.mean.tolist(), strict=True))
    trained = [n for n in believed.candidates if results.seeds(n, full)]
    return max(trained, key=lambda n: (means[n], -n))


def learnt(results: Results, number: int, epochs: int, majority: float) -> bool:
    """Whether a network's trainings, taken together, are clearly better than guessing the most frequent class."""
    right = results.seeds(number, epochs)
    if not right:
        return False
    hits, images = np.mean([one.sum() for one in right.values()]), len(next(iter(right.values())))
    return above_guessing(float(hits), images, majority)


def above_guessing(hits: float, images: int, majority: float) -> bool:
    """Whether so many right answers are clearly more than the most frequent class gives: the one rule of guessing.

    "Clearly": a twentieth of the way from there to being right always, and not by the luck of the images.
    """
    least = majority + LEARNT * (1 - majority)
    return hits / images >= least and wilson_interval(hits, images).low > majority
