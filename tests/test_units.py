"""Numbers as people read them."""

import doctest

import pytest

from scalesearch import units
from scalesearch.errors import UserError
from scalesearch.units import parse_bytes, show_count, show_interval, show_percent


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


@pytest.mark.parametrize(
    ("text", "bytes_"), [("50G", 50e9), ("1.5 TB", 1.5e12), ("500 mb", 5e8), ("1024", 1024), ("2GiB", 2**31)]
)
def test_bytes_are_read_as_people_write_them(text: str, bytes_: float) -> None:
    assert parse_bytes(text, "--cache-size") == bytes_


@pytest.mark.parametrize("text", ["", "G", "-5G", "5Gx", "0", "nan", "1e9G", "5 Gx"])
def test_what_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(UserError, match=r"--cache-size.*is not a number of bytes"):
        parse_bytes(text, "--cache-size")
