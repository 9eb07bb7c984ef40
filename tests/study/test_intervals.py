"""Intervals against published values, exact distributions and simulation."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, betabinom

from scalesearch.study.statistics import (
    design_effect,
    intraclass_correlation,
    long_run_interval,
    next_interval,
    people_interval,
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
