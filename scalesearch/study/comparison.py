"""A win over a control taken apart: what accuracy brought, what FLOPs cost, and whether the win was bought.

score = accuracy · (FLOPS / T)^−0.07, so log score splits exactly: log(score₁/score₂) = log(acc₁/acc₂) − 0.07 ·
log(FLOPS₁/FLOPS₂). The first term is the accuracy part, the second the cost part.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scalesearch.design.controls import EQUAL_COST
from scalesearch.design.cost import EXPONENT
from scalesearch.study.statistics import Bools, SeedSpread, weigh

Verdict = Literal["won", "lost", "not shown", "bought"]
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """One network against a control, both trained alike and judged on the same images.

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


@dataclass(frozen=True, eq=False)
class Side:
    """A network as it enters a comparison: which images it got right (seeds, images), its multiply-adds."""

    name: str
    correct: Bools
    macs: int


def compare(
    side: Side, control: Side, dimension: str, epochs: int, target_macs: float, spread: SeedSpread | None
) -> Comparison:
    """Compares with a control. Accuracies of 0 count as half an image right, so that logarithms exist."""
    factors = [(one.macs / target_macs) ** EXPONENT for one in (side, control)]
    evidence = weigh([side.correct, control.correct], factors, spread)
    gap, low, high = evidence.gap(0, 1, LEVEL)
    accuracies = [max(float(one.correct.mean()), 0.5 / one.correct.size) for one in (side, control)]
    ratio = side.macs / control.macs
    return Comparison(
        control=control.name, dimension=dimension, epochs=epochs, seeds=len(side.correct),
        accuracy=float(side.correct.mean()), control_accuracy=float(control.correct.mean()),
        gap=gap, low=low, high=high,
        accuracy_part=math.log(accuracies[0] / accuracies[1]), cost_part=EXPONENT * math.log(ratio),
        cost_ratio=ratio, verdict=_verdict(accuracies[0] >= accuracies[1], gap, low, high, ratio),
    )  # fmt: skip


def _verdict(as_accurate: bool, gap: float, low: float, high: float, ratio: float) -> Verdict:
    if low > 0:
        return "won"
    if ratio > 1 + EQUAL_COST and as_accurate and gap <= 0:
        return "bought"
    return "lost" if high < 0 else "not shown"
