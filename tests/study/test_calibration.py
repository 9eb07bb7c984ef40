import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.study.calibration import advice, calibration


def test_a_network_that_knows_how_sure_it_is_has_no_error() -> None:
    probabilities = np.repeat(np.float32([0.25, 0.75]), 100)
    right = np.concatenate([np.arange(100) < 25, np.arange(100) < 75])
    found = calibration(right, probabilities)
    assert found.ece == pytest.approx(0, abs=1e-6)
    assert sum(found.images) == 200


def test_error_by_hand() -> None:
    # two bins: 3 images at 0.9 with 1 right, 1 image at 0.1 that is wrong
    found = calibration(np.array([True, False, False, False]), np.float32([0.9, 0.9, 0.9, 0.1]), bins=2)
    assert found.ece == pytest.approx(3 / 4 * (0.9 - 1 / 3) + 1 / 4 * 0.1, abs=1e-6)
    assert found.images == (1, 3)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_the_error_is_a_share_and_empty_bins_are_none(rows: list[tuple[bool, float]]) -> None:
    found = calibration(np.array([r for r, _ in rows]), np.array([p for _, p in rows], np.float32))
    assert 0 <= found.ece <= 1
    values = found.to_dict()
    assert [a is None for a in values["accuracy"]] == [n == 0 for n in values["images"]]  # type: ignore[attr-defined]


def test_advice_follows_the_gap() -> None:
    rng = np.random.default_rng(0)
    for accuracy, begins in ((0.6, "It is surer"), (0.95, "It is less sure"), (0.8, "That its probabilities")):
        right = rng.permutation(np.arange(1000) < 1000 * accuracy)
        found = calibration(right, np.full(1000, 0.8, np.float32))
        assert found.gap.low < 0.8 - accuracy < found.gap.high
        assert advice(found).startswith(begins)


def test_trainings_of_the_same_images_are_no_further_images() -> None:
    right = np.random.default_rng(1).random((1, 500)) < 0.5
    stated = np.full((1, 500), 0.7, np.float32)
    one, three = calibration(right, stated), calibration(np.repeat(right, 3, 0), np.repeat(stated, 3, 0))
    assert three.gap.high - three.gap.low == pytest.approx(one.gap.high - one.gap.low)
    assert sum(three.images) == 1500


@pytest.mark.parametrize(("images", "low"), [(10, 0.9), (30, 0.95), (64, 0.97), (334, 0.985)])
def test_a_network_that_is_calibrated_is_seldom_said_not_to_be(images: int, low: float) -> None:
    """Where nearly all are right, too: there the images themselves hardly vary."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        stated = rng.uniform(low, 1, images).astype(np.float32)
        gap = calibration(rng.random(images) < stated, stated).gap
        wrong += gap.low > 0 or gap.high < 0
    assert wrong / 400 < 0.1
