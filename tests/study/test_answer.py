"""The answer of a search, from made-up trainings: how sure it is, what it says of the controls, and its files."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalesearch.design.measure import Measure
from scalesearch.design.scaling import Step
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import shape_of
from scalesearch.errors import UserError
from scalesearch.study.answer import (
    ANSWER_FILE,
    RECOMMENDATION_FILE,
    Answer,
    Speed,
    Verdict,
    conclude,
    field,
    measured_speeds,
    read_answer,
    read_recommendation,
    recommend,
    verdict,
    write_answer,
)
from scalesearch.study.config import Ties, TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, Results, advance, exhaustive
from scalesearch.study.row import BASELINE, Key
from scalesearch.study.statistics import Bools, Interval
from tests.rows import make_row

IMAGES, FULL, EARLY = 1000, 8, 2
SMALL = load_space("mbconv_small").baseline
PLAN = SearchPlan(
    space="mbconv_small", baseline=SMALL, grid=Grid(0.2, 0.2), rounding="budget", real_tolerance=None, target_macs=3e6,
    data="glyphs", data_digest="abc", validation=IMAGES, majority=0.1, proxy=Proxy(SMALL, FULL, 100),
    train=TrainConfig(epochs=FULL), device="cpu",
)  # fmt: skip
CANDIDATES = PLAN.enumerate().candidates
NUMBERS = range(len(CANDIDATES))
TAKERS = field(PLAN, CANDIDATES)
RACE = Race(FULL, 0)
PAPER = next(c for c in CANDIDATES if c.control == "paper")
DIFFICULTY = np.random.default_rng(0).random(IMAGES)
EQUAL = dict.fromkeys((BASELINE, *NUMBERS), 0.7)


def right(key: Key, accuracy: float) -> Bools:
    """Hard images are hard for all; the rest is by the training's luck."""
    number, seed, epochs = key
    noise = np.random.default_rng([number + 1, seed, epochs]).normal(0, 0.05, IMAGES)
    return np.asarray(DIFFICULTY + noise < accuracy)


def trained(accuracies: Mapping[int, float], seeds: int = 1) -> Results:
    """Full trainings of some networks; the baseline's twice."""
    keys = [(n, seed, FULL) for n in accuracies for seed in range(2 if n == BASELINE else seeds)]
    return Results({key: right(key, accuracies[key[0]]) for key in keys})


def concluded(results: Results, race: Race = RACE, speeds: Mapping[int, Speed] | None = None) -> Answer:
    answer = conclude(race, advance(race, TAKERS, results), TAKERS, CANDIDATES, results, speeds or {})
    assert answer is not None
    return answer


def test_equal_networks_are_not_told_apart() -> None:
    answer = concluded(trained(EQUAL, seeds=2))
    against = {one.dimension: one for one in answer.comparisons}
    assert set(against) >= {"baseline", "paper"}
    assert all(one.verdict == "not shown" for one in answer.comparisons if one.dimension != "baseline")
    assert against["baseline"].verdict in ("bought", "lost")  # twice the FLOPs for nothing
    assert against["baseline"].cost_ratio == pytest.approx(2, abs=0.1)
    assert len(answer.members) > len(CANDIDATES) / 2
    assert answer.certainty is not None
    assert answer.certainty.mean_gap.low < answer.certainty.mean_gap.value < answer.certainty.mean_gap.high


def test_a_clear_winner_has_won_against_all() -> None:
    best = NUMBERS[-1]
    answer = concluded(trained({**EQUAL, best: 0.9}, seeds=2))
    assert (answer.recommended, answer.rule, answer.undecided) == (CANDIDATES[best].name, "score", "")
    assert {one.verdict for one in answer.comparisons} == {"won"}
    assert {one.dimension for one in answer.comparisons} == {"baseline", "depth", "width", "resolution", "paper"}
    assert [one.name for one in answer.members] == [answer.recommended]
    assert answer.certainty is not None
    assert answer.certainty.bound < answer.certainty.tolerance
    assert answer.certainty.equivalents == (answer.recommended,)
    standing = answer.best
    assert standing is not None
    assert standing.best > 0.99
    assert standing.test == "in"
    assert sum(one.best for one in answer.standings) == pytest.approx(1)
    assert standing.measured == pytest.approx(0.9 * TAKERS.factors[best], abs=0.01)
    assert answer.complete


