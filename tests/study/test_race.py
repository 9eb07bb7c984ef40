"""Which training comes next: made-up networks, whose answers cost nothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from scalesearch.study.posterior import Network
from scalesearch.study.race import (
    ROUND,
    Field,
    Race,
    Results,
    State,
    advance,
    exhaustive,
    learnt,
    outlook,
    recommended,
    usual,
)
from scalesearch.study.row import BASELINE, Key
from scalesearch.study.statistics import Bools

IMAGES, FULL, ORDER = 400, 12, 4
Train = Callable[[Key], Bools | None]
RACE = Race(FULL, ORDER, further=6)


def field(count: int, always: tuple[int, ...] = (), majority: float = 0.1) -> Field:
    features = np.random.default_rng(5).dirichlet(np.ones(3), count)
    candidates = (Network(n, 1.0, tuple(features[n].tolist())) for n in range(count))
    return Field((Network(BASELINE, 1.0, (0.0, 0.0, 0.0)), *candidates), frozenset(always), majority)


def trainer(accuracies: Mapping[int, float], failing: tuple[int, ...] = (), early: float = 0.6) -> Train:
    """Answers of made-up networks: hard images are hard for all, and a network's answers follow from its item."""
    difficulty = np.random.default_rng(0).random(IMAGES)

    def train(key: Key) -> Bools | None:
        number, seed, epochs = key
        if number in failing:
            return None
        noise = np.random.default_rng([number + 1, seed, epochs]).normal(0, 0.02, IMAGES)
        return np.asarray(difficulty + noise < accuracies.get(number, 0.5) * (1 if epochs == FULL else early))

    return train


def run(race: Race, takers: Field, train: Train, results: Results | None = None, at_once: int = 99) -> Results:
    results = Results() if results is None else results
    while (state := advance(race, takers, results)).wanted:
        for key in state.wanted[:at_once]:
            assert key not in results
            results.add(key, train(key))
    return results


def keys(results: Results, epochs: int) -> list[tuple[int, int]]:
    return sorted((number, seed) for number, seed, reached in results if reached == epochs)


def test_the_early_rung_has_a_floor_of_epochs_and_of_steps() -> None:
    assert usual(20, 100, 60, 4).order == 5
    assert usual(12, 100, 60, 4, seeds=3).order == 4
    assert usual(100, 10, 60, 4).order == 30
    assert usual(4, 100, 60, 4).order == 0  # no room: all are trained to the end


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize(("candidates", "always"), [(5, 4), (7, 4), (16, 4), (60, 3), (24, 0)])
def test_candidates_are_ordered_first_only_where_that_takes_fewer_epochs(
    candidates: int, always: int, seeds: int
) -> None:
    takers, train = field(candidates, always=tuple(range(always))), trainer(dict.fromkeys(range(candidates), 0.8))

    def epochs(race: Race) -> int:
        reached: dict[tuple[int, int], int] = {}
        for number, seed, until in run(race, takers, train):
            reached[number, seed] = max(until, reached.get((number, seed), 0))
        return sum(reached.values())

    for full in (10, 16, 24, 40):
        usually = usual(full, 100, candidates, always, seeds)
        least = max(4, round(full / 4))
        ordering, straight = (epochs(replace(usually, order=order)) for order in (least, 0))
        if usually.order:
            assert ordering <= straight
        elif always == 0:  # else a control may be one of the better half, which is not known before
            assert straight <= ordering


def test_the_baseline_comes_first_then_all_then_the_better_half_and_the_controls() -> None:
    takers, train = field(8, always=(7,)), trainer({n: 0.8 - 0.05 * n for n in range(8)})
    race = replace(RACE, further=0)
    first = advance(race, takers, Results())
    assert first.wanted[:2] == ((BASELINE, 0, FULL), (BASELINE, 1, FULL))
    results = run(race, takers, train)
    assert keys(results, ORDER) == [(n, seed) for n in range(8) for seed in range(2)]
    assert keys(results, FULL) == [(BASELINE, 0), (BASELINE, 1), *((n, 0) for n in (0, 1, 2, 3, 7))]
    assert len(results) == first.planned


def test_further_trainings_go_to_those_that_may_be_the_best() -> None:
    takers = field(6)
    results = run(RACE, takers, trainer({0: 0.8, 1: 0.8, 2: 0.8, 3: 0.4, 4: 0.4, 5: 0.4}))
    again = [number for number, seed in keys(results, FULL) if seed and number != BASELINE]
    assert len(again) == RACE.further
    assert set(again) <= {0, 1, 2}


