"""Rounding to a budget: depth, width and resolution rounded together so that the real cost is the one asked for.

Rounding each factor by itself breaks the promise that αβ²γ² = 2 doubles the FLOPs: on B0's grid the released
rules give 1.9 to 3.3 times. Here every multiplier has a few roundings near it:

- widths: the stages' widths × w × s for s from 0.88 to 1.12, each to the nearest multiple of the divisor;
- depths: the total number of blocks one below to one above Σ depth × d, spread over the stages by largest remainder;
- resolution: every whole pixel within 8 % of resolution × r,

and the one is taken, of those within 5 % of the cost if there are any, that loses least: |relative cost error| weighs
``ERROR_WEIGHT``, departing from the factors
asked for weighs by how much it would change the FLOPs. A factor of exactly 1 on depth or width changes nothing
there, so that a width-only network is one; a factor above 1 never makes anything smaller, nor one below 1 larger.

Costs of all roundings come from one table, whatever the cost is (``design.measure``): a network's is the sum over its
parts and the most that any part holds, and a further block of a stage costs what the others but the first do.

Factors say what they ask for in FLOPs: αβ²γ² of them. In another measure the same share of a step costs more or less,
so there the factors are first stretched, all logarithms alike, until the network costs what is wanted (``aim``).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.measure import FLOPS, Entering, Measure, Meter, Portion
from scalesearch.design.spec import NetSpec, Shape, nearest_width, reshape, scaled_head

RESOLUTION_SLACK = 0.08
WIDTH_SLACK = 0.12
ERROR_WEIGHT = 4.0
STRETCHES, MOST_STRETCH = 33, 3.0  # of factors: how many are tried, and the doublings of FLOPs for one of the cost
NEAR_COST, OUTSIDE = 0.05, 10.0  # a rounding within 5 % of the cost goes before any other
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Multipliers asked for, and what the rounded network should cost."""

    depth: float
    width: float
    resolution: float
    cost: float


@dataclass(frozen=True)
class BudgetFit:
    """The shape chosen for a target and its exact cost."""

    shape: Shape
    cost: float


@dataclass(frozen=True)
class _Widths:
    """One rounding of all widths, and how far it departs (in log FLOPs)."""

    stem: int
    widths: tuple[int, ...]
    head: int
    departure: float


@dataclass(frozen=True, eq=False)
class _Costs:
    """Of every rounding of the widths at every side: with one block per stage, and of each further block.

    Args:
        meter: makes costs of the sums.
        base: (quantities, widths, sides); ``further``: (quantities, widths, sides, stages).
        held, further_held: without quantities, the most that a part holds beside that; None where nothing is held.
    """

    meter: Meter
    base: Floats
    further: Floats
    held: Floats | None
    further_held: Floats | None

    def at(self, places: Ints) -> "_Costs":
        """Of the sides at these places."""
        held = None if self.held is None else self.held[:, places]
        further = None if self.further_held is None else self.further_held[:, places]
        return _Costs(self.meter, self.base[:, :, places], self.further[:, :, places], held, further)

    def of(self, depths: Ints) -> Floats:
        """Of each of the depths (options, stages): (widths, sides, options)."""
        added, held = self.base[..., None] + self.further @ (depths.T - 1), None
        if self.held is not None and self.further_held is not None:
            repeated = np.where(depths > 1, self.further_held[:, :, None, :], 0).max(axis=3)
            held = np.maximum(self.held[..., None], repeated)
        return self.meter.total(added, held)


def round_to_budget(spec: NetSpec, targets: Sequence[Target], measure: Measure = FLOPS) -> list[BudgetFit]:
    """The best rounding for each target, in order; many targets share their tables.

    Args:
        spec: the baseline that the multipliers refer to.
        targets: what is wanted; a search passes its whole grid at once.
        measure: of the targets' costs.
    """
    order = sorted(range(len(targets)), key=lambda i: (targets[i].width, targets[i].resolution))
    depths = {depth: _depth_options(spec, depth) for depth in {target.depth for target in targets}}
    chosen: dict[int, BudgetFit] = {}
    for width, same_width in groupby(order, key=lambda i: targets[i].width):
        options, of_width = _width_options(spec, width), list(same_width)
        sides = {r: _resolution_options(spec.resolution, r) for r in {targets[i].resolution for i in of_width}}
        every = np.unique(np.concatenate(list(sides.values())))
        costs = _cost_tables(spec, options, every, measure)
        for resolution, same in groupby(of_width, key=lambda i: targets[i].resolution):
            group, own = list(same), sides[resolution]
            table = costs.at(np.searchsorted(every, own))
            rounded = _round_group(spec, options, table, depths, own, [targets[i] for i in group])
            chosen.update(zip(group, rounded, strict=True))
    return [chosen[i] for i in range(len(targets))]


