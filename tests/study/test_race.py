from collections.abc import Callable

import numpy as np
import pytest

from scalesearch.study.race import Race, Results, Rung, State, advance, exhaustive, open_places, planned, usual
from scalesearch.study.row import BASELINE, Key
from scalesearch.study.statistics import Bools

IMAGES = 400
Train = Callable[[Key], Bools | None]


def trainer(accuracies: dict[int, float], failing: tuple[int, ...] = ()) -> Train:
    """Answers of made-up networks: hard images are hard for all, and a network's answers follow from its item."""
    difficulty = np.random.default_rng(0).random(IMAGES)

    def train(key: Key) -> Bools | None:
        number, seed, epochs = key
        if number in failing:
            return None
        noise = np.random.default_rng([number + 1, seed, epochs]).normal(0, 0.02, IMAGES)
        return np.asarray(difficulty + noise < accuracies.get(number, 0.5))

    return train


def run(race: Race, count: int, train: Train, results: Results | None = None) -> tuple[State, Results]:
    runners = dict.fromkeys(range(count), 1.0)
    results = Results() if results is None else results
    while (state := advance(race, runners, results)).wanted:
        for key in state.wanted:
            assert key not in results
            results.add(key, train(key))
    return state, results


def test_the_usual_race_is_a_tenth_of_everything() -> None:
    race = usual(18)
    assert race.rungs == (Rung(1, 2, 1.0), Rung(4, 1, 1 / 3), Rung(18, 1, 1 / 9))
    assert [rung.epochs for rung in usual(1).rungs] == [1]
    assert [rung.epochs for rung in usual(2).rungs] == [1, 2]
    assert all(
        a.epochs < b.epochs for e in range(2, 60) for a, b in zip(usual(e).rungs, usual(e).rungs[1:], strict=False)
    )
    state, results = run(race, 18, trainer(dict.fromkeys(range(18), 0.5)))
    epochs = sum(e for n, s, e in results if n >= 0) - sum(
        max((o for m, t, o in results if (m, t) == (n, s) and o < e), default=0) for n, s, e in results if n >= 0
    )
    assert epochs <= 0.1 * 18 * 18 * 3
    assert len(results) == planned(race, 18)
    assert len(state.inside) == 18  # nobody is beaten: those without a place stay in, undecided


def test_only_the_beaten_are_out_and_the_best_goes_on() -> None:
    accuracies = {0: 0.5, 1: 0.7, 2: 0.69, 3: 0.3}
    state, results = run(Race((Rung(1, 1, 1.0), Rung(4, 1, 0.5))), 4, trainer(accuracies))
    inside = {place.number for place in state.inside}
    assert 1 in inside
    assert 3 not in inside
    assert (3, 0, 4) not in results
    assert state.places[0].number in (1, 2)
    assert all(place.score.low <= place.score.value <= place.score.high for place in state.places)


def test_the_race_ends_when_one_is_left() -> None:
    state, results = run(Race((Rung(1, 1, 1.0), Rung(9, 3, 1.0))), 3, trainer({0: 0.9, 1: 0.2, 2: 0.1}))
    assert [place.number for place in state.inside] == [0]
    assert max(epochs for _, _, epochs in results) == 1


def test_open_places_let_everybody_in_go_on_and_keep_what_is_there() -> None:
    race, train = Race((Rung(1, 2, 1.0), Rung(4, 1, 0.25))), trainer(dict.fromkeys(range(8), 0.6))
    _, results = run(race, 8, train)
    before = {(number, seed, epochs): results.seeds(number, epochs)[seed] for number, seed, epochs in results}
    state, results = run(open_places(race), 8, train, results)
    assert len(results) > len(before)
    assert all(results.seeds(n, epochs)[seed] is right for (n, seed, epochs), right in before.items())
    assert {place.rung for place in state.inside} == {1}
    everything, all_results = run(exhaustive(race), 8, train)
    assert {epochs for _, _, epochs in all_results} == {4}
    assert len(everything.places) == 8


def test_the_baseline_runs_along_and_never_wins() -> None:
    state, results = run(Race((Rung(2, 2, 1.0),)), 2, trainer({BASELINE: 0.99, 0: 0.5, 1: 0.5}))
    assert (BASELINE, 1, 2) in results
    assert {place.number for place in state.places} == {0, 1}


@pytest.mark.parametrize("failing", [(2,), (2, BASELINE)])
def test_a_failed_candidate_is_out_of_the_way(failing: tuple[int, ...]) -> None:
    state, _ = run(Race((Rung(1, 2, 1.0), Rung(3, 1, 1.0))), 4, trainer(dict.fromkeys(range(4), 0.6), failing))
    assert 2 not in {place.number for place in state.places}
    assert state.inside


def test_all_failed_is_no_answer() -> None:
    state, _ = run(Race((Rung(1, 1, 1.0),)), 2, trainer({}, (0, 1)))
    assert state.places == ()
    assert state.wanted == ()


@pytest.mark.parametrize("finished", range(1, 9))
def test_a_race_cut_short_judges_what_is_there(finished: int) -> None:
    race, runners = Race((Rung(1, 2, 1.0), Rung(4, 1, 0.5))), dict.fromkeys(range(3), 1.0)
    train = trainer(dict.fromkeys(range(3), 0.6))
    results = Results()
    for key in advance(race, runners, results).wanted[:finished]:
        results.add(key, train(key))
    state = advance(race, runners, results)
    assert state.wanted
    assert len(state.places) == min(3, finished - 1)


def test_spread_between_seeds_is_kept_from_the_rung_that_showed_it() -> None:
    train = trainer(dict.fromkeys(range(4), 0.6))
    assert run(Race((Rung(1, 1, 1.0),)), 4, train)[0].spread is None
    spread = run(Race((Rung(1, 2, 1.0), Rung(3, 1, 1.0))), 4, train)[0].spread
    assert spread is not None
    assert spread.freedom == 5  # four candidates and the baseline, twice each
