"""The answer of a search: the recommended network against a control, and its files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.study.answer import (
    ANSWER_FILE,
    RECOMMENDATION_FILE,
    Answer,
    Comparison,
    Recommendation,
    Standing,
    compare,
    read_answer,
    read_recommendation,
    write_answer,
)
from scalesearch.study.statistics import Bools, sample

TARGET = 1e6


class Side(NamedTuple):
    name: str
    correct: Bools
    macs: int


def compared(one: Side, other: Side, dimension: str = "width") -> Comparison:
    return compare(
        (one.name, other.name), dimension, 9, (sample(one.correct), sample(other.correct)), (one.macs, other.macs),
        TARGET, None,
    )  # fmt: skip


def answers(accuracy: float, images: int = 2000) -> Bools:
    """The first images right: two networks differ on as few images as their accuracies ask for."""
    return np.arange(images)[None] < accuracy * images


def test_more_flops_and_the_same_accuracy_is_bought() -> None:
    one = compared(Side("c1", answers(0.6), 2_600_000), Side("c0", answers(0.6), 2_000_000), "width")
    assert one.verdict == "bought"
    assert one.accuracy_part == 0
    assert one.cost_part == pytest.approx(-0.07 * math.log(1.3))
    assert one.gap < 0


def test_a_little_more_accuracy_for_many_more_flops_is_bought_too() -> None:
    one = compared(Side("c1", answers(0.61), 3_000_000), Side("c0", answers(0.60), 2_000_000), "depth")
    assert one.verdict == "bought"
    assert one.accuracy_part > 0


def test_more_accuracy_at_equal_cost_is_won_and_the_reverse_lost() -> None:
    better, worse = Side("c1", answers(0.65), 2_000_000), Side("c0", answers(0.60), 2_010_000)
    one = compared(better, worse, "resolution")
    assert one.verdict == "won"
    assert one.low > 0
    assert compared(worse, better, "resolution").verdict == "lost"


def test_equal_cost_and_a_difference_by_chance_is_not_shown() -> None:
    rng = np.random.default_rng(3)
    sides = [Side(name, rng.random((2, 500)) < 0.5, 2_000_000) for name in ("c1", "c0")]
    assert compared(sides[0], sides[1]).verdict == "not shown"


def test_the_parts_add_up_to_the_score() -> None:
    one = compared(Side("c1", answers(0.66), 2_200_000), Side("c0", answers(0.6), 2_000_000), "width")
    scores = [0.66 * (2.2e6 / TARGET) ** -0.07, 0.6 * (2e6 / TARGET) ** -0.07]
    assert one.accuracy_part + one.cost_part == pytest.approx(math.log(scores[0] / scores[1]))
    assert one.gap == pytest.approx(scores[0] - scores[1])


def test_no_image_right_has_parts_all_the_same() -> None:
    one = compared(Side("c1", answers(0.0), 2_000_000), Side("c0", answers(0.0), 2_000_000), "width")
    assert one.verdict == "not shown"
    assert math.isfinite(one.accuracy_part)


BASELINE = load_space("mbconv_small").baseline
ANSWER = Answer(
    0.9, (Standing("c004", "", "member", 9, 2, 0.71, 0.7, 0.72), Standing("c005", "", "beaten", 1, 2, 0.6, 0.5, 0.7)),
    "c004", (), 0.01, False, ((1, 2), (9, 1)),
)  # fmt: skip
CHOSEN = Recommendation(PAPER, "budget", BASELINE, "mbconv_small", "glyphs", 3e6, "c004", 0.71, 0.74, 20, 21)


def test_round_trip(tmp_path: Path) -> None:
    write_answer(tmp_path, ANSWER, CHOSEN)
    assert read_recommendation(tmp_path) == CHOSEN
    assert read_answer(tmp_path) == ANSWER
    assert not CHOSEN.complete
    assert replace(CHOSEN, done=21).complete
    assert [standing.name for standing in ANSWER.members] == ["c004"]
    assert ANSWER.names("beaten") == ("c005",)
    assert ANSWER.best.name == "c004"


@pytest.mark.parametrize("name", [ANSWER_FILE, RECOMMENDATION_FILE])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1}', '{"format": 1, "coefficients": {"x": 1}}']
)
def test_damaged_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        read_answer(tmp_path) if name == ANSWER_FILE else read_recommendation(tmp_path)


def test_no_search_there(tmp_path: Path) -> None:
    assert read_answer(tmp_path) is None
    with pytest.raises(UserError, match="scalesearch grid"):
        read_recommendation(tmp_path)
