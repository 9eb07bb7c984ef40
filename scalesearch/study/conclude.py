"""From a race's state to the search's answer."""

from collections.abc import Sequence

import numpy as np

from scalesearch.design.candidates import Candidate
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.comparison import Comparison, Side, compare
from scalesearch.study.race import Place, Race, Results, State
from scalesearch.study.statistics import Bools, seed_spread


def conclude(
    race: Race, state: State, candidates: Sequence[Candidate], results: Results, target_macs: float
) -> Answer | None:
    """The answer so far; None while no candidate has a result."""
    if not state.places:
        return None
    furthest = max(place.rung for place in state.places)
    best = next(place for place in state.places if place.inside)
    return Answer(
        level=race.level,
        standings=tuple(_standing(place, race, results, candidates, furthest) for place in state.places),
        recommended=name(best.number),
        comparisons=_comparisons(race, best.number, candidates, results, target_macs),
        seed_sd=state.spread.sd if state.spread else None,
        complete=not state.wanted,
        rungs=tuple((rung.epochs, rung.seeds) for rung in race.rungs),
    )


def name(number: int) -> str:
    """A candidate's name: c004."""
    return f"c{number:03d}"


def _standing(place: Place, race: Race, results: Results, candidates: Sequence[Candidate], furthest: int) -> Standing:
    epochs = race.rungs[place.rung].epochs
    status = "beaten" if not place.inside else "member" if place.rung == furthest else "undecided"
    return Standing(
        name=name(place.number), control=candidates[place.number].control, status=status, epochs=epochs,
        seeds=len(_right(results, place.number, epochs)), score=place.score, low=place.low, high=place.high,
    )  # fmt: skip


def _comparisons(
    race: Race, best: int, candidates: Sequence[Candidate], results: Results, target_macs: float
) -> tuple[Comparison, ...]:
    """The recommended candidate against each control but itself, where both were trained furthest."""
    found = []
    for control in (c for c in candidates if c.control and c.index != best):
        for epochs in sorted({rung.epochs for rung in race.rungs}, reverse=True):
            ours, theirs = _right(results, best, epochs), _right(results, control.index, epochs)
            seeds = sorted(ours.keys() & theirs.keys())
            if not seeds:
                continue
            sides = [
                Side(name(number), np.stack([right[seed] for seed in seeds]), candidates[number].macs)
                for number, right in ((best, ours), (control.index, theirs))
            ]
            spread = seed_spread(_trained(results, epochs))
            found.append(compare(sides[0], sides[1], control.control, epochs, target_macs, spread))
            break
    return tuple(found)


def _right(results: Results, number: int, epochs: int) -> dict[int, Bools]:
    """Seed → which images were right, of one candidate at one number of epochs."""
    return {seed: right for (n, seed, e), right in results.items() if n == number and e == epochs and right is not None}


def _trained(results: Results, epochs: int) -> list[Bools]:
    """Every network's results at a number of epochs, the baseline's among them, stacked by seed."""
    numbers = {n for n, _, e in results if e == epochs}
    found = (_right(results, n, epochs) for n in sorted(numbers))
    return [np.stack(list(right.values())) for right in found if right]
