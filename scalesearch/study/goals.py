"""What the same trainings say under other costs than the one that the search held equal.

Candidates of equal FLOPs differ in latency, memory, parameters and activations. A goal has every network's cost of one
kind, who is on the Pareto front of it and accuracy, and whose expected score would be highest if it were the cost. No
uncertainty is told of that last one: a search with that budget decides it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scalesearch.design.cost import score
from scalesearch.design.measure import Measure
from scalesearch.design.spec import NetSpec
from scalesearch.study.answer import Answer, measured_speeds
from scalesearch.study.plan import SearchPlan
from scalesearch.study.row import Row
from scalesearch.study.summary import NetworkSummary, pareto

GoalKind = Literal["flops", "latency", "memory", "params", "activations"]


@dataclass(frozen=True)
class Goal:
    """One cost of the networks with a result, at full size.

    Args:
        costs: by name; of latency in milliseconds, as measured.
        front: names of the candidates and the baseline that none trained as long beats in accuracy at no higher cost.
        first: the candidate whose expected score would be highest; "" where nothing is decided, and for latency, which
            a search measures beside other trainings, too roughly to choose by.
    """

    kind: GoalKind
    costs: Mapping[str, float]
    front: tuple[str, ...]
    first: str


def goals(
    plan: SearchPlan, rows: Sequence[Row], specs: Mapping[str, NetSpec], summaries: Sequence[NetworkSummary],
    answer: Answer | None,
) -> tuple[Goal, ...]:  # fmt: skip
    """Of each cost that is known of all networks with a result.

    Args:
        specs: the networks at full size, by name.
    """
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
            told.append(Goal(kind, known, _front(summaries, known), first))
    return tuple(told)


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
