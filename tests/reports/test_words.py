import re
from dataclasses import replace
from typing import Any

import pytest

from scalesearch.design.measure import Measure
from scalesearch.reports import words
from scalesearch.study.answer import Answer, Certainty, Speed, Verdict, conclude
from scalesearch.study.posterior import Network
from scalesearch.study.race import Field, Race, State
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Carried, Interval, Regret
from tests.reports.synthetic import (
    PLAN,
    PROVENANCE,
    answer,
    compared,
    early,
    listed,
    no_answer,
    record,
    results,
    rows,
    verification,
)

ROWS = rows(12)
TOLD = answer(ROWS)
assert TOLD.certainty is not None
SURE: Certainty = TOLD.certainty


def said(told: Answer = TOLD, complete: bool = True, **changes: Any) -> str:
    """The answer's sentences, a line each, where the certainty is changed so."""
    if changes:
        told = replace(told, certainty=replace(SURE, **changes))
    return "\n".join(words.answer_lines(record(ROWS, told, complete=complete)))


def test_the_answer_comes_first_with_what_was_trained_and_how_sure_it_is() -> None:
    row = next(row for row in ROWS if row.name == TOLD.recommended)
    use, sure, *_ = said().split("\n")
    has = f"depth × {row.depth_ratio:.2f}, width × {row.width_ratio:.2f}, resolution × {row.resolution_ratio:.2f}"
    assert use.startswith(f"Use {has} ({row.name}, {row.proxy_resolution} px as trained; α ")
    assert use.endswith("): the highest expected score of those trained to the end.")
    assert sure == "50 % likely the best of 12; expected loss 0.3 points, at most 0.9 (90 %)."
    assert said(complete=False).startswith(f"Ahead so far: {has} (")
    assert said(complete=False).endswith("The race is not over: the same command continues it.")
    assert "not over" not in said()
    assert words.answer_lines(record(ROWS)) == ()


@pytest.mark.parametrize(
    ("verdict", "paper", "baseline"),
    [
        ("won", "Beats {} by 1.2 points (95 %: 0.1 to 2.3).", "Doubling the cost paid; +1.2 points of score against"),
        ("lost", "Loses to {}: +1.2 points (95 %: 0.1 to 2.3).", "Doubling the cost did not pay; +1.2"),
        ("not shown", "Not shown to beat {}: +1.2 points", "Doubling the cost is not shown to pay; +1.2"),
        ("bought", "Bought at a higher cost against {}: ", "is not shown to pay: it should bring accuracy, but no"),
    ],
)  # fmt: skip
def test_every_verdict_has_its_sentence_the_paper_s_first(verdict: Verdict, paper: str, baseline: str) -> None:
    lines = said(answer(ROWS, verdict=verdict)).split("\n")[2:5]
    assert lines[0].startswith(paper.format("the paper's coefficients (c002)"))
    assert "width alone (c001)" in lines[1]
    assert baseline in lines[2]


def test_trainings_at_guessing_are_named() -> None:
    one = next(row for row in ROWS if row.name == "c004" and row.status == "done" and row.epochs == PLAN.train.epochs)
    lost = replace(one, seed=7, correct=int(PLAN.majority * one.images))
    lines = words.answer_lines(record([*ROWS, lost], TOLD))
    trained = 1 + sum(row.name == "c004" and row.epochs == one.epochs for row in ROWS)
    assert f"1 of {trained} trainings of c004 ended no better than guessing and is left out." in lines
    out = replace(TOLD, standings=(*TOLD.standings[:-1], replace(TOLD.standings[-1], score=None)))
    assert (
        f"Not judged, without a training to the end that is better than guessing: {TOLD.standings[-1].name}."
        in said(out)
    )
    assert "no better than guessing" not in said()


def test_a_cost_other_than_twofold_is_not_called_doubling() -> None:
    (item,) = [item for item in TOLD.comparisons if item.dimension == "baseline"]
    assert words.comparison(replace(item, cost_ratio=2.3)).startswith("Growing to 2.30 × the cost paid; +1.2 points")


def test_the_paper_s_coefficients_are_told_of_where_they_are_no_comparison() -> None:
    told = replace(TOLD, comparisons=())
    own = replace(told, recommended="c002")
    assert "These are the paper's coefficients themselves, rounded to equal cost." in said(own)
    assert "The paper's coefficients round to c002, which " in said(told)
    run = record([row for row in ROWS if row.control != "paper"], replace(told, standings=told.standings[:1]))
    vars(run)["enumeration"] = listed([row for row in ROWS if row.control != "paper"])
    assert "The paper's coefficients are not in the race." in words.answer(run)