def test_who_was_not_trained_to_the_end_stands_by_the_score_expected_of_it() -> None:
    best, last, early = NUMBERS[-1], NUMBERS[1], NUMBERS[0]
    results = trained({n: 0.95 if n == best else 0.3 if n == last else 0.6 for n in (*NUMBERS, BASELINE) if n != early})
    for n in NUMBERS:  # all were ordered, at a lower accuracy
        results.add((n, 0, 1), right((n, 0, 1), {best: 0.4, last: 0.2}.get(n, 0.3)))
    hopeless = [one for one in concluded(results, Race(FULL, 1)).standings if one.best == 0]
    assert {CANDIDATES[early].name, CANDIDATES[last].name} <= {one.name for one in hopeless}
    assert hopeless[-1].name == CANDIDATES[last].name
    expected = [one.score.value for one in hopeless if one.score]
    assert expected == sorted(expected, reverse=True)


def test_the_parts_add_up_to_the_scores() -> None:
    answer = concluded(trained({**EQUAL, 4: 0.8}))
    scores = {one.name: one.score.value for one in answer.standings if one.score}
    for one in answer.comparisons:
        if one.dimension != "baseline":
            lead = math.log(scores[answer.recommended] / scores[one.control])
            assert one.accuracy_part + one.cost_part == pytest.approx(lead, abs=1e-3)
            assert one.gap == pytest.approx(scores[answer.recommended] - scores[one.control], abs=1e-3)
        assert one.low < one.gap < one.high


@pytest.mark.parametrize(
    ("as_accurate", "gap", "low", "high", "ratio", "said"),
    [
        (True, 0.02, 0.01, 0.03, 1.0, "won"),
        (False, 0.02, 0.01, 0.03, 0.5, "won"),  # by its cost
        (True, 0.02, -0.01, 0.03, 1.0, "not shown"),
        (True, -0.02, -0.03, -0.01, 1.3, "lost"),
        (True, -0.02, -0.03, 0.01, 1.3, "bought"),
        (False, -0.02, -0.03, -0.01, 1.3, "lost"),
        (False, -0.02, -0.03, -0.01, 1.0, "lost"),
        (True, -0.02, -0.03, 0.01, 1.02, "not shown"),  # as good as equal cost
    ],
)
def test_verdicts(as_accurate: bool, gap: float, low: float, high: float, ratio: float, said: Verdict) -> None:
    assert verdict(as_accurate, Interval(gap, low, high), ratio) == said


def test_nothing_is_decided_where_the_baseline_guesses() -> None:
    answer = concluded(trained({BASELINE: 0.1}))
    assert "guessing" in answer.undecided
    assert (answer.recommended, answer.rule, answer.certainty) == (PAPER.name, "default", None)
    assert (answer.standings, answer.comparisons, answer.best, answer.complete) == ((), (), None, True)


def test_nothing_is_decided_where_most_candidates_guess() -> None:
    results = trained({n: 0.7 if n in (BASELINE, 0, 1) else 0.1 for n in EQUAL})
    answer = concluded(results)
    assert (
        answer.undecided == f"{len(CANDIDATES) - 2} of {len(CANDIDATES)} networks are not clearly better than guessing"
    )
    assert (answer.recommended, answer.certainty, answer.comparisons) == (PAPER.name, None, ())
    assert {one.status for one in answer.standings} == {"unknown"}
    assert all(one.score is None for one in answer.standings)
    assert answer.best is not None  # it was trained, which decides nothing


def test_nothing_is_decided_by_one_candidate_or_by_early_trainings() -> None:
    results = trained({BASELINE: 0.7, 2: 0.7})
    assert concluded(results).undecided == "only one candidate has been trained to the end"
    results = trained({BASELINE: 0.7})
    for number in NUMBERS:
        results.add((number, 0, EARLY), right((number, 0, EARLY), 0.5))
    answer = concluded(results)
    assert answer.undecided == "no candidate has been trained to the end"
    assert {(one.epochs, one.seeds) for one in answer.standings} == {(EARLY, 1)}
    assert not answer.complete


def test_nothing_trained_is_no_answer() -> None:
    nothing = Results()
    assert conclude(RACE, advance(RACE, TAKERS, nothing), TAKERS, CANDIDATES, nothing, {}) is None
    begun = concluded(Results({(BASELINE, 0, FULL): right((BASELINE, 0, FULL), 0.7)}))
    assert begun.undecided == "no candidate has been trained to the end"
    assert not begun.complete