def test_the_race_ends_when_no_more_than_the_tolerance_can_be_lost() -> None:
    takers, train = field(4), trainer({0: 0.9, 1: 0.4, 2: 0.4, 3: 0.3})
    results = run(RACE, takers, train)
    further = [seed for number, seed in keys(results, FULL) if seed and number != BASELINE]
    assert 0 < len(further) <= ROUND < RACE.further  # one round, so that the spread between seeds is seen
    believed = results.posterior(takers, FULL)
    assert believed is not None
    assert recommended(believed, FULL, results) == 0
    assert believed.loss_bound(0) <= RACE.tolerance


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_same_trainings_however_many_run_side_by_side(at_once: int) -> None:
    takers, train = field(6, always=(5,)), trainer(dict.fromkeys(range(6), 0.7))
    assert set(run(RACE, takers, train, at_once=at_once)) == set(run(RACE, takers, train))


def test_nobody_waits_for_the_baseline_and_it_comes_first() -> None:
    for race in (RACE, replace(RACE, order=0)):
        wanted = advance(race, field(8), Results()).wanted
        assert [number for number, _, _ in wanted[:2]] == [BASELINE, BASELINE]
        assert {number for number, _, _ in wanted[2:]} == set(range(8))


@pytest.mark.parametrize("race", [RACE, replace(RACE, order=0), replace(RACE, further=None, tolerance=0.004)])
def test_the_outlook_names_trainings_once_and_none_that_are_done(race: Race) -> None:
    takers, train, results = field(6, always=(5,)), trainer(dict.fromkeys(range(6), 0.7)), Results()
    while (state := advance(race, takers, results)).wanted:
        ahead = [key for step in outlook(race, takers, results) for key in step]
        assert len(set(ahead)) == len(ahead)
        assert not any(key in results for key in ahead)
        assert set(state.wanted) <= set(ahead)
        assert state.planned >= len(results) + len(state.wanted)
        if race.further is not None:
            assert state.planned == len(results) + len(ahead)
        results.add(state.wanted[0], train(state.wanted[0]))
    assert not any(outlook(race, takers, results))


def test_more_budget_keeps_every_training() -> None:
    takers, train = field(6), trainer(dict.fromkeys(range(6), 0.7))
    results = run(RACE, takers, train)
    before = set(results)
    more = run(replace(RACE, further=6 + 2 * ROUND, tolerance=0.0), takers, train, results)
    assert before < set(more)
    everything = run(exhaustive(replace(RACE, further=0), 3), takers, train, more)
    assert {(n, seed) for n in range(6) for seed in range(3)} <= set(keys(everything, FULL))


def test_a_baseline_at_guessing_ends_the_search() -> None:
    takers = field(6, majority=0.3)
    state, results = None, Results()
    train = trainer({BASELINE: 0.31})
    while state is None or state.wanted:
        state = advance(RACE, takers, results)
        for key in state.wanted[:2]:
            results.add(key, train(key))
    assert set(results) == {(BASELINE, 0, FULL), (BASELINE, 1, FULL)}


def test_an_early_rung_at_guessing_orders_nothing() -> None:
    takers = field(6)
    results = run(replace(RACE, further=0), takers, trainer(dict.fromkeys(range(6), 0.8), early=0.12))
    assert {number for number, _ in keys(results, FULL)} == {BASELINE, *range(6)}


def test_clearly_better_than_guessing() -> None:
    def judged(share: float, images: int, majority: float) -> bool:
        results = Results({(0, 0, 1): np.arange(images) < share * images})
        return learnt(results, 0, 1, majority)

    assert not judged(0.1, 1000, 0.1)
    assert judged(0.2, 1000, 0.1)
    assert not judged(0.2, 20, 0.1)  # four of twenty may be luck
    assert not judged(0.91, 1000, 0.9)  # most of the images are of one class
    assert not learnt(Results({(0, 0, 1): None}), 0, 1, 0.0)


@pytest.mark.parametrize("failing", [(2,), (2, 3)])
def test_a_failed_candidate_is_out_of_the_way(failing: tuple[int, ...]) -> None:
    takers = field(4, always=(2,))
    results = run(RACE, takers, trainer(dict.fromkeys(range(4), 0.7), failing))
    believed = results.posterior(takers, FULL)
    assert believed is not None
    assert not set(failing) & set(believed.candidates)