def test_ties_broken_by_another_cost_name_it_and_what_it_saves() -> None:
    best, other = SURE.equivalents
    kept = replace(TOLD, ties="memory")
    assert "None of them that may be taken for it saves a tenth of its peak memory." in said(kept)
    taken = said(replace(kept, recommended=other, rule="cost"))
    specs = {one.name: one.spec for one in record(ROWS, TOLD).enumeration.candidates}
    share = Measure("memory").of(specs[other]) / Measure("memory").of(specs[best])
    assert f"Of those that may be taken for it {other} has the least peak memory: {share:.2f} × that of {best}" in taken
    assert "): the cheapest of the set and trained to the end whose expected loss is within the tolerance." in taken


def test_ties_name_the_fastest_and_what_it_saves() -> None:
    best, other = SURE.equivalents
    assert f"With {other} no more than 0.5 points are expected to be lost to {best}, which has the highest" in said()
    assert "None of them that was trained to the end saves a tenth of its time." in said()
    speeds = {best: Speed(20.0, 100.0), other: Speed(12.4, 71.0)}
    faster = replace(TOLD, recommended=other, rule="speed", speeds=speeds)
    assert f"The fastest of them is {other}: 0.62 × the latency and 0.71 × the training time of {best}." in said(faster)
    assert "): the fastest of the set and trained to the end whose expected loss is within the tolerance." in said(
        faster
    )
    assert f"lower the expected loss of {best} from 0.3 to 0.2 points." in said(faster)
    unmeasured = replace(faster, speeds={name: replace(speed, latency_ms=None) for name, speed in speeds.items()})
    assert f"is {other}: 0.71 × the training time of {best}." in said(unmeasured)
    assert "saves a tenth" not in said(replace(TOLD, speeds={}))
    kept = said(replace(TOLD, speeds=speeds))  # faster, but not to be taken for the best
    assert f"Faster, but outside the set or with more to lose than that against whoever is the best: {other}." in kept
    assert "saves a tenth" not in kept
    assert f"With any other one more than 0.5 points are expected to be lost to {best}." in said(equivalents=(best,))


def test_what_more_trainings_are_worth_is_said_only_as_far_as_it_shows() -> None:
    more = "6 more full trainings (2 min one after the other) are"
    assert f"{more} expected to lower the expected loss from 0.3 to 0.2 points." in said()
    for more_loss in (0.0031, 0.0029, 0.005):
        assert f"{more} not expected to lower the expected loss noticeably." in said(more_loss=more_loss)


def test_the_test_beside_it_is_reported_even_against_the_recommended_one() -> None:
    assert "The test that assumes no model leaves 10 of 12 fully trained ones in." in said()
    standings = (replace(TOLD.standings[0], test="out"), *TOLD.standings[1:])
    assert "leaves 9 of 12 fully trained ones in; the recommended one is not among them." in said(
        replace(TOLD, standings=standings)
    )


def test_failed_trainings_and_the_proxy_are_named() -> None:
    trainings = rows(12, seeds=2, failed=(4,))
    lines = words.answer_lines(record(trainings, answer(trainings)))
    assert "2 trainings failed; the report gives the reasons." in lines
    assert any(line.startswith("Accuracy and FLOPs of smaller proxies at ") for line in lines)
    assert not any("**" in line for line in lines)


@pytest.mark.parametrize(
    ("reason", "complete", "command", "remedy"),
    [
        ("3 of 5 networks are not clearly better than guessing", True, "scalesearch grid", "More epochs (--epochs)"),
        ("only one candidate has been trained to the end", False, "grid --time-budget 9m", "A longer --time-budget"),
        ("only one candidate has been trained to the end", False, "scalesearch grid", "The race is not over"),
    ],
)
def test_without_a_decision_the_reason_and_what_to_change(
    reason: str, complete: bool, command: str, remedy: str
) -> None:
    made = replace(PROVENANCE, command=command)
    lines = words.answer_lines(record(ROWS, no_answer(ROWS, reason), complete=complete, provenance=made))
    assert lines[0] == f"No decision{'' if complete else ' yet'}: {reason}."
    assert lines[1] == "The paper's coefficients stand by default; they are not a result of this search."
    remedies = ("More epochs (--epochs)", "A longer --time-budget", "The race is not over")
    assert next(one for one in remedies if any(one in line for line in lines)) == remedy
    few = [row for row in ROWS if row.candidate < 2]
    assert words.answer(record(few, no_answer(few, reason)))[1].endswith(
        " stands by default; it is not a result of this search."
    )


def concluded() -> tuple[Answer, list[str]]:
    """A real answer to some full trainings and early ones, and its sentences."""
    late = rows(8, seeds=2)
    trainings = (*early(late), *(row for row in late if row.candidate < 6))
    candidates = listed(late).candidates
    networks = [Network(BASELINE, PLAN.score(1.0, 1.0), (0.0, 0.0, 0.0))]
    networks += [Network(c.index, PLAN.score(1.0, c.proxy_ratio), c.multipliers.shares) for c in candidates]
    known = results(trainings)
    takers = Field(tuple(networks), frozenset(c.index for c in candidates if c.control), PLAN.majority)
    told = conclude(Race(3, 1), State((), len(trainings)), takers, candidates, known, {})
    assert told is not None
    return told, list(words.answer_lines(record(trainings, told, complete=True)))


