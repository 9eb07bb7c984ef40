import math

import numpy as np
import pytest

from scalesearch.study.comparison import Side, compare
from scalesearch.study.statistics import Bools

TARGET = 1e6


def answers(accuracy: float, images: int = 2000) -> Bools:
    """The first images right: two networks differ on as few images as their accuracies ask for."""
    return np.arange(images)[None] < accuracy * images


def test_more_flops_and_the_same_accuracy_is_bought() -> None:
    found = compare(Side("c1", answers(0.6), 2_600_000), Side("c0", answers(0.6), 2_000_000), "width", 9, TARGET, None)
    assert found.verdict == "bought"
    assert found.accuracy_part == 0
    assert found.cost_part == pytest.approx(-0.07 * math.log(1.3))
    assert found.gap < 0


def test_a_little_more_accuracy_for_many_more_flops_is_bought_too() -> None:
    found = compare(
        Side("c1", answers(0.61), 3_000_000), Side("c0", answers(0.60), 2_000_000), "depth", 9, TARGET, None
    )
    assert found.verdict == "bought"
    assert found.accuracy_part > 0


def test_more_accuracy_at_equal_cost_is_won_and_the_reverse_lost() -> None:
    better, worse = Side("c1", answers(0.65), 2_000_000), Side("c0", answers(0.60), 2_010_000)
    found = compare(better, worse, "resolution", 9, TARGET, None)
    assert found.verdict == "won"
    assert found.low > 0
    assert compare(worse, better, "resolution", 9, TARGET, None).verdict == "lost"


def test_equal_cost_and_a_difference_by_chance_is_not_shown() -> None:
    rng = np.random.default_rng(3)
    sides = [Side(name, rng.random((2, 500)) < 0.5, 2_000_000) for name in ("c1", "c0")]
    assert compare(sides[0], sides[1], "width", 9, TARGET, None).verdict == "not shown"


def test_the_parts_add_up_to_the_score() -> None:
    found = compare(Side("c1", answers(0.66), 2_200_000), Side("c0", answers(0.6), 2_000_000), "width", 9, TARGET, None)
    scores = [0.66 * (2.2e6 / TARGET) ** -0.07, 0.6 * (2e6 / TARGET) ** -0.07]
    assert found.accuracy_part + found.cost_part == pytest.approx(math.log(scores[0] / scores[1]))
    assert found.gap == pytest.approx(scores[0] - scores[1])


def test_no_image_right_has_parts_all_the_same() -> None:
    found = compare(Side("c1", answers(0.0), 2_000_000), Side("c0", answers(0.0), 2_000_000), "width", 9, TARGET, None)
    assert found.verdict == "not shown"
    assert math.isfinite(found.accuracy_part)