def aim(spec: NetSpec, factors: tuple[float, float, float], target: float, measure: Measure = FLOPS) -> Target:
    """Factors of depth, width and resolution that come to the cost ``target``, in proportion to those given.

    FLOPs are what factors are stated in, so for them nothing changes. In another measure all logarithms are stretched
    alike, until the network, each dimension rounded by itself, costs what is wanted, or has changed by three times as
    many doublings of FLOPs. Pixels that cost nothing, as where parameters are counted, stay: nothing would limit them.
    """
    if measure == FLOPS:
        return Target(*factors, target)
    if measure.of(replace(spec, resolution=2 * spec.resolution)) == measure.of(spec):
        factors = (*factors[:2], 1.0)
    doublings = math.log2(factors[0] * factors[1] ** 2 * factors[2] ** 2)
    if abs(doublings) < 1e-9:
        return Target(*factors, target)
    wanted = math.log2(target / measure.of(spec))
    furthest = MOST_STRETCH * abs(wanted / doublings)
    stretches = np.linspace(0, furthest, STRETCHES)
    costs = [measure.of(reshape(spec, _plain(spec, *(factor**t for factor in factors)))) for t in stretches]
    ways = np.maximum.accumulate(np.abs(np.log2(np.array(costs) / costs[0])))  # rounding makes it a staircase
    stretch = float(np.interp(abs(wanted), ways + 1e-9 * stretches, stretches))
    depth, width, resolution = (factor**stretch for factor in factors)
    return Target(depth, width, resolution, target)


def _plain(spec: NetSpec, depth: float, width: float, resolution: float) -> Shape:
    """Each dimension rounded to the nearest, by itself."""
    widths = tuple(nearest_width(stage.width * width, spec.width_divisor) for stage in spec.stages)
    blocks = sum(stage.depth for stage in spec.stages if stage.depth_scaled)
    stem = nearest_width(spec.stem.width * width, spec.width_divisor) if spec.stem.scaled else spec.stem.width
    depths = spread_depths(spec, depth, max(1, round(blocks * depth))) if blocks else spec.depths
    return Shape(stem, widths, depths, scaled_head(spec, widths, width), max(1, round(spec.resolution * resolution)))


def _round_group(
    spec: NetSpec,
    options: list[_Widths],
    costs: _Costs,
    depth_options: dict[float, tuple[Ints, Floats]],
    sides: Ints,
    targets: list[Target],
) -> Iterable[BudgetFit]:
    """Targets of one width and one resolution multiplier: score every rounding, keep the least loss of each."""
    side_departure = 2 * np.abs(np.log(sides / (spec.resolution * targets[0].resolution)))
    width_departure = np.array([option.departure for option in options])
    departure = (width_departure[:, None] + side_departure)[..., None]
    for target in targets:
        depths, depth_departure = depth_options[target.depth]
        total = costs.of(depths)  # (widths, sides, depths)
        error = np.abs(total / target.cost - 1)
        loss = ERROR_WEIGHT * error + OUTSIDE * (error > NEAR_COST) + departure + depth_departure
        w, s, d = np.unravel_index(int(np.argmin(loss)), loss.shape)
        option = options[w]
        shape = Shape(option.stem, option.widths, tuple(int(n) for n in depths[d]), option.head, int(sides[s]))
        yield BudgetFit(shape, float(total[w, s, d]))


def _resolution_options(own: int, factor: float) -> Ints:
    """Whole pixels within the slack of the wanted resolution, the nearest one always among them."""
    wanted = own * factor
    low = min(math.ceil(wanted * (1 - RESOLUTION_SLACK)), round(wanted))
    high = max(math.floor(wanted * (1 + RESOLUTION_SLACK)), round(wanted))
    low, high = (max(low, own), max(high, own)) if factor >= 1 else (min(low, own), min(high, own))
    return np.arange(max(1, low), max(1, high) + 1)


def _depth_options(spec: NetSpec, depth: float) -> tuple[Ints, Floats]:
    """Depths per stage for totals next to the wanted one, and how far each departs (in log FLOPs)."""
    if depth == 1:
        return np.array([spec.depths]), np.zeros(1)
    wanted = sum(stage.depth * depth for stage in spec.stages if stage.depth_scaled)
    own = sum(stage.depth for stage in spec.stages if stage.depth_scaled)
    totals = {_bounded(total, own, depth) for total in range(max(1, math.floor(wanted) - 1), math.ceil(wanted) + 2)}
    options = sorted({spread_depths(spec, depth, total) for total in totals})
    scaled = [stage.depth_scaled for stage in spec.stages]
    departures = [
        abs(math.log(sum(n for n, s in zip(option, scaled, strict=True) if s) / wanted)) if any(scaled) else 0.0
        for option in options
    ]
    return np.array(options), np.array(departures)


