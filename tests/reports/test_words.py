from dataclasses import replace
from typing import Any

import pytest

from scalesearch.reports import words
from scalesearch.study.statistics import Interval, Regret
from tests.reports.synthetic import answer, compared, judged, record, rows, verification


def said(text: str, lines: tuple[str, ...]) -> bool:
    return any(text in line for line in lines)


def test_a_search_s_answer_in_lines() -> None:
    trainings = rows(12, seeds=2, failed=(4,))
    lines = words.answer_lines(record(trainings, answer(trainings, verdict="bought")))
    assert lines[0].startswith("Accuracy from a proxy at ")
    assert lines[1] == "2 trainings failed; the report gives the reasons."
    assert said("9 of 12 candidates are statistically tied with the best (", lines)
    assert said("width only (c001): score +3.0 % = accuracy +4.0 % × FLOPs −1.0 %; lead +0.0123", lines)
    assert said("Bought: ", lines)
    assert not said("**", lines)
    assert lines[-1] == "The race is not over: the same command continues it."
    assert words.answer_lines(record(trainings)) == ()


def test_a_finished_search_is_not_called_open_and_names_whom_it_recommends() -> None:
    trainings = rows(3)
    lines = words.answer_lines(record(trainings, answer(trainings), complete=True))
    recommended = next(line for line in lines if line.startswith("Recommended: α "))
    assert f" ({answer(trainings).recommended}): " in recommended
    assert not said("not over", lines)


def test_terminals_get_plain_text() -> None:
    assert words.bare("**Bought:** as `c001`, a\\*b, &lt;x>") == "Bought: as c001, a*b, <x>"
    assert words.bare(words.plain("a*b [c] `d` <e>")) == "a*b [c] `d` <e>"


VERIFIED = replace(
    verification(compared("c001", "recommended"), compared("c002", "beaten"), tau=Interval(0.5, 0.1, 0.9)),
    epochs=6, epochs_at_one=6, full_epochs=6, classes=10, best="c002", regret=Regret(1, 0.02, 0.02, 0.01, 0.03),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says", "says_not"),
    [
        ({}, "c002 beats c001", "not show"),
        ({}, "carries over, as far as 2 networks tell", "wide"),
        ({}, "agree with itself by about 0.80", "cannot be compared"),
        ({"tau": Interval(0.5, -0.1, 0.9)}, "wide and contains 0", "as far as"),
        ({"tau": Interval(-0.5, -0.9, -0.1)}, "reversed", "wide"),
        ({"tau": None, "repeat_tau": None}, "cannot be compared", "agree with itself"),
        ({"regret": Regret(1, 0.0, -0.02, -0.03, -0.01)}, "the best here, too", "beats"),
        ({"regret": Regret(1, 0.0, -0.02, -0.05, 0.01)}, "c001 is ahead of c002", "beats"),
        ({"regret": Regret(1, 0.02, 0.02, -0.01, 0.05)}, "c002 is ahead of c001", "beats"),
        ({"regret": Regret(1, 0.02, 0.02, 0.01, 0.03)}, "Regret of taking c001: 0.0200 in score; c002 minus it", "−"),
        ({}, "picked by their scores", "guessing"),
        ({"classes": 2}, "no network is better than guessing", "reversed"),
        ({"regret": None}, "c001 has no result", "beats"),
        ({"fully_trained": False, "epochs_at_one": 2}, "after 2 epochs at φ = 1 and 6", "reversed"),
        ({"failed": ("c009",)}, "Without a result at φ = 2: c009.", "reversed"),
    ],
)
def test_the_reading_says_no_more_than_the_numbers(changes: dict[str, Any], says: str, says_not: str) -> None:
    text = words.verification_text(replace(VERIFIED, **changes))
    assert says in text
    assert says_not not in text


def test_a_ranking_near_chance_is_called_one() -> None:
    trainings = [judged(row, 25) for row in rows(3)]
    run = record(trainings, answer(trainings))
    assert words.guessing(run).startswith("**No candidate is clearly above guessing: this ranking says nothing.**")
    assert said("WARNING: No candidate is clearly above guessing", words.answer_lines(run))
    assert words.guessing(record(rows(3))) == words.guessing(record([])) == ""
