"""Numbers as people read them."""

import doctest

import pytest

from scalesearch import units
from scalesearch.units import show_count, show_interval, show_percent


def test_examples() -> None:
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.4, "0.4"), (12, "12"), (999, "999"), (999.4, "999"), (999.6, "1k"), (1000, "1k"), (1234, "1.23k"),
        (999_400, "999k"), (999_450, "999k"), (999_600, "1M"), (999_600_000, "1G"), (1_000_000_000, "1G"),
        (1_004_000_000, "1G"), (1_006_000_000, "1.01G"), (9.996e11, "1T"), (1.234e15, "1230T"), (-5_288_548, "−5.29M"),
    ],
)  # fmt: skip
def test_counts_round_before_they_choose_a_unit(value: float, text: str) -> None:
    assert show_count(value) == text


def test_more_digits() -> None:
    assert show_count(385_814_752, digits=6) == "385.815M"
    assert show_count(999_999_600, digits=6) == "1G"


def test_percentages_of_exact_counts() -> None:
    assert show_percent(0.00704, 2) == "0.70 %"
    assert show_percent(-0.02, sign=True) == "−2.0 %"
    assert show_interval(0, 1) == "0.0–100.0 %"
