"""Sizing: the baseline nearest to a FLOPs target, and the φ that meets one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scalesearch.design.cost import cost
from scalesearch.design.scaling import PAPER, Coefficients, Rounding, scale
from scalesearch.design.space import SearchSpace
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError

AS_IT_IS = 0.05
NEAR_ENOUGH = 0.15
TIME_NEAR_ENOUGH = 0.25  # a time cannot be met better: overheads do not shrink, and clocks wobble
MEASUREMENTS = 8
MOST_PHI = 4.0  # a step of the search for φ
LARGEST_PARAMS = 4_000_000_000


@dataclass(frozen=True)
class Sized:
    """A φ, the member it gives, and that member's multiply-adds."""

    phi: float
    spec: NetSpec
    macs: int


def size_baseline(space: SearchSpace, target_macs: float | None, classes: int | None = None) -> NetSpec:
    """The space's baseline at about ``target_macs`` multiply-adds.

    The baseline stays as it is within 5 % of the target (B0's 386M is what the paper calls 400M). Else it is scaled
    up or down with the paper's coefficients, rounded to the budget.

    Args:
        target_macs: T; None keeps the space's own size.
        classes: outputs of the classifier; None keeps the space's.

    Raises:
        UserError: T out of the space's reach, with the nearest size that can be had.
    """
    baseline = space.baseline if classes is None else replace(space.baseline, classes=classes)
    own = cost(baseline).macs
    if target_macs is None or abs(own / target_macs - 1) <= AS_IT_IS:
        return baseline
    return meet(baseline, replace(PAPER, growth=2.0), target_macs, "budget", "--target-flops").spec


def meet(
    spec: NetSpec, coefficients: Coefficients, target_macs: float, rounding: Rounding, option: str = "--flops"
) -> Sized:
    """The member of a family whose multiply-adds come nearest to a target: solves for φ.

    Args:
        spec: φ = 0.
        option: the option named in the error.

    Raises:
        UserError: nothing within 15 % of the target, or a network too large to build.
    """
    if not (math.isfinite(target_macs) and target_macs > 0):
        raise UserError(option, f"{target_macs}", "a positive number of multiply-adds, such as 400M")
    own = cost(spec).macs
    if coefficients.step_ratio <= 1:
        raise UserError("--alpha, --beta, --gamma", str(coefficients), "at least one above 1, or φ changes nothing")
    start = math.log(target_macs / own) / math.log(coefficients.step_ratio)
    # Rounding makes FLOPs a staircase in φ: try the formula's φ first, then its neighbours.
    offsets = sorted((step / 40 for step in range(-40, 41)), key=abs)
    best: Sized | None = None
    for phi in (start + offset for offset in offsets):
        try:
            member = scale(spec, coefficients, phi, rounding)
        except UserError:
            continue
        macs = cost(member).macs
        if best is None or _miss(macs, target_macs) < _miss(best.macs, target_macs) - 1e-3:
            best = Sized(phi, member, macs)
        if _miss(best.macs, target_macs) < 1e-3:
            break
    if best is None or _miss(best.macs, target_macs) > math.log1p(NEAR_ENOUGH):
        near = f"; the nearest is {best.macs:.4g}" if best else ""
        raise UserError(
            option, f"{target_macs:.4g}", f"a size that {spec.name} ({own:.4g} multiply-adds) can be scaled to{near}",
            "Choose a space of about that size.",
        )  # fmt: skip
    check_buildable(best.spec, option)
    return best


def meet_seconds(
    spec: NetSpec,
    coefficients: Coefficients,
    target_seconds: float,
    rounding: Rounding,
    seconds_of: Callable[[NetSpec], float],
    option: str = "--latency",
) -> tuple[Sized, float]:
    """The member of a family that takes about ``target_seconds``, with what it took: bisection over φ.

    A time grows about as FLOPs do, but by no formula, and each measurement builds a network: the next guess is the φ
    whose FLOPs are as many times the last one's as the target is of its time, or half way where that was ruled out.

    Args:
        spec: φ = 0.
        seconds_of: measures a network.
        option: the option named in the error.

    Raises:
        UserError: a target that no member comes within 25 % of.
    """
    step = coefficients.step_ratio
    if not (math.isfinite(target_seconds) and target_seconds > 0):
        raise UserError(option, f"{target_seconds}", "a positive time, such as 20ms")
    if step <= 1:
        raise UserError("--alpha, --beta, --gamma", str(coefficients), "at least one above 1, or φ changes nothing")
    own = seconds_of(spec)
    tried = [(0.0, spec, own)]
    low, high = -math.inf, math.inf
    phi = 0.0
    for _ in range(MEASUREMENTS):
        _, _, seconds = tried[-1]
        low, high = (phi, high) if seconds < target_seconds else (low, phi)
        if _miss(seconds, target_seconds) < math.log1p(AS_IT_IS):
            break
        # FLOPs proportional to time give a step; between two known ends it never leaves them
        phi += max(-MOST_PHI, min(MOST_PHI, math.log(target_seconds / seconds) / math.log(step)))
        if not low < phi < high:
            phi = (low + high) / 2
        phi = round(phi, 3)
        if phi in [known for known, _, _ in tried]:
            break
        try:
            member = scale(spec, coefficients, phi, rounding)
            check_buildable(member, option)
        except UserError:
            break
        tried.append((phi, member, seconds_of(member)))
    best = min(tried, key=lambda one: _miss(one[2], target_seconds))
    if _miss(best[2], target_seconds) > math.log1p(TIME_NEAR_ENOUGH):
        raise UserError(
            option, f"{target_seconds * 1e3:.3g} ms",
            f"a time that {spec.name} ({own * 1e3:.3g} ms) can be scaled to; the nearest is {best[2] * 1e3:.3g} ms "
            f"at φ = {best[0]:g}", "Choose another space, or measure again on a machine with nothing else to do.",
        )  # fmt: skip
    return Sized(best[0], best[1], cost(best[1]).macs), best[2]


def check_buildable(spec: NetSpec, option: str) -> None:
    """Refuses a network whose weights alone would take more than 16 GB, before anything is allocated."""
    params = cost(spec).params
    if params > LARGEST_PARAMS:
        raise UserError(
            option, f"a network of {params / 1e9:.3g}B parameters ({4 * params / 1e9:.3g} GB)",
            f"at most {LARGEST_PARAMS / 1e9:g}B parameters",
        )  # fmt: skip


def _miss(found: float, target: float) -> float:
    return abs(math.log(found / target))
