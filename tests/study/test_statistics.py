"""The winner set on simulated truths: it contains the best as often as it says, and is small where data allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.errors import ScaleSearchError
from scalesearch.study.statistics import Bools, SeedSpread, not_beaten, seed_spread, weigh


def simulated(abilities: list[float], images: int, seeds: int, seed_sd: float, rng: np.random.Generator) -> list[Bools]:
    """Right or wrong answers: images differ in difficulty for all networks alike, seeds move a network as a whole."""
    difficulty = rng.normal(0, 1.5, images)
    return [
        rng.random((seeds, images)) < 1 / (1 + np.exp(-(a + difficulty + rng.normal(0, seed_sd, seeds)[:, None])))
        for a in abilities
    ]


def coverage(gaps: list[float], images: int, seeds: int, seed_sd: float, repeats: int) -> tuple[float, float]:
    """How often the best of all is in the 90 % set, and the set's mean size."""
    hits = size = 0
    for repeat in range(repeats):
        correct = simulated(gaps, images, seeds, seed_sd, np.random.default_rng(repeat))
        evidence = weigh(correct, [1.0] * len(gaps), seed_spread(correct), draws=400)
        inside = not_beaten(evidence)
        hits += bool(inside[int(np.argmax(gaps))])
        size += int(inside.sum())
    return hits / repeats, size / repeats


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.1)])
def test_the_set_contains_the_best_nine_times_in_ten(seeds: int, seed_sd: float) -> None:
    """120 repeats: 85 % would be two standard errors below 90 %."""
    gaps = list(np.linspace(0.3, 0.0, 10))
    hit, size = coverage(gaps, 600, seeds, seed_sd, 120)
    assert hit >= 0.9
    assert 1 <= size < 10


def test_equal_networks_stay_in_together() -> None:
    hit, size = coverage([0.4] * 8, 400, 3, 0.05, 120)
    assert hit >= 0.85  # any of them is "the best": the level holds for each
    assert size > 6


def test_more_images_make_the_set_smaller() -> None:
    gaps = list(np.linspace(0.5, 0.0, 8))
    few, many = (coverage(gaps, images, 2, 0.02, 30)[1] for images in (150, 3000))
    assert many < few - 1
    assert many < 3


def test_without_the_spread_between_seeds_the_set_is_too_small() -> None:
    """Why a search trains its first rung twice: seeds that move whole networks look like evidence."""
    rng = np.random.default_rng(0)
    hidden = known = 0
    for _ in range(60):
        correct = simulated([0.2] * 6, 1500, 1, 0.3, rng)
        hidden += bool(not_beaten(weigh(correct, [1.0] * 6, None, draws=300))[0])
        known += bool(not_beaten(weigh(correct, [1.0] * 6, SeedSpread(0.05, 100), draws=300))[0])
    assert hidden / 60 < 0.75
    assert known / 60 > 0.85


def test_spread_between_seeds_is_recovered_without_the_flips_of_single_images() -> None:
    rng = np.random.default_rng(1)
    assert seed_spread([rng.random((1, 100)) < 0.5]) is None
    flips_only = seed_spread([rng.random((3, 500)) < 0.6 for _ in range(30)])
    assert flips_only is not None
    assert flips_only.sd < 0.01
    assert flips_only.freedom == 60
    moved = seed_spread([rng.random((3, 500)) < rng.normal(0.6, 0.05, (3, 1)) for _ in range(60)])
    assert moved is not None
    assert moved.sd == pytest.approx(0.05, rel=0.2)


def test_one_candidate_and_all_equal() -> None:
    same = np.random.default_rng(0).random((2, 50)) < 0.5
    assert not_beaten(weigh([same], [1.0], None)).tolist() == [True]
    assert not_beaten(weigh([same] * 4, [1.0] * 4, None)).tolist() == [True] * 4


def test_less_than_one_image_is_no_evidence_but_all_images_are() -> None:
    same = np.random.default_rng(0).random((1, 400)) < 0.5
    assert not_beaten(weigh([same, same], [1.0, 0.999], None)).tolist() == [True, True]
    right, wrong = np.ones((1, 400), bool), np.zeros((1, 400), bool)
    assert not_beaten(weigh([right, wrong], [1.0, 1.0], None)).tolist() == [True, False]


def test_pairing_tells_apart_what_unpaired_intervals_do_not() -> None:
    rng = np.random.default_rng(2)
    better = rng.random((1, 1000)) < 0.6
    worse = better.copy()
    worse[0, np.flatnonzero(better[0])[:20]] = False  # 2 points, on 20 images alone
    evidence = weigh([better, worse], [1.0, 1.0], None)
    low, high = evidence.interval(0)[0], evidence.interval(1)[1]
    assert low < high  # the intervals overlap
    assert not_beaten(evidence).tolist() == [True, False]
    gap, least, most = evidence.gap(0, 1)
    assert gap == pytest.approx(0.02)
    assert 0 < least < 0.02 < most


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(2, 60), st.integers(0, 9))
def test_the_highest_score_is_always_in(count: int, seeds: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = [rng.random((seeds, images)) < rng.random() for _ in range(count)]
    evidence = weigh(correct, list(rng.uniform(0.9, 1.1, count)), seed_spread(correct), draws=100)
    assert not_beaten(evidence)[int(np.argmax(evidence.scores))]
    again = weigh(correct, [1.0] * count, seed_spread(correct), draws=100)
    assert np.array_equal(again.deviations, weigh(correct, [1.0] * count, seed_spread(correct), draws=100).deviations)


def test_different_images_are_refused() -> None:
    with pytest.raises(ScaleSearchError, match="same images"):
        weigh([np.ones((1, 5), bool), np.ones((1, 6), bool)], [1.0, 1.0], None)
    with pytest.raises(ScaleSearchError, match="same images"):
        weigh([np.ones((1, 0), bool)], [1.0], None)