def test_one_failed_seed_removes_nobody() -> None:
    takers, train = field(4), trainer({0: 0.8, 1: 0.6, 2: 0.6, 3: 0.6})
    results = run(RACE, takers, lambda key: None if key == (0, 0, ORDER) else train(key))
    believed = results.posterior(takers, FULL)
    assert believed is not None
    assert recommended(believed, FULL, results) == 0


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_failed_full_training_is_repeated_once_with_the_next_seed(seeds: int) -> None:
    """By chance the only training of the best candidate may fail; that must not take it out of the answer."""
    takers, train = field(4), trainer({0: 0.8, 1: 0.6, 2: 0.6, 3: 0.6})
    race, bad = Race(FULL, 0, seeds), ((0, 0, FULL), *((1, seed, FULL) for seed in range(9)))
    results = run(race, takers, lambda key: None if key in bad else train(key), at_once=1)
    asked = {0: seeds + 1, 1: seeds + 1, 2: seeds, 3: seeds, BASELINE: 2}
    assert keys(results, FULL) == sorted((n, seed) for n, count in asked.items() for seed in range(count))
    believed = results.posterior(takers, FULL)
    assert believed is not None
    assert recommended(believed, FULL, results) == 0
    assert 1 not in believed.candidates


def test_who_ends_at_guessing_is_trained_once_more_and_then_left_out() -> None:
    """Not as a score among others, of which it says nothing; nor does its early reading count."""
    takers = field(6)
    accuracies = {0: 0.12, **dict.fromkeys((BASELINE, *range(1, 6)), 0.7)}
    results = run(Race(FULL, 0), takers, trainer(accuracies))
    assert {(0, 0), (0, 1)} <= set(keys(results, FULL))
    assert (1, 1) not in keys(results, FULL)
    believed = results.posterior(takers, FULL)
    others = run(
        Race(FULL, 0), replace(takers, networks=takers.networks[:1] + takers.networks[2:]), trainer(accuracies)
    )
    alone = others.posterior(takers, FULL)
    assert believed is not None
    assert alone is not None
    assert believed.numbers == alone.numbers
    assert np.array_equal(believed.draws, alone.draws)
    results.add((0, 0, ORDER), trainer(accuracies, early=5)((0, 0, ORDER)))
    again = results.posterior(takers, FULL)
    assert again is not None
    assert 0 not in again.candidates


def test_who_is_at_guessing_early_is_trained_to_the_end() -> None:
    takers = field(8)
    accuracies = {0: 0.9, **dict.fromkeys((BASELINE, *range(1, 8)), 0.7)}
    slow = trainer(accuracies)

    def train(key: Key) -> Bools | None:
        return trainer({0: 0.1})(key) if key[0] == 0 and key[2] == ORDER else slow(key)

    assert (0, 0) in keys(run(RACE, takers, train), FULL)


@pytest.mark.parametrize("failing", [(0, 1), (0, 1, BASELINE)])
def test_all_failed_is_no_answer(failing: tuple[int, ...]) -> None:
    takers = field(2)
    results = run(RACE, takers, trainer({}, failing))
    assert results.posterior(takers, FULL) is None


def test_the_outlook_counts_what_is_left() -> None:
    takers, train = field(8, always=(7,)), trainer(dict.fromkeys(range(8), 0.7))
    race, results = replace(RACE, tolerance=0.0), Results()
    assert [len(step) for step in outlook(race, takers, results)] == [2, 16, 5, 6]
    state = State((), 0)
    while (state := advance(race, takers, results)).wanted:
        left = outlook(race, takers, results)
        assert set(state.wanted) <= {key for step in left for key in step}
        assert len(results) + sum(map(len, left)) <= state.planned
        results.add(state.wanted[0], train(state.wanted[0]))
    assert outlook(race, takers, results) == ()
    assert len(results) == state.planned


def test_the_posterior_is_asked_once_for_the_same_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    from scalesearch.study import race as module

    takers, train, asked = field(6), trainer(dict.fromkeys(range(6), 0.7)), list[int]()
    real = module.posterior
    monkeypatch.setattr(module, "posterior", lambda *given: asked.append(1) or real(*given))
    run(RACE, takers, train, at_once=1)
    assert len(asked) <= 1 + -(-6 // ROUND) + 1
