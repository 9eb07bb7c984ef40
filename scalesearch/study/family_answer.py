"""What families trained side by side come to: accuracies, leads, slopes and crossings, with their intervals.

All contenders are judged on the same test images, so every draw of these is one for all; what a seed moves is drawn for
each network. Accuracies are compared as they are: nothing is charged for the cost, which stands on the other axis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from scalesearch.study.family_plan import MOST_RATES, FamilyPlan
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.race import above_guessing
from scalesearch.study.row import MemberRow
from scalesearch.study.statistics import (
    LEVEL_95,
    Evidence,
    Floats,
    Interval,
    accuracy_interval,
    contrasts,
    not_beaten,
    percentiles,
    seed_spread,
    weigh,
)


@dataclass(frozen=True)
class Point:
    """A contender's trainings on the test images.

    Args:
        number: of the contender; ``families``: the curves that it is on; ``phi``: None for a published network.
        accuracy: mean over seeds, with a 95 % interval for other images and, where any has several seeds, other seeds.
        learnt: whether it is clearly better than guessing the most frequent class.
        cost: what families are equal in, FLOPs or another measure of the plan.
        latency_ms: of one image; None while it is not measured.
    """

    number: int
    name: str
    families: tuple[str, ...]
    phi: float | None
    accuracy: Interval
    seeds: int
    learnt: bool
    cost: float
    macs: int
    params: int
    latency_ms: float | None


@dataclass(frozen=True)
class Lead:
    """By how much the first family is more accurate than another one, as a share of the images.

    Args:
        phis: at which both have a result: the mean over them, or the only one; none for a published network, which is
            met at its own cost.
        ratio: the first family's cost over the other's, the geometric mean over ``phis``.
    """

    over: str
    phis: tuple[float, ...]
    ratio: float
    interval: Interval

    @property
    def decided(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Slope:
    """Accuracy, as a share of the images, that a family gains for each doubling of its cost."""

    family: str
    interval: Interval


@dataclass(frozen=True)
class Crossing:
    """Where the curves of two families cross first.

    Args:
        cost: of the curves as measured; None where these do not cross.
        low, high: 95 % interval over those draws in which they do; None where they do in none.
        share: of the draws in which they do.
    """

    families: tuple[str, str]
    cost: float | None
    low: float | None
    high: float | None
    share: float


@dataclass(frozen=True)
class Best:
    """The families that nobody beats at a φ, at 95 %; ``compared``: those that have a result there."""

    phi: float
    families: tuple[str, ...]
    compared: tuple[str, ...]


@dataclass(frozen=True)
class Price:
    """What a curve's trainings took; a network on several curves counts for each.

    Args:
        seconds: of all its trainings, failed ones, too; ``choosing``: of those that chose a learning rate.
    """

    family: str
    trainings: int
    seconds: float
    choosing: float


@dataclass(frozen=True)
class FamilyAnswer:
    """What the trainings of families come to.

    Args:
        points: of each contender with a result, in the plan's order.
        seed_sd: between seeds, beyond single images; None with one seed each: then intervals are for these seeds alone.
        leads: of the first family over each other one, the mean over φ > 0, and over each published network at its
            cost. They are claims made together, so their intervals hold all at once with 95 %.
        leads_at: the same at each single φ > 0, in intervals that hold all at once.
        same: families whose networks are the first family's at every φ that both have a result at.
        outside: published networks whose cost the first family's curve does not reach.
        seconds: of all trainings, each once.
    """

    points: tuple[Point, ...]
    seed_sd: float | None
    leads: tuple[Lead, ...]
    leads_at: tuple[Lead, ...]
    same: tuple[str, ...]
    outside: tuple[str, ...]
    slopes: tuple[Slope, ...]
    crossings: tuple[Crossing, ...]
    best: tuple[Best, ...]
    prices: tuple[Price, ...]
    seconds: float

    @property
    def learnt(self) -> bool:
        """Whether any network is better than guessing; else leads and slopes say nothing."""
        return any(one.learnt for one in self.points)

    def curve(self, family: str) -> tuple[Point, ...]:
        """The points of a curve, by cost."""
        return tuple(sorted((one for one in self.points if family in one.families), key=lambda one: one.cost))


@lru_cache(maxsize=4)  # a report, a terminal and a search's report ask for the same
def compare(record: FamilyRecord) -> FamilyAnswer | None:
    """What the trainings so far come to; None while none has a result on the test images.

    Lines between the points of a curve are straight over log cost; nothing is said beyond its ends.
    """
    plan, tested = record.plan, {}
    for number in range(len(record.plan.contenders)):
        if done := [row for row in record.of(number) if row.status == "done"]:
            tested[number] = done
    if not tested:
        return None
    samples = [
        record.results.sample(rows[0].arm, rows[0].epochs, [row.seed for row in rows]) for rows in tested.values()
    ]
    spread, alike = seed_spread(samples), [1.0] * len(samples)
    views = [weigh(samples, alike, spread)]
    if any(one.parent is not None for one in plan.contenders):  # a curve's networks descend from one another
        views.append(weigh(samples, alike, spread, [plan.contenders[number].tuned_by for number in tested]))
    points = tuple(
        _point(record, number, rows, views[0].interval(place)) for place, (number, rows) in enumerate(tested.items())
    )
    curves = _Curves(plan, points)
    leads, leads_at = (_leads(curves, views, claims) for claims in (list(_overall(curves)), list(_at_each(curves))))
    alone, reached = set(curves.published), {one.over for one in leads}
    return FamilyAnswer(
        points, spread.sd if spread else None, leads, leads_at, tuple(filter(curves.same, curves.others)),
        tuple(name for name in curves.published if curves.places(name) and name not in reached),
        tuple(_slopes(curves, views)), tuple(_crossings(curves, views[0])), tuple(_best(curves, views[0])),
        tuple(_price(record, family) for family in plan.families if family not in alone or curves.places(family)),
        sum(row.seconds for row in record.rows),
    )  # fmt: skip


def _point(record: FamilyRecord, number: int, rows: Sequence[MemberRow], drawn: Interval) -> Point:
    """Its interval is the wider one of the bootstrap's, which seeds are in, and Wilson's, which holds near 0 and 1."""
    one, plan = record.plan.contenders[number], record.plan
    hits = record.right(number)
    wilson = accuracy_interval(hits)
    accuracy = Interval(drawn.value, max(0.0, min(drawn.low, wilson.low)), min(1.0, max(drawn.high, wilson.high)))
    return Point(
        number, one.name, tuple(place.family for place in one.places), one.places[0].phi, accuracy, len(rows),
        above_guessing(float(hits.sum(axis=1).mean()), plan.test, plan.majority), plan.measure.of(one.spec),
        rows[0].macs, rows[0].params, record.latencies.milliseconds[one.name] if record.latencies else None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Curves:
    """The points by family and φ; a combination of accuracies is a vector of weights, one a point."""

    plan: FamilyPlan
    points: tuple[Point, ...]

    @property
    def published(self) -> tuple[str, ...]:
        alone = {place.family for one in self.plan.contenders for place in one.places if place.phi is None}
        return tuple(family for family in self.plan.families if family in alone)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(family for family in self.plan.families if family not in self.published)

    @property
    def others(self) -> tuple[str, ...]:
        return self.families[1:]

    def places(self, family: str) -> dict[float | None, int]:
        """φ → the point's place, rising; None for a published network."""
        on = {self.plan.phi(one.number, family): place for place, one in enumerate(self.points)
              if family in one.families}  # fmt: skip
        return dict(sorted(on.items(), key=lambda item: item[0] or 0.0))

    def common(self, family: str) -> tuple[float, ...]:
        """φ > 0 at which the first family and another one have a result."""
        own, its = self.places(self.families[0]), self.places(family)
        return tuple(phi for phi in own if phi is not None and phi > 0 and phi in its)

    def same(self, family: str) -> bool:
        """Whether a family's networks are the first family's."""
        own, its = self.places(self.families[0]), self.places(family)
        common = self.common(family)
        return bool(common) and all(own[phi] == its[phi] for phi in common)

    def unit(self, place: int) -> Floats:
        weights: Floats = np.eye(len(self.points))[place]
        return weights

    def doublings(self, family: str) -> Floats:
        """log₂ of the cost along a curve."""
        return np.log2([self.points[place].cost for place in self.places(family).values()])

    def along(self, family: str, doublings: Floats) -> Floats:
        """Weights that give a curve's accuracy at some log₂ cost within its ends, (len(doublings), points)."""
        places, knots = list(self.places(family).values()), self.doublings(family)
        weights = np.zeros((len(doublings), len(self.points)))
        for row, place in zip(np.eye(len(places)), places, strict=True):
            weights[:, place] += np.interp(doublings, knots, row)
        return weights


