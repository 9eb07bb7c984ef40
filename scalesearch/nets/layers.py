"""A network's blocks and layers with the channels they read and write, and which of them stand for those of another
network: what names and inheritance are made from."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from scalesearch.design.blocks import BlockLayer, Place, Role, block_layers
from scalesearch.design.spec import NetSpec, Shortcut, Stage, shortcut_of

STRIDE_WEIGHT = 2.0  # features of another output stride are worse matches than features of another width
KERNEL_WEIGHT = 0.1
OTHER_BLOCK = 4.0  # blocks of two kinds share few tensors

Kind = Literal["convolution", "depthwise", "linear"]


@dataclass(frozen=True)
class BlockPlace:
    """Where a block stands and what it is made of: stage from 1, index in it from 0, number over all stages from 1."""

    stage: Stage
    stage_number: int
    index: int
    number: int
    layers: tuple[BlockLayer, ...]
    shortcut: Shortcut

    @property
    def path(self) -> str:
        """The block's module."""
        return f"features.{self.stage_number}.{self.index}"

    @property
    def expands(self) -> bool:
        """Whether it is wider inside than its input."""
        return any(layer.writes == "expanded" for layer in self.layers)


def blocks(spec: NetSpec) -> Iterator[BlockPlace]:
    """All blocks in order."""
    width_in, number = spec.stem.width, 0
    for stage_number, stage in enumerate(spec.stages, start=1):
        for index in range(stage.depth):
            number += 1
            shape = (stage, width_in, stage.stride if index == 0 else 1)
            yield BlockPlace(stage, stage_number, index, number, block_layers(*shape), shortcut_of(*shape))
            width_in = stage.width


@dataclass(frozen=True)
class Channels:
    """A set of channels that several layers share, e.g. all that a stage's blocks write: ``stage`` and ``block`` as in
    ``BlockPlace`` (0 where they do not apply)."""

    name: Literal["image", "stem", "stage", "head", "hidden", "classes"] | Place
    stage: int = 0
    block: int = 0


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Args:
        path: its module's name; ``norm`` is that of its batch norm, "" without one.
        stage, block: where it stands, as in ``BlockPlace``; 0 outside the stages.
        closes: whether it is the last of its block's branch: with its batch norm at zero the branch adds nothing.
    """

    role: Role | Literal["stem", "head", "hidden", "classifier"]
    kind: Kind
    path: str
    norm: str
    reads: Channels
    writes: Channels
    stage: int = 0
    block: int = 0
    closes: bool = False


def layers(spec: NetSpec) -> Iterator[Layer]:
    """Every convolution and linear layer from image to logits.

    A block whose input is added to its branch writes the channels that it reads, also where it is a stage's first.
    """
    reads = Channels("stem")
    yield Layer("stem", "convolution", "features.0.0", "features.0.1", Channels("image"), reads)
    for block in blocks(spec):
        written = reads if block.shortcut == "identity" else Channels("stage", block.stage_number)
        own = {"input": reads, "output": written}
        place = (block.stage_number, block.index)
        for one in block.layers:
            kind: Kind = "depthwise" if one.role == "depthwise" else "convolution"
            norm = f"{block.path}.{one.norm}" if one.norm else ""
            inside, outside = (own.get(name) or Channels(name, *place) for name in (one.reads, one.writes))
            yield Layer(one.role, kind, f"{block.path}.{one.path}", norm, inside, outside, *place, one.closes)
        reads = written
    if spec.head.width:
        last, head = f"features.{len(spec.stages) + 1}", Channels("head")
        yield Layer("head", "convolution", f"{last}.0", f"{last}.1", reads, head)
        reads = head
    if spec.head.hidden:
        yield Layer("hidden", "linear", "hidden.0", "", reads, Channels("hidden"))
        reads = Channels("hidden")
    yield Layer("classifier", "linear", "classifier.1", "", reads, Channels("classes"))


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
