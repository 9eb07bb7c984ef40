"""A network part by part: its blocks, channels, output size and what each part costs."""

from dataclasses import dataclass

from scalesearch.design.cost import Cost, output_size, stage_costs
from scalesearch.design.spec import NetSpec

KINDS = {
    "mbconv": "MBConv{:.3g}", "fused_mbconv": "FusedMBConv{:.3g}", "basic": "basic ×{:.3g}",
    "bottleneck": "bottleneck ×{:.3g}",
}  # fmt: skip


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
    """Every part in order; their costs add up to the network's."""
    first, *middle, last = stage_costs(spec)
    stem, size = spec.stem, output_size(spec.resolution, spec.stem.reduction)
    block = f"conv {stem.kernel}×{stem.kernel} /{stem.stride}" + (", max-pool 3×3 /2" if stem.max_pool else "")
    found = [Part("stem", block, 0.0, stem.width, 1, size, first)]
    for number, (stage, part) in enumerate(zip(spec.stages, middle, strict=True), start=1):
        size = output_size(size, stage.stride)
        block = f"{KINDS[stage.block].format(stage.expand_ratio)} {stage.kernel}×{stage.kernel} /{stage.stride}"
        found.append(Part(str(number), block, stage.se_ratio, stage.width, stage.depth, size, part))
    layers = [*["conv 1×1"] * bool(spec.head.width), "pool", *["linear"] * bool(spec.head.hidden), "linear"]
    return (*found, Part("head", ", ".join(layers), 0.0, spec.pooled_width, 1, 1, last))
