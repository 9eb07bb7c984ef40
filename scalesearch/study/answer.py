"""The answer of a search: who is in the winner set, who is recommended, and how that one stands against the controls.

Kept as ``winners.json`` and ``coefficients.json`` in the run's folder.

A win over a control is taken apart. score = accuracy · (FLOPS / T)^−0.07, so log score splits exactly:
log(score₁/score₂) = log(acc₁/acc₂) − 0.07 · log(FLOPS₁/FLOPS₂). The first term is the accuracy part, the second the
cost part.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from scalesearch.design.candidates import SEARCH_RATIO, Candidate
from scalesearch.design.controls import EQUAL_COST
from scalesearch.design.cost import EXPONENT
from scalesearch.design.scaling import Coefficients, Rounding, check_coefficients
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import load, write_json
from scalesearch.study.plan import SearchPlan
from scalesearch.study.race import Place, Race, Results, State
from scalesearch.study.statistics import Interval, Sample, SeedSpread, weigh

ANSWER_FILE, RECOMMENDATION_FILE = "winners.json", "coefficients.json"
FORMAT = 1  # of both
RULE = "the highest score among the members that were trained longest"

Verdict = Literal["won", "lost", "not shown", "bought"]
Status = Literal["member", "undecided", "beaten"]


@dataclass(frozen=True)
class Comparison:
    """The recommended network against a control, both trained alike and judged on the same images.

    Args:
        control: the control's name; ``dimension`` what it scales.
        epochs, seeds: of the trainings compared.
        accuracy, control_accuracy: shares of the validation images.
        gap, low, high: difference of the scores and its 95 % interval, paired by image.
        accuracy_part, cost_part: of log(score / control's score), in log units; they add up to it.
        cost_ratio: multiply-adds over the control's.
        verdict: "won" or "lost" where the interval excludes 0. "bought": more accurate or as accurate at more FLOPs
            (over 3 %), but not by more than the score says such FLOPs should bring. Else "not shown".
    """

    control: str
    dimension: str
    epochs: int
    seeds: int
    accuracy: float
    control_accuracy: float
    gap: float
    low: float
    high: float
    accuracy_part: float
    cost_part: float
    cost_ratio: float
    verdict: Verdict


@dataclass(frozen=True)
class Standing:
    """A candidate with a result.

    Args:
        name: such as c004; ``control`` the one dimension it scales, or empty.
        status: "member" of the winner set; "undecided": still in, but it got no place in a later rung, so it is a
            member, too, on less evidence; "beaten".
        epochs, seeds: of its furthest rung, which the numbers are from.
        score: mean over seeds; ``low`` and ``high``: its 95 % interval.
    """

    name: str
    control: str
    status: Status
    epochs: int
    seeds: int
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """What a search came to.

    Args:
        level: the set contains the candidate that is truly best with this probability, if training were repeated.
        standings: those trained longest first, members before beaten ones, then by score.
        recommended: the name of one member, chosen by ``rule``.
        comparisons: the recommended one against the controls.
        seed_sd: standard deviation of an accuracy between seeds beyond the images' noise; None: not measured.
        complete: False while trainings that the race asked for are still to be run.
        rungs: (epochs, seeds) of each rung.
    """

    level: float
    standings: tuple[Standing, ...]
    recommended: str
    comparisons: tuple[Comparison, ...]
    seed_sd: float | None
    complete: bool
    rungs: tuple[tuple[int, int], ...]
    rule: str = RULE

    @property
    def members(self) -> tuple[Standing, ...]:
        """The winner set, undecided ones included."""
        return tuple(standing for standing in self.standings if standing.status != "beaten")

    def names(self, status: Status) -> tuple[str, ...]:
        """Of the candidates with a status, in order."""
        return tuple(standing.name for standing in self.standings if standing.status == status)

    @property
    def best(self) -> Standing:
        """The standing of the recommended candidate."""
        return next(standing for standing in self.standings if standing.name == self.recommended)


@dataclass(frozen=True)
class Recommendation:
    """The recommended coefficients, with everything needed to scale by them.

    ``done`` of ``total`` trainings that the race asked for had ended when they were chosen; ``winner`` is the
    recommended candidate's name; ``top1`` is its mean accuracy on the proxy's validation images.
    """

    coefficients: Coefficients
    rounding: Rounding
    baseline: NetSpec
    space: str
    data: str
    target_macs: float
    winner: str
    score: float
    top1: float
    done: int
    total: int

    def __post_init__(self) -> None:
        check_coefficients(self.coefficients)
        if not 0 <= self.done <= self.total:
            raise ValueError(f"{self.done} of {self.total} trainings")

    @property
    def complete(self) -> bool:
        """Whether every training that the race asked for had ended."""
        return self.done == self.total


def compare(
    names: tuple[str, str],
    dimension: str,
    epochs: int,
    samples: tuple[Sample, Sample],
    macs: tuple[int, int],
    target_macs: float,
    spread: SeedSpread | None,
) -> Comparison:
    """One network against a control. Accuracies of 0 count as half an image right, so that logarithms exist.

    Args:
        names, samples, macs: of the network and of the control.
        dimension: what the control scales.
        epochs: that both were trained for.
    """
    evidence = weigh(samples, [(one / target_macs) ** EXPONENT for one in macs], spread)
    gap = evidence.gap(0, 1)
    accuracies = [max(one.accuracy, 0.5 / (one.seeds * one.images)) for one in samples]
    ratio = macs[0] / macs[1]
    return Comparison(
        control=names[1], dimension=dimension, epochs=epochs, seeds=samples[0].seeds,
        accuracy=samples[0].accuracy, control_accuracy=samples[1].accuracy,
        gap=gap.value, low=gap.low, high=gap.high,
        accuracy_part=math.log(accuracies[0] / accuracies[1]), cost_part=EXPONENT * math.log(ratio),
        cost_ratio=ratio, verdict=verdict(accuracies[0] >= accuracies[1], gap, ratio),
    )  # fmt: skip


def verdict(as_accurate: bool, gap: Interval, ratio: float) -> Verdict:
    """What a comparison shows; see ``Comparison``."""
    if gap.low > 0:
        return "won"
    if ratio > 1 + EQUAL_COST and as_accurate and gap.value <= 0:
        return "bought"
    return "lost" if gap.high < 0 else "not shown"


def conclude(
    race: Race, state: State, candidates: Sequence[Candidate], results: Results, target_macs: float
) -> Answer | None:
    """The answer so far; None while no candidate has a result."""
    if not state.places:
        return None
    furthest = max(place.rung for place in state.places)
    best = state.inside[0]
    return Answer(
        level=race.level,
        standings=tuple(_standing(place, race, candidates, furthest) for place in state.places),
        recommended=candidates[best.number].name,
        comparisons=_comparisons(race, candidates[best.number], candidates, results, target_macs),
        seed_sd=state.spread.sd if state.spread else None,
        complete=not state.wanted,
        rungs=tuple((rung.epochs, rung.seeds) for rung in race.rungs),
    )


def _standing(place: Place, race: Race, candidates: Sequence[Candidate], furthest: int) -> Standing:
    epochs, candidate = race.rungs[place.rung].epochs, candidates[place.number]
    status: Status = "beaten" if not place.inside else "member" if place.rung == furthest else "undecided"
    return Standing(
        name=candidate.name, control=candidate.control, status=status, epochs=epochs, seeds=place.seeds,
        score=place.score.value, low=place.score.low, high=place.score.high,
    )  # fmt: skip


def _comparisons(
    race: Race, best: Candidate, candidates: Sequence[Candidate], results: Results, target_macs: float
) -> tuple[Comparison, ...]:
    """The recommended candidate against each control but itself, where both were trained furthest."""
    comparisons = []
    for control in (c for c in candidates if c.control and c.index != best.index):
        for epochs in sorted({rung.epochs for rung in race.rungs}, reverse=True):
            seeds = results.seeds(best.index, epochs).keys() & results.seeds(control.index, epochs).keys()
            if seeds:
                samples = results.sample(best.index, epochs, seeds), results.sample(control.index, epochs, seeds)
                names, macs = (best.name, control.name), (best.macs, control.macs)
                spread = results.spread(epochs)
                comparisons.append(compare(names, control.control, epochs, samples, macs, target_macs, spread))
                break
    return tuple(comparisons)


def recommend(
    plan: SearchPlan, answer: Answer, candidates: Sequence[Candidate], results: Results, wanted: int
) -> Recommendation:
    """The coefficients of the recommended candidate; ``wanted``: trainings that the race still asks for.

    One φ costs twice the baseline for them, as they were compared, where the rounding can meet it.
    """
    best = next(candidate for candidate in candidates if candidate.name == answer.recommended)
    growth = SEARCH_RATIO if plan.rounding == "budget" else None
    correct = results.seeds(best.index, answer.best.epochs).values()
    return Recommendation(
        coefficients=replace(best.coefficients, growth=growth), rounding=plan.rounding, baseline=plan.baseline,
        space=plan.space, data=plan.data, target_macs=plan.target_macs, winner=best.name, score=answer.best.score,
        top1=float(np.mean(list(correct))), done=len(results), total=len(results) + wanted,
    )  # fmt: skip


def write_answer(folder: Path, answer: Answer, recommendation: Recommendation) -> None:
    """Writes ``winners.json`` and ``coefficients.json`` into a run's folder, each atomically."""
    write_json(folder / ANSWER_FILE, {"format": FORMAT, **asdict(answer)})
    write_json(folder / RECOMMENDATION_FILE, {"format": FORMAT, **asdict(recommendation)})


def read_answer(folder: Path) -> Answer | None:
    """The answer in a run's folder; None where there is none. Raises UserError for a damaged or foreign file."""
    path = folder / ANSWER_FILE
    return load(Answer, path, "the answer of a search", FORMAT) if path.is_file() else None


def read_recommendation(folder: Path) -> Recommendation:
    """The recommended coefficients in a run's folder.

    Raises:
        UserError: not there, damaged, foreign, or of a newer version.
    """
    path = folder / RECOMMENDATION_FILE
    if not path.is_file():
        raise UserError(
            "--run", f"there is no {path.name} in {folder}, so it is not the folder of a search with an answer.",
            do='Run "scalesearch grid" first, or name such a folder.',
        )  # fmt: skip
    return load(Recommendation, path, "the coefficients of a search", FORMAT)
