"""The threshold's rate and interval, by simulation."""

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.faces.gallery import fit_threshold
from tests.study.test_intervals import clustered


def test_the_threshold_is_the_order_statistic_that_keeps_the_rate() -> None:
    distances = np.arange(1, 200, dtype=float) / 100  # 199 photos: k = 2 of 200 for 1 %
    found = fit_threshold(distances, np.arange(199), 0.01)
    assert (found.distance, found.expected) == (0.02, 0.01)
    assert (distances < found.distance).mean() <= 0.01


def test_too_few_photos_are_said() -> None:
    found = fit_threshold(np.linspace(0.5, 1, 20), np.arange(20), 0.01)
    assert found.expected == pytest.approx(1 / 21)
    assert found.distance == 0.5


def test_the_mean_rate_over_many_fits_is_the_expected_one() -> None:
    rng = np.random.default_rng(0)
    true = []
    for _ in range(400):
        distances = rng.random(199)
        true.append(fit_threshold(distances, np.arange(199), 0.05).distance)  # uniform: the rate is the distance
    assert np.mean(true) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_rate_on_others_lies_in_the_interval(correlation: float) -> None:
    """Of 300 repeats the nominal share is 95 %; 90 % is what is promised."""
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(300):
        values, people = clustered(rng, 120, 3, correlation)
        found = fit_threshold(2 + values / 4, people, 0.05)  # distances lie between 0 and 4
        others, _ = clustered(rng, 120, 3, correlation)
        rate = float((2 + others / 4 < found.distance).mean())
        inside += found.low_next <= rate <= found.high_next
    assert inside >= 270


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1, float("nan")])
def test_rates_out_of_range_are_refused(fpir: float) -> None:
    with pytest.raises(UserError, match="--fpir"):
        fit_threshold(np.arange(10.0), np.arange(10), fpir)


def test_one_photo_is_refused() -> None:
    with pytest.raises(UserError, match="strangers"):
        fit_threshold(np.array([1.0]), np.array([0]), 0.01)


def test_rates_near_their_ends_are_fitted_or_refused() -> None:
    distances, people = np.linspace(0.1, 1, 30).astype(np.float32), np.arange(30)
    assert fit_threshold(distances, people, 1 - 1e-13).distance == pytest.approx(1.0)
    with pytest.raises(UserError, match="is not between 1e-06 and 1"):
        fit_threshold(distances, people, 1e-300)
