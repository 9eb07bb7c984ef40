"""What the same trainings say under other costs than the one that the search held equal.

Candidates of equal FLOPs differ in latency, memory, parameters and activations. A goal has every network's cost of one
kind, who is on the Pareto front of it and accuracy, and whose expected score would be highest if it were the cost; how
sure either is follows from the draws of the answer's own posterior. Only candidates that are equal in one cost were
trained: which network is best at another cost, a search with that budget decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalesearch.design.cost import score
from scalesearch.design.measure import Measure
from scalesearch.design.spec import NetSpec
from scalesearch.study.answer import Answer, measured_speeds
from scalesearch.study.plan import SearchPlan
from scalesearch.study.posterior import Posterior
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.statistics import Floats
from scalesearch.study.summary import NetworkSummary, equal_in, pareto

Drawn = tuple[str, Floats]  # a network's name and draws
GoalKind = Literal["flops", "latency", "memory", "params", "activations"]


@dataclass(frozen=True)
class Goal:
    """One cost of the networks with a result, at full size.

    Args:
        costs: by name; of latency in milliseconds, as measured.
        front: names of the candidates and the baseline that none trained as long beats in accuracy at no higher cost.
        first: the candidate whose expected score would be highest; "" where nothing is decided, and for latency, which
            a search measures beside other trainings, too roughly to choose by.
        likely: by name, the probability that no other network with a posterior is truly more accurate at no higher
            cost; empty without a posterior, of a cost that the candidates are equal in, and of latency.
        certainty: the probability that ``first`` truly has the highest score of them; None where that is not known.
    """

    kind: GoalKind
    costs: Mapping[str, float]
    front: tuple[str, ...]
    first: str
    likely: Mapping[str, float]
    certainty: float | None


def goals(
    plan: SearchPlan, rows: Sequence[Row], specs: Mapping[str, NetSpec], summaries: Sequence[NetworkSummary],
    answer: Answer | None, believed: Posterior | None = None,
) -> tuple[Goal, ...]:  # fmt: skip
    """Of each cost that is known of all networks with a result.

    Args:
        specs: the networks at full size, by name.
        believed: what the answer rests on.
    """
    drawn = _accuracies(plan, rows, believed)
    speeds = measured_speeds(rows)
    latencies = {one.row.name: speeds[one.row.candidate].latency_ms for one in summaries}
    names = list(latencies)

    def counted(kind: Literal["flops", "memory", "params", "activations"]) -> dict[str, float]:
        return {name: Measure(kind).of(specs[name]) for name in names}

    costs: dict[GoalKind, Callable[[], Mapping[str, float | None]]] = {
        "flops": lambda: counted("flops"), "latency": lambda: latencies, "memory": lambda: counted("memory"),
        "params": lambda: counted("params"), "activations": lambda: counted("activations"),
    }  # fmt: skip
    told = []
    for kind, of_kind in costs.items():
        known = {name: value for name, value in of_kind().items() if value is not None}
        if names and len(known) == len(names):
            first = "" if kind == "latency" else _first(plan, answer, rows, known)  # timed beside other trainings
            apart = kind != "latency" and not equal_in(summaries, [known[one.row.name] for one in summaries])
            likely = _likely(drawn, known) if apart else {}
            certainty = _certainty(drawn, known, first, plan.exponent)
            told.append(Goal(kind, known, _front(summaries, known), first, likely, certainty))
    return tuple(told)


def _accuracies(plan: SearchPlan, rows: Sequence[Row], believed: Posterior | None) -> dict[int, Drawn]:
    """The draws of each network's true accuracy: those of its score, which its cost as trained divides out of."""
    if believed is None:
        return {}
    named = {row.candidate: (row.name, plan.score(1.0, row.proxy_ratio)) for row in rows}
    return {number: (named[number][0], believed.of(number) / named[number][1]) for number in believed.numbers}


def _likely(drawn: Mapping[int, Drawn], costs: Mapping[str, float]) -> dict[str, float]:
    """In which share of the draws nobody who costs as little or less is more accurate."""
    known = sorted(drawn.values(), key=lambda one: costs[one[0]])
    if not known:
        return {}
    names, accuracies = [name for name, _ in known], np.stack([draws for _, draws in known], axis=1)
    most = np.maximum.accumulate(accuracies, axis=1)
    ordered = np.array([costs[name] for name in names])
    last = np.searchsorted(ordered, ordered, side="right") - 1  # of those that cost the same
    on = (accuracies >= most[:, last]).mean(axis=0)
    return dict(zip(names, on.tolist(), strict=True))


def _certainty(drawn: Mapping[int, Drawn], costs: Mapping[str, float], first: str, exponent: float) -> float | None:
    """In which share of the draws ``first`` scores highest among the candidates, at these costs."""
    candidates = [one for number, one in drawn.items() if number != BASELINE]
    names = [name for name, _ in candidates]
    if first not in names:
        return None
    scores = np.stack([draws * score(1.0, costs[name], 1.0, exponent) for name, draws in candidates], axis=1)
    return float((scores.argmax(axis=1) == names.index(first)).mean())


def _front(summaries: Sequence[NetworkSummary], costs: Mapping[str, float]) -> tuple[str, ...]:
    on = pareto(summaries, [costs[one.row.name] for one in summaries])
    return tuple(one.row.name for one, is_on in zip(summaries, on, strict=True) if is_on)


def _first(plan: SearchPlan, answer: Answer | None, rows: Sequence[Row], costs: Mapping[str, float]) -> str:
    """Expected accuracies follow from expected scores, which a network's own cost divides out of."""
    if answer is None or answer.undecided:
        return ""
    ratios = {row.name: row.proxy_ratio for row in rows}
    expected = {
        one.name: score(one.score.value / plan.score(1.0, ratios[one.name]), costs[one.name], 1.0, plan.exponent)
        for one in answer.standings
        if one.score is not None and one.name in costs
    }
    return max(expected, key=lambda name: expected[name]) if expected else ""
