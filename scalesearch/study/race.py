"""The race: which training comes next, who is out, who is still in. Pure: results in, decisions out.

Candidates run in rungs, each rung with more epochs (of the same training, paused and continued) or more seeds. After a
rung a candidate is out only if it is statistically beaten there; of those still in, the most promising enter the next
rung first, as many as the rung has places. Who gets no place is not out: it is in the answer's set as undecided, and
more budget gives it its turn (``open_places``).

Everything is computed anew from the results each time, so an interrupted race continues where it was, and a race that
is given more budget keeps every training it has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalesearch.study.statistics import LEVEL, Bools, Evidence, SeedSpread, not_beaten, seed_spread, weigh

BASELINE = -1  # the candidate number of φ = 0, trained for reference and never a winner
Item = tuple[int, int, int]  # candidate, seed, epochs: one training up to a rung
Results = Mapping[Item, Bools | None]  # which validation images were right; None for a training that failed


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


@dataclass(frozen=True)
class Runner:
    """A candidate in the race: its number, and what turns its accuracy into a score."""

    number: int
    factor: float


@dataclass(frozen=True)
class Place:
    """Where a candidate stands, by its furthest rung.

    Args:
        rung: its furthest, from 0; −1 before the first.
        inside: not beaten.
        score: mean over seeds; ``low`` and ``high`` its 95 % interval.
    """

    number: int
    rung: int
    inside: bool
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class State:
    """What the results so far come to.

    Args:
        wanted: trainings to run now, most wanted first; empty when the race is over.
        places: every candidate with a result, those that went furthest first, then by score.
        spread: between seeds, as the furthest rung showed it; None where nothing is known of it.
    """

    wanted: tuple[Item, ...]
    places: tuple[Place, ...]
    spread: SeedSpread | None

    @property
    def inside(self) -> tuple[Place, ...]:
        """The winner set so far."""
        return tuple(place for place in self.places if place.inside)


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


def advance(race: Race, runners: Sequence[Runner], results: Results, final: bool = False) -> State:
    """Replays the race on the results: what to train next, or how it ended.

    Each rung's test has a share of the level's error, so that the best candidate is lost with probability
    1 − level at most over all rungs (Bonferroni).

    Args:
        final: no further training will come: judges the part of a rung that is there.
    """
    level = 1 - (1 - race.level) / len(race.rungs)
    field = list(runners)
    found: dict[int, Place] = {}
    spread: SeedSpread | None = None
    wanted: tuple[Item, ...] = ()
    for number, rung in enumerate(race.rungs):
        entrants = field[: places(rung, len(runners))]
        wanted = tuple(
            item
            for seed in range(rung.seeds)
            for item in ((n, seed, rung.epochs) for n in (BASELINE, *(r.number for r in entrants)))
            if item not in results
        )
        if wanted and not final:
            break
        if wanted:
            rung, entrants = _finished_part(rung, entrants, results)  # noqa: PLW2901
        judged = [r for r in entrants if all(results[r.number, s, rung.epochs] is not None for s in range(rung.seeds))]
        if not judged:
            break
        correct = [_correct(results, r.number, rung) for r in judged]
        spread = seed_spread([*correct, *_baseline(results, rung)]) or spread
        evidence = weigh(correct, [r.factor for r in judged], spread)
        found |= _placed(judged, number, evidence, not_beaten(evidence, level))
        field = sorted((r for r in judged if found[r.number].inside), key=lambda r: -found[r.number].score)
        if wanted or sum(place.inside for place in found.values()) == 1:
            break
    return State(wanted, _ordered(found), spread)


def _finished_part(rung: Rung, entrants: Sequence[Runner], results: Results) -> tuple[Rung, list[Runner]]:
    """The entrants that have been trained in the rung, with as many seeds as all of them have."""
    counts = {
        r.number: next((s for s in range(rung.seeds) if (r.number, s, rung.epochs) not in results), rung.seeds)
        for r in entrants
    }
    there = [r for r in entrants if counts[r.number]]
    return replace(rung, seeds=min((counts[r.number] for r in there), default=1)), there


def _baseline(results: Results, rung: Rung) -> list[Bools]:
    """The baseline's results at a rung, where it has several seeds: they tell of the spread between seeds, too."""
    known = [results.get((BASELINE, seed, rung.epochs)) for seed in range(rung.seeds)]
    return [np.stack([one for one in known if one is not None])] if any(one is not None for one in known) else []


def _placed(judged: Sequence[Runner], rung: int, evidence: Evidence, inside: NDArray[np.bool_]) -> dict[int, Place]:
    found = {}
    for place, runner in enumerate(judged):
        low, high = evidence.interval(place)
        found[runner.number] = Place(runner.number, rung, bool(inside[place]), float(evidence.scores[place]), low, high)
    return found


def _correct(results: Results, number: int, rung: Rung) -> Bools:
    """(seeds, images) of a candidate at a rung; all there and none failed."""
    return np.stack([np.asarray(results[number, seed, rung.epochs], dtype=bool) for seed in range(rung.seeds)])


def _ordered(places: dict[int, Place]) -> tuple[Place, ...]:
    return tuple(sorted(places.values(), key=lambda p: (-p.rung, not p.inside, -p.score, p.number)))
