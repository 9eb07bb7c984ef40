"""From trainings to one value a network: accuracy with its interval, mean score, standing, Pareto front."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from scalesearch.study.answer import Answer, Status
from scalesearch.study.race import Results
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.statistics import Interval, accuracy_interval

EQUAL_COSTS = 1.11  # of the dearest candidate over the cheapest: what ±5 % of twice the baseline leaves


@dataclass(frozen=True)
class NetworkSummary:
    """One network after one number of epochs, all its seeds together.

    Args:
        row: its first training's, which the design is read from.
        seeds: trainings with a result; ``correct`` of ``images`` are summed over them.
        accuracy: mean over seeds; the 95 % interval says how far it reaches for other images of the same kind.
        seed_sd: standard deviation of the accuracy between seeds; None for one.
        score: mean over seeds.
        seconds: of all its trainings, to any number of epochs.
        status: of the candidate in the answer; None of the baseline, and where the answer has none of it.
        front: trained longest, and no other one trained as long costs no more as trained and is at least as accurate;
            nobody where all candidates cost the same.
    """

    row: Row
    seeds: int
    correct: int
    images: int
    accuracy: Interval
    seed_sd: float | None
    score: float
    seconds: float
    status: Status | None
    front: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether it is φ = 0."""
        return self.row.candidate == BASELINE

    @property
    def member(self) -> bool:
        """Whether it is in the set that holds the best one: all are where nothing is decided."""
        return self.status in ("member", "unknown")


def rung_summaries(rows: Sequence[Row], results: Results, answer: Answer | None = None) -> tuple[NetworkSummary, ...]:
    """A summary for each network and number of epochs with a result, the baseline's first, then by candidate."""
    status = {standing.name: standing.status for standing in answer.standings} if answer else {}
    done = sorted((row for row in rows if row.status == "done"), key=lambda row: (row.candidate, row.epochs, row.seed))
    seconds: dict[int, float] = {}
    for row in done:
        seconds[row.candidate] = seconds.get(row.candidate, 0.0) + row.seconds
    return tuple(
        _summary(list(trainings), results, seconds[number], status.get(name))
        for (number, name, _), trainings in groupby(done, key=lambda row: (row.candidate, row.name, row.epochs))
    )


def _summary(trainings: Sequence[Row], results: Results, seconds: float, status: Status | None) -> NetworkSummary:
    first, seeds = trainings[0], [row.seed for row in trainings]
    right = results.seeds(first.candidate, first.epochs)
    correct = np.stack([right[seed] for seed in seeds])
    top1 = correct.mean(axis=1, dtype=np.float64)
    return NetworkSummary(
        row=first, seeds=len(seeds), correct=int(correct.sum()), images=correct.size,
        accuracy=accuracy_interval(correct), seed_sd=float(top1.std(ddof=1)) if len(seeds) > 1 else None,
        score=sum(row.score or 0.0 for row in trainings) / len(trainings), seconds=seconds, status=status,
    )  # fmt: skip


def summarise(rows: Sequence[Row], results: Results, answer: Answer | None = None) -> tuple[NetworkSummary, ...]:
    """One summary per network that has a result: those trained longest first, then the best mean score.

    A candidate that was trained on has rows for every rung; the furthest one counts, since accuracies after different
    numbers of epochs cannot be compared.
    """
    furthest = {one.row.candidate: one for one in rung_summaries(rows, results, answer)}  # the last one stays
    ordered = sorted(furthest.values(), key=lambda one: (-one.row.epochs, -one.score))
    front = pareto(ordered, [one.row.proxy_macs for one in ordered])
    return tuple(replace(one, front=on) for one, on in zip(ordered, front, strict=True))


def common_epochs(summaries: Sequence[NetworkSummary]) -> int:
    """Of rung summaries, the epochs after which most candidates have a result; of several such, the largest."""
    counts = Counter(one.row.epochs for one in summaries if not one.is_baseline)
    return max(counts, key=lambda epochs: (counts[epochs], epochs))


def equal_in(summaries: Sequence[NetworkSummary], costs: Sequence[float]) -> bool:
    """Whether the candidates are as good as equal in a cost, so that chance alone would order them by it."""
    of_candidates = [cost for one, cost in zip(summaries, costs, strict=True) if not one.is_baseline]
    return not of_candidates or max(of_candidates) <= EQUAL_COSTS * min(of_candidates)


def pareto(summaries: Sequence[NetworkSummary], costs: Sequence[float]) -> list[bool]:
    """Who is on the Pareto front of cost and accuracy, among those trained longest; equals are all on it.

    Candidates that cost the same, as a search makes them, have none: chance alone would order them.
    """
    longest = max((one.row.epochs for one in summaries), default=0)
    if equal_in(summaries, costs):
        return [False] * len(summaries)
    points = [(c, one.accuracy.value, one.row.epochs == longest) for one, c in zip(summaries, costs, strict=True)]
    return [
        trained and not any(
            other and cost <= own and high >= accuracy and (cost, high) != (own, accuracy)
            for cost, high, other in points
        )
        for own, accuracy, trained in points
    ]  # fmt: skip
