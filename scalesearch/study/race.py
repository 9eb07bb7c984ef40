"""The race: which training comes next, who is out, who is still in. Results in, decisions out.

Candidates run in rungs, each rung with more epochs (of the same training, paused and continued) or more seeds. After a
rung a candidate is out only if it is statistically beaten there; of those still in, the most promising enter the next
rung first, as many as the rung has places. Who gets no place is not out: it is in the answer's set as undecided, and
more budget gives it its turn (``open_places``).

Everything follows from the results alone, so an interrupted race continues where it was, and a race that is given more
budget keeps every training it has.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scalesearch.study.row import BASELINE, Key
from scalesearch.study.statistics import (
    LEVEL,
    Bools,
    Floats,
    Interval,
    Sample,
    SeedSpread,
    not_beaten,
    resample,
    sample,
    seed_spread,
    weigh,
)


@dataclass(frozen=True)
class Rung:
    """Trained for ``epochs`` with ``seeds`` seeds by the best ``share`` of all candidates that are still in."""

    epochs: int
    seeds: int
    share: float


@dataclass(frozen=True)
class Race:
    """The rungs, epochs and seeds never falling, and the level of the winner set."""

    rungs: tuple[Rung, ...]
    level: float = LEVEL


Runners = Mapping[int, float]  # candidates in the race by number, and what turns the accuracy of each into a score


@dataclass(frozen=True)
class Place:
    """Where a candidate stands, by its furthest rung.

    Args:
        rung: its furthest, from 0.
        inside: not beaten.
        seeds: trainings that it was judged by: the rung's, or as many as all in the rung have while it is not over.
        score: mean over these seeds, with its 95 % interval.
    """

    number: int
    rung: int
    inside: bool
    seeds: int
    score: Interval


@dataclass(frozen=True)
class State:
    """What the results so far come to.

    Args:
        wanted: trainings to run now, most wanted first; empty when the race is over.
        places: every candidate with a result, those that went furthest first, then by score; of a rung that is not
            over, those are judged that were trained in it.
        spread: between seeds, as the furthest rung showed it; None where nothing is known of it.
    """

    wanted: tuple[Key, ...]
    places: tuple[Place, ...]
    spread: SeedSpread | None

    @property
    def inside(self) -> tuple[Place, ...]:
        """The winner set so far."""
        return tuple(place for place in self.places if place.inside)


Verdicts = tuple[tuple[Place, ...], SeedSpread | None]  # of a rung: where each candidate stands, and the seeds' spread


class Results:
    """Which validation images each training got right, None where it failed; a training's result never changes.

    What is computed from a result is kept beside it, so that every further result costs its own images alone.
    """

    def __init__(self, known: Mapping[Key, Bools | None] | None = None) -> None:
        self._right: dict[Key, Bools | None] = {}
        self._seeds: dict[tuple[int, int], dict[int, Bools]] = {}
        self._resampled: dict[Key, Floats] = {}
        self._samples: dict[tuple[int, int, tuple[int, ...]], Sample] = {}
        self.verdicts: dict[int, tuple[object, Verdicts]] = {}  # the last of each rung, with what was asked
        for key, right in (known or {}).items():
            self.add(key, right)

    def __contains__(self, key: Key) -> bool:
        return key in self._right

    def __len__(self) -> int:
        return len(self._right)

    def __iter__(self) -> Iterator[Key]:
        """(candidate, seed, epochs) of every training."""
        return iter(self._right)

    def add(self, key: Key, right: Bools | None) -> None:
        """Takes a result in."""
        number, seed, epochs = key
        self._right[key] = right
        if right is not None:
            self._seeds.setdefault((number, epochs), {})[seed] = right

    def seeds(self, number: int, epochs: int) -> Mapping[int, Bools]:
        """Seed → which images were right, of one candidate at one number of epochs, by seed; failed ones are not in."""
        return dict(sorted(self._seeds.get((number, epochs), {}).items()))

    def numbers(self, epochs: int) -> list[int]:
        """The candidates, the baseline among them, with a result at a number of epochs."""
        return sorted(number for number, reached in self._seeds if reached == epochs)

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

    def spread(self, epochs: int) -> SeedSpread | None:
        """Between seeds, of everything trained for so long, the baseline included."""
        return seed_spread([self.sample(number, epochs) for number in self.numbers(epochs)])


def usual(epochs: int, seeds: int = 1, level: float = LEVEL) -> Race:
    """The race of a search: all candidates twice for 1/18 of the epochs, a third of them for 4/18, a ninth to the end.

    Successive halving with a factor of 3 (Jamieson & Talwalkar 2016, AISTATS); two seeds at the start, because without
    them the spread between seeds is unknown and the winner set too small. Chosen on the truth tables: see
    reports/LOG.md.

    Args:
        epochs: of a full training.
        seeds: of the candidates trained fully.
    """
    first = max(1, round(epochs / 18))
    second = max(first + 1, round(4 * epochs / 18))
    rungs = [Rung(first, 2, 1.0)] if first < epochs else []
    rungs += [Rung(second, 1, 1 / 3)] if second < epochs else []
    return Race((*rungs, Rung(epochs, seeds, 1 / 9 if rungs else 1.0)), level)


def exhaustive(race: Race) -> Race:
    """Everything trained fully with every seed, in one rung."""
    last = race.rungs[-1]
    return replace(race, rungs=(replace(last, share=1.0),))


def open_places(race: Race) -> Race:
    """The same rungs with a place for everybody who is still in."""
    return replace(race, rungs=tuple(replace(rung, share=1.0) for rung in race.rungs))


def planned(race: Race, candidates: int) -> int:
    """Trainings of the race if nothing is beaten, the baseline's among them."""
    return sum((1 + places(rung, candidates)) * rung.seeds for rung in race.rungs)


