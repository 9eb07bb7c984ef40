"""Which stage and which block of one network stands for which of another."""

import math
from collections.abc import Sequence
from itertools import accumulate

from scalesearch.design.spec import NetSpec, Stage

STRIDE_WEIGHT = 2.0  # features of another output stride are worse matches than features of another width
KERNEL_WEIGHT = 0.1
OTHER_BLOCK = 4.0  # blocks of two kinds share few tensors


def match_stages(source: NetSpec, target: NetSpec) -> tuple[int | None, ...]:
    """For each stage of the target the source's stage that it inherits from (from 0), or None.

    Equal numbers of stages are matched one to one. Otherwise as many as can be are matched in order, at the least sum
    of differences in output stride, relative width and kernel.
    """
    if len(source.stages) == len(target.stages):
        return tuple(range(len(target.stages)))
    differences = [
        [_difference(*pair) for pair in zip(_described(source), [row] * len(source.stages), strict=True)]
        for row in _described(target)
    ]
    if len(target.stages) < len(source.stages):
        return tuple(_increasing(differences))
    chosen = _increasing([list(column) for column in zip(*differences, strict=True)])
    return tuple(chosen.index(stage) if stage in chosen else None for stage in range(len(target.stages)))


def match_blocks(importance: Sequence[float], depth: int) -> tuple[int, ...]:
    """For each of ``depth`` blocks of a stage the source's block that it inherits from, in order.

    The first block (which alone changes width and size) is kept; of the others those with the largest importance.
    A deeper stage goes on with its last block.

    >>> match_blocks([0, 1, 5, 3], depth=3), match_blocks([0, 1], depth=4)
    ((0, 2, 3), (0, 1, 1, 1))
    """
    given = len(importance)
    if depth >= given:
        return (*range(given), *[given - 1] * (depth - given))
    ranked = sorted(range(1, given), key=lambda block: importance[block], reverse=True)
    return (0, *sorted(ranked[: depth - 1]))


def _described(spec: NetSpec) -> list[tuple[float, float, Stage]]:
    """log2 of a stage's output stride, log of its width over the widest's, the stage."""
    strides = accumulate((stage.stride for stage in spec.stages), lambda a, b: a * b, initial=spec.stem.reduction)
    widest = max(spec.widths)
    return [
        (math.log2(stride), math.log(stage.width / widest), stage)
        for stride, stage in zip(list(strides)[1:], spec.stages, strict=True)
    ]


def _difference(one: tuple[float, float, Stage], other: tuple[float, float, Stage]) -> float:
    kernels = abs(one[2].kernel - other[2].kernel)
    blocks = OTHER_BLOCK if one[2].block != other[2].block else 0.0
    return STRIDE_WEIGHT * abs(one[0] - other[0]) + abs(one[1] - other[1]) + KERNEL_WEIGHT * kernels + blocks


def _increasing(costs: Sequence[Sequence[float]]) -> list[int]:
    """One column for each row, strictly increasing, with the least sum: dynamic programming over the rows."""
    width = len(costs[0])
    best: list[tuple[float, list[int]]] = [(0.0, [])] * (width + 1)  # using the first n columns
    for row, values in enumerate(costs):
        following: list[tuple[float, list[int]]] = [(math.inf, [])] * (width + 1)
        for column in range(row, width):
            total, chosen = best[column]
            candidate = (total + values[column], [*chosen, column])
            following[column + 1] = min(following[column], candidate, key=lambda pair: pair[0])
        best = following
    return best[width][1]
