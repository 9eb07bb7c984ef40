"""Rounding to a budget: depth, width and resolution rounded together so that the real FLOPs are those asked for.

Rounding each factor by itself breaks the promise that αβ²γ² = 2 doubles the FLOPs: on B0's grid the released
rules give 1.9 to 3.3 times. Here every multiplier has a few roundings near it:

- widths: the stages' widths × w × s for s from 0.88 to 1.12, each to the nearest multiple of the divisor;
- depths: the total number of blocks one below to one above Σ depth × d, spread over the stages by largest remainder;
- resolution: every whole pixel within 8 % of resolution × r,

and the one is taken, of those within 5 % of the cost if there are any, that loses least: |relative cost error| weighs
``ERROR_WEIGHT``, departing from the factors
asked for weighs by how much it would change the FLOPs. A factor of exactly 1 on depth or width changes nothing
there, so that a width-only network is one; a factor above 1 never makes anything smaller, nor one below 1 larger.

Costs of all roundings come from one table, since a block costs a·in² + b·out² + c.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.cost import block_operators, classifier_operators
from scalesearch.design.spec import NetSpec, Shape, Stage, nearest_width, scaled_head

RESOLUTION_SLACK = 0.08
WIDTH_SLACK = 0.12
ERROR_WEIGHT = 4.0
NEAR_COST, OUTSIDE = 0.05, 10.0  # a rounding within 5 % of the cost goes before any other
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Multipliers asked for, and the multiply-adds that the rounded network should cost."""

    depth: float
    width: float
    resolution: float
    macs: float


@dataclass(frozen=True)
class BudgetFit:
    """The shape chosen for a target and its exact multiply-adds."""

    shape: Shape
    macs: int


@dataclass(frozen=True)
class _Widths:
    """One rounding of all widths, how far it departs (in log FLOPs), and what each block weighs.

    ``first`` and ``rest`` hold a, b, c per stage: the first block and each further one cost a·in² + b·out² + c.
    ``head_macs`` and ``stem_macs`` are per pixel of their output; ``classifier`` is what follows the pooling.
    """

    stem: int
    widths: tuple[int, ...]
    head: int
    departure: float
    first: Ints
    rest: Ints
    stem_macs: int
    head_macs: int
    classifier: int


def round_to_budget(spec: NetSpec, targets: Sequence[Target]) -> list[BudgetFit]:
    """The best rounding for each target, in order; many targets share their tables.

    Args:
        spec: the baseline that the multipliers refer to.
        targets: what is wanted; a search passes its whole grid at once.
    """
    order = sorted(range(len(targets)), key=lambda i: (targets[i].width, targets[i].resolution))
    depths = {depth: _depth_options(spec, depth) for depth in {target.depth for target in targets}}
    chosen: dict[int, BudgetFit] = {}
    for width, same_width in groupby(order, key=lambda i: targets[i].width):
        options = _width_options(spec, width)
        for resolution, same in groupby(same_width, key=lambda i: targets[i].resolution):
            group = list(same)
            rounded = _round_group(spec, options, depths, resolution, [targets[i] for i in group])
            chosen.update(zip(group, rounded, strict=True))
    return [chosen[i] for i in range(len(targets))]


def _round_group(
    spec: NetSpec,
    options: list[_Widths],
    depth_options: dict[float, tuple[Ints, Floats]],
    resolution: float,
    targets: list[Target],
) -> Iterable[BudgetFit]:
    """Targets of one width and one resolution multiplier: score every rounding, keep the least loss of each."""
    sides = _resolution_options(spec.resolution, resolution)
    side_departure = 2 * np.abs(np.log(sides / (spec.resolution * resolution)))
    width_departure = np.array([option.departure for option in options])
    departure = (width_departure[:, None] + side_departure)[..., None]
    base, rest = _cost_tables(spec, options, sides)
    for target in targets:
        depths, depth_departure = depth_options[target.depth]
        macs = base[..., None] + rest @ (depths.T - 1)  # (widths, sides, depths)
        error = np.abs(macs / target.macs - 1)
        loss = ERROR_WEIGHT * error + OUTSIDE * (error > NEAR_COST) + departure + depth_departure
        w, s, d = np.unravel_index(int(np.argmin(loss)), loss.shape)
        option = options[w]
        shape = Shape(option.stem, option.widths, tuple(int(n) for n in depths[d]), option.head, int(sides[s]))
        yield BudgetFit(shape, int(macs[w, s, d]))


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
            options[key] = _weigh(spec, stem, widths, head, 2 * departure / len(widths))
    return list(options.values())


def _weigh(spec: NetSpec, stem: int, widths: tuple[int, ...], head: int, departure: float) -> _Widths:
    inputs = (stem, *widths[:-1])
    first, rest = [], []
    for stage, width_in, width in zip(spec.stages, inputs, widths, strict=True):
        shaped = Stage(
            width, 1, stage.kernel, stage.stride, stage.expand_ratio, stage.se_ratio, stage.block, squeeze=stage.squeeze
        )
        first.append(_block_weights(shaped, width_in, stage.stride))
        rest.append(_block_weights(shaped, width, 1))
    stem_macs = spec.stem.kernel**2 * spec.in_channels * stem
    classifier = sum(op.macs for op in classifier_operators(head or widths[-1], spec.head.hidden, spec.classes))
    return _Widths(
        stem, widths, head, departure, np.array(first), np.array(rest), stem_macs, widths[-1] * head, classifier
    )


@cache
def _block_weights(stage: Stage, width_in: int, stride: int) -> tuple[int, int, int]:
    """a, b, c of a block's multiply-adds a·in² + b·out² + c, from three probes of the closed form.

    On stride 1 in and out are one size, so all may count as b.
    """

    def macs(size: int) -> int:
        return sum(op.macs for op in block_operators(stage, width_in, stride, size))

    at_0, at_1 = macs(0), macs(1)
    a = (macs(stride) - at_1) // (stride**2 - 1) if stride > 1 else 0
    return a, at_1 - a - at_0, at_0


def _cost_tables(spec: NetSpec, options: list[_Widths], sides: Ints) -> tuple[Ints, Ints]:
    """(widths, sides) cost with one block per stage, and (widths, sides, stages) cost of each further block."""
    inputs, outputs = [], []
    # output_size, for all sides at once
    stem_size, size = -(-sides // spec.stem.stride), -(-sides // spec.stem.reduction)
    for stage in spec.stages:
        inputs.append(size)
        size = -(-size // stage.stride)
        outputs.append(size)
    squares_in, squares_out = np.stack(inputs, 1) ** 2, np.stack(outputs, 1) ** 2  # (sides, stages)
    first = np.stack([option.first for option in options])  # (widths, stages, 3)
    rest = np.stack([option.rest for option in options])
    first_macs = first[:, None, :, 0] * squares_in + first[:, None, :, 1] * squares_out + first[:, None, :, 2]
    rest_macs = (rest[:, None, :, 0] + rest[:, None, :, 1]) * squares_out + rest[:, None, :, 2]
    ends = (
        np.outer([option.stem_macs for option in options], stem_size**2)
        + np.outer([option.head_macs for option in options], size**2)
        + np.array([[option.classifier] for option in options])
    )
    return first_macs.sum(2) + ends, rest_macs
