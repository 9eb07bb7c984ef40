"""The networks that a device is timed on: pieces of the spaces' networks for the fit, whole ones for the check.

A piece is a network of its own: a stem that makes what the first of some neighbouring stages reads, these stages, head
and classifier. So a device's runtime treats it as it treats the networks that are to be predicted, and no part of it
has edges that a network would not have.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.cost import cost
from scalesearch.design.scaling import multiply, realised
from scalesearch.design.spec import Head, NetSpec, nearest_width

Role = Literal["piece", "whole", "check"]
WIDTHS = (0.4, 2.2)  # of pieces, times the baseline's
SIDES = (0.35, 2.0)
WHOLE_DEPTHS = (0.4, 2.0)  # of whole networks: from small baselines of grids to families up to b3
WHOLE_WIDTHS = (0.4, 1.6)
WHOLE_SIDES = (0.3, 1.5)
VARIED = (0.7, 1.4)  # times its width: each stage and head of a network to be fitted to
HEADED_SIDE = 32  # pixels of the last map: on larger ones no network has a head
MOST_STAGES = 4  # of a piece
MOST_BLOCKS = 3  # of a piece's stage
CLASSES = (10, 100, 1000)
SHORTEST_SIDE = 8  # pixels of an image
TRIES = 30
PIECES, WHOLE_FITTED, WHOLE_CHECKED = 320, 128, 24  # networks that a table is made from
PIECE_MACS, WHOLE_MACS = 4e8, 9e8  # multiply-adds of a pass that few exceed, so that none takes most of the time
FIT_SEED, CHECK_SEED = 1, 2


@dataclass(frozen=True)
class Probe:
    """A network to be timed.

    Args:
        role: a table is fitted to pieces and to whole networks, and checked on other whole ones.
        space: whose baseline it was drawn from.
        depth, width, resolution: of a whole network, what it really has of that baseline's; 1 for pieces.
    """

    spec: NetSpec
    role: Role
    space: str
    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


def probes(baselines: Sequence[NetSpec], batch_size: int) -> tuple[Probe, ...]:
    """The networks that a table is made from; the first one, of middling cost, is the reference of the others.

    A third of those that it is fitted to pad as TensorFlow does, as networks with its weights do.
    """
    padded = (*baselines, *baselines, *(replace(one, padding="same") for one in baselines))
    allowed = math.sqrt(batch_size) / batch_size  # larger batches take longer, but not that much longer
    fitted = sorted(pieces(padded, PIECES, allowed * PIECE_MACS), key=lambda one: cost(one.spec).macs)
    reference = fitted.pop(len(fitted) // 2)
    whole = whole_networks(padded, WHOLE_FITTED, allowed * WHOLE_MACS, FIT_SEED, "whole")
    checked = whole_networks(baselines, WHOLE_CHECKED, allowed * WHOLE_MACS, CHECK_SEED, "check")
    return (reference, *fitted, *whole, *checked)


def pieces(baselines: Sequence[NetSpec], count: int, most_macs: float, seed: int = 0) -> tuple[Probe, ...]:
    """Pieces of the baselines' networks, by turns, spread evenly over stages, widths and sizes."""
    points = _points(8, seed)

    def drawn(baseline: NetSpec) -> Probe:
        return Probe(_piece(baseline, next(points)), "piece", baseline.name)

    return tuple(_cheap(partial(drawn, baselines[number % len(baselines)]), most_macs) for number in range(count))


def whole_networks(
    baselines: Sequence[NetSpec], count: int, most_macs: float, seed: int, role: Role
) -> tuple[Probe, ...]:
    """Networks of the baselines' families, by turns, spread evenly over depth, width and resolution.

    Those to be fitted to vary in the widths of their stages and in their classes, too: what only ever grows together
    cannot be told apart.
    """
    points = _points(5, seed)

    def drawn(baseline: NetSpec) -> Probe:
        *shares, wobble, labels = next(points).tolist()
        bounds = zip((WHOLE_DEPTHS, WHOLE_WIDTHS, WHOLE_SIDES), shares, strict=True)
        spec = multiply(baseline, *(_between(low, high, share) for (low, high), share in bounds))
        has = realised(baseline, spec)
        spec = spec if role == "check" else _varied(spec, wobble, labels)
        return Probe(spec, role, baseline.name, has.depth, has.width, has.resolution)

    return tuple(_cheap(partial(drawn, baselines[number % len(baselines)]), most_macs) for number in range(count))


