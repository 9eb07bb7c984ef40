from dataclasses import replace

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
    assert said(f"Recommended: {answer(trainings).recommended}, α ", lines)
    assert not said("not over", lines)


def test_terminals_get_plain_text() -> None:
    assert words.bare("**Bought:** as `c001`, a\\*b, &lt;x>") == "Bought: as c001, a*b, <x>"
    assert words.bare(words.plain("a*b [c] `d` <e>")) == "a*b [c] `d` <e>"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.2, 1, "carries over, as far"), (-1, -0.2, "is reversed"), (-0.2, 0.4, "contains 0")],
)
def test_what_an_order_says(low: float, high: float, told: str) -> None:
    networks = (compared("c001", "recommended"), compared("c002", "beaten"))
    lines = words.verification(verification(*networks, tau=Interval((low + high) / 2, low, high)))
    assert said(told, lines)
    assert said("agree with itself by about 0.80", lines)
    assert said("cannot be compared", words.verification(verification(*networks, tau=None)))


@pytest.mark.parametrize(
    ("regret", "told"),
    [
        (None, "c001 has no result at φ = 2."),
        (Regret(1, 0, -0.02, -0.03, -0.01), "c001, recommended at φ = 1, is the best here, too."),
        (Regret(1, 0.02, 0.02, 0.01, 0.03), "c002 beats c001"),
        (Regret(1, 0.02, 0.02, -0.01, 0.03), "c002 is ahead of c001, by no more than chance explains."),
        (Regret(1, 0, -0.02, -0.05, 0.01), "c001 is ahead of c002, by no more than chance explains."),
    ],
)
def test_what_a_regret_says(regret: Regret | None, told: str) -> None:
    one = replace(verification(compared("c001", "recommended"), compared("c002", "beaten")), regret=regret)
    assert said(told, words.verification(one))


def test_a_verification_says_what_it_cannot_show() -> None:
    one = verification(compared("c001", "recommended"), compared("c002", "beaten"))
    assert not said("guessing", words.verification(one))
    lines = words.verification(replace(one, classes=3, networks=one.networks, fully_trained=False, failed=("c009",)))
    assert not said("guessing", lines)
    assert said("they may order the networks otherwise", lines)
    assert lines[0] == "Without a result at φ = 2: c009."
    assert said("no network is better than guessing", words.verification(replace(one, classes=2)))


def test_a_ranking_near_chance_is_called_one() -> None:
    trainings = [judged(row, 25) for row in rows(3)]
    run = record(trainings, answer(trainings))
    assert words.guessing(run).startswith("**No candidate is clearly above guessing: this ranking says nothing.**")
    assert said("WARNING: No candidate is clearly above guessing", words.answer_lines(run))
    assert words.guessing(record(rows(3))) == words.guessing(record([])) == ""