Claim = tuple[str, tuple[float, ...], float, Floats]  # over whom, at which φ, ratio of the costs, weights


def _overall(curves: _Curves) -> Iterator[Claim]:
    first = curves.families[0]
    for family in curves.others:
        if (phis := curves.common(family)) and not curves.same(family):
            each = [_at(curves, family, phi) for phi in phis]
            ratio = float(np.exp(np.mean([np.log(one[2]) for one in each])))
            yield family, phis, ratio, np.mean([one[3] for one in each], axis=0)
    knots = curves.doublings(first)
    for name in curves.published:
        for place in curves.places(name).values():
            at = np.log2([curves.points[place].cost])
            if len(knots) and knots[0] <= at[0] <= knots[-1]:
                yield name, (), 1.0, curves.along(first, at)[0] - curves.unit(place)


def _at_each(curves: _Curves) -> Iterator[Claim]:
    own = curves.places(curves.families[0])
    for family in curves.others:
        its = curves.places(family)
        yield from (_at(curves, family, phi) for phi in curves.common(family) if own[phi] != its[phi])


def _at(curves: _Curves, family: str, phi: float) -> Claim:
    own, its = curves.places(curves.families[0])[phi], curves.places(family)[phi]
    ratio = curves.points[own].cost / curves.points[its].cost
    return family, (phi,), ratio, curves.unit(own) - curves.unit(its)