def _varied(spec: NetSpec, wobble: float, labels: float) -> NetSpec:
    """A network with each width scaled by itself, and another number of classes."""

    def other(width: int, number: int) -> int:
        return nearest_width(width * _between(*VARIED, _hashed(wobble, number)), spec.width_divisor)

    stages = tuple(replace(stage, width=other(stage.width, number)) for number, stage in enumerate(spec.stages))
    head = replace(spec.head, width=other(spec.head.width, len(stages)) if spec.head.width else 0)
    return replace(spec, stages=stages, head=head, classes=CLASSES[int(labels * len(CLASSES))])


def _cheap(draw: Callable[[], Probe], most_macs: float) -> Probe:
    """The first network drawn that costs no more, or else the cheapest of some."""
    drawn = []
    for _ in range(TRIES):
        drawn.append(draw())
        if cost(drawn[-1].spec).macs <= most_macs:
            return drawn[-1]
    return min(drawn, key=lambda one: cost(one.spec).macs)


def _piece(baseline: NetSpec, point: NDArray[np.float64]) -> NetSpec:
    """Some neighbouring stages of a baseline, each width and the side scaled by itself, as a network."""
    where, many, width, side, deep, headed, labels, wobble = point.tolist()
    count = len(baseline.stages)
    first = int(where * count)
    last = min(count, first + 1 + int(many * MOST_STAGES))
    factor = _between(*WIDTHS, width)
    widths = [
        nearest_width(stage.width * factor * (0.85 + 0.3 * _hashed(wobble, number)), baseline.width_divisor)
        for number, stage in enumerate(baseline.stages)
    ]
    reduction = math.prod(stage.stride for stage in baseline.stages[:first])
    seen = max(1, round(baseline.resolution * _between(*SIDES, side) / baseline.stem.reduction / reduction))
    stages = tuple(
        replace(stage, width=widths[number], depth=1 + int(MOST_BLOCKS * _hashed(deep, number)))
        for number, stage in enumerate(baseline.stages)
    )[first:last]
    before = widths[first - 1] if first else nearest_width(baseline.stem.width * factor, baseline.width_divisor)
    head = baseline.head
    pooled = seen / math.prod(stage.stride for stage in stages)
    if head.width and pooled <= HEADED_SIDE and headed < 0.5:
        head = replace(head, width=nearest_width(head.width * factor, baseline.width_divisor))
    else:
        head = Head(0, hidden=head.hidden)
    image = max(SHORTEST_SIDE, seen * baseline.stem.reduction)
    classes = CLASSES[int(labels * len(CLASSES))]
    stem = replace(baseline.stem, width=before)
    return replace(
        baseline, name=f"{baseline.name}_{first}_{last}", resolution=image, stem=stem, stages=stages, head=head,
        classes=classes,
    )  # fmt: skip


def _between(low: float, high: float, share: float) -> float:
    """A number between two, evenly in logarithms."""
    return float(low * (high / low) ** share)


def _hashed(share: float, number: int) -> float:
    """Another share of a share, for the ``number``-th use of it."""
    return (share * 97 + number * 0.618034) % 1.0


def _points(dimensions: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Points that fill the unit cube evenly, however many are drawn.

    Source: M. Roberts 2018, the R_d sequence: multiples of the powers of the inverse of x^(d+1) = x + 1, modulo 1.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    start = np.random.default_rng(seed).random(dimensions)
    number = 0
    while True:
        number += 1
        yield (start + number * steps) % 1.0
