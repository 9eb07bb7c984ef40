"""Controls: the same real FLOPs spent on depth alone, on width alone, on resolution alone.

Compound scaling claims to beat them (Tan & Le 2019, figure 8), so every search trains them. A control changes nothing
but its own dimension. Only where that dimension's steps (a block, a multiple of channels, a pixel before a stride) miss
the budget by more than 3 %, one stage or a few are made a step wider or narrower to meet it.
"""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from scalesearch.design.budget import ERROR_WEIGHT, spread_depths
from scalesearch.design.cost import cost
from scalesearch.design.spec import DIMENSIONS, Dimension, NetSpec, Shape, nearest_width, reshape, scaled_head, shape_of

EQUAL_COST = 0.03  # networks whose multiply-adds differ by no more count as equally costly
LARGEST = 2.0  # multiplier tried over the FLOPs': more blocks may be taken than FLOPs, since stem and head stay
MOST_ADJUSTED = 4  # steps of channels by which a control may meet its budget
NEAR = (0.75, 1.35)  # share of the budget, up to four times the FLOPs, within which one step of one stage meets it


@dataclass(frozen=True)
class Control:
    """A shape that differs from the baseline's in one dimension, and its exact multiply-adds."""

    dimension: Dimension
    shape: Shape
    macs: int


def controls(spec: NetSpec, macs: float) -> tuple[Control, ...]:
    """One control per dimension, each as near to ``macs`` multiply-adds as the dimension's steps allow.

    Among roundings the one is taken that loses least: the relative cost error weighs ``ERROR_WEIGHT``, a departure of
    single stages from the common factor its mean in log FLOPs. A dimension that cannot grow (no stage's depth scales)
    has none.
    """
    return tuple(one for dimension in DIMENSIONS if (one := _control(spec, dimension, macs)) is not None)


def _control(spec: NetSpec, dimension: Dimension, macs: float) -> Control | None:
    """The control of one dimension, as ``controls`` makes it; None where the dimension cannot grow."""
    best = _best(spec, dimension, macs)
    if best is None:
        return None
    shape = met(spec, best.shape, macs)
    return Control(dimension, shape, cost(reshape(spec, shape)).macs)


def alone(spec: NetSpec, dimension: Dimension, macs: float) -> Shape | None:
    """What a control grows from, before stages are made a step wider or narrower: grown in one dimension and in nothing
    else; the spec's own shape where that is nearer to ``macs``. None where the dimension cannot grow."""
    best = _best(spec, dimension, macs)
    if best is None:
        return None
    return best.shape if abs(best.macs / macs - 1) < abs(cost(spec).macs / macs - 1) else shape_of(spec)


def met(spec: NetSpec, shape: Shape, macs: float) -> Shape:
    """The shape, with a stage or a few a step wider or narrower where its cost misses ``macs`` by more than 3 %."""
    for _ in range(MOST_ADJUSTED):
        if abs(cost(reshape(spec, shape)).macs / macs - 1) <= EQUAL_COST:
            break
        shape = min(_adjusted(spec, shape), key=lambda one: abs(cost(reshape(spec, one)).macs / macs - 1))
    return shape


def _best(spec: NetSpec, dimension: Dimension, macs: float) -> Control | None:
    """The option that loses least; each comes with its departure from the dimension's common factor."""
    options = {"depth": _depths, "width": _widths, "resolution": _resolutions}[dimension]
    own = shape_of(spec)
    best: tuple[float, Control] | None = None
    for shape, departure in options(spec, macs):
        if shape != own:
            count = cost(reshape(spec, shape)).macs
            loss = ERROR_WEIGHT * abs(count / macs - 1) + departure
            if best is None or loss < best[0]:
                best = (loss, Control(dimension, shape, count))
    return None if best is None else best[1]


def _adjusted(spec: NetSpec, shape: Shape) -> Iterator[Shape]:
    """The shape, and with one stage's channels a step more or less."""
    yield shape
    for place in range(len(shape.widths)):
        for step in (-spec.width_divisor, spec.width_divisor):
            widths = tuple(width + step * (i == place) for i, width in enumerate(shape.widths))
            if widths[place] > 0:
                yield replace(shape, widths=widths)