def places(rung: Rung, candidates: int) -> int:
    """How many candidates a rung has room for."""
    return max(1, math.ceil(rung.share * candidates - 1e-9))


def advance(race: Race, runners: Runners, results: Results) -> State:
    """What to train next, and where everybody stands: one pass over the rungs, each judged once.

    Each rung's test has a share of the level's error, so that the best candidate is lost with probability
    1 − level at most over all rungs (Bonferroni).
    """
    level = 1 - (1 - race.level) / len(race.rungs)
    field = list(runners)
    standing: dict[int, Place] = {}
    spread: SeedSpread | None = None
    wanted: tuple[Key, ...] = ()
    for number, rung in enumerate(race.rungs):
        entrants = field[: places(rung, len(runners))]
        wanted = tuple(
            key
            for seed in range(rung.seeds)
            for key in ((n, seed, rung.epochs) for n in (BASELINE, *entrants))
            if key not in results
        )
        if wanted:
            rung, entrants = _trained_part(rung, entrants, results)  # noqa: PLW2901
        # those of whose trainings in the rung none failed
        judged = {n: runners[n] for n in entrants if results.seeds(n, rung.epochs).keys() >= set(range(rung.seeds))}
        if not judged:
            break
        stands, spread = _verdicts(number, rung, judged, level, spread, results)
        standing |= {place.number: place for place in stands}
        field = sorted((n for n in judged if standing[n].inside), key=lambda n: -standing[n].score.value)
        if wanted or sum(place.inside for place in standing.values()) == 1:
            break
    ordered = sorted(standing.values(), key=lambda p: (-p.rung, not p.inside, -p.score.value, p.number))
    return State(wanted, tuple(ordered), spread)


def _trained_part(rung: Rung, entrants: Sequence[int], results: Results) -> tuple[Rung, list[int]]:
    """The entrants that have been trained in the rung, with as many seeds as all of them have."""
    counts = {
        n: next((s for s in range(rung.seeds) if (n, s, rung.epochs) not in results), rung.seeds) for n in entrants
    }
    there = [n for n in entrants if counts[n]]
    return replace(rung, seeds=min((counts[n] for n in there), default=1)), there


def _verdicts(
    number: int, rung: Rung, judged: Runners, level: float, before: SeedSpread | None, results: Results
) -> Verdicts:
    """How the runners stand in a rung; judged once for the same trainings.

    Args:
        before: the spread between seeds that an earlier rung showed, for a rung that cannot show its own.
    """
    # where the baseline has several seeds, they tell of the spread between them, too
    repeated = [seed for seed in results.seeds(BASELINE, rung.epochs) if seed < rung.seeds]
    repeats = [results.sample(BASELINE, rung.epochs, repeated)] if repeated else []
    question = (rung, tuple(judged.items()), level, before, tuple(repeats))
    asked, verdicts = results.verdicts.get(number, (None, ((), None)))
    if asked != question:
        seeds = range(rung.seeds)
        samples = [results.sample(n, rung.epochs, seeds) for n in judged]
        spread = seed_spread([*samples, *repeats]) or before
        evidence = weigh(samples, list(judged.values()), spread)
        inside = not_beaten(evidence, level)
        stands = [Place(n, number, bool(inside[i]), rung.seeds, evidence.interval(i)) for i, n in enumerate(judged)]
        verdicts = tuple(stands), spread
        results.verdicts[number] = (question, verdicts)
    return verdicts