def _leads(curves: _Curves, views: Sequence[Evidence], claims: Sequence[Claim]) -> tuple[Lead, ...]:
    intervals = contrasts(views, [weights for *_, weights in claims], together=True)
    return tuple(
        Lead(over, phis, ratio, interval)
        for (over, phis, ratio, _), interval in zip(claims, intervals, strict=True)
    )  # fmt: skip


def _slopes(curves: _Curves, views: Sequence[Evidence]) -> Iterator[Slope]:
    """Least squares over the points of each curve that has several."""
    for family in curves.families:
        places, centred = list(curves.places(family).values()), curves.doublings(family)
        if len(places) < 2 or not np.ptp(centred):
            continue
        centred = centred - centred.mean()
        weights = np.zeros(len(curves.points))
        weights[places] = centred / (centred @ centred)
        yield Slope(family, contrasts(views, weights, together=False)[0])


def _crossings(curves: _Curves, evidence: Evidence) -> Iterator[Crossing]:
    """Of each two families, where both have curves over the same costs; a network that both share is no crossing."""
    for one, other in combinations(curves.families, 2):
        knots = [curves.doublings(family) for family in (one, other)]
        if min(map(len, knots)) < 2:
            continue
        low, high = max(ends[0] for ends in knots), min(ends[-1] for ends in knots)
        at = np.unique(np.concatenate([ends[(ends >= low) & (ends <= high)] for ends in knots]))
        weights = curves.along(one, at) - curves.along(other, at)
        differ = np.abs(weights).max(axis=1) > 0
        if differ.sum() < 2:
            continue
        weights, at = weights[differ], at[differ]
        draws = (evidence.scores + evidence.deviations) @ weights.T
        measured, drawn = _first_zero((evidence.scores @ weights.T)[None], at)[0], _first_zero(draws, at)
        share = float(np.mean(~np.isnan(drawn)))
        ends = percentiles(0.0, drawn, LEVEL_95) if share else None
        yield Crossing(
            (one, other), None if np.isnan(measured) else float(2**measured), float(2**ends.low) if ends else None,
            float(2**ends.high) if ends else None, share,
        )  # fmt: skip


def _first_zero(differences: Floats, at: Floats) -> Floats:
    """Where each row, straight between the places ``at``, first changes its sign; NaN where it never does."""
    left, right = differences[:, :-1], differences[:, 1:]
    changes = left * right < 0
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = at[:-1] + (at[1:] - at[:-1]) * left / (left - right)
    rows, first = np.arange(len(differences)), changes.argmax(axis=1)
    found: Floats = np.where(changes[rows, first], zeros[rows, first], np.nan)
    return found


def _best(curves: _Curves, evidence: Evidence) -> Iterator[Best]:
    """At each φ > 0 at which two networks or more have a result."""
    for phi in sorted({one.phi for one in curves.points if one.phi is not None and one.phi > 0}):
        there = {family: curves.places(family)[phi] for family in curves.families if phi in curves.places(family)}
        places = sorted(set(there.values()))
        if len(places) > 1:
            inside = dict(zip(places, not_beaten(evidence.part(places), LEVEL_95), strict=True))
            yield Best(phi, tuple(family for family, place in there.items() if inside[place]), tuple(there))


def _price(record: FamilyRecord, family: str) -> Price:
    numbers = set(record.plan.curve(family))
    rows = [row for row in record.rows if row.arm // MOST_RATES in numbers]
    choosing = sum(row.seconds for row in rows if row.judged_on == "validation")
    return Price(family, len(rows), sum(row.seconds for row in rows), choosing)