def test_one_failed_seed_removes_nobody() -> None:
    results = trained({**EQUAL, 5: 0.9}, seeds=2)
    failed = (5, 0, FULL)
    answer = concluded(
        Results({key: None if key == failed else results.seeds(key[0], FULL)[key[1]] for key in results})
    )
    assert answer.recommended == "c005"
    assert answer.best is not None
    assert answer.best.seeds == 1


def test_the_fastest_of_equivalents_is_taken() -> None:
    results = trained(EQUAL, seeds=3)
    easy = replace(RACE, tolerance=0.05)
    by_score = concluded(results, easy)
    assert by_score.certainty is not None
    first, second, *_ = by_score.certainty.equivalents
    numbers = {candidate.name: candidate.index for candidate in CANDIDATES}

    def chosen(latency: float, seconds: float = 1.0, race: Race = easy) -> Answer:
        times = {number: Speed(10.0, 1.0) for number in NUMBERS}
        return concluded(results, race, {**times, numbers[second]: Speed(latency, seconds)})

    fast = chosen(5.0)
    assert (fast.recommended, fast.rule) == (second, "speed")
    assert fast.certainty is not None
    assert (fast.certainty.best, fast.certainty.equivalents) == (first, by_score.certainty.equivalents)
    assert fast.certainty.loss > fast.certainty.best_loss
    assert set(fast.speeds) == set(fast.certainty.equivalents)
    assert chosen(9.5).recommended == first  # no tenth is saved
    assert chosen(5.0, seconds=2.0).recommended == first  # what is saved in use is paid in training
    assert chosen(5.0, race=replace(RACE, tolerance=1e-9)).recommended == first


SAVED = ("latency", "activations")  # a tenth or more, by another one than the best of these


@pytest.mark.parametrize("ties", ["latency", "memory", "params", "activations", "flops"])
def test_ties_are_broken_by_the_cost_that_is_named(ties: Ties) -> None:
    results = trained(EQUAL, seeds=3)
    easy = replace(RACE, tolerance=0.05, ties=ties)
    latencies = {number: Speed(10.0 + number, 1.0) for number in NUMBERS}
    answer = concluded(results, easy, latencies)
    assert answer.certainty is not None
    specs = {candidate.name: candidate for candidate in CANDIDATES}
    best, takers = answer.certainty.best, [one.name for one in answer.members]

    def cost(name: str) -> float:
        if ties == "latency":
            return 10.0 + specs[name].index
        return Measure(ties).of(specs[name].spec)

    least = min((name for name in answer.certainty.equivalents if name in takers), key=cost)
    saves = cost(least) < 0.9 * cost(best)
    assert (answer.recommended, answer.rule) == ((least, "cost") if saves else (best, "score"))
    assert answer.ties == ties
    assert saves == (ties in SAVED)


def test_a_latency_that_was_not_measured_breaks_no_tie() -> None:
    easy = replace(RACE, tolerance=0.05, ties="latency")
    assert concluded(trained(EQUAL, seeds=3), easy, {n: Speed(None, 1.0) for n in NUMBERS}).rule == "score"


def test_the_same_trainings_in_another_order_or_by_another_race_are_the_same_answer() -> None:
    results = trained({**EQUAL, 4: 0.74, 5: 0.75}, seeds=2)
    for number in NUMBERS:
        results.add((number, 0, EARLY), right((number, 0, EARLY), 0.5))
    answer = concluded(results)
    turned = {key: right(key, 0.5) if key[2] == EARLY else results.seeds(key[0], FULL)[key[1]] for key in results}
    assert concluded(Results(dict(reversed(turned.items())))) == answer
    for race in (exhaustive(RACE, 2), Race(FULL, EARLY, further=0), Race(FULL, EARLY, seeds=9, further=9)):
        assert replace(concluded(results, race), complete=answer.complete) == answer


