"""Intervals against published values, exact distributions and simulation."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, betabinom

from scalesearch.study.statistics import (
    Gain,
    design_effect,
    difference_error,
    images_for,
    intraclass_correlation,
    long_run_interval,
    next_interval,
    people_interval,
    recognition_gain,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("correct", "total", "expected"),
    [  # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_published_values(correct: int, total: int, expected: tuple[float, float]) -> None:
    interval = wilson_interval(correct, total)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_wilson_holds_the_share_and_mirrors(counts: tuple[int, int], level: float) -> None:
    correct, total = counts
    interval, mirrored = wilson_interval(correct, total, level), wilson_interval(total - correct, total, level)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-9)


@pytest.mark.parametrize(("correct", "total", "level"), [(1, 0, 0.9), (3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0)])
def test_wilson_refuses(correct: int, total: int, level: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(correct, total, level)


def test_values_and_statistics_need_no_torch() -> None:
    modules = "scalesearch.study.statistics, scalesearch.study.config, scalesearch.training.history"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_interval_over_people_is_wider_than_over_photos() -> None:
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 10)
    by_people = people_interval(values, np.repeat(np.arange(40), 10))
    by_photos = people_interval(values, np.arange(400))
    assert by_people[1] - by_people[0] > 2 * (by_photos[1] - by_photos[0])


def test_nothing_or_everything_is_no_certainty() -> None:
    people = np.repeat(np.arange(8), 3)
    assert people_interval(np.zeros(24), people) == (0.0, pytest.approx(0.3694, abs=1e-4))  # scipy's binomtest, exact
    assert people_interval(np.ones(24), people) == (pytest.approx(0.6306, abs=1e-4), 1.0)


def test_intervals_are_those_of_the_beta_and_beta_binomial_distributions() -> None:
    assert long_run_interval(5, 499, 1.0) == pytest.approx(beta(5, 495).ppf([0.025, 0.975]), abs=1e-3)
    expected = betabinom(300, 5, 495).ppf([0.025, 0.975]) / 300
    assert next_interval(5, 499, 1.0, 300, 1.0) == pytest.approx(expected, abs=1.01 / 300)


def clustered(rng: np.random.Generator, people: int, photos: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    own = rng.normal(size=(people, 1)) * np.sqrt(correlation)
    values = own + rng.normal(size=(people, photos)) * np.sqrt(1 - correlation)
    return values.ravel(), np.repeat(np.arange(people), photos)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7])
def test_correlation_within_people_is_found(correlation: float) -> None:
    values, people = clustered(np.random.default_rng(1), 600, 3, correlation)
    assert intraclass_correlation(values, people) == pytest.approx(correlation, abs=0.06)
    assert design_effect(values, people) == pytest.approx(1 + 2 * correlation, abs=0.12)


def recognised(rng: np.random.Generator, lead: float) -> Gain:
    """Two ways to tell 20 members of 5 photos from 80 strangers of 2, of which the second is ``lead`` nearer."""
    people, others = np.repeat(np.arange(20), 5), np.repeat(np.arange(80), 2)
    own, stranger = rng.normal(0.8, 0.3, 20)[people], rng.normal(2.5, 0.5, 80)[others]
    distances = np.stack([own + rng.normal(0, 0.6, 100) - shift for shift in (0, lead)])
    strangers = np.stack([stranger + rng.normal(0, 0.4, 160) for _ in range(2)])
    right = rng.random((2, 100)) < 0.95
    return recognition_gain(right, distances, strangers, people, others, 0.01, draws=120)


def test_a_gain_of_recognition_is_found_and_none_is_not_invented() -> None:
    rng = np.random.default_rng(0)
    none = [recognised(rng, 0.0).difference for _ in range(80)]
    some = [recognised(rng, 1.0).difference for _ in range(30)]
    assert sum(one.low > 0 for one in none) <= 0.08 * len(none)
    assert sum(one.high < 0 for one in none) <= 0.08 * len(none)
    assert sum(one.low > 0 for one in some) >= 0.5 * len(some)


def test_a_gain_of_recognition_is_the_protocol_s_rate() -> None:
    from scalesearch.faces.protocols import limit_at

    rng = np.random.default_rng(1)
    people, others = np.repeat(np.arange(8), 4), np.arange(150)
    distances, strangers = rng.random((2, 32)), rng.random((2, 150)) + 0.1
    right = rng.random((2, 32)) < 0.9
    found = recognition_gain(right, distances, strangers, people, others, 0.05)
    for way, share in enumerate((found.first, found.second)):
        limit = limit_at(strangers[way].astype(np.float32), 0.05)
        assert share.value == (right[way] & (distances[way] < limit)).mean()
    assert found.difference.value == pytest.approx(found.second.value - found.first.value)


def test_ways_that_never_differ_are_not_known_to_be_equal() -> None:
    people, others = np.repeat(np.arange(20), 2), np.arange(50)
    found = recognition_gain(
        np.ones((2, 40), bool), np.zeros((2, 40)), np.ones((2, 50)), people, others, 0.01, draws=50
    )
    assert (found.first.value, found.first.high) == (1.0, 1.0)
    assert found.first.low == pytest.approx(0.8316, abs=1e-4)  # scipy's binomtest(20, 20), exact
    assert found.difference.low == -found.difference.high < 0


@pytest.mark.parametrize(("error", "images"), [(0.005, 8000), (0.003, 22_223), (0.1, 20)])
def test_images_for_an_error_of_a_difference(error: float, images: int) -> None:
    assert images_for(error) == images
    assert difference_error(images) <= error < difference_error(images - 1)


def test_the_error_of_a_difference_is_that_of_simulated_networks() -> None:
    rng = np.random.default_rng(0)
    first = rng.random((4000, 500)) < 0.7
    flipped = rng.random(first.shape) < 0.2  # exactly one of the two is right
    differences = (first ^ flipped).mean(axis=1) - first.mean(axis=1)
    assert differences.std() == pytest.approx(difference_error(500), rel=0.1)