def _largest(spec: NetSpec, macs: float) -> float:
    return LARGEST * max(2.0, macs / cost(spec).macs)


def _near(spec: NetSpec, macs: float, steps: range, shape: Callable[[int], Shape]) -> range:
    """The steps whose shapes cost about ``macs``: so near that one step of one stage, which is a smaller share of a
    larger network, can meet it. A larger step costs more."""
    reach = min(1.0, 4 * cost(spec).macs / macs)
    least, most = (1 + reach * (end - 1) for end in NEAR)

    def share(step: int) -> float:
        return cost(reshape(spec, shape(step))).macs / macs

    return steps[bisect.bisect_right(steps, least, key=share) : bisect.bisect_left(steps, most, key=share)]


def _depths(spec: NetSpec, macs: float) -> Iterator[tuple[Shape, float]]:
    """Blocks spread in proportion for the totals around the budget, and with one block moved, added or left out."""
    own = shape_of(spec)
    scaled = [i for i, stage in enumerate(spec.stages) if stage.depth_scaled]
    if not scaled:
        return
    blocks = sum(spec.depths[i] for i in scaled)
    seen: set[tuple[int, ...]] = set()

    def spread(total: int) -> Shape:
        return replace(own, depths=spread_depths(spec, total / blocks, total))

    for total in _near(spec, macs, range(blocks + 1, math.ceil(_largest(spec, macs) * blocks) + 1), spread):
        base = spread(total).depths
        for depths in {base, *_moved(base, scaled, spec.depths, 1)} - seen:
            seen.add(depths)
            grown = sum(depths[i] for i in scaled) / blocks
            departures = [abs(math.log(depths[i] / (spec.depths[i] * grown))) for i in scaled]
            yield replace(own, depths=depths), sum(departures) / len(scaled)


def _widths(spec: NetSpec, macs: float) -> Iterator[tuple[Shape, float]]:
    """All widths times a common factor, rounded to the divisor, and with one stage a step wider or narrower."""
    divisor = spec.width_divisor
    seen: set[tuple[int, ...]] = set()

    def widened(percent: int) -> Shape:
        factor = percent / 100
        base = tuple(nearest_width(stage.width * factor, divisor) for stage in spec.stages)
        stem = nearest_width(spec.stem.width * factor, divisor) if spec.stem.scaled else spec.stem.width
        return Shape(stem, base, spec.depths, scaled_head(spec, base, factor), spec.resolution)

    for percent in _near(spec, macs, range(102, round(100 * _largest(spec, macs)) + 1, 2), widened):
        factor, plain = percent / 100, widened(percent)
        base = plain.widths
        for widths in {base, *_moved(base, range(len(base)), spec.widths, divisor)} - seen:
            seen.add(widths)
            departures = [
                abs(math.log(w / (stage.width * factor))) for w, stage in zip(widths, spec.stages, strict=True)
            ]
            yield replace(plain, widths=widths, head=scaled_head(spec, widths, factor)), 2 * sum(departures) / len(base)


def _resolutions(spec: NetSpec, macs: float) -> Iterator[tuple[Shape, float]]:
    own = shape_of(spec)
    sides = range(spec.resolution + 1, math.ceil(spec.resolution * _largest(spec, macs)) + 1)

    def count(side: int) -> int:
        return cost(replace(spec, resolution=side)).macs

    above = bisect.bisect_left(sides, macs, key=count)
    below = bisect.bisect_left(sides, count(sides[above - 1]), key=count) if above else 0  # of equal ones the smallest
    for place in sorted({below, min(above, len(sides) - 1)}):
        yield replace(own, resolution=sides[place]), 0.0


def _moved(values: Sequence[int], places: Sequence[int], least: Sequence[int], step: int) -> Iterator[tuple[int, ...]]:
    """``values`` with one step more in one place, one less in another, or both; none below ``least``."""
    for more in (None, *places):
        for less in (None, *places):
            changed = list(values)
            if more is not None:
                changed[more] += step
            if less is not None:
                changed[less] -= step
            if all(value >= low for value, low in zip(changed, least, strict=True)):
                yield tuple(changed)
