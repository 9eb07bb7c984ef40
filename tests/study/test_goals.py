import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from scalesearch.design.cost import cost
from scalesearch.design.memory import peak_bytes
from scalesearch.design.scaling import PAPER, scale
from scalesearch.reports import goal_words, tables
from scalesearch.reports.figures.canvas import FILE, PHONE
from scalesearch.reports.figures.goals import goals_figure
from scalesearch.study.goals import Goal, goals
from scalesearch.study.posterior import Posterior
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Interval
from tests.reports.synthetic import PLAN, SPEC, answer, record, rows

TRAINED = [replace(row, latency_ms=5.0 + row.candidate) for row in rows(4)]
TOLD = answer(TRAINED)
RUN = record(TRAINED, TOLD, complete=True)
SPECS = {"baseline": SPEC} | {f"c{n:03d}": scale(SPEC, PAPER, 0.5 + 0.4 * n) for n in range(4)}


def told(**changed: object) -> dict[str, Goal]:
    rated = goals(PLAN, TRAINED, SPECS, RUN.summaries, changed.get("answer", TOLD))  # type: ignore[arg-type]
    return {goal.kind: goal for goal in rated}


def test_costs_are_those_of_the_networks_at_full_size() -> None:
    of = told()
    assert list(of) == ["flops", "latency", "memory", "params", "activations"]
    for name, spec in SPECS.items():
        assert of["flops"].costs[name] == cost(spec).macs
        assert of["params"].costs[name] == cost(spec).params
        assert of["memory"].costs[name] == peak_bytes(spec)
    assert of["latency"].costs == {row.name: row.latency_ms for row in TRAINED}


def test_on_the_front_nobody_is_cheaper_and_as_accurate() -> None:
    accuracies = {one.row.name: one.accuracy.value for one in RUN.summaries}
    for goal in told().values():
        beaten = {
            name for name in SPECS for other in SPECS
            if other != name and goal.costs[other] <= goal.costs[name] and accuracies[other] >= accuracies[name]
        }  # fmt: skip
        assert set(goal.front) == SPECS.keys() - beaten


def test_the_first_is_who_scores_highest_by_that_cost() -> None:
    expected = {
        one.name: one.score.value / PLAN.score(1.0, next(row.proxy_ratio for row in TRAINED if row.name == one.name))
        for one in TOLD.standings if one.score
    }  # fmt: skip
    for kind, goal in told().items():
        by_hand = max(expected, key=lambda name: expected[name] * goal.costs[name] ** -0.07)
        assert goal.first == ("" if kind == "latency" else by_hand)


NUMBERS = (BASELINE, 0, 1, 2, 3)


def believed(accuracies: np.ndarray) -> Posterior:
    """A posterior of these true accuracies, (draws, networks)."""
    factors = {row.candidate: PLAN.score(1.0, row.proxy_ratio) for row in TRAINED}
    scores = accuracies * [factors[n] for n in NUMBERS]
    return replace(Posterior(NUMBERS, scores, Interval(0.0, 0.0, 0.0), None))  # type: ignore[arg-type]


def test_how_likely_a_network_is_on_the_front_is_counted_draw_by_draw() -> None:
    accuracies = np.random.default_rng(0).normal([0.57, 0.6, 0.61, 0.62, 0.6], 0.02, (500, 5))
    names = ("baseline", "c000", "c001", "c002", "c003")
    for goal in goals(PLAN, TRAINED, SPECS, RUN.summaries, TOLD, believed(accuracies)):
        if goal.kind == "latency":
            continue
        for place, name in enumerate(names):
            as_cheap = [n for n, other in enumerate(names) if goal.costs[other] <= goal.costs[name]]
            by_hand = (accuracies[:, place] >= accuracies[:, as_cheap].max(axis=1)).mean()
            assert goal.likely[name] == pytest.approx(by_hand)
        scores = accuracies[:, 1:] * [goal.costs[name] ** -0.07 for name in names[1:]]
        assert goal.certainty == pytest.approx((scores.argmax(axis=1) == names.index(goal.first) - 1).mean())


def test_costs_that_candidates_are_equal_in_and_latencies_have_no_probable_front() -> None:
    near = {**dict.fromkeys(SPECS, SPECS["c001"]), "baseline": SPEC}
    sure = believed(np.tile([0.5, 0.6, 0.61, 0.62, 0.59], (100, 1)))
    assert all(not goal.likely for goal in goals(PLAN, TRAINED, near, RUN.summaries, TOLD, sure))
    for goal in goals(PLAN, TRAINED, SPECS, RUN.summaries, TOLD, sure):
        assert bool(goal.likely) == (goal.kind != "latency")


def test_probabilities_stand_in_the_table_and_the_sentence() -> None:
    sure = np.tile([0.5, 0.6, 0.61, 0.62, 0.59], (100, 1))
    rated = goals(PLAN, TRAINED, SPECS, RUN.summaries, TOLD, believed(sure))
    shown = {row[0].text: row[2].text for row in tables.goals(RUN, rated).rows}
    assert all(text.endswith("(100 %)") for name, text in shown.items() if rated[0].likely[name] == 1)
    assert all("(" not in text for name, text in shown.items() if rated[0].likely[name] == 0)
    assert {rated[0].likely[name] for name in shown} == {0.0, 1.0}
    said = goal_words.other_costs(RUN, rated)
    assert re.search(r"c00\d if the cost is .*FLOPs \(\d+ % likely\)", said)
    figure = goals_figure(RUN, rated)
    assert any("likelier on the front" in text.get_text() for text in figure.findobj(Text))
    (front,) = (one for one in figure.axes[0].get_lines() if one.get_label() == "Pareto front")
    assert len(front.get_xdata()) == len(rated[0].front)


def test_without_a_decision_nobody_is_first() -> None:
    assert {goal.first for goal in told(answer=None).values()} == {""}
    assert {goal.first for goal in told(answer=replace(TOLD, undecided="guessing")).values()} == {""}


def test_a_cost_that_is_not_known_of_all_is_left_out() -> None:
    rated = goals(PLAN, [replace(row, latency_ms=None) for row in TRAINED], SPECS, RUN.summaries, TOLD)
    assert [goal.kind for goal in rated] == ["flops", "memory", "params", "activations"]


def test_words_name_every_cost_once() -> None:
    said = goal_words.other_costs(RUN, tuple(told().values()))
    for noun in ("FLOPs", "memory", "parameters", "activations"):
        assert said.split(" alone")[0].count(noun) == 1 + (noun == "FLOPs")  # candidates were made equal in it
    assert "a search with --budget decides." in said
    assert "too rough to choose" in said


@pytest.mark.parametrize("look", [FILE, PHONE])
def test_a_panel_a_cost(look: object) -> None:
    figure = goals_figure(RUN, tuple(told().values()), look)  # type: ignore[arg-type]
    assert [axes.get_xlabel().split()[0] for axes in figure.axes] == ["FLOPs", "latency", "peak"]


def test_the_table_has_every_network() -> None:
    table = tables.goals(RUN, tuple(told().values()))
    assert {row[0].text for row in table.rows} == SPECS.keys()
    assert table.columns[2:] == ("FLOPs", "latency, ms", "memory", "params", "activations")
