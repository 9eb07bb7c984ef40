"""Controls: the same real cost spent on depth alone, on width alone, on resolution alone.

Compound scaling claims to beat them (Tan & Le 2019, figure 8), so every search trains them. A control changes nothing
but its own dimension. Only where that dimension's steps (a block, a multiple of channels, a pixel before a stride) miss
the budget by more than 3 %, one stage or a few are made a step wider or narrower to meet it.
"""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from scalesearch.design.budget import ERROR_WEIGHT, spread_depths
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.spec import DIMENSIONS, Dimension, NetSpec, Shape, nearest_width, reshape, scaled_head, shape_of

EQUAL_COST = 0.03  # networks whose costs differ by no more count as equally costly
LARGEST = 2.0  # multiplier tried over the cost's: more blocks may be taken than FLOPs, since stem and head stay
MOST_ADJUSTED = 4  # steps of channels by which a control may meet its budget
NEAR = (0.75, 1.35)  # share of the budget, up to four times the FLOPs, within which one step of one stage meets it


@dataclass(frozen=True)
class Control:
    """A shape that differs from the baseline's in one dimension, and its exact cost."""

    dimension: Dimension
    shape: Shape
    cost: float


def controls(spec: NetSpec, target: float, measure: Measure = FLOPS) -> tuple[Control, ...]:
    """One control per dimension, each as near to the cost ``target`` as the dimension's steps allow.

    Among roundings the one is taken that loses least: the relative cost error weighs ``ERROR_WEIGHT``, a departure of
    single stages from the common factor its mean in log FLOPs. A dimension that cannot grow (no stage's depth scales)
    has none.
    """
    return tuple(one for dimension in DIMENSIONS if (one := _control(spec, dimension, target, measure)) is not None)


def _control(spec: NetSpec, dimension: Dimension, target: float, measure: Measure) -> Control | None:
    """The control of one dimension, as ``controls`` makes it; None where the dimension cannot grow."""
    best = _best(spec, dimension, target, measure)
    if best is None:
        return None
    shape = met(spec, best.shape, target, measure)
    return Control(dimension, shape, measure.of(reshape(spec, shape)))


def alone(spec: NetSpec, dimension: Dimension, target: float, measure: Measure = FLOPS) -> Shape | None:
    """What a control grows from, before stages are made a step wider or narrower: grown in one dimension and in nothing
    else; the spec's own shape where that is nearer to ``target``. None where the dimension cannot grow."""
    best = _best(spec, dimension, target, measure)
    if best is None:
        return None
    return best.shape if abs(best.cost / target - 1) < abs(measure.of(spec) / target - 1) else shape_of(spec)


def met(spec: NetSpec, shape: Shape, target: float, measure: Measure = FLOPS) -> Shape:
    """The shape, with a stage or a few a step wider or narrower where its cost misses ``target`` by more than 3 %."""

    def miss(one: Shape) -> float:
        return abs(measure.of(reshape(spec, one)) / target - 1)

    for _ in range(MOST_ADJUSTED):
        if miss(shape) <= EQUAL_COST:
            break
        shape = min(_adjusted(spec, shape), key=miss)
    return shape


def _best(spec: NetSpec, dimension: Dimension, target: float, measure: Measure) -> Control | None:
    """The option that loses least; each comes with its departure from the dimension's common factor."""
    options = {"depth": _depths, "width": _widths, "resolution": _resolutions}[dimension]
    own = shape_of(spec)
    best: tuple[float, Control] | None = None
    for shape, departure in options(spec, target, measure):
        if shape != own:
            count = measure.of(reshape(spec, shape))
            loss = ERROR_WEIGHT * abs(count / target - 1) + departure
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


def _largest(spec: NetSpec, target: float, measure: Measure) -> float:
    return LARGEST * max(2.0, target / measure.of(spec))


def _near(spec: NetSpec, target: float, measure: Measure, steps: range, shape: Callable[[int], Shape]) -> range:
    """The steps whose shapes cost about ``target``: so near that one step of one stage, which is a smaller share of a
    larger network, can meet it. A larger step costs more."""
    reach = min(1.0, 4 * measure.of(spec) / target)
    least, most = (1 + reach * (end - 1) for end in NEAR)

    def share(step: int) -> float:
        return measure.of(reshape(spec, shape(step))) / target

    return steps[bisect.bisect_right(steps, least, key=share) : bisect.bisect_left(steps, most, key=share)]


def _depths(spec: NetSpec, target: float, measure: Measure) -> Iterator[tuple[Shape, float]]:
    """Blocks spread in proportion for the totals around the budget, and with one block moved, added or left out."""
    own = shape_of(spec)
    scaled = [i for i, stage in enumerate(spec.stages) if stage.depth_scaled]
    if not scaled:
        return
    blocks = sum(spec.depths[i] for i in scaled)
    seen: set[tuple[int, ...]] = set()

    def spread(total: int) -> Shape:
        return replace(own, depths=spread_depths(spec, total / blocks, total))

    most = math.ceil(_largest(spec, target, measure) * blocks)
    for total in _near(spec, target, measure, range(blocks + 1, most + 1), spread):
        base = spread(total).depths
        for depths in {base, *_moved(base, scaled, spec.depths, 1)} - seen:
            seen.add(depths)
            grown = sum(depths[i] for i in scaled) / blocks
            departures = [abs(math.log(depths[i] / (spec.depths[i] * grown))) for i in scaled]
            yield replace(own, depths=depths), sum(departures) / len(scaled)


def _widths(spec: NetSpec, target: float, measure: Measure) -> Iterator[tuple[Shape, float]]:
    """All widths times a common factor, rounded to the divisor, and with one stage a step wider or narrower."""
    divisor = spec.width_divisor
    seen: set[tuple[int, ...]] = set()

    def widened(percent: int) -> Shape:
        factor = percent / 100
        base = tuple(nearest_width(stage.width * factor, divisor) for stage in spec.stages)
        stem = nearest_width(spec.stem.width * factor, divisor) if spec.stem.scaled else spec.stem.width
        return Shape(stem, base, spec.depths, scaled_head(spec, base, factor), spec.resolution)

    percents = range(102, round(100 * _largest(spec, target, measure)) + 1, 2)
    for percent in _near(spec, target, measure, percents, widened):
        factor, plain = percent / 100, widened(percent)
        base = plain.widths
        for widths in {base, *_moved(base, range(len(base)), spec.widths, divisor)} - seen:
            seen.add(widths)
            departures = [
                abs(math.log(w / (stage.width * factor))) for w, stage in zip(widths, spec.stages, strict=True)
            ]
            yield replace(plain, widths=widths, head=scaled_head(spec, widths, factor)), 2 * sum(departures) / len(base)


def _resolutions(spec: NetSpec, target: float, measure: Measure) -> Iterator[tuple[Shape, float]]:
    own = shape_of(spec)
    sides = range(spec.resolution + 1, math.ceil(spec.resolution * _largest(spec, target, measure)) + 1)

    def count(side: int) -> float:
        return measure.of(replace(spec, resolution=side))

    above = bisect.bisect_left(sides, target, key=count)
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
