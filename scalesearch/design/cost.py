"""What a network costs, in closed form, part by part, and the score that weighs accuracy against it.

The count equals fvcore's of convolutions and linear layers, operator by operator.

FLOPs here are multiply-adds of convolution and linear operators, biases not counted (fvcore's meaning).
A cost is linear in a stage's depth: the first block once, the others ``depth - 1`` times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from scalesearch.design.blocks import block_layers
from scalesearch.design.spec import Architecture, BlockKind, NetSpec, Stage, TorchvisionSpec
from scalesearch.table import Table, table
from scalesearch.units import show_count, show_percent

EXPONENT = -0.07
BLOCK_WORDS: dict[BlockKind, str] = {
    "mbconv": "MBConv{:.3g}", "fused_mbconv": "FusedMBConv{:.3g}", "basic": "basic ×{:.3g}",
    "bottleneck": "bottleneck ×{:.3g}",
}  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """One convolution or linear layer; batch norm's parameters stand on the convolution before it.

    Args:
        name: module path; MBConv networks have torchvision's ``efficientnet`` naming.
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
    """Side in pixels after a convolution or pooling (odd kernel, padded symmetrically or TF-SAME): ⌈size/stride⌉."""
    return -(-size // stride)


def convolution(name: str, size: int, width_in: int, width: int, kernel: int = 1) -> Operator:
    """A bias-free convolution with batch norm: ``size`` is the output's side in pixels, ``width_in`` what one of its
    filters reads (1: depthwise)."""
    weights = kernel * kernel * width_in * width
    return Operator(name, weights * size * size, weights + 2 * width, width * size * size)


def biased(name: str, width_in: int, width: int) -> Operator:
    """A linear layer, or a 1×1 convolution on one pixel, with bias."""
    return Operator(name, width_in * width, width_in * width + width, width)


@cache
def block_operators(stage: Stage, width_in: int, stride: int, size: int) -> tuple[Operator, ...]:
    """The operators of one block on a ``size``×``size`` input; names relative to the block."""
    operators, side = [], size
    for layer in block_layers(stage, width_in, stride):
        if layer.role in ("squeeze", "excite"):
            operators.append(biased(layer.path, layer.width_in, layer.width))
            continue
        side = output_size(size if layer.role == "shortcut" else side, layer.stride)
        width = 1 if layer.role == "depthwise" else layer.width_in
        operators.append(convolution(layer.path, side, width, layer.width, layer.kernel))
    return tuple(operators)


def classifier_operators(pooled: int, hidden: int, classes: int) -> Iterator[Operator]:
    """What follows the pooling: a hidden layer, where there is one, and the classifier."""
    if hidden:
        yield biased("hidden.0", pooled, hidden)
    yield biased("classifier.1", hidden or pooled, classes)


def _alike(spec: NetSpec) -> Iterator[tuple[str, range, tuple[Operator, ...]]]:
    """The network's parts in order: how names begin, the numbers of blocks that are alike, the operators of each."""
    stem, once = spec.stem, range(1)
    side = output_size(spec.resolution, stem.stride)
    yield "features.0.", once, (convolution("0", side, spec.in_channels, stem.width, stem.kernel),)
    size, width_in = output_size(spec.resolution, stem.reduction), stem.width
    for number, stage in enumerate(spec.stages, start=1):
        begins = f"features.{number}.{{}}."
        yield begins, once, block_operators(stage, width_in, stage.stride, size)
        size, width_in = output_size(size, stage.stride), stage.width
        if stage.depth > 1:
            yield begins, range(1, stage.depth), block_operators(stage, width_in, 1, size)
    if spec.head.width:
        yield f"features.{len(spec.stages) + 1}.", once, (convolution("0", size, width_in, spec.head.width),)
    yield "", once, tuple(classifier_operators(spec.pooled_width, spec.head.hidden, spec.classes))


def operators(spec: NetSpec) -> Iterator[Operator]:
    """Every convolution and linear operator of the network, in order, under canonical names."""
    for begins, numbers, ops in _alike(spec):
        for number in numbers:
            for op in ops:
                yield Operator(begins.format(number) + op.name, op.macs, op.params, op.activations)


def cost(spec: Architecture) -> Cost:
    """Totals for one image, in closed form; no tensor is made. Of torchvision's networks as they were counted.

    >>> from scalesearch.design.space import load_space
    >>> cost(load_space("efficientnet_b0").baseline).macs
    385814752
    """
    if isinstance(spec, TorchvisionSpec):
        return Cost(spec.macs, spec.params, spec.activations)
    times = [(len(numbers), op) for _, numbers, ops in _alike(spec) for op in ops]
    return Cost(sum(n * op.macs for n, op in times), sum(n * op.params for n, op in times),
                sum(n * op.activations for n, op in times))  # fmt: skip


def score(accuracy: float, cost: float, target: float, exponent: float = EXPONENT) -> float:
    """Accuracy · (FLOPS / T)^−0.07: accuracy (0…1) discounted by cost, the objective of the search.

    Doubling the FLOPs must bring 5 % relative accuracy to break even. (Tan & Le 2019, section 4; the printed exponent's
    sign is a misprint in v5.)

    T multiplies every score by the same T^0.07, so it cannot change which candidate wins; it sizes the baseline
    and keeps scores near accuracies.
    """
    return float(accuracy * (cost / target) ** exponent)


@dataclass(frozen=True)
class Part:
    """The stem, a stage or the head.

    Args:
        name: "stem", the stage's number from 1, "head".
        block: kind, kernel and stride in words; ``squeeze`` the squeeze-excitation's ratio, 0 without.
        depth: blocks; ``size`` the side of the output in pixels.
    """

    name: str
    block: str
    squeeze: float
    width: int
    depth: int
    size: int
    cost: Cost


def parts(spec: NetSpec) -> tuple[Part, ...]:
    """Stem, each stage, head with classifier; their costs add up to the network's."""
    sums = [[0, 0, 0] for _ in range(len(spec.stages) + 2)]
    for op in operators(spec):
        place = int(op.name.split(".")[1]) if op.name.startswith("features") else -1
        for position, value in enumerate((op.macs, op.params, op.activations)):
            sums[place][position] += value
    first, *middle, last = (Cost(*part) for part in sums)
    stem, size = spec.stem, output_size(spec.resolution, spec.stem.reduction)
    pool = ", max-pool 3×3 /2" if stem.max_pool else ""
    listed = [Part("stem", f"conv {stem.kernel}×{stem.kernel} /{stem.stride}{pool}", 0.0, stem.width, 1, size, first)]
    for number, (stage, part) in enumerate(zip(spec.stages, middle, strict=True), start=1):
        size = output_size(size, stage.stride)
        listed.append(Part(str(number), _block(stage), stage.se_ratio, stage.width, stage.depth, size, part))
    head = [*["conv 1×1"] * bool(spec.head.width), "pool", *["linear"] * bool(spec.head.hidden), "linear"]
    return (*listed, Part("head", ", ".join(head), 0.0, spec.pooled_width, 1, 1, last))


def part_table(spec: NetSpec, name: str) -> Table:
    """The network ``name`` part by part, with each part's share of the FLOPs, and the sum."""
    total = cost(spec)

    def counts(one: Cost) -> tuple[str, ...]:
        share = show_percent(one.macs / total.macs)
        return show_count(one.macs), share, show_count(one.params), show_count(one.activations)

    rows: list[tuple[object, ...]] = [
        (part.name, part.block, f"{part.squeeze:g}" if part.squeeze else "", part.width,
         part.depth if part.name.isdigit() else "", part.size, *counts(part.cost))
        for part in parts(spec)
    ]  # fmt: skip
    rows.append(("all", "", "", "", sum(spec.depths), "", *counts(total)))
    columns = (
        "part", "block, kernel / stride", "squeeze", "channels", "blocks", "output px", "FLOPs", "share", "params",
        "activations",
    )  # fmt: skip
    caption = f"{name} at {spec.resolution} px, {spec.classes} classes, part by part"
    return table(caption, columns, rows, optional=("activations", "share", "params", "squeeze", "output px", "blocks"))


def _block(stage: Stage) -> str:
    return f"{BLOCK_WORDS[stage.block].format(stage.expand_ratio)} {stage.kernel}×{stage.kernel} /{stage.stride}"
