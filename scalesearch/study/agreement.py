"""Do two sizes agree on which network is better? Rank correlation, and what trusting the smaller size costs.

Both sizes were judged on the same validation images, so both are resampled together: a draw takes the same images on
both sides, and seeds on each side by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalesearch.study.statistics import Bools, Evidence, SeedSpread, weigh

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and the interval it comes with; what the interval means is said where it is made."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Regret:
    """What was lost by taking the recommended network.

    Args:
        against: place of the best among the others.
        value: its score minus the recommended one's; 0 where the recommended one is the best itself.
        gap, low, high: that difference as it is, negative where the recommended one leads, and its 95 % interval,
            paired by image.
    """

    against: int
    value: float
    gap: float
    low: float
    high: float


def weigh_together(
    first: Sequence[Bools],
    second: Sequence[Bools],
    first_factors: Sequence[float],
    second_factors: Sequence[float],
    spread: SeedSpread | None,
) -> tuple[Evidence, Evidence]:
    """Evidence of the same networks at two sizes, drawn together (see ``winners.weigh``).

    Args:
        first, second: for each network, which images it got right: (its seeds, images), the same images throughout.
        first_factors, second_factors: what turns accuracies into scores.
        spread: between seeds, of both sizes.

    Raises:
        ScaleSearchError: nothing to weigh, or different images.
    """
    both = weigh([*first, *second], [*first_factors, *second_factors], spread)
    return _columns(both, slice(None, len(first))), _columns(both, slice(len(first), None))


def kendall_tau(first: Floats, second: Floats) -> Floats:
    """Kendall's τ-b between the last axes of two arrays, (…, n) each; NaN where one side is all ties.

    τ-b = (concordant − discordant pairs) / √(pairs untied in the first × pairs untied in the second)
    (Kendall 1945, Biometrika 33(3)).
    """
    left, right = np.triu_indices(first.shape[-1], 1)
    signs = [np.sign(scores[..., left] - scores[..., right]) for scores in (first, second)]
    untied = [(sign != 0).sum(axis=-1) for sign in signs]
    with np.errstate(invalid="ignore"):
        tau: Floats = (signs[0] * signs[1]).sum(axis=-1) / np.sqrt(untied[0] * untied[1])
    return tau


def rank_agreement(first: Evidence, second: Evidence, level: float = LEVEL) -> Interval | None:
    """τ-b between the scores at two sizes, and percentiles of it over the draws; None where τ is not defined.

    The interval says how far τ would move with other images and seeds, for these networks. Noise shuffles close
    networks and so pulls τ towards 0, in the measured τ and once more in each draw: an interval above 0 shows
    agreement, but the true τ may lie above its upper end, and one around 0 does not show that there is none
    (simulated: 94–97 % coverage where the orders are unrelated, hardly any where they are the same and the networks
    close). ``repeat_tau`` says what could be had at best.

    Args:
        first, second: of the same networks in the same order, drawn together (``weigh_together``).
    """
    tau = float(kendall_tau(first.scores, second.scores)) if len(first.scores) > 1 else np.nan
    if np.isnan(tau):
        return None
    draws = kendall_tau(first.scores + first.deviations, second.scores + second.deviations)
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(tau, float(low), float(high))


def repeat_tau(evidence: Evidence) -> float | None:
    """The mean τ-b between two draws of the same networks: what one size would agree with itself, trained again.

    A yardstick for ``rank_agreement``; a little too high, since the measured scores, which spread wider than the true
    ones, stand for them. None where τ is not defined.
    """
    if len(evidence.scores) < 2:
        return None
    draws = evidence.scores + evidence.deviations
    taus = kendall_tau(draws, np.roll(draws, 1, axis=0))
    return None if np.isnan(taus).all() else float(np.nanmean(taus))


def regret(evidence: Evidence, recommended: int, level: float = LEVEL) -> Regret | None:
    """The best other network's score minus the recommended one's; None where there is no other.

    The interval is that of the two networks' paired difference. It takes the better one as given, though it was picked
    by its score: among near equals the regret is biased upwards, so it may be read as a bound.

    Args:
        recommended: its place.
    """
    others = [place for place in range(len(evidence.scores)) if place != recommended]
    if not others:
        return None
    against = max(others, key=lambda place: evidence.scores[place])
    gap, low, high = evidence.gap(against, recommended, level)
    return Regret(against, max(0.0, gap), gap, low, high)


def _columns(evidence: Evidence, columns: slice) -> Evidence:
    return replace(
        evidence,
        scores=evidence.scores[columns],
        deviations=evidence.deviations[:, columns],
        seeds=evidence.seeds[columns],
    )
