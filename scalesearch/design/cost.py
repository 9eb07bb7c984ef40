"""What a network costs, in closed form: equals fvcore's convolution + linear count, operator by operator.

FLOPs here are multiply-adds of convolution and linear operators, biases not counted (fvcore's meaning).
A cost is linear in a stage's depth: the first block once, the others ``depth - 1`` times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from scalesearch.design.spec import NetSpec, Stage, expanded_width, squeeze_width


@dataclass(frozen=True)
class Operator:
    """One convolution or linear layer; batch norm's parameters stand on the convolution before it.

    Args:
        name: module path, torchvision's ``efficientnet`` naming.
        macs: multiply-adds for one image.
        params: weights, biases, and the following batch norm's affine parameters.
        activations: numbers in its output for one image.
    """

    name: str
    macs: int
    params: int
    activations: int


@dataclass(frozen=True)
class Cost:
    """Totals for one image: ``macs`` (FLOPs as named here), ``params``, ``activations``."""

    macs: int
    params: int
    activations: int


def output_size(size: int, stride: int) -> int:
    """Side in pixels after a convolution of odd kernel, padded symmetrically or as TF-SAME: ⌈size/stride⌉."""
    return -(-size // stride)


def convolution(
    name: str, size: int, width_in: int, width: int, kernel: int = 1, *, depthwise: bool = False
) -> Operator:
    """A bias-free convolution with batch norm; ``size`` is the output's side in pixels."""
    weights = kernel * kernel * (1 if depthwise else width_in) * width
    return Operator(name, weights * size * size, weights + 2 * width, width * size * size)


def biased(name: str, width_in: int, width: int) -> Operator:
    """A linear layer, or a 1×1 convolution on one pixel, with bias."""
    return Operator(name, width_in * width, width_in * width + width, width)


@cache
def block_operators(stage: Stage, width_in: int, stride: int, size: int) -> tuple[Operator, ...]:
    """The operators of one block on a ``size``×``size`` input; names relative to the block.

    MBConv: expand 1×1, depthwise k×k, squeeze-excitation, project 1×1.
    Fused MBConv: expand k×k, project 1×1; one k×k convolution where nothing expands.
    """
    expanded = expanded_width(width_in, stage.expand_ratio)
    out = output_size(size, stride)
    expands = expanded != width_in
    if stage.block == "fused_mbconv":
        first = convolution("block.0.0", out, width_in, expanded if expands else stage.width, stage.kernel)
        return (first, convolution("block.1.0", out, expanded, stage.width)) if expands else (first,)
    operators = [convolution("block.0.0", size, width_in, expanded)] if expands else []
    operators.append(convolution(f"block.{len(operators)}.0", out, expanded, expanded, stage.kernel, depthwise=True))
    index = len(operators)
    if stage.se_ratio:
        squeezed = squeeze_width(width_in, stage.se_ratio)
        operators += [
            biased(f"block.{index}.fc1", expanded, squeezed),
            biased(f"block.{index}.fc2", squeezed, expanded),
        ]
        index += 1
    operators.append(convolution(f"block.{index}.0", out, expanded, stage.width))
    return tuple(operators)


def operators(spec: NetSpec) -> Iterator[Operator]:
    """Every convolution and linear operator of the network, in order, under torchvision's names."""
    size = output_size(spec.resolution, spec.stem.stride)
    yield convolution("features.0.0", size, spec.in_channels, spec.stem.width, spec.stem.kernel)
    width_in = spec.stem.width
    for number, stage in enumerate(spec.stages, start=1):
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            for op in block_operators(stage, width_in, stride, size):
                yield Operator(f"features.{number}.{index}.{op.name}", op.macs, op.params, op.activations)
            size, width_in = output_size(size, stride), stage.width
    yield convolution(f"features.{len(spec.stages) + 1}.0", size, width_in, spec.head.width)
    yield biased("classifier.1", spec.head.width, spec.classes)


def cost(spec: NetSpec) -> Cost:
    """Closed-form totals for one image; no tensor is made.

    >>> from scalesearch.design.space import load_space
    >>> cost(load_space("efficientnet_b0").baseline).macs
    385814752
    """
    ops = tuple(operators(spec))
    return Cost(sum(op.macs for op in ops), sum(op.params for op in ops), sum(op.activations for op in ops))


def stage_costs(spec: NetSpec) -> tuple[Cost, ...]:
    """Cost per part: stem, each stage, head and classifier. The parts sum to ``cost(spec)``."""
    parts = [[0, 0, 0] for _ in range(len(spec.stages) + 2)]
    for op in operators(spec):
        part = int(op.name.split(".")[1]) if op.name.startswith("features") else len(parts) - 1
        for position, value in enumerate((op.macs, op.params, op.activations)):
            parts[part][position] += value
    return tuple(Cost(*part) for part in parts)