def test_the_recommendation_scales_to_the_network_that_was_compared() -> None:
    results = trained({**EQUAL, 5: 0.9})
    answer = concluded(results)
    found = recommend(PLAN, answer, CANDIDATES, results, 3)
    best, factors = CANDIDATES[5], found.coefficients
    assert (found.winner, found.done, found.total, found.complete) == ("c005", len(results), len(results) + 3, False)
    assert (factors.alpha, factors.beta, factors.gamma, factors.growth) == (
        best.coefficients.alpha, best.coefficients.beta, best.coefficients.gamma, 2.0,
    )  # fmt: skip
    assert factors.searched == Step(shape_of(SMALL), shape_of(best.spec))
    assert found.top1 == results.accuracy(5, FULL)
    literal = replace(PLAN, rounding="efficientnet")
    assert recommend(literal, answer, CANDIDATES, results, 0).coefficients.growth is None
    nothing = trained({BASELINE: 0.1})
    default = recommend(PLAN, concluded(nothing), CANDIDATES, nothing, 0)
    assert (default.winner, default.score, default.top1, default.complete) == (PAPER.name, None, None, True)


def test_speeds_are_medians_over_trainings() -> None:
    rows = [
        make_row(0, 0, 2, seconds=8.0, latency_ms=None),
        make_row(0, 0, 8, seconds=6.0, latency_ms=3.0),  # six epochs more
        make_row(0, 1, 8, seconds=16.0, latency_ms=5.0),
        make_row(1, 0, 2, seconds=1.0, latency_ms=None),
        make_row(2, 0, 8, seconds=1.0, reason="no luck"),
    ]
    assert measured_speeds(rows[::-1]) == {0: Speed(4.0, 2.0), 1: Speed(None, 0.5)}


@pytest.mark.parametrize("best", [0.9, 0.1])
def test_round_trip(tmp_path: Path, best: float) -> None:
    results = trained({**EQUAL, 5: best, BASELINE: best})
    answer = concluded(results, speeds={n: Speed(1.0, 2.0) for n in NUMBERS})
    chosen = recommend(PLAN, answer, CANDIDATES, results, 1)
    write_answer(tmp_path, answer, chosen)
    assert read_recommendation(tmp_path) == chosen
    assert read_answer(tmp_path) == answer
    assert not chosen.complete
    assert replace(chosen, total=chosen.done).complete


@pytest.mark.parametrize("name", [ANSWER_FILE, RECOMMENDATION_FILE])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 2}', '{"format": 2, "coefficients": {"x": 1}}']
)
def test_damaged_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        read_answer(tmp_path) if name == ANSWER_FILE else read_recommendation(tmp_path)


def test_no_search_there(tmp_path: Path) -> None:
    assert read_answer(tmp_path) is None
    with pytest.raises(UserError, match="scalesearch grid"):
        read_recommendation(tmp_path)


def test_a_network_recommended_for_its_speed_is_one_that_may_be_taken_for_the_best() -> None:
    """In the set, within the tolerance of whoever is the best, and with a bound that the race stopped at."""
    quick = 0
    for repeat in range(20):
        rng = np.random.default_rng(repeat)
        accuracies = {n: 0.7 + rng.normal(0, 0.004) for n in (BASELINE, *NUMBERS)}
        speeds = {n: Speed(rng.uniform(1, 9), rng.uniform(1, 9)) for n in NUMBERS}
        answer = concluded(trained(accuracies, seeds=3), replace(RACE, tolerance=0.02), speeds)
        assert answer.certainty is not None
        assert answer.certainty.bound >= answer.certainty.loss
        if answer.rule == "speed":
            quick += 1
            assert answer.recommended in {one.name for one in answer.members}
            assert answer.certainty.loss <= 0.02
            if concluded(trained(accuracies, seeds=3), replace(RACE, tolerance=0.02)).certainty.bound <= 0.02:  # type: ignore[union-attr]
                assert answer.certainty.bound <= 0.02
    assert quick > 2


def test_whether_the_baseline_has_learnt_depends_on_its_trainings_alone() -> None:
    results = trained({**EQUAL, BASELINE: 0.1})
    answers = [concluded(results, race) for race in (RACE, exhaustive(RACE, 3), replace(RACE, further=9))]
    assert {one.undecided for one in answers} == {answers[0].undecided}
    assert "guessing" in answers[0].undecided


def test_who_is_at_guessing_stands_last_without_a_score() -> None:
    lost = NUMBERS[1]
    answer = concluded(trained({**EQUAL, lost: 0.1}, seeds=2))
    last = answer.standings[-1]
    assert (last.name, last.score, last.best, last.status, last.test) == (
        CANDIDATES[lost].name, None, 0.0, "outside", "not judged",
    )  # fmt: skip
    assert all(one.score for one in answer.standings[:-1])