def spread_depths(spec: NetSpec, depth: float, total: int) -> tuple[int, ...]:
    """``total`` blocks over the scaled stages by largest remainder of depth × multiplier.

    No stage falls below 1 block, nor below the baseline's where the multiplier is at least 1, so the sum can
    exceed ``total``. Ties go to the earlier stage.
    """
    scaled = [i for i, stage in enumerate(spec.stages) if stage.depth_scaled]
    wanted = {i: spec.stages[i].depth * depth for i in scaled}
    floors = {i: max(spec.stages[i].depth if depth >= 1 else 1, math.floor(wanted[i])) for i in scaled}
    result = dict(floors)
    for _ in range(total - sum(floors.values())):
        result[max(scaled, key=lambda i: wanted[i] - result[i])] += 1
    return tuple(result.get(i, stage.depth) for i, stage in enumerate(spec.stages))


def _bounded(value: int, own: int, factor: float) -> int:
    """A rounding that does not go the other way than the factor does."""
    return max(value, own) if factor >= 1 else min(value, own)


def _width_options(spec: NetSpec, width: float) -> list[_Widths]:
    """Distinct roundings of all widths around the multiplier; exactly the baseline's at 1."""
    slack = 0.0 if width == 1 else WIDTH_SLACK
    shares = np.linspace(1 - slack, 1 + slack, 49 if slack else 1)
    options: dict[tuple[int, ...], _Widths] = {}

    def scaled(own: int, share: float) -> int:
        return _bounded(nearest_width(own * width * share, spec.width_divisor), own, width)

    for share in shares.tolist():
        widths = tuple(scaled(stage.width, share) for stage in spec.stages)
        stem = scaled(spec.stem.width, share) if spec.stem.scaled and width != 1 else spec.stem.width
        if width == 1:
            widths = spec.widths
        head = spec.head.width if width == 1 else scaled_head(spec, widths, width * share)
        key = (stem, *widths, head)
        if key not in options:
            departure = sum(
                abs(math.log(new / (stage.width * width))) for new, stage in zip(widths, spec.stages, strict=True)
            )
            options[key] = _Widths(stem, widths, head, 2 * departure / len(widths))
    return list(options.values())


def _cost_tables(spec: NetSpec, options: list[_Widths], sides: Ints, measure: Measure) -> _Costs:
    """The costs of all roundings; what two share is computed once."""
    meter, known = measure.meter, dict[tuple[object, ...], Portion]()
    inputs = [-(-sides // spec.stem.reduction)]  # output_size, for all sides at once
    for stage in spec.stages:
        inputs.append(-(-inputs[-1] // stage.stride))

    def block(place: int, width_in: int, width: int, first: bool) -> Portion:
        key = (place, width_in, width, first)
        if key not in known:
            stage, given = replace(spec.stages[place], width=width, depth=1), Entering(width_in, inputs[place])
            if first:
                known[key] = meter.block(spec, stage, width_in, stage.stride, given.sides, None)
            else:
                known[key] = meter.block(spec, stage, width, 1, inputs[place + 1], given)
        return known[key]

    def parts(one: _Widths) -> tuple[list[Portion], list[Portion]]:
        """All with one block per stage; and each stage's further block."""
        entering = (one.stem, *one.widths[:-1])
        first = [block(i, *pair, True) for i, pair in enumerate(zip(entering, one.widths, strict=True))]
        ends = [
            meter.stem(spec, one.stem, sides),
            meter.head(spec, one.widths[-1], one.head, inputs[-1]),
            meter.classifier(spec, one.head or one.widths[-1], inputs[-1]),
        ]
        further = [block(i, *pair, False) for i, pair in enumerate(zip(entering, one.widths, strict=True))]
        return [*ends, *first], further

    both = [parts(one) for one in options]
    base = np.stack([np.sum([part.added for part in once], axis=0) for once, _ in both], axis=1)
    further = np.stack([np.stack([part.added for part in more], axis=2) for _, more in both], axis=1)
    if both[0][0][0].held is None:
        return _Costs(meter, base, further, None, None)
    held = np.stack([np.max([part.held for part in once if part.held is not None], axis=0) for once, _ in both])
    more_held = [np.stack([part.held for part in more if part.held is not None], axis=1) for _, more in both]
    return _Costs(meter, base, further, held, np.stack(more_held))