def test_the_sentences_are_those_of_the_search_s_own_answer() -> None:
    told, lines = concluded()
    sure, best = told.certainty, told.best
    assert sure is not None
    assert best is not None
    assert f"({told.recommended}, " in lines[0]
    assert lines[1].startswith(
        f"{100 * best.best:.0f} % likely the best of 8; expected loss {words.points(sure.loss)} "
    )
    claims = {"won": "Beats", "lost": "Loses to", "not shown": "Not shown to beat", "bought": "Bought at a higher cost"}
    against = [item for item in told.comparisons if item.dimension != "baseline"]
    for item in against:
        (line,) = [line for line in lines if f"({item.control}):" in line or f"({item.control}) by" in line]
        assert line.startswith(claims[item.verdict])
    assert sum(line.startswith(tuple(claims.values())) for line in lines) == len(against) > 0
    names = re.findall(r"c\d{3}", next(line for line in lines if "hold the best one with 90 %" in line))
    assert names == [one.name for one in told.members]
    assert sum(one.best for one in told.members) >= told.level
    assert any("of 6 fully trained ones in" in line for line in lines)


def test_terminals_get_plain_text() -> None:
    assert words.bare("**Bought:** as `c001`, a\\*b, &lt;x>") == "Bought: as c001, a*b, <x>"
    assert words.bare(words.plain("a*b [c] `d` <e>")) == "a*b [c] `d` <e>"


VERIFIED = replace(
    verification(compared("c001", "recommended"), compared("c002", "outside"), tau=Interval(0.5, 0.1, 0.9)),
    epochs=6, epochs_at_one=6, full_epochs=6, majority=0.1, best="c002", regret=Regret(1, 0.02, 0.02, 0.01, 0.03),
)  # fmt: skip
CARRIED = Carried(Interval(0.8, 0.1, 0.97), 0.98, 0.004, 0.012)


@pytest.mark.parametrize(
    ("changes", "says", "says_not"),
    [
        ({}, "c002 beats c001", "not show"),
        ({}, "carries over, as far as 2 networks tell.", "not shown"),
        ({}, "agree with itself by about 0.80", "cannot be compared"),
        ({"tau": Interval(0.5, -0.1, 0.9)}, "is not shown to carry over, nor not to", "reversed"),
        (
            {"carried": CARRIED},
            "carries over, as far as 2 networks tell: a joint model of both sizes puts the",
            "not shown",
        ),
        ({"carried": CARRIED}, "true scores at 0.80 (95 %: 0.10 to 0.97), above 0 with 98 %.", "not shown"),
        (
            {"carried": CARRIED},
            "Taking c001 at φ = 2 is expected to lose 0.4 points of score, at most 1.2 (90 %).",
            "−",
        ),
        ({"carried": replace(CARRIED, correlation=Interval(0.1, -0.7, 0.8))}, "is not shown to carry over", "reversed"),
        ({"carried": replace(CARRIED, loss=None, bound=None)}, "correlation", "expected to lose"),
        ({"tau": Interval(-0.5, -0.9, -0.1)}, "reversed", "carries over"),
        ({"tau": None, "repeat_tau": None}, "cannot be compared", "agree with itself"),
        ({"regret": Regret(1, 0.0, -0.02, -0.03, -0.01)}, "the best here, too", "beats"),
        ({"regret": Regret(1, 0.0, -0.02, -0.05, 0.01)}, "c001 is ahead of c002", "beats"),
        ({"regret": Regret(1, 0.02, 0.02, -0.01, 0.05)}, "c002 is ahead of c001", "beats"),
        (
            {"regret": Regret(1, 0.02, 0.02, 0.01, 0.03)},
            "c001: 2.0 points of score; c002 minus it +2.0 (95 %: 1.0",
            "−",
        ),
        ({}, "picked by their scores", "guessing"),
        ({"majority": 0.5}, "no network is clearly better than guessing", "reversed"),
        ({"majority": 0.5}, "so nothing can be said", "carries over"),
        ({"regret": None}, "c001 has no result", "beats"),
        ({"fully_trained": False, "epochs_at_one": 2}, "after 2 epochs at φ = 1 and 6", "reversed"),
        ({"failed": ("c009",)}, "Without a result at φ = 2: c009.", "reversed"),
    ],
)
def test_the_reading_says_no_more_than_the_numbers(changes: dict[str, Any], says: str, says_not: str) -> None:
    text = words.verification_text(replace(VERIFIED, **changes))
    assert says in text
    assert says_not not in text
