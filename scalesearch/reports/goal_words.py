"""What the same trainings say under other costs, in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalesearch.reports.words import names
from scalesearch.study.answer import field
from scalesearch.study.goals import Goal, GoalKind, goals
from scalesearch.study.record import Record
from scalesearch.units import show_bytes, show_count, show_percent


@dataclass(frozen=True)
class GoalWords:
    """How a goal's cost is called in sentences, on an axis and in a heading of a table, and its numbers' form."""

    noun: str
    axis: str
    column: str
    short: Callable[[float], str]


GOALS: dict[GoalKind, GoalWords] = {
    "flops": GoalWords("FLOPs", "FLOPs", "FLOPs", show_count),
    "latency": GoalWords(
        "latency", "latency of one image, measured in torch (ms)", "latency, ms", lambda value: f"{value:.3g}"
    ),
    "memory": GoalWords("memory", "peak memory in torch, calculated", "memory", show_bytes),
    "params": GoalWords("parameters", "parameters", "params", show_count),
    "activations": GoalWords("activations", "activations", "activations", show_count),
}


def goals_of(record: Record) -> tuple[Goal, ...]:
    """What the trainings say under other costs, at full size."""
    specs = {one.name: one.spec for one in record.enumeration.candidates} | {"baseline": record.plan.baseline}
    takers, full = field(record.plan, record.enumeration.candidates), record.plan.train.epochs
    decided = record.answer is not None and not record.answer.undecided
    believed = record.results.posterior(takers, full) if decided else None
    return goals(record.plan, record.rows, specs, record.summaries, record.answer, believed)


def other_costs(record: Record, told: Sequence[Goal]) -> str:
    """Who would be first if another cost were held against accuracy, and what that rests on."""
    firsts: dict[str, list[str]] = {}
    for goal in told:
        if goal.first:
            sure = "" if goal.certainty is None else f" ({show_percent(goal.certainty, 0)} likely)"
            firsts.setdefault(goal.first, []).append(f"{GOALS[goal.kind].noun}{sure}")
    measured = any(goal.kind == "latency" for goal in told)
    said = []
    if firsts:
        each = "; ".join(f"{name} if the cost is {names(nouns, 'or')}" for name, nouns in firsts.items())
        same = "one network whatever is counted" if len(firsts) == 1 else "different networks for different costs"
        said.append(f"The highest expected score is that of {same}: {each}.")
        said.append(
            f"The candidates were made equal in {record.plan.measure.noun} alone: which network of all is best for "
            "another cost, a search with --budget decides."
        )
    if measured:
        said.append(
            "Latency is the shortest of some passes of one image in torch beside other trainings, too rough to choose "
            "by; memory is calculated."
        )
    return " ".join(said)
