from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from scalesearch.study.row import Row
from scalesearch.study.statistics import accuracy_interval, wilson_interval
from scalesearch.study.summary import NetworkSummary, common_epochs, rung_summaries, summarise
from tests.reports.synthetic import answer, early, judged, no_answer, results, right, rows


def summaries(trainings: Sequence[Row]) -> tuple[NetworkSummary, ...]:
    return summarise(trainings, results(trainings))


def test_accuracy_is_the_mean_over_seeds_and_its_interval_knows_that_they_share_images() -> None:
    trainings = rows(2, seeds=3)
    (one,) = [one for one in summaries(trainings) if one.row.candidate == 0]
    own = [row for row in trainings if row.candidate == 0]
    correct = sum(row.correct for row in own)
    assert (one.correct, one.images, one.seeds) == (correct, 6000, 3)
    assert one.accuracy == accuracy_interval(np.stack([right(row) for row in own]))
    assert one.accuracy.value == pytest.approx(correct / 6000)
    assert one.accuracy.high - one.accuracy.low > (wider := wilson_interval(correct, 6000)).high - wider.low
    assert one.seed_sd == pytest.approx(np.std([row.top1 for row in own], ddof=1))


def test_one_seed_has_no_spread_and_wilson_s_interval() -> None:
    for one in summaries(rows(2)):
        assert one.seed_sd is None
        assert one.accuracy == wilson_interval(one.correct, one.images)


def test_failed_trainings_are_not_summarised() -> None:
    assert {one.row.candidate for one in summaries(rows(3, failed=(1,)))} == {-1, 0, 2}
    assert summaries(rows(2, failed=(-1, 0, 1))) == ()


def test_order_is_by_mean_score_and_members_are_marked() -> None:
    trainings = rows(25, seeds=2)
    told = answer(trainings, outside=23)
    ordered = summarise(trainings, results(trainings), told)
    assert [one.score for one in ordered] == sorted((one.score for one in ordered), reverse=True)
    assert {one.row.name for one in ordered if one.member} == {standing.name for standing in told.members}
    for one in ordered:
        own = [row.score for row in trainings if row.candidate == one.row.candidate]
        assert one.score == pytest.approx(np.mean(own))


def test_the_furthest_rung_counts_and_comes_first() -> None:
    late = rows(3)
    trainings = [*(judged(row, 1990, epochs=1) for row in late), *(row for row in late if row.candidate == 1)]
    ordered = summaries(trainings)
    assert ordered[0].row.candidate == 1
    assert [one.row.epochs for one in ordered] == [3, 1, 1, 1]
    assert ordered[0].score == next(row.score for row in late if row.candidate == 1)
    assert ordered[0].seconds == 81.0


def test_the_rung_that_most_candidates_reached_is_compared() -> None:
    late = rows(5)
    trainings = [*early(late), *late[:3]]
    assert common_epochs(rung_summaries(trainings, results(trainings))) == 1
    both = [*early(late), *late]
    assert common_epochs(rung_summaries(both, results(both))) == 3


def test_only_the_longest_trained_are_on_the_front_and_equals_all_are() -> None:
    trainings = [
        replace(judged(row, 1000 + 100 * (row.candidate % 2)), proxy_macs=2000 if row.candidate == 2 else 1000)
        for row in rows(4)
    ]  # fmt: skip
    front = [one.row.candidate for one in summaries(trainings) if one.front]
    assert sorted(front) == [-1, 1, 3]


def test_networks_that_cost_the_same_have_no_front() -> None:
    trainings = [replace(row, proxy_macs=1000 + 20 * row.candidate) for row in rows(4)]
    assert not any(one.front for one in summaries(trainings))


def test_where_nothing_is_decided_everybody_may_be_the_best() -> None:
    trainings = rows(4)
    ordered = summarise(trainings, results(trainings), no_answer(trainings, "why"))
    assert [one.member for one in ordered] == [not one.is_baseline for one in ordered]
